"""Row-sparse Adam: gradients of vectors gathered by row, and the step of the rows that occur; compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.atomics import Numbers, all_done, done, take
from statim.kernels.floats import load, store, store_random
from statim.kernels.hashing import FIRST, GOLDEN, mixed
from statim.kernels.pooling.blocks import add_rows
from statim.kernels.prepared import njit
from statim.kernels.training.rows import SUMS, copy, copy_row, decay_row

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Groups = npt.NDArray[np.uint8]
Parts = npt.NDArray[np.int64]
Stored = npt.NDArray[Any]  # floats, or bfloat16 seen as int16


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _square(x: Floats) -> Any:
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * x[j]
    return total


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def gather(
    row_offsets: Offsets,
    positions: Ints,
    shares: Floats,
    gradients: Stored,
    start: int,
    end: int,
    out: Stored,
    squares: npt.NDArray[np.float64],
) -> None:
    """Sum each row's gradient from the gradients of the vectors it is in.

    Args:
        row_offsets: See ``sort_by_row``; as are positions and shares.
        gradients: (m, d) gradients of the batch's pooled vectors; bfloat16 as int16.
        start: First row of those that occur.
        end: One past the last.
        out: (rows that occur, d) written at [start, end); rounded to bfloat16 if int16.
        squares: (rows that occur,) written at [start, end): squared norms.
    """
    sums = np.empty(out.shape[1], shares.dtype)
    for u in range(start, end):
        add_rows(gradients, positions, shares, row_offsets[u], row_offsets[u + 1], sums)
        squares[u] = _square(sums)
        copy_row(sums, out[u])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _adam(
    w: Floats, m: Stored, v: Stored, gradient: Stored, old_1: Any, new_1: Any, old_2: Any, new_2: Any,
    rate: Any,
    correction: Any, epsilon: Any, key: np.uint32,
) -> None:  # fmt: skip
    for j in range(len(w)):
        g = load(gradient, j)
        mean = old_1 * load(m, j) + new_1 * g
        square = old_2 * load(v, j) + new_2 * g * g
        store(m, j, mean)
        x = np.uint32(key + np.uint32(j) * GOLDEN)
        x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * FIRST)
        store_random(v, j, square, np.int32(x >> np.uint32(16)))
        w[j] -= rate * mean / (np.sqrt(square) * correction + epsilon)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _adam_of_row(w: Floats, m: Stored, gradient: Stored, old: Any, new: Any, rate: Any) -> None:
    for j in range(len(w)):
        mean = old * load(m, j) + new * load(gradient, j)
        store(m, j, mean)
        w[j] -= rate * mean


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def adam(
    table: Floats,
    first: Stored,
    second: Stored,
    last: Ints,
    rows: Ints,
    gradients: Stored,
    squares: npt.NDArray[np.float64],
    start: int,
    end: int,
    factor: float,
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    groups: Groups,
    multipliers: npt.NDArray[np.float64],
    decays: npt.NDArray[np.float64],
    origin: Floats,
) -> None:
    """One step of Adam (Kingma & Ba, 2015) for the rows that occur, with decoupled weight decay.

    Decay follows Loshchilov & Hutter (2019).

    Args:
        table: (V, d) updated; rows caught up with step - 1.
        first: (V, d) first moments, updated; as of step ``last``; bfloat16 if int16.
        second: (V, d) second moments, likewise, in bfloat16 rounded at random, or they would stand still: a
            step changes them by less than it resolves; or (V, 1), the mean square of the whole row's
            gradient.
        last: (V,) the last step at which each row had a gradient; set to ``step``.
        rows: The rows that occur.
        gradients: (rows that occur, d) from ``gather``.
        squares: (rows that occur,) likewise.
        start: First position in ``rows``.
        end: One past the last.
        factor: Gradients are multiplied by it (clipping).
        step: This step, from 1.
        rate: Learning rate.
        beta1: Decay of first moments.
        beta2: Decay of second moments.
        epsilon: Added to the root of the second moment.
        groups: (V,) the group of each row, or (0,) where all are of one.
        multipliers: (K,) what the rate of each group's rows is multiplied by; rows of 0 are left alone.
        decays: (K,) the weight decay of each group's rows.
        origin: See ``rows.catch_up``.
    """
    d = table.shape[1]
    kind = table.dtype.type
    correction = kind(1 / np.sqrt(1 - beta2**step))
    new_1, new_2, eps = kind((1 - beta1) * factor), kind((1 - beta2) * factor * factor), kind(epsilon)
    for u in range(start, end):
        row = rows[u]
        group = groups[row] if len(groups) > 0 else 0
        multiplier = multipliers[group]
        if multiplier == 0:
            continue
        own = rate * multiplier
        if decays[group] > 0:
            decay_row(table[row], origin, row, kind(1 - own * decays[group]))
        rate_1 = kind(own / (1 - beta1**step))
        gap = step - last[row]
        last[row] = step
        old_1, old_2 = kind(beta1**gap), kind(beta2**gap)
        if second.shape[1] == 1 and d > 1:
            v = old_2 * second[row, 0] + new_2 * kind(squares[u] / d)
            second[row, 0] = v
            _adam_of_row(
                table[row], first[row], gradients[u], old_1, new_1, rate_1 / (np.sqrt(v) * correction + eps)
            )
        else:
            _adam(
                table[row],
                first[row],
                second[row],
                gradients[u],
                old_1,
                new_1,
                old_2,
                new_2,
                rate_1,
                correction,
                eps,
                mixed(np.uint32(np.uint32(row) * GOLDEN + np.uint32(step))),
            )


@njit(nogil=True, cache=True, error_model="numpy")
def update(
    numbers: Numbers,
    vector_parts: Parts,
    row_parts: Parts,
    vectors: Floats,
    rounded: Stored,
    row_offsets: Offsets,
    positions: Ints,
    shares: Floats,
    gathered: Stored,
    squares: npt.NDArray[np.float64],
    counted: npt.NDArray[np.bool_],
    clip: float,
    table: Floats,
    first: Stored,
    second: Stored,
    last: Ints,
    rows: Ints,
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    groups: Groups,
    multipliers: npt.NDArray[np.float64],
    decays: npt.NDArray[np.float64],
    origin: Floats,
) -> None:
    """``copy`` the vectors' gradients, ``gather`` those of all rows, and take ``adam``'s step.

    Several threads may call it at once.

    Args:
        numbers: Of three phases, see ``waiting``.
        vector_parts: (parts, 2) vectors to copy, from and to; (0, 2) where they need no copy.
        row_parts: (parts, 2) rows likewise.
        vectors: (m, d) the gradients of the pooled vectors.
        rounded: (m, d) written: their copy.
        row_offsets: See ``gather``; as are positions, shares, ``gathered`` (its out) and squares.
        counted: (rows that occur,) whether each counts where the norm is clipped.
        clip: The norm that the whole gradient is scaled down to, if it is larger.
        table: See ``adam``, as are all that follow.
    """
    while True:
        part = take(numbers, 0)
        if part >= len(vector_parts):
            break
        start, end = vector_parts[part, 0], vector_parts[part, 1]
        copy(vectors, start, end, rounded)
        done(numbers, 0)
    if not all_done(numbers, 0, len(vector_parts)):
        return
    while True:
        part = take(numbers, 1)
        if part >= len(row_parts):
            break
        start, end = row_parts[part, 0], row_parts[part, 1]
        gather(row_offsets, positions, shares, rounded, start, end, gathered, squares)
        done(numbers, 1)
    if not all_done(numbers, 1, len(row_parts)):
        return
    total = 0.0  # each thread finds it for itself
    for u in range(len(squares)):
        total += squares[u] if counted[u] else 0.0
    norm = np.sqrt(total)
    factor = min(1.0, clip / norm) if norm > 0 else 1.0
    while True:
        part = take(numbers, 2)
        if part >= len(row_parts):
            break
        start, end = row_parts[part, 0], row_parts[part, 1]
        adam(
            table, first, second, last, rows, gathered, squares, start, end, factor, step, rate, beta1, beta2,
            epsilon, groups,
            multipliers, decays, origin,
        )  # fmt: skip
        done(numbers, 2)
    all_done(numbers, 2, len(row_parts))
