"""Token dropout: whether an entry is left out follows from a key and the entry's place alone."""

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit

Ints = npt.NDArray[np.int32]
Counts = npt.NDArray[np.uint16]
Longs = npt.NDArray[np.int64]

# SplitMix64 (Steele, Lea & Flood, 2014)
STEP, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@njit(nogil=True, cache=True, error_model="numpy")
def _is_kept(key: np.uint64, entry: int, threshold: int) -> bool:
    """Whether the upper 32 bits of an entry's hash reach the threshold."""
    x = key + np.uint64(entry) * np.uint64(STEP)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND)
    return bool(np.int64((x ^ (x >> np.uint64(31))) >> np.uint64(32)) >= threshold)


@njit(nogil=True, cache=True, error_model="numpy")
def drop(
    ids: Ints,
    counts: Counts,
    offsets: Longs,
    totals: Ints,
    texts: Longs,
    key: np.uint64,
    threshold: int,
    out_ids: Ints,
    out_counts: Counts,
    out_offsets: Longs,
    out_totals: Ints,
) -> None:
    """Copy the bags of some texts without dropped entries; a text that would lose all keeps all.

    Args:
        ids: The bags' ids, one text's after the other's.
        counts: Their counts.
        offsets: (n + 1,) where each text's entries begin.
        totals: (n,) tokens per text, unknown ones included.
        texts: (m,) which texts; the same text loses the same entries wherever it stands.
        key: Decides together with an entry's position in ``ids`` whether it is left out.
        threshold: With this probability, times 2**32.
        out_ids: Written; as long as all entries of these texts.
        out_counts: Likewise.
        out_offsets: (m + 1,) written.
        out_totals: (m,) written: tokens left.
    """
    written = 0
    out_offsets[0] = 0
    for i in range(len(texts)):
        text = texts[i]
        first, left = written, totals[text]
        for e in range(offsets[text], offsets[text + 1]):
            if _is_kept(key, e, threshold):
                out_ids[written] = ids[e]
                out_counts[written] = counts[e]
                written += 1
            else:
                left -= counts[e]
        if written == first:
            left = totals[text]
            for e in range(offsets[text], offsets[text + 1]):
                out_ids[written] = ids[e]
                out_counts[written] = counts[e]
                written += 1
        out_offsets[i + 1] = written
        out_totals[i] = left
