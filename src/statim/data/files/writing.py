"""A table as a file: Parquet, JSON lines or CSV, whole or not at all."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from statim.data.files import unify
from statim.data.files.rows import as_text
from statim.errors import InputError
from statim.files import atomic_file
from statim.strict_json import dumps

SUFFIXES = (".parquet", ".jsonl", ".csv")
ROWS = 1 << 14  # written at a time


def check_table_output(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse a file that says no kind of table, or stands already, before any work is done.

    Raises:
        InputError: The suffix is none of SUFFIXES, or the file exists and ``overwrite`` is off.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'}; tables go into {', '.join(SUFFIXES)}")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name, or allow overwriting (--overwrite)")
    return path


def write_table(path: str | Path, table: pa.Table) -> None:
    """Write a table, atomically.

    Args:
        path: A name that ends in one of SUFFIXES.
        table: Columns of texts, numbers, or lists of these.

    Raises:
        InputError: The suffix is none of SUFFIXES.
        StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
    """
    path = check_table_output(path, overwrite=True)
    with atomic_file(path) as file:
        if path.suffix == ".parquet":
            pq.write_table(table, file, row_group_size=ROWS * 4)
            return
        if path.suffix == ".csv":
            _write_csv(file, table)
        else:
            write_lines(file, table)


@contextlib.contextmanager
def table_writer(path: str | Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write a table of this schema that comes in parts; it takes its place when the block ends well.

    Raises:
        InputError: The suffix is none of SUFFIXES.
        StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
    """
    path = check_table_output(path, overwrite=True)
    with atomic_file(path) as file:
        if path.suffix == ".parquet":
            whole = unify.storable(schema)
            with pq.ParquetWriter(file, whole) as writer:
                yield lambda table: writer.write_table(unify.fitted(table, whole), row_group_size=ROWS * 4)
        elif path.suffix == ".csv":
            header = pa.table([pa.array([], pa.string())] * len(schema), names=schema.names)
            csv.write_csv(header, file)
            later = csv.WriteOptions(include_header=False)
            yield lambda table: csv.write_csv(_flattened(unify.fitted(table, schema)), file, later)
        else:
            yield lambda table: write_lines(file, table)


def write_lines(file: IO[bytes], table: pa.Table) -> None:
    """Write the rows of a table as JSON lines."""
    for start in range(0, len(table), ROWS):
        rows = table.slice(start, ROWS).to_pylist()
        file.write("".join(dumps(row, as_text) + "\n" for row in rows).encode())


def _write_csv(file: IO[bytes], table: pa.Table) -> None:
    """A line for each row; lists are written as JSON."""
    csv.write_csv(_flattened(table), file)


def _flattened(table: pa.Table) -> pa.Table:
    """Lists and structs as JSON."""
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = pa.array(
                [
                    None if value is None else dumps(value, as_text)
                    for value in table.column(index).to_pylist()
                ],
                pa.large_string(),
            )
            table = table.set_column(index, field.name, texts)
    return table
