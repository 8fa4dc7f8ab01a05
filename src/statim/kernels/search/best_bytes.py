"""The best documents of each query, kept while blocks of int8 products go by; compiled."""

import numpy as np
import numpy.typing as npt

from statim.kernels.floats import prefetch
from statim.kernels.int8_dot import SHIFT
from statim.kernels.prepared import njit
from statim.kernels.search.bytes import (
    AHEAD,
    FEW,
    HALF,
    PANEL,
    ROWS,
    WIDE,
    lowest_bit,
    row_product,
    tile_half,
    tile_one,
    tile_whole,
)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]


@njit(nogil=True, cache=True, error_model="numpy")
def _best_first(scores: Floats, names: Ints, count: int, least: int) -> np.float32:
    """Move the ``least`` highest of ``count`` scores to the front and return the lowest of them.

    In any order (quickselect: Hoare, 1961).
    """
    low, high = 0, count - 1
    while low < high:
        pivot = scores[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                names[i], names[j] = names[j], names[i]
                i += 1
                j -= 1
        if least - 1 <= j:
            high = j
        elif least - 1 >= i:
            low = i
        else:
            break
    lowest: np.float32 = scores[0]
    for i in range(1, least):
        lowest = min(lowest, scores[i])
    return lowest


@njit(nogil=True, cache=True, error_model="numpy")
def _offer(
    queries: Ints,
    begins: Ints,
    which: Ints,
    panels: npt.NDArray[np.uint8],
    scales: Floats,
    names: Ints,
    first: int,
    last: int,
    least: int,
    kept: Floats,
    kept_names: Ints,
    counts: Ints,
    floors: Floats,
) -> None:
    """Multiply queries ``which`` with documents [first, last), keep each one's best; see ``offer_cells``."""
    steps, m = queries.shape[1], len(which)
    asked = np.empty(-(-m // ROWS) * ROWS, np.int32)
    asked[:m], asked[m:] = which, which[m - 1]
    out, above = np.zeros((ROWS, WIDE), np.float32), np.zeros(ROWS, np.uint64)
    place = first
    while place < last:  # a tile's documents stay in the first cache while all queries go by
        if last - place >= WIDE:
            wide, size = WIDE, FEW
        else:
            wide, size = (HALF if last - place >= HALF else PANEL), ROWS
        for start in range(0, m, size):
            if wide == WIDE:
                tile_whole(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            elif wide == HALF:
                tile_half(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            else:
                tile_one(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            for i in range(min(size, m - start)):
                q, hits = asked[start + i], above[i]
                while hits:
                    j = lowest_bit(hits)
                    hits &= hits - np.uint64(1)
                    if counts[q] == kept.shape[1]:  # all but the best make room, and the floor rises
                        floors[q] = _best_first(kept[q], kept_names[q], counts[q], least)
                        counts[q] = least
                    if out[i, j] > floors[q]:
                        kept[q, counts[q]], kept_names[q, counts[q]] = out[i, j], names[place + j]
                        counts[q] += 1
        place += wide


@njit(nogil=True, cache=True, error_model="numpy")
def offer_cells(
    queries: Ints,
    begins: Ints,
    which: Ints,
    offsets: npt.NDArray[np.int64],
    panels: npt.NDArray[np.uint8],
    scales: Floats,
    names: Ints,
    starts: npt.NDArray[np.int64],
    least: int,
    kept: Floats,
    kept_names: Ints,
    counts: Ints,
    floors: Floats,
) -> None:
    """Multiply the queries of each cell with its documents, and keep each query's best.

    Args:
        queries: (m, w / STEP) int32, which are (m, w) int8.
        begins: (m,) int32, -SHIFT times the sum of each query's numbers.
        which: (c,) int32, which queries, one cell's after the other's.
        offsets: (C + 1,) those of cell c are which[offsets[c]:offsets[c + 1]].
        panels: From ``to_panels``.
        scales: (p,) float32 of the documents in panels; NaN where there is none.
        names: (p,) int32, what is kept of a document.
        starts: (C + 1,) the documents of cell c are those at [starts[c], starts[c + 1]), multiples of PANEL.
        least: How many are kept in any case, of those above the floor, K.
        kept: (m, L) float32, L > K, written: scores, of which each query's own scale is left out.
        kept_names: (m, L) int32, written.
        counts: (m,) int32, how many are kept; begins with 0.
        floors: (m,) float32, what is not above them is not kept; they begin with -inf, or with what is
            foreseen.
    """
    for cell in range(len(starts) - 1):
        some = which[offsets[cell] : offsets[cell + 1]]
        if len(some) > 0:
            _offer(
                queries, begins, some, panels, scales, names, starts[cell], starts[cell + 1], least, kept,
                kept_names,
                counts, floors,
            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def tighten(least: int, kept: Floats, kept_names: Ints, counts: Ints, floors: Floats) -> None:
    """Keep the ``least`` best of each query; its floor becomes the lowest of that many.

    See ``offer_cells``.
    """
    for q in range(len(counts)):
        if counts[q] >= least:
            floors[q] = _best_first(kept[q], kept_names[q], counts[q], least)
            counts[q] = least


@njit(nogil=True, cache=True, error_model="numpy")
def likely(
    k: int, slack: Floats, kept: Floats, kept_names: Ints, counts: Ints, places: npt.NDArray[np.int64]
) -> None:
    """What may belong to the k best, of scores that may be wrong.

    Args:
        k: How many are wanted.
        slack: (m,) float32; what is lower than the k-th score by more does not belong to them.
        kept: From ``tighten``.
        kept_names: Likewise.
        counts: Likewise.
        places: (m, K) int64, written: names; -1 for those left out.
    """
    for q in range(len(counts)):
        floor = np.float32(-np.inf)
        if counts[q] > k:
            floor = _best_first(kept[q], kept_names[q], counts[q], k) - slack[q]
        for c in range(places.shape[1]):
            places[q, c] = kept_names[q, c] if c < counts[q] and kept[q, c] >= floor else -1


@njit(nogil=True, cache=True, error_model="numpy")
def narrow(
    queries: Bytes,
    rows: Bytes,
    scales: Floats,
    begins: Ints,
    kept_names: Ints,
    counts: Ints,
    places: npt.NDArray[np.int64],
) -> None:
    """The best of some candidates by the dot products of their bytes.

    Args:
        queries: (m, w) int8.
        rows: (n, w) int8, all documents.
        scales: (n,) float32.
        begins: (n,) int32, -SHIFT times the sum of each document's numbers.
        kept_names: (m, L) int32, the candidates; their order changes.
        counts: (m,) int32, how many there are.
        places: (m, c) int64, written: the best, in any order; -1 where there are fewer.
    """
    scores, shifted = np.empty(kept_names.shape[1], np.float32), np.empty(rows.shape[1], np.uint8)
    for q in range(len(queries)):
        names = kept_names[q]
        for j in range(len(shifted)):
            shifted[j] = np.uint8(np.int32(queries[q, j]) + SHIFT)
        for c in range(min(AHEAD, counts[q])):
            prefetch(rows, names[c])
        for c in range(counts[q]):
            name = names[c]
            if c + AHEAD < counts[q]:
                prefetch(rows, names[c + AHEAD])
            scores[c] = np.float32(row_product(shifted, rows, name, begins[name])) * scales[name]
        found = min(counts[q], places.shape[1])
        if found > 0:
            _best_first(scores, names, counts[q], found)
        for c in range(places.shape[1]):
            places[q, c] = names[c] if c < found else -1
