"""Vectors on their way to a file: NumPy, Parquet or JSON lines, written as they come."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from statim.errors import InputError
from statim.files import atomic_file

SUFFIXES = (".npy", ".parquet", ".jsonl")
DTYPES = ("float32", "float16")


class VectorWriter:
    """Writes texts and vectors to a file that appears when it is whole; without a path, JSON lines to the standard output.

    A .npy file holds the vectors alone, (n, d); Parquet and JSON lines hold ``text`` and ``vector``.

    Args:
        path: Where to; its suffix decides the kind.
        dim: Dimensions, d.
        dtype: float32 or float16.
        overwrite: Replace a file that is there.

    Raises:
        InputError: The suffix or the dtype is none of those above, or the file is there and ``overwrite`` is off.
        StorageError: The disk is full, read-only, or not permitted; nothing is left behind.
    """

    def __init__(self, path: Path | None, dim: int, dtype: str, *, overwrite: bool = False) -> None:
        if path is not None and path.suffix not in SUFFIXES:
            raise InputError(
                f"{path} ends with {path.suffix or 'nothing'}; vectors go into {', '.join(SUFFIXES)}"
            )
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"{path} exists; choose another name, or allow overwriting (--overwrite)")
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
        self.path, self.dim, self.dtype = path, dim, np.dtype(dtype)
        self.count = 0
        self._stack = ExitStack()
        self._file: IO[bytes] = sys.stdout.buffer
        self._parquet: Any = None

    def __enter__(self) -> Self:
        if self.path is not None:
            self._file = self._stack.enter_context(atomic_file(self.path))
            if self.path.suffix == ".npy":
                self._header()
            elif self.path.suffix == ".parquet":
                kind = pa.list_(pa.from_numpy_dtype(self.dtype), self.dim)
                self._schema = pa.schema([("text", pa.large_string()), ("vector", kind)])
                self._parquet = self._stack.enter_context(pq.ParquetWriter(self._file, self._schema))
        return self

    def write(self, texts: pa.Array, vectors: npt.NDArray[np.floating[Any]]) -> None:
        """Append n texts and their vectors (n, d)."""
        self.count += len(vectors)
        if self._parquet is not None:
            values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.dim)
            self._parquet.write_table(pa.table([texts, values], schema=self._schema))
        elif self.path is not None and self.path.suffix == ".npy":
            self._file.write(np.ascontiguousarray(vectors, self.dtype).data)
        else:
            for text, vector in zip(
                texts.to_pylist(), vectors.astype(np.float64).round(7).tolist(), strict=True
            ):
                self._file.write(
                    json.dumps({"text": text, "vector": vector}, ensure_ascii=False).encode() + b"\n"
                )

    def _header(self) -> None:
        """NumPy's header leaves room for the number of rows to grow, so it can be written twice."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, self.dim)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.path is not None and self.path.suffix == ".npy":
            self._file.seek(0)
            self._header()
        self._stack.__exit__(kind, error, trace)
