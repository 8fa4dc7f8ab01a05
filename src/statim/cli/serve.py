"""statim serve: models and indexes over HTTP."""

import os
from typing import Annotated

import typer

from statim.cli import options


def serve(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|INDEX...",
            help="Models and indexes to serve, each under the name of its folder, or NAME=PLACE.",
            callback=lambda given: [options.address(one) for one in given],
        ),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(help="The key that callers must send; better in the variable STATIM_API_KEY."),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let callers add, update and delete documents.")
    ] = False,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 8 << 20,
    max_batch: Annotated[int, typer.Option(help="Texts of a request.")] = 2048,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a request.")] = 500_000,
    max_requests: Annotated[int, typer.Option(help="Requests in flight.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds for a request.")] = 30.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name under which the server is reached (repeatable); * for any."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="An origin whose pages may call the server (repeatable); * for any."),
    ] = None,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line for each request.")] = False,
) -> None:
    """Serve models and indexes over HTTP, with a search page."""
    options.begin(quiet=True)
    from statim.server.options import KEY_VARIABLE, ServerOptions
    from statim.server.serve import serve as run

    if api_key is not None:
        options.note(
            f"note: every user of this machine can see a key in a command; put it into {KEY_VARIABLE}",
            quiet=False,
        )
    asked = ServerOptions(
        host, port, os.environ.get(KEY_VARIABLE) if api_key is None else api_key, writable, max_body,
        max_batch, max_tokens, max_requests, timeout, threads, tuple(allow_host or ()), tuple(cors or ()),
        log=not quiet,
    )  # fmt: skip

    def ready(address: str) -> None:
        options.result({"url": address}, f"serving at {address}; stop with Ctrl-C", json)

    run(places, asked, ready)
    options.note("stopped", quiet)
