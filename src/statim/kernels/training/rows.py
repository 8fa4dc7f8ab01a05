"""The sparse side of a training step: bags to vectors, and vector gradients to row updates.

Only rows that occur in the batch are touched. The batch's entries are sorted by row once; then each row
gathers its own gradient and takes its own step of Adam, so no two threads ever write to the same row and the
result does not depend on their timing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.atomics import Numbers, all_done, done, take
from statim.kernels.floats import LINE, load, prefetch_at, store
from statim.kernels.pooling.blocks import add_rows
from statim.kernels.prepared import njit

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint16]
Groups = npt.NDArray[np.uint8]
Parts = npt.NDArray[np.int64]
Stored = npt.NDArray[Any]  # floats, or bfloat16 seen as int16

SUMS = {"reassoc", "contract", "nsz"}
AHEAD = 6  # texts under way from memory


@njit(nogil=True, cache=True, error_model="numpy")
def bag(
    ids: Ints,
    offsets: Offsets,
    start: int,
    end: int,
    frozen: int,
    seen: Ints,
    out_ids: Ints,
    out_counts: Counts,
    sizes: Offsets,
) -> int:
    """Reduce the texts [start, end) to their unique ids and counts; return the number of entries written.

    Args:
        ids: Token ids of all texts.
        offsets: (n + 1,) where each text begins.
        start: First text.
        end: One past the last text.
        frozen: An id that gets no entry (the unknown token), or -1.
        seen: (V,) scratch, all -1; left so.
        out_ids: Written from 0: each text's ids in order of first occurrence.
        out_counts: Likewise, how often each occurs. A count over 65,535 is spread over several entries.
        sizes: (n,) written at [start, end): each text's number of entries.
    """
    written = 0
    for text in range(start, end):
        first = written
        for t in range(offsets[text], offsets[text + 1]):
            token = ids[t]
            if token == frozen:
                continue
            at = seen[token]
            if at >= 0 and out_counts[at] < 65535:
                out_counts[at] += 1
            else:
                seen[token] = written
                out_ids[written] = token
                out_counts[written] = 1
                written += 1
        for e in range(first, written):
            seen[out_ids[e]] = -1
        sizes[text] = written - first
    return written


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def pool_bags(
    fetched: Stored,
    slots: Ints,
    ids: Ints,
    counts: Counts,
    offsets: Offsets,
    totals: Ints,
    texts: Offsets,
    start: int,
    end: int,
    out: Floats,
) -> None:
    """out[i] = mean of the rows of text texts[i], for i in [start, end).

    Args:
        fetched: (rows that occur, d) from ``fetch``.
        slots: (V,) which of them a row of the table is.
        ids: The bags' ids, one text's after the other's.
        counts: Their counts.
        offsets: (n + 1,) where each text's entries begin.
        totals: (n,) tokens per text, unknown ones included.
        texts: (m,) which texts.
        start: First position.
        end: One past the last.
        out: (m, d) written at [start, end).
    """
    longest = 0
    for i in range(start, end):
        longest = max(longest, offsets[texts[i] + 1] - offsets[texts[i]])
    rows, shares = np.empty(longest, np.int32), np.empty(longest, out.dtype)
    for i in range(start, end):
        text = texts[i]
        first, size = offsets[text], offsets[text + 1] - offsets[text]
        if totals[text] == 0 or size == 0:
            out[i] = 0.0
            continue
        share = 1 / np.float64(totals[text])
        for e in range(size):
            rows[e] = slots[ids[first + e]]
            shares[e] = counts[first + e] * share
        add_rows(fetched, rows, shares, 0, size, out[i])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _expect(ids: Ints, counts: Counts, start: int, end: int) -> None:
    """Begin to bring a text's entries into the cache."""
    for e in range(start, end, LINE // 4):
        prefetch_at(ids, e)
    for e in range(start, end, LINE // 2):
        prefetch_at(counts, e)


@njit(nogil=True, cache=True, error_model="numpy")
def sort_by_row(
    ids: Ints,
    counts: Counts,
    offsets: Offsets,
    totals: Ints,
    texts: Offsets,
    starts: Ints,
    rows: Ints,
    slots: Ints,
    row_offsets: Offsets,
    positions: Ints,
    shares: Floats,
) -> int:
    """Group the entries of a batch's texts by row (one counting sort); return the number of rows that occur.

    Args:
        ids: See ``pool_bags``; as are counts, offsets, totals and texts.
        starts: (V + 1,) scratch.
        rows: (V,) written: the rows that occur, ascending; behind them anything.
        slots: (V,) written: of the rows that occur, their position in ``rows``.
        row_offsets: Written: entries of rows[u] are [row_offsets[u], row_offsets[u + 1]).
        positions: Written: for each entry, the position of its text in the batch (ascending within a row).
        shares: Written: for each entry, count / total.
    """
    starts[:] = 0
    for i in range(len(texts)):
        if i + AHEAD < len(texts):  # texts lie anywhere, so memory is far
            _expect(ids, counts, offsets[texts[i + AHEAD]], offsets[texts[i + AHEAD] + 1])
        for e in range(offsets[texts[i]], offsets[texts[i] + 1]):
            starts[np.uintp(ids[np.uintp(e)])] += np.int32(1)
    found, position = 0, np.int32(0)
    for row in range(len(starts) - 1):  # without branches, which nobody could foresee
        count = starts[row]
        starts[row] = position
        rows[found], slots[row], row_offsets[found] = row, found, position
        found += int(count > 0)
        position += count
    row_offsets[found] = position
    for i in range(len(texts)):
        text = texts[i]
        share = 1 / np.float64(max(totals[text], 1))
        for e in range(offsets[text], offsets[text + 1]):
            own = np.uintp(ids[np.uintp(e)])
            at = np.uintp(starts[own])
            starts[own] += np.int32(1)
            positions[at], shares[at] = i, counts[np.uintp(e)] * share
    return found


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _drift(w: Floats, m: Stored, v: Stored, move: Any, epsilon: Any) -> None:
    for j in range(len(w)):
        w[j] -= move * load(m, j) / (np.sqrt(load(v, j)) + epsilon)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def scale_row(w: Floats, factor: Any) -> None:
    """Multiply a row by a factor."""
    for j in range(len(w)):
        w[j] *= factor


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def decay_row(w: Floats, origin: Floats, row: int, kept: Any) -> None:
    """Keep this much of a row, or of its distance from its origin where there are any."""
    if len(origin) == 0:
        scale_row(w, kept)
        return
    for j in range(len(w)):
        w[j] = origin[row, j] + kept * (w[j] - origin[row, j])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath=SUMS)
def _subtract(w: Floats, m: Stored, factor: Any) -> None:
    for j in range(len(w)):
        w[j] -= factor * load(m, j)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def catch_up(
    table: Floats,
    first: Stored,
    second: Stored,
    last: Ints,
    rows: Ints,
    start: int,
    end: int,
    step: int,
    drift: Floats,
    ratio: float,
    epsilon: float,
    groups: Groups,
    shrinks: Floats,
    origin: Floats,
) -> None:
    """Move rows [start, end) of ``rows`` to where dense Adam would have them after ``step`` steps.

    A row without gradient since step s keeps moving by its decaying momentum. The moves form a geometric
    series with ratio r = beta1 / sqrt(beta2), weighted by the learning rates: their sum is drift[s] - r^(step
    - s) drift[step], times m / sqrt(v) (exact but for Adam's epsilon). Where weights decay, every row also
    shrinks, and so do moves already made: with P_t the product of 1 - rate * decay up to step t, the row
    becomes P_step / P_s times itself, and the sum of the moves is P_step / P_s drift[s] - r^(step - s)
    drift[step]. Where rows have an origin, it is their distance from it that shrinks.

    Args:
        table: (V, d) updated.
        first: (V, d) first moments after step ``last``; bfloat16 if int16, as is second.
        second: (V, d) second moments after step ``last``, or (V, 1) of whole rows.
        last: (V,) the last step at which each row had a gradient, 0 for never. Not changed.
        rows: Rows, each once.
        start: First position in ``rows``.
        end: One past the last.
        step: The step to catch up with.
        drift: (K, T + 1) for each group of rows drift[s] = sum over t in s + 1 .. T of c_t r^(t - s) P_s /
            P_t; c_t is the bias-corrected learning rate.
        ratio: r.
        epsilon: Added to the root of the second moment.
        groups: (V,) the group of each row, or (0,) where all are of one.
        shrinks: (K, T + 1) the logarithm of P; (K, 0) where weights do not decay.
        origin: (at least the rows that decay, d) what rows decay towards; (0, d) for 0.
    """
    d = table.shape[1]
    kind = table.dtype.type
    eps = kind(epsilon)
    for u in range(start, end):
        row = rows[u]
        since = last[row]
        group = groups[row] if len(groups) > 0 else 0
        shrink = 1.0
        if shrinks.shape[1] > 0 and shrinks[group, step] < 0 and since < step:
            shrink = np.exp(shrinks[group, step] - shrinks[group, since])
            decay_row(table[row], origin, row, kind(shrink))
        if since == 0 or since >= step:
            continue
        move = kind(shrink * drift[group, since] - ratio ** (step - since) * drift[group, step])
        if second.shape[1] == 1 and d > 1:
            _subtract(table[row], first[row], move / (np.sqrt(second[row, 0]) + eps))
        else:
            _drift(table[row], first[row], second[row], move, eps)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def fetch(
    table: Floats,
    first: Stored,
    second: Stored,
    last: Ints,
    rows: Ints,
    start: int,
    end: int,
    step: int,
    drift: Floats,
    ratio: float,
    epsilon: float,
    groups: Groups,
    shrinks: Floats,
    origin: Floats,
    out: Stored,
) -> None:
    """``catch_up``, and a contiguous copy: out[u] = table[rows[u]], rounded to bfloat16 if int16."""
    for u in range(start, end):
        catch_up(
            table, first, second, last, rows, u, u + 1, step, drift, ratio, epsilon, groups, shrinks, origin
        )
        copy_row(table[rows[u]], out[u])


@njit(nogil=True, cache=True, error_model="numpy")
def read(
    numbers: Numbers,
    row_parts: Parts,
    text_parts: Parts,
    table: Floats,
    first: Stored,
    second: Stored,
    last: Ints,
    rows: Ints,
    step: int,
    drift: Floats,
    ratio: float,
    epsilon: float,
    groups: Groups,
    shrinks: Floats,
    origin: Floats,
    fetched: Stored,
    slots: Ints,
    ids: Ints,
    counts: Counts,
    offsets: Offsets,
    totals: Ints,
    texts: Offsets,
    out: Floats,
) -> None:
    """``fetch`` all rows, then ``pool_bags`` of all texts; several threads at once may call it.

    Args:
        numbers: Of two phases, see ``waiting``.
        row_parts: (parts, 2) rows from and to.
        text_parts: (parts, 2) positions in ``texts`` likewise.
        table: See ``fetch``; as are all up to ``fetched``, and ``pool_bags`` for those after it.
    """
    while True:
        part = take(numbers, 0)
        if part >= len(row_parts):
            break
        start, end = row_parts[part, 0], row_parts[part, 1]
        fetch(
            table,
            first,
            second,
            last,
            rows,
            start,
            end,
            step,
            drift,
            ratio,
            epsilon,
            groups,
            shrinks,
            origin,
            fetched,
        )
        done(numbers, 0)
    if not all_done(numbers, 0, len(row_parts)):
        return
    while True:
        part = take(numbers, 1)
        if part >= len(text_parts):
            break
        start, end = text_parts[part, 0], text_parts[part, 1]
        pool_bags(fetched, slots, ids, counts, offsets, totals, texts, start, end, out)
        done(numbers, 1)
    all_done(numbers, 1, len(text_parts))


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def copy_row(source: Floats, out: Stored) -> None:
    """Copy a row; an int16 one gets it rounded to bfloat16."""
    for j in range(len(out)):
        store(out, j, source[j])


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def copy(source: Floats, start: int, end: int, out: Stored) -> None:
    """Copy source[start:end], (n, d), to the same place in ``out``, rounded to bfloat16 if that is int16."""
    for i in range(start, end):
        copy_row(source[i], out[i])
