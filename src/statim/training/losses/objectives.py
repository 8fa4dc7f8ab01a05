"""What a training aims at: which texts a step pools, and the loss of their vectors with its gradient.

The loop knows no more.

An objective's ``batch`` gives the texts of a step and their targets, which follow from the seed, the epoch
and the step alone; calling it with the texts' vectors and those targets gives the loss and its gradient.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Assembler, Stream, Targets, rounding_key
from statim.training.datasets.sets import ClassSet, ScoredSet, TextSet, TrainingData
from statim.training.datasets.views import Views
from statim.training.losses.contrastive import contrastive
from statim.training.losses.pairwise import Loss, cosent, cosine, distance, kl, margin_mse, pairwise, triplet
from statim.training.losses.workspace import Workspace
from statim.training.recipe import Recipe

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
T = TypeVar("T")


class Objective(Protocol, Generic[T]):
    """See above; T is the type of the targets."""

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, T]:
        """The texts to pool for some rows of data (m,), valid until the next call, and the targets."""

    def __call__(self, vectors: Floats, targets: T) -> tuple[float, Floats]:
        """The loss of the texts' vectors (m, d) and its gradient (m, d)."""


def objective(data: TrainingData, recipe: Recipe, threads: int) -> Objective[Any]:
    """What a recipe's loss makes of data.

    Raises:
        InputError: The loss is for data of another kind.
    """
    if isinstance(data, TrainingSet) and recipe.loss == "contrastive":
        return (Asymmetric if recipe.asymmetric else Contrastive)(data, recipe, threads)
    if isinstance(data, TrainingSet) and recipe.loss in ("margin-mse", "kl"):
        return Ranked(data, recipe, threads)
    if isinstance(data, TrainingSet) and recipe.loss == "triplet":
        return Triplets(data, recipe, threads)
    if isinstance(data, ScoredSet) and recipe.loss in ("cosent", "cosine"):
        return Scores(data, recipe, threads)
    if isinstance(data, ClassSet) and recipe.loss == "classes":
        return Classes(data, recipe, threads)
    if isinstance(data, TextSet) and recipe.loss == "distillation":
        return Distillation(data, recipe, threads)
    raise InputError(f"the loss {recipe.loss} is not for a {type(data).__name__}")


class Contrastive:
    """Each anchor finds its positive among all candidates of the batch: see contrastive.py."""

    def __init__(self, data: TrainingSet, recipe: Recipe, threads: int) -> None:
        self._recipe, self._threads = recipe, threads
        self._assemble, self._workspace = Assembler(data, recipe.batch), Workspace()

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Targets]:  # noqa: ARG002
        """Anchors, then unique candidates."""
        texts, targets = self._assemble(rows)
        return texts, replace(targets, key=rounding_key(self._recipe.seed, step))

    def __call__(self, vectors: Floats, targets: Targets) -> tuple[float, Floats]:
        """The contrastive loss."""
        return _contrastive(vectors, targets, self._recipe, self._threads, self._workspace)


class Asymmetric:
    """Each anchor finds its positive among the teacher's vectors of all candidates, which do not move."""

    def __init__(self, data: TrainingSet, recipe: Recipe, threads: int) -> None:
        self._views, self._recipe, self._threads = _views(data), recipe, threads
        self._assemble, self._workspace = Assembler(data, recipe.batch), Workspace()

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, tuple[Targets, Floats]]:  # noqa: ARG002
        """Anchors alone; candidates come as vectors, with the targets."""
        texts, targets = self._assemble(rows)
        targets = replace(targets, key=rounding_key(self._recipe.seed, step))
        return texts[: len(rows)], (targets, self._views.of_documents(texts[len(rows) :]))

    def __call__(self, vectors: Floats, targets: tuple[Targets, Floats]) -> tuple[float, Floats]:
        """The contrastive loss, and its gradient by the anchors."""
        columns, documents = targets
        both = np.concatenate([vectors, documents])
        loss, gradient = _contrastive(both, columns, self._recipe, self._threads, self._workspace)
        return loss, gradient[: len(vectors)]


def check_negatives(data: TrainingSet, loss: str) -> None:
    """Refuse pairs without negatives.

    Raises:
        InputError: No pair has any.
    """
    if not (data.candidates[:, 1:] >= 0).any():
        raise InputError(
            f"the loss {loss} needs negatives, and the pairs have none; give them in a column called "
            "negative, or choose the loss contrastive"
        )


def _views(data: TrainingSet) -> Views:
    if data.views is None:
        raise InputError("this loss needs a teacher's vectors of the pairs, and there are none")
    return data.views


def _contrastive(
    vectors: Floats, targets: Targets, recipe: Recipe, threads: int, workspace: Workspace
) -> tuple[float, Floats]:
    anchors = len(targets.columns)
    loss, gradient = contrastive(
        vectors[:anchors], vectors[anchors:], targets, levels=recipe.levels, weights=recipe.weights,
        scale=recipe.scale,
        both_directions=recipe.both_directions, margin=recipe.false_negative_margin,
        precision=recipe.precision, least_share=recipe.least_share,
        threads=threads, workspace=workspace,
    )  # fmt: skip
    return loss, gradient


class Classes:
    """Contrastive: a positive is another text of the class, and no text of the class is a negative.

    The positive is drawn again each time; a text that is alone in its class has itself. Masks take as many
    entries as the batch has pairs of anchors and candidates of one class: half of B x B where there are two
    classes.
    """

    def __init__(self, data: ClassSet, recipe: Recipe, threads: int) -> None:
        self._data, self._recipe, self._threads, self._workspace = data, recipe, threads, Workspace()
        self._places = np.empty(
            len(data), np.int64
        )  # the place of each text among the members of all classes
        self._places[data.members] = np.arange(len(data))

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Targets]:
        """Anchors, then unique candidates."""
        data = self._data
        candidates, columns = np.unique(self._draw(rows, epoch, step), return_inverse=True)
        classes, own = data.classes[candidates], data.classes[rows]
        order = np.argsort(classes, kind="stable")
        starts, ends = (np.searchsorted(classes[order], own, side=side) for side in ("left", "right"))
        masked = order[_runs(starts, ends - starts)]
        others = masked != np.repeat(columns, ends - starts)  # its positive is of its class too
        offsets = np.append(0, np.cumsum(ends - starts - 1))
        key = rounding_key(self._recipe.seed, step)
        targets = Targets(columns.astype(np.int32), masked[others].astype(np.int32), offsets, key)
        return np.concatenate([rows, candidates]), targets

    def _draw(self, rows: Positions, epoch: int, step: int) -> Positions:
        """Another text of each row's class, all with the same probability."""
        classes = self._data.classes[rows]
        starts, sizes = self._data.offsets[classes], np.diff(self._data.offsets)[classes]
        # of the same key as the epoch's order, but of other counters
        random = np.random.Generator(
            np.random.Philox(key=[self._recipe.seed, epoch], counter=[0, 0, step, 1])
        )
        further = random.integers(1, np.maximum(sizes, 2))
        chosen: Positions = self._data.members[
            starts + (self._places[rows] - starts + further) % sizes
        ].astype(np.int64)
        return chosen

    def __call__(self, vectors: Floats, targets: Targets) -> tuple[float, Floats]:
        """The contrastive loss."""
        return _contrastive(vectors, targets, self._recipe, self._threads, self._workspace)


class Scores:
    """Cosines follow scores: in their order (CoSENT), or in their values (cosine)."""

    def __init__(self, data: ScoredSet, recipe: Recipe, threads: int) -> None:
        self._data, self._recipe, self._threads = data, recipe, threads
        self._scores = data.scores if recipe.loss == "cosent" else as_cosines(data.scores)

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Positions]:  # noqa: ARG002
        """First texts, then second texts; the targets are the rows themselves."""
        return np.concatenate([self._data.first[rows], self._data.second[rows]]).astype(np.int64), rows

    def __call__(self, vectors: Floats, targets: Positions) -> tuple[float, Floats]:
        """CoSENT, or the mean square of cosines less scores."""
        scores = self._scores[targets]
        loss: Loss = (
            partial(cosent, scores=scores, scale=self._recipe.scale)
            if self._recipe.loss == "cosent"
            else partial(cosine, scores=scores)
        )
        return _pairwise(vectors, np.arange(len(targets) + 1), loss, self._recipe, self._threads)


class Triplets:
    """A positive is closer to its anchor than the anchor's own negatives, by a margin."""

    def __init__(self, data: TrainingSet, recipe: Recipe, threads: int) -> None:
        check_negatives(data, recipe.loss)
        self._data, self._recipe, self._threads = data, recipe, threads

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Any]:  # noqa: ARG002
        """Anchors, then the positive and the negatives of each; the targets are where each anchor's begin."""
        candidates = self._data.candidates[rows]
        there = candidates >= 0
        offsets = np.append(0, np.cumsum(there.sum(axis=1)))
        return np.concatenate([self._data.anchors[rows], candidates[there]]).astype(np.int64), offsets

    def __call__(self, vectors: Floats, targets: Any) -> tuple[float, Floats]:
        """The triplet loss."""
        loss = partial(triplet, offsets=targets, margin=self._recipe.triplet_margin)
        return _pairwise(vectors, targets, loss, self._recipe, self._threads)


class Ranked(Triplets):
    """Candidates as close to an anchor as the teacher has them, by differences or distribution.

    MarginMSE follows differences, KL the distribution.
    """

    def __init__(self, data: TrainingSet, recipe: Recipe, threads: int) -> None:
        super().__init__(data, recipe, threads)
        self._views = _views(data)

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Any]:
        """Anchors, then each one's candidates; targets are each anchor's offset and the teacher's cosines."""
        texts, offsets = super().batch(rows, epoch, step)
        asked = self._views.of_queries(texts[: len(rows)]).repeat(np.diff(offsets), axis=0)
        scores = np.einsum("ed,ed->e", asked, self._views.of_documents(texts[len(rows) :]))
        return texts, (offsets, scores.astype(np.float64))

    def __call__(self, vectors: Floats, targets: Any) -> tuple[float, Floats]:
        """MarginMSE, or the divergence."""
        offsets, scores = targets
        loss: Loss = partial(margin_mse, offsets=offsets, scores=scores)
        if self._recipe.loss == "kl":
            loss = partial(kl, offsets=offsets, scores=scores, scale=self._recipe.scale)
        return _pairwise(vectors, offsets, loss, self._recipe, self._threads)


class Distillation:
    """Match a teacher's directions at every level: the weighted mean over levels of 1 - cosine."""

    def __init__(self, data: TextSet, recipe: Recipe, threads: int) -> None:
        self._data, self._levels, self._threads = data, recipe.levels, threads
        weights = np.ones(len(recipe.levels)) if recipe.weights is None else np.asarray(recipe.weights)
        self._weights = (weights / max(weights.sum(), 1e-12)).tolist()

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, Floats]:  # noqa: ARG002
        """The texts; the targets are the teacher's vectors of them."""
        return self._data.texts[rows], self._data.targets[rows].astype(np.float32)

    def __call__(self, vectors: Floats, targets: Floats) -> tuple[float, Floats]:
        """The distance of the vectors from their targets."""
        loss, gradient = pairwise(
            np.concatenate([vectors, targets]), np.arange(len(vectors) + 1), distance,
            levels=self._levels, weights=self._weights, threads=self._threads,
        )  # fmt: skip
        return loss, gradient[: len(vectors)]


class Mixed:
    """An objective, and the distillation of as many plain texts in the same step: their losses are added.

    Args:
        inner: The objective.
        texts: What the teacher makes of plain texts; of the same bags as the data of ``inner``.
        recipe: Its ``distil_weight`` and batch.
        threads: Threads to use.
    """

    def __init__(self, inner: Objective[Any], texts: TextSet, recipe: Recipe, threads: int) -> None:
        self._inner, self._outer = inner, Distillation(texts, recipe, threads)
        self._weight, self._rows = recipe.distil_weight, Stream(len(texts), recipe.batch, recipe.seed)

    def batch(self, rows: Positions, epoch: int, step: int) -> tuple[Positions, tuple[int, Any, Floats]]:
        """The objective's texts, then the plain ones."""
        texts, targets = self._inner.batch(rows, epoch, step)
        more, wanted = self._outer.batch(self._rows(step), epoch, step)
        return np.concatenate([texts, more]), (len(texts), targets, wanted)

    def __call__(self, vectors: Floats, targets: tuple[int, Any, Floats]) -> tuple[float, Floats]:
        """The weighted sum of both losses."""
        own, inner, wanted = targets
        loss, gradient = self._inner(vectors[:own], inner)
        more, pulls = self._outer(vectors[own:], wanted)
        pulls *= np.float32(self._weight)
        return loss + self._weight * more, np.concatenate([gradient, pulls])


def as_cosines(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores as cosines can be: as they are if none is beyond -1 or 1, else brought linearly to 0 ... 1."""
    low, high = scores.min(), scores.max()
    return scores if low >= -1 and high <= 1 else (scores - low) / (high - low)


def _pairwise(
    vectors: Floats, offsets: Positions, loss: Loss, recipe: Recipe, threads: int
) -> tuple[float, Floats]:
    value, gradient = pairwise(
        vectors, offsets, loss, levels=recipe.levels, weights=recipe.weights, threads=threads
    )
    return value, gradient


def _runs(starts: Positions, lengths: Positions) -> Positions:
    """The numbers starts[i], starts[i] + 1, ..., lengths[i] of them, for one i after the other."""
    before = np.cumsum(lengths) - lengths
    numbers: Positions = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return numbers
