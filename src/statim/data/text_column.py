"""A column of texts: its buffers, and one written block by block that leaves memory when large."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.spilled_array import Growing


def offsets(texts: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """(n + 1,) where in the bytes of an Arrow array each of its n texts begins. Nothing is copied."""
    if len(texts) == 0:
        return np.zeros(1, np.int64)
    return np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)


def buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of n texts, and the (n + 1,) offsets between them; missing texts are empty.

    Nothing is copied if it can be.
    """
    if texts.null_count:
        texts = texts.fill_null("")
    data = texts.buffers()[2] if len(texts) else None
    return (np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)), offsets(texts)


class TextColumn:
    """Texts, some perhaps missing, that are appended block by block."""

    def __init__(self) -> None:
        self._letters, self._ends = Growing(np.uint8), Growing(np.int64)
        self._ends.append([0])
        self._valid: list[npt.NDArray[np.bool_]] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, texts: pa.LargeStringArray) -> None:
        """Put texts at the end.

        Raises:
            StorageError: The disk is full.
        """
        data, places = buffers(texts)
        self._letters.append(data[places[0] : places[-1]])
        self._ends.append(places[1:] - places[0] + self._size)
        self._size += int(places[-1] - places[0])
        self._valid.append(
            np.asarray(texts.is_valid())
            if texts.null_count
            else np.broadcast_to(np.True_, len(texts))  # a single byte
        )

    def append_missing(self, count: int) -> None:
        """Append N missing texts."""
        self._ends.append(np.full(count, self._size))
        self._valid.append(np.broadcast_to(np.False_, count))

    def finish(self) -> pa.LargeStringArray:
        """All texts as one array, mapped if they are many; nothing can be appended afterwards."""
        valid = None
        if any(not part.all() for part in self._valid):
            valid = pa.py_buffer(np.packbits(np.concatenate(self._valid), bitorder="little"))
        ends, letters = self._ends.finish(), self._letters.finish()
        return pa.LargeStringArray.from_buffers(
            len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(letters), valid
        )
