"""Sets of word shingles straight from Arrow's buffers, and the search for texts whose sets overlap by half.

A text is cut into words: runs of letters, marks and digits, lower-cased; a Chinese or Japanese character is a
word by itself. Its set holds the 64-bit hashes of all runs of five words; a text of fewer words has one
member, the hash of them all, so that it is like equal texts only. Texts count with their first mebibyte.
"""

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit

WORDS = 5  # words in a shingle
MOST_BYTES = 1 << 20  # of a text

ALONE = np.uint32(1 << 31)  # flag: a word by itself
PLANES = (
    0x20000  # code points with an entry of their own; those after it are rare ideographs, then no text at all
)

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int32]


@functools.cache
def folding() -> npt.NDArray[np.uint32]:
    """For each code point: 0 if it separates words, else its lower case; ALONE flags one-character words."""
    table = np.zeros(PLANES, np.uint32)
    for code in range(PLANES):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            table[code] = ord(character.lower()[0])
    for start, stop in ((0x3040, 0x3100), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00)):
        table[start:stop] |= np.where(table[start:stop] > 0, ALONE, 0).astype(np.uint32)
    return table


@njit(nogil=True, cache=True, error_model="numpy")
def _mixed(h: np.uint64) -> np.uint64:
    """The finalizer of MurmurHash3 (Appleby): every bit depends on every bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(nogil=True, cache=True, error_model="numpy")
def _words(data: Bytes, start: int, stop: int, fold: npt.NDArray[np.uint32], out: Hashes) -> int:
    """Write the FNV-1a hash of code points of each word of data[start:stop]; return their number."""
    basis, prime = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
    count, h, inside = 0, basis, False
    i = start
    while i < stop:
        first = data[i]
        if first < 0x80:
            code, length = np.uint32(first), 1
        elif first < 0xE0:
            code, length = np.uint32(first & 0x1F), 2
        elif first < 0xF0:
            code, length = np.uint32(first & 0x0F), 3
        else:
            code, length = np.uint32(first & 0x07), 4
        for j in range(i + 1, min(i + length, stop)):
            code = (code << np.uint32(6)) | np.uint32(data[j] & 0x3F)
        i += length
        if code < PLANES:
            code = fold[code]
        else:
            code = code | ALONE if code < 2 * PLANES else np.uint32(0)
        if inside and (code == 0 or code & ALONE):
            out[count] = _mixed(h)
            count, h, inside = count + 1, basis, False
        if code & ALONE:
            out[count] = _mixed((basis ^ np.uint64(code)) * prime)
            count += 1
        elif code:
            h, inside = (h ^ np.uint64(code)) * prime, True
    if inside:
        out[count] = _mixed(h)
        count += 1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _shingles(data: Bytes, start: int, stop: int, fold: npt.NDArray[np.uint32], out: Hashes) -> int:
    """Write the hashes of the shingles of data[start:stop], repeats included; return their number (>= 1)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    count = _words(data, start, min(stop, start + MOST_BYTES), fold, out)
    length = min(count, WORDS)
    total: int = max(count - WORDS + 1, 1)
    for i in range(total):
        h = np.uint64(length)
        for j in range(i, i + length):
            h = h * factor + out[j]
        out[i] = max(_mixed(h), np.uint64(1))  # 0 marks a free slot
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _unique(values: Hashes, count: int) -> int:
    """Sort values[:count] and move one of each to the front; returns their number."""
    values[:count].sort()
    kept = 0
    for i in range(count):
        if i == 0 or values[i] != values[i - 1]:
            values[kept] = values[i]
            kept += 1
    return kept


@njit(nogil=True, cache=True, error_model="numpy")
def _longest(offsets: Offsets, start: int, stop: int) -> int:
    """Words that a text of the range can have at most, with room for one shingle."""
    longest = WORDS
    for i in range(start, stop):
        longest = max(longest, min(offsets[i + 1] - offsets[i], MOST_BYTES))
    return longest + 1


@njit(nogil=True, cache=True, error_model="numpy")
def sets(data: Bytes, offsets: Offsets, fold: npt.NDArray[np.uint32]) -> tuple[Hashes, Offsets]:
    """The set of each of n texts.

    Args:
        data: UTF-8 of all texts, one after the other.
        offsets: (n + 1,) text i is data[offsets[i]:offsets[i + 1]].
        fold: From ``folding``.

    Returns:
        All members, and (n + 1,) offsets between the sets; each set is sorted.
    """
    n = len(offsets) - 1
    scratch = np.empty(_longest(offsets, 0, n), np.uint64)
    bounds = np.zeros(n + 1, np.int64)
    members = np.empty(1024, np.uint64)
    for i in range(n):
        count = _unique(scratch, _shingles(data, offsets[i], offsets[i + 1], fold, scratch))
        end = bounds[i] + count
        while end > len(members):
            members = np.concatenate((members, np.empty_like(members)))
        for j in range(count):
            members[bounds[i] + j] = scratch[j]
        bounds[i + 1] = end
    return members[: bounds[n]], bounds


@njit(nogil=True, cache=True, error_model="numpy")
def hash_table(keys: Hashes, bits: int) -> tuple[Hashes, Ints]:
    """A table of 2**bits slots with linear probing: the keys (0 is free) and their places in ``keys``."""
    mask = np.uint64((1 << bits) - 1)
    slots, places = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.int32)
    for place in range(len(keys)):
        slot = keys[place] & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot], places[slot] = keys[place], place
    return slots, places


@njit(nogil=True, cache=True, error_model="numpy")
def _find(key: np.uint64, slots: Hashes, places: Ints) -> int:
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    while slots[slot] != 0:
        if slots[slot] == key:
            place: int = places[slot]
            return place
        slot = (slot + np.uint64(1)) & mask
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def bit_filter(keys: Hashes, bits: int) -> Hashes:
    """2**bits bits, one set by each key: it fits the cache and avoids most lookups in the table."""
    words, shift = np.zeros(1 << (bits - 6), np.uint64), np.uint64(64 - bits)
    for key in keys:
        bit = key >> shift
        words[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
    return words


@njit(nogil=True, cache=True, error_model="numpy")
def overlapping(
    data: Bytes,
    offsets: Offsets,
    start: int,
    stop: int,
    fold: npt.NDArray[np.uint32],
    likely: Hashes,
    bits: int,
    slots: Hashes,
    places: Ints,
    postings: Ints,
    bounds: Offsets,
    sizes: Ints,
    limit: int,
) -> tuple[Offsets, Ints, npt.NDArray[np.float64]]:
    """Among texts start to stop, those whose set has a Jaccard index of at least 1/2 with a query's.

    Args:
        data: UTF-8 of the texts.
        offsets: Where each text begins.
        start: The first text to look at.
        stop: The text to stop before.
        fold: From ``folding``.
        likely: From ``bit_filter`` over the shingles of all queries.
        bits: How many it has, 2**bits.
        slots: From ``hash_table`` over them.
        places: Likewise.
        postings: The queries that have a shingle, shingle by shingle.
        bounds: Shingle p has postings[bounds[p]:bounds[p + 1]].
        sizes: (m,) how many members the set of each of m queries has.
        limit: A query with more matches than this looks for no more.

    Returns:
        Texts, queries and Jaccard indices of the matches, text by text.
    """
    scratch = np.empty(_longest(offsets, start, stop), np.uint64)
    common, matched = np.zeros(len(sizes), np.int32), np.zeros(len(sizes), np.int32)
    touched = np.empty(len(sizes), np.int32)
    texts, queries, values = np.empty(256, np.int64), np.empty(256, np.int32), np.empty(256, np.float64)
    found, shift = 0, np.uint64(64 - bits)
    for i in range(start, stop):
        total = _shingles(data, offsets[i], offsets[i + 1], fold, scratch)
        hit = False
        for j in range(total):
            bit = scratch[j] >> shift
            set_bit = (likely[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1)
            if set_bit and _find(scratch[j], slots, places) >= 0:
                hit = True
                break
        if not hit:
            continue
        size, reached = _unique(scratch, total), 0
        for j in range(size):
            place = _find(scratch[j], slots, places)
            if place < 0:
                continue
            for k in range(bounds[place], bounds[place + 1]):
                query = postings[k]
                if matched[query] > limit:
                    continue
                if common[query] == 0:
                    touched[reached] = query
                    reached += 1
                common[query] += 1
        for j in range(reached):
            query = touched[j]
            shared = common[query]
            common[query] = 0
            union = size + sizes[query] - shared
            if 2 * shared < union:
                continue
            if found == len(texts):
                texts = np.concatenate((texts, np.empty_like(texts)))
                queries = np.concatenate((queries, np.empty_like(queries)))
                values = np.concatenate((values, np.empty_like(values)))
            texts[found], queries[found], values[found] = i, query, shared / union
            matched[query] += 1
            found += 1
    return texts[:found], queries[:found], values[:found]
