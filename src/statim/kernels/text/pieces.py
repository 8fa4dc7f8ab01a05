"""Cut UTF-8 texts into pieces and look up their ids in a hash table.

See tokenizer/token_cache.py for the table's owner.

An entry of the table is four 64-bit words: the hash, where and how long the piece's bytes are and how many
ids it has, then its ids if they are at most four, else where they stand. Entries stand in the order in which
they came, frequent ones first and close together; the slots of the hash table hold their numbers. One thread
may add to a table while others read it.
"""

import functools
import string
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.prepared import njit

LONGEST = 128  # bytes of a piece that is remembered
INLINE = 4  # ids that an entry has room for

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Entries = npt.NDArray[np.uint64]


@intrinsic
def _read_slot(_context: Any, slots: Any, _place: Any) -> tuple[Any, Any]:
    """slots[place], and with it everything that was written before it was."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(array.data, [args[1]]), "acquire", 4)

    return types.int32(slots, types.intp), generate


@intrinsic
def _write_slot(_context: Any, slots: Any, _place: Any, _entry: Any) -> tuple[Any, Any]:
    """slots[place] = entry, after everything that was written before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        builder.store_atomic(args[2], builder.gep(array.data, [args[1]]), "release", 4)
        return context.get_dummy_value()

    return types.void(slots, types.intp, types.int32), generate


@intrinsic
def _load(_context: Any, data: Any, _place: Any) -> tuple[Any, Any]:
    """The eight bytes at data[place:], in the processor's order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.intp), generate


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _word(data: Bytes, place: int, length: int) -> Any:
    """The first ``length`` bytes at data[place:], at most eight; the others are 0."""
    if place + 8 <= len(data):
        word = _load(data, place)
        if length < 8:
            word &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
        return word
    word = np.uint64(0)
    for k in range(length):
        word |= np.uint64(data[place + k]) << np.uint64(8 * k)
    return word


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _hash(data: Bytes, start: int, stop: int) -> np.uint64:
    """A hash of data[start:stop], never 0: multiply and fold, eight bytes at a time."""
    h = np.uint64(stop - start) * np.uint64(0x9E3779B97F4A7C15)
    for place in range(start, stop, 8):
        h = (h ^ _word(data, place, min(8, stop - place))) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
    return h | np.uint64(1)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _find(slots: Ids, entries: Entries, keys: Bytes, data: Bytes, start: int, stop: int, h: np.uint64) -> int:
    """The entry of data[start:stop], or -1 - the free slot for it."""
    mask = len(slots) - 1
    length = stop - start
    slot = int(h >> np.uint64(20)) & mask
    while True:
        entry = int(_read_slot(slots, slot))
        if entry < 0:
            return -1 - slot
        if entries[entry, 0] == h:
            where = entries[entry, 1]
            if np.int64(where >> np.uint64(16) & np.uint64(0xFFFF)) == length:
                key = np.int64(where >> np.uint64(32))
                equal = True
                for k in range(0, length, 8):
                    n = min(8, length - k)
                    if _word(keys, key + k, n) != _word(data, start + k, n):
                        equal = False
                        break
                if equal:
                    return entry
        slot = (slot + 1) & mask


CODES = 0x20000  # code points with an entry of their own; those after it are never plain


@functools.cache
def plain_characters() -> npt.NDArray[np.bool_]:
    """For each code point: a letter, digit or sign that no tokenizer drops, joins or turns into a space?"""
    plain = np.zeros(CODES, np.bool_)
    for code in range(CODES):
        character = chr(code)
        if unicodedata.category(character)[0] in "LNPS":
            parts = [unicodedata.category(part)[0] for part in unicodedata.normalize("NFKD", character)]
            plain[code] = parts[0] != "M" and not {"Z", "C"} & set(parts)
    plain[[0x2581, 0xFFFD]] = (
        # some tokenizers read the block that stands for a space, and what stands for nothing, as spaces
        False
    )
    return plain


@njit(nogil=True, cache=True, error_model="numpy")
def _is_plain(data: Bytes, place: int, plain: npt.NDArray[np.bool_]) -> bool:
    """Is the character plain that starts at data[place]?"""
    first = int(data[place])
    if first < 0x80:
        return bool(plain[first])
    if first < 0xE0:
        return bool(plain[(first & 0x1F) << 6 | data[place + 1] & 0x3F])
    code = (first & 0x0F) << 12 | (data[place + 1] & 0x3F) << 6 | data[place + 2] & 0x3F
    if first < 0xF0:
        return bool(plain[code])
    code = (
        (first & 0x07) << 18
        | (data[place + 1] & 0x3F) << 12
        | (data[place + 2] & 0x3F) << 6
        | data[place + 3] & 0x3F
    )
    return bool(code < CODES and plain[code])


@njit(nogil=True, cache=True, error_model="numpy")
def _cuts_before(data: Bytes, start: int, stop: int, space: int, plain: npt.NDArray[np.bool_]) -> bool:
    """May data[start:stop] be cut before this space: is it a single one between two plain characters?"""
    if space == start or space + 1 >= stop or not _is_plain(data, space + 1, plain):
        return False
    before = space - 1
    while before > start and data[before] & 0xC0 == 0x80:
        before -= 1
    return bool(_is_plain(data, before, plain))


_ALPHANUMERIC, _PUNCTUATION = np.zeros((2, 256), np.bool_)
_ALPHANUMERIC[[ord(character) for character in string.ascii_letters + string.digits]] = True
_PUNCTUATION[[ord(character) for character in string.punctuation if character != "'"]] = True


@njit(nogil=True, cache=True, error_model="numpy")
def _holds(data: Bytes, start: int, stop: int, tokens: Bytes, token_offsets: Offsets) -> bool:
    """Does one of the tokens stand in data[start:stop]?"""
    for t in range(len(token_offsets) - 1):
        first, length = token_offsets[t], token_offsets[t + 1] - token_offsets[t]
        for i in range(start, stop - length + 1):
            if data[i] == tokens[first]:
                k = 1
                while k < length and data[i + k] == tokens[first + k]:
                    k += 1
                if k == length:
                    return True
    return False


@njit(nogil=True, cache=True, error_model="numpy")
def look_up(
    data: Bytes,
    offsets: Offsets,
    plain: npt.NDArray[np.bool_],
    punctuation: bool,
    tokens: Bytes,
    token_offsets: Offsets,
    slots: Ids,
    entries: Entries,
    keys: Bytes,
    found: Ids,
    ends: Offsets,
    missing: Offsets,
) -> tuple[int, int]:
    """Cut texts into pieces and find each in the table.

    Args:
        data: UTF-8 bytes.
        offsets: (n + 1,) int64; text i is data[offsets[i]:offsets[i + 1]].
        plain: As ``plain_characters`` gives it: cut before a single space between two of them.
        punctuation: Cut between ASCII letters or digits and the punctuation after them, too (but an
            apostrophe).
        tokens: The bytes of some tokens: a text that holds one of them is cut at spaces only.
        token_offsets: Between them.
        slots: (a power of 2,) int32: the number of an entry, or -1.
        entries: (m, 4) uint64.
        keys: The bytes of all pieces in the table.
        found: Room for a number per byte, written: the entry of each piece, or -1 - its place in ``missing``.
        ends: (n + 1,) int64, written: text i has the pieces found[ends[i]:ends[i + 1]].
        missing: Room for two numbers per byte, (any, 2) int64, written: where each unknown piece starts and
            stops.

    Returns:
        The number of missing pieces, and the number of ids of those found.
    """
    pieces, misses, total = 0, 0, 0
    ends[0] = 0
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1]
        cut = punctuation and not _holds(data, first, last, tokens, token_offsets)
        start = first
        while start < last:
            stop = start + 1
            while stop < last and not (
                _cuts_before(data, first, last, stop, plain)
                if data[stop] == 0x20
                else cut and _ALPHANUMERIC[data[stop - 1]] and _PUNCTUATION[data[stop]]
            ):
                stop += 1
            entry = -1
            if stop - start <= LONGEST:
                entry = _find(slots, entries, keys, data, start, stop, _hash(data, start, stop))
            if entry >= 0:
                found[pieces] = entry
                total += int(entries[entry, 1] & np.uint64(0xFFFF))
            else:
                found[pieces] = -1 - misses
                missing[misses, 0], missing[misses, 1] = start, stop
                misses += 1
            pieces += 1
            start = stop
        ends[text + 1] = pieces
    return misses, total


@njit(nogil=True, cache=True, error_model="numpy")
def collect(
    found: Ids,
    ends: Offsets,
    entries: Entries,
    values: Ids,
    missing: Ids,
    missing_offsets: Offsets,
    most: int,
    ids: Ids,
    offsets: Offsets,
) -> int:
    """Write the ids of all texts, one after the other.

    Args:
        found: As ``look_up`` wrote it.
        ends: Likewise.
        entries: Those of the table.
        values: The ids of pieces that have more than an entry holds.
        missing: The ids of all missing pieces.
        missing_offsets: (m + 1,) int64, between them.
        most: Ids of one text at most.
        ids: Room for all ids, int32, written.
        offsets: (n + 1,) int64, written: text i has the ids ids[offsets[i]:offsets[i + 1]].

    Returns:
        The number of ids.
    """
    count = 0
    offsets[0] = 0
    for text in range(len(ends) - 1):
        end = count + most
        for piece in range(ends[text], ends[text + 1]):
            entry = np.int64(found[piece])
            if entry < 0:
                for k in range(missing_offsets[-1 - entry], missing_offsets[-entry]):
                    ids[count] = missing[k]
                    count += 1
                continue
            number = np.int64(entries[entry, 1] & np.uint64(0xFFFF))
            if number <= INLINE:
                for k in range(number):
                    ids[count] = np.int32(entries[entry, 2 + (k >> 1)] >> np.uint64(32 * (k & 1)))
                    count += 1
            else:
                start = np.int64(entries[entry, 2])
                for k in range(start, start + number):
                    ids[count] = values[k]
                    count += 1
        count = min(count, end)
        offsets[text + 1] = count
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def remember(
    data: Bytes,
    spans: Offsets,
    new: Ids,
    new_offsets: Offsets,
    slots: Ids,
    entries: Entries,
    keys: Bytes,
    values: Ids,
    used: Offsets,
) -> bool:
    """Put pieces into the table, and say whether there was room for all.

    Args:
        data: UTF-8 bytes.
        spans: (m, 2) int64: where each piece starts and stops; repeats do no harm.
        new: The ids of all pieces.
        new_offsets: (m + 1,) int64, between them.
        slots: The table; room for more than there are entries.
        entries: Those of the table.
        keys: The bytes of all pieces in the table.
        values: The ids of pieces that have more than an entry holds.
        used: (3,) int64: how many of ``entries``, ``keys`` and ``values`` are used; kept up to date.
    """
    for m in range(len(spans)):
        start, stop = spans[m, 0], spans[m, 1]
        length, number = stop - start, new_offsets[m + 1] - new_offsets[m]
        if length > LONGEST or number > 0xFFFF:
            continue
        entry = used[0]
        if entry == len(entries) or used[1] + length > len(keys) or used[2] + number > len(values):
            return False
        h = _hash(data, start, stop)
        slot = _find(slots, entries, keys, data, start, stop, h)
        if slot >= 0:
            continue
        for k in range(length):
            keys[used[1] + k] = data[start + k]
        entries[entry, 0] = h
        entries[entry, 1] = (
            np.uint64(used[1]) << np.uint64(32) | np.uint64(length) << np.uint64(16) | np.uint64(number)
        )
        entries[entry, 2] = entries[entry, 3] = 0
        if number <= INLINE:
            for k in range(number):
                identifier = np.uint64(new[new_offsets[m] + k])
                entries[entry, 2 + (k >> 1)] |= identifier << np.uint64(32 * (k & 1))
        else:
            entries[entry, 2] = used[2]
            for k in range(number):
                values[used[2] + k] = new[new_offsets[m] + k]
            used[2] += number
        _write_slot(slots, -1 - slot, np.int32(entry))
        used[0] += 1
        used[1] += length
    return True
