"""Documents on their way into a LanceDB table, the types that it takes, and vectors on their way out."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.errors import DataError
from statim.identity import Identities
from statim.search.engines.matrices import matrix, unit
from statim.search.engines.protocol import Floats, Positions
from statim.search.lexical import incremental_bm25
from statim.search.lexical.analyzer import Analyzer, Wanted, analyzer_of
from statim.search.stores import documents as tables
from statim.search.stores.columns import Columns
from statim.search.stores.protocol import Block, check_width

POSITION, VECTOR = "statim_position", "statim_vector"
BLOCK = 1 << 14  # rows read or written at a time


class Rows:
    """A stream of documents as rows of the table; writes their words, and refuses repeated ids."""

    def __init__(
        self,
        blocks: Iterable[Block],
        columns: Columns,
        dim: int,
        folder: Path,
        start: int,
        place: str,
        analyzer: Analyzer | Wanted,
        there: Identities | None = None,
        generation: str | None = None,
    ) -> None:
        fields = [pa.field(POSITION, pa.int64()), pa.field(VECTOR, pa.list_(pa.float32(), dim))]
        self.schema = pa.schema([*columns.stored, *fields])
        self.count = 0
        self._blocks, self._columns, self._dim, self._folder = blocks, columns, dim, folder
        self._start, self._place, self._seen = start, place, there or Identities()
        self._before, self._generation = len(self._seen), generation
        self._analyzer = analyzer
        self._failed: BaseException | None = None

    @property
    def analyzer(self) -> Analyzer:
        """What cuts texts into words, once the first are written."""
        return analyzer_of(self._analyzer, ())

    def reader(self) -> pa.RecordBatchReader:
        """All rows, as a stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a block of documents at a time."""
        try:
            yield from self._made()
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failed = error
            raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what went wrong on the way, which passes through LanceDB as an error of its own."""
        try:
            yield
        except BaseException:
            if self._failed is not None:
                raise self._failed from None
            raise

    def _made(self) -> Iterator[pa.RecordBatch]:
        texts: list[str] = []
        start = self._start
        for table, vectors in self._blocks:
            table = tables.aligned(table, self._columns.schema)
            check_width(vectors, self._dim, self._place)
            self._check(table.column("id"))
            given, _ = unit(matrix(vectors, "the vectors"))
            positions = self._start + self.count + np.arange(len(table))
            column = pa.FixedSizeListArray.from_arrays(pa.array(given.reshape(-1)), self._dim)
            kept = self._columns.to_store(table)
            whole = kept.append_column(POSITION, pa.array(positions)).append_column(VECTOR, column)
            texts += table.column("text").to_pylist()
            self.count += len(table)
            if len(texts) + BLOCK > incremental_bm25.SMALL:
                start, texts = self._write(start, texts), []
            yield from whole.cast(self.schema).combine_chunks().to_batches()
        if texts:
            self._write(start, texts)

    def _write(self, start: int, texts: list[str]) -> int:
        self._analyzer = analyzer_of(self._analyzer, texts)
        return incremental_bm25.write(self._folder, start, texts, self._analyzer, self._generation)

    def _check(self, ids: pa.ChunkedArray) -> None:
        numbers, firsts = self._seen(keys(ids))
        if len(firsts) < len(ids):
            place = int(np.setdiff1d(np.arange(len(ids)), firsts)[0])
            name = str(ids[place])[:80]
            if numbers[place] < self._before:
                raise DataError(
                    f"the id {name!r} is in the index already; leave it out, or let it be replaced "
                    "(statim index update)"
                )
            raise DataError(
                f"the id {name!r} stands twice, at row {self.count + place} again; ids must differ"
            )


def keys(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Ids as ``Identities`` takes them, (n, 2)."""
    from statim.kernels.text.identity import fingerprints

    flat = pa.array(ids.to_pylist(), pa.large_string())
    _, offsets, data = flat.buffers()
    values = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    found: npt.NDArray[np.uint64] = fingerprints(values, np.frombuffer(offsets, np.int64)[: len(flat) + 1])
    return found


def takes(kind: pa.DataType) -> bool:
    """Does LanceDB keep this type as it is?"""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return takes(kind.value_type)
    if types.is_struct(kind):
        return all(takes(field.type) for field in kind)
    tests = (
        types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string,
        types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_decimal128,
        types.is_decimal256,
        types.is_date, types.is_timestamp, types.is_time, types.is_duration,
    )  # fmt: skip
    return any(test(kind) for test in tests)


def unpacked(found: pa.Table) -> tuple[Positions, Floats]:
    """The positions and vectors of rows, (n,) and (n, d)."""
    return found.column(POSITION).to_numpy().astype(np.int64), vectors_of(found.column(VECTOR))


def vectors_of(column: pa.ChunkedArray) -> Floats:
    """A column of vectors, (n, d)."""
    width = column.type.list_size
    parts = [np.asarray(chunk.flatten(), np.float32).reshape(-1, width) for chunk in column.chunks]
    return np.concatenate([np.zeros((0, width), np.float32), *parts])
