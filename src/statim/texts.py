"""Texts in any container (list, numpy, Arrow, pandas, Polars, stream) as lists of str, in chunks.

Ids are held in the same ways; ``ids`` reads them, numbers among them too.
"""

import itertools
import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from statim.errors import InputError

# How columns turn a slice of themselves into a list of str, far faster than item by item
LISTERS = ("to_pylist", "to_list", "tolist")
CHUNK = 1 << 14
WHOLE = 2.0**63  # whole numbers below are written like those of 64 bits


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts to be read once, in order.

    Attributes:
        held: A list, a tuple, a column whose slices are by position, or any other iterable.
        length: The number of texts; None for what can only be read as a stream.
    """

    held: Any
    length: int | None

    @staticmethod
    def of(texts: object, name: str = "texts") -> "Texts":
        """Take what a caller gave; one str counts as one text.

        Args:
            texts: What was given.
            name: What messages call it.

        Raises:
            InputError: It is neither a str nor an iterable, or it is a whole table.
        """
        kind = type(texts).__name__
        if isinstance(texts, str):
            return Texts([texts], 1)
        if is_table(texts):
            raise InputError(f"{name} is of type {kind}, which has several columns; give one of them")
        if isinstance(texts, (bytes, bytearray, memoryview)) or not isinstance(texts, Iterable):
            raise InputError(f"{name} is of type {kind}; give a str or an iterable of str")
        if getattr(texts, "ndim", 1) != 1:
            raise InputError(
                f"{name} is a {kind} of {getattr(texts, 'ndim', 0)} dimensions; give one of 1 dimension"
            )
        held = cast(Any, texts)
        if hasattr(held, "iloc"):
            held = held.array  # a pandas Series may slice by label, its array does not
        if isinstance(held, (list, tuple)) or (hasattr(held, "__getitem__") and _lister(held)):
            return Texts(held, len(held))
        return Texts(held, None)

    def all(self) -> list[Any]:
        """What is held, as a list."""
        return [text for _, chunk in self.chunks(CHUNK) for text in chunk]

    def chunks(self, size: int) -> Iterator[tuple[int, list[str]]]:
        """Lists of ``size`` texts (the last may be shorter), each with the position of its first."""
        if self.length is None:
            iterator = iter(self.held)
            position = 0
            while chunk := list(itertools.islice(iterator, size)):
                yield position, chunk
                position += len(chunk)
            return
        lister = _lister(self.held)
        for position in range(0, self.length, size):
            part = self.held[position : position + size]
            yield position, getattr(part, lister)() if lister else list(part)

    def checked(self) -> list[str]:
        """All texts.

        Raises:
            InputError: One is not a str; the message names its position.
        """
        found = self.all()
        check(found)
        return found


def check(texts: list[Any], position: int = 0) -> None:
    """Refuse what is not a text.

    Args:
        texts: What should be texts.
        position: That of the first, for messages.

    Raises:
        InputError: One is not a str; the message names its position.
    """
    if set(map(type, texts)) - {str}:
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(
                    f"text {position + index:,} is of type {type(text).__name__}, not str; "
                    "give every text as a str (an empty one for a missing text)"
                )


def is_table(given: object) -> bool:
    """Does it have columns: a mapping, a data frame, an Arrow table, a data set?"""
    return isinstance(given, Mapping) or hasattr(given, "columns") or hasattr(given, "column_names")


def is_column(given: object) -> bool:
    """Is it one column of a library: of numpy, Arrow, pandas or Polars?"""
    return _lister(given) is not None and not is_table(given)


def ids(given: object, name: str = "ids") -> list[str]:
    """Ids as text: one str or number, or several in any container that ``Texts`` reads; 7 and 7.0 are "7".

    Raises:
        InputError: One is neither a str nor a number, or they are a whole table; the message names its
            position.
    """
    listed: list[Any] = [given] if isinstance(given, (str, numbers.Number)) else Texts.of(given, name).all()
    if set(map(type, listed)) - {str}:
        listed = [_id(value, position, name) for position, value in enumerate(listed)]
    return listed


def of_number(value: Any) -> str:
    """A number as text with all its digits; a whole one without a point: 7654321.0 is "7654321"."""
    return str(int(value)) if abs(value) < WHOLE and value == int(value) else str(value)


def _id(value: Any, position: int, name: str) -> str:
    if isinstance(value, str):
        return value
    number = isinstance(value, numbers.Number) and not isinstance(value, bool)
    if number and value == value:
        return of_number(value)
    kind = "missing" if number or value is None else f"of type {type(value).__name__}"
    raise InputError(f"{name}: number {position:,} is {kind}; give every id as a str or a number")


def _lister(held: object) -> str | None:
    return next((name for name in LISTERS if hasattr(held, name)), None)
