"""The nearest documents of many anchors: exactly, or by an index where the data are large."""

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.search.exact import top_k

SEARCHES = ("exact", "index")

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


def nearest(
    anchors: Floats,
    documents: Floats,
    k: int,
    *,
    search: str | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> tuple[Floats, Longs, str]:
    """The k documents with the highest cosine with each anchor.

    Args:
        anchors: (m, d) float32, of length 1.
        documents: (n, d) float32, of length 1.
        k: How many; n at most are found.
        search: One of SEARCHES, or None for what suits the size.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Returns:
        Scores, (m, min(k, n)) float32, falling; positions, likewise, int64; and how they were found, in words.

    Raises:
        InputError: The dimensions differ, or there is no such search.
    """
    if search not in (None, *SEARCHES):
        raise InputError(f"search is {search!r}; it must be one of {', '.join(SEARCHES)}")
    scores, positions = top_k(anchors, documents, k, threads=threads)
    return scores, positions, "exact search"
