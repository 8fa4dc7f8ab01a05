"""Documents on their way into a table of PostgreSQL and back, and the types of its columns."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from statim.errors import DataError
from statim.search.engines.matrices import matrix, unit
from statim.search.filters.where import family_of
from statim.search.lexical.analyzer import Analyzer, Wanted, analyzer_of
from statim.search.stores import documents as tables
from statim.search.stores.columns import Columns, from_values, plain, safe_names, to_json, told
from statim.search.stores.protocol import Block, check_width
from statim.spilled_array import nameless

LONGEST = 1000  # bytes of a word that PostgreSQL's index surely takes
LONGEST_ID = 2600  # bytes of an id, likewise
MOST = 1500  # columns
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # the character, in JSON

# The types that columns have, by PostgreSQL's names, and what they are in Arrow; all else is JSON there
TYPES = {
    "boolean": pa.bool_(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "jsonb": pa.binary(),
}
_BINARY = {"boolean": "bool", "bigint": "int8", "double precision": "float8"}
OWN = ("statim_position", "statim_vector", "statim_words")


class Layout:
    """The columns of documents in a table; make one with ``new`` or ``of``.

    Attributes:
        schema: The documents' columns.
        types: PostgreSQL's types, by the documents' names.
        names: The table's names, by the documents'.
    """

    def __init__(
        self, columns: Columns, types: Mapping[str, str], untyped: frozenset[str] = frozenset()
    ) -> None:
        self.schema, self.types, self.names = columns.schema, types, columns.names
        self._columns, self._untyped = columns, untyped

    @staticmethod
    def new(schema: pa.Schema) -> "Layout":
        """Of an index to be made.

        Raises:
            DataError: There are too many columns, or one of a type that cannot be kept.
        """
        if len(schema) > MOST:
            raise DataError(
                f"the documents have {len(schema):,} columns; PostgreSQL takes {MOST:,} at most, so drop some"
            )
        types = {field.name: type_of(field.type) for field in schema}
        return Layout(Columns(schema, _takes, safe_names(schema.names), "PostgreSQL"), types)

    @staticmethod
    def of(manifest: Mapping[str, Any], place: str) -> "Layout":
        """Of an index that is there.

        Raises:
            ModelError: Its manifest is damaged.
            KeyError: Likewise.
        """
        types = {name: str(manifest["types"][name]) for name in manifest["columns"]}
        found = told(manifest, place)
        if found is not None:
            return Layout(Columns(found[0], _takes, found[1], "PostgreSQL"), types)
        schema = pa.schema([(name, TYPES[kind]) for name, kind in types.items()])
        untyped = frozenset(
            name for name, kind in types.items() if kind == "jsonb"
        )  # an earlier statim did not say
        return Layout(Columns(schema, lambda _: True, schema.names, "PostgreSQL"), types, untyped)

    def said(self) -> dict[str, Any]:
        """What ``of`` needs, beside the names of the columns; JSON."""
        return {"types": dict(self.types), **self._columns.said()}

    def values(self, documents: pa.Table) -> list[list[Any]]:
        """The values of documents as PostgreSQL takes them, a list for each column.

        Raises:
            DataError: The documents have other columns.
        """
        from psycopg.types.json import Jsonb

        there = {field.name: field.type for field in documents.schema}
        fields = [
            pa.field(f.name, there.get(f.name, pa.null())) if f.name in self._untyped else f
            for f in self.schema
        ]
        aligned = tables.aligned(documents, pa.schema(fields))
        lists = []
        for name, kind in self.types.items():
            column = aligned.column(name)
            if kind != "jsonb":
                lists.append(column.cast(TYPES[kind]).to_pylist())
            else:
                lists.append([None if text is None else Jsonb(text, dumps=str) for text in to_json(column)])
        return lists

    def documents(
        self, rows: Sequence[Sequence[Any]], names: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Documents of rows of values, as any store gives them; of some columns, or all."""
        if not rows:
            return []
        names = self.schema.names if names is None else names
        columns = []
        for name, values in zip(names, map(list, zip(*rows, strict=True)), strict=True):
            kind, wanted = self.types[name], self.schema.field(name).type
            if kind == "jsonb" and name not in self._untyped:
                values = from_values(values, wanted).to_pylist()
            elif kind in ("date", "timestamp", "timestamptz"):
                values = pa.array(values, wanted).to_pylist()
            columns.append(values)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


class Rows:
    """A stream of documents, copied into a table."""

    def __init__(self, layout: Layout, dim: int, place: str, start: int, analyzer: Analyzer | Wanted) -> None:
        self._layout, self._dim, self._place, self._start = layout, dim, place, start
        self._analyzer = analyzer
        self.count = self.words = 0

    @property
    def analyzer(self) -> Analyzer:
        """What cuts texts into words, once the first are written."""
        return analyzer_of(self._analyzer, ())

    def copy(self, connection: Any, table: Any, blocks: Iterable[Block]) -> None:
        """Copy all blocks, in PostgreSQL's binary format."""
        from psycopg import sql

        columns = sql.SQL(", ").join(map(sql.Identifier, [*self._layout.names.values(), *OWN]))
        text = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT BINARY)").format(table, columns)
        kinds = [_BINARY.get(kind, kind) for kind in self._layout.types.values()]
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types([*kinds, "int8", "vector", "text[]"])
            for block, vectors in blocks:
                check_width(vectors, self._dim, self._place)
                lists = self._layout.values(block)
                given, zero = unit(matrix(vectors, "the vectors"))
                analyzer = analyzer_of(self._analyzer, (text.as_py() for text in block.column("text")))
                self._analyzer = analyzer
                for i, row in enumerate(zip(*lists, strict=True)):
                    words = [term(word) for word in analyzer.terms(row[1])]
                    copy.write_row([*row, self._start + self.count, None if zero[i] else given[i], words])
                    self.count += 1
                    self.words += len(words)


def checked(parts: Iterable[pa.Table], *, stream: bool) -> Iterator[pa.Table]:
    """Documents, of which every row is looked at before the first is given.

    Args:
        parts: Documents, some at a time.
        stream: They may be more than memory holds, so they wait on the disk.

    Raises:
        DataError: PostgreSQL cannot store a row; the message names it.
    """
    if not stream:
        held = list(parts)
        for _ in _looked_at(held):
            pass
        yield from held
        return
    with nameless()[0] as file, contextlib.ExitStack() as stack:
        writer = None
        for part in _looked_at(parts):
            writer = writer or stack.enter_context(pa.ipc.new_stream(file, part.schema))
            writer.write_table(part.combine_chunks())
        stack.close()
        file.seek(0)
        yield from (pa.Table.from_batches([batch]) for batch in (pa.ipc.open_stream(file) if writer else ()))


def _looked_at(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    start = 0
    for part in parts:
        for name in part.column_names:
            bad, why = _bad(part.column(name), name)
            if bad is not None:
                shown = str(part.column("id")[bad])[:80]
                raise DataError(
                    f"row {start + bad} (id {shown!r}): the column {name!r} holds {why}, which "
                    "PostgreSQL cannot store; "
                    "change the value, or leave the row out"
                )
        yield part
        start += len(part)


def _bad(column: pa.ChunkedArray, name: str) -> tuple[int | None, str]:
    """The first value that PostgreSQL cannot store, if there is one, and what is wrong with it."""
    kind = type_of(column.type)
    if kind == "text":
        if (
            name == "id"
            and (found := pc.index(pc.greater(pc.binary_length(column), LONGEST_ID), True).as_py()) >= 0
        ):
            return found, f"an id of more than {LONGEST_ID:,} bytes"
        found = pc.index(pc.match_substring(column, "\0"), True).as_py()
        return (found if found >= 0 else None), "a zero byte (the character NUL)"
    if kind == "jsonb" and plain(column.type) is not None:
        texts = enumerate(to_json(column))
        return next(
            (i for i, text in texts if text and NUL.search(text)), None
        ), "a zero byte (the character NUL)"
    if kind.startswith("timestamp"):
        rounded = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        found = pc.index(pc.not_equal(column, rounded.cast(column.type, safe=False)), True).as_py()
        return (found if found >= 0 else None), "a time finer than a microsecond"
    return None, ""


def _takes(kind: pa.DataType) -> bool:
    return type_of(kind) != "jsonb"


def type_of(kind: pa.DataType) -> str:
    """The type of PostgreSQL for values of a type of Arrow."""
    family = family_of(kind)
    if family == "dates":
        return "date" if pa.types.is_date(kind) else "timestamptz" if kind.tz else "timestamp"
    if family == "numbers":
        return "bigint" if pa.types.is_integer(kind) else "double precision"
    return {"text": "text", "true or false": "boolean"}.get(str(family), "jsonb")


def term(word: str) -> str:
    """A word as it is stored; PostgreSQL's indexes take no very long ones."""
    spelt = word.encode("utf-8", "replace")
    if len(spelt) <= LONGEST:
        return spelt.decode()
    return f"sha256 {hashlib.sha256(spelt).hexdigest()}"
