"""How documents' columns lie in the tables of a store: under names and as types that it surely takes.

A name that is no plain word ("meta.author", "", "_distance", "50 %") is another one in the table, and a
column of a type that the store lacks is JSON there, from which its values are made again. Everything outside
of the table sees the documents' own columns.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from statim.errors import DataError, ModelError
from statim.search.filters.conditions import Condition, renamed

LONGEST = 63  # bytes of a name
OWN = "statim_"  # what the names of the index's own columns begin with
SYSTEM = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"}  # PostgreSQL's own columns
KEY = "kept"  # of the manifest

_types = pa.types
_LISTS = (_types.is_list, _types.is_large_list, _types.is_fixed_size_list)
_NUMBERS = (_types.is_date, _types.is_timestamp, _types.is_time, _types.is_duration)
_BYTES = (_types.is_binary, _types.is_large_binary, _types.is_fixed_size_binary, _types.is_binary_view)
_TEXTS = (_types.is_string, _types.is_large_string, _types.is_string_view, _types.is_decimal)
_AS_THEY_ARE = (_types.is_boolean, _types.is_integer, _types.is_floating)


class Columns:
    """The columns of documents, and what they are in a store.

    Args:
        schema: The documents' columns.
        takes: Does the store have this type?
        names: The columns' names in the store.
        place: What messages call the store.

    Raises:
        DataError: A column is of a type that cannot be kept.
    """

    def __init__(
        self, schema: pa.Schema, takes: Callable[[pa.DataType], bool], names: Iterable[str], place: str
    ) -> None:
        self.schema = schema
        self.names = dict(zip(schema.names, names, strict=True))
        self.json = {field.name for field in schema if not takes(field.type)}
        for name in sorted(self.json):
            kind = schema.field(name).type
            if plain(kind) is None:
                raise DataError(
                    f"the column {name!r} holds {kind}, which {place} cannot keep; give its values as "
                    "text, or drop it"
                )
        self.stored = pa.schema(
            [
                (self.names[field.name], pa.string() if field.name in self.json else field.type)
                for field in schema
            ]
        )

    @property
    def alike(self) -> bool:
        """Are the columns the same in the store?"""
        return not self.json and self.stored.names == self.schema.names

    def said(self) -> dict[str, Any]:
        """What ``told`` needs; JSON."""
        schema = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        return {KEY: {"schema": schema, "names": list(self.names.values())}}

    def to_store(self, table: pa.Table) -> pa.Table:
        """Documents with the columns of ``schema``, as the store has them."""
        columns = [
            pa.array(to_json(table.column(name)), pa.string()) if name in self.json else table.column(name)
            for name in self.schema.names
        ]
        return pa.table(columns, schema=self.stored)

    def from_store(self, table: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
        """What ``to_store`` gave, as documents; some of their columns, or all."""
        names = self.schema.names if names is None else list(names)
        columns = [
            from_json(table.column(self.names[field.name]).to_pylist(), field.type)
            if field.name in self.json
            else table.column(self.names[field.name])
            for field in map(self.schema.field, names)
        ]
        return pa.table(columns, names=names)

    def condition(self, condition: Condition) -> Condition:
        """A condition on the documents' columns as one on the store's."""
        return renamed(condition, self.names)


def told(manifest: Mapping[str, Any], where: str) -> tuple[pa.Schema, list[str]] | None:
    """The documents' columns and their names in the store, from ``Columns.said``; None if neither is there.

    Raises:
        ModelError: It is damaged.
    """
    kept = manifest.get(KEY)
    if kept is None:
        return None
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(kept["schema"], validate=True)))
        names = [str(name) for name in kept["names"]]
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        raise ModelError(f"{where} is damaged at {KEY}; build the index again") from None
    if schema.names != manifest["columns"] or not len(names) == len(set(names)) == len(schema.names):
        raise ModelError(f"{where} is damaged at {KEY}; build the index again")
    return schema, names


def safe_names(names: Iterable[str]) -> list[str]:
    """Names that every store takes: unchanged if plain words, else ``statim_column_1`` and so on."""
    return [name if _is_safe(name) else f"{OWN}column_{place}" for place, name in enumerate(names)]


def _is_safe(name: str) -> bool:
    word = re.fullmatch(r"[^\W\d_]\w*", name) and not name.startswith(OWN) and name.lower() not in SYSTEM
    return bool(word) and len(name.encode()) <= LONGEST


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The type of the same values in JSON's types and bytes; None where there is none."""
    if any(test(kind) for test in _LISTS):
        part = plain(kind.value_type)
        return None if part is None else pa.large_list(part)
    if _types.is_struct(kind):
        fields = [(field.name, plain(field.type)) for field in kind]
        return None if any(part is None for _, part in fields) else pa.struct(fields)
    if _types.is_map(kind):
        key, item = plain(kind.key_type), plain(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if _types.is_dictionary(kind):
        return plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return plain(kind.storage_type)
    if _types.is_null(kind) or any(test(kind) for test in _AS_THEY_ARE):
        return kind
    if any(test(kind) for test in _TEXTS):
        return pa.large_string()
    if any(test(kind) for test in _BYTES):
        return pa.large_binary()
    if any(test(kind) for test in _NUMBERS):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return None


def to_json(column: pa.ChunkedArray) -> list[str | None]:
    """The values of a column as JSON; None where they are missing."""
    values = column.cast(plain(column.type)).to_pylist()
    return [None if value is None else json.dumps(_spelt(value), ensure_ascii=False) for value in values]


def from_json(texts: Iterable[str | None], kind: pa.DataType) -> pa.Array:
    """The values of a type that ``to_json`` has written."""
    return from_values([None if text is None else json.loads(text) for text in texts], kind)


def from_values(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """Likewise, of JSON that has been read."""
    known = plain(kind)
    return pa.array([_revived(value, known) for value in values], known).cast(kind)


def _spelt(value: Any) -> Any:
    """A value in which bytes are hexadecimal and numbers that are not finite are text."""
    if isinstance(value, dict):
        return {name: _spelt(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelt(part) for part in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _revived(value: Any, kind: Any) -> Any:
    """What ``_spelt`` was given, of a type that ``plain`` gives."""
    if value is None:
        return None
    if _types.is_struct(kind):
        return {field.name: _revived(value.get(field.name), field.type) for field in kind}
    if _types.is_map(kind):
        return [(_revived(key, kind.key_type), _revived(item, kind.item_type)) for key, item in value]
    if _types.is_large_list(kind):
        return [_revived(part, kind.value_type) for part in value]
    if _types.is_large_binary(kind):
        return bytes.fromhex(value)
    return float(value) if _types.is_floating(kind) else value
