"""Parquet, Arrow IPC (Feather) and the folders of the Hugging Face library ``datasets``, which hold Arrow streams."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.data import raw
from statim.errors import DataError

ROWS = 1 << 16  # rows per table


def parquet(path: Path) -> Iterator[pa.Table]:
    """The rows of a Parquet file, ROWS at a time.

    Raises:
        DataError: It is not a whole Parquet file.
    """
    from pyarrow.parquet import ParquetFile

    with (
        raw.reading(path, "a Parquet file"),
        pa.OSFile(os.fsencode(path)) as source,
        ParquetFile(source) as file,
    ):
        for batch in file.iter_batches(ROWS):
            batch.validate(full=True)
            yield pa.table(batch)


def ipc(path: Path) -> Iterator[pa.Table]:
    """The record batches of an Arrow IPC file or stream. What it claims is checked before it is used.

    Raises:
        DataError: It is neither, or not whole.
    """
    with raw.reading(path, "an Arrow file"), pa.OSFile(os.fsencode(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        if is_file:
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            batches = pa.ipc.open_stream(file)
        for batch in batches:
            batch.validate(full=True)
            yield pa.table(batch)


def is_dataset(path: Path) -> bool:
    """Is this a folder written by ``save_to_disk`` of a Dataset or a DatasetDict?"""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def dataset(path: Path) -> Iterator[pa.Table]:
    """The rows of a folder written by ``save_to_disk``; of a DatasetDict the split ``train``, or its only one.

    Raises:
        DataError: It has several splits and none is ``train``, or is not whole.
    """
    if (path / "dataset_dict.json").is_file():
        splits = _names(path / "dataset_dict.json", "splits")
        path = path / pick_split(splits, path)
    for entry in _names(path / "state.json", "_data_files"):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{path / 'state.json'} names no file; save the dataset anew")
        yield from ipc(path / name)


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
