"""What a condition on the columns of documents is made of."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace

Value = bool | int | float | str | datetime.date | datetime.datetime


@dataclass(frozen=True)
class Compare:
    """``column op value``; ``op`` is one of = != < <= > >=."""

    column: str
    op: str
    value: Value


@dataclass(frozen=True)
class Among:
    """``column in (values)``."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """``column like pattern``."""

    column: str
    pattern: str


@dataclass(frozen=True)
class Missing:
    """``column is null``."""

    column: str


@dataclass(frozen=True)
class Not:
    """``not part``."""

    part: "Condition"


@dataclass(frozen=True)
class Every:
    """All of the parts are true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Some:
    """One of the parts is true."""

    parts: tuple["Condition", ...]


Condition = Compare | Among | Like | Missing | Not | Every | Some


def renamed(condition: Condition, names: Mapping[str, str]) -> Condition:
    """A condition on columns of other names."""
    if isinstance(condition, (Every, Some)):
        return replace(condition, parts=tuple(renamed(part, names) for part in condition.parts))
    if isinstance(condition, Not):
        return Not(renamed(condition.part, names))
    return replace(condition, column=names[condition.column])
