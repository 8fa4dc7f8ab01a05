"""Arrays on disk: safetensors files, written atomically and read by memory-mapping.

A file's header is checked by the safetensors library itself (bounded, no holes, no overlaps) before a byte of
data is mapped.
"""

import json
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from statim.errors import InputError, ModelError
from statim.files import atomic_file
from statim.strict_json import loads

Array = npt.NDArray[np.generic]

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
SEAL = "statim_digest"
_NAMES = {kind: name for name, kind in _DTYPES.items()}


def save_tensors(
    path: str | Path,
    arrays: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
    *,
    sealed: bool = False,
) -> None:
    """Write named arrays to one safetensors file, atomically.

    A ``sealed`` file holds the digest of its arrays and metadata, which ``load_tensors`` checks: for files
    that are read whole anyway and that no manifest names.

    Raises:
        StorageError: The disk is full, read-only, or not permitted; what stood at ``path`` still stands.
    """
    if sealed:
        metadata = {**(metadata or {}), SEAL: _digest(arrays, metadata or {})}
    with atomic_file(path) as file:
        write_tensors(file, arrays, metadata)


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    from xxhash import xxh3_128

    found = xxh3_128(repr(sorted(metadata.items())).encode("utf-8", "replace"))
    for name in sorted(arrays):
        array = np.asarray(arrays[name], arrays[name].dtype.newbyteorder("<"), order="C")
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def write_tensors(
    file: IO[bytes], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write what ``save_tensors`` writes to an open file, array by array, without a second copy."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    # larger entries first, so that every array is aligned
    contiguous = sorted(
        ((name, np.asarray(a, a.dtype.newbyteorder("<"), order="C")) for name, a in arrays.items()),
        key=lambda item: (-item[1].itemsize, item[0]),
    )
    end = 0
    for name, array in contiguous:
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.str],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in contiguous:
        file.write(array.reshape(-1).view(np.uint8).data if array.size else b"")


def release(array: Array) -> None:
    """Release an array's memory-mapped pages, since it will not be read soon; others are unchanged."""
    base = mapped_file(array)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def mapped_file(array: Array) -> mmap.mmap | None:
    """The bytes of the whole file that ``load_tensors`` mapped an array from; None where it is a copy."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def map_file(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, memory-mapped; they stay as they are when another file takes its place.

    Raises:
        OSError: It is missing or cannot be read.
    """
    with path.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0
        return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load_tensors(path: str | Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Memory-map a safetensors file: read-only arrays (bfloat16 is widened to float32) and metadata.

    Raises:
        ModelError: The file is missing, cannot be read, is truncated or damaged, or is not safetensors.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as checked:  # validates header, sizes and offsets
            metadata = dict(checked.metadata() or {})
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = loads(file.read(length))
        data = np.memmap(path, np.uint8, "r")[8 + length :]
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the folder is not a whole model or index") from None
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # of an array that stands twice, the library takes the last
        raise ModelError(
            f"{path} is damaged in its header: {str(error)[:100]}; copy or download it again"
        ) from None
    arrays: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if entry["dtype"] == "BF16":
            halves = np.frombuffer(data, "<u2", (end - start) // 2, start)
            arrays[name] = (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
        elif entry["dtype"] in _DTYPES:
            dtype = np.dtype(_DTYPES[entry["dtype"]])
            arrays[name] = np.frombuffer(data, dtype, (end - start) // dtype.itemsize, start).reshape(
                entry["shape"]
            )
        else:
            raise ModelError(
                f"{path}: the array {name!r} has the type {entry['dtype']}, which statim cannot read"
            )
    if SEAL in metadata:
        about = {name: value for name, value in metadata.items() if name != SEAL}
        if metadata[SEAL] != _digest(arrays, about):
            raise ModelError(f"{path} is damaged: its bytes are not those that were written; delete it")
    return arrays, metadata


def map_array(path: str | Path) -> Array:
    """Map a .npy file that anyone may have written.

    Raises:
        InputError: It cannot be read, or is not a whole .npy file of numbers, or one of objects.
    """
    try:
        with open(
            path, "rb"
        ) as file:  # np.load takes zip files and pickles, too, and leaves the first ones open
            magic = file.read(6)
        if magic != b"\x93NUMPY":
            raise ValueError
        return np.lib.format.open_memmap(path, mode="r", max_header_size=10_000)
    except Exception as error:  # numpy reads a Python literal, which can go wrong in any way
        reason = getattr(error, "strerror", None) or "it is not a whole .npy file of numbers"
        raise InputError(
            f"the vectors in {path} cannot be read: {reason}; give what statim encode --out NAME.npy writes"
        ) from None
