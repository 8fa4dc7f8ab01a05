"""Parquet, Arrow IPC (Feather) and the folders of the Hugging Face library ``datasets``, which hold Arrow streams."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.data import raw
from statim.data.bad_rows import REFUSED, BadRows
from statim.errors import DataError

ROWS = 1 << 16  # rows per table


def parquet(path: Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a Parquet file, ROWS at a time; ``bad`` is told of those with text that is not UTF-8.

    Raises:
        DataError: It is not a whole Parquet file, or ``bad`` refuses a row.
    """
    from pyarrow.parquet import ParquetFile

    with (
        raw.reading(path, "a Parquet file"),
        pa.OSFile(os.fsencode(path)) as source,
        ParquetFile(source) as file,
    ):
        yield from _checked(file.iter_batches(ROWS), path, bad)


def _checked(batches: Iterable[pa.RecordBatch], path: Path, bad: BadRows) -> Iterator[pa.Table]:
    """What batches claim is checked before it is used; around rows whose text is not UTF-8 they are cut."""
    begin = 1
    for batch in batches:
        first = 0
        for row in _foreign(batch):
            yield pa.table(batch.slice(first, row - first))
            bad(path, begin + row, "holds text that is not UTF-8; write it as UTF-8", unit="row")
            first = row + 1
        yield pa.table(batch.slice(first))
        begin += len(batch)


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
    with raw.reading(path, "an Arrow file"), pa.OSFile(os.fsencode(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        if is_file:
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            batches = pa.ipc.open_stream(file)
        yield from _checked(batches, path, bad)


def is_dataset(path: Path) -> bool:
    """Is this a folder written by ``save_to_disk`` of a Dataset or a DatasetDict?"""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def dataset(path: Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a folder written by ``save_to_disk``; of a DatasetDict the split ``train``, or its only one.

    Raises:
        DataError: It has several splits and none is ``train``, is not whole, or ``bad`` refuses a row (see ``ipc``).
    """
    if (path / "dataset_dict.json").is_file():
        splits = _names(path / "dataset_dict.json", "splits")
        path = path / pick_split(splits, path)
    for entry in _names(path / "state.json", "_data_files"):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{path / 'state.json'} names no file; save the dataset anew")
        yield from ipc(path / name, bad)


def pick_split(splits: list[str], where: Any) -> str:
    """``train``, or the only one there is.

    Raises:
        DataError: Neither; the message lists the splits.
    """
    if "train" in splits:
        return "train"
    if len(splits) == 1 and isinstance(splits[0], str) and Path(splits[0]).name == splits[0]:
        return splits[0]
    raise DataError(f"{where} has the splits {', '.join(map(str, splits))}; name the one you mean")


def _names(path: Path, key: str) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())[key]
        if isinstance(found, list):
            return found
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DataError(f"{path} is not what the library datasets writes; save the dataset anew")
