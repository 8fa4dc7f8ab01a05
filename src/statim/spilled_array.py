"""Arrays that grow at their end: in memory while small, then memory-mapped from an unnamed file.

A mapped array is memory that the system can take back; ``release`` hands it back at once. The file is gone
with its array, or with the process, however that ends.
"""

import io
import mmap
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from statim import cache
from statim.files import storage_errors

IN_MEMORY = 16 << 20  # bytes

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class Growing:
    """An array of one dimension that is written from its beginning to its end, then read.

    Args:
        dtype: Of its numbers.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file: IO[bytes] = io.BytesIO()
        self._place = cache.folder()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, values: npt.ArrayLike) -> None:
        """Put numbers at the end.

        Raises:
            StorageError: The disk is full.
        """
        array = np.ascontiguousarray(values, self._dtype)
        self._length += len(array)
        with storage_errors(self._place):
            if isinstance(self._file, io.BytesIO) and self._file.tell() + array.nbytes > IN_MEMORY:
                written, (self._file, self._place) = self._file, nameless()
                weakref.finalize(self, self._file.close)  # where an error keeps it from being finished
                self._file.write(written.getbuffer())
            self._file.write(array.data.cast("B") if array.size else b"")

    def finish(self) -> npt.NDArray[Any]:
        """All numbers, read-only; nothing can be appended afterwards."""
        if isinstance(self._file, io.BytesIO):
            found = np.frombuffer(self._file.getbuffer(), self._dtype)
            found.flags.writeable = False
            return found
        with storage_errors(self._place):
            self._file.flush()
        with self._file:
            pages = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        _mapped.add(pages)
        return np.frombuffer(pages, self._dtype)


def stacked(blocks: Iterable[npt.NDArray[np.float16]], width: int) -> npt.NDArray[np.float16]:
    """Concatenated blocks of rows (m, width): (n, width) float16, read-only, memory-mapped if large.

    Raises:
        StorageError: The disk is full.
    """
    found = Growing(np.float16)
    for block in blocks:
        found.append(block.reshape(-1))
        release()
    return found.finish().reshape(-1, width)


def nameless() -> tuple[IO[bytes], Path]:
    """An unnamed file in the cache, which is on a disk more often than the system's temporary folder."""
    try:
        cache.folder().mkdir(0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=cache.folder()), cache.folder()
    except OSError:
        return tempfile.TemporaryFile(), Path(tempfile.gettempdir())


def release() -> None:
    """Hand the memory of all mapped arrays back; what is read again comes from the file."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for pages in list(_mapped):
            pages.madvise(mmap.MADV_DONTNEED)
