"""Exact search: an engine that compares with every vector, see exact_top_k.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError, ModelError
from statim.quantize import check_dtype
from statim.search.engines.array_files import read_array, write_array
from statim.search.engines.exact_scores import dots
from statim.search.engines.exact_top_k import search_vectors
from statim.search.engines.matrices import among, matrix, unit
from statim.search.engines.protocol import Floats, Positions, check_k, check_positions
from statim.search.engines.stored_vectors import STORAGES, Rows, Vectors, narrow
from statim.search.engines.tuning import ALL, Recall

LONGEST = 2.0  # no vector of length 1 is longer when its numbers are rounded to int8
SAVED = 1 << 14  # rows written at a time
_NUMBERS = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}


class Exact:
    """An engine (see protocol.py) that compares with every vector, by cosine.

    Vectors are scaled to length 1 when they are added. A zero vector is like nothing: it is never found, and
    as a query finds nothing. A deleted vector is a zero vector from then on; in a file that stands already,
    until the next ``save``.

    Args:
        dim: The number of dimensions, d.
        storage: ``float32``; or ``float16`` or ``int8``, which take half or a quarter of the memory and time.
            Results are exact of what is stored; see stored_vectors.py for what that loses.

    Raises:
        InputError: There is no such storage.
    """

    def __init__(self, dim: int, storage: str = "float32") -> None:
        check_dtype(storage, STORAGES)
        self.dim, self.storage = dim, storage
        self._blocks: list[Vectors] = []
        self._excluded = np.zeros(0, np.int64)  # the positions of zero vectors, ascending

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def vectors(self) -> Vectors:
        """The vectors, (n, d) float32 of length 1 or 0, possibly read-only; of other storages as ``Rows``."""
        if len(self._blocks) != 1:
            self._blocks = [_joined(self._blocks, self.dim, self.storage)]
        return self._blocks[0]

    @property
    def excluded(self) -> Positions:
        """The positions that are never found, zero and deleted, ascending int64."""
        return self._excluded

    def add(self, vectors: npt.ArrayLike) -> None:
        """Add n vectors at the positions that follow; see Engine."""
        given = self.matching(vectors, "the vectors")
        given, zero = unit(given)
        self._excluded = np.concatenate([self._excluded, len(self) + np.flatnonzero(zero)])
        self._blocks.append(given if self.storage == "float32" else narrow(given, self.storage))

    @property
    def recall(self) -> Recall | None:
        """Everything, of vectors that are not rounded; see Engine."""
        return ALL if self.storage == "float32" else None

    @staticmethod
    def of(vectors: Floats) -> "Exact":
        """Of (n, d) float32 vectors of length 1 or 0, which are not copied."""
        engine = Exact(vectors.shape[1])
        engine._blocks, engine._excluded = [vectors], np.flatnonzero(~vectors.any(axis=1))
        return engine

    def delete(self, positions: npt.ArrayLike) -> None:
        """Leave positions empty; see Engine."""
        self._excluded = np.union1d(self._excluded, check_positions(positions, len(self)))

    def prepare(self, *, threads: int | None = None) -> None:
        """Nothing is to be prepared; see Engine."""

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest documents of each query; see Engine."""
        asked, zero = unit(self.matching(queries, "the queries"))
        k = check_k(k)
        try:
            scores, positions = search_vectors(asked, self.vectors, k, LONGEST, self._excluded, threads)
        except InputError as error:  # add() lets no such vectors in, so the file was damaged
            raise ModelError(f"the index is damaged: {error}") from None
        scores[zero] = -np.inf
        positions[scores == -np.inf] = -1
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of some documents with each query; see Engine."""
        asked, _ = unit(self.matching(queries, "the queries"))
        scores = np.zeros(positions.shape, np.float32)
        for query, row, out in zip(asked, positions, scores, strict=True):
            there = (row >= 0) & ~among(row, self._excluded)
            out[there] = dots(query, self.vectors, row[there])
        return scores

    def save(self, folder: Path) -> None:
        """Write into ``folder``; see Engine."""
        vectors = self.vectors
        data = vectors.data if isinstance(vectors, Rows) else vectors
        write_array(folder / "vectors.npy", _NUMBERS[self.storage], data.shape, self._cleared(data))
        if isinstance(vectors, Rows) and self.storage == "int8":
            write_array(folder / "scales.npy", "<f4", vectors.scales.shape, [vectors.scales])
        write_array(folder / "zeros.npy", "<i8", self._excluded.shape, [self._excluded])

    @staticmethod
    def load(folder: Path) -> "Exact":
        """Map what ``save`` wrote; see Engine."""
        data = read_array(folder / "vectors.npy", list(_NUMBERS.values()), 2)
        excluded = read_array(folder / "zeros.npy", ["<i8"], 1)
        if len(excluded) and not (
            excluded[0] >= 0 and excluded[-1] < len(data) and (np.diff(excluded) > 0).all()
        ):
            raise ModelError(
                f"{folder / 'zeros.npy'} does not fit {folder / 'vectors.npy'}; build the index again"
            )
        engine = Exact(data.shape[1], data.dtype.name)
        scales = np.zeros(0, np.float32)
        if engine.storage == "int8":
            scales = read_array(folder / "scales.npy", ["<f4"], 1)
            if len(scales) != len(data):
                raise ModelError(
                    f"{folder / 'scales.npy'} does not fit {folder / 'vectors.npy'}; build the index again"
                )
        engine._blocks = [data if engine.storage == "float32" else Rows(data, scales)]
        engine._excluded = excluded
        return engine

    def matching(self, vectors: npt.ArrayLike, name: str) -> Floats:
        """``vectors`` as a float32 matrix of d dimensions.

        Raises:
            InputError: It is no matrix of numbers, or of other dimensions.
        """
        given = matrix(vectors, name)
        if given.shape[1] != self.dim:
            raise InputError(f"{name} have {given.shape[1]} dimensions; this index has {self.dim}")
        return given

    def _cleared(self, data: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """The rows in parts, what was deleted zero."""
        for start in range(0, len(data), SAVED):
            part = data[start : start + SAVED]
            empty = self._excluded[
                np.searchsorted(self._excluded, start) : np.searchsorted(self._excluded, start + len(part))
            ]
            if len(empty):
                part = part.copy()
                part[empty - start] = 0
            yield part


def _joined(blocks: list[Vectors], dim: int, storage: str) -> Vectors:
    """Blocks of vectors as one."""
    if storage == "float32":
        return np.concatenate(
            [np.zeros((0, dim), np.float32), *(b for b in blocks if not isinstance(b, Rows))]
        )
    rows = [block for block in blocks if isinstance(block, Rows)]
    data = np.concatenate([np.zeros((0, dim), storage), *(block.data for block in rows)])
    return Rows(data, np.concatenate([np.zeros(0, np.float32), *(block.scales for block in rows)]))
