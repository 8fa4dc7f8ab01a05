"""Options that several verbs share, and how they print."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim import addresses
from statim.cli import terminal
from statim.counted import counted
from statim.errors import InputError
from statim.strict_json import dumps

if TYPE_CHECKING:
    from statim.data.files.bad_rows import BadRows

Threads = Annotated[
    int | None,
    typer.Option("--threads", help="Threads; by default STATIM_NUM_THREADS, else all processors at hand."),
]
JSON = "Print the result as one line of JSON."
QUIET = "No progress bars, no notes."
Json = Annotated[bool, typer.Option("--json", help=JSON)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)]
SkipBad = Annotated[
    Path | None,
    typer.Option(
        "--skip-bad",
        metavar="FILE",
        help="Write rows that cannot be used to this .jsonl file and go on; by default the first ends "
        "the run.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at the output.")]

Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TEXTS...]",
        help="Files (.txt with a text a line, .jsonl, .csv, .tsv, .parquet, .arrow), folders of documents "
        "(.md, .html, .pdf, .docx …), or - for the standard input.",
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="Between the fields of CSV files: ; or tab, say; detected by default."),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Of text files: windows-1252, say; by default UTF-8, or UTF-16 with a byte-order mark.",
    ),
]
TEXT = "The column of texts, or several that are joined: subject,body; guessed by default."
Column = Annotated[str | None, typer.Option("--text", "--column", metavar="COLUMNS", help=TEXT)]
Pairs = Annotated[
    list[str],
    typer.Argument(metavar="PAIRS...", help="Files of pairs (as for statim train), or the word python-docs."),
]
Anchor = Annotated[str | None, typer.Option(help="The column of anchors; guessed by default.")]
Positive = Annotated[str | None, typer.Option(help="The column of positives; guessed by default.")]
Negative = Annotated[
    list[str] | None, typer.Option(help="A column of explicit negatives (repeatable); guessed by default.")
]
VectorsBy = Annotated[
    str | None,
    typer.Option(help="The model that makes vectors: folder, word vectors, or hub name (default english)."),
]
Vectors = Annotated[
    Path | None, typer.Option(help="Instead of a model: a .npy file with a vector for each text.")
]
Dim = Annotated[int | None, typer.Option(help="Keep only the first dimensions.")]
Rows = Annotated[Path, typer.Option("--out", "-o", help="The .parquet or .jsonl file to write.")]

Table = Annotated[str, typer.Option("--table", help="In a database: the name of the index's tables.")]
Version = Annotated[
    int | None, typer.Option("--version", help="An older version of the index (see statim index info).")
]


@contextlib.contextmanager
def skipping(path: Path | None, *, overwrite: bool) -> "Iterator[BadRows]":
    """What readers report bad rows to: a file, or an error that tells of ``--skip-bad``.

    Raises:
        InputError: The file exists and ``overwrite`` is off.
    """
    from statim.data.files import bad_rows

    if path is not None and path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name for --skip-bad")
    refused = bad_rows.BadRows(hint="; or leave such rows out with --skip-bad FILE")
    with bad_rows.skipping(refused if path is None else path) as bad:
        yield bad


def skipped(bad: "BadRows", path: Path | None) -> tuple[dict[str, Any], str]:
    """What a result says of bad rows, if there was somewhere to put them: figures, and a line."""
    if path is None:
        return {}, ""
    return {
        "skipped": bad.count,
        "skip_bad": str(path),
    }, f"\n{counted(bad.count, 'bad rows')} skipped, written to {path}"


class _Notes(logging.StreamHandler):  # type: ignore[type-arg]
    """What the library logs, as everything that is printed."""

    def format(self, record: logging.LogRecord) -> str:
        return terminal.shown(super().format(record))


def begin(quiet: bool) -> bool:
    """Send the library's notes to the standard error unless ``quiet``; returns whether to show progress."""
    log = logging.getLogger("statim")
    log.handlers = [] if quiet else [_Notes(sys.stderr)]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    return not quiet


def address(given: str | None) -> str | None:
    """What names an index, with a hint where it holds a password."""
    if given is not None and addresses.has_password(given):
        note(
            "note: every user of this machine can see a password in a command; "
            f"put the address into {addresses.VARIABLE}, or the password into PGPASSWORD or ~/.pgpass",
            quiet=False,
        )
    return given


def note(text: str, quiet: bool) -> None:
    """A line for a person, on the standard error."""
    if not quiet:
        terminal.say(text, sys.stderr)


def result(value: Any, text: str, as_json: bool) -> None:
    """The result: JSON on one line, or the text."""
    terminal.say(dumps(value) if as_json else text)


def one_or_several(given: Sequence[Any] | None) -> Any:
    """The value of a repeatable option: one value as it is, several as a list, None for none."""
    return given[0] if given and len(given) == 1 else given or None


def sources(given: list[str] | None, delimiter: str | None = None, encoding: str | None = None) -> Any:
    """Names on the command line as sources of texts: files, or "-"; None for none."""
    named = read_as(given, delimiter, encoding) if given else None
    return one_or_several(
        [name if name == "-" or isinstance(name, Path) else Path(name) for name in (named or ())]
    )


def read_as(given: Any, delimiter: str | None, encoding: str | None) -> Any:
    """Files on the command line that are read so; see ``statim.data.files.text_file``.

    Raises:
        InputError: There is no such delimiter or encoding, or it is named for the standard input.
    """
    if delimiter is None and encoding is None:
        return given
    if given in (None, "-", ["-"]) or (isinstance(given, list) and "-" in given):
        raise InputError(
            "--delimiter and --encoding are of files; the standard input has a text on each line, in UTF-8"
        )
    from statim.data.files.text_file import read_as as library

    return library(given, delimiter, encoding)


def numbers(given: str | None, name: str) -> list[int] | None:
    """``32,64,128`` as a list of whole numbers."""
    if given is None:
        return None
    try:
        return [int(part) for part in given.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(
            f"{name} is {given!r}; give whole numbers with commas between, like 32,64,128"
        ) from None


def weights(given: list[str], name: str) -> dict[str, float]:
    """``faq=2`` and ``forum=0.5`` as a mapping."""
    found: dict[str, float] = {}
    for item in given:
        key, _, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            key = ""
        if not key or key in found:
            raise typer.BadParameter(
                f"{name} is {item!r}; give the name of a set and a number, each set once, like faq=2"
            )
        found[key] = value
    return found


def teachers(given: list[str] | None) -> Any:
    """``A`` or ``A`` and ``B`` as they are; ``A`` and ``B:0.5`` as a mapping to weights, 1 by default."""
    found: dict[str, float] = {}
    for item in given or ():
        name, mark, number = item.rpartition(":")
        try:
            weight = float(number) if mark and name and not Path(item).exists() else None
        except ValueError:
            weight = None
        key = item if weight is None else name
        if key in found:
            return given  # the library says that one is named twice
        found[key] = 1.0 if weight is None else weight
    weighted = any(name not in (given or ()) for name in found)
    return found if weighted else one_or_several(given)


def limits(given: list[str], name: str) -> dict[str, int]:
    """``faq=10000`` as a mapping."""
    found: dict[str, int] = {}
    for key, value in weights(given, name).items():
        if not value.is_integer():
            raise typer.BadParameter(f"{name} is {value:g} for {key}; give a whole number, like {key}=10000")
        found[key] = int(value)
    return found


def count_or_file(given: str | None) -> int | str | None:
    """``500`` as a number, anything else as it is."""
    return int(given) if given is not None and given.lstrip("-").isdigit() else given


def lines(path: Path | None, name: str) -> list[str] | None:
    """The lines of a text file but for empty ones.

    Raises:
        InputError: It cannot be read, or is no text.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"{name} {path} cannot be read: {reason}") from None
    return [stripped for line in text.split("\n") if (stripped := line.rstrip("\r"))]


def thresholds(found: Mapping[str, Mapping[str, float]]) -> str:
    """The scores that shares of the right answers reach, for a person."""
    said = (
        f"{mode}: " + ", ".join(f"{share}% {score:.3f}" for share, score in scores.items())
        for mode, scores in found.items()
    )
    return "; ".join(said) or "none"


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
