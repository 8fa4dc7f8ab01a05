"""One pass over stored vectors for a few queries, which is bound by memory: scores and their selection, nothing kept between; compiled.

float16 numbers are seen as uint16 and int8 ones as they are; both are widened in registers, so that a pass reads half or a quarter
of the bytes. Bits are compared 64 at a time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import boolean, float32, int8, int64, njit, types, uint16, uint64, void
from numba.extending import intrinsic, overload

from statim.kernels.top_k import FAST, keep

CHUNK = 256  # rows scored before the best are taken: they stay in the cache while one query after another passes by

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

_int64s = types.Array(int64, 1, "C", readonly=True)
_floats = types.Array(float32, 1, "C", readonly=True)
_queries = types.Array(float32, 2, "C", readonly=True)
_words = types.Array(uint64, 2, "C", readonly=True)
_kept = (float32[:, ::1], int64[:, ::1])


@intrinsic
def _half(_context: Any, _bits: Any) -> tuple[Any, Any]:
    """The float16 with these bits, as float32."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _ones(_context: Any, _word: Any) -> tuple[Any, Any]:
    """How many bits of a word are set."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), args)

    return types.uint64(types.uint64), generate


def _wide(row: Any, j: Any) -> Any:
    """row[j] as float32."""


@overload(_wide, inline="always")
def _wide_of(row, j):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if row.dtype == types.uint16:
        return lambda row, j: _half(row[j])
    return lambda row, j: np.float32(row[j])


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _dot(row: Any, query: Floats) -> np.float32:
    total = np.float32(0)
    for j in range(len(query)):
        total += _wide(row, j) * query[j]
    return total


@njit(
    [
        boolean(types.Array(kind, 2, "C", readonly=True), _floats, _queries, int64, int64, _int64s, *_kept)
        for kind in (float32, uint16, int8)
    ],
    nogil=True,
    cache=True,
    error_model="numpy",
)
def scan(
    rows: Any,
    scales: Floats,
    queries: Floats,
    first: int,
    last: int,
    excluded: Positions,
    scores: Floats,
    positions: Positions,
) -> bool:
    """Offer rows[first:last] to the heaps of some queries, by their dot products in float32.

    Args:
        rows: (n, d) float32, float16 as uint16, or int8.
        scales: (n,) float32, what each row is multiplied by; empty for 1.
        queries: (m, d) float32; few, since a chunk of rows is gone through for each.
        first: The first row.
        last: The row after the last.
        excluded: Positions to leave out, int64, ascending.
        scores: (m, K) float32 heaps as ``top_k.keep`` wants them.
        positions: (m, K) int64, the rows of ``scores``.

    Returns:
        False if a score is not finite.
    """
    space = np.empty(CHUNK, np.float32)
    out = np.searchsorted(excluded, first)
    fine = True
    for start in range(first, last, CHUNK):
        stop = min(start + CHUNK, last)
        end = out
        while end < len(excluded) and excluded[end] < stop:
            end += 1
        for i in range(len(queries)):
            for r in range(start, stop):
                score = _dot(rows[r], queries[i])
                if len(scales) > 0:
                    score *= scales[r]
                fine &= np.isfinite(score)
                space[r - start] = score
            for e in range(out, end):
                space[excluded[e] - start] = -np.inf
            block = space[: stop - start].reshape(1, stop - start)
            keep(block, start, scores[i : i + 1], positions[i : i + 1])
        out = end
    return fine


@njit(nogil=True, error_model="numpy")
def _distances(rows: npt.NDArray[np.uint64], query: npt.NDArray[np.uint64], out: Floats) -> None:
    for r in range(len(rows)):
        row = rows[r]
        differ = np.uint64(0)
        for w in range(len(query)):
            differ += _ones(row[w] ^ query[w])
        out[r] = -np.float32(np.int32(differ))


@njit(
    void(_words, _words, int64, int64, _int64s, *_kept),
    nogil=True,
    cache=True,
    error_model="numpy",
)
def scan_bits(
    rows: npt.NDArray[np.uint64],
    queries: npt.NDArray[np.uint64],
    first: int,
    last: int,
    excluded: Positions,
    scores: Floats,
    positions: Positions,
) -> None:
    """Offer rows[first:last] to the heaps of some queries, by how few of their bits differ: the score is minus that number.

    Args:
        rows: (n, w) uint64.
        queries: (m, w) uint64.
        first: The first row.
        last: The row after the last.
        excluded: Positions to leave out, int64, ascending.
        scores: (m, K) float32 heaps as ``top_k.keep`` wants them.
        positions: (m, K) int64, the rows of ``scores``.
    """
    space = np.empty(CHUNK, np.float32)
    out = np.searchsorted(excluded, first)
    for start in range(first, last, CHUNK):
        stop = min(start + CHUNK, last)
        end = out
        while end < len(excluded) and excluded[end] < stop:
            end += 1
        for i in range(len(queries)):
            _distances(rows[start:stop], queries[i], space)
            for e in range(out, end):
                space[excluded[e] - start] = -np.inf
            block = space[: stop - start].reshape(1, stop - start)
            keep(block, start, scores[i : i + 1], positions[i : i + 1])
        out = end
