"""Norms of vectors at every Matryoshka level, and what normalization takes out of a gradient; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.floats import load
from statim.kernels.prepared import njit
from statim.kernels.training.contrast import SUMS
from statim.kernels.training.rows import copy

Floats = npt.NDArray[np.floating[Any]]
Products = npt.NDArray[Any]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _square(x: Floats) -> Any:
    squares = x.dtype.type(0)
    for j in range(len(x)):
        squares += x[j] * x[j]
    return squares


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def inverse_norms(vectors: Floats, levels: Offsets, start: int, end: int, out: Floats) -> None:
    """Set out (n, L) at vectors [start, end) to 1 / norm of their first levels[l] dimensions, 0 for zeros."""
    for i in range(start, end):
        row = vectors[i]
        squares = row.dtype.type(0)
        begin = 0
        for level in range(len(levels)):
            squares += _square(row[begin : levels[level]])
            begin = levels[level]
            out[i, level] = 1 / np.sqrt(squares) if squares != 0 else 0  # NaN stays NaN


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def prepare(
    vectors: Floats, levels: Offsets, start: int, end: int, inverse: Floats, factors: Products
) -> None:
    """``inverse_norms``, and a copy of the vectors for multiplication: (at least n, d), bfloat16 as int16."""
    for i in range(start, end):
        inverse_norms(vectors, levels, i, i + 1, inverse)
        copy(vectors, i, i + 1, factors)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def margins(
    anchors: Floats, candidates: Floats, targets: Ints, inverse_a: Floats, inverse_p: Floats, margin: Any,
    out: Floats
) -> None:  # fmt: skip
    """Set out (B,) to the cosine of each anchor and its positive in full, plus the margin."""
    for i in range(len(anchors)):
        a, p = anchors[i], candidates[targets[i]]
        product = a.dtype.type(0)
        for j in range(len(a)):
            product += a[j] * p[j]
        out[i] = product * inverse_a[i] * inverse_p[targets[i]] + margin


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def add(products: Products, fresh: bool, out: Floats) -> None:
    """Add the products to ``out``, both (n, d); or write them there, if that is fresh."""
    for i in range(len(out)):
        source, target = products[i], out[i]
        if fresh:
            for j in range(len(target)):
                target[j] = load(source, j)
        else:
            for j in range(len(target)):
                target[j] += load(source, j)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _subtract(target: Floats, factor: Any, row: Floats) -> None:
    for j in range(len(target)):
        target[j] -= factor * row[j]


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def remove_radial(
    gradient: Floats, vectors: Floats, sums: Floats, inverse: Floats, levels: Offsets, start: int, end: int
) -> None:
    """Subtract the part along each vector from its gradient, level by level (normalization's derivative).

    Args:
        gradient: (n, d) updated.
        vectors: (n, d).
        sums: (n, L) sums of G * S over the other side.
        inverse: (n, L) 1 / norm at each level.
        levels: (L,) ascending dimensions.
        start: First vector.
        end: One past the last.
    """
    for i in range(start, end):
        target, row = gradient[i], vectors[i]
        factor = row.dtype.type(0)
        for level in range(len(levels) - 1, -1, -1):
            factor += sums[i, level] * inverse[i, level] * inverse[i, level]
            begin = levels[level - 1] if level > 0 else 0
            _subtract(target[begin : levels[level]], factor, row[begin : levels[level]])
