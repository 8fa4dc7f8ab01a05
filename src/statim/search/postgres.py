"""The server store: tables of a PostgreSQL database with the extension vector (pgvector).

    NAME                    a row for each document: id, text, metadata, position, vector, words
    NAME_statim             the manifest, and the files of the model

A change is one transaction, so it takes place whole or not at all, whoever is killed meanwhile; one at a time changes an index.
Many vectors of up to 2,000 dimensions have an HNSW index (Malkov and Yashunin, 2018), by cosine, made when there are enough of them. It
is asked where there is no filter: it finds what is near before a filter sees it, so a filtered search compares with every document that the
filter lets through. BM25 is statim's own, worked out in SQL from the words as they are: the scores are those of every other store.
"""

import contextlib
import json
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import cache as caches
from statim.errors import DataError, InputError, ModelError
from statim.files import atomic_directory
from statim.model import StaticModel
from statim.search.bm25 import stop_words, words_of
from statim.search.engine import Floats, Positions, check_k
from statim.search.exact import matrix, unit
from statim.search.postgres_rows import TYPES, Rows, term, type_of
from statim.search.postgres_server import Names, address, check_name, connect, errors_of
from statim.search.store import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    Block,
    View,
    check_manifest,
    check_width,
    load_model,
    model_hash,
    origin,
)
from statim.search.where import Condition, read
from statim.search.where_postgres import composed
from statim.search.words import K1, B

LOCK = "30s"  # to wait for another process that changes the index
EXACT = 20_000  # documents up to which all are compared
WIDEST = 2000  # dimensions that pgvector can index
MEMORY = 2048  # MB that building it may take
LOOKED = 200  # what an HNSW search looks at; half of it found 97.9 of a hundred among 100,000 real vectors
BREADTH = 1000  # the most that it may look at
SPARE = 16  # more than asked for, among which the exact scores choose
PART = 16 << 20  # bytes of a model's file in one row


class Postgres:
    """A store in a database (see store.Store); ``create`` makes one.

    Args:
        url: postgresql://user:password@host:port/database.
        table: The name of the index's tables.

    Raises:
        StorageError: There is no server, it lets nobody in, or it has no extension vector.
        ModelError: There is no index of that name.
        DependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, url: str, table: str) -> None:
        check_name(table)
        self._lock = threading.RLock()
        self._connection = connect(url)
        weakref.finalize(self, self._connection.close)
        self._sql = Names(table)
        self.place = f"{address(self._connection)}, index {table}"
        with errors_of(self.place):
            self.manifest: Mapping[str, Any] = self._read_manifest()
            try:
                types = dict(self.manifest["types"])
                self._types: dict[str, str] = {name: str(types[name]) for name in self.manifest["columns"]}
                self.schema = pa.schema([(name, TYPES[kind]) for name, kind in self._types.items()])
                self._stops = frozenset(self.manifest["stop_words"])
                self._mean = self.manifest["words"] / max(1, self.manifest["documents"])
            except (KeyError, TypeError, ValueError, ZeroDivisionError):
                raise ModelError(f"{self.place} is damaged at its manifest; build the index anew") from None

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
        """Write a new index from a stream of documents; ``about`` has the weight and where the vectors come from."""
        taken = [name for name in schema.names if name.startswith("statim_") or len(name.encode()) > 63]
        if taken:
            raise DataError(
                f"the documents have the column {taken[0]!r}; a name in PostgreSQL has 63 bytes at most and must not begin with statim_, so rename it"
            )
        connection, names = connect(url, create=True), Names(table)
        place = f"{address(connection)}, index {table}"
        types = {field.name: type_of(field.type) for field in schema}
        with contextlib.closing(connection), errors_of(place), connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK}'")
            there = connection.execute("SELECT to_regclass(%s), to_regclass(%s)", names.quoted(connection)).fetchone()  # fmt: skip
            if any(there) and not overwrite:
                raise InputError(f"{place} exists; choose another name (--table), or allow overwriting (--overwrite)")  # fmt: skip
            if there[0] and not there[1]:
                raise InputError(f"{place} is a table that statim did not make; choose another name (--table)")  # fmt: skip
            new = Names(f"{table}_new")
            connection.execute(new.fill("DROP TABLE IF EXISTS {table}, {parts}"))
            _make_tables(connection, new, types, model.dim)
            with _model_files(model) as folder:
                _write_model(connection, new, folder)
                hashed = model_hash(folder)
            rows = Rows(types, model.dim, place, 0)
            rows.copy(connection, new.table, blocks)
            connection.execute(new.fill("ALTER TABLE {table} ADD PRIMARY KEY (id)"))
            connection.execute(new.fill("CREATE UNIQUE INDEX ON {table} (statim_position)"))
            connection.execute(new.fill("CREATE INDEX ON {table} USING gin (statim_words)"))
            hnsw = _indexed(connection, new, rows.count, model.dim)
            manifest = {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "store": "postgresql",
                "table": table,
                "documents": rows.count,
                "dimensions": model.dim,
                "columns": schema.names,
                "types": types,
                "weight": float(about["weight"]),
                **origin(about),
                "model_hash": hashed,
                "hnsw": hnsw,
                "words": rows.words,
                "next": rows.count,
                "stop_words": sorted(stop_words()),
            }
            _write_manifest(connection, new, manifest)
            connection.execute(names.fill("DROP TABLE IF EXISTS {table}, {parts}"))
            for old, name in ((new.table, names.table), (new.parts, names.parts)):
                connection.execute(names.sql.SQL("ALTER TABLE {} RENAME TO {}").format(old, name))

    def __len__(self) -> int:
        return int(self.manifest["documents"])

    def model(self) -> StaticModel:
        """The model that made the vectors, kept in the cache; see Store."""
        folder = caches.folder("models") / self.manifest["model_hash"]
        if folder.is_dir():
            with contextlib.suppress(ModelError):
                return load_model(folder, self.manifest, self.place)
        with atomic_directory(folder, overwrite=True, wait=True) as new:
            for name, content in self.run(
                "SELECT name, content FROM {parts} WHERE name LIKE 'model/%%' ORDER BY name, part"
            ):
                relative = Path(name).relative_to("model")
                if relative.is_absolute() or ".." in relative.parts:
                    raise ModelError(f"{self.place} is damaged: the model has a file {name[:80]!r}; build the index anew")  # fmt: skip
                (new / relative).parent.mkdir(parents=True, exist_ok=True)
                with (new / relative).open("ab") as file:
                    file.write(content)
        return load_model(folder, self.manifest, self.place)

    def run(self, text: str, values: Sequence[Any] = (), **parts: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement gives; names in braces are the tables and other parts of it."""
        with self._lock, errors_of(self.place):
            found: list[tuple[Any, ...]] = self._connection.execute(
                self._sql.fill(text, **parts), values
            ).fetchall()
            return found

    def view(self, where: str | None) -> View:
        """The documents that satisfy a condition, or all; see Store."""
        condition = None if where is None else read(where, self.schema)
        return View(_Vectors(self, condition), _WordsOf(self, condition))

    def rows(self, positions: Positions) -> list[dict[str, Any]]:
        """The documents at some positions; see Store."""
        names = self.schema.names
        columns = self._sql.sql.SQL(", ").join(map(self._sql.sql.Identifier, names))
        found = {
            position: dict(zip(names, row, strict=True))
            for position, *row in self.run(
                "SELECT statim_position, {columns} FROM {table} WHERE statim_position = ANY(%s)",
                [positions.tolist()],
                columns=columns,
            )
        }
        if len(found) < len(set(positions.tolist())):
            raise ModelError(f"{self.place} was changed meanwhile; search again")
        return [dict(found[position]) for position in positions.tolist()]

    def matching(self, where: str) -> list[str]:
        """The ids of the documents that satisfy a condition; see Store."""
        text, values = self.condition(read(where, self.schema))
        found = self.run("SELECT id FROM {table} WHERE {where} ORDER BY statim_position", values, where=text)
        return [row[0] for row in found]

    def condition(self, condition: Condition | None) -> tuple[Any, list[Any]]:
        """A condition as SQL with the values apart."""
        values: list[Any] = []
        return composed(condition, self._sql.sql, values), values

    def write(self, blocks: Iterable[Block], *, replace: bool) -> None:
        """Add documents, or replace some; see Store."""
        with self._changed() as manifest:
            rows = Rows(self._types, manifest["dimensions"], self.place, manifest["next"])
            gone = (0, 0)
            if replace:
                new = self._sql.sql.Identifier("statim_new")
                self._do("CREATE TEMPORARY TABLE {new} (LIKE {table}) ON COMMIT DROP", new=new)
                rows.copy(self._connection, new, blocks)
                twice = self.run("SELECT id FROM {new} GROUP BY id HAVING count(*) > 1 LIMIT 1", new=new)
                if twice:
                    raise DataError(f"the id {twice[0][0][:80]!r} stands twice; ids must differ")
                gone = self._gone("WHERE id IN (SELECT id FROM {new})", [], new=new)
                self._do("INSERT INTO {table} SELECT * FROM {new}", new=new)
            else:
                rows.copy(self._connection, self._sql.table, blocks)
            manifest["documents"] += rows.count - gone[0]
            manifest["words"] += rows.words - gone[1]
            manifest["next"] += rows.count

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; see Store."""
        with self._changed() as manifest:
            count, length = self._gone("WHERE id = ANY(%s)", [[name for name in ids if "\0" not in name]])
            if count == manifest["documents"]:
                raise InputError(
                    f"that would delete all {count:,} documents of {self.place}; an index has at least one, so drop its tables instead"
                )
            manifest["documents"] -= count
            manifest["words"] -= length
        return count

    def _gone(self, which: str, values: list[Any], **parts: Any) -> tuple[int, int]:
        """Delete rows; gives how many, and the words that they had."""
        text = f"WITH gone AS (DELETE FROM {{table}} {which} RETURNING cardinality(statim_words) AS length)"
        ((count, length),) = self.run(f"{text} SELECT count(*), coalesce(sum(length), 0) FROM gone", values, **parts)  # fmt: skip
        return int(count), int(length)

    def _do(self, text: str, **parts: Any) -> None:
        self._connection.execute(self._sql.fill(text, **parts))

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        """A transaction; the manifest is locked, to be changed, and written when the block ends well."""
        with self._lock, errors_of(self.place), self._connection.transaction():
            self._do(f"SET LOCAL lock_timeout = '{LOCK}'")
            manifest = dict(self._read_manifest(" FOR UPDATE"))
            if manifest["model_hash"] != self.manifest["model_hash"]:
                raise InputError(f"{self.place} was built anew meanwhile; open it again")
            yield manifest
            if not manifest["hnsw"]:
                manifest["hnsw"] = _indexed(self._connection, self._sql, manifest["documents"], manifest["dimensions"])  # fmt: skip
            _write_manifest(self._connection, self._sql, manifest)
        self.manifest = manifest

    def _read_manifest(self, ending: str = "") -> dict[str, Any]:
        from psycopg import errors

        text = "SELECT content FROM {parts} WHERE name = %s AND part = 0" + ending
        try:
            found = self._connection.execute(self._sql.fill(text), [MANIFEST]).fetchone()
        except errors.UndefinedTable:
            found = None
        if found is None:
            raise ModelError(f"{self.place} is not there; make it with `statim index build --store postgresql://...`, or name another with --table")  # fmt: skip
        try:
            return check_manifest(json.loads(found[0]), self.place)
        except (ValueError, RecursionError):
            raise ModelError(f"{self.place} is damaged at its manifest; build the index anew") from None

    def refresh(self) -> tuple[int, float]:
        """How many documents there are now, and their mean length in words."""
        with self._lock, errors_of(self.place):
            self.manifest = self._read_manifest()
        return self.manifest["documents"], self.manifest["words"] / max(1, self.manifest["documents"])

    @property
    def stops(self) -> frozenset[str]:
        """The words that BM25 leaves out."""
        return self._stops

    def compact(self, keep: int) -> None:
        """It has no versions; see Store."""
        del keep
        raise InputError(f"{self.place} keeps no older versions, and its server tidies by itself; only LanceDB is compacted")  # fmt: skip

    def info(self) -> dict[str, Any]:
        """What it holds; see Store."""
        self.refresh()
        hidden = ("types", "words", "next", "stop_words")
        known = {name: value for name, value in self.manifest.items() if name not in hidden}
        names = self._sql.quoted(self._connection)
        (size,) = self.run("SELECT pg_total_relation_size(%s::regclass) + pg_total_relation_size(%s::regclass)", names)[0]  # fmt: skip
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
        by_index = self._condition is None and self._store.manifest["hnsw"] and count > EXACT
        by_index = by_index and 2 * (k + SPARE) <= BREADTH
        if by_index:
            self._store.run("SELECT set_config('hnsw.ef_search', %s, false)", [str(max(LOOKED, 2 * (k + SPARE)))])  # fmt: skip
        # an expression is no longer what the index sorts by
        order = "statim_vector <=> %s::vector" if by_index else "(statim_vector <=> %s::vector) + 0"
        text = f"SELECT statim_position, statim_vector FROM {{table}} WHERE statim_vector IS NOT NULL AND {{where}} ORDER BY {order} LIMIT %s"
        for i in np.flatnonzero(~zero):
            found = self._store.run(text, [*values, _spelt(asked[i]), k + SPARE], where=where)
            if found:
                places = np.array([row[0] for row in found], np.int64)
                exact = _dots([row[1] for row in found], asked[i])
                best = np.lexsort((places, -exact))[:k]
                scores[i, : len(best)], positions[i, : len(best)] = exact[best], places[best]
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        asked, _ = unit(self._matching(queries))
        scores = np.zeros(positions.shape, np.float32)
        text = "SELECT statim_position, statim_vector FROM {table} WHERE statim_vector IS NOT NULL AND statim_position = ANY(%s)"
        for query, row, out in zip(asked, positions, scores, strict=True):
            found = self._store.run(text, [row[row >= 0].tolist()])
            if found:
                exact = dict(zip([place for place, _ in found], _dots([v for _, v in found], query), strict=True))  # fmt: skip
                out[:] = [exact.get(place, 0) for place in row.tolist()]
        return scores

    def _matching(self, queries: npt.ArrayLike) -> Floats:
        given = matrix(queries, "the queries")
        check_width(given, self._store.manifest["dimensions"], self._store.place)
        return given


class _WordsOf:
    """The words of an index, or of the documents that satisfy a condition (see store.WordSide)."""

    def __init__(self, store: Postgres, condition: Condition | None) -> None:
        self._store, self._condition = store, condition

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

    def _found(
        self, query: str, index: int, where: Any, values: list[Any], ending: str, last: list[Any]
    ) -> list[tuple[Any, ...]]:
        """Positions and BM25's scores."""
        if not isinstance(query, str):
            raise InputError(f"query {index} is of type {type(query).__name__}, not str")
        words = Counter(word for word in words_of(query) if word not in self._store.stops)
        terms = {term(word): count for word, count in words.items()}
        if not terms:
            return []
        counted = ", ".join(
            ["(SELECT count(*) FROM {table} WHERE statim_words @> ARRAY[%s]::text[])"] * len(terms)
        )
        (having,) = self._store.run(f"SELECT {counted}", list(terms))
        documents, mean = self._store.refresh()
        parts, numbers = [], []
        for (word, count), df in zip(terms.items(), having, strict=True):
            often = "cardinality(array_positions(words, %s::text))::float8"
            norm = f"(%s * (1 - %s + %s * length / %s) + {often})"
            parts.append(f"%s * ln(1 + (%s - %s + 0.5) / (%s + 0.5)) * {often} / {norm}")
            numbers += [float(count), float(documents), float(df), float(df), word, K1, B, B, max(mean, 1e-9), word]  # fmt: skip
        score = " + ".join(part.replace("%s", "%s::float8").replace("%s::float8::text", "%s::text") for part in parts)  # fmt: skip
        text = (
            "WITH found AS (SELECT statim_position AS position, cardinality(statim_words)::float8 AS length, statim_words AS words "
            f"FROM {{table}} WHERE statim_words && %s::text[] AND {{where}}), scored AS (SELECT position, {score} AS score FROM found) "
            f"SELECT position, score FROM scored{ending}"
        )
        return self._store.run(text, [list(terms), *values, *numbers, *last], where=where)


def _indexed(connection: Any, names: Names, count: int, dim: int) -> bool:
    """Make the HNSW index where there are enough documents for it; gives whether it was made."""
    if count <= EXACT or dim > WIDEST:
        return False
    # several workers would share memory that small servers do not have; a graph beyond its memory takes many times as long
    connection.execute("SET LOCAL max_parallel_maintenance_workers = 0")
    memory = min(MEMORY, 64 + count * (4 * dim + 512) // 2**20)
    connection.execute(f"SET LOCAL maintenance_work_mem = '{memory}MB'")
    connection.execute(names.fill("CREATE INDEX ON {table} USING hnsw (statim_vector vector_cosine_ops)"))
    return True


def _make_tables(connection: Any, names: Names, types: Mapping[str, str], dim: int) -> None:
    sql = names.sql
    columns = [sql.SQL(f"{{}} {kind}").format(sql.Identifier(name)) for name, kind in types.items()]
    text = "CREATE TABLE {table} ({columns}, statim_position bigint NOT NULL, statim_vector vector({dim}), statim_words text[] NOT NULL)"
    connection.execute(names.fill(text, columns=sql.SQL(", ").join(columns), dim=sql.Literal(dim)))
    connection.execute(
        names.fill("CREATE TABLE {parts} (name text, part int, content bytea, PRIMARY KEY (name, part))")
    )


@contextlib.contextmanager
def _model_files(model: StaticModel) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        yield Path(folder) / "model"


def _write_model(connection: Any, names: Names, folder: Path) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            part = 0
            while (content := file.read(PART)) or part == 0:
                values = [f"model/{path.relative_to(folder).as_posix()}", part, content]
                connection.execute(names.fill("INSERT INTO {parts} VALUES (%s, %s, %s)"), values)
                part += 1


def _write_manifest(connection: Any, names: Names, manifest: Mapping[str, Any]) -> None:
    text = "INSERT INTO {parts} VALUES (%s, 0, %s) ON CONFLICT (name, part) DO UPDATE SET content = excluded.content"
    connection.execute(names.fill(text), [MANIFEST, json.dumps(manifest).encode()])


def _spelt(vector: Floats) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def _dots(vectors: list[Any], query: Floats) -> Floats:
    some = np.stack([np.asarray(v.to_numpy() if hasattr(v, "to_numpy") else v, np.float32) for v in vectors])
    exact: Floats = (some * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    return exact
