"""Texts as people hold them (a list, a column of numpy, Arrow, pandas or Polars, a stream), as lists of str, a chunk at a time."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from statim.errors import InputError

# How columns turn a slice of themselves into a list of str, far faster than item by item
LISTERS = ("to_pylist", "to_list", "tolist")


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
    def of(texts: object) -> "Texts":
        """Take what a caller gave; one str counts as one text.

        Raises:
            InputError: It is neither a str nor an iterable, or it is a whole table.
        """
        kind = type(texts).__name__
        if isinstance(texts, str):
            return Texts([texts], 1)
        if isinstance(texts, Mapping) or hasattr(texts, "columns"):
            raise InputError(f"texts is of type {kind}, which has several columns; give one of them")
        if isinstance(texts, (bytes, bytearray, memoryview)) or not isinstance(texts, Iterable):
            raise InputError(f"texts is of type {kind}; give a str or an iterable of str")
        if getattr(texts, "ndim", 1) != 1:
            raise InputError(
                f"texts is a {kind} of {getattr(texts, 'ndim', 0)} dimensions; give one of 1 dimension"
            )
        held = cast(Any, texts)
        if hasattr(held, "iloc"):
            held = held.array  # a pandas Series may slice by label, its array does not
        if isinstance(held, (list, tuple)) or (hasattr(held, "__getitem__") and _lister(held)):
            return Texts(held, len(held))
        return Texts(held, None)

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


def _lister(held: object) -> str | None:
    return next((name for name in LISTERS if hasattr(held, name)), None)
