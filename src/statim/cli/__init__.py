"""The command line: one file per verb; each parses and calls the library.

Results go to the standard output, everything else to the standard error. Whatever statim refuses ends with
one sentence and exit code 2; an interrupt with 130.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Annotated

import typer

from statim import __version__, addresses
from statim.cli import (
    cache,
    check,
    classify,
    cluster,
    compare,
    demo,
    drift,
    duplicates,
    encode,
    explain,
    features,
    index,
    info,
    maps,
    mcp,
    mine,
    neighbors,
    quantize,
    recommend,
    search,
    serve,
    teach,
    terminal,
    train,
    tune,
    update,
)
from statim.cli import evaluate as evaluate
from statim.cli.panels import Panelled
from statim.errors import StatimError, on_one_line

app = typer.Typer(
    name="statim",
    help="Train, freeze and use static sentence embeddings in seconds, on the machine you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"statim {__version__}")
        raise typer.Exit


@app.callback()
def _statim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("train", cls=Panelled)(train.train)
app.command("update", cls=Panelled)(update.update)
app.command("mine", cls=Panelled)(mine.mine)
app.command("teach", cls=Panelled)(teach.teach)
app.command("evaluate")(evaluate.evaluate)
app.command("map", cls=Panelled)(maps.map)
app.command("compare")(compare.compare)
app.command("drift")(drift.drift)
app.command("encode")(encode.encode)
app.command("quantize")(quantize.quantize)
index.app.command("tune")(tune.tune)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)
app.command("explain")(explain.explain)
app.command("neighbors")(neighbors.neighbors)
app.command("duplicates")(duplicates.duplicates)
app.command("cluster")(cluster.cluster)
app.add_typer(classify.app, name="classify")
app.add_typer(recommend.app, name="recommend")
app.command("features")(features.features)
app.command("demo")(demo.demo)
app.command("info")(info.info)
app.command("check")(check.check)
app.add_typer(cache.app, name="cache")


# verbs whose options come from a record, which takes time to import
FROM_RECORD = {
    "train": train.add_options,
    "mine": mine.add_options,
    "teach": teach.add_options,
    "map": maps.add_options,
    "update": update.add_options,
}


def add_options(verbs: Iterable[str] = tuple(FROM_RECORD)) -> None:
    """Give verbs their options, so that only the verb to run pays for them."""
    for verb in FROM_RECORD.keys() & set(verbs):
        FROM_RECORD[verb]()


def main() -> None:
    """Run the command line; never shows a traceback for what statim or the operating system refuses."""
    _print_any_name()
    add_options(sys.argv[1:2])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = terminal.say_warning
            code = app(standalone_mode=False)
        sys.stdout.flush()
    except StatimError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; nothing half-written was left", 130)
    except BrokenPipeError:
        _drop_output()  # its reader has left (`| head`)
        sys.exit(0)
    except OSError as error:
        _drop_output()
        _fail(_told(error), 2)
    except MemoryError:
        _fail("there is not enough memory for this; give less at once, or use a machine with more", 2)
    except RecursionError:
        raise
    except Exception as error:
        if _interrupted(error):
            _fail("interrupted; nothing half-written was left", 130)
        if not hasattr(error, "format_message"):  # not the option parser's
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # nothing was asked for: the help is the answer
            terminal.say(error.format_message(), sys.stderr)
            sys.exit(2)
        _fail(f"{' '.join(error.format_message().split())} (see statim --help)", 2)
    else:
        if code == 130:
            terminal.say("error: interrupted; nothing half-written was left", sys.stderr)
        sys.exit(code if isinstance(code, int) else 0)


def _print_any_name() -> None:
    """Print names of files that are not UTF-8, and texts that the terminal has no letters for, with escapes.

    In JSON they are its own, so that a reader gets the name back.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Drop what was not printed yet, so that Python does not try again, and complain, at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: OSError) -> str:
    """What the operating system refused, and of which file, as far as it says so."""
    from statim.files import refusal

    if isinstance(error.filename, (str, bytes)):
        said = error.strerror or type(error).__name__
        return f"{os.fsdecode(error.filename)}: {said}; check the file and its disk, then try again"
    return f"cannot read a file or write the output: {refusal(error)}"


def _interrupted(error: BaseException) -> bool:
    """Did an interrupt cause this? Libraries (a compiler, say) may answer it with an error of their own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _fail(message: str, code: int) -> None:
    # names and contents of files can hold line breaks, and what a terminal obeys
    told = on_one_line(addresses.hidden(message, sys.argv[1:]))
    terminal.say(f"error: {told}", sys.stderr)
    sys.exit(code)
