"""JSON lines, and JSON files that hold one array."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim import threads as pool
from statim.data.files import columns, file_types, json_array, rows
from statim.data.files.bad_rows import REFUSED, BadRows, UnusableError
from statim.strict_json import dumps

_decode = json.JSONDecoder().raw_decode
_KEY = re.compile(rf'"({columns.NEGATIVE.pattern})"\s*:', columns.NEGATIVE.flags)


def tables(path: Path, compression: str | None, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a file, a few megabytes at a time: an object or array a line, or one array of objects.

    Args:
        path: The file.
        compression: As ``raw.identify`` has it.
        bad: Told of lines that are not JSON, or neither object nor array.

    Raises:
        DataError: There is such a line and ``bad`` refuses it; the message names it.
    """
    with file_types.opened(path, compression) as file:
        for number, part in _parts(file, path, bad):
            found = [row for _, row in _rows(number, part, path, bad)]
            if found:
                yield rows.table(found, path)


def some_columns(
    path: Path, compression: str | None, pick: Callable[[list[str]], list[str]], threads: int
) -> Iterator[pa.Table]:
    """As ``tables``, with the picked columns and perhaps others; a missing column is all missing values.

    All parts but the first are read by Arrow's parser, on all threads, unless they hold what it does not read
    as Python's does.

    Args:
        path: A file as in ``tables``.
        compression: As in ``tables``.
        pick: Chooses columns, given the names of those in the first part. Later parts that may have columns
            of negatives that the first has not are read whole.
        threads: Threads to use.

    Raises:
        DataError: As in ``tables``, or from ``pick``.
    """
    with file_types.opened(path, compression) as file:
        parts = iter(_parts(file, path))
        table = pa.table({})
        while not len(table):  # the first with rows
            if (first := next(parts, None)) is None:
                return
            table = rows.table([row for _, row in _rows(*first, path)], path)
        known, schema = set(table.column_names), _schema(table, pick(table.column_names))
        yield table

        def parsed(part: tuple[int, str | list[Any]]) -> pa.Table:
            found = None
            if schema is not None and isinstance(part[1], str) and _negatives(part[1]) <= known:
                found = _by_arrow(part[1], schema)
            return found if found is not None else rows.table([row for _, row in _rows(*part, path)], path)

        yield from pool.stream(parsed, parts, threads)


def _schema(table: pa.Table, names: list[str]) -> pa.Schema | None:
    """Columns of texts or of lists of texts; None where one is neither."""
    fields = []
    for name in names:
        kind, texts = table.schema.field(name).type, pa.large_string()
        if pa.types.is_list(kind) and columns.is_text(kind.value_type):
            texts = pa.list_(texts)
        elif not columns.is_text(kind):
            return None
        fields.append((name, texts))
    return pa.schema(fields)


def _negatives(text: str) -> set[str]:
    """The names in lines of JSON that columns of negatives could have."""
    return {match[1] for match in _KEY.finditer(text)}


def texts(
    path: Path,
    compression: str | None,
    pick: Callable[[pa.Table], list[str]],
    bad: BadRows = REFUSED,
    *,
    whole: bool = False,
) -> Iterator[pa.Table]:
    """As ``tables``, but only the rows that hold a text in one of some columns, and only those columns.

    All parts but the first are read by Arrow's parser, several times as fast as Python's and free of the
    interpreter lock. What it does not read exactly as Python's would, Python's reads again and says what is
    wrong. (Arrow's only checks the syntax of other columns: a number of 5,000 digits, which Python's refuses,
    may stand there.)

    Args:
        path: A file as in ``tables``.
        compression: As in ``tables``.
        pick: Names the columns, given the rows of the first part.
        bad: As in ``tables``; told of rows, too, that have something else there, or nothing.
        whole: Give all columns of those rows.

    Raises:
        DataError: As in ``tables``.
    """
    names: list[str] | None = None
    with file_types.opened(path, compression) as file:
        for number, part in _parts(file, path, bad):
            quick = names is not None and not whole and isinstance(part, str)
            table = _arrow_texts(part, names) if quick else None  # type: ignore[arg-type]
            if table is None:
                found = _rows(number, part, path, bad)
                if not found:
                    continue
                if names is None:
                    first = rows.table([row for _, row in found], path)
                    names = pick(first)
                    for name in names:
                        columns.texts(first, name, str(path))  # says it better where no row has a text
                unit = "line" if isinstance(part, str) else "item"
                good = _with_texts(found, names, path, bad, unit)
                table = rows.table(good, path) if whole and good else _of_texts(good, names)
            yield table


def _parts(file: Any, path: Path, bad: BadRows = REFUSED) -> Iterator[tuple[int, str | list[Any]]]:
    """The number of a part's first line and its whole lines; or of its first item, and its items."""
    stream = file_types.Begun(file, path)
    if _is_array(stream.head.decode("utf-8", "replace")):
        yield from json_array.parts(file_types.pieces(stream, path), path, stream.line)
    else:
        for block in file_types.blocks(stream, path):
            yield block.line, block.good(path, bad)


def _rows(number: int, part: str | list[Any], path: Path, bad: BadRows = REFUSED) -> list[tuple[int, Any]]:
    """The rows of a part, each with the number of its line or item."""
    found = []
    if isinstance(part, str):
        for index, line in enumerate(part.split("\n"), number):
            if line and not line.isspace():
                try:
                    found.append((index, _row(line)))
                except UnusableError as reason:
                    bad(path, index, str(reason), line.removesuffix("\r"))
    else:
        for index, value in enumerate(part, number):
            try:
                _check(value)
                found.append((index, value))
            except UnusableError as reason:
                bad(path, index, str(reason), dumps(value), unit="item")
    return found


def _by_arrow(text: str, schema: pa.Schema) -> pa.Table | None:
    """Some columns of lines that each hold one object; None where Python's parser had better look.

    Arrow's parser takes objects as they come, many on a line or one on many. But where every line begins and
    ends with a brace, no object goes over a line's end (nothing in JSON puts "}" right before "{"), so as
    many rows as lines are one on each.
    """
    from pyarrow import json as arrow_json

    data = text.encode().rstrip(b"\r\n")
    if data[:1] != b"{" or data[-1:] != b"}":
        return None
    letters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    before = letters[ends - 1]
    before = np.where(before == ord("\r"), letters[ends - 2], before)
    if not ((before == ord("}")) & (letters[ends + 1] == ord("{"))).all():
        return None
    try:
        found = arrow_json.read_json(
            pa.BufferReader(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        found.validate(full=True)
    except pa.ArrowException:
        return None
    return found if len(found) == len(ends) + 1 else None


def _arrow_texts(text: str, names: list[str]) -> pa.Table | None:
    """The texts of those names, one at least in each line; of a single name, in every one."""
    found = _by_arrow(text, pa.schema([(name, pa.large_string()) for name in names]))
    if found is None or len(names) == 1:
        return None if found is None or found.column(0).null_count else found
    some = functools.reduce(pc.or_, [column.is_valid() for column in found.columns])
    return found if pc.all(some).as_py() else None


def _of_texts(good: list[Any], names: list[str]) -> pa.Table:
    """The texts of those names in some rows."""
    return pa.table([rows.column([row.get(name) for row in good]) for name in names], names=names)


def _with_texts(
    found: list[tuple[int, Any]], names: list[str], path: Path, bad: BadRows, unit: str
) -> list[Any]:
    """The rows, as mappings, that have a text of one of those names at least, and only texts there."""
    good = []
    for index, row in found:
        named = rows.named(row)
        if len(names) == 1 and type(named.get(names[0])) is str:  # the usual case, quickly
            good.append(named)
            continue
        values = {name: named.get(name) for name in names}
        other = next((name for name, value in values.items() if not isinstance(value, str | None)), None)
        if other is None and any(value is not None for value in values.values()):
            good.append(named)
            continue
        reason = (
            f"{other!r} is {json.dumps(values[other])[:40]}, not a text"
            if other is not None
            else f"{columns.spelt(names)} is missing; give every row a text, perhaps an empty one"
        )
        bad(path, index, reason, dumps(row), unit=unit)
    return good


def _is_array(text: str) -> bool:
    """Is the text the start of one JSON array, rather than of lines with an object or short array each?"""
    line, end, _ = text.lstrip().partition("\n")
    if not line.startswith("["):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        # a line that goes on behind the text: of a row, the first value is a text
        return bool(end) or not line[1:].lstrip().startswith('"')
    return bool(value) and isinstance(value[0], (dict, list))


def _row(line: str) -> Any:
    try:
        line = line.strip()
        value, end = _decode(line)
        if end != len(line):
            raise UnusableError("not valid JSON (more behind the first value); put one object on each line")
    except json.JSONDecodeError as error:
        raise UnusableError(f"not valid JSON ({error.msg}); put one whole object on each line") from None
    except UnusableError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"not valid JSON ({str(error)[:80]})") from None
    if type(value) is not dict:
        _check(value)
    return value


def _check(value: Any) -> None:
    if not isinstance(value, (dict, list)):
        raise UnusableError(
            f'holds {json.dumps(value)[:40]}, not an object like {{"anchor": …, "positive": …}}'
        )
