"""Find word pairs as ``tokenizer.json``'s added tokens are found, and merge their ids with the words'.

The pairs are a trie: node k has the children first[k], first[k] + 1, ..., one for each bit of branches[k], in
the order of the bits; a bit is the code of a character.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

# What a byte is: none of these is a character that needs another way
OTHER, SPACE, PUNCTUATION, LETTER = 0, 1, 2, 3


@intrinsic
def _ones(_context: Any, _word: Any) -> tuple[Any, Any]:
    """How many bits of a word are set."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
        return builder.call(function, args)

    return types.uint64(types.uint64), generate


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _child(node: int, code: int, branches: Bits, first: Ids) -> int:
    """The child of a node, or -1."""
    if code > 63:
        return -1
    bit = np.uint64(1) << np.uint64(code)
    if not branches[node] & bit:
        return -1
    return int(first[node] + np.int64(_ones(branches[node] & (bit - np.uint64(1)))))


@njit(nogil=True, cache=True, error_model="numpy")
def find(
    data: Bytes, start: int, stop: int, codes: Bytes, kinds: Bytes, word: npt.NDArray[np.bool_],
    branches: Bits, first: Ids, values: Ids, back_branches: Bits, back_first: Ids, back_values: Ids,
    above: Offsets, spans: Offsets,
) -> int:  # fmt: skip
    """Find pairs of words in one text: at the leftmost place, the longest first, never two that overlap.

    What is found beside a word's character is no pair, but takes its place all the same: that is what
    tokenizers does. So each space is looked at, and what stands before it is compared from its end with the
    first words of all pairs.

    Args:
        data: ASCII.
        start: Where the text begins.
        stop: Where it ends.
        codes: (256,) the code of each byte, after normalizing; over 63 where no pair has it.
        kinds: (256,) OTHER, SPACE, PUNCTUATION or LETTER.
        word: (256,) may it stand beside a pair? Not where this is true.
        branches: The trie of pairs.
        first: Likewise.
        values: The id of the pair that ends at a node, or -1.
        back_branches: The trie of first words, read backwards.
        back_first: Likewise.
        back_values: The node of the trie of pairs behind the first word that ends at a node and its space, or
            -1.
        above: Room for twice as many numbers as a text has bytes.
        spans: Written, room for a third as many rows: where each pair starts and stops, and its id.

    Returns:
        How many are found.
    """
    count, free = 0, start
    for space in range(start + 1, stop - 1):
        if (
            kinds[data[space]] != SPACE
            or kinds[data[space - 1]] != LETTER
            or kinds[data[space + 1]] != LETTER
        ):
            continue
        node, i, words = 0, space - 1, 0
        while i >= free:
            node = _child(node, codes[data[i]], back_branches, back_first)
            if node < 0:
                break
            if back_values[node] >= 0:
                above[words], above[words + 1] = i, back_values[node]
                words += 2
            i -= 1
        while words:  # the longest first word starts leftmost
            words -= 2
            begin, node = above[words], above[words + 1]
            found, end, i = -1, 0, space + 1
            while i < stop:
                node = _child(node, codes[data[i]], branches, first)
                if node < 0:
                    break
                i += 1
                if values[node] >= 0:
                    found, end = values[node], i
            if found < 0:
                continue
            if not (begin > start and word[data[begin - 1]]) and not (end < stop and word[data[end]]):
                spans[count, 0], spans[count, 1], spans[count, 2] = begin, end, found
                count += 1
            free = end
            break
    return count


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
