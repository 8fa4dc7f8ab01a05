"""Rows of texts that no earlier row equals, however many there are."""

import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.text_column import buffers
from statim.identity import Identities

FEW = 10_000  # rows; up to this many are kept as they are, since loading compiled code takes longer


class SeenRows:
    """Remembers rows."""

    def __init__(self) -> None:
        self._few: dict[tuple[str | None, ...], None] | None = {}
        self._many = Identities()

    def new(self, arrays: list[pa.LargeStringArray]) -> npt.NDArray[np.int64]:
        """Which of n rows equal none before them, here and in earlier calls; (m,) int64, ascending.

        Args:
            arrays: Columns of n texts. Missing texts at a row's end do not count, nor do columns of them.
        """
        if self._few is not None and len(self._few) + len(arrays[0]) > FEW:
            if self._few:
                columns = itertools.zip_longest(*self._few)
                self._many(_keys([pa.array(column, pa.large_string()) for column in columns]))
            self._few = None
        if self._few is None:
            return self._many(_keys(arrays))[1]
        found = []
        for position, row in enumerate(zip(*(array.to_pylist() for array in arrays), strict=True)):
            while row[-1] is None:
                row = row[:-1]
            if row not in self._few:
                self._few[row] = None
                found.append(position)
        return np.array(found, np.int64)


def _keys(arrays: list[pa.LargeStringArray]) -> npt.NDArray[np.uint64]:
    """(n, 2) hashes of rows; a missing text adds nothing."""
    from statim.kernels.text.identity import fingerprints

    keys = np.zeros((len(arrays[0]), 2), np.uint64)
    for place, array in enumerate(arrays):
        own = fingerprints(*buffers(array)) * np.uint64(0x9E3779B97F4A7C15 * (2 * place + 1) % 2**64)
        if array.null_count:
            own[np.asarray(array.is_null())] = 0
        keys += own
    return keys
