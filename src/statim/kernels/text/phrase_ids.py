"""The ids of word pairs among those of words, and texts divided at word pairs; compiled."""

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit
from statim.kernels.text.phrases import LETTER, OTHER, PUNCTUATION, SPACE, find

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]


@njit(nogil=True, cache=True, error_model="numpy")
def _consume(
    data: Bytes, i: int, stop: int, ids: Ids, token: int, last: int,
    kinds: Bytes, own: Ids, lengths: Ids, unknown: int,
) -> tuple[int, int]:  # fmt: skip
    """Past the word or sign at data[i], and past its tokens; the latter is -1 if these are not its."""
    if kinds[data[i]] == PUNCTUATION:
        return i + 1, token + 1 if token < last and ids[token] == own[data[i]] else -1
    end = i
    while end < stop and kinds[data[end]] == LETTER:
        end += 1
    if token < last and ids[token] == unknown:
        return end, token + 1
    while i < end and token < last and lengths[ids[token]] > 0:
        i += lengths[ids[token]]
        token += 1
    return end, token if i == end else -1


@njit(nogil=True, cache=True, error_model="numpy")
def merge(
    data: Bytes, offsets: Offsets, ids: Ids, id_offsets: Offsets, most: int,
    codes: Bytes, kinds: Bytes, word: npt.NDArray[np.bool_], own: Ids, lengths: Ids, unknown: int,
    branches: Bits, first: Ids, values: Ids, back_branches: Bits, back_first: Ids, back_values: Ids,
    out: Ids, out_offsets: Offsets, hard: npt.NDArray[np.bool_],
) -> int:  # fmt: skip
    """The ids of texts with pairs of words, from their ids without.

    Args:
        data: UTF-8 bytes of n texts.
        offsets: (n + 1,) between them.
        ids: Their ids when pairs are not known.
        id_offsets: (n + 1,) between them.
        most: Ids of one text at most.
        codes: As for ``find``; also the next two and the tries.
        kinds: Likewise; words are made of letters, a sign of punctuation is one by itself.
        word: Likewise.
        own: (256,) the id of each sign of punctuation.
        lengths: (V,) bytes that each token stands for; 0 for special ones.
        unknown: The id of a word that the vocabulary cannot spell.
        branches: The tries.
        first: Likewise.
        values: Likewise.
        back_branches: Likewise.
        back_first: Likewise.
        back_values: Likewise.
        out: Written, room for as many as ``ids``.
        out_offsets: (n + 1,) written.
        hard: (n,) written: texts that need another way; they get no ids here.

    Returns:
        How many ids are written.
    """
    count, longest = 0, 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    spans, above = np.empty((longest // 3 + 1, 3), np.int64), np.empty(2 * longest + 2, np.int64)
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        start, stop = offsets[text], offsets[text + 1]
        token, last, begin = id_offsets[text], id_offsets[text + 1], count
        hard[text] = False
        for i in range(start, stop):
            if kinds[data[i]] == OTHER:
                hard[text] = True
                break
        if not hard[text]:
            found = find(
                data, start, stop, codes, kinds, word, branches, first, values, back_branches, back_first,
                back_values,
                above, spans,
            )  # fmt: skip
            i, at = start, 0
            while i < stop:
                if kinds[data[i]] == SPACE:
                    i += 1
                    continue
                if at < found and i == spans[at, 0]:
                    while i < spans[at, 1] and token >= 0:
                        if kinds[data[i]] == SPACE:
                            i += 1
                        else:
                            i, token = _consume(data, i, stop, ids, token, last, kinds, own, lengths, unknown)
                    out[count] = spans[at, 2]
                    count, at = count + 1, at + 1
                else:
                    before = token
                    i, token = _consume(data, i, stop, ids, token, last, kinds, own, lengths, unknown)
                    for k in range(before, token):
                        out[count] = ids[k]
                        count += 1
                if token < 0:
                    break
            hard[text] = token != last
        if hard[text]:
            count = begin
        count = min(count, begin + most)
        out_offsets[text + 1] = count
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def divide(
    data: Bytes, offsets: Offsets, codes: Bytes, kinds: Bytes, word: npt.NDArray[np.bool_],
    blank: npt.NDArray[np.bool_], strict: bool,
    branches: Bits, first: Ids, values: Ids, back_branches: Bits, back_first: Ids, back_values: Ids,
    cuts: Offsets, pairs: Ids, ends: Offsets, hard: npt.NDArray[np.bool_],
) -> int:  # fmt: skip
    """Divide texts into pairs of words, each with the spaces before it, and what stands between them.

    Args:
        data: UTF-8 bytes of n texts.
        offsets: (n + 1,) between them.
        codes: As for ``find``; also the next two and the tries.
        kinds: Likewise.
        word: Likewise.
        blank: (256,) is it white space?
        strict: Whether two such in a row are hard.
        branches: The tries.
        first: Likewise.
        values: Likewise.
        back_branches: Likewise.
        back_first: Likewise.
        back_values: Likewise.
        cuts: Written, room for as many as there are bytes and texts and one: part k is data[cuts[k]:cuts[k +
            1]].
        pairs: Written, room for one less: the id of each part that is a pair, else -1.
        ends: (n + 1,) written: text i has the parts ends[i]:ends[i + 1].
        hard: (n,) written: texts that need another way; each is one part.

    Returns:
        The number of parts.
    """
    count, longest = 0, 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    spans, above = np.empty((longest // 3 + 1, 3), np.int64), np.empty(2 * longest + 2, np.int64)
    cuts[0] = offsets[0]
    ends[0] = 0
    for text in range(len(offsets) - 1):
        start, stop = offsets[text], offsets[text + 1]
        hard[text] = False
        for i in range(start, stop):
            if kinds[data[i]] == OTHER or (strict and i > start and blank[data[i]] and blank[data[i - 1]]):
                hard[text] = True
                break
        if not hard[text]:
            found = find(
                data, start, stop, codes, kinds, word, branches, first, values, back_branches, back_first,
                back_values,
                above, spans,
            )  # fmt: skip
            for at in range(found):
                begin = spans[at, 0]
                while begin > cuts[count] and blank[data[begin - 1]]:
                    begin -= 1
                if begin > cuts[count]:
                    pairs[count] = -1
                    count += 1
                    cuts[count] = begin
                pairs[count] = spans[at, 2]
                count += 1
                cuts[count] = spans[at, 1]
        if cuts[count] < stop:
            pairs[count] = -1
            count += 1
            cuts[count] = stop
        ends[text + 1] = count
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def join(
    ids: Ids,
    id_offsets: Offsets,
    pairs: Ids,
    ends: Offsets,
    hard: npt.NDArray[np.bool_],
    most: int,
    out: Ids,
    out_offsets: Offsets,
) -> int:
    """The ids of texts from those of their parts.

    Args:
        ids: The ids of all parts.
        id_offsets: (parts + 1,) between them.
        pairs: As ``divide`` wrote it: the id of a pair takes the place of its part's.
        ends: Likewise.
        hard: Likewise; such texts get no ids.
        most: Ids of one text at most.
        out: Written, room for as many as there are ids and parts.
        out_offsets: (n + 1,) written.

    Returns:
        How many ids are written.
    """
    count = 0
    out_offsets[0] = 0
    for text in range(len(ends) - 1):
        begin = count
        for part in range(ends[text], ends[text + 1] if not hard[text] else ends[text]):
            if pairs[part] >= 0:
                out[count] = pairs[part]
                count += 1
                continue
            for k in range(id_offsets[part], id_offsets[part + 1]):
                out[count] = ids[k]
                count += 1
        count = min(count, begin + most)
        out_offsets[text + 1] = count
    return count
