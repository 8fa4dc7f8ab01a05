"""The other columns of rows whose texts were read.

They are read again where a result is written, so that they need no memory before.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.documents.texts import STDIN, read_rows
from statim.data.files import columns, tables, unify
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.errors import DataError
from statim.texts import is_column, is_table

Longs = npt.NDArray[np.int64]
Beside = Callable[[Longs], pa.Table]


def reader(source: Any, column: columns.Names, bad: BadRows = REFUSED) -> Beside | None:
    """What gives the other columns of rows, by their numbers; None where there are none to read again.

    Args:
        source: As for ``read_texts``, read before.
        column: The column of texts.
        bad: Told of the same rows once more.
    """
    several = list(source) if isinstance(source, (list, tuple)) else [source]
    paths = all(isinstance(one, (str, Path)) and one != STDIN for one in several)
    files = (
        paths and all(isinstance(one, Path) for one in several)
        if isinstance(source, (list, tuple))
        else paths
    )
    if not files and (is_column(source) or not (is_table(source) or tables.is_source(source))):
        return None
    return lambda rows: _read(source, column, bad, rows)


def _read(source: Any, column: columns.Names, bad: BadRows, rows: Longs) -> pa.Table:
    wanted, places = np.unique(rows, return_inverse=True)
    found: list[pa.Table] = []
    end = 0
    for table in read_rows(source, column, bad):
        start, end = end, end + len(table)
        here = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, end)]
        found.append(table.take(pa.array(here - start)))
    if len(wanted) and wanted[-1] >= end:
        raise DataError(f"{tables.label(source)} has {end:,} rows now, fewer than when its texts were read")
    return unify.concatenate(found).take(pa.array(places)).drop_columns(["text"])


def behind(first: pa.Table, others: pa.Table, prefix: str = "") -> pa.Table:
    """A table with other columns behind its own; one whose name is taken gets an underscore."""
    for name in others.column_names:
        free: str = columns.free(prefix + name, first.column_names)
        first = first.append_column(free, others.column(name))
    return first
