"""Python rows to Arrow columns, whatever their values are."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.errors import DataError

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
    """An Arrow array of any values; where their types do not go together, each is written as text."""
    try:
        array = pa.array(values)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError, ValueError):
        return pa.array([as_text(value) for value in values], pa.large_string())


def as_text(value: Any) -> str | None:
    """A value as text: strings as they are, all else as JSON writes it, None and NaN as None."""
    if value is None or value != value:
        return None
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def clean(text: str) -> str:
    """Text without lone surrogates (half characters, which JSON can hold and UTF-8 cannot)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def concatenate(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of all tables. Missing columns are filled with null, columns of types that do not go together become text."""
    tables = list(tables)
    if len({tuple(table.schema.names) for table in tables}) == 1 and all(
        t.schema.equals(tables[0].schema) for t in tables
    ):
        return pa.concat_tables(tables)
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        kinds: dict[str, set[pa.DataType]] = {}
        for field in (field for table in tables for field in table.schema):
            kinds.setdefault(field.name, set()).add(field.type)
        differing = {name for name, types in kinds.items() if len(types) > 1}
        return pa.concat_tables(
            [_as_text(table, differing) for table in tables], promote_options="permissive"
        )


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for index, field in enumerate(table.schema):
        if field.name in names:
            texts = [as_text(value) for value in table.column(index).to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.large_string()))
    return table
