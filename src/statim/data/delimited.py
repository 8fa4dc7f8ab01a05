"""CSV and TSV: every column is text, the first line gives the names."""

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.data import raw, rows
from statim.errors import DataError

ROWS = 1 << 15  # rows per table


def tables(path: Path, compression: str | None, delimiter: str) -> Iterator[pa.Table]:
    """The rows of a file, ROWS at a time; names that occur twice stay so.

    Fields may be quoted and hold line ends, in TSV too; but when every line of a TSV file (of its first block) has the same number
    of tabs, nothing needed quotes, and a quote is a character like others unless it closes where the field ends.

    Raises:
        DataError: A line has more or fewer fields than the first, or a quote is never closed; the message names it.
    """
    with raw.opened(path, compression) as file:
        stream = raw.blocks(file, path)
        first = next(stream, None)
        if first is None or not first[1].strip():
            return
        text = (text for _, text in itertools.chain([first], stream))
        lines = itertools.chain.from_iterable(io.StringIO(part, newline="") for part in text)
        plain = (
            delimiter == "\t"
            and len({line.count("\t") for line in first[1].split("\n") if line.strip()}) == 1
        )
        reader = csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, strict=True
        )
        yield from _tables(reader, path, plain)


def _tables(reader: Any, path: Path, plain: bool) -> Iterator[pa.Table]:
    names: list[str] | None = None
    while found := _rows(reader, path, plain, len(names) if names else None):
        if names is None:
            names, *found = found
            rows.check_width(len(names), path)
            names = [name.strip() for name in names]
        columns = zip(*found, strict=True) if found else [()] * len(names)
        yield pa.table([pa.array(column, pa.large_string()) for column in columns], names=names)


def _rows(reader: Any, path: Path, plain: bool, width: int | None) -> list[list[str]]:
    """The next rows, all of the same width."""
    limit = csv.field_size_limit(raw.LINE_LIMIT)
    found = []
    try:
        for row in itertools.islice(reader, ROWS):
            if not row:
                continue  # a blank line
            width = width or len(row)
            if len(row) != width:
                raise DataError(
                    f"{path}, line {reader.line_num}: has {len(row)} fields where the first line has {width}; "
                    "put fields that hold the delimiter or a line end between double quotes"
                )
            found.append([_unquoted(field) for field in row] if plain else row)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: not valid CSV ({error}); is a double quote left open?"
        ) from None
    finally:
        csv.field_size_limit(limit)
    return found


def _unquoted(field: str) -> str:
    """What a CSV writer put between quotes; a field that only happens to begin with one stays as it is."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"':
        return field
    inner = field[1:-1]
    return field if '"' in inner.replace('""', "") else inner.replace('""', '"')
