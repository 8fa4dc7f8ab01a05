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

PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2",
    "#edc948", "#9c755f", "#ff9da7", "#3b9fd4", "#8cd17d", "#d37295",
)  # of the most frequent words  # fmt: skip
RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")  # of numbers, from low to high
GREY = "#8c9299"  # of all else

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


def columns(found: Map) -> list[Column]:
    """The clusters, then the other columns, 12 at most; the one to color by is among these."""
    names = _names(found.columns)
    if found.color in names[SHOWN - 1 :]:
        names.remove(found.color)
        names.insert(0, found.color)
    clusters = Column(CLUSTERS, found.cluster_names, found.clusters.tolist())
    return [clusters, *(_column(name, found.columns.column(name)) for name in names[: SHOWN - 1])]


def check_color(table: pa.Table, color: str | None) -> None:
    """Refuse a column to color by that is not there, or has too many different words.

    Args:
        table: The other columns of the texts.
        color: The column; None for clusters.

    Raises:
        InputError: It is.
    """
    names = [CLUSTERS, *_names(table)]
    if color is not None and color not in names:
        raise InputError(f"there is no column {color!r} to color by; there are {', '.join(names)}")
    if color in names[1:]:
        column = _column(color, table.column(color))
        if not column.colorable:
            raise InputError(
                f"the column {color!r} has {len(column.names or ()):,} different words, too many to color "
                f"by; name one with at most {COLORABLE}, or with numbers"
            )


def _names(table: pa.Table) -> list[str]:
    """The columns that hold something, none of them of the clusters' own name."""
    kinds = zip(table.column_names, table.schema.types, strict=True)
    return [name for name, kind in kinds if not pa.types.is_null(kind) and name != CLUSTERS]


def _column(name: str, values: pa.ChunkedArray) -> Column:
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Column(name, None, [_number(value) for value in values.to_pylist()])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        values = pa.chunked_array(
            [pa.array([_word(value) for value in values.to_pylist()], pa.large_string())]
        )
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
