"""Python rows to Arrow columns, whatever their values are."""

import datetime
import decimal
import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from statim.errors import DataError
from statim.texts import WHOLE

MOST_COLUMNS = 1_000

# What the places of a row without names mean: [anchor, positive, negative, negative_2, ...]
PLACES = ("anchor", "positive", "negative")


def place(index: int) -> str:
    """The name of a nameless row's column."""
    return PLACES[index] if index < len(PLACES) else f"negative_{index - 1}"


def named(row: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
    """A row's values by the names of their columns."""
    return row if isinstance(row, Mapping) else {place(i): value for i, value in enumerate(row)}


def table(rows: Sequence[Mapping[str, Any] | Sequence[Any]], where: str | Path) -> pa.Table:
    """A table of all columns that any of the rows has; where a row has none, the value is missing.

    Args:
        rows: Mappings, or sequences whose places are anchor, positive, negatives.
        where: What messages call them.

    Raises:
        DataError: There are more than MOST_COLUMNS columns.
    """
    mappings = [named(row) for row in rows]
    names: dict[str, None] = {}
    for row in mappings:
        if row.keys() - names.keys():
            names.update(dict.fromkeys(row))
            check_width(len(names), where)
    arrays = [column([row.get(name) for row in mappings]) for name in names]
    return pa.table(arrays, names=[clean(str(name)) for name in names])


def check_width(count: int, where: str | Path) -> None:
    """Refuse what would fill the memory with columns.

    Raises:
        DataError: There are more than MOST_COLUMNS.
    """
    if count > MOST_COLUMNS:
        raise DataError(f"{where} has more than {MOST_COLUMNS:,} columns, which no table of texts should")


def column(values: list[Any]) -> pa.Array:
    """An Arrow array of any values.

    Where their types do not go together, or have more than MOST_COLUMNS fields, each is written as text.
    """
    try:
        _check_fields(values)
        array = pa.array(values)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        if not _changed(array, values):
            return array
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError, ValueError):
        pass
    return pa.array([as_text(value) for value in values], pa.large_string())


def _check_fields(values: Iterable[Any]) -> None:
    """Refuse mappings whose names differ from row to row: each would be a field, empty in all other rows.

    Raises:
        OverflowError: They have more than MOST_COLUMNS names.
    """
    fields: dict[str, Any] = {}
    waiting = [(value, fields) for value in values if isinstance(value, (Mapping, list, tuple))]
    count = 0
    while waiting:
        value, known = waiting.pop()
        if not isinstance(value, Mapping):
            waiting += [(item, known) for item in value if isinstance(item, (Mapping, list, tuple))]
            continue
        for name, item in value.items():
            if name not in known:
                known[name] = {}
                count += 1
            if isinstance(item, (Mapping, list, tuple)):
                waiting.append((item, known[name]))
        if count > MOST_COLUMNS:
            raise OverflowError


def _changed(array: pa.Array, values: Iterable[Any]) -> bool:
    """Did Arrow make another value of one: 1.0 of true, a date of a number, bytes of a text?"""
    kind = array.type
    if pa.types.is_struct(kind):
        held = [value for value in values if value is not None]
        return any(
            _changed(array.field(place), (value.get(field.name) for value in held))
            for place, field in enumerate(kind)
            if _may_change(field.type)
        )
    if pa.types.is_list(kind):
        items = (item for value in values if value is not None for item in value)
        return _may_change(kind) and _changed(array.flatten(), items)
    if pa.types.is_floating(kind):
        found = array.to_numpy(zero_copy_only=False)
        odd = bool(((found == 0) | (found == 1)).any())
        return odd and any(isinstance(value, (bool, np.bool_)) for value in values)
    if pa.types.is_binary(kind):
        return any(isinstance(value, str) for value in values)
    if pa.types.is_date(kind):
        return any(isinstance(value, (datetime.datetime, numbers.Number)) for value in values)
    if pa.types.is_timestamp(kind):
        return any(
            isinstance(value, numbers.Number)
            or (isinstance(value, datetime.datetime) and (value.tzinfo is None) != (kind.tz is None))
            for value in values
        )
    return pa.types.is_temporal(kind) and any(isinstance(value, numbers.Number) for value in values)


def _may_change(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _may_change(kind.value_type)
    texts_or_whole = pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)
    return not (texts_or_whole or pa.types.is_boolean(kind))


def as_text(value: Any) -> str | None:
    """A value as text: strings as they are, numbers with all digits, lists and mappings as JSON.

    None and NaN are None.

    Equal values of different types have equal texts (7 and 7.0), and so have mappings that differ in their
    order or in what is None.
    """
    if isinstance(value, str):
        return clean(value)
    plain = _plain(value)
    if plain is None or isinstance(plain, str):
        return None if plain is None else clean(plain)
    return clean(json.dumps(plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """A value as JSON has it; numbers it would write differently, and unknown types, become strings."""
    if value is None or isinstance(value, (str, bool)) or type(value) is int:
        return value
    if isinstance(value, float):
        whole = abs(value) < WHOLE and value == int(value)
        return (
            None
            if math.isnan(value)
            else int(value)
            if whole
            else value
            if math.isfinite(value)
            else str(value)
        )
    if isinstance(value, Mapping):
        items = {str(name): _plain(item) for name, item in value.items()}
        return {name: items[name] for name in sorted(items) if items[name] is not None}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, decimal.Decimal):
        text = f"{value:f}"
        return None if value.is_nan() else text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, np.generic):
        return _plain(float(str(value)) if isinstance(value, np.floating) else value.item())
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def clean(text: str) -> str:
    """Text without lone surrogates (half characters, which JSON can hold and UTF-8 cannot)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
