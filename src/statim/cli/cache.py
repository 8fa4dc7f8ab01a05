"""statim cache: what is kept between runs, and how to be rid of it."""

from typing import Annotated

import typer

from statim.cli import options

app = typer.Typer(help="Look at the cache, or clear it.", no_args_is_help=True, rich_markup_mode=None)


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
