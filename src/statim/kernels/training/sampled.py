"""A contrastive gradient of few coefficients: small softmax weights are rounded at random.

A weight becomes 0 or a least share, so the mean is right.

A negative's weight of at least a share ``least`` of its row's negatives stays as it is; a smaller one, w,
becomes that share, s, with probability w / s and 0 otherwise, so the gradient is right in the mean (Wangni et
al., 2018, do so with the entries of gradients). So of a row's thousands of coefficients at most about 1 /
least are left a level, and what were two of the three matrix products of a step become sums of few rows.
Whether a weight stays follows from a key and from its place alone, and is drawn alike at all levels. (A share
of the whole row, positive included, was noise where the positive is far ahead.)
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.floats import as_bits, as_float
from statim.kernels.hashing import GOLDEN, mixed
from statim.kernels.prepared import njit
from statim.kernels.training.contrast import add_backward, backward_exponentials, forward_row

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
    """Set ``most`` to the larger of itself and the weights over ``unit``; bits order like the values.

    (A choice between floats becomes a masked store, for which some processors take ten times as long.)
    """
    for j in range(len(weights)):
        most[j] = as_float(max(as_bits(weights[j] * unit), as_bits(most[j])))


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
    chosen: Ints, drawn: Floats, exps: Floats, units: Floats, steps: Floats, cosines: Floats, inverse: Floats,
    others: Floats,
    above: Floats, column: int, sums: Floats, row_sums: Floats, i: int, offsets: Offsets, columns: Ints,
    coefficients: Floats,
) -> None:  # fmt: skip
    """Of row i, all levels and chosen columns: add G * S to both sums, write the sums of H from here up.

    Arrays are indexed, not cut: a cut of one costs more here than what is done with it.
    """
    L, one, nothing = len(units), exps.dtype.type(1), exps.dtype.type(0)
    above[: len(chosen)] = nothing
    for q in range(L):
        level = np.uintp(L - 1 - q)
        unit, step, own = units[level], steps[level], inverse[i, level]
        at, total = np.uintp(offsets[level, i]), nothing
        for k in range(len(chosen)):
            j = np.uintp(chosen[k])
            share = exps[level, j] * unit
            g = max(share, one) * step if share > drawn[j] else nothing
            along = g * cosines[level, j]
            total += along
            sums[level, j] += along
            h = above[k] + g * (own * others[level, j])
            above[k] = h
            columns[level, at], coefficients[level, at] = column + np.int32(j), h
            at += np.uintp(1) if h != nothing else np.uintp(0)
        row_sums[i, level] += total
        offsets[level, i + 1] = np.int64(at)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _weigh_positive(
    target: int, exps: Floats, units: Floats, steps: Floats, pulls: Floats, cosines: Floats, inverse: Floats,
    others: Floats,
    column: int, sums: Floats, row_sums: Floats, i: int, offsets: Offsets, columns: Ints,
    coefficients: Floats,
) -> None:  # fmt: skip
    """The same of the row's positive, which always stays and comes after the others."""
    above = exps.dtype.type(0)
    for q in range(len(units)):
        level = len(units) - 1 - q
        g = pulls[level] + exps[level, target] * units[level] * steps[level]
        along, at = g * cosines[level, target], offsets[level, i + 1]
        row_sums[i, level] += along
        sums[level, target] += along
        above += g * (inverse[i, level] * others[level, target])
        columns[level, at], coefficients[level, at] = column + target, above
        offsets[level, i + 1] += 1


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
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
    begin: int,
    offsets: Offsets,
    columns: Ints,
    coefficients: Floats,
) -> tuple[float, int]:
    """The coefficients of a tile's gradient that are left.

    Args:
        tile: As of ``contrast.tile_to_gradient``, but not written; as are all up to buffers, but for:
        aims: (R, L) the logits of the positives; written where they are in this tile.
        least: The least weight that always stays, as a share of a row's negatives.
        key: Decides what stays of the smaller ones.
        row: The tile's first row in the batch.
        column: The tile's first column in the batch.
        begin: The row of the tile to begin with.
        offsets: (L, R + 1) where each row's coefficients of each level begin; given for row ``begin``, and
            written for those after it.
        columns: (L, room) written: the coefficients' columns in the batch.
        coefficients: (L, room) written: those of the sum over levels m >= l of H_m.

    Returns:
        The forward loss of these rows' targets, and the row before which the room was too small, or R.
    """
    (L, R), N = tile.shape[:2], inverse_p.shape[1]
    cosines, exps = buffers[:L], buffers[L : 2 * L]
    products, scratch = buffers[2 * L, :N], buffers[2 * L + 1, :N]
    most, drawn = buffers[2 * L + 2, :N], buffers[2 * L + 3, :N]
    flags, places, above = np.empty(N, np.uint8), np.empty(N, np.int32), np.empty(N, inverse_a.dtype)
    fresh, pulls = np.empty(L, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    units, steps = np.empty(L, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    loss = 0.0
    for i in range(begin, R):
        target = targets[i]
        forward_row(
            tile, i, inverse_a, inverse_p, scale, masked[masked_offsets[i] : masked_offsets[i + 1]],
            limits[i], target,
            find and not known, tops[i], fresh, cosines, exps, products, scratch,
        )  # fmt: skip
        most[:] = 0.0
        for level in range(L):
            if not known:
                totals[i, level] = fresh[level]
            if target >= 0:
                aims[i, level] = scale * cosines[level, target]
            total, pull = totals[i, level], scale * weights[level]
            own = np.exp(aims[i, level] - tops[i, level])
            rest = least * max(np.float64(total - own), SMALLEST * total)
            factor = pull / total
            if len(column_tops) > 0:
                backward_exponentials(
                    cosines[level, :N], scale, column_tops[level], column_factors[level], scratch
                )
                if target >= 0:
                    scratch[target] = 0.0
                add_backward(exps[level, :N], factor, scratch)
                rest *= factor
                factor = 1.0
            units[level] = min(1 / rest, MOST) if pull > 0 else 0
            steps[level] = factor / units[level] if pull > 0 else 0
            pulls[level] = backward[i, level] - pull
            _raise(exps[level, :N], units[level], most)
        _draw(key, row + i, column, drawn)
        _flag(most, drawn, flags)
        if target >= 0:
            flags[target] = 0
        chosen = places[: _chosen(flags, places)]
        if offsets[:, i].max() + len(chosen) + 2 > columns.shape[1]:
            return loss, i
        _weigh(
            chosen, drawn, exps, units, steps, cosines, inverse_a, inverse_p, above, column, column_sums,
            row_sums, i, offsets,
            columns, coefficients,
        )  # fmt: skip
        if target >= 0:
            for level in range(L):
                loss += weights[level] * (
                    np.log(np.float64(totals[i, level])) - np.float64(aims[i, level] - tops[i, level])
                )
            _weigh_positive(
                target, exps, units, steps, pulls, cosines, inverse_a, inverse_p, column, column_sums,
                row_sums, i, offsets,
                columns, coefficients,
            )  # fmt: skip
    return loss, R
