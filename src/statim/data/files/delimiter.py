"""The delimiter of a CSV file, found by reading its first rows with each that is usual.

A guess from counts of characters fails where texts hold line ends and delimiters between quotes. So the same
reader that will read the file reads its beginning, once for each candidate, and what counts is how many rows
have as many fields as the first.
"""

import csv
import io
import itertools

USUAL = (",", ";", "\t", "|")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
ROWS = 1000  # looked at
AGREEING = 0.5  # of them have as many fields as the first, at least: the others are bad rows


def detect(text: str, *, whole: bool) -> str:
    """The delimiter of a CSV file.

    Of those that make two columns or more it is the one by which most rows have as many; else a comma.

    Args:
        text: Its beginning.
        whole: Is that all of it? Else the last row may be cut off.
    """
    if _agreement(text, USUAL[0], whole) == 1:
        return USUAL[0]
    agreed = {one: _agreement(text, one, whole) for one in USUAL}
    best = max(USUAL, key=lambda one: agreed[one])  # of equals the first
    return best if agreed[best] >= AGREEING else USUAL[0]


def _agreement(text: str, delimiter: str, whole: bool) -> float:
    """The share of rows with as many fields as the first; 0 where that is a single one."""
    widths: list[int] = []
    cut = False
    try:
        for row in itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ROWS + 1):
            if row:
                widths.append(len(row))
        cut = not whole and len(widths) <= ROWS
    except csv.Error:  # a field longer than the reader takes
        cut = True
    widths = widths[:-1] if cut and len(widths) > 1 else widths
    return widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0
