"""Trainings from pairs on disk to a saved model, timed by phase; shared by other benchmarks."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from statim import cache
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.data.split import split
from statim.evaluation.retrieval import evaluate_retrieval
from statim.model import StaticModel
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import TrainingSet
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.history import NDCG

PARTS = ("train", "development", "test")

Floats = npt.NDArray[np.float32]
MakeStart = Callable[[Pairs], tuple[Tokenizer, Callable[[TrainingSet], Floats]]]


class Clock:
    """Seconds by phase; it can be stopped."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self._stopped = 0.0
        self._began = self._last = time.perf_counter()

    def now(self) -> float:
        """Seconds since the beginning, without those in which it stood."""
        return time.perf_counter() - self._began - self._stopped

    def lap(self, name: str) -> None:
        """What has passed since the last lap is of this phase."""
        now = self._began + self.now()
        self.phases[name] = self.phases.get(name, 0.0) + now - self._last
        self._last = now

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands."""
        began = time.perf_counter()
        yield
        self._stopped += time.perf_counter() - began


def write_parts(
    pairs: Pairs, folder: Path, *, development: int, test: int, limit: int | None
) -> dict[str, int]:
    """Split without near-duplicates, write each part as JSON lines, and return the number of pairs of each.

    Args:
        pairs: All.
        folder: Gets train.jsonl, development.jsonl and test.jsonl.
        development: Pairs held out for choosing.
        test: Pairs held out for the final figures.
        limit: Keep only so many training pairs, drawn at random.
    """
    parts = split(pairs, development=development, test=test, seed=0)
    train = parts.train if limit is None or limit >= len(parts.train) else drawn(parts.train, limit, 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(PARTS, (train, parts.development, parts.test), strict=True):
        write_pairs(part, folder / f"{name}.jsonl")
    return {"train": len(train), "development": len(parts.development), "test": len(parts.test)}


def write_pairs(pairs: Pairs, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for anchor, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
            file.write(json.dumps({"anchor": anchor, "positive": positive}, ensure_ascii=False) + "\n")


def drawn(pairs: Pairs, count: int, seed: int) -> Pairs:
    """So many of the pairs at random, in their order."""
    chosen = np.random.default_rng(seed).choice(len(pairs), count, replace=False)
    return pairs.select(np.sort(chosen))


def by_statim(
    folder: Path, out: Path, start: MakeStart, recipe: Recipe, workers: int, *, take: int | None = None
) -> tuple[StaticModel, Clock, float]:
    """Read, tokenize, train, evaluate on the test pairs, save; gives the model, the clock and NDCG@10.

    Args:
        folder: With train.jsonl and test.jsonl.
        out: For the model.
        start: Gives the tokenizer for the pairs, and what makes the table once they are tokenized.
        recipe: How to train.
        workers: Threads.
        take: Train on so many of the pairs, drawn at random once they are read.
    """
    cache.clear("tokens")  # texts are tokenized anew
    clock = Clock()
    pairs = read_pairs(folder / "train.jsonl")
    if take is not None and take < len(pairs):
        pairs = drawn(pairs, take, recipe.seed)
    clock.lap("read")
    tokenizer, make_table = start(pairs)
    clock.lap("start")
    data = TrainingSet.of(pairs, tokenizer, threads=workers)
    clock.lap("tokenize")
    table = make_table(data)
    clock.lap("start")
    optimizer = begin(table, data, recipe, workers)
    fit(data, optimizer, recipe)
    model = StaticModel(optimizer.finish(), tokenizer)
    clock.lap("train")
    score = ndcg(model, folder / "test.jsonl")
    clock.lap("evaluate")
    model.save(out, overwrite=True)
    clock.lap("save")
    return model, clock, score


def ndcg(model: StaticModel, path: Path) -> float:
    """NDCG@10 on the pairs of a file: find each anchor's positives among all."""
    scores = evaluate_retrieval(model, from_pairs(read_pairs(path)), metrics=(NDCG,))
    return float(scores.metrics[NDCG])


def rounded(phases: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in phases.items()}
