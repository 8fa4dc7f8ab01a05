"""The nearest documents of many anchors: exactly, or by an index where the data are large."""

from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.ivf import SAMPLE, Approximate, fits
from statim.search.engines.matrices import lengths
from statim.search.engines.screen import has_bytes
from statim.search.engines.tuning import DEPTH, RECALL

SEARCHES = ("exact", "index")
LARGE = 1 << 32  # scores from which an index is worth its making
ROWS = 1 << 10  # vectors scaled at a time: they stay in the cache
FOUND = 1 << 24  # candidates held at a time: 200 MB
MOST_ROWS = 1 << 16  # anchors searched at a time, so that there is progress to show

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


class Nearest:
    """Finds the documents with the highest cosine.

    Args:
        anchors: (m, d) float32, of length 1: all that will be asked.
        documents: (n, d) float32, of length 1.
        k: How many documents for each; all where there are fewer.
        search: One of SEARCHES; None takes the index where that saves much time: in large data, by a
            processor that multiplies bytes fast.
        threads: Threads to use.

    Attributes:
        how: How they are found, in words.

    Raises:
        InputError: There is no such search.
    """

    def __init__(
        self,
        anchors: Floats,
        documents: Floats,
        k: int,
        *,
        search: str | None = None,
        threads: int | None = None,
    ) -> None:
        if search not in (None, *SEARCHES):
            raise InputError(f"search is {search!r}; it must be one of {', '.join(SEARCHES)}")
        self._documents, self._k, self._threads = documents, k, threads
        self._index: Approximate | None = None
        self.how = "exact search"
        large = search is None and len(anchors) * len(documents) >= LARGE and has_bytes()
        if (search == "index" or large) and fits(documents):
            some = np.linspace(0, len(anchors) - 1, min(SAMPLE, len(anchors))).astype(np.int64)
            index = Approximate(documents, anchors[some], k, threads=threads)
            if index.recall >= RECALL:
                self._index = index
                self.how = f"index, recall@{DEPTH} {index.recall:.3f}"
            else:
                self.how = f"exact search, since an index would find {index.recall:.1%}"

    def __call__(self, anchors: Floats) -> tuple[Floats, Longs]:
        """The k closest documents of (b, d) of the anchors.

        Returns:
            Scores, (b, min(k, n)) float32, falling, and positions, likewise, int64; -inf and -1 where fewer
            are found.
        """
        if self._index is not None:
            return self._index(anchors, self._k)
        return top_k(anchors, self._documents, self._k, threads=self._threads, half=True)

    @property
    def rows(self) -> int:
        """How many anchors to ask for at a time, so that what is found takes little memory."""
        return min(MOST_ROWS, max(1 << 11, FOUND // self._k >> 11 << 11))


def scaled(vectors: Floats, name: str, rows: Longs | None = None) -> Floats:
    """Vectors at length 1, copied; zero stays zero.

    Args:
        vectors: (n, d).
        name: What they are, for a message.
        rows: Which of them; all by default.

    Raises:
        InputError: A number is NaN or infinite; the message names the first such vector.
    """
    out = np.empty((len(vectors) if rows is None else len(rows), vectors.shape[1]), np.float32)

    def scale(first: int, last: int) -> None:
        for start in range(first, last, ROWS):
            places = slice(start, min(start + ROWS, last))
            part = vectors[places] if rows is None else vectors[rows[places]]
            with np.errstate(over="ignore", invalid="ignore"):
                long = lengths(part)
            if not np.isfinite(long).all():
                wrong = start + int(np.argmin(np.isfinite(long)))
                raise InputError(
                    f"{name}: vector {wrong if rows is None else rows[wrong]} holds NaN or infinities; "
                    "every number must be finite"
                )
            np.divide(part, np.where(long == 0, 1.0, long)[:, None], out=out[places], casting="same_kind")

    workers = pool.count()
    pool.run([partial(scale, *bounds) for bounds in pool.ranges(len(out), workers)], workers)
    return out


def cosines(left: Floats, right: Floats, first: Longs, second: Longs) -> Floats:
    """The cosines of left[first[i]] with right[second[i]], of length 1, summed in float64: (p,)."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(found), ROWS):
        part = slice(start, start + ROWS)
        found[part] = np.einsum("ij,ij->i", left[first[part]].astype(np.float64), right[second[part]])
    return found
