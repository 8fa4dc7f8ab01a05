"""Rows that cannot be used: the first is refused, or all are written aside while the rest is read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from statim.errors import DataError
from statim.files import atomic_file
from statim.strict_json import dumps

PLACES = {"line": "line {}", "row": "row {}", "item": "item {} of the array", "file": "the whole file"}


class UnusableError(ValueError):
    """What is wrong with a row, before anyone says where it is."""


class BadRows:
    """Refuses the first bad row, or writes each into a file, as JSON lines, once however often it is read.

    Attributes:
        count: The bad rows that were passed over, each once.
        told: The same, each as often as it was read.
        wants_rows: Is a row of use, besides its place?

    Args:
        file: Open for writing; None to refuse.
        hint: The end of the message that refuses.
    """

    def __init__(self, file: IO[bytes] | None = None, *, hint: str = "") -> None:
        self.count = self.told = 0
        self.wants_rows = file is not None
        self._file, self._hint = file, hint
        self._known: set[tuple[str, int]] = set()

    def __call__(
        self, where: str | Path, number: int, reason: str, row: str | None = None, *, unit: str = "line"
    ) -> None:
        """Report a bad row.

        Args:
            where: The file.
            number: The row's number in it, from 1; 0 for the whole file.
            reason: What is wrong, and how to mend it.
            row: The row itself, where it can be written.
            unit: What ``number`` counts, of PLACES.

        Raises:
            DataError: Bad rows are refused.
        """
        if self._file is None:
            place = f" {reason}" if unit == "file" else f", {PLACES[unit].format(number)}: {reason}"
            raise DataError(f"{where}{place}{self._hint}")
        self.told += 1
        if (str(where), number) in self._known:
            return
        self._known.add((str(where), number))
        self.count += 1
        line = number if unit == "line" else None
        found = {
            "file": str(where), "line": line, "row": number if unit in ("row", "item") else None,
            "reason": reason,
            "text": row
        }  # fmt: skip
        self._file.write((dumps(found) + "\n").encode())


REFUSED = BadRows()


@contextlib.contextmanager
def skipping(aside: str | Path | BadRows | None) -> Iterator[BadRows]:
    """What readers report bad rows to.

    Args:
        aside: The file to write bad rows into, atomically, as JSON lines with ``file``, ``line`` (null where
            a file has no lines), ``row`` (its number in such a file), ``reason`` and ``text``, the row as it
            is in the file. None to refuse the first one.

    Raises:
        StorageError: The disk is full, read-only, or not permitted.
    """
    if aside is None or isinstance(aside, BadRows):
        yield aside or REFUSED
        return
    with atomic_file(aside) as file:
        yield BadRows(file)
