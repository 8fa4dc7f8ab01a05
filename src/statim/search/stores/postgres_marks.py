"""What statim made in a database, marked by a comment, so that nothing else is dropped or replaced.

Tables and HNSW indexes bear the mark. Those of earlier versions do not: their tables are known by a manifest
in ``NAME_statim`` that names NAME, and by the columns that only statim makes.
"""

import secrets
from typing import Any

from statim.errors import InputError
from statim.search.stores.postgres_server import Names
from statim.search.stores.protocol import FORMAT, MANIFEST
from statim.strict_json import loads

MARK = "statim index"
DOCUMENTS = {"statim_position bigint", "statim_words text[]"}
PARTS = {"name text", "part integer", "content bytea"}

_KNOWN = """SELECT c.oid::regclass::text, c.relkind = 'r', obj_description(c.oid, 'pg_class'), ARRAY(
        SELECT attname || ' ' || format_type(atttypid, NULL) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
    FROM pg_class c WHERE c.oid = to_regclass(%s)"""
_INDEXES = """SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = %s::regclass AND a.amname = 'hnsw'
    AND (obj_description(i.indexrelid, 'pg_class') = %s OR obj_description(i.indrelid, 'pg_class') IS NULL)"""


def temporary() -> str:
    """A name that nothing has."""
    return f"statim_{secrets.token_hex(16)}"


def mark(connection: Any, kind: str, name: Any) -> None:
    """Mark a TABLE or an INDEX as made by statim."""
    from psycopg import sql

    connection.execute(sql.SQL(f"COMMENT ON {kind} {{}} IS {{}}").format(name, sql.Literal(MARK)))


def made_before(connection: Any, names: Names, place: str, *, overwrite: bool) -> list[str]:
    """The tables of an index that a new one may replace, spelt for a statement.

    Raises:
        InputError: There is an index and ``overwrite`` is off, or something of its names that statim did not
            make.
    """
    documents, parts = names.quoted(connection)
    there = {
        name: found
        for name in (documents, parts)
        if (found := connection.execute(_KNOWN, [name]).fetchone()) is not None
    }
    earlier = (
        there.keys() == {documents, parts}
        and set(there[documents][3]) >= DOCUMENTS
        and set(there[parts][3]) >= PARTS
        and _is_manifest(
            connection.execute(
                names.fill(f"SELECT content FROM {{parts}} WHERE name = '{MANIFEST}'")
            ).fetchone()
        )
    )
    for name, is_table, comment, _ in there.values():
        if not (is_table and (comment == MARK or earlier)):
            raise InputError(
                f"{place}: there is {name} already, which statim did not make; choose another name (--table)"
            )
    if there and not overwrite:
        raise InputError(f"{place} exists; choose another name (--table), or allow overwriting (--overwrite)")
    return [found for found, *_ in there.values()]


def _is_manifest(row: tuple[bytes] | None) -> bool:
    try:
        said = loads(row[0]) if row else None
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("format") == FORMAT and said.get("store") == "postgresql"


def drop(connection: Any, names: Names, place: str, *, overwrite: bool) -> None:
    """Drop the tables of the index that a new one replaces, if they are still those of an index.

    Raises:
        InputError: As ``made_before``; somebody may have made a table meanwhile.
    """
    for name in made_before(connection, names, place, overwrite=overwrite):
        connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    for name in made_before(connection, names, place, overwrite=overwrite):
        connection.execute(f"DROP TABLE {name}")


def hnsw_indexes(connection: Any, names: Names) -> list[str]:
    """The HNSW indexes that statim made for a table, spelt for a statement."""
    found = connection.execute(_INDEXES, [names.quoted(connection)[0], MARK]).fetchall()
    return [name for (name,) in found]
