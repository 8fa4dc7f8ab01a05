"""K-means of unit vectors, on a sample and then by mini-batches; and which cells a vector lies in or beside.

The centre closest by cosine is a vector's (spherical k-means: Dhillon and Modha, 2001). Lloyd's steps on a
sample place the centres; then batches of all vectors move them, each by the mean of all that it has had so
far (Sculley, "Web-scale k-means clustering", 2010).
"""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.search.engines.products import own_threads, product, rounded

ROWS = 1 << 11  # vectors multiplied at a time by one thread
BATCH = 1 << 15  # vectors of a mini-batch
SAMPLE = 64  # vectors a cell that Lloyd's steps see
STEPS = 8  # of Lloyd
LONGEST = 1 << 33  # multiplications that k-means++ may take; else centres start at random vectors

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


def kmeans(
    vectors: Floats, rough: npt.NDArray[Any], k: int, *, seed: int = 0, passes: int = 0, each: int = SAMPLE,
    spread: bool = True, threads: int | None = None,
) -> Floats:  # fmt: skip
    """The centres of k cells.

    Args:
        vectors: (n, d) float32 of length 1, n >= k.
        rough: The same in the type that products take.
        k: Cells.
        seed: Of all random choices.
        passes: Times that all vectors go by in mini-batches after the sample.
        each: Vectors a cell that the sample has.
        spread: Centres start far from one another (k-means++), where that is quick; else at random vectors.
        threads: Threads to use.

    Returns:
        (k, d) float32 of length 1. The same for the same seed and threads.
    """
    random, n = np.random.default_rng(seed), len(vectors)
    some = np.sort(random.choice(n, min(n, max(each * k, 1 << 14)), replace=False))
    sample, sample_rough = vectors[some], rough[some]
    centres = _start(sample, k, random, spread)
    sums, counts = np.zeros(centres.shape), np.zeros(k, np.int64)
    for _ in range(STEPS if passes == 0 else 2 * STEPS):
        sums, counts = _moved(sample, sample_rough, centres, threads)
        empty = np.flatnonzero(counts == 0)
        centres = _unit(sums)
        if len(empty):  # they start again somewhere
            centres[empty] = sample[random.choice(len(sample), len(empty), replace=False)]
    if len(some) == n:
        return centres
    for _ in range(passes):
        blocks = random.permutation(np.arange(0, n, ROWS))
        for start in range(0, len(blocks), BATCH // ROWS):
            some = blocks[start : start + BATCH // ROWS]
            batch = np.concatenate([np.arange(first, min(first + ROWS, n)) for first in some])
            more, number = _moved(vectors[batch], rough[batch], centres, threads)
            sums, counts = sums + more, counts + number
            centres = np.where((counts > 0)[:, None], _unit(sums), centres)
    return centres


def nearest(rough: npt.NDArray[Any], centres: Floats, *, threads: int | None = None) -> tuple[Ints, Floats]:
    """The closest centre of each vector, (n,) int32, and its cosine, (n,) float32, precise as ``rough``."""
    from statim.kernels.search.neighbors import best

    places, scores = np.empty(len(rough), np.int32), np.empty(len(rough), np.float32)
    centre = rounded(centres, rough)

    def work(start: int, stop: int) -> None:
        for s in range(start, stop, ROWS):
            part = slice(s, min(s + ROWS, stop))
            best(product(rough[part], centre), places[part], scores[part])

    _share(work, len(rough), threads, rough)
    return places, scores


def beside(
    rough: npt.NDArray[Any], centres: Floats, margin: float, *, threads: int | None = None
) -> tuple[Ints, Ints, Ints]:
    """The cells that vectors lie in, or almost.

    Args:
        rough: (n, d) vectors.
        centres: (k, d).
        margin: A vector lies beside a cell whose centre's cosine is less than its own centre's by no more.
        threads: Threads to use.

    Returns:
        (n,) int32, each vector's own cell; and (e,) int32 vectors, ascending, with (e,) int32 cells: the
        cells in or beside which each lies.
    """
    from statim.kernels.search.neighbors import above, best

    own, centre = np.empty(len(rough), np.int32), rounded(centres, rough)

    def work(start: int, stop: int) -> list[tuple[Ints, Ints]]:
        room = np.empty((2, max(1 << 16, len(centres))), np.int32)
        scores, found = np.empty(ROWS, np.float32), []
        for s in range(start, stop, ROWS):
            part = slice(s, min(s + ROWS, stop))
            block = product(rough[part], centre)
            most = scores[: len(block)]
            best(block, own[part], most)
            floors, row = most - np.float32(margin), 0
            while row < len(block):
                count, row = above(block, floors, room[0], room[1], row)
                found.append((room[0, :count] + np.int32(s), room[1, :count].copy()))
        return found

    parts = [pair for some in _share(work, len(rough), threads, rough) for pair in some]
    rows = np.concatenate([pair[0] for pair in parts] or [np.zeros(0, np.int32)])
    return own, rows, np.concatenate([pair[1] for pair in parts] or [np.zeros(0, np.int32)])


def _share(work: Any, n: int, threads: int | None, rough: npt.NDArray[Any]) -> list[Any]:
    workers = pool.count(threads)
    with own_threads(rough):
        return pool.run([partial(work, *bounds) for bounds in pool.ranges(n, workers)], workers)


def _moved(
    vectors: Floats, rough: npt.NDArray[Any], centres: Floats, threads: int | None
) -> tuple[npt.NDArray[np.float64], Longs]:
    """The sums of the vectors closest to each centre, (k, d) float64, and their numbers, (k,)."""
    from statim.kernels.search.neighbors import add_rows, best

    centre = rounded(centres, rough)

    def work(start: int, stop: int) -> tuple[npt.NDArray[np.float64], Longs]:
        sums, counts = np.zeros(centres.shape), np.zeros(len(centres), np.int64)
        places, scores = np.empty(ROWS, np.int32), np.empty(ROWS, np.float32)
        for s in range(start, stop, ROWS):
            part = slice(s, min(s + ROWS, stop))
            block = product(rough[part], centre)
            best(block, places[: len(block)], scores[: len(block)])
            add_rows(vectors[part], places[: len(block)], sums, counts)
        return sums, counts

    parts = _share(work, len(vectors), threads, rough)
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _start(sample: Floats, k: int, random: np.random.Generator, spread: bool) -> Floats:
    """Initial centres: greedy k-means++ (Arthur and Vassilvitskii, 2007) if quick, else random vectors."""
    trials = 2 + int(np.log(k))
    if not spread or k * trials * sample.size > LONGEST:
        return sample[random.choice(len(sample), k, replace=False)]
    chosen = [int(random.integers(len(sample)))]
    distances = np.maximum(1 - sample @ sample[chosen[0]], 0)
    distances[chosen[0]] = 0
    for _ in range(k - 1):
        sums = np.cumsum(distances, dtype=np.float64)
        if sums[-1] <= 0:  # only copies of what is chosen are left
            chosen.append(int(random.choice(np.setdiff1d(np.arange(len(sample)), chosen))))
            continue
        some = np.minimum(np.searchsorted(sums, random.random(trials) * sums[-1], "right"), len(sample) - 1)
        left = np.minimum(distances[:, None], np.maximum(1 - sample @ sample[some].T, 0))
        left[some, np.arange(trials)] = 0
        best = int(np.argmin(left.sum(axis=0, dtype=np.float64)))
        chosen.append(int(some[best]))
        distances = left[:, best]
    return sample[chosen]


def _unit(sums: npt.NDArray[np.float64]) -> Floats:
    long = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(long > 0, long, 1)).astype(np.float32)
