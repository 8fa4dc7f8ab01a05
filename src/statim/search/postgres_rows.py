"""Documents on their way into a table of PostgreSQL, and the types of its columns."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from statim.search import documents as tables
from statim.search.bm25 import stop_words, words_of
from statim.search.exact import matrix, unit
from statim.search.store import Block, check_width
from statim.search.where import family_of

LONGEST = 1000  # bytes of a word that PostgreSQL's index surely takes

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


class Rows:
    """A stream of documents, copied into a table."""

    def __init__(self, types: Mapping[str, str], dim: int, place: str, start: int) -> None:
        self._types, self._dim, self._place, self._start = types, dim, place, start
        self._stops = stop_words()
        self.count = self.words = 0

    def copy(self, connection: Any, table: Any, blocks: Iterable[Block]) -> None:
        """Copy all blocks, in PostgreSQL's binary format."""
        from psycopg import sql
        from psycopg.types.json import Jsonb

        columns = sql.SQL(", ").join(map(sql.Identifier, [*self._types, *OWN]))
        text = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT BINARY)").format(table, columns)
        kinds = [_BINARY.get(kind, kind) for kind in self._types.values()]
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types([*kinds, "int8", "vector", "text[]"])
            for block, vectors in blocks:
                check_width(vectors, self._dim, self._place)
                aligned = self._aligned(block)
                given, zero = unit(matrix(vectors, "the vectors"))
                lists = [aligned.column(name).to_pylist() for name in self._types]
                for place, kind in enumerate(self._types.values()):
                    if kind == "jsonb":
                        lists[place] = [None if value is None else Jsonb(value) for value in lists[place]]
                for i, row in enumerate(zip(*lists, strict=True)):
                    words = [term(word) for word in words_of(row[1]) if word not in self._stops]
                    copy.write_row([*row, self._start + self.count, None if zero[i] else given[i], words])
                    self.count += 1
                    self.words += len(words)

    def _aligned(self, block: pa.Table) -> pa.Table:
        there = {field.name: field.type for field in block.schema}
        fields = [
            (name, there.get(name, pa.null()) if kind == "jsonb" else TYPES[kind])
            for name, kind in self._types.items()
        ]
        return tables.aligned(block, pa.schema(fields))


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
