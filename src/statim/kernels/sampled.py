"""A contrastive gradient of few coefficients: small softmax weights are rounded at random, to nothing or to a least share.

A negative's weight of at least a share ``least`` of its row's negatives stays as it is; a smaller one, w, becomes that share, s,
with probability w / s and 0 otherwise, so the gradient is right in the mean (Wangni et al., 2018, do so with the entries of
gradients). So of a row's thousands of coefficients at most about 1 / least are left a level, and what were two of the three
matrix products of a step become sums of few rows. Whether a weight stays follows from a key and from its place alone, and is
drawn alike at all levels. (A share of the whole row, positive included, was noise where the positive is far ahead.)
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from statim.kernels.blocks import add_rows
from statim.kernels.contrast import add_backward, backward_exponentials, forward_row
from statim.kernels.hashing import GOLDEN, mixed

Floats = npt.NDArray[np.floating[Any]]
Products = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

UNIT = np.float32(2.0**-24)
SMALLEST = 1e-6  # that the negatives of a row are taken for, beside the whole
MOST = 1e30


@njit(nogil=True, cache=True, error_model="numpy")
def _draw(key: np.uint64, row: int, column: int, out: Floats) -> None:
    """Numbers in [0, 1) of a row's columns from ``column`` on."""
    lower, upper = np.uint32(key), np.uint32(key >> np.uint64(32))
    own = mixed(np.uint32(np.uint32(row) + lower)) ^ upper
    for j in range(len(out)):
        x = mixed(np.uint32(np.uint32(column + j) * GOLDEN + own))
        out[j] = np.float32(np.int32(x >> np.uint32(8))) * UNIT


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath={"contract", "nsz"})
def _raise(weights: Floats, unit: Any, most: Floats) -> None:
    """Set ``most`` to the larger of itself and the weights over ``unit``."""
    for j in range(len(weights)):
        share = weights[j] * unit
        most[j] = share if share > most[j] else most[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _flag(most: Floats, drawn: Floats, flags: npt.NDArray[np.uint8]) -> None:
    for j in range(len(most)):
        flags[j] = np.uint8(1) if most[j] > drawn[j] else np.uint8(0)


@njit(nogil=True, cache=True, error_model="numpy")
def _chosen(flags: npt.NDArray[np.uint8], out: Ints) -> int:
    """Write the columns that are flagged, without branches, which nobody could foresee; return how many."""
    found = 0
    for j in range(len(flags)):
        out[found] = j
        found += flags[j]
    return found


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _weigh(
    chosen: Ints, exps: Floats, unit: Any, step: Any, drawn: Floats, target: int, own: Any, cosines: Floats, inverse: Any,
    others: Floats, along: Floats, above: Floats,
) -> None:  # fmt: skip
    """Of one row and level and the columns chosen: set ``along`` to G * S, and add H to ``above``."""
    one, nothing = exps.dtype.type(1), exps.dtype.type(0)
    for k in range(len(chosen)):
        j = chosen[k]
        share = exps[j] * unit
        g = max(share, one) * step if share > drawn[j] else nothing
        g = own + share * step if j == target else g
        along[k] = g * cosines[j]
        above[k] += g * (inverse * others[j])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _put_down(
    chosen: Ints,
    along: Floats,
    above: Floats,
    column: int,
    sums: Floats,
    columns: Ints,
    coefficients: Floats,
    at: int,
) -> tuple[Any, int]:
    """Add ``along`` to the columns' sums; write what is not 0 of ``above`` from ``at``. The sum of ``along``, and the end."""
    total = along.dtype.type(0)
    for k in range(len(chosen)):
        total += along[k]
        sums[chosen[k]] += along[k]
        columns[at], coefficients[at] = column + chosen[k], above[k]
        at += 1 if above[k] != 0 else 0
    return total, at


@njit(nogil=True, cache=True, error_model="numpy")
def tile_to_entries(
    tile: Products,
    inverse_a: Floats,
    inverse_p: Floats,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    limits: Floats,
    scale: Any,
    weights: Floats,
    known: bool,
    find: bool,
    tops: Floats,
    totals: Floats,
    aims: Floats,
    column_tops: Floats,
    column_factors: Floats,
    backward: Floats,
    column_sums: Floats,
    row_sums: Floats,
    buffers: Floats,
    least: float,
    key: np.uint64,
    row: int,
    column: int,
    columns: Ints,
    coefficients: Floats,
) -> tuple[float, Offsets, Ints, Floats]:
    """The coefficients of a tile's gradient that are left.

    Args:
        tile: As of ``contrast.tile_to_gradient``, but not written; as are all up to buffers, but for:
        aims: (R, L) the logits of the positives; written where they are in this tile.
        least: The least weight that always stays, as a share of a row's negatives.
        key: Decides what stays of the smaller ones.
        row: The tile's first row in the batch.
        column: The tile's first column in the batch.
        columns: (L, at least N) room for the last but one that is returned.
        coefficients: Of the same shape, for the last.

    Returns:
        The forward loss of the tile's targets. (L, R + 1) where each row's coefficients of each level begin; their columns in the
        batch, (L, at least as many as a level has), ascending in a row; and the coefficients themselves, those of the sum over levels
        m >= l of H_m. The last two are in the room that was given, or in more.
    """
    (L, R), N = tile.shape[:2], inverse_p.shape[1]
    cosines, exps = buffers[:L], buffers[L : 2 * L]
    products, scratch, most = buffers[2 * L], buffers[2 * L + 1], buffers[2 * L + 2]
    flags, places = np.empty(N, np.uint8), np.empty(N + 1, np.int32)
    along, above = np.empty(N, inverse_a.dtype), np.empty(N, inverse_a.dtype)
    drawn, fresh = np.empty(N, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    units, steps = np.empty(L, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    offsets = np.zeros((L, R + 1), np.int64)
    loss = 0.0
    for i in range(R):
        target = targets[i]
        forward_row(
            tile, i, inverse_a, inverse_p, scale, masked[masked_offsets[i] : masked_offsets[i + 1]], limits[i], target,
            find and not known, tops[i], fresh, cosines, exps, products, scratch,
        )  # fmt: skip
        if not known:
            totals[i] = fresh
        most[:] = 0.0
        for level in range(L):
            total, pull = totals[i, level], scale * weights[level]
            if target >= 0:
                aims[i, level] = scale * cosines[level, target]
                loss += weights[level] * (
                    np.log(np.float64(total)) - np.float64(aims[i, level] - tops[i, level])
                )
            own = np.exp(aims[i, level] - tops[i, level])
            rest = least * max(np.float64(total - own), SMALLEST * total)
            if len(column_tops) > 0:
                backward_exponentials(
                    cosines[level], scale, column_tops[level], column_factors[level], scratch
                )
                if target >= 0:
                    scratch[target] = 0.0
                add_backward(exps[level], pull / total, scratch)
                rest *= pull / total
                units[level] = min(1 / rest, MOST) if pull > 0 else 0
                steps[level] = 1 / units[level] if pull > 0 else 0
            else:
                units[level] = min(1 / rest, MOST) if pull > 0 else 0
                steps[level] = pull / total / units[level] if pull > 0 else 0
            _raise(exps[level], units[level], most)
        _draw(key, row + i, column, drawn)
        _flag(most, drawn, flags)
        if target >= 0:
            flags[target] = 1
        chosen = places[: _chosen(flags, places)]
        columns, coefficients = _room(columns, coefficients, offsets[:, i].max() + len(chosen) + 1)
        above[: len(chosen)] = 0.0
        for level in range(L - 1, -1, -1):
            _weigh(
                chosen, exps[level], units[level], steps[level], drawn, target, backward[i, level] - scale * weights[level],
                cosines[level], inverse_a[i, level], inverse_p[level], along, above,
            )  # fmt: skip
            more, offsets[level, i + 1] = _put_down(
                chosen, along, above, column, column_sums[level], columns[level], coefficients[level], offsets[level, i]
            )  # fmt: skip
            row_sums[i, level] += more
    return loss, offsets, columns, coefficients


@njit(nogil=True, cache=True, error_model="numpy")
def _room(columns: Ints, coefficients: Floats, needed: int) -> tuple[Ints, Floats]:
    """Both, or longer copies of them where they hold less than is needed."""
    L, size = columns.shape
    if needed <= size:
        return columns, coefficients
    more, longer = np.empty((L, 2 * needed), np.int32), np.empty((L, 2 * needed), coefficients.dtype)
    more[:, :size], longer[:, :size] = columns, coefficients
    return more, longer


@njit(nogil=True, cache=True, error_model="numpy")
def add_anchors(
    vectors: Products, levels: Offsets, offsets: Offsets, columns: Ints, coefficients: Floats, fresh: bool, out: Floats
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
                vectors[:, block], columns[level], coefficients[level], offsets[level, i], offsets[level, i + 1], sums[block]
            )  # fmt: skip
            begin = levels[level]
        if fresh:
            out[i] = sums
        else:
            out[i] += sums


@njit(nogil=True, cache=True, error_model="numpy")
def count(offsets: Offsets, columns: Ints, counts: Offsets) -> None:
    """Add how many coefficients of each level a tile has in each column to ``counts``, (L, N)."""
    for level in range(len(counts)):
        for e in range(offsets[level, -1]):
            counts[level, columns[level, e]] += 1


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
    for i in range(offsets.shape[1] - 1):
        for e in range(offsets[level, i], offsets[level, i + 1]):
            at = ends[level, columns[level, e]]
            ends[level, columns[level, e]] = at + 1
            rows[at], turned[at] = row + i, coefficients[level, e]


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
        starts: (L N + 1,) where each level's coefficients of each candidate begin.
        rows: From ``turn``, as are coefficients.
        start: First candidate.
        end: One past the last.
        out: (N, d) written at [start, end).
    """
    N = len(out)
    for j in range(start, end):
        begin = 0
        for level in range(len(levels)):
            block, at = slice(begin, levels[level]), level * N + j
            add_rows(vectors[:, block], rows, coefficients, starts[at], starts[at + 1], out[j, block])
            begin = levels[level]
