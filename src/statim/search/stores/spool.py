"""Documents and vectors that wait on the disk until all are counted, and are then read once, in order."""

import contextlib
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.search.lexical.analyzer import SAMPLE
from statim.search.stores import documents
from statim.search.stores.protocol import Block


@contextlib.contextmanager
def spooling(folder: Path) -> Iterator["Spool"]:
    """A spool in unnamed files on the disk of a folder."""
    with tempfile.TemporaryFile(dir=folder) as tables, tempfile.TemporaryFile(dir=folder) as vectors:
        yield Spool(tables, vectors)


class Spool:
    """Documents and vectors in two files; make one with ``spooling``.

    Attributes:
        count: How many there are.
        schema: Their columns.
        first_texts: Those that tell their language.
    """

    def __init__(self, tables: IO[bytes], vectors: IO[bytes]) -> None:
        self._tables, self._vectors = tables, vectors
        self._writer: Any = None
        self._reader: Any = None
        self._left: pa.Table | None = None
        self._ids: list[pa.ChunkedArray] = []
        self.first_texts: list[str] = []
        self.count = self._width = 0
        self.schema: pa.Schema | None = None

    def add(self, block: Block) -> None:
        """Append documents."""
        table, vectors = block
        if self._writer is None:
            self.schema, self._width = table.schema, vectors.shape[1]
            self._writer = pa.ipc.new_stream(self._tables, table.schema)
        self._writer.write_table(table)
        np.ascontiguousarray(vectors, np.float32).tofile(self._vectors)
        self._ids.append(table.column("id"))
        self.first_texts += islice(table.column("text").to_pylist(), SAMPLE - len(self.first_texts))
        self.count += len(table)

    @property
    def ids(self) -> list[str]:
        """All ids."""
        return [name for part in self._ids for name in part.to_pylist()]

    def check_ids(self) -> None:
        """Refuse ids that repeat.

        Raises:
            DataError: One does; the message names it.
        """
        chunks = [chunk for part in self._ids for chunk in part.chunks]
        if chunks and pc.count_distinct(pa.chunked_array(chunks)).as_py() < self.count:
            documents.check_unique(self.ids)

    def blocks(self, rows: int) -> Iterator[Block]:
        """The next ``rows`` documents."""
        if self._reader is None:
            self._writer.close()
            self._tables.seek(0)
            self._vectors.seek(0)
            self._reader = pa.ipc.open_stream(self._tables)
        while rows:
            table = (
                self._left
                if self._left is not None
                else pa.Table.from_batches([self._reader.read_next_batch()])
            )
            some, self._left = table.slice(0, rows), (table.slice(rows) if len(table) > rows else None)
            rows -= len(some)
            read = np.fromfile(self._vectors, np.float32, len(some) * self._width)
            yield some, read.reshape(len(some), self._width)
