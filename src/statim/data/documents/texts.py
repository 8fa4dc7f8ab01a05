"""Texts to encode, as a stream; and documents to search, as a table."""

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from statim.data.documents import files
from statim.data.files import columns, file_types, json_lines, tables, unify
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.data.files.text_file import tell
from statim.data.labelled.retrieval import unique_ids, with_title
from statim.data.text_column import buffers
from statim.errors import DataError
from statim.strict_json import dumps

Roles = tuple[
    str | None, columns.Names, str | None
]  # the columns of ids, texts and titles that a caller named

STDIN = "-"
MIXED = "some of the sources have ids and some have none; name the column of ids in all, or give them apart"
TEXT_BYTES = 2 << 20  # of a block, as Arrow holds it: 10,000 texts of 200 characters


def read_texts(
    sources: Any, column: columns.Names = None, bad: BadRows = REFUSED
) -> Iterator[pa.LargeStringArray]:
    """Read texts, a bounded number at a time.

    Args:
        sources: A path, ``"-"`` (standard input), a table, or a list of those. Standard input and .txt files
            have a text on each line; other files as in ``tables.tables``.
        column: The column of texts; guessed from the usual names by default, or the only column of text.
            Several, as a sequence or with commas between (``subject,body``), are joined with a line end
            between them, empty ones left out.
        bad: Told of rows that cannot be read, or have no text; by default the first is refused.

    Yields:
        Arrays of texts in order. Every good row gives one, also an empty line.

    Raises:
        DataError: A source is missing, malformed or without good rows, the column is not there or not text,
            or ``bad`` refuses a row; the message names the line or row.

    Examples:
        >>> [len(block) for block in read_texts("texts.txt")]
        [182]
    """
    for table in _rows(sources, column, bad, whole=False):
        yield from table.column("text").chunks


def read_rows(sources: Any, column: columns.Names = None, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """As ``read_texts``, the same rows, with all their other columns.

    Args:
        sources: As for ``read_texts``.
        column: As for ``read_texts``.
        bad: As for ``read_texts``.

    Yields:
        Tables with the column ``text`` and behind it the others; one whose name is taken gets an underscore.
        The only column of texts is ``text`` alone, several that are joined stay too. The columns of later
        tables can differ.

    Raises:
        DataError: As for ``read_texts``.
    """
    return _rows(sources, column, bad, whole=True)


def _rows(sources: Any, column: columns.Names, bad: BadRows, *, whole: bool) -> Iterator[pa.Table]:
    for source in tables.sources(sources):
        where, told = tables.label(source), bad.told
        empty = True
        for table in _tables(source, column, where, bad, whole=whole):
            if len(table):
                empty = False
                yield table
        if empty:
            raise no_rows(where, bad.told - told)


def no_rows(where: str, bad: int = 0) -> DataError:
    """What to say of a source without rows, or with as many ``bad`` ones alone."""
    return DataError(f"{where} has no rows" + (f" but {bad:,} that cannot be used" if bad else ""))


def _tables(
    source: Any, column: columns.Names, where: str, bad: BadRows, *, whole: bool
) -> Iterator[pa.Table]:
    """The texts of one source as the column ``text``, with ``whole`` all other columns behind it."""
    if isinstance(source, str) and source == STDIN:
        yield from _text_tables(_lines(_standard_input(), "standard input", bad))
    elif _is_plain(source):
        path = source if isinstance(source, Path) else Path(source)
        with file_types.opened(path, file_types.identify(path).compression) as file:
            yield from _text_tables(_lines(file, where, bad))
    else:
        names, missing = None, _Missing(where, bad)
        for table in _with_columns(source, column, where, bad, whole=whole):
            if len(table):
                names = names or _text_columns(table.schema, column, where)
                array = columns.joined_texts(table, names, where)
                reason = f"{columns.spelt(names)} is missing; give every row a text, perhaps an empty one"
                missing.report(table, array, reason)
                found = {"text": array}
                for name in table.column_names if whole else ():
                    if names != [name]:
                        found[columns.free(name, found.keys())] = table.column(
                            columns.named(table.column_names, name, where)
                        )
                made = pa.table(found)
                yield made.filter(array.is_valid()) if array.null_count else made


def _text_tables(arrays: Iterable[pa.LargeStringArray]) -> Iterator[pa.Table]:
    return (pa.table({"text": array}) for array in arrays)


class _Missing:
    """Reports the rows of a source in which a value is missing, by their numbers."""

    def __init__(self, where: str, bad: BadRows) -> None:
        self._where, self._bad, self._row, self._told = where, bad, 1, bad.told

    def report(self, table: pa.Table, values: pa.Array | pa.ChunkedArray, reason: str) -> None:
        """Look at the values of the next rows.

        Raises:
            DataError: One is missing, and bad rows are refused.
        """
        first = self._row + self._bad.told - self._told  # rows that the reader passed over count too
        self._row += len(table)
        if values.null_count:
            self._told += values.null_count
            for place in np.flatnonzero(np.asarray(values.is_null())).tolist():
                row = dumps(table.slice(place, 1).to_pylist()[0]) if self._bad.wants_rows else None
                self._bad(self._where, first + place, reason, row, unit="row")


def _with_columns(
    source: Any, column: columns.Names, where: str, bad: BadRows, *, whole: bool
) -> Iterable[pa.Table]:
    """The rows of a source, with the columns of texts at least."""
    if not isinstance(source, (str, Path)):
        return [tables.read_table(source)]
    if files.is_documents(source):
        return files.tables(source, bad)
    path = source if isinstance(source, Path) else Path(source)
    if not path.is_dir() and (kind := file_types.identify(path)).format == "json":
        return json_lines.texts(
            path, kind.compression, lambda table: _text_columns(table.schema, column, where), bad, whole=whole
        )
    return tables.tables(path, bad)


def _standard_input() -> Any:
    """Standard input with its own buffer: a waiting thread holds no lock that Python needs to exit."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError):  # there is none, or it is not a file (as in tests)
        return sys.stdin.buffer


class TextHash:
    """A hash of texts in their order, however they are cut into arrays."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, texts: pa.LargeStringArray) -> None:
        """Append texts."""
        from statim.kernels.text.identity import fingerprints

        self._hash.update(fingerprints(*buffers(texts)))  # hashed twice: the first is many times as fast

    def hexdigest(self) -> str:
        """The hash, in hexadecimal."""
        return self._hash.hexdigest()


def in_blocks(
    arrays: Iterable[pa.LargeStringArray],
    rows: int,
    skip: int = 0,
    seen: TextHash | None = None,
    known: str | None = None,
) -> Iterator[pa.LargeStringArray]:
    """Cut texts into blocks of ``rows`` texts, fewer if they are long (TEXT_BYTES); always the same blocks.

    Args:
        arrays: As ``read_texts`` yields them.
        rows: Texts per block.
        skip: Skip the first N; if a block ended there, the blocks behind it are the same.
        seen: Takes those that are left out.
        known: The hash that ``seen`` must have then.

    Raises:
        DataError: There are fewer texts, or others.
    """
    return _cut(_behind(arrays, skip, seen, known), rows, pa.concat_arrays)


def tables_in_blocks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """As ``in_blocks``, of tables with the same columns; all columns count for TEXT_BYTES."""
    return _cut(((table, 0) for table in tables), rows, pa.concat_tables)


def _cut(parts: Iterable[tuple[Any, int]], rows: int, join: Callable[[list[Any]], Any]) -> Iterator[Any]:
    """Blocks of arrays or tables, each from the position beside it on."""
    waiting: list[Any] = []
    count = size = 0
    for whole, start in parts:
        few = max(1, len(whole) * TEXT_BYTES // max(1, whole.nbytes))  # about TEXT_BYTES of this one
        while start < len(whole):
            part = whole.slice(start, min(few, rows - count))
            waiting.append(part)
            start, count, size = start + len(part), count + len(part), size + part.nbytes
            if count == rows or size >= TEXT_BYTES:
                yield join(waiting)
                waiting, count, size = [], 0, 0
    if waiting:
        yield join(waiting)


def _behind(
    arrays: Iterable[pa.LargeStringArray], skip: int, seen: TextHash | None, known: str | None
) -> Iterator[tuple[pa.LargeStringArray, int]]:
    """The arrays behind the first ``skip`` texts, each with the position of its first text that is kept."""
    left = skip
    for array in arrays:
        start = min(left, len(array))
        if start:
            left -= start
            if seen is not None:
                seen.update(array.slice(0, start))
                if left == 0 and seen.hexdigest() != known:
                    raise _changed(f"their first {skip:,} texts are not those that are done")
        if start < len(array):
            yield array, start
    if left:
        raise _changed(f"they hold {skip - left:,} texts, and {skip:,} are done")


def _changed(how: str) -> DataError:
    return DataError(
        f"the sources changed since that run began: {how}; restore them, or start again without --resume"
    )


def _is_plain(source: Any) -> bool:
    """Is this the path of a file with a text on each line?"""
    return (
        isinstance(source, (str, Path))
        and not Path(source).is_dir()
        and not files.is_documents(source)
        and file_types.identify(Path(source)).format == "text"
    )


def _lines(file: Any, where: str, bad: BadRows) -> Iterator[pa.LargeStringArray]:
    for block in file_types.blocks(file, where):
        lines = block.good(where, bad).removesuffix("\n").split("\n")
        if block.bad:
            lines = [line for number, line in enumerate(lines, block.line) if number not in block.bad]
        yield pa.array([line.removesuffix("\r") for line in lines], pa.large_string())


def _text_columns(schema: pa.Schema, column: columns.Names, where: str) -> list[str]:
    """The columns of texts: those a caller named, else guessed, which is said."""
    names = [field.name for field in schema if columns.is_text(field.type)]
    if column is None and columns.usual(schema.names, columns.TEXT) is None and len(names) == 1:
        return [columns.named(schema.names, names[0], where)]
    found = columns.pick_several(schema.names, "text", column, columns.TEXT, where)
    others = [name for name in names if name not in found and name.lower() not in columns.IDS]
    if column is None and others:
        tell(where, f"the texts are the column {found[0]!r}, of {columns.listed(schema.names)}")
    return found


def read_documents(
    source: Any,
    *,
    id: str | None = None,  # noqa: A002
    text: columns.Names = None,
    title: str | None = None,
) -> pa.Table:
    """Read documents with their metadata.

    Args:
        source: A path, ``"-"``, a table, or a list of those, as for ``read_texts``.
        id: The column of ids; guessed from the usual names (_id, id …), else the row numbers from 0.
        text: The column of texts, or several; as in ``read_texts``.
        title: A column to put before the text; by default one called title, if it is not the text itself.

    Returns:
        A table of n documents: ``id`` (different texts), ``text`` (texts, "" where missing), then every other
        column as it is (one whose name is taken gets an underscore).

    Raises:
        DataError: As for ``read_texts``; or an id is missing or occurs twice, or no document has any text.

    Examples:
        >>> read_documents("docs.jsonl").column_names
        ['id', 'text']
    """
    found = [_documents(item, id, text, title) for item in tables.sources(source)]
    return _whole(found, tables.label(source) if len(found) == 1 else "the sources together")


def _whole(found: list[pa.Table], where: str) -> pa.Table:
    table = unify.concatenate(found)
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
    text: columns.Names = None,
    title: str | None = None,
    numbers: bool = True,
    settle: bool = False,
    bad: BadRows = REFUSED,
) -> pa.Table | pa.RecordBatchReader:
    """As ``read_documents``; more than ``many`` documents are streamed in bounded memory, ids not compared.

    Args:
        source: As for ``read_documents``.
        many: How many documents are read whole.
        id: The column of ids, as for ``read_documents``.
        text: The column of texts, likewise.
        title: The column of titles, likewise.
        numbers: Number documents that have no ids; else they are refused.
        settle: Read everything before, to find the columns that all documents fit; else those of a stream are
            the columns of the first ``many``.
        bad: Told of rows that cannot be read or lack an id; by default the first is refused.

    Raises:
        MisfitError: On the way, a later document does not fit the first ones; ``settle`` finds what all fit.
        DataError: As for ``read_documents``.
    """
    roles, given = (id, text, title), tables.sources(source)
    where = tables.label(given[0]) if len(given) == 1 else "the sources together"
    parts = [_Part(item, roles, bad) for item in given]
    if settle:
        for part in parts:
            part.settle()
    stream = itertools.chain.from_iterable(part.documents(many) for part in parts)
    found: list[pa.Table] = []
    while sum(map(len, found)) <= many and (table := next(stream, None)) is not None:
        found.append(table)
    if numbers is False and not all("id" in table.column_names for table in found):
        raise DataError(
            f"{where} has no column of ids; name it with --id, since documents are told apart by their ids"
        )
    if sum(map(len, found)) <= many:
        return _whole(found, where)
    if settle:
        every = unify.settled(lambda: (table for part in parts for table in part.documents(many)))
        head = unify.fitted(unify.concatenate(found), every)
    else:
        head = unify.concatenate(found)
    return _batches(head, stream)


def _batches(head: pa.Table, later: Iterator[pa.Table]) -> pa.RecordBatchReader:
    """The first documents and all later ones in the same columns, numbered where they have no ids."""
    numbered = "id" not in head.column_names
    schema = head.schema if not numbered else head.schema.insert(0, pa.field("id", pa.large_string()))

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for table in itertools.chain([head], later):
            if ("id" not in table.column_names) != numbered:
                raise DataError(MIXED)
            if numbered:
                names = map(str, range(start, start + len(table)))
                table = table.add_column(0, "id", pa.array(names, pa.large_string(), size=len(table)))
            yield from unify.fitted(table, schema, start).to_batches(tables.ROWS)
            start += len(table)

    return pa.RecordBatchReader.from_batches(schema, batches())


class _Part:
    """The documents of one source.

    Args:
        source: One source, as for ``read_documents``.
        roles: The columns of ids, texts and titles that a caller named.
        bad: Told of rows that cannot be read or lack an id.
    """

    def __init__(self, source: Any, roles: Roles, bad: BadRows) -> None:
        self._source, self._roles, self._where, self._bad = (
            source,
            _roles(source, roles),
            tables.label(source),
            bad,
        )
        self._schema: pa.Schema | None = None

    def settle(self) -> None:
        """Find the columns of all rows, where a file need not have the same everywhere."""
        if self._is_file() and not _is_lines(self._source):
            self._schema = unify.settled(self._tables)

    def documents(self, many: int) -> Iterator[pa.Table]:
        """The documents, columns named as by ``read_documents``: ``many`` or more at once, then fewer.

        Raises:
            MisfitError: A later row does not fit the first ``many``, or what ``settle`` found.
        """
        if _is_lines(self._source):
            yield from (pa.table({"text": array}) for array in read_texts(self._source, bad=self._bad))
            return
        parts, told = self._tables(), self._bad.told
        head: list[pa.Table] = []
        while sum(map(len, head)) <= many and (table := next(parts, None)) is not None:
            head.append(table)
        first = unify.concatenate(head) if head else pa.table({})
        if len(first) == 0:
            raise no_rows(self._where, self._bad.told - told)
        schema = self._schema or first.schema
        roles = _picked(schema, self._roles, self._where)
        start = 0
        for table in itertools.chain([first], parts):
            if len(table):
                yield _as_documents(unify.fitted(table, schema, start), roles, self._where)
                start += len(table)

    def _is_file(self) -> bool:
        return isinstance(self._source, (str, Path))

    def _tables(self) -> Iterator[pa.Table]:
        """The rows that have an id, where there is a column of ids."""
        missing = _Missing(self._where, self._bad)
        for table in _all_columns(self._source, self._bad):
            name = self._roles[0] or columns.usual(table.column_names, columns.IDS)
            if name is None or table.column_names.count(name) != 1:
                yield table
                continue
            ids = table.column(name)
            missing.report(table, ids, f"the column {name!r} has no id there; every row needs one of its own")
            yield table.filter(ids.is_valid()) if ids.null_count else table


def _is_lines(source: Any) -> bool:
    """Is it the standard input, or a file with a text on each line?"""
    return (isinstance(source, str) and source == STDIN) or _is_plain(source)


def _all_columns(source: Any, bad: BadRows) -> Iterable[pa.Table]:
    """The rows of one source that has columns."""
    if files.is_documents(source):
        return files.tables(source, bad)
    return tables.tables(source, bad) if isinstance(source, (str, Path)) else [tables.read_table(source)]


def _roles(source: Any, given: Roles) -> Roles:
    """The columns that a caller named; documents have their own, with titles in the texts already."""
    own: Roles = ("id", "text", "text") if files.is_documents(source) else (None, None, None)
    return tuple(one if one is not None else other for one, other in zip(given, own, strict=True))  # type: ignore[return-value]


def _documents(source: Any, id: str | None, text: columns.Names, title: str | None) -> pa.Table:  # noqa: A002
    where = tables.label(source)
    if _is_lines(source):
        return pa.table({"text": pa.chunked_array(list(read_texts(source)))})
    found = list(_all_columns(source, REFUSED))
    table = unify.concatenate(found) if found else pa.table({})
    if len(table) == 0:
        raise no_rows(where)
    return _as_documents(table, _picked(table.schema, _roles(source, (id, text, title)), where), where)


def _picked(schema: pa.Schema, roles: Roles, where: str) -> tuple[str | None, list[str], str | None]:
    """The columns of ids, texts and titles: those that a caller named, else guessed."""
    id, text, title = roles  # noqa: A001
    names = schema.names
    text = _text_columns(schema, text, where)
    id = columns.named(names, id, where) if id is not None else columns.usual(names, columns.IDS)  # noqa: A001
    title = columns.named(names, title, where) if title is not None else columns.usual(names, ["title"])
    if roles[0] is None and id not in (None, "id", "_id"):
        tell(where, f"the ids are the column {id!r}")
    if roles[2] is None and title is not None and title not in text:
        tell(where, f"the titles, put before the texts, are the column {title!r}")
    return id, text, title


def _as_documents(table: pa.Table, roles: tuple[str | None, list[str], str | None], where: str) -> pa.Table:
    id, text, title = roles  # noqa: A001
    names = table.column_names
    texts = columns.joined_texts(table, text, where).fill_null("")
    if title is not None and title not in text and title in names:
        texts = with_title(columns.texts(table, title, where), texts)
    kept = (
        {"text": texts}
        if id is None
        else {"id": columns.texts(table, id, where, any_type=True), "text": texts}
    )
    for name in names:
        if name != id and text != [name]:
            kept[columns.free(name, kept.keys() | {"id", "text"})] = table.column(
                columns.named(names, name, where)
            )
    return pa.table(kept)
