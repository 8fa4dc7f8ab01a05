"""Printing: escape what a terminal would obey in texts, ids and names."""

import io
import re
import sys
import warnings
from typing import IO, Any, TextIO

# C0 and C1 but for tabs and line breaks; JSON writes the same escapes, so a line of it stays what it is
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """A text whose control characters are escapes, as in JSON. Tabs and line breaks stay."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text, at once: to the standard output, or to ``file``."""
    print(shown(text), file=file, flush=True)


def write(text: str) -> None:
    """Print a text with colours of ours; whatever is not ours in it must be ``shown`` already."""
    print(text, flush=True)


def say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As ``warnings.showwarning``."""
    told = warnings.formatwarning(str(message), category, filename, lineno, line)
    say(told.rstrip("\n"), file or sys.stderr)


def output() -> IO[bytes]:
    """The standard output for tables and JSON lines: bytes as they are, unless it is a terminal."""
    return _Terminal() if sys.stdout.isatty() else sys.stdout.buffer  # type: ignore[return-value]


class _Terminal(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sys.stdout.write(shown(bytes(data).decode("utf-8", "backslashreplace")))
        return len(data)
