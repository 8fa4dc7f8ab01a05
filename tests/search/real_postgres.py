"""A real PostgreSQL with pgvector, which the tests start themselves and stop."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a new server.

    Its data are not in pytest's folder, which only its owner may enter: PostgreSQL does not run as root,
    so where the tests do, pgserver runs it as another user.
    """
    with tempfile.TemporaryDirectory(prefix="statim-postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a folder for sockets that it does not use
            import pgserver

            started = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()
