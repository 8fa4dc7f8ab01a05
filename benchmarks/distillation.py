"""The gain of distilling a teacher's vectors of plain texts, on development data alone.

The last line is JSON.

python benchmarks/distillation.py STS_FOLDER PAIRS... [--texts 12000] [--rates 0.01,0.03,0.1]
    [--epochs 3,10] [--weights 5,20,80]
    [--seeds 1] [--with-teacher]

STS_FOLDER holds stsb_dev.jsonl and sickr_dev.jsonl. PAIRS are files of pairs: of the first ROWS of each
DEVELOPMENT are split off without near-duplicates and are the retrieval sets; short texts of the rest, as
many of each file, are what the teacher reads; the rest is also what the contrastive arms train on. Figures
are Spearman and NDCG@10 times 100, means over the sets; no test split is read. Every arm of every rate is
shown, so that a choice made here is one made on development data.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim import threads
from statim.data.documents.plain import PlainTexts
from statim.data.labelled.labelled import read_sts
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.data.split import split
from statim.evaluation.retrieval import evaluate_retrieval
from statim.evaluation.sts import evaluate_sts
from statim.model import StaticModel
from statim.teacher.teacher import Teacher
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.sets import TextSet
from statim.training.distillation.targets import axes_of, mapped, turned
from statim.training.distillation.teacher_vectors import teacher_vectors
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.validation import Validation
from statim.training.start import start_from

ROWS, DEVELOPMENT, SHORT = 8000, 300, 160  # pairs read of a file, held out of them; letters of a text
STS = ("stsb_dev", "sickr_dev")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sts", type=Path)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--texts", type=int, default=12_000)
    for name, usual in (("rates", "0.01,0.03,0.1"), ("epochs", "3,10"), ("weights", "5,20,80")):
        parser.add_argument(f"--{name}", default=usual)
    parser.add_argument("--pair-rate", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--with-teacher", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    found = []
    for arm in bench.arms():
        found.append(arm)
        print(
            f"{arm['arm']:60} STS {arm['sts']:6.2f}  retrieval {arm['retrieval']:6.2f}  "
            f"{arm['seconds']:6.1f} s",
            flush=True,
        )
    about = {"benchmark": "distillation", "machine": platform.processor() or platform.machine()}
    print(json.dumps({**about, "texts": len(bench.plain), "teacher_seconds": bench.seconds, "arms": found}))


class Bench:
    """The data of all arms, read once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.asked, self.workers = arguments, threads.count()
        self.teacher = Teacher.load()
        parts = {path.parent.name: held_out(path) for path in arguments.sources}
        self.plain = PlainTexts(short_texts([part.train for part in parts.values()], arguments.texts))
        began = time.perf_counter()
        self.vectors = teacher_vectors(self.teacher, self.plain.texts, progress=True)
        self.seconds = round(time.perf_counter() - began, 1)
        print(f"the teacher's vectors of {len(self.plain):,} texts: {self.seconds} s", flush=True)
        columns = [
            [part.train.anchors for part in parts.values()],
            [part.train.positives for part in parts.values()],
        ]
        self.pairs = Pairs(*(pa.concat_arrays(column) for column in columns))
        self.begun = start_from(None, None, self.pairs, False)
        tokenizer = self.begun.tokenizer
        self.data = TrainingSet.of(self.pairs, tokenizer, threads=self.workers)
        self.alone = TextSet.of(self.plain, tokenizer, threads=self.workers)
        self.sts = [read_sts(arguments.sts / f"{name}.jsonl") for name in STS]
        self.retrieval = [
            Validation(part.development, tokenizer, self.begun.settings, self.workers)
            for part in parts.values()
        ]
        self.dim = self.begun.dim or 256

    def arms(self) -> Iterator[dict[str, Any]]:
        """Every arm: its name, figures and the seconds of its training (the mean over seeds)."""
        asked = self.asked
        rates, weights = (list(map(float, getattr(asked, name).split(","))) for name in ("rates", "weights"))
        recipe = Recipe.make(len(self.data), self.dim, learning_rate=asked.pair_rate, batch=512, epochs=1)
        table = self.begun.table(self.data, recipe)
        yield self.judge("distilled start", table)
        taught = replace(self.alone, targets=turned(self.vectors, axes_of(self.vectors, self.dim)))
        start = mapped(table, taught.bags, taught.texts, taught.targets, self.workers)
        yield self.judge("mapped by ridge regression", start)
        best, height = start, -1.0
        for from_start, rate, epochs in itertools.product(
            (True, False), rates, map(int, asked.epochs.split(","))
        ):
            options = {"learning_rate": rate, "epochs": epochs, "batch": 128, "loss": "distillation"}
            name = f"distilled on texts, rate {rate:g}, {epochs} epochs" + (
                "" if from_start else ", start not mapped"
            )
            arm, trained = self.train(name, start if from_start else table, taught, None, options)
            yield arm
            if from_start and arm["sts"] + arm["retrieval"] > height:
                best, height = trained, arm["sts"] + arm["retrieval"]
        options = {"learning_rate": asked.pair_rate, "epochs": 1, "batch": 512}
        beside = replace(self.alone.behind(self.data.bags), targets=taught.targets)
        for name, begin_at in (("start", table), ("mapped", start), ("distilled", best)):
            yield self.train(f"contrast from {name}", begin_at, self.data, None, options)[0]
            for weight in weights if name != "start" else ():
                more = options | {"distil_weight": weight}
                yield self.train(
                    f"contrast from {name}, distillation x {weight:g}", begin_at, self.data, beside, more
                )[0]
        if asked.with_teacher:
            yield self.judge_encoder("the teacher", self.teacher)

    def train(
        self, name: str, table: Any, data: Any, beside: TextSet | None, options: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """Train from a table; gives the arm, and the last seed's table."""
        arms, trained = [], table
        for seed in range(self.asked.seeds):
            recipe = Recipe.make(len(data), self.dim, seed=seed, **options)
            optimizer = begin(table.copy(), data, recipe, self.workers)
            began = time.perf_counter()
            fit(data, optimizer, recipe, taught=beside)
            seconds = time.perf_counter() - began
            trained = optimizer.current()
            arms.append(self.judge(name, trained) | {"seconds": seconds})
        means = {key: float(np.mean([arm[key] for arm in arms])) for key in ("sts", "retrieval", "seconds")}
        return arms[0] | means, trained

    def judge(self, name: str, table: Any) -> dict[str, Any]:
        """The figures of a table."""
        model = StaticModel(table, self.begun.tokenizer, self.begun.settings)
        return self.figures(name, model, [100 * one.score(table) for one in self.retrieval])

    def judge_encoder(self, name: str, encoder: Any) -> dict[str, Any]:
        """The figures of any encoder."""
        scores = [evaluate_retrieval(encoder, one.task, metrics=("ndcg@10",)) for one in self.retrieval]
        return self.figures(name, encoder, [100 * one.metrics["ndcg@10"] for one in scores])

    def figures(self, name: str, encoder: Any, retrieval: list[float]) -> dict[str, Any]:
        """The means, and what they are of."""
        sts = [100 * evaluate_sts(encoder, one)["spearman"] for one in self.sts]
        means = {"sts": float(np.mean(sts)), "retrieval": float(np.mean(retrieval)), "seconds": 0.0}
        sets = dict(
            zip([*STS, *(path.parent.name for path in self.asked.sources)], [*sts, *retrieval], strict=True)
        )
        return {"arm": name, **means, "sets": {key: round(value, 2) for key, value in sets.items()}}


def held_out(path: Path) -> Any:
    """The first pairs of a file, some of them for development."""
    pairs = read_pairs(path)
    return split(pairs.select(range(min(ROWS, len(pairs)))), development=DEVELOPMENT, test=0)


def short_texts(sets: list[Pairs], count: int) -> pa.LargeStringArray:
    """So many different short texts, as many of each set, drawn by a fixed seed."""
    drawn = []
    for pairs in sets:
        texts = pa.concat_arrays([pairs.anchors, pairs.positives]).unique()
        texts = texts.filter(pc.less_equal(pc.utf8_length(texts), SHORT))
        order = np.random.default_rng(0).permutation(len(texts))
        drawn.append(texts.take(pa.array(order[: count // len(sets)])))
    mixed = pa.concat_arrays(drawn).unique()
    return mixed.take(pa.array(np.random.default_rng(1).permutation(len(mixed))))


if __name__ == "__main__":
    main()
