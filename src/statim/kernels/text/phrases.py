"""Find word pairs as ``tokenizer.json``'s added tokens are found, and merge their ids with the words'.

The pairs are a trie: node k has the children first[k], first[k] + 1, ..., one for each bit of branches[k], in
the order of the bits; a bit is the code of a character.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.prepared import njit

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
