"""Mean pooling, compiled: the row gather and sum behind every vector; pool_numpy.py is its numpy twin.

A text is taken as a bag: each of its distinct rows is read once and counts as often as its token occurs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.pooling.blocks import MOST, TOP, add_rows
from statim.kernels.prepared import njit

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


def pool(
    table: npt.NDArray[Any],
    scales: Floats | None,
    ids: Ids,
    offsets: Offsets,
    dropped: int,
    normalize: bool,
    out: Floats,
) -> None:
    """Write the mean of each text's rows, at the first dimensions.

    Distinct rows are summed in the order in which they first occur: of float tables in float32; of int8
    tables exactly, each row's scale times its count rounded to 1/32767 of the text's largest.

    Args:
        table: (V, d) float32, float16 or int8, C-contiguous.
        scales: Of int8 tables, (V,) float32, not negative: what each row is multiplied with; else None.
        ids: Token ids, int32, each in [0, V).
        offsets: (n + 1,) int64; text i has ids[offsets[i]:offsets[i + 1]].
        dropped: A token id that does not count, or -1.
        normalize: Scale each vector to length 1.
        out: (n, dim) float32, dim at most d, written; a text without tokens gives zeros.
    """
    ids, offsets = _fixed(ids), _fixed(offsets)
    if scales is not None:
        _pool_int8(_fixed(table), _fixed(scales), ids, offsets, dropped, normalize, out)
    else:
        # numba knows no half floats; the blocks read them as what they are
        floats = table.view(np.uint16) if table.dtype == np.float16 else table
        _pool_float(_fixed(floats), ids, offsets, dropped, normalize, out)


def _fixed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view, so that one compiled version serves maps, slices and fresh arrays."""
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


@njit(nogil=True, cache=True, error_model="numpy")
def _longest(offsets: Offsets) -> int:
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest


@njit(nogil=True, cache=True, error_model="numpy")
def _bag(
    ids: Ids, start: int, stop: int, dropped: int, base: int, seen: Ids, rows: Ids, counts: Ids
) -> tuple[int, int]:
    """Write the distinct ids of ids[start:stop] and their counts; return how many differ, and the total.

    ``seen`` has a place for each id: of those of this text, ``base`` plus where it stands in ``rows``; of
    others, less.
    """
    found, total = 0, 0
    for t in range(start, stop):
        token = ids[t]
        if token == dropped:
            continue
        total += 1
        place = seen[token] - base
        if place >= 0:
            counts[place] += 1
        else:
            seen[token] = base + found
            rows[found] = token
            counts[found] = 1
            found += 1
    return found, total


@njit(nogil=True, cache=True, forceinline=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _scale(sums: Floats, factor: float, normalize: bool, out: Floats) -> None:
    """Write the sums to ``out``, times ``factor`` or scaled to length 1."""
    if normalize:
        squares = 0.0
        for j in range(len(out)):
            squares += np.float64(sums[j]) * np.float64(sums[j])
        factor = 1.0 / np.sqrt(squares) if squares > 0.0 else 0.0
    for j in range(len(out)):
        out[j] = np.float32(np.float64(sums[j]) * factor)


LAST = 1 << 30  # ``base`` starts again before it could overflow


@njit(nogil=True, cache=True, error_model="numpy")
def _pool_float(
    table: npt.NDArray[Any], ids: Ids, offsets: Offsets, dropped: int, normalize: bool, out: Floats
) -> None:
    most = min(_longest(offsets), len(table))
    rows, counts, factors = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float32)
    sums = np.empty(out.shape[1], np.float32)
    seen = np.full(len(table), -1, np.int32)
    base = 0
    for i in range(len(offsets) - 1):
        if base > LAST:
            seen[:] = -1
            base = 0
        found, total = _bag(ids, offsets[i], offsets[i + 1], dropped, base, seen, rows, counts)
        base += found
        if found == 0:
            out[i] = 0.0
            continue
        for j in range(found):
            factors[j] = counts[j]
        add_rows(table, rows, factors, 0, found, sums)
        _scale(sums, 1.0 / total, normalize, out[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _pool_int8(
    table: npt.NDArray[np.int8],
    scales: Floats,
    ids: Ids,
    offsets: Offsets,
    dropped: int,
    normalize: bool,
    out: Floats,
) -> None:
    most = min(_longest(offsets), len(table))
    rows, counts, weights = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float32)
    factors = np.empty(most, np.int16)
    sums, part = np.empty(out.shape[1], np.float32), np.empty(out.shape[1], np.float32)
    seen = np.full(len(table), -1, np.int32)
    base = 0
    for i in range(len(offsets) - 1):
        if base > LAST:
            seen[:] = -1
            base = 0
        found, total = _bag(ids, offsets[i], offsets[i + 1], dropped, base, seen, rows, counts)
        base += found
        top = np.float32(0)
        for j in range(found):
            weights[j] = np.float32(counts[j]) * scales[rows[j]]
            top = max(top, weights[j])
        if top == 0.0:
            out[i] = 0.0
            continue
        unit = np.float32(TOP) / top
        for j in range(found):
            factors[j] = np.int16(weights[j] * unit + np.float32(0.5))
        add_rows(table, rows, factors, 0, min(found, MOST), sums)
        for start in range(MOST, found, MOST):
            add_rows(table, rows, factors, start, min(found, start + MOST), part)
            sums += part
        _scale(sums, np.float64(top) / TOP / total, normalize, out[i])
