"""statim train: from pairs of text, texts with labels, or documents to a trained, evaluated, saved model."""

import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import options
from statim.errors import InputError

if TYPE_CHECKING:
    from statim.training.option import Option

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PAIRS...",
        help="Files of pairs, of pairs with scores, or of texts with labels (.jsonl, .csv, .tsv, "
        ".parquet, .arrow; text files "
        "also .gz or .zst), a datasets folder, or the word python-docs: the documentation inside this "
        "Python installation. Or "
        "documents without pairs: a folder of text files, a .txt file, or a file with one column of text.",
    ),
]


@dataclass(frozen=True)
class Text:
    """How an option is written on the command line, where it differs from the Python keyword.

    Attributes:
        kind: Its type there.
        read: Makes the keyword's value of it.
        metavar: What stands for the value in the help.
        short: A short flag, if it has one.
    """

    kind: Any
    read: Callable[[Any], object] = lambda value: value
    metavar: str | None = None
    short: str | None = None


def _names(text: str | None) -> list[str] | None:
    """``stdlib,numpy`` as a list."""
    return None if text is None else [name for part in text.split(",") if (name := part.strip())]


SEVERAL = list[str] | None
TEXT, FILE = Text(str | None), Text(Path | None)
FLAG = Text(bool, lambda given: given or None)
WRITTEN = {
    "out": Text(Path | None, short="-o"),
    "resume": FILE,
    "overwrite": Text(bool),
    "start": TEXT,
    "tokenizer": TEXT,
    "anchor": TEXT,
    "positive": TEXT,
    "negative": Text(SEVERAL),
    "packages": Text(str | None, _names),
    "make_pairs": TEXT,
    "set_weights": Text(
        SEVERAL, lambda given: options.weights(given or [], "--weight") or None, "NAME=NUMBER"
    ),
    "set_limits": Text(SEVERAL, lambda given: options.limits(given or [], "--limit") or None, "NAME=COUNT"),
    "prune_vocabulary": FLAG,
    "freeze": Text(Path | None, lambda given: options.lines(given, "--freeze")),
    "matryoshka": Text(str | None, lambda given: options.numbers(given, "--matryoshka")),
    "both_directions": FLAG,
    "row_wise": FLAG,
    "distil": Text(SEVERAL, options.one_or_several, "TEXTS"),
    "teacher": Text(SEVERAL, options.one_or_several),
    "documents_by": Text(str | None, metavar="TEACHER"),
    "heldout": Text(str | None, options.count_or_file),
    "development": Text(str | None, options.count_or_file),
    "baselines": Text(bool, lambda left_out: False if left_out else None),
    "tensorboard": FILE,
}


def _shown() -> list[tuple[Field[Any], "Option"]]:
    """The options of the command line: those without a panel, then each panel's."""
    from statim.training.option import PANELS, options_of
    from statim.training.options import TrainOptions

    fields = [(field, one) for field, one in options_of(TrainOptions) if one.flag != ""]
    return sorted(fields, key=lambda pair: ("", *PANELS).index(pair[1].panel))


def _parameters() -> Iterator[inspect.Parameter]:
    """The parameters that typer sees."""

    def parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    yield parameter("sources", Sources)
    for field, one in _shown():
        text = WRITTEN.get(field.name, Text(field.type))
        flags = [f"--{one.flag or field.name.replace('_', '-')}", *filter(None, [text.short])]
        described = typer.Option(
            *flags, metavar=text.metavar, help=one.line(), rich_help_panel=one.panel or None
        )
        yield parameter(field.name, Annotated[text.kind, described], False if text.kind is bool else None)
    yield parameter(
        "json", Annotated[bool, typer.Option("--json", help=options.JSON, rich_help_panel="Run")], False
    )
    yield parameter(
        "quiet",
        Annotated[bool, typer.Option("--quiet", "-q", help=options.QUIET, rich_help_panel="Run")],
        False,
    )


def train(sources: list[str] | None, json: bool, quiet: bool, **given: Any) -> None:
    """Train a static model on pairs, labelled texts or documents; compare it with BM25 and its teacher."""
    first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    progress = options.begin(quiet or json or not first)
    out, resume = given["out"], given["resume"]
    if not sources and not given["distil"] and resume is None:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (statim train PAIRS --out DIR)"
        )
    if resume is not None and out is not None and out != resume:
        raise InputError(
            f"--out is {out} and --resume is {resume}; a resumed training writes to the folder it began with"
        )
    if out is None and resume is None:
        raise InputError("no output was given; name a folder for the model (--out DIR)")
    from statim.training.train import train as run

    values: dict[str, Any] = {
        name: WRITTEN[name].read(value) if name in WRITTEN else value for name, value in given.items()
    }
    values |= {"out": resume or out, "resume": resume is not None, "progress": progress}
    result = run(options.one_or_several(sources), **values)
    if first:
        options.result(
            result.to_dict() | {"out": str(resume or out)}, f"{result}\nsaved to {resume or out}", json
        )


def _show(parameters: list[inspect.Parameter]) -> None:
    """Let typer see these parameters."""
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {one.name: one.annotation for one in parameters}


def add_options() -> None:
    """Give the verb its options. Only when it is the one to run, so that the others start sooner."""
    _show(list(_parameters()))


_show([])
