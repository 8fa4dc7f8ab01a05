"""Texts and their vectors as the bytes of a file, a block at a time: NumPy, Parquet or JSON lines."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from statim.errors import InputError

SUFFIXES = (".npy", ".parquet", ".jsonl")

NUMBERS = 1 << 20  # written as JSON at a time: what they need on the way, about 100 bytes each, stays small

DAMAGED = "what is known of the unfinished output (progress.json) is damaged; start again without --resume"

Vectors = npt.NDArray[Any]


def check_suffix(path: Path) -> None:
    """Refuse a name that says no kind of file.

    Raises:
        InputError: The suffix is none of SUFFIXES.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path} ends with {path.suffix or 'nothing'}; vectors go into {', '.join(SUFFIXES)}"
        )


class VectorWriter:
    """Appends texts and vectors to a file.

    The bytes depend on the blocks and on nothing else: a file that was cut back to an earlier ``state`` and
    gone on with is the file that would have been.

    - ``.npy``: the vectors alone, (n, w).
    - ``.parquet``: columns ``text`` and ``vector``, a list of w numbers each; the packed bits of binary
    vectors, which are
      uint8, are a binary value of w bytes. Each block is a row group.
    - ``.jsonl``: objects with ``text`` and ``vector``. The numbers are the shortest that give the same
    float32 again.

    Args:
        file: Open for reading and writing ("w+b"); for JSON lines writing is enough.
        suffix: One of SUFFIXES.
        width: Numbers per vector, w.
        dtype: Their type: float32, float16, int8 or uint8.
        state: Where to go on; ``file`` ends there.

    Raises:
        InputError: The state is none that ``state`` gave.
    """

    def __init__(
        self,
        file: IO[bytes],
        suffix: str,
        width: int,
        dtype: npt.DTypeLike,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.file, self.suffix, self.width, self.dtype = file, suffix, width, np.dtype(dtype)
        self.count = texts_done(state) if state else 0
        self._footer: Any = None
        if suffix == ".npy" and not state:
            self._write_header()
        elif suffix == ".parquet":
            packed = self.dtype == np.uint8
            self._kind = pa.binary(width) if packed else pa.list_(pa.from_numpy_dtype(self.dtype), width)
            self._schema = pa.schema([("text", pa.large_string()), ("vector", self._kind)])
            if state and state["footer"]:
                if file.tell() <= len(b"PAR1"):
                    raise InputError(DAMAGED)
                self._footer = _footer(state["footer"], self._schema)

    def write(self, texts: pa.LargeStringArray, vectors: Vectors) -> None:
        """Append n texts and their vectors (n, w)."""
        vectors = np.ascontiguousarray(vectors, self.dtype)
        if self.suffix == ".npy":
            self.file.write(vectors.data)
        elif self.suffix == ".parquet":
            self._write_row_group(texts, vectors)
        else:
            step = max(1, NUMBERS // self.width)
            for start in range(0, len(vectors), step):
                self.file.write(_lines(texts.slice(start, step), vectors[start : start + step]))
        self.count += len(vectors)

    def state(self) -> dict[str, Any]:
        """What ``VectorWriter(state=...)`` needs in order to go on from here: JSON."""
        return {"texts": self.count, "footer": base64.b64encode(self._footer_bytes()).decode()}

    def finish(self) -> None:
        """Make the file whole."""
        if self.suffix == ".npy":
            self.file.seek(0)
            self._write_header()
        elif self.suffix == ".parquet":
            if self._footer is None:
                self._write_row_group(pa.array([], pa.large_string()), np.empty((0, self.width), self.dtype))
            self.file.write(self._footer_bytes()[len(b"PAR1") :])

    def _write_header(self) -> None:
        """NumPy's header leaves room for the number of rows to grow, so it can be written twice."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, self.width)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def _write_row_group(self, texts: pa.LargeStringArray, vectors: Vectors) -> None:
        """Append a row group, as a writer of its own that believes to have written all that is there.

        Arrow's writer keeps the footer to itself until it ends, and can begin only with an empty file. So
        each row group gets a writer, whose count of bytes is put forward by what the file has; its footer is
        joined to those before and cut off again.
        """
        if self.dtype == np.uint8:
            column = pa.FixedSizeBinaryArray.from_buffers(
                self._kind, len(vectors), [None, pa.py_buffer(vectors)]
            )
        else:
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.width)
        self.file.flush()
        tail = _Tail(self.file)
        sink = pa.PythonFile(tail, mode="w")
        with pq.ParquetWriter(
            sink,
            self._schema,
            # texts and floats hardly repeat; Parquet has no small integers, but a dictionary of them is as
            # small
            use_dictionary=["vector.list.element"] if self.dtype == np.int8 else False,
            compression={"text": "snappy", "vector": "none", "vector.list.element": "none"},
            write_statistics=False,  # of no use for vectors, and as long as the longest text
        ) as writer:
            tail.catch_up(sink)
            writer.write_table(
                pa.table([texts, column], schema=self._schema), row_group_size=max(1, len(vectors))
            )
        self.file.flush()
        self.file.seek(-8, 2)
        end = self.file.seek(-8 - int.from_bytes(self.file.read(4), "little"), 2)
        # from the file: a writer that is asked to collect it hides why it failed behind a RuntimeError
        footer = pq.read_metadata(pa.BufferReader(b"PAR1" + self.file.read()))
        self.file.seek(end)
        self.file.truncate()
        if self._footer is None:
            self._footer = footer
        else:
            self._footer.append_row_groups(footer)

    def _footer_bytes(self) -> bytes:
        """The footer as a file without data: magic, footer, its length, magic."""
        if self._footer is None:
            return b""
        sink = pa.BufferOutputStream()
        self._footer.write_metadata_file(sink)
        return bytes(sink.getvalue().to_pybytes())


def texts_done(state: Mapping[str, Any]) -> int:
    """How many texts a writer's state has behind it.

    Raises:
        InputError: It is none that ``VectorWriter.state`` gave.
    """
    count, footer, known = (state.get(name) for name in ("texts", "footer", "hash"))
    whole = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    if not (whole and isinstance(footer, str) and (known is None or isinstance(known, str))):
        raise InputError(DAMAGED)
    return int(count)  # type: ignore[arg-type]


def _footer(text: str, schema: pa.Schema) -> Any:
    try:
        footer = pq.read_metadata(pa.BufferReader(base64.b64decode(text)))
        if footer.schema.to_arrow_schema().equals(schema):
            return footer
    except (ValueError, OSError, pa.ArrowException):
        pass
    raise InputError(DAMAGED)


class _Tail:
    """A file for Arrow to write that skips as many bytes as ``file`` has already."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.skip = file, file.tell()

    def catch_up(self, sink: pa.NativeFile) -> None:
        """Move ``sink``, which writes to this file, to its end; nothing is read or written."""
        if self.skip:
            with pa.memory_map(os.fsencode(self.file.name)) as there:
                there.seek(sink.tell())
                sink.write(there.read_buffer(self.skip))

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self.skip:
            self.skip -= size
            return size
        return self.file.write(data)

    def flush(self) -> None:
        """Nothing to do: ``file`` is not ours."""

    def close(self) -> None:
        """Nothing to do: ``file`` is not ours."""


def _lines(texts: pa.LargeStringArray, vectors: Vectors) -> bytes:
    """JSON lines; Arrow writes the numbers, without the interpreter lock."""
    numbers = pa.array(
        vectors.astype(np.float32, copy=False).reshape(-1)
        if vectors.dtype.kind == "f"
        else vectors.reshape(-1)
    )
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    spelt = numbers.cast(pa.string())
    if vectors.dtype.kind == "f" and not np.isfinite(vectors).all():
        spelt = pc.if_else(pc.is_finite(numbers), spelt, "null")  # JSON has neither NaN nor infinities
    lists = pc.binary_join(pa.ListArray.from_arrays(offsets, spelt), ", ")
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return "".join(
        f'{{"text": {encode(text)}, "vector": [{vector}]}}\n'
        for text, vector in zip(texts.to_pylist(), lists.to_pylist(), strict=True)
    ).encode()
