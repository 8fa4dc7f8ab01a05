"""An option's single definition: help line, default, allowed values, and panel."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from statim.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KEY = "option"  # in a field's metadata

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, repr=False, eq=False)
class Option:
    """What the command line, the checks and the documentation know of an option.

    Attributes:
        help: One line for the verb's help, without the default.
        panel: The panel of the help that shows it; empty for the options that people use first.
        usual: The value where none is given, if it is always the same.
        least: The least value that is allowed; None where there is no bound.
        most: The greatest value that is allowed; None where there is no bound.
        whole: Must the value be a whole number?
        choices: The values that are allowed; empty where there is no list of them.
        says: What messages call it; by default the keyword with spaces.
        flag: The flag on the command line; None for the keyword with dashes, empty where there is none.
    """

    help: str
    panel: str = ""
    usual: Any = None
    least: float | None = None
    most: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()
    says: str = ""
    flag: str | None = None

    def check(self, keyword: str, value: object) -> None:
        """Refuse a value that is not allowed; None is allowed, since it asks for the default.

        Raises:
            InputError: It is out of range, or none of the choices.
        """
        name = self.says or keyword.replace("_", " ")
        if value is not None and self.choices and value not in self.choices:
            raise InputError(f"{name} is {value!r}; it must be one of {', '.join(self.choices)}")
        if value is not None and self.least is not None:
            check_number(name, value, self.least, self.most, whole=self.whole)

    def line(self) -> str:
        """The help line with its default."""
        if self.usual is None:
            return self.help
        usual = f"{self.usual:g}" if isinstance(self.usual, float) else self.usual
        return f"{self.help.removesuffix('.')} (default {usual})."


def option(line: str, panel: str = "", *, default: Any = None, **more: Any) -> Any:
    """A field of options with this help line; ``more`` are attributes of Option."""
    return dataclasses.field(default=default, metadata={_KEY: Option(line, panel, **more)})


def options_of(
    record: "DataclassInstance | type[DataclassInstance]",
) -> Iterator[tuple["dataclasses.Field[Any]", Option]]:
    """The fields of a record of options, each with what is said of it."""
    for field in dataclasses.fields(record):
        if _KEY in field.metadata:
            yield field, field.metadata[_KEY]


def check_values(record: "DataclassInstance") -> None:
    """Refuse a record of options that holds a value that is not allowed.

    Raises:
        InputError: It does; the message names the first.
    """
    for field, one in options_of(record):
        value = getattr(record, field.name)
        if value is None and field.default is not None and one.least is not None:
            check_number(one.says or field.name, value, one.least, one.most, whole=one.whole)
        one.check(field.name, value)


def check_number(name: str, value: object, least: float, most: float | None, *, whole: bool = False) -> None:
    """Refuse what is not a number within bounds.

    Raises:
        InputError: It is of another type, not finite, or out of bounds.
    """
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if good and least <= value and (most is None or value <= most):  # type: ignore[operator]
        return  # NaN compares false
    low, high = (f"{bound:,}" if whole and bound else f"{bound:g}" for bound in (least, most or 0))
    bounds = f"of at least {low}" if most is None else f"from {low} to {high}"
    raise InputError(f"{name} is {value!r}; it must be {'a whole number' if whole else 'a number'} {bounds}")


def documented(
    record: "type[DataclassInstance]", keywords: type
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function refuse unknown keywords and show the known ones in its signature.

    In the place of ``**options: Unpack[keywords]``.

    Args:
        record: A record of options; its fields have the types and defaults.
        keywords: The TypedDict with the names of the fields to show.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        shown = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        shown += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            for field, _ in options_of(record)
            if field.name in keywords.__annotations__
        ]
        known = {one.name for one in shown}

        @functools.wraps(function)
        def checked(*arguments: P.args, **given: P.kwargs) -> T:
            for name in given:
                if name not in known:
                    raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}")
            return function(*arguments, **given)

        checked.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        return checked

    return decorate
