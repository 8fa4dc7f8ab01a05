"""Which texts are equal: 128-bit hashes of texts, and numbers for them by an open-addressing table."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.prepared import njit

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int32]

FIRST, SECOND = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)


@njit(nogil=True, cache=True, error_model="numpy")
def _rotated(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@njit(nogil=True, cache=True, error_model="numpy")
def _mixed(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@intrinsic
def _eight(_context: Any, data: Any, _start: Any) -> tuple[Any, Any]:
    """Eight bytes, little-endian, from any place."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, word = context.make_array(signature.args[0])(context, builder, args[0]), ir.IntType(64)
        place = builder.bitcast(builder.gep(array.data, [args[1]]), word.as_pointer())
        found = builder.load(place, align=1)
        return found if sys.byteorder == "little" else builder.bswap(found)

    return types.uint64(data, types.int64), generate


@njit(nogil=True, cache=True, error_model="numpy")
def _rest(data: Bytes, start: int, stop: int) -> np.uint64:
    """At most eight bytes, little-endian; zeros beyond the stop."""
    word = np.uint64(0)
    for j in range(min(stop - start, 8)):
        word |= np.uint64(data[start + j]) << np.uint64(8 * j)
    return word


@njit(nogil=True, cache=True, error_model="numpy")
def fingerprints(data: Bytes, offsets: Offsets) -> Hashes:
    """MurmurHash3 (Appleby; x64, 128 bits, seed 0) of n texts.

    Args:
        data: UTF-8 of all texts.
        offsets: (n + 1,) text i is data[offsets[i]:offsets[i + 1]].

    Returns:
        (n, 2) the two halves of each hash.
    """
    n = len(offsets) - 1
    found = np.empty((n, 2), np.uint64)
    for i in range(n):
        start, stop = offsets[i], offsets[i + 1]
        a, b = np.uint64(0), np.uint64(0)
        position = start
        while position + 16 <= stop:
            a ^= _rotated(_eight(data, position) * FIRST, 31) * SECOND
            a = (_rotated(a, 27) + b) * np.uint64(5) + np.uint64(0x52DCE729)
            b ^= _rotated(_eight(data, position + 8) * SECOND, 33) * FIRST
            b = (_rotated(b, 31) + a) * np.uint64(5) + np.uint64(0x38495AB5)
            position += 16
        if position < stop:
            a ^= _rotated(_rest(data, position, stop) * FIRST, 31) * SECOND
        if position + 8 < stop:
            b ^= _rotated(_rest(data, position + 8, stop) * SECOND, 33) * FIRST
        a, b = a ^ np.uint64(stop - start), b ^ np.uint64(stop - start)
        a += b
        b += a
        a, b = _mixed(a), _mixed(b)
        a += b
        found[i, 0], found[i, 1] = a, a + b
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def number(keys: Hashes, slots: Hashes, places: Ints, count: int, ids: Ints, firsts: Offsets) -> int:
    """Give each of n keys its number; new ones get the next.

    Args:
        keys: (n, 2) from ``fingerprints``.
        slots: (s, 2) a table's keys; s is a power of two, and more than the keys there will be.
        places: (s,) their numbers, -1 where free.
        count: Keys in the table.
        ids: (n,) written: the numbers.
        firsts: (n,) written from 0: where in ``keys`` each new one stands first.

    Returns:
        The keys in the table now.
    """
    mask = np.uint64(len(places) - 1)
    fresh = 0
    for i in range(len(keys)):
        slot = keys[i, 0] & mask
        while places[slot] >= 0 and (slots[slot, 0] != keys[i, 0] or slots[slot, 1] != keys[i, 1]):
            slot = (slot + np.uint64(1)) & mask
        if places[slot] < 0:
            slots[slot, 0], slots[slot, 1], places[slot] = keys[i, 0], keys[i, 1], count + fresh
            firsts[fresh] = i
            fresh += 1
        ids[i] = places[slot]
    return count + fresh


@njit(nogil=True, cache=True, error_model="numpy")
def move(slots: Hashes, places: Ints, new_slots: Hashes, new_places: Ints) -> None:
    """Copy a table into a larger, empty one."""
    mask = np.uint64(len(new_places) - 1)
    for old in range(len(places)):
        if places[old] >= 0:
            slot = slots[old, 0] & mask
            while new_places[slot] >= 0:
                slot = (slot + np.uint64(1)) & mask
            new_slots[slot, 0], new_slots[slot, 1] = slots[old, 0], slots[old, 1]
            new_places[slot] = places[old]


@njit(nogil=True, cache=True, error_model="numpy")
def _space(data: Bytes, i: int, stop: int) -> int:
    """How many bytes of white space stand at data[i]: one character's, or 0."""
    first = data[i]
    if first == 0x20 or 0x09 <= first <= 0x0D or 0x1C <= first <= 0x1F:
        return 1
    if first == 0xC2 and i + 1 < stop and (data[i + 1] == 0xA0 or data[i + 1] == 0x85):
        return 2
    if first < 0xE1 or first > 0xE3 or i + 2 >= stop:
        return 0
    code = (first & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | data[i + 2] & 0x3F
    wide = 0x2000 <= code <= 0x200A or code in (0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
    return 3 if wide else 0


# Bytes that white space other than a space begins with
_ODD = np.zeros(256, np.uint8)
_ODD[[*range(0x09, 0x0E), *range(0x1C, 0x20), 0xC2, *range(0xE1, 0xE4)]] = 1


@njit(nogil=True, cache=True, error_model="numpy")
def _is_squeezed(data: Bytes, start: int, stop: int) -> bool:
    """Is there surely nothing to squeeze in data[start:stop]? A few operations a byte, without a branch."""
    if start < stop and (data[start] == 0x20 or data[stop - 1] == 0x20 or _ODD[data[start]]):
        return False
    found = np.uint8(0)
    for i in range(start + 1, stop):
        found |= _ODD[data[i]] | (np.uint8(data[i] == 0x20) & np.uint8(data[i - 1] == 0x20))
    return bool(found == 0)


@njit(nogil=True, cache=True, error_model="numpy")
def squeezed(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """Texts with one space for each run of white space, and none at their ends.

    Args:
        data: UTF-8 of all texts.
        offsets: (n + 1,) text i is data[offsets[i]:offsets[i + 1]].

    Returns:
        The same of the new texts.
    """
    n = len(offsets) - 1
    out, ends = np.empty(offsets[n] - offsets[0], np.uint8), np.zeros(n + 1, np.int64)
    written = 0
    for text in range(n):
        i, stop = offsets[text], offsets[text + 1]
        if _is_squeezed(data, i, stop):
            for j in range(stop - i):
                out[written + j] = data[i + j]
            written += stop - i
            ends[text + 1] = written
            continue
        begun, waiting = written, False
        while i < stop:
            size = _space(data, i, stop)
            if size:
                waiting = written > begun
                i += size
                continue
            if waiting:
                out[written] = 0x20
                written += 1
                waiting = False
            out[written] = data[i]
            written += 1
            i += 1
        ends[text + 1] = written
    return out[:written], ends
