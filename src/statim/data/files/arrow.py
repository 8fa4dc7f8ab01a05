"""Parquet, Arrow IPC (Feather) and folders of the Hugging Face library ``datasets`` (Arrow streams)."""

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import arrow_bodies, columns, file_types, rows
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.errors import DataError
from statim.files import is_plain_name

ROWS = 1 << 16  # rows per table
RATIO = 200  # of unfolded bytes to those of a file; texts reach 20
UNFOLDED = 256 << 20  # bytes that the texts of one batch may have when they come from a dictionary


def parquet(path: Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a Parquet file, ROWS at a time; ``bad`` is told of those with text that is not UTF-8.

    Raises:
        DataError: It is not a whole Parquet file, or ``bad`` refuses a row.
    """
    from pyarrow.parquet import ParquetFile

    with (
        file_types.reading(path, "a Parquet file"),
        pa.OSFile(os.fsencode(path)) as source,
        ParquetFile(source) as file,
    ):
        rows.check_width(file.metadata.num_columns, path)
        _check_sizes(file.metadata, path)
        yield from _checked(file.iter_batches(_rows_at_once(file, path)), path, bad)


def _check_sizes(about: Any, path: Path) -> None:
    """Refuse compressed pages that would fill the memory, before Arrow unfolds one.

    Raises:
        DataError: A group of rows has more than UNFOLDED bytes and RATIO times those of the file.
    """
    for group in range(about.num_row_groups):
        _check_unfolded(about.row_group(group).total_byte_size, path, "group of rows")


def _check_unfolded(unfolded: int, path: Path, what: str) -> None:
    if unfolded > max(UNFOLDED, RATIO * path.stat().st_size):
        raise DataError(
            f"{path} has a {what} that unfolds to {unfolded:,} bytes, more than {RATIO} times its "
            f"size; write it again with a smaller {what}, or without compression"
        )


def _rows_at_once(file: Any, path: Path) -> int:
    """The number of rows to read at once: ROWS, or fewer if a dictionary's longest text could be in each."""
    from pyarrow.parquet import ParquetFile

    rows, about = ROWS, file.metadata
    texts = [column for column in file.schema if column.physical_type == "BYTE_ARRAY"]
    for group in range(about.num_row_groups):
        size, count = about.row_group(group).total_byte_size, about.row_group(group).num_rows
        for (
            column
        ) in texts:  # Arrow does not survive damaged statistics of a column's part, so nobody asks for them
            most = rows if column.max_repetition_level else min(rows, count)
            if most * size <= UNFOLDED:
                continue
            name = column.path
            with (
                pa.OSFile(os.fsencode(path)) as source,
                ParquetFile(
                    source, metadata=about, read_dictionary=[name], buffer_size=file_types.BLOCK
                ) as one,
            ):
                batch = next(one.iter_batches(1, row_groups=[group], columns=[name]), None)
            if batch is not None and pa.types.is_dictionary(batch.schema.field(0).type):
                longest = pc.max(pc.binary_length(batch.column(0).dictionary)).as_py() or 1
                rows = max(1, min(rows, UNFOLDED // longest))
    return rows


def _checked(batches: Iterable[pa.RecordBatch], path: Path, bad: BadRows) -> Iterator[pa.Table]:
    """What batches claim is checked before it is used; around rows whose text is not UTF-8 they are cut."""
    begin = 1
    for batch in batches:
        first = 0
        for row in _foreign(batch):
            yield from _unfoldable(batch.slice(first, row - first))
            bad(path, begin + row, "holds text that is not UTF-8; write it as UTF-8", unit="row")
            first = row + 1
        yield from _unfoldable(batch.slice(first))
        begin += len(batch)


def _unfoldable(batch: pa.RecordBatch) -> Iterator[pa.Table]:
    """A batch in parts whose dictionaries unfold in little memory: one text may be in every row."""
    sizes = [columns.unfolded(column) for column in batch.columns if pa.types.is_dictionary(column.type)]
    ends = np.cumsum(np.sum(sizes, axis=0)) if sizes else np.zeros(0, np.int64)
    if not len(ends) or ends[-1] <= file_types.HELD:
        yield pa.table(batch)
        return
    bounds = [0, *(1 + np.flatnonzero(np.diff(ends // file_types.HELD))).tolist(), len(batch)]
    for start, end in itertools.pairwise(bounds):
        yield pa.table(batch.slice(start, end - start))


def _foreign(batch: pa.RecordBatch) -> list[int]:
    """The rows that hold text that is not UTF-8.

    Raises:
        ArrowInvalid: The batch is damaged in another way.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        if len(batch) == 1:
            return [0]
        half = len(batch) // 2
        return _foreign(batch.slice(0, half)) + [half + row for row in _foreign(batch.slice(half))]
    return []


def ipc(path: Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The record batches of an Arrow IPC file or stream; ``bad`` is told of rows with text that is not UTF-8.

    Raises:
        DataError: It is neither, or not whole, or ``bad`` refuses a row.
    """
    with file_types.reading(path, "an Arrow file"), pa.OSFile(os.fsencode(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        if is_file:
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            batches = reader = pa.ipc.open_stream(file)
        rows.check_width(len(reader.schema), path)
        with path.open("rb") as messages:
            _check_unfolded(arrow_bodies.largest(messages), path, "record batch")
        yield from _checked(batches, path, bad)


def is_dataset(path: Path) -> bool:
    """Is this a folder written by ``save_to_disk`` of a Dataset or a DatasetDict?"""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def dataset(path: Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a folder written by ``save_to_disk``; a DatasetDict's split ``train``, or only one.

    Raises:
        DataError: It has several splits and none is ``train``, is not whole, or ``bad`` refuses a row (see
            ``ipc``).
    """
    if (path / "dataset_dict.json").is_file():
        splits = _names(path / "dataset_dict.json", "splits")
        path = path / pick_split(splits, path)
    for entry in _names(path / "state.json", "_data_files"):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _is_name(name):
            raise DataError(f"{path / 'state.json'} names no file; save the dataset again")
        yield from ipc(path / name, bad)


def pick_split(splits: list[str], where: Any) -> str:
    """``train``, or the only one there is.

    Raises:
        DataError: Neither; the message lists the splits.
    """
    if "train" in splits:
        return "train"
    if len(splits) == 1 and isinstance(splits[0], str) and _is_name(splits[0]):
        return splits[0]
    raise DataError(f"{where} has the splits {', '.join(map(str, splits))}; name the one you mean")


def _is_name(name: str) -> bool:
    return is_plain_name(name) and "/" not in name


def _names(path: Path, key: str) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())[key]
        if isinstance(found, list):
            return found
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DataError(f"{path} is not what the library datasets writes; save the dataset again")
