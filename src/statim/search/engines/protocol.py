"""What every vector search engine can do; one file per engine.

By name they are made and loaded in registry.py.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.search.engines.tuning import Recall

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


class Engine(Protocol):
    """n vectors of d dimensions, found by cosine.

    A vector's position is the number of vectors added before it, and stays the same for good: a deleted
    vector leaves its position empty. So the documents, BM25 and the vectors of an index agree on what a
    position means.

    Attributes:
        dim: d.
        recall: What is found of the vectors that are nearest to a sample of them, measured when the engine
            chose how hard to look; None where the vectors are stored rounded, so that this is not known.
    """

    dim: int

    @property
    def recall(self) -> Recall | None:
        """See the class."""

    @property
    def vectors(self) -> Any:
        """The stored vectors of all n positions; slices and positions index them as (n, d) float32."""

    def __len__(self) -> int:
        """How many positions there are, n."""

    def add(self, vectors: npt.ArrayLike) -> None:
        """Add vectors, (any number, d), at the positions that follow.

        Raises:
            InputError: The dimensions differ, or a number is NaN or infinite.
        """

    def delete(self, positions: npt.ArrayLike) -> None:
        """Leave positions empty: they are not found any more, and score 0.

        To delete one twice changes nothing.

        Raises:
            InputError: There is no such position.
        """

    def prepare(self, *, threads: int | None = None) -> None:
        """Build what makes search fast for what changed since; until then it is searched exactly.

        ``save`` does so, too.

        Raises:
            DependencyError: A package that the engine needs is not installed.
        """

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest vectors of m queries.

        Args:
            queries: (m, d).
            k: How many to return; n at most are.
            threads: Threads to use, where the engine lets one choose.

        Returns:
            Scores, (m, min(k, n)) float32, falling, and positions, (m, min(k, n)) int64. Where a query finds
            fewer, the rest of its row is -inf and -1.

        Raises:
            InputError: The dimensions differ, a number is NaN or infinite, or k is below 1.
        """

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The scores of given positions: (m, c) for queries (m, d) and positions (m, c); 0 where -1."""

    def save(self, folder: Path) -> None:
        """Write files into ``folder``, which is made.

        Raises:
            StorageError: The disk is full, read-only, or not permitted.
        """


def check_k(k: int) -> int:
    """``k`` as an int of at least 1.

    Raises:
        InputError: It is something else.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k is {k!r}; it must be a whole number of at least 1")
    return int(k)


def check_positions(positions: npt.ArrayLike, count: int) -> Positions:
    """``positions`` as a flat int64 array.

    Raises:
        InputError: One of them is no whole number from 0 to ``count`` - 1.
    """
    given = np.asarray(positions)
    if given.size == 0:
        return np.zeros(0, np.int64)
    if given.dtype.kind not in "iu":
        raise InputError(f"positions are of type {given.dtype}; they must be whole numbers")
    if given.min() < 0 or given.max() >= count:
        wrong = int(given.min() if given.min() < 0 else given.max())
        raise InputError(f"there is no position {wrong:,}; this index has the positions 0 to {count - 1:,}")
    return given.astype(np.int64).ravel()
