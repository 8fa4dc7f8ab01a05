"""Vectors close to one another: their cells, pairs above a threshold, groups of pairs; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.floats import load
from statim.kernels.prepared import njit

CHUNK = 32  # scores looked at together

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def best(block: Any, places: Ints, scores: Floats) -> None:
    """The highest score of each row and the first column that has it.

    Args:
        block: (m, c) float32, or bfloat16 as int16.
        places: (m,) int32, written.
        scores: (m,) float32, written.
    """
    for i in range(len(block)):
        row = block[i]
        most = np.float32(-np.inf)
        for start in range(0, len(row), CHUNK):
            stop = min(start + CHUNK, len(row))
            better = 0
            for j in range(start, stop):  # without a branch, so that it becomes vector instructions
                better += load(row, j) > most
            if better > 0:
                for j in range(start, stop):
                    if load(row, j) > most:
                        most, places[i] = load(row, j), j
        scores[i] = most


@njit(nogil=True, cache=True, error_model="numpy")
def above(block: Any, floors: Floats, rows: Ints, columns: Ints, first: int) -> tuple[int, int]:
    """Where scores reach their row's floor, until there is no room for another row.

    Args:
        block: (m, c) float32, or bfloat16 as int16.
        floors: (m,) float32.
        rows: (r,) int32, r >= c, written.
        columns: (r,) int32, written.
        first: The row to begin with.

    Returns:
        How many were written, and the row to go on with.
    """
    count = 0
    for i in range(first, len(block)):
        row = block[i]
        if count + len(row) > len(rows):
            return count, i
        floor = floors[i]
        for start in range(0, len(row), CHUNK):
            stop = min(start + CHUNK, len(row))
            found = 0
            for j in range(start, stop):
                found += load(row, j) >= floor
            if found > 0:
                for j in range(start, stop):
                    if load(row, j) >= floor:
                        rows[count], columns[count] = i, j
                        count += 1
    return count, len(block)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def cosines(lefts: Floats, rights: Floats, first: Ints, second: Ints, out: Floats) -> None:
    """The dot products of lefts[first[p]] and rights[second[p]], summed in float64: (p,) float32."""
    for p in range(len(first)):
        left, right = lefts[first[p]], rights[second[p]]
        total = 0.0
        for j in range(len(left)):
            total += np.float64(left[j]) * np.float64(right[j])
        out[p] = total


@njit(nogil=True, cache=True, error_model="numpy")
def add_rows(vectors: Floats, places: Ints, sums: npt.NDArray[np.float64], counts: Longs) -> None:
    """Add each vector to the sum at its place, and count it; a place below 0 is passed over."""
    for i in range(len(vectors)):
        if places[i] >= 0:
            total = sums[places[i]]
            for j in range(vectors.shape[1]):
                total[j] += vectors[i, j]
            counts[places[i]] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def neighbours(first: Ints, second: Ints, count: int) -> tuple[Longs, Ints]:
    """Pairs by their members.

    Args:
        first: (p,) int32.
        second: (p,) int32.
        count: The number of items, n.

    Returns:
        Offsets (n + 1,) and (2p,) int32: item v is in the pairs [offsets[v], offsets[v + 1]) of the second.
    """
    offsets = np.zeros(count + 1, np.int64)
    for p in range(len(first)):
        offsets[first[p] + 1] += 1
        offsets[second[p] + 1] += 1
    offsets = np.cumsum(offsets)
    ends = offsets[:-1].copy()
    pairs = np.empty(2 * len(first), np.int32)
    for p in range(len(first)):
        for v in (first[p], second[p]):
            pairs[ends[v]] = p
            ends[v] += 1
    return offsets, pairs


@njit(nogil=True, cache=True, error_model="numpy")
def stars(
    first: Ints, second: Ints, scores: Floats, offsets: Longs, pairs: Ints, centres: Ints, closest: Floats
) -> None:
    """Take items in order: one not close to any earlier centre is a centre, others join the closest.

    Args:
        first: (p,) int32, of each pair.
        second: (p,) int32.
        scores: (p,) float32.
        offsets: (n + 1,) from ``neighbours``.
        pairs: From ``neighbours``.
        centres: (n,) int32, -1, written: each item's centre.
        closest: (n,) float32, -inf, written: its score with it, 1 for a centre.
    """
    for v in range(len(centres)):
        if centres[v] >= 0:
            continue
        centres[v], closest[v] = v, 1.0
        for e in range(offsets[v], offsets[v + 1]):
            p = pairs[e]
            u = second[p] if first[p] == v else first[p]
            if u > v and scores[p] > closest[u]:
                centres[u], closest[u] = v, scores[p]


@njit(nogil=True, cache=True, error_model="numpy")
def communities(
    first: Ints,
    second: Ints,
    scores: Floats,
    offsets: Longs,
    pairs: Ints,
    weights: Longs,
    least: int,
    centres: Ints,
    closest: Floats,
) -> None:
    """The item around which most texts are still free takes them, again and again, while they are enough.

    Args:
        first: See ``stars``; as are second, scores, offsets, pairs, centres and closest. Items in no
            community keep -1.
        weights: (n,) int64, how many texts have each item.
        least: The least size of a community in texts, those of its centre included; at least 1.
    """
    n = len(centres)
    free = weights.copy()  # texts around each item, its own included: upper bounds, they only shrink
    for p in range(len(first)):
        free[first[p]] += weights[second[p]]
        free[second[p]] += weights[first[p]]
    most = 0
    for v in range(n):
        most = max(most, free[v])
    heads = np.full(most + 1, -1, np.int64)  # items by that number, as lists
    following = np.full(n, -1, np.int64)
    for v in range(n - 1, -1, -1):
        following[v] = heads[free[v]]
        heads[free[v]] = v
    size = most
    while size >= least:
        v = heads[size]
        if v < 0:
            size -= 1
            continue
        heads[size] = following[v]
        if centres[v] >= 0:
            continue
        now = weights[v]
        for e in range(offsets[v], offsets[v + 1]):
            p = pairs[e]
            u = second[p] if first[p] == v else first[p]
            if centres[u] < 0:
                now += weights[u]
        if now < size:  # some are gone: it waits for its turn
            if now >= least:
                following[v] = heads[now]
                heads[now] = v
            continue
        centres[v], closest[v] = v, 1.0
        for e in range(offsets[v], offsets[v + 1]):
            p = pairs[e]
            u = second[p] if first[p] == v else first[p]
            if centres[u] < 0:
                centres[u], closest[u] = v, scores[p]


@njit(nogil=True, cache=True, error_model="numpy")
def components(first: Ints, second: Ints, centres: Ints) -> int:
    """Join what pairs connect (union-find with path halving; the lowest item stays the root).

    Args:
        first: (p,) int32.
        second: (p,) int32.
        centres: (n,) int32, 0 to n - 1 at first; written: the lowest item of each one's component.

    Returns:
        The last pair that connected what was not connected yet; -1 for none.
    """
    last = -1
    for p in range(len(first)):
        a, b = first[p], second[p]
        while centres[a] != a:
            centres[a] = centres[centres[a]]
            a = centres[a]
        while centres[b] != b:
            centres[b] = centres[centres[b]]
            b = centres[b]
        if a != b:
            centres[max(a, b)], last = min(a, b), p
    for v in range(len(centres)):  # a root is lower than what hangs from it
        centres[v] = centres[centres[v]]
    return last


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def along(vectors: Floats, first: Floats, second: Floats, out: npt.NDArray[np.float64]) -> None:
    """Where vectors (n, d) lie along two directions (d,): (n, 2), summed in float64."""
    for i in range(len(vectors)):
        vector = vectors[i]
        one = two = 0.0
        for j in range(len(vector)):
            one += np.float64(vector[j]) * np.float64(first[j])
            two += np.float64(vector[j]) * np.float64(second[j])
        out[i, 0], out[i, 1] = one, two


@njit(nogil=True, cache=True, error_model="numpy")
def leaders(vectors: Floats, order: Longs, places: npt.NDArray[np.float64], gap: float, out: Longs) -> None:
    """Take vectors in order: one without a leader within ``gap`` leads, the others follow one.

    Args:
        vectors: (n, d).
        order: (n,), ascending by the first of ``places``.
        places: (n, 2), where each vector lies along two directions of length 1: no two are closer than these.
        gap: The largest distance.
        out: (n,) int64, written: each vector's leader.
    """
    found, count, since = np.empty(len(order), np.int64), 0, 0  # those before ``since`` lie too far back
    for v in order:
        while since < count and places[v, 0] - places[found[since], 0] > gap:
            since += 1
        out[v] = v
        for p in range(since, count):
            u = found[p]
            if abs(places[v, 1] - places[u, 1]) <= gap and _within(vectors[v], vectors[u], gap):
                out[v] = u
                break
        if out[v] == v:
            found[count] = v
            count += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _within(a: Floats, b: Floats, gap: float) -> bool:
    total = 0.0
    for j in range(len(a)):
        total += (np.float64(a[j]) - np.float64(b[j])) ** 2
    return total <= gap * gap
