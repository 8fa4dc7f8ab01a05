"""A real PostgreSQL with pgvector, which the tests start themselves and stop."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a new server whose data are in ``folder``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder for sockets that it does not use
        import pgserver

        started = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield started.get_uri()
    finally:
        started.cleanup()
