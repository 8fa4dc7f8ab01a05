"""Which bags are equal: 128-bit hashes of their ids and counts, in whatever order these stand."""

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit

Longs = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


@njit(nogil=True, cache=True, error_model="numpy")
def _mixed(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(nogil=True, cache=True, error_model="numpy")
def bag_keys(
    ids: npt.NDArray[np.int32],
    counts: npt.NDArray[np.uint16],
    offsets: Longs,
    totals: npt.NDArray[np.int32],
    start: int,
    stop: int,
) -> Hashes:
    """Hashes of the bags [start, stop), (n, 2): sums over entries, so their order does not matter.

    Args:
        ids: The distinct ids of all texts, one text's after the other's.
        counts: How often each occurs in its text.
        offsets: (T + 1,) where each text's entries begin.
        totals: (T,) tokens of each text. A bag without entries has a hash of its own: nothing is known of its
            text.
        start: First text.
        stop: One past the last.
    """
    found = np.empty((stop - start, 2), np.uint64)
    for text in range(start, stop):
        a, b = np.uint64(totals[text]), np.uint64(0)
        for e in range(offsets[text], offsets[text + 1]):
            entry = np.uint64(ids[e]) << np.uint64(16) | np.uint64(counts[e])
            a += _mixed(entry + FIRST)
            b += _mixed(entry * SECOND + FIRST)
        if offsets[text] == offsets[text + 1]:
            a, b = np.uint64(text), np.uint64(1)
        found[text - start, 0], found[text - start, 1] = _mixed(a), b
    return found
