"""From pairs or labelled texts to a trained, evaluated, saved static model: the whole of ``statim train``."""

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim import __version__
from statim import threads as pool
from statim.data.pairs import Pairs
from statim.data.split import Split, split
from statim.data.supervision import Supervision, read_supervision
from statim.errors import InputError, ModelError
from statim.evaluation.comparison import Comparison
from statim.evaluation.encoders import Encoder
from statim.evaluation.report import Report
from statim.files import check_output
from statim.model import StaticModel
from statim.progress import Progress
from statim.settings import Settings
from statim.teacher import DEFAULT_TEACHER, Teacher
from statim.tokenizer import Tokenizer
from statim.training import checkpoint, distributed
from statim.training import heldout as judged
from statim.training.device.fit import choose
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.optimizer import SparseAdam
from statim.training.recipe import LOSSES, Recipe, check_weight
from statim.training.sets import TrainingData, training_data, usual_loss
from statim.training.start import distilled_table, random_table, token_vectors, unit_scale, widen
from statim.training.trainer import begin, fit
from statim.vocabulary import learn_wordpiece

if TYPE_CHECKING:
    import torch

log = logging.getLogger("statim")

HELD_OUT = 2000  # pairs in the test split, where the data has enough
HELD_OUT_SHARE = 0.1  # of the pairs at most


@dataclass
class TrainingResult:
    """What a training gave.

    Attributes:
        model: The trained model.
        recipe: How it was trained.
        comparison: The held-out table (the start, the model, BM25, the teacher), or None where nothing was held out.
        pairs: Counts of pairs (or labelled texts): read, trained on, development, test, moved because of near-duplicates.
        seconds: Wall time of each part: read, split, start, tokenize, train, evaluate, save.
        start: What training started from, in words.
        teacher: The teacher's name, if there was one.
        losses: (steps taken,) the loss of each step.
    """

    model: StaticModel
    recipe: Recipe
    comparison: Comparison | Report | None
    pairs: dict[str, int]
    seconds: dict[str, float]
    start: str
    teacher: str | None
    losses: npt.NDArray[np.float64] = field(repr=False)

    def ndcg(self) -> dict[str, float]:
        """NDCG@10 on held-out pairs without scores: start, trained, bm25, teacher (those that were measured)."""
        if not isinstance(self.comparison, Comparison):
            return {}
        found = {row.name: round(row.metrics["ndcg@10"], 6) for row in self.comparison.rows}
        return {name: found[name] for name in ("start", "trained", "bm25", "teacher") if name in found}

    def __str__(self) -> str:
        """For a person: what was trained on, the held-out table, the seconds."""
        spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        taken = max(self.seconds["train"], 1e-9)
        rate = len(self.losses) * min(self.recipe.batch, self.pairs["train"]) / taken
        unit = "texts" if self.recipe.loss == "classes" else "pairs"
        first = f"trained on {self.pairs['train']:,} {unit} from {self.start} in {taken:.1f} s ({rate:,.0f} {unit}/s)"
        lines = [first, f"seconds: {spent}"]
        if self.comparison:
            lines += ["", str(self.comparison)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, as plain values for JSON."""
        return {
            "start": self.start,
            "pairs": self.pairs,
            "recipe": self.recipe.to_dict(),
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "heldout": self.comparison.to_dict() if self.comparison else None,
        }


def train(
    data: Any,
    *,
    out: str | Path | None = None,
    start: str | Path | StaticModel | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    anchor: str | Mapping[str, str] | None = None,
    positive: str | Mapping[str, str] | None = None,
    negative: str | list[str] | Mapping[str, str | list[str]] | None = None,
    score: str | None = None,
    label: str | None = None,
    loss: str | None = None,
    dim: int | None = None,
    matryoshka: list[int] | None = None,
    weights: list[float] | None = None,
    batch: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    scale: float | None = None,
    both_directions: bool | None = None,
    triplet_margin: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
    mix: str | None = None,
    set_weights: Mapping[str, float] | None = None,
    heldout: int | str | Path | None = None,
    baselines: bool = True,
    checkpoint_every: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    device: str = "auto",
    progress: bool = False,
) -> TrainingResult:
    """Train a static model on pairs of text, on pairs with scores, or on texts with labels.

    Args:
        data: One or several files, a table or data frame, tuples (see ``statim.data.read_pairs``), or ``"python-docs"``.
            A mapping gives several sets names of their own: ``{"faq": "faq.csv", "docs": "python-docs"}``.
        out: Save the model into this folder.
        start: ``"random"``; an earlier static model; or a sentence transformer to distil, by path or hub name. By default
            all-MiniLM-L6-v2 if it can be had, else random.
        tokenizer: For a random start: a ``tokenizer.json``, a folder or model that has one. By default a vocabulary is learned.
        anchor: Name of the column of anchors, of the first texts of scored pairs, or of texts with labels; guessed by default,
            for each set by itself. Of pairs, here and in the next two a mapping from the names of sets gives it for some.
        positive: Name of the column of positives, or of the second texts of scored pairs; guessed by default.
        negative: Name or names of columns with explicit negatives; guessed by default.
        score: Name of the column of scores; guessed by default.
        label: Name of the column of labels; guessed by default.
        loss: ``contrastive`` or ``triplet`` for pairs, ``cosent`` or ``cosine`` for scored pairs, ``classes`` for labelled texts;
            by default the first for what the columns say (see training.objectives).
        dim: Dimensions. By default those of the start.
        matryoshka: Dimensions at which prefixes are trained to be good by themselves. By default halves of the full one.
        weights: How much each of these counts in the loss, as many numbers; by default all alike.
        batch: Pairs (or labelled texts) per step.
        epochs: Passes over the data.
        learning_rate: Peak rate of Adam, for tables whose entries are about 1.
        scale: Cosines are multiplied by it in the loss (1 / temperature).
        both_directions: Train from positives to anchors too.
        triplet_margin: Of the triplet loss, in cosines.
        precision: ``bf16`` or ``fp32``, of the matrix products.
        seed: Decides splits, order and random numbers.
        mix: How several sets of pairs are mixed: ``together`` (all pairs shuffled, the default), ``proportional`` (each batch is
            of one set, which have as many as they have pairs) or ``turn`` (each batch is of one set, by turns).
        set_weights: How many times the pairs of a set are taken per epoch, by the set's name; 1 where none is given, fractions
            are allowed. With ``turn``: how many turns a set has.
        heldout: How many to hold out for the final table (0 for none), or a file of such data.
        baselines: Put BM25 and the teacher into the table.
        checkpoint_every: Steps between checkpoints (needs ``out``); by default none.
        resume: Go on from the newest checkpoint of an interrupted training into ``out``.
        overwrite: Replace what stands at ``out``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (a GPU if torch sees one). Started several times by torchrun, the processes share
            each batch; only the first evaluates and writes.
        progress: Show progress bars on a terminal.

    Returns:
        The model, the held-out table, the recipe and the seconds each part took.

    Raises:
        DataError: The pairs cannot be read, or there are too few.
        ModelError: The start is no model.
        InputError: An argument is out of range, or training diverged.
        StorageError: The disk is full, read-only, or not permitted.
    """
    place, first = choose(device), distributed.is_first()
    workers = pool.count(threads) if threads is not None else distributed.fair_share(pool.count())
    if out is not None and not resume:
        check_output(out, overwrite=overwrite)
    if resume and out is not None:
        checkpoint_every = checkpoint_every or checkpoint.read_run(out).get("checkpoint_every")
    if (checkpoint_every is not None or resume) and out is None:
        raise InputError("checkpoints stand beside the output; name one (--out DIR)")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise InputError(
            f"checkpoint-every is {checkpoint_every}; it must be a number of steps of at least 1"
        )
    seed = 0 if seed is None else seed
    widest = dim if dim is not None or not matryoshka else max(*matryoshka, 1)
    for name, weight in (set_weights or {}).items():
        check_weight(name, weight)
    Recipe.make(1000, None, dim=widest, levels=matryoshka, batch=batch, epochs=epochs, learning_rate=learning_rate,
                scale=scale, precision=precision, seed=seed, loss=loss, triplet_margin=triplet_margin,
                weights=weights, mix=mix)  # fmt: skip  # refuse nonsense before long work
    seconds: dict[str, float] = {}
    with _clock(seconds, "read"):
        names: dict[str, Any] = {"anchor": anchor, "positive": positive, "score": score, "label": label}
        pairs = read_supervision(data, kind=loss and LOSSES[loss], negative=negative, **names)
        log.info("%s", pairs.report)
        loss = loss or usual_loss(pairs)
        shares = _set_weights(pairs, set_weights or {})
    with _clock(seconds, "split"):
        parts = _hold_out(pairs, heldout, seed, LOSSES[loss], names)
        judged.check(parts.test)
    with _clock(seconds, "start"):
        begun = _begin(start, tokenizer, parts.train, progress)
        recipe = Recipe.make(
            len(parts.train), begun.dim, dim=dim, levels=matryoshka, batch=batch, epochs=epochs, learning_rate=learning_rate,
            scale=scale, both_directions=both_directions, precision=precision, seed=seed,
            loss=loss, triplet_margin=triplet_margin, weights=weights, mix=mix, set_weights=shares,
        )  # fmt: skip
    with _clock(seconds, "tokenize"):
        training_set = training_data(parts.train, begun.tokenizer, threads=workers)
    with _clock(seconds, "start"):
        table = begun.table(training_set, recipe)
        begun_model = StaticModel(table.copy(), begun.tokenizer, begun.settings)
    optimizer = begin(table, training_set, recipe, workers)
    if out is not None and (resume or checkpoint_every is not None):
        run = {"data": pairs.hash, "recipe": recipe.to_dict(), "checkpoint_every": checkpoint_every}
        if resume:
            optimizer = _resumed(out, run, optimizer.rates, workers, recipe) or optimizer
        elif first:
            checkpoint.begin(out, run)
    log.info(
        "training on %s %s: %s, %d dimensions, loss %s, batch %d, %d epoch%s, rate %g, %d threads",
        f"{len(parts.train):,}", pairs.unit, begun.words, recipe.dim, loss, recipe.batch, recipe.epochs, "s" if recipe.epochs > 1 else "",
        recipe.learning_rate, workers,
    )  # fmt: skip
    with _clock(seconds, "train"):
        where = (place, out if first else None, checkpoint_every)
        losses, table = _loop(training_set, optimizer, recipe, *where, progress and first)
        model = StaticModel(table, begun.tokenizer, begun.settings)
    comparison = None
    if len(parts.test) and first:
        with _clock(seconds, "evaluate"):
            comparison = _compare(
                parts, begun_model, model, begun.teacher if baselines else None, baselines, progress
            )
    result = TrainingResult(
        model=model,
        recipe=recipe,
        comparison=comparison,
        pairs={
            "read": len(pairs), "train": len(parts.train), "development": len(parts.development),
            "test": len(parts.test), "moved": parts.moved,
        },
        seconds=seconds,
        start=begun.words,
        teacher=begun.teacher.name if begun.teacher else None,
        losses=losses,
    )  # fmt: skip
    if out is not None and first:
        with _clock(seconds, "save"):
            model.save(out, card=_card(result, pairs), overwrite=overwrite or resume)
            if checkpoint_every is not None or resume:
                checkpoint.finish(out)
    return result


@contextmanager
def _clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def _set_weights(pairs: Supervision, given: Mapping[str, float]) -> tuple[float, ...]:
    """The weight of each set; none where all weigh the same as one."""
    names = pairs.names if isinstance(pairs, Pairs) else ()  # all scored pairs or labelled texts are one
    for name in given:
        if name not in names:
            raise InputError(
                f"a weight is given for the set {name!r}, which is not there; the sets are {', '.join(names[:50])}"
                if names
                else f"a weight is given for the set {name!r}, but only sets of pairs can be weighed; leave it out"
            )
    found = tuple(float(given.get(name, 1)) for name in names)
    return found if any(weight != 1 for weight in found) else ()


def _hold_out(
    pairs: Any, heldout: int | str | Path | None, seed: int, kind: str, names: dict[str, Any]
) -> Split[Any]:
    """Divide the data; half as many as in the test split go to a development split."""
    if isinstance(heldout, (str, Path)):
        own = {role: name for role, name in names.items() if isinstance(name, str)}
        test = read_supervision(heldout, kind=kind, **own)
        return Split(pairs, pairs.select([]), test, moved=0, joined=0, returned=0, asked=(0, len(test)))
    if heldout is not None and (heldout < 0 or heldout > len(pairs) // 2):
        raise InputError(
            f"heldout is {heldout}; it must be a file of {kind}, or a count from 0 to half of the {len(pairs):,} {pairs.unit}"
        )
    count = min(HELD_OUT, int(len(pairs) * HELD_OUT_SHARE)) if heldout is None else heldout
    if count == 0:
        return Split(pairs, pairs.select([]), pairs.select([]), moved=0, joined=0, returned=0, asked=(0, 0))
    return split(pairs, development=count // 2, test=count, seed=seed)


@dataclass
class _Start:
    """What training starts from, before the pairs' tokens are counted."""

    words: str
    tokenizer: Tokenizer
    settings: Settings
    source: npt.NDArray[np.float32] | None  # an earlier table, or a teacher's token vectors
    teacher: Teacher | None = None

    @property
    def dim(self) -> int | None:
        return None if self.source is None else int(self.source.shape[1])

    def table(self, data: TrainingData, recipe: Recipe) -> npt.NDArray[np.float32]:
        """The table to train, (V, recipe.dim), of which the unknown token's row is zero."""
        if self.source is None:
            table = random_table(self.tokenizer.vocabulary_size, recipe.dim, recipe.seed)
        elif self.teacher is None:
            table = widen(unit_scale(self.source), recipe.dim, recipe.seed)
        else:
            frequencies = np.bincount(data.bags.ids, data.bags.counts.astype(np.float64), len(self.source))
            table = distilled_table(self.source, np.asarray(frequencies, np.float64), recipe.dim, recipe.seed)
        if self.tokenizer.unknown_id is not None:
            table[self.tokenizer.unknown_id] = 0
        return table


def _begin(start: Any, tokenizer: Any, pairs: Supervision, progress: bool) -> _Start:
    if start is None:
        try:
            return _from_teacher(Teacher.load(DEFAULT_TEACHER), progress)
        except (ModelError, ImportError) as reason:
            log.info("no teacher, so a random start: %s", reason)
            start = "random"
    if isinstance(start, str) and start == "random":
        chosen = _tokenizer(tokenizer, pairs)
        return _Start("a random start", chosen, Settings(), None)
    if isinstance(start, StaticModel):
        return _from_model(start, "a static model")
    try:
        return _from_model(StaticModel.load(start), f"the static model {start}")
    except ModelError:
        return _from_teacher(Teacher.load(str(start)), progress)


def _from_model(model: StaticModel, words: str) -> _Start:
    return _Start(words, model.tokenizer, Settings(prompts=model.settings.prompts), np.array(model.table))


def _from_teacher(teacher: Teacher, progress: bool) -> _Start:
    vectors = token_vectors(teacher, progress=progress)
    settings = Settings(base_model=teacher.name)
    return _Start(f"{teacher.name}, distilled", Tokenizer(teacher.tokenizer), settings, vectors, teacher)


def _tokenizer(given: Any, pairs: Supervision) -> Tokenizer:
    if isinstance(given, Tokenizer):
        return given
    if given is None:
        return learn_wordpiece(list(pairs.columns))
    path = Path(given)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return Tokenizer.from_json(file.read_bytes())
    return StaticModel.load(given).tokenizer


def _resumed(
    out: str | Path, run: dict[str, Any], rates: npt.NDArray[np.float64], threads: int, recipe: Recipe
) -> SparseAdam | None:
    before = checkpoint.read_run(out)
    if before.get("data") != run["data"]:
        raise InputError(
            f"the pairs are not those of the interrupted training into {out}; give the same files unchanged"
        )
    if before.get("recipe") != run["recipe"]:
        raise InputError(
            f"the settings are not those of the interrupted training into {out}; give the same ones"
        )
    return checkpoint.load(out, rates, threads, recipe)


def _loop(
    data: TrainingData,
    optimizer: SparseAdam,
    recipe: Recipe,
    device: "torch.device",
    out: str | Path | None,
    every: int | None,
    progress: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """The loss of each step, and the table."""
    losses: list[float] = []
    total = (len(optimizer.rates) - 1 - optimizer.step) * min(recipe.batch, len(data))
    unit = "texts" if recipe.loss == "classes" else "pairs"
    with Progress("train", total=total, unit=unit, show=progress) as bar:

        def on_step(state: SparseAdam | DeviceAdam, loss: float) -> None:
            losses.append(loss)
            bar.advance(min(recipe.batch, len(data)), f"loss {np.mean(losses[-20:]):.3f}")
            if out is not None and every and state.step % every == 0:
                checkpoint.save(out, state if isinstance(state, SparseAdam) else state.state())

        if device.type == "cpu" and not distributed.is_distributed():
            fit(data, optimizer, recipe, on_step=on_step)
            return np.array(losses), optimizer.current()
        with distributed.joined(device) as group:
            there = DeviceAdam(optimizer, device, half=recipe.precision == "bf16")
            fit_on_device(
                data, there, recipe, on_step=on_step, needs_state=lambda step: bool(every) and step % (every or 1) == 0,
                group=group,
            )  # fmt: skip
            return np.array(losses), there.current()


def _compare(
    parts: Split[Any],
    before: StaticModel,
    model: StaticModel,
    teacher: Teacher | None,
    bm25: bool,
    progress: bool,
) -> Comparison | Report | None:
    """The held-out table."""
    encoders: dict[str, Encoder] = {"start": before, "trained": model}
    if model.dim >= 64:
        encoders[f"trained, {model.dim // 2} of {model.dim} dimensions"] = _Truncated(model, model.dim // 2)
    if teacher is not None:
        encoders["teacher"] = teacher
    return judged.measure(parts, encoders, bm25=bm25, progress=progress)


@dataclass
class _Truncated:
    """A model used at its first dimensions only."""

    model: StaticModel
    dim: int

    def encode(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode(texts, dim=self.dim, progress=progress)

    def encode_query(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode_query(texts, dim=self.dim, progress=progress)

    def encode_document(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode_document(texts, dim=self.dim, progress=progress)


def _card(result: TrainingResult, pairs: Supervision) -> str:
    """The model card: what, from what, how, and how good."""
    recipe, counts = result.recipe, result.pairs
    text = f"""---
library_name: statim
pipeline_tag: sentence-similarity
tags:
- static-embeddings
- statim
- model2vec
- sentence-transformers
---

# A static embedding model

Trained with statim {__version__} on {datetime.date.today().isoformat()}: {len(result.model.table):,} tokens, {recipe.dim} dimensions
(Matryoshka prefixes {", ".join(map(str, recipe.levels))}), from {result.start}.

```python
import statim
vectors = statim.StaticModel.load("this folder").encode(["a text"])
```

`sentence_transformers.SentenceTransformer("this folder")` and `model2vec.StaticModel.from_pretrained("this folder")` load it as it
is and give the same vectors.

## Data

{pairs.report}

Trained on {counts["train"]:,} {pairs.unit}. Held out were {counts["development"]:,} for development and {counts["test"]:,} for the test,
near-duplicates kept on one side ({counts["moved"]:,} of them changed sides for that).

## Recipe

"""
    text += "".join(f"- {name}: {value}\n" for name, value in recipe.to_dict().items())
    if result.comparison:
        text += f"\n## On held-out {pairs.unit}\n\n{result.comparison.markdown()}\n"
    return text
