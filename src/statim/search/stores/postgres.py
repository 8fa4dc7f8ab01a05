"""The server store: tables of a PostgreSQL database with the extension vector (pgvector).

    NAME                    a row for each document: id, text, metadata, position, vector, words
    NAME_statim             the manifest, and the files of the model

A change is one transaction, so it takes place whole or not at all, even if a process is killed meanwhile; one
at a time changes an index. A build is one too: its new tables have random names until they take the place of
the old ones, and a killed build leaves nothing. What statim makes bears its mark (postgres_marks.py), and
nothing else is dropped or replaced. Many vectors of up to 2,000 dimensions have an HNSW index (Malkov and
Yashunin, 2018), by cosine, made when there are enough of them (postgres_index.py). It is asked where there is
no filter: it finds what is near before a filter sees it, so a filtered search compares with every document
that the filter lets through. A change of many rows drops it, and makes it again when the change has taken
place. BM25 is statim's own, worked out in SQL from the words as they are: the scores are those of every other
store.
"""

import contextlib
import json
import logging
import operator
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import cache as caches
from statim.errors import DataError, InputError, ModelError, StatimError, StorageError
from statim.files import atomic_directory
from statim.model import StaticModel
from statim.search.engines.matrices import matrix, unit
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.filters.conditions import Condition, renamed
from statim.search.filters.postgres import composed
from statim.search.lexical.analyzer import Analyzer
from statim.search.lexical.bm25 import K1, idf
from statim.search.lexical.incremental_bm25 import B
from statim.search.stores import postgres_index, postgres_model
from statim.search.stores.columns import KEY
from statim.search.stores.postgres_marks import drop, made_before, mark, temporary
from statim.search.stores.postgres_rows import Layout, Rows, term
from statim.search.stores.postgres_server import Names, Server, address, check_name, connect, errors_of
from statim.search.stores.protocol import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    Block,
    NotRenewed,
    View,
    check_manifest,
    check_width,
    hold_model,
    load_model,
    model_hash,
    origin,
    searched,
)
from statim.strict_json import loads

log = logging.getLogger("statim")

Counts = tuple[tuple[int, ...], int, float]

LISTED = 10_000  # documents read at a time
SCANNED = 4096  # rows read at a time
LOCK = "30s"  # to wait for another process that changes the index


class Postgres(NotRenewed):
    """A store in a database (see store.Store); ``create`` makes one.

    Args:
        url: postgresql://user@host:port/database.
        table: The name of the index's tables.

    Raises:
        StorageError: There is no server, it lets nobody in, or it has no extension vector.
        ModelError: There is no index of that name.
        DependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, url: str, table: str) -> None:
        check_name(table)
        self._server, self._sql = Server(url), Names(table)
        with self._server.held() as connection:
            self.place = f"{address(connection)}, index {table}"
        with errors_of(self.place):
            self.manifest: Mapping[str, Any] = self._read_manifest()
            try:
                self._layout = Layout.of(self.manifest, self.place)
                self.analyzer = Analyzer.from_about(self.manifest, self.place)
                self._mean = self.manifest["words"] / max(1, self.manifest["documents"])
            except (KeyError, TypeError, ValueError, ZeroDivisionError):
                raise ModelError(f"{self.place} is damaged at its manifest; build the index again") from None
        self.schema: pa.Schema = self._layout.schema

    @staticmethod
    def create(
        url: str,
        table: str,
        schema: pa.Schema,
        blocks: Iterable[Block],
        model: StaticModel,
        about: Mapping[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        """Write a new index from a stream of documents; ``about`` has the weight and the vectors' source."""
        layout = Layout.new(schema)
        connection, names = connect(url, create=True), Names(table)
        place = f"{address(connection)}, index {table}"
        with contextlib.closing(connection), errors_of(place), connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK}'")
            made_before(connection, names, place, overwrite=overwrite)  # so that no work is lost
            new = Names(temporary())
            _make_tables(connection, new, layout, model.dim)
            with _model_files(model) as folder:
                postgres_model.write(connection, new, folder)
                hashed = model_hash(folder)
            rows = Rows(layout, model.dim, place, 0, about["language"])
            rows.copy(connection, new.table, blocks)
            connection.execute(new.fill("ALTER TABLE {table} ADD PRIMARY KEY (id)"))
            connection.execute(new.fill("CREATE UNIQUE INDEX ON {table} (statim_position)"))
            connection.execute(new.fill("CREATE INDEX ON {table} USING gin (statim_words)"))
            manifest: dict[str, Any] = {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "store": "postgresql",
                "table": table,
                "documents": rows.count,
                "dimensions": model.dim,
                "columns": schema.names,
                **layout.said(),
                **searched(about),
                **origin(about),
                "model_hash": hashed,
                "hnsw": False,
                "dead": 0,
                "words": rows.words,
                "next": rows.count,
                **rows.analyzer.about(),
            }
            if postgres_index.wanted(manifest):
                manifest |= postgres_index.made(connection, new, rows.count, model.dim)
            _write_manifest(connection, new, manifest)
            drop(connection, names, place, overwrite=overwrite)
            for old, name in ((new.table, names.table), (new.parts, names.parts)):
                connection.execute(names.sql.SQL("ALTER TABLE {} RENAME TO {}").format(old, name))

    def __len__(self) -> int:
        return int(self.manifest["documents"])

    def model(self) -> StaticModel:
        """The model that made the vectors, kept in the cache where that can be written; see Store."""
        folder = caches.folder("models") / postgres_model.key(self._parts, self.manifest, self.place)
        with contextlib.suppress(ModelError, OSError):  # it is not there, or damaged
            return load_model(hold_model(folder), self.manifest, self.place)
        try:
            with atomic_directory(folder, overwrite=True, wait=True) as new:
                postgres_model.copy(self._parts, new, self.manifest, self.place)
        except StorageError:
            with tempfile.TemporaryDirectory(prefix="statim-", ignore_cleanup_errors=True) as own:
                postgres_model.copy(self._parts, Path(own), self.manifest, self.place)
                return load_model(hold_model(Path(own)), self.manifest, self.place)
        return load_model(hold_model(folder), self.manifest, self.place)

    def _parts(self, condition: str, values: Sequence[Any]) -> postgres_model.Rows:
        """The parts of the model's files that satisfy a condition, one at a time."""
        text = f"""SELECT name, CASE WHEN octet_length(content) <= %s THEN content END FROM {{parts}}
            WHERE name LIKE 'model/%%' AND {condition} ORDER BY name, part"""
        with contextlib.ExitStack() as held:
            connection = held.enter_context(self._server.held())
            held.enter_context(errors_of(self.place))
            held.enter_context(connection.transaction())
            cursor = held.enter_context(connection.cursor("statim_parts", binary=True))
            cursor.itersize = 4  # 64 MB at most
            cursor.execute(self._sql.fill(text), [postgres_model.PART, *values])
            yield from cursor

    def run(self, text: str, values: Sequence[Any] = (), **parts: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement gives; names in braces are the tables and other parts of it."""
        with self._server.held() as connection, errors_of(self.place):
            found: list[tuple[Any, ...]] = connection.execute(
                self._sql.fill(text, **parts), values
            ).fetchall()
            return found

    def view(self, where: Condition | None) -> View:
        """The documents that satisfy a condition, or all; see Store."""
        return View(_Vectors(self, where), _WordsOf(self, where), self._rows)

    def _rows(self, positions: Positions, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        sql = self._sql.sql
        names = self.schema.names if names is None else names
        columns = sql.SQL(", ").join(sql.Identifier(self._layout.names[name]) for name in names)
        text = "SELECT statim_position, {columns} FROM {table} WHERE statim_position = ANY(%s)"
        found = self.run(text, [positions.tolist()], columns=columns)
        documents = self._layout.documents([row[1:] for row in found], names)
        by_position = dict(zip((row[0] for row in found), documents, strict=True))
        if len(found) < len(set(positions.tolist())):
            raise ModelError(f"{self.place} was changed meanwhile; search again")
        return [dict(by_position[position]) for position in positions.tolist()]

    def documents_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these ids; see Store."""
        sql = self._sql.sql
        columns = sql.SQL(", ").join(map(sql.Identifier, self._layout.names.values()))
        named = [[name for name in ids if "\0" not in name]]
        return self._layout.documents(
            self.run("SELECT {columns} FROM {table} WHERE id = ANY(%s)", named, columns=columns)
        )

    def condition(self, condition: Condition | None) -> tuple[Any, list[Any]]:
        """A condition as SQL with the values apart."""
        values: list[Any] = []
        stored = None if condition is None else renamed(condition, self._layout.names)
        return composed(stored, self._sql.sql, values), values

    def scan(
        self, columns: Sequence[str] | None = None, where: Condition | None = None
    ) -> Iterator[pa.Table]:
        """The documents that satisfy a condition, or all; see Store."""
        names = self.schema.names if columns is None else columns
        schema = pa.schema([self.schema.field(name) for name in names])
        which, values = self.condition(where)
        found = self.run("SELECT statim_position FROM {table} WHERE {condition}", values, condition=which)
        positions = np.array([row[0] for row in found], np.int64)
        for start in range(0, len(positions), SCANNED):
            rows = self._rows(positions[start : start + SCANNED], names)
            yield pa.Table.from_pylist(rows, schema)

    def write(self, blocks: Iterable[Block], *, replace: bool, drop: Sequence[str] = ()) -> None:
        """Add documents, or replace some; see Store."""
        with self._changed() as (connection, manifest):
            rows = Rows(self._layout, manifest["dimensions"], self.place, manifest["next"], self.analyzer)
            gone = (0, 0)
            if replace or manifest["hnsw"]:
                new = self._sql.sql.Identifier(temporary())
                connection.execute(
                    self._sql.fill("CREATE TEMPORARY TABLE {new} (LIKE {table}) ON COMMIT DROP", new=new)
                )
                rows.copy(connection, new, blocks)
                twice = self.run("SELECT id FROM {new} GROUP BY id HAVING count(*) > 1 LIMIT 1", new=new)
                if twice:
                    raise DataError(f"the id {twice[0][0][:80]!r} stands twice; ids must differ")
                if rows.count > postgres_index.SHARE * manifest["documents"]:
                    self._drop_index(connection, manifest)
                if replace:
                    gone = self._gone("WHERE id IN (SELECT id FROM {new})", [], new=new)
                connection.execute(self._sql.fill("INSERT INTO {table} SELECT * FROM {new}", new=new))
            else:
                rows.copy(connection, self._sql.table, blocks)
            dropped = self._gone("WHERE id = ANY(%s)", [_names(drop)]) if drop else (0, 0)
            manifest["documents"] += rows.count - gone[0] - dropped[0]
            manifest["words"] += rows.words - gone[1] - dropped[1]
            manifest["next"] += rows.count
            manifest["dead"] += gone[0] + dropped[0]

    def delete(self, ids: Sequence[str], where: Condition | None = None) -> int:
        """Delete documents; see Store."""
        which, values = self._sql.sql.SQL("id = ANY(%s)"), [_names(ids)]
        if where is not None:
            which, values = self.condition(where)
        with self._changed() as (_, manifest):
            count, length = self._gone("WHERE {condition}", values, condition=which)
            if count == manifest["documents"]:
                raise InputError(
                    f"that would delete all {count:,} documents of {self.place}; an index has at least "
                    "one, so drop its tables instead"
                )
            manifest["documents"] -= count
            manifest["words"] -= length
            manifest["dead"] += count
        return count

    def _gone(self, which: str, values: list[Any], **parts: Any) -> tuple[int, int]:
        """Delete rows; gives how many, and the words that they had."""
        text = f"WITH gone AS (DELETE FROM {{table}} {which} RETURNING cardinality(statim_words) AS length)"
        ((count, length),) = self.run(
            f"{text} SELECT count(*), coalesce(sum(length), 0) FROM gone", values, **parts
        )
        return int(count), int(length)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """A transaction: the connection and the locked manifest, written if the block ends well."""
        with self._server.held() as connection, errors_of(self.place):
            with self._locked(connection) as manifest:
                yield connection, manifest
                if manifest["hnsw"] and manifest["dead"] > postgres_index.SHARE * manifest["documents"]:
                    self._drop_index(connection, manifest)
            if postgres_index.wanted(self.manifest) and not self.manifest["hnsw"]:
                self._make_index(connection)

    @contextlib.contextmanager
    def _locked(self, connection: Any) -> Iterator[dict[str, Any]]:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK}'")
            manifest = {"dead": 0, **self._read_manifest(" FOR UPDATE")}
            if manifest["model_hash"] != self.manifest["model_hash"]:
                raise InputError(f"{self.place} was built again meanwhile; open it again")
            yield manifest
            _write_manifest(connection, self._sql, manifest)
        self.manifest = manifest

    def _drop_index(self, connection: Any, manifest: dict[str, Any]) -> None:
        """Drop the HNSW index, if that can be done."""
        if manifest["hnsw"] and postgres_index.dropped(connection, self._sql):
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK}'")
            left = postgres_index.without(manifest)
            manifest.clear()
            manifest.update(left)

    def _make_index(self, connection: Any) -> None:
        """Make the HNSW index of a table in which a change has taken place.

        In a transaction of its own: an index holds the rows too that its own transaction has deleted. Until
        it is made, and where it cannot be, searches compare with every vector.
        """
        if self.manifest["dead"]:
            postgres_index.vacuumed(connection, self._sql)
        try:
            with errors_of(self.place), self._locked(connection) as manifest:
                if postgres_index.wanted(manifest) and not manifest["hnsw"]:
                    manifest |= postgres_index.made(
                        connection, self._sql, manifest["documents"], manifest["dimensions"]
                    )
        except StatimError as error:
            log.warning(
                "the change has taken place, but searches compare with every vector, since there is no "
                "HNSW index: %s",
                error,
            )

    def _read_manifest(self, ending: str = "") -> dict[str, Any]:
        from psycopg import errors

        text = "SELECT content FROM {parts} WHERE name = %s AND part = 0" + ending
        try:
            with self._server.held() as connection:
                found = connection.execute(self._sql.fill(text), [MANIFEST]).fetchone()
        except errors.UndefinedTable:
            found = None
        if found is None:
            raise ModelError(
                f"{self.place} is not there; make it with `statim index build --store postgresql://...`, "
                "or name another with --table"
            )
        try:
            return check_manifest(loads(found[0]), self.place)
        except (ValueError, RecursionError):
            raise ModelError(f"{self.place} is damaged at its manifest; build the index again") from None

    def refresh(self) -> tuple[int, float]:
        """How many documents there are now, and their mean length in words."""
        with errors_of(self.place):
            self.manifest = self._read_manifest()
        return self.manifest["documents"], self.manifest["words"] / max(1, self.manifest["documents"])

    def describe(self, said: Mapping[str, Any]) -> None:
        """Store how the index is searched by default; see Store."""
        with self._server.held() as connection, errors_of(self.place), self._locked(connection) as manifest:
            manifest |= said

    def texts(self) -> Iterator[tuple[Positions, pa.Array, pa.Array]]:
        """The documents, in parts; see Store."""
        after = -1
        text = (
            "SELECT statim_position, id, text FROM {table} WHERE statim_position > %s ORDER BY "
            "statim_position LIMIT %s"
        )
        while found := self.run(text, [after, LISTED]):
            positions, ids, texts = zip(*found, strict=True)
            yield np.array(positions, np.int64), pa.array(ids), pa.array(texts)
            after = positions[-1]

    def compact(self, keep: int) -> None:
        """It has no versions; see Store."""
        del keep
        raise InputError(
            f"{self.place} keeps no older versions, and its server tidies by itself; "
            "only LanceDB is compacted"
        )

    def info(self) -> dict[str, Any]:
        """What it holds; see Store."""
        self.refresh()
        hidden = ("types", "words", "next", "stop_words", "dead", KEY)
        known = {name: value for name, value in self.manifest.items() if name not in hidden}
        with self._server.held() as connection:
            names = self._sql.quoted(connection)
        (size,) = self.run(
            "SELECT pg_total_relation_size(%s::regclass) + pg_total_relation_size(%s::regclass)", names
        )[0]
        return {"path": self.place, **known, "bytes": int(size)}


class _Vectors:
    """The vectors of an index, or of the documents that satisfy a condition (see store.VectorSide)."""

    def __init__(self, store: Postgres, condition: Condition | None) -> None:
        self._store, self._condition = store, condition

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        del threads  # the server has its own
        asked, zero = unit(self._matching(queries))
        count, _ = self._store.refresh()
        k = min(check_k(k), count)
        scores = np.full((len(asked), k), -np.inf, np.float32)
        positions = np.full((len(asked), k), -1, np.int64)
        where, values = self._store.condition(self._condition)
        by_index = self._condition is None and self._store.manifest["hnsw"] and count > postgres_index.EXACT
        effort = self._store.manifest.get("effort", postgres_index.LOOKED) if by_index else None

        def ask(text: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
            return self._store.run(text, given, where=where)

        for i in np.flatnonzero(~zero):
            places, found = postgres_index.nearest(ask, asked[i], k, effort, values)
            scores[i, : len(places)], positions[i, : len(places)] = found, places
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        asked, _ = unit(self._matching(queries))
        scores = np.zeros(positions.shape, np.float32)
        text = (
            "SELECT statim_position, statim_vector FROM {table} WHERE statim_vector IS NOT NULL AND "
            "statim_position = ANY(%s)"
        )
        for query, row, out in zip(asked, positions, scores, strict=True):
            found = self._store.run(text, [row[row >= 0].tolist()])
            if found:
                exact = dict(
                    zip(
                        [place for place, _ in found],
                        postgres_index.cosines([v for _, v in found], query),
                        strict=True,
                    )
                )
                out[:] = [exact.get(place, 0) for place in row.tolist()]
        return scores

    def _matching(self, queries: npt.ArrayLike) -> Floats:
        given = matrix(queries, "the queries")
        check_width(given, self._store.manifest["dimensions"], self._store.place)
        return given


class _WordsOf:
    """The words of an index, or of the documents that satisfy a condition (see store.WordSide)."""

    def __init__(
        self,
        store: Postgres,
        condition: Condition | None,
        held: "dict[tuple[str, ...], Counts] | None" = None,
    ) -> None:
        self._store, self._condition, self._held = store, condition, held

    def search(
        self, queries: Sequence[str], k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        del threads  # the server has its own
        k = min(check_k(k), len(self._store))
        scores = np.full((len(queries), k), -np.inf, np.float32)
        positions = np.full((len(queries), k), -1, np.int64)
        where, values = self._store.condition(self._condition)
        for i, query in enumerate(queries):
            found = self._found(query, i, where, values, " ORDER BY score DESC, position LIMIT %s", [k])
            for rank, (position, score) in enumerate(found):
                scores[i, rank], positions[i, rank] = score, position
        return scores, positions

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        scores = np.zeros(positions.shape, np.float32)
        where = self._store.condition(None)[0]
        for i, (query, row) in enumerate(zip(queries, positions, strict=True)):
            ending, values = " WHERE position = ANY(%s)", [row[row >= 0].tolist()]
            found = dict(self._found(query, i, where, [], ending, values))
            scores[i] = [found.get(place, 0) for place in row.tolist()]
        return scores

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        found = np.zeros(len(queries))
        for i, query in enumerate(queries):
            words = Counter(self._store.analyzer.query_terms(query))
            if words:
                having, documents, _ = self._counted(tuple(term(word) for word in words))
                worth = (idf(documents, df) for df in having)
                found[i] = sum(map(operator.mul, worth, words.values())) / (1 + K1)
        return found

    def asked(self, queries: Sequence[str]) -> "_WordsOf":
        del queries
        return _WordsOf(self._store, self._condition, {})

    def _counted(self, terms: tuple[str, ...]) -> Counts:
        """How many documents hold each term; how many there are, and their mean length."""
        held = None if self._held is None else self._held.get(terms)
        if held is not None:
            return held
        counted = ", ".join(
            ["(SELECT count(*) FROM {table} WHERE statim_words @> ARRAY[%s]::text[])"] * len(terms)
        )
        (having,) = self._store.run(f"SELECT {counted}", list(terms))
        documents, mean = self._store.refresh()
        found = having, documents, mean
        if self._held is not None:
            self._held[terms] = found
        return found

    def _found(
        self, query: str, index: int, where: Any, values: list[Any], ending: str, last: list[Any]
    ) -> list[tuple[Any, ...]]:
        """Positions and BM25's scores."""
        if not isinstance(query, str):
            raise InputError(f"query {index} is of type {type(query).__name__}, not str")
        words = Counter(self._store.analyzer.query_terms(query))
        terms = {term(word): count for word, count in words.items()}
        if not terms:
            return []
        having, documents, mean = self._counted(tuple(terms))
        parts, numbers = [], []
        for (word, count), df in zip(terms.items(), having, strict=True):
            often = "cardinality(array_positions(words, %s::text))::float8"
            norm = f"(%s * (1 - %s + %s * length / %s) + {often})"
            parts.append(f"%s * ln(1 + (%s - %s + 0.5) / (%s + 0.5)) * {often} / {norm}")
            numbers += [
                float(count),
                float(documents),
                float(df),
                float(df),
                word,
                K1,
                B,
                B,
                max(mean, 1e-9),
                word,
            ]
        score = " + ".join(
            part.replace("%s", "%s::float8").replace("%s::float8::text", "%s::text") for part in parts
        )
        text = (
            "WITH found AS (SELECT statim_position AS position, cardinality(statim_words)::float8 AS "
            "length, statim_words AS words "
            "FROM {table} WHERE statim_words && %s::text[] AND {where}), scored AS (SELECT "
            f"position, {score} AS score FROM found) "
            f"SELECT position, score FROM scored{ending}"
        )
        return self._store.run(text, [list(terms), *values, *numbers, *last], where=where)


def _make_tables(connection: Any, names: Names, layout: Layout, dim: int) -> None:
    sql = names.sql
    columns = [
        sql.SQL(f"{{}} {kind}").format(sql.Identifier(layout.names[name]))
        for name, kind in layout.types.items()
    ]
    text = (
        "CREATE TABLE {table} ({columns}, statim_position bigint NOT NULL, statim_vector "
        "vector({dim}), statim_words text[] NOT NULL)"
    )
    connection.execute(names.fill(text, columns=sql.SQL(", ").join(columns), dim=sql.Literal(dim)))
    connection.execute(
        names.fill("CREATE TABLE {parts} (name text, part int, content bytea, PRIMARY KEY (name, part))")
    )
    mark(connection, "TABLE", names.table)
    mark(connection, "TABLE", names.parts)


@contextlib.contextmanager
def _model_files(model: StaticModel) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        yield Path(folder) / "model"


def _write_manifest(connection: Any, names: Names, manifest: Mapping[str, Any]) -> None:
    text = (
        "INSERT INTO {parts} VALUES (%s, 0, %s) ON CONFLICT (name, part) DO UPDATE SET content = "
        "excluded.content"
    )
    connection.execute(names.fill(text), [MANIFEST, json.dumps(manifest).encode()])


def _names(ids: Sequence[str]) -> list[str]:
    """Ids that a database can hold."""
    return [name for name in ids if "\0" not in name]
