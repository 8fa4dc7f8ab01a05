"""How many documents stand at or above each relevant one; compiled."""

import math

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int64, types, void

from statim.kernels.prepared import njit

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

LANES = 8  # independent sums; their order is fixed, so equal vectors have equal products wherever they stand

_matrix = types.Array(float32, 2, "C", readonly=True)
_row = types.Array(float32, 1, "C", readonly=True)
_floats = types.Array(float32, 1, "C", readonly=True)
_doubles = types.Array(float64, 1, "C", readonly=True)
_int64s = types.Array(int64, 1, "C", readonly=True)


@njit(float32(_row, _row), nogil=True, cache=True, error_model="numpy")
def _product(a: Floats, b: Floats) -> np.float32:
    """The dot product of two vectors, summed in float64."""
    sums = np.zeros(LANES)
    whole = len(a) // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            sums[lane] += np.float64(a[start + lane]) * np.float64(b[start + lane])
    for j in range(whole, len(a)):
        sums[j - whole] += np.float64(a[j]) * np.float64(b[j])
    total = 0.0
    for lane in range(LANES):
        total += sums[lane]
    return np.float32(total)


@njit(void(_matrix, _matrix, _int64s, _int64s, float32[::1]), nogil=True, cache=True, error_model="numpy")
def products(left: Floats, right: Floats, lefts: Positions, rights: Positions, out: Floats) -> None:
    """The dot products of chosen rows, summed in float64.

    Args:
        left: (m, d) float32.
        right: (n, d) float32.
        lefts: (k,) int64, a row of ``left`` each.
        rights: (k,) int64, a row of ``right`` each.
        out: (k,) float32, written.
    """
    for p in range(len(out)):
        out[p] = _product(left[lefts[p]], right[rights[p]])


@njit(
    void(_matrix, _matrix, _matrix, _int64s, _floats, _doubles, int64[::1]),
    nogil=True,
    cache=True,
    error_model="numpy",
)
def count_at_or_above(
    block: Floats,
    queries: Floats,
    documents: Floats,
    rows: Positions,
    scores: Floats,
    margins: npt.NDArray[np.float64],
    counts: Positions,
) -> None:
    """Add, for each of k scores, the number of a block's documents with this score or more, or NaN.

    Rough scores decide where they are clear. What is nearer to the score than rounding allows is computed
    again as ``products`` does it, so that equal documents tie exactly.

    Args:
        block: (m, c) float32, rough scores of m queries and c documents.
        queries: (m, d) float32.
        documents: (c, d) float32.
        rows: (k,) int64, the row of each score's query.
        scores: (k,) float32, from ``products``; NaN is below everything.
        margins: (m,) float64, by how much a rough score may be wrong.
        counts: (k,) int64, added to.
    """
    for p in range(len(rows)):
        rough = block[rows[p]]
        score = scores[p]
        if math.isnan(score):
            counts[p] += len(rough)
            continue
        low = np.float32(score - margins[rows[p]])
        high = np.float32(score + margins[rows[p]])
        above = 0
        near = 0
        for j in range(len(rough)):
            above += not rough[j] <= high
            near += (rough[j] >= low) & (rough[j] <= high)
        if near > 0:
            for j in range(len(rough)):
                if low <= rough[j] <= high:
                    above += not _product(queries[rows[p]], documents[j]) < score
        counts[p] += above
