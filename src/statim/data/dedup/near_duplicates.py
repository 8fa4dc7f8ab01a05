"""Near-duplicates: texts equal up to case and punctuation, or that share half of their shingles."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import spilled_array
from statim import threads as pool
from statim.data.files import columns
from statim.data.text_column import buffers

ENDLESS = 1 << 30
PART = 64 << 20  # bytes of texts searched at a time by one thread


class Matches(NamedTuple):
    """Near-duplicates, sorted by query, then by text.

    Attributes:
        queries: (k,) int64, positions among the queries.
        texts: (k,) int64, positions among the texts.
        jaccard: (k,) float64, from 0.5 to 1.
    """

    queries: npt.NDArray[np.int64]
    texts: npt.NDArray[np.int64]
    jaccard: npt.NDArray[np.float64]


def near_duplicates(
    queries: Sequence[str] | pa.Array,
    texts: Sequence[str] | pa.Array,
    *,
    limit: int = ENDLESS,
    threads: int | None = None,
) -> Matches:
    """Find all texts that are near-duplicates of a query.

    Two texts are if their sets of 5-word shingles have a Jaccard index of at least 0.5; a text of fewer than
    5 words only if its words are the same. Words are runs of letters, marks and digits, lower-cased; Chinese
    and Japanese characters are words by themselves. The result is exact up to collisions of 64-bit hashes.
    Memory holds the shingles of the queries only, so the smaller side should be the queries.

    Args:
        queries: m texts, a list or an Arrow array.
        texts: n texts, likewise.
        limit: A query with more matches than this may be given less than all of them, but always more than
            ``limit``.
        threads: Threads to use.

    Returns:
        The matches; a text that stands on both sides matches itself.

    Examples:
        >>> texts = [
        ...     "Sort a list in place, and return nothing at all.",
        ...     "Open a file and read all of its lines.",
        ... ]
        >>> found = near_duplicates(["sort a list in place and return nothing at all"], texts)
        >>> found.texts.tolist(), found.jaccard.tolist()
        ([0], [1.0])
    """
    from statim.kernels.text import shingles as kernel

    members, ends = kernel.sets(*_buffers(queries), kernel.folding())
    order = np.argsort(members, kind="stable")
    postings = np.repeat(np.arange(len(ends) - 1, dtype=np.int32), np.diff(ends))[order]
    keys, firsts = np.unique(members[order], return_index=True)
    bounds = np.append(firsts, len(members)).astype(np.int64)
    bits = max(8, int(2 * len(keys)).bit_length())
    slots, places = kernel.hash_table(keys, bits)
    likely = kernel.bit_filter(keys, bits + 2)
    sizes = np.diff(ends).astype(np.int32)
    data, offsets = _buffers(texts)

    shared = (likely, bits + 2, slots, places, postings, bounds, sizes, limit)
    workers = pool.count(threads)

    def work(start: int, stop: int) -> tuple[npt.NDArray[Any], ...]:
        matches: tuple[npt.NDArray[Any], ...] = kernel.overlapping(
            data, offsets, start, stop, kernel.folding(), *shared
        )
        spilled_array.release()
        return matches

    parts = max(4 * workers if workers > 1 else 1, int(offsets[-1] - offsets[0]) // PART)
    found = pool.run([partial(work, *bounds) for bounds in pool.ranges(len(offsets) - 1, parts)], workers)
    if not found:
        return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    matched, queried, values = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.lexsort((matched, queried))
    return Matches(queried[order].astype(np.int64), matched[order], values[order])


def _buffers(texts: Sequence[str] | pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    array = texts if isinstance(texts, (pa.Array, pa.ChunkedArray)) else pa.array(texts, pa.large_string())
    return buffers(columns.flat(array))
