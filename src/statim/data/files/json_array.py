"""One JSON array, read item by item: memory holds some items, never the file."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statim.data.files import file_types
from statim.errors import DataError

ITEMS = 1 << 16  # items per part, fewer where they are long (raw.HELD)
NEAR = 16  # characters before the end of a text in which a number, a word or an escape may be cut

_decode = json.JSONDecoder().raw_decode
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=[^ \t\n\r])")
_SPACE = re.compile(r"[ \t\n\r]*")


def parts(pieces: Iterator[str], path: Path, line: int = 1) -> Iterator[tuple[int, list[Any]]]:
    """Items of an array, each part with the number of its first item, from 1.

    Args:
        pieces: The text, cut anywhere.
        path: What messages call it.
        line: The number of the line in which it begins.

    Raises:
        DataError: It is not one whole JSON array, or has an item that is longer than ``raw.line_limit``; the
            message names the line.
    """
    text = _Text(pieces, path, line)
    text.take("[", "Expecting '['")
    number, read = 1, text.read
    items: list[Any] = []
    if text.after_space() != "]":
        while True:
            text.after_space()
            text.whole_values(items)
            items.append(text.value())
            if len(items) >= ITEMS or text.read - read > file_types.HELD:
                yield number, items
                number, items, read = number + len(items), [], text.read
            if text.after_space() != ",":
                break
            text.place += 1
    text.take("]", "Expecting ',' delimiter")
    if text.after_space():
        raise text.error("Extra data", text.place)
    yield number, items


class _Text:
    """The text that is not parsed yet, as far as it is read.

    Attributes:
        place: Where in it the next character is.
        read: The characters read so far.
    """

    def __init__(self, pieces: Iterator[str], path: Path, line: int) -> None:
        self._pieces, self._path, self._line = pieces, path, line
        self._text, self.place, self.read = "", 0, 0
        self._ended = False

    def _more(self) -> None:
        """Read as much again as is waiting, so that a long item is not parsed often; drop what is parsed."""
        self._line += self._text.count("\n", 0, self.place)
        found, size = [self._text[self.place :]], 0
        waiting = len(found[0])
        while size <= waiting and not self._ended:
            piece = next(self._pieces, None)
            self._ended = piece is None
            found.append(piece or "")
            size += len(found[-1])
        self._text, self.place, self.read = "".join(found), 0, self.read + size

    def after_space(self) -> str:
        """The next character that is no white space, "" at the end; ``place`` is there."""
        while True:
            self.place = _SPACE.match(self._text, self.place).end()  # type: ignore[union-attr]
            if self.place < len(self._text) or self._ended:
                return self._text[self.place : self.place + 1]
            self._more()

    def take(self, character: str, message: str) -> None:
        """Go past a character.

        Raises:
            DataError: Another is there.
        """
        if self.after_space() != character:
            raise self.error(message, self.place)
        self.place += 1

    def whole_values(self, items: list[Any]) -> None:
        """Append the values that can be taken as they are; ``place`` is before a value again."""
        with contextlib.suppress(ValueError, RecursionError):  # ``value`` says what is wrong
            while len(items) < ITEMS - 1:
                value, end = _decode(self._text, self.place)
                comma = _COMMA.match(self._text, end)
                if comma is None:
                    return
                items.append(value)
                self.place = comma.end()

    def value(self) -> Any:
        """The value that begins here.

        Raises:
            DataError: It is not JSON, or too long.
        """
        while True:
            try:
                value, end = _decode(self._text, self.place)
                if end < len(self._text) or self._ended:  # else a number might go on
                    self.place = end
                    return value
            except json.JSONDecodeError as error:
                cut = error.pos > len(self._text) - NEAR or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise DataError(f"{self._path} is not valid JSON ({str(error)[:80]})") from None
            if len(self._text) - self.place > file_types.line_limit():
                line = self._line + self._text.count("\n", 0, self.place)
                raise file_types.too_long(self._path, line, "begins an item of more than")
            self._more()

    def error(self, message: str, place: int) -> DataError:
        """What to say of something that is not JSON."""
        line = self._line + self._text.count("\n", 0, place)
        return DataError(f"{self._path}, line {line}: not valid JSON ({message})")
