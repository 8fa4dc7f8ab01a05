"""statim mcp: an index for assistants, over the Model Context Protocol."""

import os
from typing import Annotated

import typer

from statim.cli import options


def mcp(
    index: Annotated[
        str,
        typer.Argument(
            metavar="INDEX",
            help="An index: a folder, or the address of a database.",
            callback=options.address,
        ),
    ],
    http: Annotated[
        bool, typer.Option("--http", help="Listen at /mcp; by default the standard input is answered.")
    ] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With --http: the port; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(help="With --http: the key that callers must send; better in STATIM_API_KEY."),
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Let callers add documents.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="With --http: a name under which the server is reached (repeatable); * for any."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")] = False,
) -> None:
    """Serve an index to assistants, over the Model Context Protocol."""
    options.begin(quiet=True)
    from statim.server.options import KEY_VARIABLE, ServerOptions
    from statim.server.serve import serve_mcp

    key = os.environ.get(KEY_VARIABLE) if api_key is None else api_key
    asked = ServerOptions(host, port, key, writable, allow_hosts=tuple(allow_host or ()))

    def ready(address: str) -> None:
        options.result({"url": address}, f"serving at {address}; stop with Ctrl-C", json)

    serve_mcp(index, asked, ready if http else None)
