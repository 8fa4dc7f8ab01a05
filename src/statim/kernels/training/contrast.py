"""From block products to gradients: the softmax of every Matryoshka level for a tile, in place.

A tile holds, for R anchors and N candidates, the products of each block of dimensions alone. Level l's
products are the sum of the blocks up to l, so all levels together cost the products of the full dimension
once. Everything between the products and the gradient happens here, row by row, in cache.

The kernels are generic in the float type: training runs them in float32 with products in bfloat16 (seen as
int16) or float32, the tests in float64 too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.floats import LOG2E, exp2, load, store
from statim.kernels.prepared import njit

Floats = npt.NDArray[np.floating[Any]]
Products = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

# Sums may be reordered (once and for all, when compiled: the same bits every run); NaN stays NaN.
SUMS = {"reassoc", "contract", "nsz"}

# floats between the rows of a buffer: beside each other at whole pages, they would push each other out of the
# first cache
APART = 48

# up to this scale exp(scale * (cosine - 1)) never underflows in float32, so rows need no maximum of their own
FIXED = 40.0


def buffer_shape(levels: int, columns: int) -> tuple[int, int]:
    """Of the scratch for the rows of a tile, one after the other: (2 L + 4, more than N)."""
    return 2 * levels + 4, -(-columns // 16) * 16 + APART


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath={"nnan", "nsz"})
def maximum(x: Floats, scratch: Floats) -> Any:
    """The largest of x, (N,), by folding halves together; a running maximum would not be vectorized."""
    last = x[len(x) - 1]
    half = len(x) // 2
    for j in range(half):
        scratch[j] = max(x[j], x[half + j])
    while half > 1:
        if half % 2:
            last = max(last, scratch[half - 1])
        half //= 2
        for j in range(half):
            scratch[j] = max(scratch[j], scratch[half + j])
    return max(last, scratch[0]) if len(x) > 1 else last


# Short loops, each a function of its own: the compiler gives up on vectors when it must tell too many arrays
# apart.


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _cosines(block: Products, inverse: Any, others: Floats, products: Floats, cosines: Floats) -> None:
    """Add a level's block to the products; set the cosines."""
    for j in range(len(products)):
        p = products[j] + load(block, j)
        products[j] = p
        cosines[j] = p * (inverse * others[j])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _exponentials(cosines: Floats, scale: Any, top: Any, out: Floats) -> Any:
    """Set out to exp(scale * cosine - top); return its sum."""
    kind = cosines.dtype.type
    total, factor, shift = kind(0), kind(scale * LOG2E), kind(top * LOG2E)
    for j in range(len(cosines)):
        x = exp2(factor * cosines[j] - shift)
        out[j] = x
        total += x
    return total


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _cosines_and_exponentials(
    block: Products, inverse: Any, others: Floats, scale: Any, top: Any, products: Floats, cosines: Floats,
    out: Floats
) -> Any:  # fmt: skip
    """Both of the above in one loop."""
    kind = products.dtype.type
    total, factor, shift = kind(0), kind(scale * LOG2E), kind(top * LOG2E)
    for j in range(len(products)):
        p = products[j] + load(block, j)
        products[j] = p
        c = p * (inverse * others[j])
        cosines[j] = c
        x = exp2(factor * c - shift)
        out[j] = x
        total += x
    return total


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _sum(x: Floats) -> Any:
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j]
    return total


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _coefficients(
    g: Floats, factor: Any, cosines: Floats, inverse: Any, others: Floats, sums: Floats, above: Floats,
    block: Products
) -> Any:  # fmt: skip
    """Of a row and level: add G * S to ``sums``, H to ``above`` and ``block``; return the sum of G * S."""
    row = g.dtype.type(0)
    for j in range(len(g)):
        weighted = g[j] * factor
        gs = weighted * cosines[j]
        row += gs
        sums[j] += gs
        h = above[j] + weighted * (inverse * others[j])
        above[j] = h
        store(block, j, h)
    return row


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def backward_exponentials(cosines: Floats, scale: Any, tops: Floats, factors: Floats, out: Floats) -> None:
    """Set out to the negatives' G of the backward direction."""
    unit, nothing = cosines.dtype.type(LOG2E), cosines.dtype.type(0)
    for j in range(len(cosines)):
        x = scale * cosines[j] - tops[j]
        out[j] = exp2(unit * min(x, nothing)) * factors[j]


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def add_backward(weights: Floats, factor: Any, more: Floats) -> None:
    """Weights times ``factor``, plus the backward direction's ``more`` where not 0 (masked columns are)."""
    for j in range(len(weights)):
        x = weights[j]
        weights[j] = x * factor + (more[j] if x != 0 else x)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def forward_row(
    tile: Products,
    i: int,
    inverse_a: Floats,
    inverse_p: Floats,
    scale: Any,
    masked: Ints,
    limit: Any,
    target: int,
    find: bool,
    tops: Floats,
    totals: Floats,
    cosines: Floats,
    exps: Floats,
    products: Floats,
    scratch: Floats,
) -> None:
    """The cosines of row i at each level, their shifted exponentials, and these's sums; 0 for masked columns.

    Args:
        tile: (L, R, at least N) products of block l.
        i: The row.
        inverse_a: (R, L), see ``tile_to_gradient``; as are inverse_p, scale.
        masked: Columns that are no negatives of this row.
        limit: A column whose cosine in full is above it is no negative either, if it is not the target; NaN
            masks nothing.
        target: The positive's column, or -1 if it is in another tile.
        find: Find the tops, instead of using those given.
        tops: (L,) the shift of the exponents.
        totals: (L,) written.
        cosines: (L, at least N) written.
        exps: (L, at least N) written.
        products: (N,) scratch.
        scratch: (N,) scratch.
    """
    L, N = len(cosines), inverse_p.shape[1]
    products[:] = 0.0
    for level in range(L):
        inverse, others = inverse_a[i, level], inverse_p[level]
        if find:
            _cosines(tile[level, i, :N], inverse, others, products, cosines[level, :N])
            for e in range(len(masked)):
                cosines[level, masked[e]] = -1.0
            tops[level] = scale * maximum(cosines[level, :N], scratch)
            totals[level] = _exponentials(cosines[level, :N], scale, tops[level], exps[level, :N])
        else:
            totals[level] = _cosines_and_exponentials(
                tile[level, i, :N],
                inverse,
                others,
                scale,
                tops[level],
                products,
                cosines[level, :N],
                exps[level, :N],
            )
        if len(masked) > 0:
            for e in range(len(masked)):
                exps[level, masked[e]] = 0.0
            totals[level] = _sum(exps[level, :N])
    if not np.isnan(limit):
        full = cosines[L - 1]
        for j in range(N):
            if full[j] > limit and j != target:
                for level in range(L):
                    exps[level, j] = 0.0
        for level in range(L):
            totals[level] = _sum(exps[level, :N])


@njit(nogil=True, cache=True, error_model="numpy")
def tile_to_totals(
    tile: Products,
    inverse_a: Floats,
    inverse_p: Floats,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    limits: Floats,
    scale: Any,
    find: bool,
    tops: Floats,
    totals: Floats,
    aims: Floats,
    buffers: Floats,
) -> None:
    """Add a tile's columns to its rows' sums of exponentials.

    Args:
        tile: (L, R, at least N) products of block l.
        inverse_a: (R, L), see ``tile_to_gradient``; as are inverse_p, targets, masked, masked_offsets,
            limits, scale and buffers.
        find: The tops are not known beforehand; start them at -inf.
        tops: (R, L) the shifts; updated if ``find``.
        totals: (R, L) updated; start at 0.
        aims: (R, L) written where the target is in this tile: the logits of the positives.
    """
    (L, R), N = tile.shape[:2], inverse_p.shape[1]
    cosines, exps = buffers[:L], buffers[L : 2 * L]
    fresh_tops, fresh = np.empty(L, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    for i in range(R):
        fresh_tops[:] = tops[i]
        forward_row(
            tile, i, inverse_a, inverse_p, scale, masked[masked_offsets[i] : masked_offsets[i + 1]],
            limits[i], targets[i], find,
            fresh_tops, fresh, cosines, exps, buffers[2 * L, :N], buffers[2 * L + 1, :N],
        )  # fmt: skip
        for level in range(L):
            if targets[i] >= 0:
                aims[i, level] = scale * cosines[level, targets[i]]
            if find:
                top = max(tops[i, level], fresh_tops[level])
                before = totals[i, level] * np.exp(tops[i, level] - top)
                totals[i, level] = before + fresh[level] * np.exp(fresh_tops[level] - top)
                tops[i, level] = top
            else:
                totals[i, level] += fresh[level]


@njit(nogil=True, cache=True, error_model="numpy")
def tile_to_gradient(
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
    column_tops: Floats,
    column_factors: Floats,
    backward: Floats,
    column_sums: Floats,
    row_sums: Floats,
    buffers: Floats,
) -> float:
    """Turn a tile's block products into gradient coefficients, in place; return its targets' forward loss.

    Args:
        tile: (L, R, at least N). In: products of block l. Out: the sum over levels m >= l of H_m = G_m / (|a|
            |p|), by which block l of the candidates (anchors) is multiplied to give the gradient of the
            anchors (candidates). What is beyond N stays.
        inverse_a: (R, L) 1 / norm of the anchors' first D_l dimensions, 0 for a zero vector.
        inverse_p: (L, N) likewise for the candidates.
        targets: (R,) the column of each row's positive; -1 if it is in another tile.
        masked: The columns that are no negatives of a row (its other known positives), one row's after the
            other's.
        masked_offsets: (R + 1,) where each row's begin.
        limits: (R,) columns with a greater cosine in full are no negatives of the row either; NaN for no
            limit.
        scale: What cosines are multiplied by.
        weights: (L,) each level's weight in the forward loss, divided by the number of rows in the batch.
        known: Tops and totals are given, those of all columns; else they are those of this tile, and are
            written.
        find: Where they are not known, find the tops; else use those given.
        tops: (R, L) the shift of the exponents.
        totals: (R, L) the sum of the exponentials of all columns.
        column_tops: (L, N) the shift of each column's softmax over anchors; (0, 0) when there is no backward
            direction.
        column_factors: (L, N) by which a negative's shifted exponential is multiplied in the backward
            direction's G.
        backward: (R, L) the backward direction's G at each row's target.
        column_sums: (L, N) added to: column sums of G * S.
        row_sums: (R, L) added to: row sums of G * S.
        buffers: Scratch of ``buffer_shape``.
    """
    (L, R), N = tile.shape[:2], inverse_p.shape[1]
    cosines, exps = buffers[:L], buffers[L : 2 * L]
    products, scratch, above = buffers[2 * L, :N], buffers[2 * L + 1, :N], buffers[2 * L + 2, :N]
    fresh = np.empty(L, inverse_a.dtype)
    loss = 0.0
    for i in range(R):
        target, own = targets[i], masked[masked_offsets[i] : masked_offsets[i + 1]]
        forward_row(
            tile, i, inverse_a, inverse_p, scale, own, limits[i], target, find and not known,
            tops[i], fresh, cosines, exps, products, scratch,
        )  # fmt: skip
        if not known:
            totals[i] = fresh
        above[:] = 0.0
        for level in range(L - 1, -1, -1):
            g, pull, total = exps[level, :N], scale * weights[level], totals[i, level]
            factor = pull / total
            if target >= 0:
                aim = np.float64(scale * cosines[level, target] - tops[i, level])
                loss += weights[level] * (np.log(np.float64(total)) - aim)
            if len(column_tops) == 0:
                if target >= 0:
                    g[target] -= total
            else:
                backward_exponentials(
                    cosines[level, :N], scale, column_tops[level], column_factors[level], scratch
                )
                if target >= 0:
                    scratch[target] = 0.0
                add_backward(g, factor, scratch)
                if target >= 0:
                    g[target] += backward[i, level] - pull
                factor = inverse_a.dtype.type(1)
            row_sums[i, level] += _coefficients(
                g, factor, cosines[level, :N], inverse_a[i, level], inverse_p[level], column_sums[level],
                above, tile[level, i, :N]
            )  # fmt: skip
    return loss


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _rise(cosines: Floats, scale: Any, exps: Floats, tops: Floats, totals: Floats) -> None:
    """Add a row's negatives (``exps`` not 0) to the columns' running maxima and sums of exponentials."""
    unit, nothing = cosines.dtype.type(LOG2E), cosines.dtype.type(0)
    for j in range(len(cosines)):
        x = scale * cosines[j]
        top = max(tops[j], x)
        share = exp2(unit * (x - top))
        totals[j] = totals[j] * exp2(unit * (tops[j] - top)) + (share if exps[j] != 0 else nothing)
        tops[j] = top


@njit(nogil=True, cache=True, error_model="numpy")
def tile_to_column_totals(
    tile: Products,
    inverse_a: Floats,
    inverse_p: Floats,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    limits: Floats,
    scale: Any,
    tops: Floats,
    totals: Floats,
    aims: Floats,
    buffers: Floats,
) -> None:
    """Add a tile's rows to the sums of exponentials over each column's negatives (a softmax over anchors).

    Args:
        tile: (L, R, at least N) products of block l.
        inverse_a: (R, L), see ``tile_to_gradient``; as are inverse_p, targets, masked, masked_offsets,
            limits, scale and buffers.
        tops: (L, N) updated: at least the largest logit so far, the positives' included; start at -scale.
        totals: (L, N) updated: sum of exp(logit - top) over the negatives so far; start at 0.
        aims: (R, L) written where the target is in this tile: the logits of the positives.
    """
    (L, R), N = tile.shape[:2], inverse_p.shape[1]
    cosines, exps = buffers[:L], buffers[L : 2 * L]
    shifts, fresh = np.full(L, scale, inverse_a.dtype), np.empty(L, inverse_a.dtype)
    for i in range(R):
        target = targets[i]
        forward_row(
            tile, i, inverse_a, inverse_p, scale, masked[masked_offsets[i] : masked_offsets[i + 1]],
            limits[i], target, False,
            shifts, fresh, cosines, exps, buffers[2 * L, :N], buffers[2 * L + 1, :N],
        )  # fmt: skip
        for level in range(L):
            if target >= 0:
                aims[i, level] = scale * cosines[level, target]
                exps[level, target] = 0.0
            _rise(cosines[level, :N], scale, exps[level, :N], tops[level], totals[level])
