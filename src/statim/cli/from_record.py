"""The options of a verb from a record of options (see statim.option): the flags, and their values back."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import options

if TYPE_CHECKING:
    from statim.option import Option


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


Written = Mapping[str, Text]
SEVERAL = list[str] | None
REQUIRED = inspect.Parameter.empty
TEXT = Text(str | None)


def parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    """A parameter that typer sees."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def parameters(record: Any, panels: Sequence[str], written: Written) -> Iterator[inspect.Parameter]:
    """The options of a record, those without a panel first, then each panel's; then --json and --quiet.

    Args:
        record: A dataclass whose fields are options.
        panels: The panels in the order of the help.
        written: The options that the command line writes differently, by keyword.

    Yields:
        A parameter for each option that has a flag.
    """
    from statim.option import options_of

    fields = [(field, one) for field, one in options_of(record) if one.flag != ""]
    for field, one in sorted(fields, key=lambda pair: ("", *panels).index(pair[1].panel)):
        yield _flag(field, one, written.get(field.name, Text(field.type)))
    for name, flags, line in (
        ("json", ["--json"], options.JSON),
        ("quiet", ["--quiet", "-q"], options.QUIET),
    ):
        yield parameter(name, Annotated[bool, typer.Option(*flags, help=line, rich_help_panel="Run")], False)


def _flag(field: "Field[Any]", one: "Option", text: Text) -> inspect.Parameter:
    flags = [f"--{one.flag or field.name.replace('_', '-')}", *filter(None, [text.short])]
    described = typer.Option(
        *flags,
        metavar=text.metavar,
        help=one.line(),
        rich_help_panel=one.panel or None,
        show_default=False,
    )
    default = field.default if text.kind == field.type else False if text.kind is bool else None
    return parameter(field.name, Annotated[text.kind, described], default)


def values(given: Mapping[str, Any], written: Written) -> dict[str, Any]:
    """The keywords' values of what the command line gave."""
    return {name: written[name].read(value) if name in written else value for name, value in given.items()}


def show(verb: Callable[..., None], seen: Sequence[inspect.Parameter]) -> None:
    """Let typer see these parameters of a verb."""
    verb.__signature__ = inspect.Signature(seen)  # type: ignore[attr-defined]
    verb.__annotations__ = {one.name: one.annotation for one in seen}
