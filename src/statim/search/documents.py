"""The documents of an index: their ids, texts and metadata in one Arrow file, memory-mapped, so a search reads its hits."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.errors import DataError, InputError, ModelError
from statim.files import atomic_file

ROWS = 4096  # rows of a record batch: position p is in batch p // ROWS


def table(
    documents: pa.Table | Iterable[str],
    ids: Iterable[str] | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> pa.Table:
    """One table of documents: columns ``id`` and ``text``, both strings without nulls, then the metadata's.

    Args:
        documents: Such a table already (``ids`` and ``metadata`` are None then), or texts.
        ids: One a text, all different; by default the text's position.
        metadata: One mapping a text; the keys become columns.

    Raises:
        DataError: There are no documents, a column is missing, an id or text is missing, or an id stands twice.
        InputError: Lengths differ, or a value is of the wrong type.
    """
    if not isinstance(documents, pa.Table):
        documents = _from_texts(documents, ids, metadata)
    elif ids is not None or metadata is not None:
        raise InputError("the documents are a table; give ids and metadata as columns of it")
    if not {"id", "text"} <= set(documents.column_names):
        raise DataError(
            f"the documents have the columns {', '.join(documents.column_names)}; 'id' and 'text' are needed"
        )
    if len(set(documents.column_names)) < len(documents.column_names):
        raise DataError(f"two columns of the documents have one name: {', '.join(documents.column_names)}")
    if len(documents) == 0:
        raise DataError("there are no documents to index; give at least one")
    for place, name in enumerate(("id", "text")):
        try:
            column = documents.column(name).cast(pa.large_string() if name == "text" else pa.string())
        except pa.ArrowException:
            raise DataError(f"the column {name!r} holds {documents.column(name).type}, not text") from None
        if column.null_count:
            raise DataError(
                f"the column {name!r} lacks {column.null_count:,} of {len(column):,} values; fill or drop them"
            )
        documents = documents.drop_columns([name]).add_column(place, name, column)
    _check_unique(documents.column("id"))
    return documents


def _from_texts(
    texts: Iterable[str], ids: Iterable[str] | None, metadata: Sequence[Mapping[str, Any]] | None
) -> pa.Table:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InputError(
            f"documents is of type {type(texts).__name__}; give a list of texts or an Arrow table"
        )
    given = list(texts)
    for index, text in enumerate(given):
        if not isinstance(text, str):
            raise InputError(
                f"text {index} is of type {type(text).__name__}, not str; give every text as a str"
            )
    names = [str(index) for index in range(len(given))] if ids is None else list(ids)
    for name, values in (("ids", names), ("metadata", metadata)):
        if values is not None and len(values) != len(given):
            raise InputError(f"{name} has {len(values):,} values for {len(given):,} texts; give one each")
    try:
        columns = pa.table({"id": pa.array(names, pa.string()), "text": pa.array(given, pa.large_string())})
        extra = pa.Table.from_pylist([dict(row) for row in metadata or ()])
    except (pa.ArrowException, TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InputError(f"ids, texts or metadata cannot be stored: {str(error)[:200]}") from None
    for name in extra.column_names:
        if name in ("id", "text"):
            raise InputError(
                f"the metadata has the key {name!r}, which the documents have already; rename it"
            )
        columns = columns.append_column(name, extra.column(name))
    return columns


def _check_unique(ids: pa.ChunkedArray) -> None:
    import pyarrow.compute as pc

    if pc.count_distinct(ids).as_py() == len(ids):
        return
    seen: set[str] = set()
    for position, name in enumerate(ids.to_pylist()):
        if name in seen:
            raise DataError(f"the id {name[:80]!r} stands twice, at row {position} again; ids must differ")
        seen.add(name)


def write(path: Path, documents: pa.Table) -> None:
    """Write a table, atomically, in record batches of ROWS rows.

    Raises:
        StorageError: The disk is full, read-only, or not permitted.
    """
    with atomic_file(path) as file, pa.ipc.new_file(file, documents.schema) as writer:
        for start in range(0, len(documents), ROWS):
            writer.write_batch(documents.slice(start, ROWS).combine_chunks().to_batches()[0])


class Documents:
    """The documents of an index, read where they lie.

    Args:
        path: What ``write`` wrote.

    Raises:
        ModelError: The file is missing, damaged, or does not hold documents.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                self.schema: pa.Schema = reader.schema
                names = self.schema.names
                self._batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        except FileNotFoundError:
            raise ModelError(f"{path} is missing; the folder is not a whole index") from None
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{path} is not a whole Arrow file ({str(error)[:100]}); build the index anew"
            ) from None
        sizes = [batch.num_rows for batch in self._batches]
        if names[:2] != ["id", "text"] or set(sizes[:-1]) - {ROWS} or (sizes and not 0 < sizes[-1] <= ROWS):
            raise ModelError(f"{path} does not hold the documents of an index; build the index anew")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self._batches)

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
