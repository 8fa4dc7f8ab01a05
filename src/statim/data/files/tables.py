"""One source of data, file or in memory, as an Arrow table; dispatch to one reader per file type."""

import sys
from collections.abc import Callable, Iterator, Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import pyarrow as pa

from statim.data.files import arrow, delimited, file_types, json_lines, rows, unify
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.data.files.text_file import TextFile, how
from statim.errors import DataError
from statim.texts import Texts, is_column

ROWS = 1 << 16  # of a table in memory at a time


def sources(given: Any) -> list[Any]:
    """Several sources where several are given: a list of paths or tables. Lists of rows are one source.

    A path with wildcards (``exports/*.csv``, ``docs/**/*.md``) that is no file itself stands for all files
    that it matches, sorted.

    Raises:
        DataError: Nothing is given, or nothing matches.
    """
    if isinstance(given, (list, tuple)):
        if not given:
            raise DataError("no data is given; name at least one file or table with rows")
        if all(is_source(item) for item in given):
            return [source for item in given for source in _matched(item)]
    return _matched(given)


def _matched(source: Any) -> list[Any]:
    """The files that a path with wildcards matches; of anything else, itself."""
    if not isinstance(source, (str, Path)) or not has_magic(str(source)) or Path(source).exists():
        return [source]
    named = dict(zip(("delimiter", "encoding"), how(source), strict=True))
    found = [
        TextFile(name, **named) for name in sorted(glob(str(source), recursive=True)) if Path(name).is_file()
    ]
    if not found:
        raise DataError(f"{source} matches no file; give the name of a file, or another pattern")
    return found


def is_source(item: Any) -> bool:
    """Is this one source by itself: a path, or a table that is no plain Python object?"""
    return isinstance(item, (str, Path)) or hasattr(item, "__arrow_c_stream__") or _is_dataset(item)


def label(source: Any) -> str:
    """What messages and reports call a source: a file's path, or the kind of a table in memory."""
    return str(source) if isinstance(source, (str, Path)) else f"the {type(source).__name__} given"


def tables(path: str | Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The rows of a file, or of a folder written by ``datasets``, as a stream of tables of bounded size.

    Args:
        path: JSON lines or a JSON array (.jsonl, .ndjson, .json), .csv, .tsv, each also with .gz or .zst;
            .parquet; Arrow IPC file or stream (.arrow, .feather, .ipc); a folder written by
            ``Dataset.save_to_disk``.
        bad: Told of rows that cannot be read; by default the first is refused.

    Raises:
        DataError: The file is missing, empty, of no known kind, or malformed; the message says where.
    """
    path = path if isinstance(path, Path) else Path(path)  # which keeps how a TextFile is read
    if path.is_dir() and arrow.is_dataset(path):
        return arrow.dataset(path, bad)
    kind, compression = file_types.identify(path)
    if kind == "json":
        return json_lines.tables(path, compression, bad)
    if kind == "csv":
        return delimited.tables(path, compression, how(path)[0], bad)
    if kind == "tsv":
        return delimited.tables(path, compression, how(path)[0] or "\t", bad)
    if kind == "parquet":
        return arrow.parquet(path, bad)
    if kind == "arrow":
        return arrow.ipc(path, bad)
    raise DataError(f"{path} is plain text without columns; give JSON lines, CSV, TSV, Parquet or Arrow")


def read_table(source: Any) -> pa.Table:
    """All rows and columns of one source.

    Args:
        source: A path as in ``tables``; a table that speaks Arrow (pandas, Polars, pyarrow, DuckDB); a
            ``datasets`` Dataset or DatasetDict (its split ``train``); a mapping of columns; a column by
            itself (called ``text``, if it has no name); or a list of dicts or of tuples (anchor, positive,
            …).

    Returns:
        Columns of a CSV or TSV file are text. A column whose values are of several types becomes text (see
        unify.py). Names can occur twice.

    Raises:
        DataError: The source is missing, malformed, of no known kind, or has no rows.

    Examples:
        >>> read_table("docs.jsonl").column_names
        ['id', 'text']
    """
    where = label(source)
    if isinstance(source, (str, Path)):
        found = list(tables(source))
        table = unify.concatenate(found) if found else pa.table({})
    else:
        table = _in_memory(source, where)
    if len(table) == 0:
        raise DataError(f"{where} has no rows")
    return table


def stream(source: Any, pick: Callable[[list[str]], list[str]], *, threads: int = 1) -> Iterator[pa.Table]:
    """The rows of one source as tables of bounded size, with the columns that ``pick`` chooses at least.

    Args:
        source: As in ``read_table``.
        pick: Chooses columns, given the names of those that the first rows have.
        threads: Threads to use.

    Raises:
        DataError: As in ``read_table``, or from ``pick``.
    """
    empty = True
    for table in _stream(source, pick, threads):
        if len(table):
            empty = False
            yield table
    if empty:
        raise DataError(f"{label(source)} has no rows")


def _stream(source: Any, pick: Callable[[list[str]], list[str]], threads: int) -> Iterator[pa.Table]:
    if isinstance(source, (str, Path)):
        path = source if isinstance(source, Path) else Path(source)
        if not path.is_dir() and (kind := file_types.identify(path)).format == "json":
            yield from json_lines.some_columns(path, kind.compression, pick, threads)
        else:
            yield from tables(path)
    else:
        table = _in_memory(source, label(source))
        for start in range(0, len(table), ROWS):
            yield table.slice(start, ROWS)


def _in_memory(source: Any, where: str) -> pa.Table:
    if isinstance(source, Mapping) and source and all(_is_dataset(value) for value in source.values()):
        source = source[arrow.pick_split(list(source), where)]
    try:
        if _is_dataset(source):
            return source.with_format("arrow")[:]
        if _is_pandas(source):
            return _pandas(source)
        if is_column(source):
            name = getattr(source, "name", None)
            return pa.table(
                {name if isinstance(name, str) and name else "text": rows.column(Texts.of(source).all())}
            )
        if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
            return pa.table(source)
        if isinstance(source, Mapping):
            lengths = {len(values) for values in source.values()}
            if len(lengths) > 1:
                raise DataError(f"{where} has columns of different lengths; all must have one value per row")
            return pa.table(
                [rows.column(list(values)) for values in source.values()],
                names=[str(name) for name in source],
            )
        items = list(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{where} is not a table that can be read ({' '.join(str(error).split())[:120]})"
        ) from None
    for index, item in enumerate(items):
        if not isinstance(item, (Mapping, list, tuple)):
            raise DataError(
                f"{where}: item {index} is of type {type(item).__name__}; rows must be dicts or tuples"
            )
    return rows.table(items, where)


def _is_dataset(item: Any) -> bool:
    """A Dataset of the library ``datasets``, which is not imported for this."""
    return isinstance(item, _class_of("datasets", "Dataset"))


def _is_pandas(item: Any) -> bool:
    return isinstance(item, _class_of("pandas", "DataFrame"))


def _class_of(library: str, name: str) -> Any:
    """A class of a library if that is imported; one that another thread is importing may lack it still."""
    return getattr(sys.modules.get(library), name, ())


def _pandas(frame: Any) -> pa.Table:
    """A pandas table without its index; columns of mixed types become text."""
    arrays = []
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position]
        arrays.append(
            rows.column(series.where(series.notna(), None).tolist())
            if series.dtype.kind == "O"
            else pa.array(series, from_pandas=True)
        )
    return pa.table(arrays, names=[str(name) for name in frame.columns])
