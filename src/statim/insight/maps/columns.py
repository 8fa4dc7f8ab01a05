"""The columns of a map's texts as its page and picture take them: numbers, or numbered words."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.errors import InputError
from statim.insight.maps.map import Map
from statim.strict_json import dumps

CLUSTERS = "cluster"
COLORABLE = 200  # different words of a column to color by
SHOWN = 12  # columns
LETTERS = 80  # of a word
DIGITS = 6  # of a number, significant ones


@dataclass(frozen=True)
class Column:
    """A column of n values.

    Attributes:
        name: Its name.
        names: Its different words, the most frequent first; None for a column of numbers.
        values: The n numbers, or positions in ``names``; None where a value is missing.
    """

    name: str
    names: list[str] | None
    values: list[Any]

    @property
    def colorable(self) -> bool:
        """Can points be colored by it?"""
        return self.names is None or 0 < len(self.names) <= COLORABLE


def columns(found: Map, color: str | None = None) -> list[Column]:
    """The clusters, then the other columns, 12 at most; the one to color by is among these.

    Raises:
        InputError: There is no such column, or it has too many different words.
    """
    named = [name for name in found.columns.column_names if not pa.types.is_null(found.columns[name].type)]
    if color is not None and color not in (CLUSTERS, *named):
        raise InputError(f"there is no column {color!r} to color by; there are {', '.join([CLUSTERS, *named])}")
    clusters = Column(CLUSTERS, found.cluster_names, found.clusters.tolist())
    shown = named[: SHOWN - 1] if color in (None, CLUSTERS, *named[: SHOWN - 1]) else [*named[: SHOWN - 2], color]
    rest = [_column(name, found.columns.column(name)) for name in shown if name is not None]
    for column in rest:
        if column.name == color and not column.colorable:
            raise InputError(
                f"the column {color!r} has {len(column.names or ()):,} different words, too many to color by; "
                f"name one with at most {COLORABLE}, or with numbers"
            )
    return [clusters, *rest]


def _column(name: str, values: pa.ChunkedArray) -> Column:
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Column(name, None, [_number(value) for value in values.to_pylist()])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        values = pa.chunked_array([pa.array([_word(value) for value in values.to_pylist()], pa.large_string())])
    coded = pc.utf8_slice_codeunits(values, 0, LETTERS).combine_chunks().dictionary_encode()
    sizes = np.bincount(coded.indices.drop_null().to_numpy(), minlength=len(coded.dictionary))
    order = np.argsort(-sizes, kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    places = pa.array(numbers, pa.int64()).take(coded.indices)
    return Column(name, coded.dictionary.take(pa.array(order)).to_pylist(), places.to_pylist())


def _number(value: Any) -> Any:
    """A number as short as it may be; None for NaN and infinities."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _word(value: Any) -> str | None:
    """A value of any other type in words: lists and records as JSON."""
    if value is None or isinstance(value, str):
        return value
    return dumps(value, str) if isinstance(value, (list, dict)) else str(value)
