"""The gradient of a sampled loss: sums of few rows, for anchors and candidates; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.pooling.blocks import add_rows
from statim.kernels.prepared import njit

Floats = npt.NDArray[np.floating[Any]]
Products = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def add_anchors(
    vectors: Products, levels: Offsets, offsets: Offsets, columns: Ints, coefficients: Floats, fresh: bool,
    out: Floats
) -> None:  # fmt: skip
    """A tile's part of the anchors' gradient.

    Args:
        vectors: (at least N, d) the batch's candidates; bfloat16 as int16.
        levels: (L,) ascending dimensions.
        offsets: From ``tile_to_entries``, as are columns and coefficients.
        fresh: Write it to ``out``, instead of adding it.
        out: (R, d) the tile's rows.
    """
    sums = np.empty(out.shape[1], out.dtype)
    for i in range(len(out)):
        begin = 0
        for level in range(len(levels)):
            block = slice(begin, levels[level])
            add_rows(
                vectors[:, block], columns[level], coefficients[level], offsets[level, i],
                offsets[level, i + 1], sums[block]
            )  # fmt: skip
            begin = levels[level]
        if fresh:
            out[i] = sums
        else:
            out[i] += sums


@njit(nogil=True, cache=True, error_model="numpy")
def count(level: int, offsets: Offsets, columns: Ints, starts: Offsets) -> None:
    """Add the number of a tile's coefficients of a level in each column to ``starts``, (L, N + 1)."""
    own, row = starts[level], columns[level]
    for e in range(offsets[level, -1]):
        own[np.uintp(row[e]) + np.uintp(1)] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def lay_out(level: int, first: int, starts: Offsets, ends: Offsets) -> None:
    """Turn counts into where each column's coefficients begin, all of the level's from ``first`` on.

    Args:
        level: Which.
        first: Where this level's begin.
        starts: (L, N + 1) in: from ``count``; out: where each begins, and the last ends.
        ends: (L, N) written: the same, for ``turn``.
    """
    at = first
    for j in range(ends.shape[1]):
        at += starts[level, j]
        starts[level, j] = ends[level, j] = at
    starts[level, -1] += at


@njit(nogil=True, cache=True, error_model="numpy")
def turn(
    row: int,
    offsets: Offsets,
    columns: Ints,
    coefficients: Floats,
    level: int,
    ends: Offsets,
    rows: Ints,
    turned: Floats,
) -> None:
    """Put a tile's coefficients of a level behind those of earlier tiles, column by column.

    Args:
        row: The tile's first row in the batch.
        offsets: From ``tile_to_entries``, as are columns and coefficients.
        level: Which.
        ends: (L, N) where each column's next one goes, updated.
        rows: Written: the row of each.
        turned: Written: the coefficients.
    """
    own, theirs, values = ends[level], columns[level], coefficients[level]
    for i in range(offsets.shape[1] - 1):
        for e in range(offsets[level, i], offsets[level, i + 1]):
            j = np.uintp(theirs[e])
            at = np.uintp(own[j])
            own[j] += 1
            rows[at], turned[at] = row + i, values[e]


@njit(nogil=True, cache=True, error_model="numpy")
def add_candidates(
    vectors: Products,
    levels: Offsets,
    starts: Offsets,
    rows: Ints,
    coefficients: Floats,
    start: int,
    end: int,
    out: Floats,
) -> None:
    """The gradient of candidates [start, end).

    Args:
        vectors: (at least B, d) the batch's anchors; bfloat16 as int16.
        levels: (L,) ascending dimensions.
        starts: (L, N + 1) from ``lay_out``.
        rows: From ``turn``, as are coefficients.
        start: First candidate.
        end: One past the last.
        out: (N, d) written at [start, end).
    """
    for j in range(start, end):
        begin = 0
        for level in range(len(levels)):
            block = slice(begin, levels[level])
            add_rows(
                vectors[:, block], rows, coefficients, starts[level, j], starts[level, j + 1], out[j, block]
            )
            begin = levels[level]
