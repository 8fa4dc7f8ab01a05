"""JSON lines, and JSON files that hold one array."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.data import raw, rows
from statim.errors import DataError

_decode = json.JSONDecoder().raw_decode


def tables(path: Path, compression: str | None) -> Iterator[pa.Table]:
    """The rows of a file, a few megabytes at a time: one object (or array of texts) a line, or one array of objects.

    Raises:
        DataError: A line is not JSON, or neither object nor array; the message names it.
    """
    with raw.opened(path, compression) as file:
        stream = raw.blocks(file, path)
        first = next(stream, None)
        if first is None:
            return
        stream = itertools.chain([first], stream)
        if _is_array(first[1]):
            yield from _array("".join(text for _, text in stream), path)
            return
        for number, text in stream:
            found = [
                _row(line, number + i, path)
                for i, line in enumerate(text.split("\n"))
                if line and not line.isspace()
            ]
            if found:
                yield rows.table(found, path)


def _is_array(text: str) -> bool:
    """Is the text the start of one JSON array, rather than lines that each hold an object or a short array?"""
    line = text.lstrip().split("\n", 1)[0]
    if not line.startswith("["):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return True
    return bool(value) and isinstance(value[0], (dict, list))


def _array(text: str, path: Path) -> Iterator[pa.Table]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({str(error)[:80]})") from None
    for start in range(0, len(values), 1 << 16):
        part = values[start : start + (1 << 16)]
        for index, value in enumerate(part):
            _check(value, f"{path}, item {start + index + 1} of the array")
        yield rows.table(part, path)


def _row(line: str, number: int, path: Path) -> Any:
    try:
        line = line.strip()
        value, end = _decode(line)
        if end != len(line):
            raise DataError(
                f"{path}, line {number}: not valid JSON (more behind the first value); put one object on each line"
            )
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not valid JSON ({error.msg}); put one whole object on each line"
        ) from None
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({str(error)[:80]})") from None
    if type(value) is not dict:
        _check(value, f"{path}, line {number}")
    return value


def _check(value: Any, where: str) -> None:
    if not isinstance(value, (dict, list)):
        raise DataError(
            f'{where}: holds {json.dumps(value)[:40]}, not an object like {{"anchor": …, "positive": …}}'
        )
