"""Texts to encode, as a stream; and documents to search, as a table."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from statim.data import columns, json_lines, raw, rows, tables
from statim.data.retrieval import unique_ids, with_title
from statim.errors import DataError

STDIN = "-"
MIXED = "some of the sources have ids and some have none; name the column of ids in all, or give them apart"
TEXT_BYTES = 2 << 20  # of a block, as Arrow holds it: 10,000 texts of 200 characters


def read_texts(sources: Any, column: str | None = None) -> Iterator[pa.LargeStringArray]:
    """Read texts, a bounded number at a time.

    Args:
        sources: A path, ``"-"`` (standard input), a table, or a list of those. Standard input and .txt files have a text on
            each line; other files as in ``tables.tables``.
        column: The column of texts; guessed from the usual names by default, or the only column of text.

    Yields:
        Arrays of texts in order. Every row gives one, also an empty line.

    Raises:
        DataError: A source is missing, malformed or without rows, the column is not there or not text, or a row has no text in
            it; the message names the line or row.
    """
    for source in tables.sources(sources):
        where = tables.label(source)
        empty = True
        for array in _arrays(source, column, where):
            empty = False
            yield array
        if empty:
            raise DataError(f"{where} has no rows")


def _arrays(source: Any, column: str | None, where: str) -> Iterator[pa.LargeStringArray]:
    if isinstance(source, str) and source == STDIN:
        yield from _lines(_standard_input(), "standard input")
    elif _is_plain(source):
        with raw.opened(Path(source), raw.identify(Path(source)).compression) as file:
            yield from _lines(file, where)
    else:
        name, row = None, 1
        for table in _tables(source, column, where):
            if len(table):
                name = name or _text_column(table, column, where)
                array = columns.texts(table, columns.named(table.column_names, name, where), where)
                if array.null_count:
                    row += pc.index(array.is_null(), True).as_py()
                    raise DataError(
                        f"{where}, row {row}: {name!r} is missing; give every row a text, perhaps an empty one"
                    )
                yield array
                row += len(array)


def _tables(source: Any, column: str | None, where: str) -> Iterable[pa.Table]:
    if not isinstance(source, (str, Path)):
        return [tables.read_table(source)]
    path = Path(source)
    if not path.is_dir() and (kind := raw.identify(path)).format == "json":
        return json_lines.texts(path, kind.compression, lambda table: _text_column(table, column, where))
    return tables.tables(path)


def _standard_input() -> Any:
    """The standard input with a buffer of its own: a thread that waits for it holds no lock that Python needs in order to end."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError):  # there is none, or it is not a file (as in tests)
        return sys.stdin.buffer


def in_blocks(
    arrays: Iterable[pa.LargeStringArray], rows: int, skip: int = 0
) -> Iterator[pa.LargeStringArray]:
    """Cut texts into blocks of ``rows`` texts, fewer where they are long (TEXT_BYTES); the same texts always into the same.

    Args:
        arrays: As ``read_texts`` yields them.
        rows: Texts per block.
        skip: Leave out the first so many; a block ended there.

    Raises:
        DataError: No block ends there.
    """
    start = end = 0
    for block in _cut(arrays, rows):
        start, end = end, end + len(block)
        if start < skip < end:
            break
        if start >= skip:
            yield block
    if end < skip or start < skip < end:
        raise DataError(f"the sources have changed: no block ends after {skip:,} texts any more; start anew")


def _cut(arrays: Iterable[pa.LargeStringArray], rows: int) -> Iterator[pa.LargeStringArray]:
    waiting: list[pa.LargeStringArray] = []
    count = size = 0
    for array in arrays:
        few = max(1, len(array) * TEXT_BYTES // max(1, array.nbytes))  # about TEXT_BYTES of this array
        start = 0
        while start < len(array):
            part = array.slice(start, min(few, rows - count))
            waiting.append(part)
            start, count, size = start + len(part), count + len(part), size + part.nbytes
            if count == rows or size >= TEXT_BYTES:
                yield pa.concat_arrays(waiting)
                waiting, count, size = [], 0, 0
    if waiting:
        yield pa.concat_arrays(waiting)


def _is_plain(source: Any) -> bool:
    """Is this the path of a file with a text on each line?"""
    return (
        isinstance(source, (str, Path))
        and not Path(source).is_dir()
        and raw.identify(Path(source)).format == "text"
    )


def _lines(file: Any, where: str) -> Iterator[pa.LargeStringArray]:
    for _, text in raw.blocks(file, where):
        lines = text.removesuffix("\n").split("\n")
        yield pa.array([line.removesuffix("\r") for line in lines], pa.large_string())


def _text_column(table: pa.Table, column: str | None, where: str) -> str:
    names = [field.name for field in table.schema if columns.is_text(field.type)]
    if column is None and columns.usual(table.column_names, columns.TEXT) is None and len(names) == 1:
        return columns.named(table.column_names, names[0], where)
    return columns.pick(table.column_names, "text", column, columns.TEXT, where)


def read_documents(
    source: Any,
    *,
    id: str | None = None,  # noqa: A002
    text: str | None = None,
    title: str | None = None,
) -> pa.Table:
    """Read documents with their metadata.

    Args:
        source: A path, ``"-"``, a table, or a list of those, as for ``read_texts``.
        id: The column of ids; guessed from the usual names (_id, id …), else the row numbers from 0.
        text: The column of texts; guessed as in ``read_texts``.
        title: A column to put before the text; by default one called title, if it is not the text itself.

    Returns:
        A table of n documents: ``id`` (different texts), ``text`` (texts, "" where missing), then every other column as it
        is (one whose name is taken gets an underscore).

    Raises:
        DataError: As for ``read_texts``; or an id is missing or occurs twice, or no document has any text.
    """
    found = [_documents(item, id, text, title) for item in tables.sources(source)]
    return _whole(found, tables.label(source) if len(found) == 1 else "the sources together")


def _whole(found: list[pa.Table], where: str) -> pa.Table:
    table = rows.concatenate(found)
    numbered = {"id" in part.column_names for part in found}
    if len(numbered) > 1:
        raise DataError(MIXED)
    if numbered == {False}:
        table = table.add_column(
            0, "id", pa.array(map(str, range(len(table))), pa.large_string(), size=len(table))
        )
    ids = unique_ids(table, "id", where)
    texts = columns.texts(table, "text", where)
    if not any(value.strip() for value in texts.to_pylist()):
        raise DataError(f"{where} has no text in any row")
    others = [name for name in table.column_names if name not in ("id", "text")]
    return pa.table([ids, texts, *(table.column(name) for name in others)], names=["id", "text", *others])


def stream_documents(
    source: Any,
    *,
    many: int,
    id: str | None = None,  # noqa: A002
    text: str | None = None,
    title: str | None = None,
    numbers: bool = True,
) -> pa.Table | pa.RecordBatchReader:
    """As ``read_documents``; more than ``many`` documents come as a stream, in bounded memory.

    The columns of a stream, and their types, are those of the first ``many`` documents. Its ids are not compared. Without
    ``numbers``, documents that have no ids are refused.

    Raises:
        DataError: As for ``read_documents``; also, on the way, where a later row has a column or a value that does not fit.
    """
    parts = _parts(source, id, text, title)
    given = tables.sources(source)
    where = tables.label(given[0]) if len(given) == 1 else "the sources together"
    found: list[pa.Table] = []
    while sum(map(len, found)) <= many and (part := next(parts, None)) is not None:
        found.append(part)
    if numbers is False and not all("id" in part.column_names for part in found):
        raise DataError(
            f"{where} has no column of ids; name it with --id, since documents are told apart by their ids"
        )
    if sum(map(len, found)) <= many:
        return _whole(found, where)
    head = rows.concatenate(found)
    numbered = "id" not in head.column_names
    schema = head.schema if not numbered else head.schema.insert(0, pa.field("id", pa.large_string()))

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for table in itertools.chain([head], parts):
            if ("id" not in table.column_names) != numbered:
                raise DataError(MIXED)
            if numbered:
                names = map(str, range(start, start + len(table)))
                table = table.add_column(0, "id", pa.array(names, pa.large_string(), size=len(table)))
            yield from _fitting(table, schema, start).to_batches(tables.ROWS)
            start += len(table)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _parts(source: Any, id: str | None, text: str | None, title: str | None) -> Iterator[pa.Table]:  # noqa: A002
    """The documents of all sources, a bounded number at a time, as ``_documents`` names their columns."""
    for item in tables.sources(source):
        where, roles, empty = tables.label(item), None, True
        if (isinstance(item, str) and item == STDIN) or _is_plain(item):
            yield from (pa.table({"text": array}) for array in read_texts(item))
            continue
        for table in tables.tables(item) if isinstance(item, (str, Path)) else [tables.read_table(item)]:
            if len(table) == 0:
                continue
            roles = roles or _roles(table, id, text, title, where)
            empty = False
            yield _as_documents(table, roles, where)
        if empty:
            raise DataError(f"{where} has no rows")


def _fitting(table: pa.Table, schema: pa.Schema, start: int) -> pa.Table:
    return columns.fitted(
        table, schema,
        f"the column {{name}} first occurs after {start:,} documents; put a row that has it among the first, or drop it",
        f"the column {{name}} holds {{found}} after {start:,} documents, before {{wanted}}; give all of its values one type",
    )  # fmt: skip


def _documents(source: Any, id: str | None, text: str | None, title: str | None) -> pa.Table:  # noqa: A002
    where = tables.label(source)
    if (isinstance(source, str) and source == STDIN) or _is_plain(source):
        return pa.table({"text": pa.chunked_array(list(read_texts(source)))})
    table = tables.read_table(source)
    return _as_documents(table, _roles(table, id, text, title, where), where)


def _roles(
    table: pa.Table, id: str | None, text: str | None, title: str | None, where: str  # noqa: A002
) -> tuple[str | None, str, str | None]:  # fmt: skip
    """The columns of ids, texts and titles."""
    names = table.column_names
    text = _text_column(table, text, where)
    id = columns.named(names, id, where) if id is not None else columns.usual(names, columns.IDS)  # noqa: A001
    title = columns.named(names, title, where) if title is not None else columns.usual(names, ["title"])
    return id, text, title


def _as_documents(table: pa.Table, roles: tuple[str | None, str, str | None], where: str) -> pa.Table:
    id, text, title = roles  # noqa: A001
    names = table.column_names
    texts = columns.texts(table, text, where).fill_null("")
    if title is not None and title != text and title in names:
        texts = with_title(columns.texts(table, title, where), texts)
    kept = (
        {"text": texts}
        if id is None
        else {"id": columns.texts(table, id, where, any_type=True), "text": texts}
    )
    for name in names:
        if name not in (id, text):
            kept[_free(name, kept.keys() | {"id", "text"})] = table.column(columns.named(names, name, where))
    return pa.table(kept)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
