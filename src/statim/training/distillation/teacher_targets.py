"""Teacher targets beyond the initialization: vectors to match, scores to follow, documents to find."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.detect_task import Supervision
from statim.data.documents.plain import PlainTexts
from statim.data.files import columns
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError
from statim.option import check_number
from statim.progress import Progress
from statim.spilled_array import stacked
from statim.teacher.folder import DEFAULT_TEACHER
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.sets import TextSet, TrainingData
from statim.training.datasets.views import Halves, Views
from statim.training.distillation.targets import axes_of, mapped, turned
from statim.training.distillation.teacher_vectors import BLOCK, vectors_among
from statim.training.hyperparameters import TAUGHT
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import begin, fit
from statim.training.losses.objectives import check_negatives
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.run.load import Loaded

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TeacherTargets:
    """What a training learns from its teachers.

    Attributes:
        data: What is trained on, with the teacher's vectors where the loss needs them.
        taught: Texts and their targets, of bags that begin with those of ``data``; None where only scores are
            learned.
        mixed: Are these texts trained on beside ``data``?
        axes: (D, d) what the teacher's vectors are turned by to be targets; None where they stay as they are.
        weights: Of the teachers; none where all count alike.
    """

    data: TrainingData
    taught: TextSet | None
    mixed: bool
    axes: Floats | None
    weights: tuple[float, ...] = ()

    def start(self, table: Floats, threads: int) -> Floats:
        """The table with which a training from ``table`` begins: brought close to the targets."""
        if self.taught is None:
            return table
        taught = self.taught
        return mapped(table, taught.bags, taught.texts, taught.targets, threads)

    def targets(
        self,
        teachers: Sequence[Teacher],
        texts: pa.LargeStringArray,
        read: pa.LargeStringArray,
        **options: Any,
    ) -> Floats:
        """The targets of other texts, (n, d); see ``vectors_among``."""
        vectors = _by_all(teachers, texts, read, self.weights, **options)
        return (vectors if self.axes is None else turned(vectors, self.axes)).astype(np.float32)


def find_teachers(options: TrainOptions, own: Teacher | None) -> tuple[Teacher, ...]:
    """The teachers of a training that needs any: those named, else the start's, else the default.

    Raises:
        InputError: A teacher is named without anything to learn from it, twice, with a weight that is none,
            or beside others where only one can teach.
        ModelError: There is no such teacher.
        DependencyError: sentence-transformers is not installed.
    """
    given = options.teacher
    names = [given] if isinstance(given, (str, Path)) else list(given or ())
    weights_of(given)
    if options.distil is None and options.loss not in TAUGHT and options.documents_by is None:
        if names:
            raise InputError(
                "a teacher is named, but nothing is to be learned from it; give texts (--distil), a "
                "loss (--loss margin-mse or kl), or leave "
                "it out (to distil its tokens as the start, give --start)"
            )
        return ()
    if len(names) > 1 and (options.documents_by is not None or options.loss in TAUGHT[:2]):
        what = f"loss {options.loss}" if options.documents_by is None else "documents of --documents-by"
        raise InputError(f"{len(names)} teachers are named, but the {what} can only be of one; name one")
    if len(set(map(str, names))) < len(names):
        raise InputError(f"a teacher is named twice ({', '.join(map(str, names))}); name each once")
    if names and options.documents_by is not None and str(names[0]) != str(options.documents_by):
        raise InputError(
            f"the teacher is {names[0]} and documents are by {options.documents_by}; queries are "
            "taught by the documents' teacher, so "
            "leave the first out"
        )
    if options.documents_by is not None:
        names = [options.documents_by]
    if not names and own is not None:
        return (own,)
    return tuple(
        own if own is not None and str(name) == own.name else Teacher.load(name)
        for name in names or [DEFAULT_TEACHER]
    )


def weights_of(given: object) -> tuple[float, ...]:
    """How much each teacher's cosines count; none where all count alike.

    Raises:
        InputError: A weight is not above 0.
    """
    weights = list(given.values()) if isinstance(given, Mapping) else []
    for name, weight in given.items() if isinstance(given, Mapping) else ():
        check_number(f"the weight of the teacher {name}", weight, 1e-3, 1000)
    return tuple(map(float, weights)) if len(set(weights)) > 1 else ()


def teacher_targets(
    data: TrainingData,
    loaded: Loaded,
    teachers: Sequence[Teacher],
    tokenizer: Tokenizer,
    recipe: Recipe,
    threads: int,
    progress: bool,
) -> TeacherTargets:
    """Ask the teachers all that a training needs.

    Args:
        data: What is trained on.
        loaded: The same as texts, and texts to train on beside: where it has none, those of the pairs, if the
            recipe has a ``distil_weight``.
        teachers: One; or several, whose vectors of texts stand side by side, so that a cosine is the mean of
            theirs, weighted by the recipe's ``teacher_weights``.
        tokenizer: The model's.
        recipe: Its loss, ``distil_weight``, ``asymmetric`` and dimensions.
        threads: Threads to use.
        progress: Show progress bars on a terminal.

    Raises:
        InputError: The texts of pairs are wanted, and there are no pairs.
    """
    options: dict[str, Any] = {"threads": threads, "progress": progress}
    given, plain, drawn = loaded.parts.train, loaded.plain, loaded.drawn
    mixed = recipe.distil_weight > 0 and not isinstance(data, TextSet)
    wants_pairs = recipe.loss in TAUGHT[:2] or (not isinstance(data, TextSet) and recipe.asymmetric)
    weights, views = recipe.teacher_weights, None
    if wants_pairs or (mixed and plain is None):
        if not isinstance(data, TrainingSet) or not isinstance(given, Pairs):
            raise InputError(
                f"a teacher can be asked for the texts of pairs, and these are {given.unit} for the "
                f"loss {recipe.loss}; "
                "give plain texts (--distil FILE)"
            )
        if recipe.loss in TAUGHT[:2] and recipe.hard_negatives == 0:
            check_negatives(data, recipe.loss)  # before the teacher reads them
        views = _views(given, loaded.whole, data, teachers, weights, options)
        data = dataclasses.replace(data, views=views if wants_pairs else None)
    taught, vectors = None, np.zeros((0, 0), np.float16)
    role = "query" if recipe.asymmetric else "text"
    if isinstance(data, TextSet):
        read = loaded.whole.texts if isinstance(loaded.whole, PlainTexts) else given.texts
        taught, vectors = data, _by_all(teachers, given.texts, read, weights, role=role, **options)
    elif mixed and plain is not None and drawn is not None:
        taught = TextSet.of(plain, tokenizer, threads=threads).behind(data.bags)
        vectors = _by_all(teachers, plain.texts, drawn.texts, weights, role=role, **options)
    elif mixed and views is not None:
        numbers = np.concatenate(
            [np.flatnonzero(views.query_of >= 0), np.flatnonzero(views.document_of >= 0)]
        )
        taught = TextSet(data.bags, numbers)
        vectors = stacked([views.queries, views.documents], views.queries.shape[1])
    if taught is None:
        return TeacherTargets(data, None, False, None)
    axes = None if recipe.asymmetric else axes_of(vectors, recipe.dim)
    taught = dataclasses.replace(taught, targets=vectors if axes is None else turned(vectors, axes))
    return TeacherTargets(taught if isinstance(data, TextSet) else data, taught, mixed, axes, weights)


def distilled_first(
    table: Floats,
    texts: TextSet,
    recipe: Recipe,
    row_rates: Floats | None,
    threads: int,
    progress: bool,
) -> Floats:
    """A table after ``distil_epochs`` over a teacher's texts alone.

    Args:
        table: (V, d), which is trained in place.
        texts: The texts and their targets.
        recipe: Of the training that follows, whose rate, precision and seed are taken.
        row_rates: (V,) what each row's rate is multiplied by; None where all are 1.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Returns:
        (V, d) float32.

    Raises:
        DivergenceError: The loss is no longer finite.
    """
    alone = Recipe.make(
        len(texts), None, loss="distillation", epochs=recipe.distil_epochs, dim=recipe.dim,
        levels=recipe.levels,
        weights=recipe.weights, learning_rate=recipe.learning_rate, clip=recipe.clip,
        precision=recipe.precision,
        row_wise=recipe.row_wise, seed=recipe.seed,
    )  # fmt: skip
    optimizer = begin(table, texts, alone, threads, row_rates=row_rates)
    with Progress("distil", total=len(texts) * alone.epochs, unit="texts", show=progress) as bar:

        def on_step(_: SparseAdam, loss: float) -> None:
            bar.advance(alone.batch, f"loss {loss:.3f}")

        fit(texts, optimizer, alone, on_step=on_step)
    return optimizer.finish()


def hash_of(teachers: Sequence[Teacher], plain: PlainTexts | None) -> str:
    """The same for the same teachers and texts beside the pairs."""
    parts = [*([teacher.hash for teacher in teachers] or [""]), plain.hash if plain else ""]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _views(
    pairs: Pairs,
    whole: Supervision,
    data: TrainingSet,
    teachers: Sequence[Teacher],
    weights: Sequence[float],
    options: dict[str, Any],
) -> Views:
    texts, count = texts_of(pairs, data), len(data.bags.totals)
    read = whole if isinstance(whole, Pairs) else pairs  # of documents, pairs are made after the split
    of, vectors = [], []
    for role, numbers, there in (
        ("query", data.anchors, [read.anchors]),
        ("document", data.candidates, [read.positives, *read.negatives]),
    ):
        own = np.unique(numbers[numbers >= 0])
        rows = np.full(count, -1, np.int32)
        rows[own] = np.arange(len(own))
        of.append(rows)
        different = pc.unique(pa.chunked_array(there)).drop_null()
        some = texts.take(pa.array(own))
        vectors.append(_by_all(teachers, some, different, weights, role=role, **options))
    return Views(vectors[0], vectors[1], of[0], of[1])


def _by_all(
    teachers: Sequence[Teacher],
    texts: pa.LargeStringArray,
    read: pa.LargeStringArray,
    weights: Sequence[float],
    **options: Any,
) -> Halves:
    """Vectors of several teachers side by side: (n, sum of dimensions) float16; see ``vectors_among``.

    Each teacher's vectors are as long as the root of its weight, so that cosines count by the weights.
    """
    parts = [vectors_among(teacher, texts, read, **options) for teacher in teachers]
    if len(parts) == 1:
        return parts[0]
    lengths = np.sqrt(weights or [1] * len(parts)).astype(np.float16)
    blocks = (
        np.hstack([part[start : start + BLOCK] * size for part, size in zip(parts, lengths, strict=True)])
        for start in range(0, len(texts), BLOCK)
    )
    return stacked(blocks, sum(teacher.dim for teacher in teachers))


def texts_of(pairs: Pairs, data: TrainingSet) -> pa.LargeStringArray:
    """The T distinct texts of pairs, in the order in which ``data`` numbers them."""
    given = [pairs.anchors, pairs.positives, *pairs.negatives]
    where = np.zeros(len(data.bags.totals), np.int64)
    for place, numbers in enumerate([data.anchors, *data.candidates.T[: len(given) - 1]]):
        there = np.flatnonzero(numbers >= 0)
        where[numbers[there]] = place * len(pairs) + there
    return columns.flat(pa.chunked_array(given).take(pa.array(where)))
