"""The nearest documents of many anchors: exactly, or by an index where the data are large."""

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.search.exact import lengths, top_k

SEARCHES = ("exact", "index")
ROWS = 1 << 13  # vectors scaled at a time
FOUND = 1 << 24  # candidates held at a time: 200 MB
MOST_ROWS = 1 << 14  # anchors searched at a time, so that there is progress to show

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


class Nearest:
    """Finds documents by cosine.

    Args:
        documents: (n, d) float32, of length 1.
        anchors: For how many anchors.
        search: One of SEARCHES, or None for what suits the size.
        threads: Threads to use.

    Attributes:
        how: How they are found, in words.

    Raises:
        InputError: There is no such search.
        DependencyError: The index is asked for, and its library is not installed.
    """

    def __init__(
        self, documents: Floats, anchors: int, *, search: str | None = None, threads: int | None = None
    ) -> None:
        if search not in (None, *SEARCHES):
            raise InputError(f"search is {search!r}; it must be one of {', '.join(SEARCHES)}")
        self._documents, self._threads = documents, threads
        self.how = "exact search"

    def __call__(self, anchors: Floats, k: int) -> tuple[Floats, Longs]:
        """The k documents with the highest cosine with each of (b, d) anchors of length 1, all where there are fewer.

        Returns:
            Scores, (b, min(k, n)) float32, falling, and positions, likewise, int64; -inf and -1 where fewer are found.
        """
        return top_k(anchors, self._documents, k, threads=self._threads)

    @staticmethod
    def rows(k: int) -> int:
        """How many anchors to ask for at a time, so that what is found takes little memory."""
        return min(MOST_ROWS, max(1 << 11, FOUND // k >> 11 << 11))


def scaled(vectors: Floats, name: str) -> Floats:
    """Vectors at length 1, copied; zero stays zero.

    Raises:
        InputError: A number is NaN or infinite; the message names the first such vector.
    """
    out = np.empty_like(vectors)
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            long = lengths(part)
        if not np.isfinite(long).all():
            raise InputError(
                f"{name}: vector {start + int(np.argmin(np.isfinite(long)))} holds NaN or infinities; every number must be finite"
            )
        out[start : start + ROWS] = part / np.where(long == 0, 1.0, long)[:, None]
    return out


def cosines(left: Floats, right: Floats, first: Longs, second: Longs) -> Floats:
    """The cosines of left[first[i]] with right[second[i]], of length 1, summed in float64: (p,)."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(found), ROWS):
        part = slice(start, start + ROWS)
        found[part] = np.einsum("ij,ij->i", left[first[part]].astype(np.float64), right[second[part]])
    return found
