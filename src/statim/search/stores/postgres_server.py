"""A PostgreSQL server: a connection per process, the names of tables, errors as one sentence."""

import contextlib
import os
import re
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from statim import addresses
from statim.errors import DataError, DependencyError, InputError, StatimError, StorageError

SECONDS = 10  # to wait for a server


class Names:
    """The names of an index's tables, and statements with them.

    Args:
        table: The name of the index.
    """

    def __init__(self, table: str) -> None:
        from psycopg import sql

        self.sql = sql
        self._plain = (table, f"{table}_statim")
        self.table, self.parts = (sql.Identifier(name) for name in self._plain)

    def fill(self, text: str, **parts: Any) -> Any:
        """A statement in which names in braces are the tables and other parts of it."""
        return self.sql.SQL(text).format(table=self.table, parts=self.parts, **parts)

    def quoted(self, connection: Any) -> list[str]:
        """The tables as they stand in a statement."""
        return [name.as_string(connection) for name in (self.table, self.parts)]


class Server:
    """A database with one connection per process: a forked child does not use its parent's.

    Args:
        url: postgresql://user@host:port/database.

    Raises:
        StorageError: There is no server, it lets nobody in, or it has no extension vector.
        InputError: The address cannot be read.
        DependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._open()

    def _open(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()
        self._connection = connect(self._url)
        weakref.finalize(self, _close, self._connection, self._process)

    @contextlib.contextmanager
    def held(self) -> Iterator[Any]:
        """The connection, for this thread alone."""
        if os.getpid() != self._process:
            _close(self._connection, self._process)
            self._open()
        with self._lock:
            yield self._connection


def _close(connection: Any, process: int) -> None:
    """Close a connection; one of a parent process is closed silently, so that its session goes on."""
    if connection.closed:
        return
    if os.getpid() != process:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, connection.fileno())  # in this process alone
        os.close(nowhere)
    connection.close()


def check_name(table: str) -> None:
    """Refuse what is no name for an index.

    Raises:
        InputError: It is empty or too long.
    """
    if not isinstance(table, str) or not 0 < len(table.encode()) <= 40 or "\0" in table:
        raise InputError(f"the name of the table is {str(table)[:50]!r}; give one of 1 to 40 bytes")


def connect(url: str, *, create: bool = False) -> Any:
    """A connection whose statements stand each for themselves, with vectors known."""
    try:
        import psycopg
        from pgvector.psycopg import register_vector
    except ImportError:
        raise DependencyError('a database needs psycopg and pgvector; pip install "statim[stores]"') from None
    place = addresses.said(url)
    connection, said = _tried(url)
    if "authentication failed" in said or "no password" in said:
        raise StorageError(f"{place} does not let you in: the password or the user is wrong")
    if "does not exist" in said:
        raise StorageError(f"{place} refuses: {said[-150:]}; create it, or name another")
    if connection is None:
        raise StorageError(
            f"no PostgreSQL server answers for {place} ({said[-150:]}); "
            "is it running, and is the address right?"
        )
    try:
        with errors_of(place):
            have = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
            if have is None:
                if not create:
                    raise StorageError(
                        f"{place} has no extension vector, so it holds no index; "
                        "make one with `statim index build --store postgresql://...`"
                    )
                try:
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                except psycopg.Error as error:
                    raise StorageError(
                        f"{place} has no extension vector and cannot make it ({first_of(error)}); "
                        "install pgvector on the server, or let an administrator run CREATE EXTENSION "
                        "vector"
                    ) from None
            register_vector(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _tried(url: str) -> tuple[Any, str]:
    """A connection, or None and why there is none. Errors of libpq, which hold the address, end here."""
    import psycopg

    try:
        known = psycopg.conninfo.conninfo_to_dict(addresses.whole(url))
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        known = None
    if known is None:
        raise InputError(f"the address of the database cannot be read; {addresses.HOW}")
    try:
        known = {"connect_timeout": SECONDS, "application_name": "statim", **known}
        return psycopg.connect(**known, autocommit=True), ""
    except psycopg.Error as error:
        return None, " ".join(str(error).split())


def address(connection: Any) -> str:
    """Where a connection leads to, without the password."""
    about = connection.info
    host = about.host if about.host.startswith("/") else f"{about.host}:{about.port}"
    return f"postgresql://{host}/{about.dbname}"


@contextlib.contextmanager
def errors_of(place: str) -> Iterator[None]:
    """PostgreSQL's errors as one sentence."""
    import psycopg
    from psycopg import errors

    try:
        yield
    except StatimError:
        raise
    except errors.UniqueViolation as error:
        found = re.search(r"\(id\)=\((.*)\)", error.diag.message_detail or "", re.DOTALL)
        name = repr(found[1][:80]) if found else "of a document"
        raise DataError(
            f"the id {name} stands twice, or is in the index already; leave it out, or let it be "
            "replaced (statim index update)"
        ) from None
    except (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected):
        raise StorageError(f"another process is changing {place}; wait for it, and try again") from None
    except (psycopg.DataError, errors.CharacterNotInRepertoire) as error:
        raise DataError(f"PostgreSQL cannot store a value ({first_of(error)}); change or drop it") from None
    except psycopg.Error as error:
        raise StorageError(f"{place} refuses: {first_of(error)}") from None


def first_of(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:160]
