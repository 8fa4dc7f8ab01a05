"""One memory-bound pass over stored vectors for a few queries: scoring and selection; compiled.

float16 numbers are seen as uint16 and int8 ones as they are; both are widened in registers, so that a pass
reads half or a quarter of the bytes. Widening is what binds int8 then, but not where the query is given in
digits of bytes, too. Bits are compared 64 at a time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import boolean, float32, int8, int64, types, uint16, uint64
from numba.extending import intrinsic, overload

from statim.kernels.floats import prefetch
from statim.kernels.int16_dot import AHEAD, products
from statim.kernels.prepared import njit
from statim.kernels.search.top_k import FAST, keep

# rows scored before the best are taken: they stay in the cache while one query after another passes by
CHUNK = 256

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


def _given(kind: Any, dimensions: int) -> Any:
    return types.Array(kind, dimensions, "C", readonly=True)


# of rows and of queries
_KINDS = [
    (_given(float32, 2), _given(float32, 2)),
    (_given(uint16, 2), _given(float32, 2)),
    (_given(int8, 2), _given(float32, 2)),
    (_given(int8, 2), _given(int8, 3)),
    (_given(uint64, 2), _given(uint64, 2)),
]


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


@njit(nogil=True, error_model="numpy")
def _dots(rows: Any, query: Floats, out: Floats) -> None:
    for r in range(len(rows)):
        out[r] = _dot(rows[r], query)


@njit(nogil=True, error_model="numpy")
def _distances(rows: npt.NDArray[np.uint64], query: npt.NDArray[np.uint64], out: Floats) -> None:
    ahead = 1 + AHEAD // (8 * len(query))
    for r in range(len(rows)):
        prefetch(rows, r + ahead)
        row = rows[r]
        differ = np.uint64(0)
        for w in range(len(query)):
            differ += _ones(row[w] ^ query[w])
        out[r] = -np.float32(np.int32(differ))


def _compare(rows: Any, query: Any, out: Any) -> None:
    """Write the scores of rows."""


@overload(_compare, inline="always")
def _compare_kind(rows, query, out):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if query.dtype == types.uint64:
        return lambda rows, query, out: _distances(rows, query, out)
    if query.dtype == types.int8:
        return lambda rows, query, out: products(rows, query, out)
    return lambda rows, query, out: _dots(rows, query, out)


@njit(
    [
        boolean(
            rows,
            _given(float32, 1),
            queries,
            _given(float32, 2),
            int64,
            int64,
            _given(int64, 1),
            float32[:, ::1],
            int64[:, ::1],
        )
        for rows, queries in _KINDS
    ],
    nogil=True,
    cache=True,
    error_model="numpy",
)
def scan(
    rows: Any,
    scales: Floats,
    queries: Any,
    lines: Floats,
    first: int,
    last: int,
    excluded: Positions,
    scores: Floats,
    positions: Positions,
) -> bool:
    """Offer rows[first:last] to the heaps of some queries, by dot product or number of differing bits.

    Args:
        rows: (n, d) float32, float16 as uint16, or int8; or (n, w) uint64, bits.
        scales: (n,) float32, what each row's score is multiplied by; empty for 1.
        queries: (m, d) float32; for int8 also (m, 2, w) digits of bytes (see int16_dot.py); for bits (m, w)
            uint64, and the score is minus the number of those that differ. Few, since a chunk of rows is gone
            through for each.
        lines: (m, 2) float32: before it is scaled, a row's score has added to it a query's first number, less
            the second times the row's scale; (0, 2) for nothing.
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
            _compare(rows[start:stop], queries[i], space)
            if len(lines) > 0:
                for r in range(start, stop):
                    space[r - start] += lines[i, 0] - lines[i, 1] * scales[r]
            for r in range(start, stop):
                if len(scales) > 0:
                    space[r - start] *= scales[r]
                fine &= np.isfinite(space[r - start])
            for e in range(out, end):
                space[excluded[e] - start] = -np.inf
            block = space[: stop - start].reshape(1, stop - start)
            keep(block, start, scores[i : i + 1], positions[i : i + 1])
        out = end
    return fine
