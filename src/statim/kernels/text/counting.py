"""Counting the words and word pairs of texts that are cut into pieces, in tables of bounded size."""

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]

WORDY, STARTS = 1, 2  # a piece of letters and digits; one that can begin a word


@njit(nogil=True, cache=True, error_model="numpy")
def _mixed(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return h ^ (h >> np.uint64(29))


@njit(nogil=True, cache=True, error_model="numpy")
def _number(
    ids: Ids, start: int, stop: int, slots: Ids, pieces: Ids, places: Offsets, counts: Offsets, used: Offsets
) -> int:
    """The number of the word ids[start:stop], which is counted; -1 if it is new and there is no room."""
    h = np.uint64(stop - start)
    for i in range(start, stop):
        h = _mixed(h ^ (np.uint64(ids[i]) + np.uint64(0x9E3779B97F4A7C15)))
    mask = len(slots) - 1
    slot = np.int64(h >> np.uint64(1)) & mask
    while slots[slot] >= 0:
        word = slots[slot]
        first = places[word]
        equal = places[word + 1] - first == stop - start
        for i in range(stop - start):
            if not equal:
                break
            equal = pieces[first + i] == ids[start + i]
        if equal:
            counts[word] += 1
            return int(word)
        slot = (slot + 1) & mask
    word, end = used[0], places[used[0]] + stop - start
    if word == len(counts) or end > len(pieces):
        return -1
    for i in range(stop - start):
        pieces[places[word] + i] = ids[start + i]
    slots[slot], places[word + 1], counts[word] = word, end, 1
    used[0] += 1
    return int(word)


@njit(nogil=True, cache=True, error_model="numpy")
def _count_pair(key: np.uint64, amount: int, keys: Keys, counts: Offsets) -> bool:
    """Count a pair, and say whether it is new; there must be a free slot."""
    mask = len(keys) - 1
    slot = np.int64(_mixed(key) >> np.uint64(1)) & mask
    while counts[slot] and keys[slot] != key:
        slot = (slot + 1) & mask
    fresh = counts[slot] == 0
    keys[slot] = key
    counts[slot] += amount
    return bool(fresh)


@njit(nogil=True, cache=True, error_model="numpy")
def _forget_rare(least: int, keys: Keys, counts: Offsets) -> int:
    """Take pairs counted fewer than ``least`` times out of the table; how many are left."""
    old_keys, old_counts = keys.copy(), counts.copy()
    counts[:] = 0
    left = 0
    for slot in range(len(old_keys)):
        if old_counts[slot] >= least:
            _count_pair(old_keys[slot], old_counts[slot], keys, counts)
            left += 1
    return left


@njit(nogil=True, cache=True, error_model="numpy")
def count(
    ids: Ids, offsets: Offsets, flags: Flags,
    slots: Ids, pieces: Ids, places: Offsets, counts: Offsets,
    pair_keys: Keys, pair_counts: Offsets, used: Offsets,
) -> None:  # fmt: skip
    """Count the words of texts, and the pairs of words separated by nothing but space.

    A word is a piece that is wordy and starts one, and the wordy pieces after it that do not. When the table
    of pairs fills up, the rarest are forgotten (lossy counting, Manku & Motwani, 2002), so that counts of
    frequent pairs hardly lose.

    Args:
        ids: The pieces of all texts.
        offsets: (n + 1,) between the texts.
        flags: (V,) uint8 for each piece, WORDY and STARTS.
        slots: (a power of 2, more than words,) int32: the number of a word, or -1.
        pieces: The pieces of all words.
        places: (words + 1,) int64, where each word's begin.
        counts: (words,) int64, how often each occurs.
        pair_keys: (a power of 2, or 0 to count none,) uint64: number of the first word << 32 | number of the
            second.
        pair_counts: As many int64, how often each occurs; 0 where free.
        used: (3,) int64: words; pairs; the least count that was last kept. All tables are kept up to date.
    """
    for text in range(len(offsets) - 1):
        before, i = -1, offsets[text]
        end = offsets[text + 1]
        while i < end:
            kind = flags[ids[i]]
            j = i + 1
            if not kind & 1:
                before, i = -1, j
                continue
            while j < end and flags[ids[j]] == 1:
                j += 1
            word = -1
            if kind & 2:
                word = _number(ids, i, j, slots, pieces, places, counts, used)
            if len(pair_keys) and before >= 0 and word >= 0:
                key = np.uint64(before) << np.uint64(32) | np.uint64(word)
                used[1] += _count_pair(key, 1, pair_keys, pair_counts)
                while 2 * used[1] > len(pair_keys):
                    used[2] += 1
                    used[1] = _forget_rare(used[2] + 1, pair_keys, pair_counts)
            before, i = word, j
