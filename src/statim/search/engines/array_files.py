"""Arrays in .npy files: written from parts, atomically; checked to the last byte, then mapped."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.files import atomic_file

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<f2|\|i1|<u8|<i8)', 'fortran_order': False, 'shape': \(([0-9, ]{1,60})\), \} *\n",  # noqa: E501
    re.DOTALL,
)


def write_array(path: Path, dtype: str, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[Any]]) -> None:
    """Write one .npy file from its parts, atomically.

    Args:
        path: The file.
        dtype: As numpy describes it: <f4, <f2, |i1, <u8 or <i8.
        shape: Of the whole.
        blocks: The parts, one after the other.

    Raises:
        StorageError: The disk is full, read-only, or not permitted.
    """
    with atomic_file(path) as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def read_array(path: Path, dtypes: Sequence[str], dimensions: int) -> npt.NDArray[Any]:
    """Map what ``write_array`` wrote.

    numpy's own reader would parse any Python literal, this one knows just that header.

    Args:
        path: The file.
        dtypes: Which are allowed.
        dimensions: How many there must be.

    Raises:
        ModelError: The file is missing, truncated, or holds something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the folder is not a whole index") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    header = _HEADER.match(start)
    if header is None or header[1].decode() not in dtypes:
        raise ModelError(f"{path} is not such an array as an index has; build the index again")
    dtype, shape = (
        header[1].decode(),
        tuple(int(number) for number in header[2].split(b",") if number.strip()),
    )
    fits = size == header.end() + math.prod(shape) * np.dtype(dtype).itemsize
    if len(shape) != dimensions or max(shape) >= 1 << 48 or not fits:
        raise ModelError(
            f"{path} has {size:,} bytes, which does not fit its shape {shape}; build the index again"
        )
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", header.end(), shape))
