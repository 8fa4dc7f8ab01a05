"""statim cache: what is kept between runs, how to be rid of it, and compiled code made beforehand."""

from typing import Annotated

import typer

from statim.cli import options

app = typer.Typer(
    help="Look at the cache, clear it, or compile beforehand.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("info")
def info(json: options.Json = False) -> None:
    """Where the cache is and what it holds."""
    from statim import cache

    entries = cache.info()
    lines = [f"{cache.folder()}  (STATIM_CACHE moves it)"]
    lines += [
        f"  {entry.kind:12} {entry.files:6,} files {options.size(entry.bytes):>10}  {entry.holds}"
        for entry in entries
    ]
    found = {
        "folder": str(cache.folder()),
        "kinds": {
            entry.kind: {"files": entry.files, "bytes": entry.bytes, "holds": entry.holds}
            for entry in entries
        },
    }
    options.result(found, "\n".join(lines), json)


@app.command("clear")
def clear(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind (see statim cache info); by default all.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Delete cached content; everything in it can be made again."""
    from statim import cache
    from statim.errors import InputError

    if kind is not None and kind not in cache.KINDS:
        raise InputError(f"there is no kind {kind!r} in the cache; the kinds are {', '.join(cache.KINDS)}")
    freed = cache.clear(kind)
    options.result({"freed_bytes": freed}, f"{options.size(freed)} freed", json)


@app.command("compile")
def compile_(
    every: Annotated[
        bool, typer.Option("--all", help="For every level of x86-64 processors, as wheels are made.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Compile the kernels of usual runs into the installation, so that first runs need not."""
    from statim.errors import InputError
    from statim.kernels import processor
    from statim.kernels.prepare import prepare

    levels = processor.LEVELS if every else [level for level in [processor.level()] if level]
    if not levels:
        raise InputError(
            "code is compiled beforehand for x86-64 processors with AVX2, and numba without settings of its "
            "own; this machine compiles what each run needs, once"
        )
    made = {path.name: path.stat().st_size for path in map(prepare, levels)}
    lines = [f"{name} {options.size(size)}" for name, size in made.items()]
    options.result({"files": made}, "\n".join(lines), json)
