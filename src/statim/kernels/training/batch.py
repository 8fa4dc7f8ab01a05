"""Assemble a batch: the texts to pool, each row's positive column, and columns that are no negatives."""

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def assemble(
    pairs: Longs,
    anchors: Ints,
    candidates: npt.NDArray[np.int32],
    known: Ints,
    known_offsets: Longs,
    column_of: Ints,
    texts: Longs,
    columns: Ints,
    masked_offsets: Longs,
) -> tuple[int, Ints]:
    """Choose the texts of a batch; candidates that stand in it several times become one column.

    Args:
        pairs: (B,) which pairs.
        anchors: (n,) the text of each pair's anchor.
        candidates: (n, 1 + k) the texts of each pair's positive and explicit negatives; -1 where there is
            none.
        known: The texts that are no negatives of each text as an anchor, one text's after the other's.
        known_offsets: (T + 1,) where each text's begin.
        column_of: (T,) scratch, all -1; left so.
        texts: (B + B * (1 + k),) written: the anchors' texts, then the columns' texts.
        columns: (B,) written: each row's positive column.
        masked_offsets: (B + 1,) written: where each row's masked columns begin.

    Returns:
        The number of columns, and the masked columns of all rows: known texts of the row's anchor but the
            positive at hand.
    """
    B = len(pairs)
    N = 0
    for k in range(candidates.shape[1]):  # positives first
        for i in range(B):
            text = candidates[pairs[i], k]
            if text < 0:
                continue
            if column_of[text] < 0:
                column_of[text] = N
                texts[B + N] = text
                N += 1
            if k == 0:
                columns[i] = column_of[text]
    size = 0
    masked_offsets[0] = 0
    masked = np.empty(B, np.int32)
    for i in range(B):
        anchor = anchors[pairs[i]]
        texts[i] = anchor
        first, end = known_offsets[anchor], known_offsets[anchor + 1]
        if size + end - first > len(masked):
            larger = np.empty(2 * len(masked) + end - first, np.int32)
            larger[:size] = masked[:size]
            masked = larger
        for e in range(first, end):
            column = column_of[known[e]]
            if column >= 0 and column != columns[i]:
                masked[size] = column
                size += 1
        masked_offsets[i + 1] = size
    for j in range(N):
        column_of[texts[B + j]] = -1
    return N, masked[:size]


@njit(nogil=True, cache=True, error_model="numpy")
def known_texts(anchors: Ints, positives: Ints, texts: int) -> tuple[Ints, Longs]:
    """What is no negative of each text as an anchor: its positives anywhere in the data, and itself.

    Args:
        anchors: (n,) the text of each pair's anchor.
        positives: (n,) the text of each pair's positive.
        texts: T, one more than the largest.

    Returns:
        The texts, ascending and each once, one anchor's after the other's; and (T + 1,) where each one's
        begin. A text that is no anchor has none.
    """
    ends = np.zeros(texts + 1, np.int64)
    for i in range(len(anchors)):
        if ends[anchors[i] + 1] == 0:
            ends[anchors[i] + 1] = 1  # itself
        ends[anchors[i] + 1] += 1
    for text in range(texts):
        ends[text + 1] += ends[text]
    known = np.empty(ends[texts], np.int32)
    filled = ends[:texts].copy()
    for i in range(len(anchors)):
        anchor = anchors[i]
        if filled[anchor] == ends[anchor]:
            known[filled[anchor]] = anchor
            filled[anchor] += 1
        known[filled[anchor]] = positives[i]
        filled[anchor] += 1
    kept = 0
    for text in range(texts):
        start, stop = ends[text], ends[text + 1]
        ends[text] = kept
        known[start:stop].sort()
        for e in range(start, stop):
            if e == start or known[e] != known[kept - 1]:
                known[kept] = known[e]
                kept += 1
    ends[texts] = kept
    return known[:kept].copy(), ends
