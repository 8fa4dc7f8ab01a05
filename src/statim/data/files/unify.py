"""One schema, and values cast to it, for tables whose columns differ; for every reader, store and verb.

Columns are joined by name, and so are the fields of structs. A value is cast only where it reads the same
afterwards: 7 becomes 7.0 beside 1.5, since both are written 7, but "007" never becomes 7, nor 5 true. Columns
whose types have no such cast become text.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import columns
from statim.data.files.rows import MOST_COLUMNS
from statim.errors import DataError

TEXT = pa.large_string()
DIGITS = 20  # that a whole number of 64 bits may have
MOST_DIGITS = 38  # that a decimal of 128 bits may have


class MisfitError(DataError):
    """A table has a column, or a column a value, that a schema has no place for.

    Attributes:
        column: The column's name.
        cause: The value's place in the table and what is wrong with it; None where the column is unknown.
    """

    def __init__(self, message: str, column: str, cause: "InexactError | None" = None) -> None:
        super().__init__(message)
        self.column, self.cause = column, cause


class InexactError(Exception):
    """The value at a place cannot be cast, or would be another one; or it has a field too many."""

    def __init__(self, place: int, what: str) -> None:
        super().__init__(what)
        self.place = place


def concatenate(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of all tables in one schema that fits all; a column a table lacks is all missing values."""
    tables = list(tables)
    if all(table.schema.equals(tables[0].schema) for table in tables):
        return pa.concat_tables(tables)
    schema = settled(lambda: tables)
    return pa.concat_tables([fitted(table, schema) for table in tables])


def settled(read: Callable[[], Iterable[pa.Table]]) -> pa.Schema:
    """A schema that all tables fit.

    Args:
        read: Gives the tables; called again until nothing changes, since a late table can show that an early
            one does not fit.
    """
    schema: pa.Schema | None = None
    while True:
        before = schema
        for table in read():
            schema = table.schema if schema is None else _widened(schema, table)
        if schema is None or schema.equals(before or pa.schema([])):
            return schema or pa.schema([])


def _widened(schema: pa.Schema, table: pa.Table) -> pa.Schema:
    """The schema, with types that a table's columns fit too."""
    if table.schema.equals(schema):
        return schema
    kinds = {field.name: field.type for field in schema}
    for name in table.column_names:
        found = table.column(columns.named(table.column_names, name, "a table"))
        kind = kinds.get(name, found.type)
        both = joined(kind, found.type)
        kinds[name] = TEXT if both is None or not _bears(found, both) else both
    return pa.schema(list(kinds.items()))


def _bears(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Do all values read the same in another type?"""
    try:
        cast(column, kind)
    except InexactError:
        return False
    return True


def joined(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A type for the values of two types; None where only text would do."""
    one, other = (kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other))
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if columns.is_text(one) or columns.is_text(other):
        return TEXT if columns.is_text(one) and columns.is_text(other) else None
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields: dict[str, pa.DataType | None] = {field.name: field.type for field in one}
        for field in other:
            known = fields.get(field.name)
            fields[field.name] = field.type if known is None else joined(known, field.type)
        wide = len(fields) > MOST_COLUMNS  # names that differ from row to row
        return None if wide or None in fields.values() else pa.struct(list(fields.items()))
    if is_list(one) and is_list(other):
        value = joined(one.value_type, other.value_type)
        return None if value is None else pa.list_(value)
    if pa.types.is_nested(one) or pa.types.is_nested(other):
        return None
    for number, other_kind in ((one, other), (other, one)):
        if pa.types.is_decimal(number) and not pa.types.is_decimal(other_kind):
            whole = pa.types.is_integer(other_kind)
            digits = number.scale + max(number.precision - number.scale, DIGITS)
            return pa.decimal128(digits, number.scale) if whole and digits <= MOST_DIGITS else None
    try:
        both = [pa.schema([("both", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None


def storable(schema: pa.Schema) -> pa.Schema:
    """A schema whose columns Parquet can hold: those with structs without fields are text."""
    return pa.schema([field.with_type(TEXT) if _has_nothing(field.type) else field for field in schema])


def _has_nothing(kind: pa.DataType) -> bool:
    """Is there a struct without fields in it?"""
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_nothing(field.type) for field in kind)
    return is_list(kind) and _has_nothing(kind.value_type)


def is_list(kind: pa.DataType) -> bool:
    """Is this a type of lists?"""
    return any(
        check(kind) for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )


def fitted(table: pa.Table, schema: pa.Schema, start: int = 0) -> pa.Table:
    """A table in a schema. What it lacks is filled with nulls, columns of other types are cast.

    Args:
        table: The table.
        schema: The columns.
        start: How many rows come before the table's.

    Raises:
        MisfitError: A column or a nested field is not in the schema, or a value would change.
    """
    if table.schema.equals(schema):
        return table
    extra = [name for name in table.column_names if name not in schema.names]
    if extra:
        raise MisfitError(
            f"the column {extra[0]!r} first occurs after {start:,} rows; "
            f"the columns before are: {columns.listed(schema.names)}",
            extra[0],
        )
    found = []
    for field in schema:
        if field.name not in table.column_names:
            found.append(pa.nulls(len(table), field.type))
            continue
        try:
            found.append(cast(table.column(field.name), field.type))
        except InexactError as error:
            row = start + error.place + 1
            raise MisfitError(f"row {row:,}: the column {field.name!r} {error}", field.name, error) from None
    return pa.table(found, schema=schema)


def cast(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """A column in another type, every value of which reads the same there.

    Raises:
        InexactError: One does not; it has the first one's place.
    """
    if column.type.equals(kind):
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    array = columns.flat(column)
    if pa.types.is_null(kind):
        place = pc.index(array.is_valid(), True).as_py()
        raise InexactError(place, f"holds {_shown(array[place])}, where it has no values")
    if array.type.equals(kind):
        return array
    if columns.is_text(kind):
        return columns.as_texts(array).cast(kind)
    if pa.types.is_struct(array.type) and pa.types.is_struct(kind):
        return _cast_struct(array, kind)
    if is_list(array.type) and is_list(kind):
        return _cast_list(array, kind)
    try:
        made = array.cast(kind)
    except pa.ArrowException:
        place = _first_failing(array, kind)
        raise InexactError(place, f"holds {_shown(array[place])}, which is no {kind}") from None
    if not _is_safe(array.type, kind):
        same = _reads_the_same(array, made)
        if not pc.all(same).as_py():
            place = pc.index(same, False).as_py()
            raise InexactError(
                place, f"holds {_shown(array[place])}, which would become {made[place]} as {kind}"
            )
    return made


def _cast_struct(array: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    held = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    known = {field.name for field in kind}
    for name, values in held.items():
        if name not in known and values.null_count < len(values):
            raise InexactError(
                pc.index(values.is_valid(), True).as_py(), f"has the field {name!r}, which is not in {kind}"
            )
    children = [
        cast(held[field.name], field.type) if field.name in held else pa.nulls(len(array), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _cast_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    flat = array.flatten()
    try:
        values = cast(flat, kind.value_type)
    except InexactError as error:
        raise InexactError(pc.list_parent_indices(array)[error.place].as_py(), str(error)) from None
    sizes = np.asarray(pc.list_value_length(array).fill_null(0), np.int64)
    large = pa.large_list(kind.value_type)
    offsets = pa.array(np.append(0, np.cumsum(sizes)))
    made = pa.LargeListArray.from_arrays(offsets, values, type=large, mask=array.is_null())
    try:
        return made.cast(kind)
    except pa.ArrowException:
        place = _first_failing(made, kind)
        raise InexactError(place, f"has {sizes[place]} values, which is no {kind}") from None


def _is_safe(one: pa.DataType, other: pa.DataType) -> bool:
    """Is it Arrow itself that refuses to change values between these types?"""
    numbers = pa.types.is_integer(one) and (pa.types.is_integer(other) or pa.types.is_floating(other))
    wider = pa.types.is_floating(one) and (pa.types.is_integer(other) or pa.types.is_float64(other))
    moments = (
        pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and (one.tz is None) == (other.tz is None)
    )
    bytes_ = pa.types.is_large_binary(other) and pa.types.is_binary(one)
    return bool(numbers or wider or moments or bytes_)


def _reads_the_same(array: pa.Array, made: pa.Array) -> pa.Array:
    """Which values are written alike in both arrays; a number may be given as 1 and as 1.0."""
    if pa.types.is_floating(array.type) and pa.types.is_floating(made.type):
        made = made.cast(array.type)  # whose numbers are written with more digits
    before, after = columns.as_texts(array), columns.as_texts(made)
    same = pc.or_(pc.equal(before, after).fill_null(False), before.is_null())
    if columns.is_text(array.type) and pa.types.is_floating(made.type):
        spelt = pa.array(
            [None if value is None or value != value else repr(value) for value in made.to_pylist()], TEXT
        )
        same = pc.or_(same, pc.equal(before, spelt).fill_null(False))
    return same


def _first_failing(array: pa.Array, kind: pa.DataType) -> int:
    """The place of the first value that Arrow does not cast."""
    start, count = 0, len(array)
    while count > 1:
        half = count // 2
        try:
            array.slice(start, half).cast(kind)
            start, count = start + half, count - half
        except pa.ArrowException:
            count = half
    return start


def _shown(value: pa.Scalar) -> str:
    return repr(value.as_py())[:60]
