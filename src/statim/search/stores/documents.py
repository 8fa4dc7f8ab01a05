"""The documents of an index: ids, texts and metadata in one memory-mapped Arrow file."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.errors import DataError, InputError, ModelError
from statim.files import atomic_file
from statim.texts import Texts, is_table
from statim.texts import ids as read_ids

GENERATION = b"statim.generation"  # in the metadata of the file
ROWS = 4096  # rows of a record batch: position p is in batch p // ROWS


def table(
    documents: Any,
    ids: Any = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    *,
    numbers: bool = True,
) -> pa.Table:
    """One table of documents: columns ``id`` and ``text``, both strings without nulls, then the metadata's.

    Args:
        documents: A table or data frame (``ids`` and ``metadata`` are None then), or texts. A table that has
            not both columns ``id`` and ``text`` is read as a file is, see
            ``statim.data.documents.texts.read_documents``.
        ids: One a text, all different, str or numbers; by default the text's position.
        metadata: One mapping a text; the keys become columns.
        numbers: Number documents that have no ids; else they are refused.

    Raises:
        DataError: There are no documents, it cannot be told which column is which, an id or text is missing,
            or an id stands twice.
        InputError: Lengths differ, or a value is of the wrong type.
    """
    if not _is_table(documents):
        if ids is None and not numbers:
            raise InputError("ids is None; give each of the texts an id, since the index has some already")
        documents = _from_texts(documents, ids, metadata)
    elif ids is not None or metadata is not None:
        raise InputError("the documents are a table; give ids and metadata as columns of it")
    documents = typed(_from_table(documents, numbers))
    column = documents.column("id")
    if pc.count_distinct(column).as_py() < len(column):
        check_unique(column.to_pylist())
    return documents


def _is_table(documents: Any) -> bool:
    rows = isinstance(documents, (list, tuple)) and len(documents) > 0 and isinstance(documents[0], Mapping)
    return rows or is_table(documents)


def _from_table(given: Any, numbers: bool) -> pa.Table:
    """A table of any library with the columns ``id`` and ``text``, and others."""
    if isinstance(given, pa.Table) and {"id", "text"} <= set(given.column_names):
        return given
    from statim.data.documents.texts import read_documents
    from statim.data.files import columns
    from statim.data.files.tables import read_table

    found = read_table(given)
    if {"id", "text"} <= set(found.column_names):
        return found
    if not numbers and columns.usual(found.column_names, columns.IDS) is None:
        raise DataError(
            f"the documents have no column of ids (they have {columns.listed(found.column_names)}); "
            "give one called id"
        )
    return read_documents(found)


def stream(
    documents: Any,
    ids: Any,
    metadata: Sequence[Mapping[str, Any]] | None,
    rows: int,
    large: int,
    *,
    numbers: bool = True,
) -> tuple[bool, pa.Schema, Iterator[pa.Table]]:
    """Documents as tables of a bounded size.

    Args:
        documents: As for ``table``, or a stream of record batches.
        ids: As for ``table``.
        metadata: As for ``table``.
        rows: The most rows of one of the tables.
        large: How many documents are many.
        numbers: As for ``table``.

    Returns:
        Whether there are more than ``large``, the columns, and the tables. The ids of a stream of more are
        not compared here.

    Raises:
        DataError: As for ``table``; for a stream of many, as it is read.
        InputError: As for ``table``.
    """
    if not isinstance(documents, pa.RecordBatchReader):
        whole = table(documents, ids, metadata, numbers=numbers)
        return len(whole) > large, whole.schema, _sliced(whole, rows)
    if ids is not None or metadata is not None:
        raise InputError("the documents are a stream of tables; give ids and metadata as columns of it")
    batches = iter(documents)
    first: list[pa.RecordBatch] = []
    while sum(map(len, first)) <= large and (batch := next(batches, None)) is not None:
        first.append(batch)
    head = pa.Table.from_batches(first, documents.schema)
    if len(head) <= large:
        head = table(head)
        return False, head.schema, _sliced(head, rows)
    head = typed(head)

    def later() -> Iterator[pa.Table]:
        start = len(head)
        for batch in batches:
            if len(batch):
                yield typed(pa.Table.from_batches([batch]), start)
            start += len(batch)

    pieces = itertools.chain([head], later())
    return True, head.schema, (part for piece in pieces for part in _sliced(piece, rows))


def _sliced(documents: pa.Table, rows: int) -> Iterator[pa.Table]:
    for start in range(0, len(documents), rows):
        yield documents.slice(start, rows)


def typed(documents: pa.Table, start: int = 0) -> pa.Table:
    """A table of documents, one block of many perhaps, with its columns in order; ids are not compared.

    Args:
        documents: The table.
        start: How many documents came before it.

    Raises:
        DataError: There are no documents, a column is missing, or an id or text is missing.
    """
    if not {"id", "text"} <= set(documents.column_names):
        raise DataError(
            f"the documents have the columns {', '.join(documents.column_names)}; 'id' and 'text' are needed"
        )
    if len(set(documents.column_names)) < len(documents.column_names):
        raise DataError(f"two columns of the documents have one name: {', '.join(documents.column_names)}")
    if len(documents) == 0:
        raise DataError("there are no documents to index; give at least one")
    from statim.data.files import columns

    for place, name in enumerate(("id", "text")):
        column: Any = documents.column(name)
        if pa.types.is_nested(column.type):
            raise DataError(f"the column {name!r} holds {column.type}, not text")
        if not columns.is_text(column.type):
            column = columns.as_texts(columns.flat(column))
        column = column.cast(pa.large_string() if name == "text" else pa.string())
        if column.null_count:
            first = start + pc.index(column.is_null(), True).as_py()
            raise DataError(
                f"the column {name!r} lacks {column.null_count:,} of {len(column):,} values, the first "
                f"at row {first}; fill or drop them"
            )
        documents = documents.drop_columns([name]).add_column(place, name, column)
    return _plain(documents)


def _plain(documents: pa.Table) -> pa.Table:
    """Cast to types that every store has and later documents fit: no dictionaries, no narrow numbers.

    A column without any value may get texts later, and so may a list.
    """
    from statim.data.files import unify

    for place, field in enumerate(documents.schema):
        plain = _plain_type(field.type)
        if pa.types.is_integer(plain):
            plain = pa.int64()
        elif pa.types.is_floating(plain):
            plain = pa.float64()
        if not plain.equals(field.type):
            try:
                documents = documents.set_column(
                    place, field.name, unify.cast(documents.column(place), plain)
                )
            except unify.InexactError as error:
                raise _mistyped(documents, field.name, error, "give the whole column as text") from None
    return documents


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        value = _plain_type(kind.value_type)
        same = value.equals(kind.value_type)
        return kind if same else pa.large_list(value) if pa.types.is_large_list(kind) else pa.list_(value)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in kind])
    return kind


def _from_texts(texts: Any, ids: Any, metadata: Sequence[Mapping[str, Any]] | None) -> pa.Table:
    if isinstance(texts, str):
        raise InputError("documents is of type str; give a list of texts or a table")
    given = Texts.of(texts, "documents").checked()
    names = [str(index) for index in range(len(given))] if ids is None else read_ids(ids)
    rows = None if metadata is None else list(metadata)
    for name, values in (("ids", names), ("metadata", rows)):
        if values is not None and len(values) != len(given):
            raise InputError(f"{name} has {len(values):,} values for {len(given):,} texts; give one each")
    from statim.data.files.rows import table as table_of

    try:
        columns = pa.table({"id": pa.array(names, pa.string()), "text": pa.array(given, pa.large_string())})
        extra = table_of([dict(row) for row in rows or ()], "the metadata")
    except (pa.ArrowException, TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        if isinstance(error, DataError):
            raise
        raise InputError(f"ids, texts or metadata cannot be stored: {str(error)[:200]}") from None
    for name in extra.column_names:
        if name in ("id", "text"):
            raise InputError(
                f"the metadata has the key {name!r}, which the documents have already; rename it"
            )
        columns = columns.append_column(name, extra.column(name))
    return columns


def check_unique(ids: Iterable[str]) -> None:
    """Refuse ids that stand twice.

    Raises:
        DataError: One does; the message names it.
    """
    seen: set[str] = set()
    for position, name in enumerate(ids):
        if name in seen:
            raise DataError(f"the id {name[:80]!r} stands twice, at row {position} again; ids must differ")
        seen.add(name)


def aligned(documents: pa.Table, schema: pa.Schema) -> pa.Table:
    """Documents with an index's columns: a missing one is null, one of another type is cast.

    Raises:
        DataError: They have a column or a nested field that the index does not have, or a value that would
            change.
    """
    from statim.data.files import unify  # here: opening an index reads no data

    try:
        return unify.fitted(documents, schema)
    except unify.MisfitError as error:
        if error.cause is None:
            raise DataError(
                f"the documents have the column {error.column!r}, which the index does not have "
                f"(it has {', '.join(schema.names)}); drop it, or build the index again"
            ) from None
        kind = schema.field(error.column).type
        raise _mistyped(
            documents, error.column, error.cause,
            f"in the index it is {kind}, so give values of that type, or build the index again",
        ) from None  # fmt: skip


def _mistyped(documents: pa.Table, name: str, cause: Any, advice: str) -> DataError:
    document = str(documents.column("id")[cause.place])[:80]
    return DataError(f"the document {document!r}: the column {name!r} {cause}; {advice}")


def fingerprint(tables: Iterable[pa.Table], model_hash: str) -> str:
    """A hash of ids, texts and model, which tells these documents' positions from others'."""
    contents, lengths = hashlib.blake2b(model_hash.encode(), digest_size=8), hashlib.blake2b(digest_size=8)
    for table in tables:
        for column, kind in (("id", np.int32), ("text", np.int64)):
            for chunk in table.column(column).chunks:
                _, offsets, data = chunk.buffers()
                ends = np.frombuffer(offsets, kind)[chunk.offset : chunk.offset + len(chunk) + 1]
                lengths.update(np.diff(ends).astype(np.int64).data)
                if data is not None and len(ends):
                    contents.update(data[int(ends[0]) : int(ends[-1])])
    contents.update(lengths.digest())
    return contents.hexdigest()


def write(path: Path, tables: Iterable[pa.Table], generation: str | None = None) -> None:
    """Write tables of one schema after each other, atomically, in record batches of ROWS rows.

    Args:
        path: The file.
        tables: The documents.
        generation: What tells the index's positions from those of any other index.

    Raises:
        StorageError: The disk is full, read-only, or not permitted.
    """
    with atomic_file(path) as file:
        writer: Any = None
        left: list[pa.Table] = []
        for table in tables:
            if writer is None:
                about = dict(table.schema.metadata or {})
                about |= {} if generation is None else {GENERATION: generation.encode()}
                writer = pa.ipc.new_file(file, table.schema.with_metadata(about or None))
            left.append(table)
            if sum(map(len, left)) >= ROWS:
                left = [_batches(writer, pa.concat_tables(left), whole=True)]
        if left:
            _batches(writer, pa.concat_tables(left), whole=False)
        if writer is not None:
            writer.close()


def _batches(writer: Any, table: pa.Table, *, whole: bool) -> pa.Table:
    """Write batches of ROWS rows; with ``whole`` the rest of the rows is given back."""
    end = len(table) // ROWS * ROWS if whole else len(table)
    for start in range(0, end, ROWS):
        some = table.slice(start, min(ROWS, end - start))
        writer.write_batch(some.combine_chunks().to_batches()[0])
    return table.slice(end)


class Documents:
    """The documents of an index, read where they lie.

    Args:
        path: What ``write`` wrote.

    Attributes:
        schema: The columns.
        generation: What ``write`` was given; None in a file of an earlier statim.

    Raises:
        ModelError: The file is missing, damaged, or does not hold documents.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with pa.memory_map(os.fsencode(path)) as source:
                reader = pa.ipc.open_file(source)
                about = dict(reader.schema.metadata or {})
                names = reader.schema.names
                self._batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        except FileNotFoundError:
            raise ModelError(f"{path} is missing; the folder is not a whole index") from None
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{path} is not a whole Arrow file ({str(error)[:100]}); build the index again"
            ) from None
        sizes = [batch.num_rows for batch in self._batches]
        if names[:2] != ["id", "text"] or set(sizes[:-1]) - {ROWS} or (sizes and not 0 < sizes[-1] <= ROWS):
            raise ModelError(f"{path} does not hold the documents of an index; build the index again")
        found = about.pop(GENERATION, None)
        self.generation = None if found is None else found.decode("utf-8", "replace")
        self.schema: pa.Schema = reader.schema.with_metadata(about or None)

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self._batches)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All documents, ROWS at a time.

        Args:
            columns: The columns to give; all by default.

        Raises:
            ModelError: The file is damaged.
        """
        try:
            for batch in self._batches:
                some = batch if columns is None else batch.select(list(columns))
                some.validate(full=True)
                yield pa.Table.from_batches([some])
        except (pa.ArrowException, OSError, ValueError, IndexError, OverflowError) as error:
            raise ModelError(f"{self._path} is damaged ({str(error)[:100]})") from None

    def row(self, position: int) -> dict[str, Any]:
        """The id, text and metadata of one document.

        Raises:
            ModelError: The row is damaged.
        """
        try:
            row = self._batches[position // ROWS].slice(position % ROWS, 1)
            row.validate(full=True)  # offsets and UTF-8, before they are trusted
            return dict(row.to_pylist()[0])
        except (pa.ArrowException, OSError, ValueError, IndexError, OverflowError) as error:
            raise ModelError(f"{self._path} is damaged at row {position} ({str(error)[:100]})") from None
