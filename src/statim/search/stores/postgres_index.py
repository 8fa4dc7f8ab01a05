"""The HNSW index of a table of PostgreSQL: made, measured, asked and made again.

Building it takes a fifth of the time of adding the same rows to it one by one, so a change of many rows drops
it and builds it again. A deleted row keeps its place in it: it is a candidate like others until VACUUM has
gone through the index, which takes longer than building it. So a search asks for more rows than it needs, and
where it gets fewer it looks further, or compares with every vector. Once many rows are dead, the index is
built again without them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.recall import SIZE, Sample
from statim.search.engines.tuning import AIM, DEPTH, Recall, least_effort
from statim.search.stores.postgres_marks import hnsw_indexes, mark, temporary
from statim.search.stores.postgres_server import Names

EXACT = 20_000  # documents up to which all are compared
WIDEST = 2000  # dimensions that pgvector can index
MEMORY = 2048  # MB that building it may take
LOOKED = 200  # the fewest candidates that a search looks at
BREADTH = 1000  # the most that pgvector lets it look at
SPARE = 16  # more than asked for, among which the exact scores choose
SHARE = 0.2  # of the documents; when that share changes at once, or is dead, the index is built again
PATIENCE = "2s"  # to wait for searches to end before the index is dropped; else it stays
BLOCK = 1 << 13  # rows read at a time

Ask = Callable[
    [str, Sequence[Any]], list[tuple[Any, ...]]
]  # the rows that a statement on {table}, where {where}, gives

_FOUND = "FROM {table} WHERE statim_vector IS NOT NULL AND {where}"
_NEAR = f"""SELECT statim_position, CASE WHEN row_number() OVER () <= %s THEN statim_vector END FROM (
    SELECT statim_position, statim_vector {_FOUND} ORDER BY statim_vector <=> %s::vector LIMIT %s) near"""
# an expression is no longer what the index sorts by
_ALL = f"SELECT statim_position, statim_vector {_FOUND} ORDER BY (statim_vector <=> %s::vector) + 0 LIMIT %s"


def nearest(
    ask: Ask, query: Floats, k: int, effort: int | None, values: Sequence[Any] = ()
) -> tuple[Positions, Floats]:
    """The k nearest rows of one query: positions and cosines, best first.

    Half of the candidates that the index looks at must be rows that are still there: then the nearest of them
    are found as surely as in an index without dead rows. Where they are fewer, a server with pgvector 0.8
    looks on until they are enough. Other servers, and those that find too few even so, compare with every
    vector.

    Args:
        ask: Runs a statement.
        query: (d,) of length 1.
        k: How many.
        effort: Candidates to look at; None compares with every vector.
        values: Of the condition, where there is one.
    """
    spelt, wanted = _spelt(query), k + SPARE
    if effort is not None and 2 * wanted <= BREADTH:
        breadth = max(effort, 2 * wanted)
        ask("SELECT set_config('hnsw.ef_search', %s, false)", [str(breadth)])
        asked = [wanted, *values, spelt, breadth // 2]
        found = ask(_NEAR, asked)
        if len(found) < breadth // 2 and _looks_on(ask):
            ask("SELECT set_config('hnsw.iterative_scan', 'strict_order', false)", [])
            found = ask(_NEAR, asked)
        if len(found) == breadth // 2:
            return _best(found[:wanted], query, k)
    return _best(ask(_ALL, [*values, spelt, wanted]), query, k)


def cosines(vectors: Sequence[Any], query: Floats) -> Floats:
    """The cosines of stored vectors with a query of length 1."""
    found: Floats = (_matrix(vectors) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    return found


def _best(found: list[tuple[Any, ...]], query: Floats, k: int) -> tuple[Positions, Floats]:
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    places = np.array([row[0] for row in found], np.int64)
    scores = cosines([row[1] for row in found], query)
    best = np.lexsort((places, -scores))[:k]
    return places[best], scores[best]


def _looks_on(ask: Ask) -> bool:
    """Has the server pgvector 0.8 or later?"""
    ((version,),) = ask("SELECT extversion FROM pg_extension WHERE extname = 'vector'", [])
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= (0, 8)


def wanted(manifest: Mapping[str, Any]) -> bool:
    """Do the documents of an index ask for an HNSW index?"""
    return bool(manifest["documents"] > EXACT and manifest["dimensions"] <= WIDEST)


def made(connection: Any, names: Names, count: int, dim: int) -> dict[str, Any]:
    """Make the index, choose how many candidates a search looks at, and return its part of the manifest."""
    # several workers would share memory that small servers do not have; a graph beyond its memory takes far
    # longer
    connection.execute("SET LOCAL max_parallel_maintenance_workers = 0")
    memory = min(MEMORY, 64 + count * (4 * dim + 512) // 2**20)
    connection.execute(f"SET LOCAL maintenance_work_mem = '{memory}MB'")
    own = names.sql.Identifier(temporary())
    connection.execute(
        names.fill("CREATE INDEX {own} ON {table} USING hnsw (statim_vector vector_cosine_ops)", own=own)
    )
    mark(connection, "INDEX", own)
    sample, found = _sample(connection, names), {}

    def ask(text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = connection.execute(
            names.fill(text, where=names.sql.SQL("true")), values
        ).fetchall()
        return rows

    def recall(effort: int) -> float:
        found[effort] = sample.recall(lambda query, k: nearest(ask, query, k, effort))
        return found[effort].recall

    effort = LOOKED
    if recall(LOOKED) < AIM:
        effort = max(LOOKED, least_effort(recall, AIM, 2 * LOOKED, BREADTH)[0])
    return {"hnsw": True, "effort": effort, **found[effort]._asdict(), "dead": 0}


def without(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says when there is no index."""
    gone = ("effort", *Recall._fields)
    return {name: value for name, value in manifest.items() if name not in gone} | {"hnsw": False}


def dropped(connection: Any, names: Names) -> bool:
    """Drop our index, nobody else's; False if another user owns it or searches do not end in time."""
    import psycopg

    found = hnsw_indexes(connection, names)
    with contextlib.suppress(psycopg.Error), connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        for name in found:
            connection.execute(f"DROP INDEX {name}")
        return True
    return False


def vacuumed(connection: Any, names: Names) -> None:
    """Vacuum the table's dead rows and its other indexes, if the server allows; outside a transaction."""
    import psycopg

    with contextlib.suppress(psycopg.Error):
        connection.execute(names.fill("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) {table}"))


def _sample(connection: Any, names: Names) -> Sample:
    """Some vectors, each compared with all."""
    text = "SELECT statim_position, statim_vector FROM {table} WHERE statim_vector IS NOT NULL"
    some = connection.execute(
        names.fill(f"{text} ORDER BY hashint8(statim_position) LIMIT %s"), [SIZE]
    ).fetchall()
    places = np.array([row[0] for row in some], np.int64)
    return Sample(places, _matrix([row[1] for row in some]), _blocks(connection, names.fill(text)), DEPTH)


def _blocks(connection: Any, text: Any) -> Iterator[tuple[Positions, Floats]]:
    with connection.cursor("statim_sample", binary=True) as cursor:
        cursor.execute(text)
        while rows := cursor.fetchmany(BLOCK):
            yield np.array([row[0] for row in rows], np.int64), _matrix([row[1] for row in rows])


def _matrix(vectors: Sequence[Any]) -> Floats:
    rows = [np.asarray(v.to_numpy() if hasattr(v, "to_numpy") else v, np.float32) for v in vectors]
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _spelt(vector: Floats) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"
