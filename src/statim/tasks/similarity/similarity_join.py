"""All pairs of vectors above a cosine: exactly, or cell by cell, which leaves out what is far apart anyhow.

Vectors lie in cells (k-means). One is compared with all vectors of its own cell and of the cells it lies
beside, whose centres are almost as close to it as its own. How close is almost, is measured: a sample of the
vectors is compared with everything, and of the pairs that finds, the margin must be enough for FOUND. A pair
is found from either end. (Probing of several cells: Jégou et al., 2011; the join over cells of both sides is
that of similarity joins by clustering, such as Aumüller and Ceccarello, 2022.)

Products are in bfloat16 where those are faster. What they put above the threshold, less what rounding may
cost, is scored again in float64 from the float32 vectors; so every pair that is given is truly above the
threshold.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError
from statim.progress import Progress
from statim.search.engines.kmeans import beside, kmeans, nearest
from statim.search.engines.products import own_threads, product
from statim.tasks.similarity.vector_set import Items

FOUND = 0.995  # the share of the sample's pairs that the margin must be enough for
FOUND_OF_TEXTS = 0.99  # the same of each text's pairs, on average of the texts
ROUNDING = 0.008  # bfloat16: 2^-9 of either vector, 2^-9 of the product, and what those give together
FEW = 1 << 15  # vectors on the larger side up to which everything is compared
QUERIES = 1 << 12  # vectors of the sample
WAVE = 1 << 10  # of these compared at a time
ENOUGH = 1 << 22  # pairs of a sample, beyond which no further wave is compared
PAIRS = 500  # that a margin is measured on at least, if that many are above the floor
BESIDE = 0.1  # margin where there are no pairs to measure it on
MOST = 30_000_000  # pairs that are kept: 360 MB, and some times as much while they are sorted
LEFT, RIGHT = 1 << 10, 1 << 11  # a block of products

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class CrowdedError(InputError):
    """There are more than MOST pairs."""


class Pairs(NamedTuple):
    """Pairs of items.

    Attributes:
        left: (p,) int32.
        right: (p,) int32.
        scores: (p,) float32, their cosines.
    """

    left: Ints
    right: Ints
    scores: Floats

    def take(self, which: Any) -> "Pairs":
        """Some of them."""
        return Pairs(self.left[which], self.right[which], self.scores[which])


def large(left: Items, right: Items | None) -> bool:
    """Are there enough texts for cells to pay?"""
    return max(len(left), 0 if right is None else len(right)) > FEW


class Sample:
    """Some of the items on the left, compared with every item on the right.

    Args:
        left: n items.
        right: The items that they are compared with; None for themselves.
        floor: Pairs below this cosine are not kept.
        seed: Which items.
        threads: Threads to use.

    Attributes:
        size: How many were compared.
        share: The sample's share of all pairs.
        pairs: Those at or above the floor.
    """

    def __init__(
        self,
        left: Items,
        right: Items | None,
        floor: float,
        *,
        seed: int = 0,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        self.left, self.right, self.floor = left, right, floor
        chosen = np.random.default_rng(seed).permutation(len(left))[:QUERIES].astype(np.int32)
        found: list[Pairs] = []
        self.size = pairs = 0
        with Progress("compare a sample", total=len(chosen), unit="texts", show=progress) as bar:
            wave = 1 << 3  # who knows how many pairs there are
            while self.size < len(chosen) and pairs < ENOUGH:
                some = chosen[self.size : self.size + wave]
                other = left if right is None else right
                found.append(_everything(left, other, some, None, floor, right is None, threads))
                self.size += len(some)
                pairs += len(found[-1].left)
                room = (
                    (ENOUGH - pairs) * self.size // max(1, pairs)
                )  # queries that are likely to fill what is left
                wave = max(1, min(WAVE, 4 * wave, room))
                bar.advance(len(some))
        self.pairs = Pairs(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))
        self.share = self.size / len(left) * (2 if right is None else 1)
        self.queries = chosen[: self.size]

    def count(self, threshold: float) -> int:
        """About how many pairs there are at or above a threshold, which is not below the floor."""
        return round(int((self.pairs.scores >= threshold).sum()) / self.share)

    def partners(self, threshold: float) -> float:
        """The share of the items on the left that have one at least."""
        return len(np.unique(self.pairs.left[self.pairs.scores >= threshold])) / self.size


def pairs_above(
    left: Items,
    right: Items | None,
    threshold: float,
    sample: Sample | None,
    *,
    exact: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> Pairs:
    """All pairs of different items at or above a cosine, each once, sorted by left, then right.

    Args:
        left: n items.
        right: m items that these are compared with; None for themselves: then left < right in every pair.
        threshold: Above 0.
        sample: Of the same sets, its floor at or below the threshold; None for exact ones.
        exact: Compare everything.
        seed: Of the cells.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Raises:
        CrowdedError: There are more than MOST pairs; the message says about how many.
    """
    if sample is not None and sample.count(threshold) > MOST:
        raise CrowdedError(
            f"about {sample.count(threshold):,} pairs are at or above {threshold:g}, more than the "
            f"{MOST:,} that are kept; choose a higher threshold (--report shows how many there are at "
            "several)"
        )
    other, kept = left if right is None else right, _Kept(threshold)
    if exact or sample is None or not large(left, right):
        with Progress("compare", total=len(left), unit="texts", show=progress) as bar:
            for start in range(0, len(left), WAVE):
                rows = np.arange(start, min(start + WAVE, len(left)), dtype=np.int32)
                # of themselves those that follow are enough
                since = start if right is None else 0
                kept.add(_everything(left, other, rows, since, threshold, right is None, threads))
                bar.advance(len(rows))
    else:
        _by_cells(kept, left, right, threshold, sample, seed, threads, progress)
    return _sorted(kept.parts)


def _everything(
    left: Items,
    right: Items,
    rows: Ints,
    since: int | None,
    threshold: float,
    same: bool,
    threads: int | None,
) -> Pairs:
    """Pairs of some left items with all right ones, from ``since`` on; each pair once if it is given."""
    first, workers = since or 0, pool.count(threads)
    queries = left.rough[rows]

    def work(start: int, stop: int) -> Pairs:
        found = []
        for s in range(first + start, first + stop, RIGHT):
            e = min(s + RIGHT, first + stop)
            near = near_pairs(
                left, right, rows, np.arange(s, e, dtype=np.int32), queries, right.rough[s:e], threshold
            )
            if same:
                near = near.take(near.left < near.right if since is not None else near.left != near.right)
            found.append(near)
        return joined(found)

    with own_threads(left.rough):
        # parts by position, so that what they find comes in a fixed order
        parts = [partial(work, *bounds) for bounds in pool.ranges(len(right) - first, 4 * workers)]
        return joined(pool.run(parts, workers))


def near_pairs(
    left: Items, right: Items, rows: Ints, columns: Ints, queries: Any, documents: Any, threshold: float
) -> Pairs:
    """The pairs of some items with some others at or above a threshold: one block of products.

    Args:
        left: n items.
        right: m items.
        rows: (a,) int32, some of those on the left.
        columns: (b,) int32, some of those on the right.
        queries: Their rough vectors, (a, d).
        documents: Likewise, (b, d).
        threshold: The least cosine.
    """
    from statim.kernels.search.neighbors import above, cosines

    block = product(queries, documents)
    rough = threshold - (ROUNDING if block.dtype == np.int16 else 1e-5)
    floors = np.full(len(block), rough, np.float32)
    room = np.empty((2, max(1 << 14, block.shape[1])), np.int32)
    found, row = [], 0
    while row < len(block):
        count, row = above(block, floors, room[0], room[1], row)
        if count:
            first, second = rows[room[0, :count]], columns[room[1, :count]]
            scores = np.empty(count, np.float32)
            cosines(left.vectors, right.vectors, first, second, scores)
            found.append(Pairs(first, second, scores).take(scores >= np.float32(threshold)))
    return joined(found)


def _by_cells(
    kept: "_Kept",
    left: Items,
    right: Items | None,
    threshold: float,
    sample: Sample,
    seed: int,
    threads: int | None,
    progress: bool,
) -> None:
    other = left if right is None else right
    larger = left if len(left) >= len(other) else other
    k = 1 << round(math.log2(2 * math.sqrt(len(larger))))
    centres = kmeans(larger.vectors, larger.rough, k, seed=seed, threads=threads)
    margin = _margin(sample, threshold, centres, threads)
    sides = [left] if right is None else [left, right]
    lying = [beside(side.rough, centres, margin, threads=threads) for side in sides]
    steps = [(0, 0)] if right is None else [(0, 1), (1, 0)]  # who looks into whose cells
    with Progress("compare", total=k * len(steps), unit="cells", show=progress) as bar:
        for probing, lying_in in steps:
            twice = right is None or probing == 1
            for found in _cells(
                sides[probing], sides[lying_in], lying[probing], lying[lying_in], k, threshold, twice, threads
            ):
                kept.add(found if probing == 0 else Pairs(found.right, found.left, found.scores))
                bar.advance(1)


def _cells(
    left: Items,
    right: Items,
    probes: tuple[Ints, Ints, Ints],
    lying: tuple[Ints, Ints, Ints],
    k: int,
    threshold: float,
    twice: bool,
    threads: int | None,
) -> Iterator[Pairs]:
    """The pairs of each cell: of those that lie in it or beside it, and those that lie in it.

    With ``twice`` pairs that are found from the other end too are left to that: inside one set from the one
    that comes first.
    """
    own, rows, cells = probes
    other_looks = lying[1].astype(np.int64) * k + lying[2]  # ascending
    by_cell = np.argsort(cells, kind="stable")
    rows, looks = rows[by_cell], np.searchsorted(cells[by_cell], np.arange(k + 1))
    members = np.argsort(lying[0], kind="stable").astype(np.int32)
    lies = np.searchsorted(lying[0][members], np.arange(k + 1))
    same = left is right

    def work(cell: int) -> Pairs:
        queries, documents = rows[looks[cell] : looks[cell + 1]], members[lies[cell] : lies[cell + 1]]
        found = []
        for start in range(0, len(documents), RIGHT):
            columns = documents[start : start + RIGHT]
            vectors = right.rough[columns]
            for first in range(0, len(queries), LEFT):
                some = queries[first : first + LEFT]
                near = near_pairs(left, right, some, columns, left.rough[some], vectors, threshold)
                if same:
                    near = near.take(near.left != near.right)
                if twice and len(near.left):
                    wanted = near.right.astype(np.int64) * k + own[near.left]
                    places = np.minimum(np.searchsorted(other_looks, wanted), len(other_looks) - 1)
                    again = other_looks[places] == wanted
                    near = near.take(~again | (near.left < near.right) if same else ~again)
                if same:
                    near = Pairs(
                        np.minimum(near.left, near.right), np.maximum(near.left, near.right), near.scores
                    )
                found.append(near)
        return joined(found)

    workers = pool.count(threads)
    with own_threads(left.rough):
        yield from pool.stream(work, range(k), workers)


def _margin(sample: Sample, threshold: float, centres: Floats, threads: int | None) -> float:
    """How far beside its own cell a vector must look, so that FOUND of the sample's pairs are found."""
    from statim.kernels.search.neighbors import cosines

    pairs, left = sample.pairs, sample.left
    right = left if sample.right is None else sample.right
    at = np.flatnonzero(pairs.scores >= threshold)
    if len(at) < PAIRS:  # the closest below it: they need more
        at = np.argsort(-pairs.scores, kind="stable")[:PAIRS]
    at = at[:: max(1, len(at) >> 18)]
    if not len(at):
        return BESIDE
    pairs = pairs.take(at)
    gaps = []
    for items, which, others, partners in (
        (left, pairs.left, right, pairs.right),
        (right, pairs.right, left, pairs.left),
    ):
        different, back = np.unique(which, return_inverse=True)
        _, most = nearest(items.rough[different], centres, threads=threads)
        different_partners, back_partners = np.unique(partners, return_inverse=True)
        cells, _ = nearest(others.rough[different_partners], centres, threads=threads)
        reach = np.empty(len(which), np.float32)
        cosines(items.vectors, centres, which, cells[back_partners], reach)
        gaps.append(most[back] - reach)
    gap = np.minimum(*gaps)
    # of all pairs, and of all texts' pairs, lest a few large groups decide
    texts, back, counts = np.unique(pairs.left, return_inverse=True, return_counts=True)
    weights = 1 / counts[back]
    order = np.argsort(gap)
    by_text = np.searchsorted(np.cumsum(weights[order]), FOUND_OF_TEXTS * len(texts))
    by_pair = math.ceil(FOUND * len(gap)) - 1
    enough = float(gap[order][min(len(gap) - 1, max(by_text, by_pair))])
    return max(0.0, enough) + (ROUNDING / 2 if left.rough.dtype == np.int16 else 1e-6)


class _Kept:
    """Pairs that are found part by part."""

    def __init__(self, threshold: float) -> None:
        self.parts: list[Pairs] = []
        self._threshold, self._count = threshold, 0

    def add(self, pairs: Pairs) -> None:
        """Keep them.

        Raises:
            CrowdedError: There are too many.
        """
        self.parts.append(pairs)
        self._count += len(pairs.left)
        if self._count > MOST:
            raise CrowdedError(
                f"more than {MOST:,} pairs are at or above {self._threshold:g}; choose a higher threshold "
                "(--report shows how many there are at several)"
            )


def joined(parts: list[Pairs]) -> Pairs:
    """All pairs of some parts, in their order."""
    if not parts:
        return Pairs(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    return (
        parts[0]
        if len(parts) == 1
        else Pairs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    )


def _sorted(parts: list[Pairs]) -> Pairs:
    """In order."""
    pairs = joined(parts)
    parts.clear()  # they may be many
    return pairs.take(np.argsort(pairs.left.astype(np.int64) << 32 | pairs.right))
