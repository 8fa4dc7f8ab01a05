"""The process: a socket, uvicorn, and a stop that lets requests end."""

import errno
import signal
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from statim.errors import DependencyError, InputError
from statim.server.options import ServerOptions

if TYPE_CHECKING:
    from statim.server.request import App

IDLE = 75  # seconds that a connection may be idle; longer than load balancers keep theirs
WAITING = 512  # connections that wait to be accepted


def serve(places: Iterable[str], options: ServerOptions, ready: Callable[[str], None]) -> None:
    """Serve models and indexes until a signal comes.

    Args:
        places: Models and indexes, each may be ``NAME=PLACE``.
        options: Where, for whom, and how much.
        ready: Called with the server's address when it can be asked.

    Raises:
        InputError: The port is in use or the address is none of this machine's; or as for ``Catalog``.
        ModelError: There is neither a model nor an index at a place.
        DependencyError: FastAPI, uvicorn or orjson is not installed.
    """
    try:
        from statim.server.app import make_app
    except ImportError:
        raise _missing("a server", "FastAPI, uvicorn and orjson", "server") from None
    listen(lambda: make_app(places, options), options, ready)


def serve_mcp(place: str, options: ServerOptions, ready: Callable[[str], None] | None) -> None:
    """Serve an index over the Model Context Protocol: over HTTP until a signal comes, or the standard input.

    Args:
        place: The index.
        options: Whether it may be changed; over HTTP, where and for whom.
        ready: Called with the server's address when it can be asked; None for the standard input and output.

    Raises:
        InputError: As for ``serve``, or there is a model at ``place``.
        ModelError: There is neither a model nor an index at ``place``.
        DependencyError: The package ``mcp`` is not installed.
    """
    try:
        from statim.server.mcp import make_http_app, make_server
    except ImportError:
        raise _missing("an MCP server", "the package mcp", "mcp") from None
    if ready is None:
        make_server(place, options).run("stdio")
    else:
        listen(lambda: make_http_app(place, options), options, ready, path="/mcp", lifespan="on")


def _missing(what: str, needed: str, extra: str) -> DependencyError:
    return DependencyError(f'{what} needs {needed}; pip install "statim[{extra}]"')


def listen(
    make: "Callable[[], App]",
    options: ServerOptions,
    ready: Callable[[str], None],
    path: str = "",
    lifespan: Literal["on", "off"] = "off",
) -> None:
    """Run an application until an interrupt or termination; requests under way are answered first."""
    import uvicorn

    with bound(options.host, options.port) as listening:
        config = uvicorn.Config(
            make(), lifespan=lifespan, ws="none", log_level="critical", access_log=False, server_header=False,
            date_header=False, timeout_keep_alive=IDLE, timeout_graceful_shutdown=int(options.timeout) or 1,
        )  # fmt: skip
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # uvicorn raises it again when all is answered
        listening.listen(WAITING)
        ready(_address(options.host, listening.getsockname()[1]) + path)
        uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        InputError: The port is in use, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for sockets that name their protocol; it would cost 40 ms an answer
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is in use; stop what uses it, or give another with --port"
            ) from None
        if error.errno == errno.EACCES:
            raise InputError(
                f"port {port} is for the system alone; give one above 1023 with --port"
            ) from None
        raise InputError(
            f"the host {host!r} is no address of this machine ({error.strerror or error}); "
            "give 127.0.0.1 or 0.0.0.0"
        ) from None
    return found


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
