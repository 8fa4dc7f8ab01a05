"""Batches without state: which pairs a step takes follows from the seed, the epoch and the step alone.

Pairs may be of several data sets. What an epoch takes of a set is a stretch of an endless stream: all pairs
of the set in one order, then all in another, and so on. So every pair is taken as often as the others, also
where an epoch takes half of a set, or all of it two and a half times.
"""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.kernels.training.batch import assemble
from statim.training.datasets.bags import TrainingSet
from statim.training.recipe import Recipe

Rows = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Targets:
    """What each of a batch's B anchors should find among N candidates.

    Attributes:
        columns: (B,) int32, the column of each anchor's positive.
        masked: int32, the columns that are known positives of an anchor but not the one at hand, one anchor's
            after the other's.
        masked_offsets: (B + 1,) int64, where each anchor's begin in ``masked``.
        key: 64 bits that decide what is left of small softmax weights, where they are rounded at random.
    """

    columns: npt.NDArray[np.int32]
    masked: npt.NDArray[np.int32]
    masked_offsets: npt.NDArray[np.int64]
    key: int = 0

    @staticmethod
    def plain(rows: int) -> "Targets":
        """Anchor i's positive is candidate i, and nothing is masked."""
        return Targets(np.arange(rows, dtype=np.int32), np.zeros(0, np.int32), np.zeros(rows + 1, np.int64))

    def tile(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[npt.NDArray[Any], ...]:
        """The three of a tile: columns count from its first, -1 is a positive outside of it."""
        (start, end), (first, last) = rows, columns
        positives = self.columns[start:end]
        offsets = self.masked_offsets[start : end + 1]
        masked = self.masked[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        if first == 0 and last > max(positives.max(initial=-1), masked.max(initial=-1)):
            return positives, masked, offsets
        inside = (positives >= first) & (positives < last)
        kept = (masked >= first) & (masked < last)
        before = np.concatenate([[0], np.cumsum(kept)])
        return (
            np.where(inside, positives - first, -1).astype(np.int32),
            masked[kept] - np.int32(first),
            before[offsets],
        )


def order(seed: int, epoch: int, pairs: int, stream: int = 0) -> Rows:
    """The order of n pairs in an epoch, (n,): different each epoch and stream, fixed by the seed.

    int32 while that holds n, so that it takes 80 MB for 20 million pairs.
    """
    rows: Rows = np.arange(pairs, dtype=np.int32) if pairs < 1 << 31 else np.arange(pairs)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, stream]))
    generator.shuffle(rows)
    return rows


class Stream:
    """Endless batches of n plain things beside a schedule: all in one order, then in another.

    Things that fill no batch are left to another order. Which a step takes follows from the seed and the step
    alone.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self._count, self._batch, self._seed = count, min(batch, count), seed
        self._turn, self._rows = -1, np.zeros(0, np.int32)

    def __call__(self, step: int) -> npt.NDArray[np.int64]:
        """The rows of a step (from 0, counted through all epochs), (B,)."""
        turn, place = divmod(step, self._count // self._batch)
        if turn != self._turn:
            # a counter that no order of pairs and no dropout begins with
            self._turn, self._rows = turn, order(self._seed, turn, self._count, 1 << 33)
        return np.asarray(self._rows[place * self._batch : (place + 1) * self._batch], np.int64)


def dropout_key(seed: int, step: int) -> int:
    """What decides which tokens a step (from 0, counted through all epochs) leaves out: 64 bits."""
    # counters that no order and no draw of positives begins with
    return int(np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1 << 32]).random_raw())


def rounding_key(seed: int, step: int) -> int:
    """What decides which small softmax weights a step leaves out: 64 bits."""
    return int(np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1 << 34]).random_raw())


class Schedule:
    """The rows of the data that each step takes.

    With ``together`` an epoch shuffles the pairs of all sets, each set as many times as it weighs. With
    ``proportional`` and ``turn`` every batch is of one set, and the batches of the sets are spread evenly
    over the epoch: as many as a set has pairs times its weight, or with ``turn`` as many of each set times
    its weight, small ones coming round more often. Pairs that fill no batch are left to another epoch's
    order.

    Args:
        data: n pairs, perhaps of several sets.
        recipe: Its batch, mix, set weights and seed.

    Attributes:
        steps: Batches in an epoch, at least 1.
        size: Rows in each batch: the recipe's, or all that an epoch takes where these are fewer.

    Raises:
        InputError: Batches are to be of one set and a set has fewer pairs than one; or all weights are 0.
    """

    def __init__(self, data: Sized, recipe: Recipe) -> None:
        sets = data.sets if isinstance(data, TrainingSet) else np.zeros(len(data), np.uint16)
        names = data.names if isinstance(data, TrainingSet) else ("pairs",)
        self._sizes = np.bincount(sets, minlength=len(names))
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._by_set = None if (sets[1:] >= sets[:-1]).all() else np.argsort(sets, kind="stable")
        self._weights = np.array(recipe.set_weights or [1.0] * len(names))
        self._together, self._batch, self._seed = recipe.mix == "together", recipe.batch, recipe.seed
        self._orders: dict[int, tuple[int, Rows]] = {}  # of each set, the newest
        if self._together:
            self._taken = np.rint(self._sizes * self._weights).astype(np.int64)
            total = int(self._taken.sum())
            self.steps = max(1, total // self._batch)
        else:
            self._taken = self._batches(names, recipe.mix)
            total = self.steps = int(self._taken.sum())
            self._sequence, self._place = _spread(self._taken)
        self.size = min(self._batch, total) if self._together else self._batch
        if total == 0:
            raise InputError(
                "the weights leave no pairs to train on; give at least one set a larger weight "
                "(--weight NAME=1)"
            )

    def __call__(self, step: int) -> npt.NDArray[np.int64]:
        """The rows of the batch of a step (from 0, counted through all epochs), (B,)."""
        epoch, step = divmod(step, self.steps)
        if self._together:
            rows = self._epoch(epoch)[step * self._batch : (step + 1) * self._batch]
        else:
            part = int(self._sequence[step])
            number = epoch * int(self._taken[part]) + int(self._place[step])
            turn, place = divmod(number, int(self._sizes[part]) // self._batch)
            rows = self._order(part, turn)[place * self._batch : (place + 1) * self._batch]
            rows = rows + self._starts[part]
        return np.asarray(rows if self._by_set is None else self._by_set[rows], np.int64)

    def _epoch(self, epoch: int) -> Rows:
        """All that an epoch takes, shuffled."""
        if -1 not in self._orders or self._orders[-1][0] != epoch:
            self._orders.pop(-1, None)  # before the next is made: one takes memory enough
            shuffled = order(self._seed, epoch, int(self._taken.sum()))
            if (self._taken != self._sizes).any():
                parts = [self._stretch(part, epoch) for part in range(len(self._taken))]
                shuffled = np.concatenate(parts)[shuffled]
            self._orders[-1] = epoch, shuffled
        return self._orders[-1][1]

    def _stretch(self, part: int, epoch: int) -> Rows:
        """What an epoch takes of a set."""
        size, taken = int(self._sizes[part]), int(self._taken[part])
        found = []
        position, end = epoch * taken, (epoch + 1) * taken
        while position < end:
            turn, start = divmod(position, size)
            stop = min(size, start + end - position)
            found.append(self._order(part, turn)[start:stop] + np.int32(self._starts[part]))
            position += stop - start
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def _order(self, part: int, turn: int) -> Rows:
        """The order in which a set's pairs come when all are taken for the ``turn``-th time."""
        if part not in self._orders or self._orders[part][0] != turn:
            self._orders[part] = turn, order(self._seed, turn, int(self._sizes[part]), 1 + part)
        return self._orders[part][1]

    def _batches(self, names: tuple[str, ...], mix: str) -> npt.NDArray[np.int64]:
        """How many batches an epoch takes of each set."""
        used = self._weights > 0
        for name, size, needed in zip(names, self._sizes, used, strict=True):
            if needed and size < self._batch:
                raise InputError(
                    f"the set {name!r} has {size:,} pairs to train on, fewer than a batch of "
                    f"{self._batch:,}; make batches smaller (--batch), mix the sets together (--mix "
                    "together), or leave it out"
                )
        wanted = self._sizes // self._batch * self._weights
        if mix == "turn":
            wanted = wanted.sum() * self._weights / max(self._weights.sum(), 1e-9)
        return np.where(used, np.maximum(np.rint(wanted), 1), 0).astype(np.int64)


def _spread(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The set of each batch of an epoch, and the batch's number in it; sets are evenly spread."""
    sets = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(sets)) - np.repeat(np.cumsum(counts) - counts, counts)
    sequence = np.lexsort((sets, (2 * places + 1) / counts[sets]))
    return sets[sequence], places[sequence]


class Assembler:
    """Turns chosen pairs into the texts and targets of a batch; keeps the scratch arrays between steps."""

    def __init__(self, data: TrainingSet, batch: int) -> None:
        self._data = data
        self._column_of = np.full(len(data.bags.totals), -1, np.int32)
        self._texts = np.empty(batch * (1 + data.candidates.shape[1]), np.int64)

    def __call__(self, pairs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Targets]:
        """The texts to pool (B anchors, N unique candidates; valid until the next call) and the targets."""
        data = self._data
        columns = np.empty(len(pairs), np.int32)
        masked_offsets = np.empty(len(pairs) + 1, np.int64)
        found, masked = assemble(
            pairs, data.anchors, data.candidates, data.known, data.known_offsets,
            self._column_of, self._texts, columns, masked_offsets,
        )  # fmt: skip
        return self._texts[: len(pairs) + found], Targets(columns, masked, masked_offsets)
