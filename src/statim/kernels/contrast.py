"""From block products to gradients: the softmax of every Matryoshka level for a tile of rows, in place.

A tile holds, for R anchors and N candidates, the products of each block of dimensions alone. Level l's products are the sum
of the blocks up to l, so all levels together cost the products of the full dimension once. Everything between the products
and the gradient happens here, row by row, in cache.

The kernels are generic in the float type: training runs them in float32, the tests in float64 too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

# Sums may be reordered (once and for all, when compiled: the same bits every run); NaN stays NaN.
SUMS = {"reassoc", "contract", "nsz"}

# The constants of Cephes' expf (Moshier): exp(r) for |r| <= ln 2 / 2
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.12194440e-4)
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ONE, HALF, BIAS, MANTISSA = np.float32(1), np.float32(0.5), np.float32(127), np.float32(1 << 23)
UNDERFLOW = np.float32(-88.0)  # rounds to the power -127, whose bits are those of 0

AWAY = -150.0  # a logit whose exponential is exactly 0 in float32, whatever else stands in the row


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def exp32(x: Floats, scratch: Floats) -> None:
    """Set x to exp(x), to 2 ulp for float32 arguments of at most 0, (N,), in place; under -87.7 exactly 0.

    Two loops, since only simple ones are compiled to vector instructions: polynomial and power of 2, then their product.
    """
    bits = scratch.view(np.int32)
    for j in range(len(x)):
        v = max(x[j], UNDERFLOW)
        n = np.floor(v * LOG2E + HALF)
        r = v - n * LN2_HIGH
        r = r - n * LN2_LOW
        p = P0 * r + P1
        p = p * r + P2
        p = p * r + P3
        p = p * r + P4
        p = p * r + P5
        x[j] = p * r * r + r + ONE
        bits[j] = np.int32((n + BIAS) * MANTISSA)
    for j in range(len(x)):
        x[j] *= scratch[j]


@njit(nogil=True, cache=True, error_model="numpy")
def exp64(x: Floats, scratch: Floats) -> None:  # noqa: ARG001 - of the same shape as exp32
    """Set x to exp(x), (N,), in place."""
    for j in range(len(x)):
        x[j] = np.exp(x[j])


def exponentiate(x: Any, scratch: Any) -> None:
    """exp32 or exp64, chosen when compiled (numba wants the names of stub and overload alike, and no annotations)."""


@overload(exponentiate)
def _exponentiate(x, scratch):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if x.dtype == types.float32:
        return lambda x, scratch: exp32(x, scratch)
    return lambda x, scratch: exp64(x, scratch)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz"})
def maximum(x: Floats, scratch: Floats) -> Any:
    """The largest of x, (N,), by folding halves upon each other: a running maximum would not be vectorised."""
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


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def tile_to_gradient(
    tile: Floats,
    inverse_a: Floats,
    inverse_p: Floats,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    scale: Any,
    weights: Floats,
    column_sums: Floats,
    row_sums: Floats,
    buffers: Floats,
    column_tops: Floats,
    column_factors: Floats,
    backward: Floats,
) -> float:
    """Turn a tile's block products into the coefficients of the gradient, in place; return the tile's forward loss.

    Args:
        tile: (L, R, N). In: products of block l. Out: the sum over levels m >= l of H_m = G_m / (|a| |p|), by which block l
            of the candidates (anchors) is multiplied to give the gradient of the anchors (candidates).
        inverse_a: (L, R) 1 / norm of the anchors' first D_l dimensions, 0 for a zero vector.
        inverse_p: (L, N) likewise for the candidates.
        targets: (R,) the column of each row's positive.
        masked: The columns that are no negatives of a row (its other known positives), one row's after the other's.
        masked_offsets: (R + 1,) where each row's begin.
        scale: What cosines are multiplied by.
        weights: (L,) each level's weight in the forward loss, divided by the number of rows in the batch.
        column_sums: (L, N) added to: column sums of G * S.
        row_sums: (L, R) written: row sums of G * S.
        buffers: (4, N) scratch.
        column_tops: (L, N) the shift of each column's softmax over anchors; (0, 0) when there is no backward direction.
        column_factors: (L, N) by which a negative's shifted exponential is multiplied in the backward direction's G.
        backward: (L, R) the backward direction's G at each row's target.
    """
    L, R, N = tile.shape
    products, scores, g, scratch = buffers[0], buffers[1], buffers[2], buffers[3]
    both = len(column_tops) > 0
    loss = 0.0
    for i in range(R):
        products[:] = 0.0
        target = targets[i]
        start, end = masked_offsets[i], masked_offsets[i + 1]
        for level in range(L):
            block = tile[level, i]
            inverse = inverse_a[level, i]
            others = inverse_p[level]
            for j in range(N):
                products[j] += block[j]
                scores[j] = products[j] * (inverse * others[j])
            for j in range(N):
                g[j] = scale * scores[j]
            for e in range(start, end):
                g[masked[e]] = -scale + AWAY
            top = maximum(g, scratch)
            aim = np.float64(g[target] - top)
            for j in range(N):
                g[j] -= top
            exponentiate(g, scratch)
            total = g[0] * 0
            for j in range(N):
                total += g[j]
            loss += weights[level] * (np.log(np.float64(total)) - aim)
            pull = scale * weights[level]
            factor = pull / total
            for j in range(N):
                g[j] *= factor
            pulled = -pull
            if both:
                shift, factors = column_tops[level], column_factors[level]
                for j in range(N):
                    products_shifted = scale * scores[j] - shift[j]
                    scratch[j] = min(products_shifted, 0)
                add_backward(g, scratch, factors, target, masked[start:end], block)
                pulled += backward[level, i]
            g[target] += pulled
            sums = column_sums[level]
            row = g[0] * 0
            # short loops: the compiler gives up on vectors when it must tell too many arrays apart
            for j in range(N):
                gs = g[j] * scores[j]
                row += gs
                sums[j] += gs
            row_sums[level, i] = row
            for j in range(N):
                block[j] = g[j] * inverse * others[j]
        for level in range(L - 2, -1, -1):
            block, after = tile[level, i], tile[level + 1, i]
            for j in range(N):
                block[j] += after[j]
    return loss


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def add_backward(
    g: Floats, logits: Floats, factors: Floats, target: int, masked: Ints, scratch: Floats
) -> None:
    """Add the backward direction's G of one row's negatives to ``g``; ``logits`` are shifted by their columns' tops."""
    exponentiate(logits, scratch)
    logits[target] = 0
    for e in range(len(masked)):
        logits[masked[e]] = 0
    for j in range(len(g)):
        g[j] += logits[j] * factors[j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def tile_to_column_sums(
    tile: Floats,
    inverse_a: Floats,
    inverse_p: Floats,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    scale: Any,
    tops: Floats,
    sums: Floats,
    aims: Floats,
    buffers: Floats,
) -> None:
    """Add a tile's rows to the sums of exponentials over each column's negatives (a softmax over anchors).

    Args:
        tile: (L, R, N) products of block l; overwritten.
        inverse_a: (L, R), see ``tile_to_gradient``; as are inverse_p, targets, masked, masked_offsets and scale.
        tops: (L, N) updated: the largest logit so far, the positives' included; start at -inf.
        sums: (L, N) updated: sum of exp(logit - top) over the negatives so far; start at 0.
        aims: (L, R) written: the logits of the positives.
        buffers: (4, N) scratch.
    """
    L, R, N = tile.shape
    fresh, scratch = buffers[0], buffers[1]
    for level in range(L):
        others, top, total = inverse_p[level], tops[level], sums[level]
        fresh[:] = top
        for i in range(R):
            block = tile[level, i]
            if level > 0:
                before = tile[level - 1, i]
                for j in range(N):
                    block[j] += before[j]
            factor = scale * inverse_a[level, i]
            for j in range(N):
                fresh[j] = max(fresh[j], block[j] * factor * others[j])
        for j in range(N):
            total[j] *= np.exp(top[j] - fresh[j])
            top[j] = fresh[j]
        for i in range(R):
            block = tile[level, i]
            factor = scale * inverse_a[level, i]
            aims[level, i] = block[targets[i]] * factor * others[targets[i]]
            logits = buffers[2]
            for j in range(N):
                logits[j] = min(block[j] * factor * others[j] - top[j], 0)
            exponentiate(logits, scratch)
            logits[targets[i]] = 0
            for e in range(masked_offsets[i], masked_offsets[i + 1]):
                logits[masked[e]] = 0
            for j in range(N):
                total[j] += logits[j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def inverse_norms(vectors: Floats, levels: Offsets, out: Floats) -> None:
    """Set out (L, n) to 1 / norm of each vector's first levels[l] dimensions, 0 for a zero prefix."""
    for i in range(len(vectors)):
        row = vectors[i]
        squares = row[0] * 0
        start = 0
        for level in range(len(levels)):
            for j in range(start, levels[level]):
                squares += row[j] * row[j]
            start = levels[level]
            out[level, i] = 1 / np.sqrt(squares) if squares != 0 else 0  # NaN stays NaN


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def remove_radial(
    gradient: Floats, vectors: Floats, sums: Floats, inverse: Floats, levels: Offsets, start: int, end: int
) -> None:
    """Subtract what normalising takes out of the gradient of vectors [start, end): the part along the vector, level by level.

    Args:
        gradient: (n, d) updated.
        vectors: (n, d).
        sums: (L, n) sums of G * S over the other side.
        inverse: (L, n) 1 / norm at each level.
        levels: (L,) ascending dimensions.
        start: First vector.
        end: One past the last.
    """
    for i in range(start, end):
        target, row = gradient[i], vectors[i]
        factor = row[0] * 0
        for level in range(len(levels) - 1, -1, -1):
            factor += sums[level, i] * inverse[level, i] * inverse[level, i]
            for j in range(levels[level - 1] if level > 0 else 0, levels[level]):
                target[j] -= factor * row[j]
