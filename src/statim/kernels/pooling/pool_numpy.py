"""Mean pooling in plain numpy, for a handful of texts: no compiled code to load."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 4096  # rows gathered at a time, so that a very long text takes little memory
MOST, TOP = 512, 32767  # as in kernels.pooling.blocks, which is not imported here: it loads the compiler

Floats = npt.NDArray[np.float32]


def pool_few(
    table: npt.NDArray[Any],
    scales: Floats | None,
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    dropped: int,
    normalize: bool,
    out: Floats,
) -> None:
    """``kernels.pooling.pool.pool`` in numpy, with the same sums in the same order, so equal vectors."""
    for index in range(len(offsets) - 1):
        bag = Counter(ids[offsets[index] : offsets[index + 1]].tolist())  # in the order of first occurrence
        bag.pop(dropped, None)
        rows = np.fromiter(bag, np.intp, len(bag))
        counts = np.fromiter(bag.values(), np.float32, len(bag))
        dim = out.shape[1]
        if scales is None:
            sums, factor = _add_floats(table, rows, counts, dim), 1.0
        else:
            sums, factor = _add_int8(table, rows, counts * scales[rows], dim)
        if normalize:
            length = float(np.sqrt(np.square(sums, dtype=np.float64).sum()))
            factor = 1.0 / length if length > 0.0 else 0.0
        else:
            factor /= max(sum(bag.values()), 1)
        out[index] = sums.astype(np.float64) * factor


def _add_floats(table: npt.NDArray[Any], rows: npt.NDArray[np.intp], counts: Floats, dim: int) -> Floats:
    total = np.zeros(dim, np.float32)
    for start in range(0, len(rows), BLOCK):
        values = table[rows[start : start + BLOCK], :dim].astype(np.float32, copy=False)
        values *= counts[start : start + BLOCK, None]
        values[0] += total
        total = np.add.reduce(values, axis=0)
    return total


def _add_int8(
    table: npt.NDArray[np.int8], rows: npt.NDArray[np.intp], weights: Floats, dim: int
) -> tuple[Floats, float]:
    """The sums in units of 1/32767 of the largest weight, and that unit."""
    total = np.zeros(dim, np.float32)
    factors, unit = int8_factors(weights)
    for start in range(0, len(rows), MOST):
        # integers below 2**31, of which float64 loses nothing, in whatever order they are added
        values = table[rows[start : start + MOST], :dim].astype(np.float64)
        total += (factors[start : start + MOST] @ values).astype(np.float32)
    return total, unit


def int8_factors(weights: Floats) -> tuple[npt.NDArray[np.float64], float]:
    """What rows of int8 are multiplied by: whole numbers, in units of 1/32767 of the largest weight.

    Args:
        weights: (m,) each row's scale times its count, not negative.

    Returns:
        The whole numbers (m,), and the unit; both 0 where all weights are.
    """
    top = weights.max(initial=np.float32(0))
    if top == 0.0:
        return np.zeros(len(weights)), 0.0
    factors = np.floor(weights * (np.float32(TOP) / top) + np.float32(0.5)).astype(np.float64)
    return factors, float(top) / TOP
