"""Pairs: anchors and their positives, perhaps with negatives, read from any source and rid of empty and repeated rows."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data import columns, tables
from statim.errors import DataError, InputError

PYTHON_DOCS = "python-docs"
MOST_NEGATIVES = 100  # per row


@dataclass(frozen=True)
class Taken:
    """What was read from one source: its name, its rows, and which columns were taken for what."""

    source: str
    rows: int
    anchor: str
    positive: str
    negatives: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = [f"anchor = {self.anchor}", f"positive = {self.positive}"]
        if self.negatives:
            names.append(f"negative = {', '.join(self.negatives)}")
        return f"{self.source}: {self.rows:,} rows ({', '.join(names)})"


@dataclass(frozen=True)
class Report:
    """What became of the rows that were read.

    Attributes:
        taken: One entry per source.
        rows: Pairs read. A row with several positives counts once for each, one with none counts once.
        missing: Dropped because anchor or positive is null.
        empty: Dropped because anchor or positive is nothing but white space.
        duplicates: Dropped because anchor, positive and negatives all equal those of an earlier row.
    """

    taken: tuple[Taken, ...] = ()
    rows: int = 0
    missing: int = 0
    empty: int = 0
    duplicates: int = 0

    def __str__(self) -> str:
        """Sentences for a person."""
        dropped = {"missing": self.missing, "empty": self.empty, "duplicate": self.duplicates}
        counts = ", ".join(f"{count:,} {name}" for name, count in dropped.items() if count)
        return "; ".join(map(str, self.taken)) + (f"; dropped {counts}" if counts else "")


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of texts that belong together.

    Attributes:
        anchors: n texts, none missing.
        positives: n texts, none missing.
        negatives: Arrays of n texts that do not answer their anchors; null where a row has none.
        report: What was read and dropped.
    """

    anchors: pa.LargeStringArray
    positives: pa.LargeStringArray
    negatives: tuple[pa.LargeStringArray, ...] = ()
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        for name in ("anchors", "positives", "negatives"):
            value = getattr(self, name)
            object.__setattr__(
                self, name, tuple(map(_large, value)) if name == "negatives" else _large(value)
            )
        if any(len(column) != len(self.anchors) for column in (self.positives, *self.negatives)):
            raise InputError("anchors, positives and negatives must have the same number of texts")
        if self.anchors.null_count or self.positives.null_count:
            raise InputError("an anchor or a positive is missing; only negatives may be")

    def __len__(self) -> int:
        return len(self.anchors)

    def __repr__(self) -> str:
        return f"Pairs({len(self):,} pairs, {len(self.negatives)} negatives each)"

    def select(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> "Pairs":
        """The pairs at ``indices`` (any order, repeats allowed), copied; the report stays that of the whole."""
        chosen = pa.array(np.asarray(indices, np.int64))
        negatives = tuple(column.take(chosen) for column in self.negatives)
        return Pairs(self.anchors.take(chosen), self.positives.take(chosen), negatives, self.report)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts in their order, in hexadecimal: equal for equal pairs wherever they came from."""
        digest = hashlib.sha256()
        for column in (self.anchors, self.positives, *self.negatives):
            digest.update(np.asarray(pc.binary_length(column).fill_null(-1), np.int64).tobytes())
            offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)
            data = column.buffers()[2]
            if data is not None:
                digest.update(memoryview(data)[offsets[0] : offsets[-1]])
        return digest.hexdigest()


def _large(column: Any) -> pa.LargeStringArray:
    """A column as one large_string array in which missing texts take no bytes."""
    array = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, pa.large_string())
    array = columns.flat(array)
    return pc.if_else(array.is_valid(), array, pa.scalar(None, array.type)) if array.null_count else array


def read_pairs(
    sources: Any,
    *,
    anchor: str | None = None,
    positive: str | None = None,
    negative: str | Sequence[str] | None = None,
) -> Pairs:
    """Read pairs.

    Args:
        sources: ``"python-docs"`` (the documentation inside this Python installation); a path (see ``tables.tables`` for the
            kinds of files); a table (pandas, Polars, Arrow, ``datasets``); a list of dicts or of tuples (anchor, positive[,
            negative …]); Pairs; or a list of several paths, tables or ``"python-docs"``.
        anchor: The column of anchors; guessed from the usual names by default (anchor, query, question, title, sentence1 …).
        positive: The column of positives, likewise (positive, answer, document, text, sentence2 …). Lists of texts give one
            pair each.
        negative: The column or columns of negatives; by default those called negative, negative_1, neg …. Lists of texts
            give a column for each place.

    Returns:
        The pairs in the order read, without rows that are empty, incomplete or exact repetitions; ``report`` counts these.

    Raises:
        DataError: A source is missing or malformed, a column is not there or not text, or fewer than 2 pairs are left.
    """
    if isinstance(sources, Pairs):
        return sources
    parts: list[tuple[list[pa.LargeStringArray], Taken]] = []
    for source in tables.sources(sources):
        if isinstance(source, str) and source == PYTHON_DOCS:
            from statim.data.python_docs import python_docs

            docs = python_docs()
            parts.append(([docs.anchors, docs.positives], docs.report.taken[0]))
        else:
            parts.append(_read(source, anchor, positive, negative))
    width = max(len(arrays) for arrays, _ in parts)
    joined = []
    for place in range(width):
        found = [a[place] if place < len(a) else pa.nulls(len(a[0]), pa.large_string()) for a, _ in parts]
        joined.append(pa.concat_arrays(found))
    return _usable(joined, tuple(taken for _, taken in parts))


def _read(
    source: Any, anchor: str | None, positive: str | None, negative: str | Sequence[str] | None
) -> tuple[list[pa.LargeStringArray], Taken]:
    """The columns of one source, lists spread out."""
    table, where = tables.read_table(source), tables.label(source)
    a, p = columns.pick_pair(table.column_names, anchor, positive, where)
    negatives = [
        name for name in columns.pick_negatives(table.column_names, negative, where) if name not in (a, p)
    ]
    taken = Taken(where, len(table), a, p, tuple(negatives))
    if _is_list(table.column(p).type):
        table = _one_each(table, p)
    arrays = [columns.texts(table, a, where), columns.texts(table, p, where)]
    for name in negatives:
        arrays += (
            _places(table, name, where)
            if _is_list(table.column(name).type)
            else [columns.texts(table, name, where)]
        )
    return arrays, taken


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _one_each(table: pa.Table, name: str) -> pa.Table:
    """One row for each text of a column of lists; a row with none stays, with a null."""
    column = table.column(name).combine_chunks()
    lengths = np.asarray(pc.list_value_length(column).fill_null(0), np.int64)
    parents = np.repeat(np.arange(len(table)), np.maximum(lengths, 1))
    values = np.full(len(parents), -1)
    values[np.repeat(lengths > 0, np.maximum(lengths, 1))] = np.arange(lengths.sum())
    index = table.schema.get_field_index(name)
    texts = pc.list_flatten(column).take(pa.array(values, mask=values < 0))
    return table.take(pa.array(parents)).set_column(index, name, texts)


def _places(table: pa.Table, name: str, where: str) -> list[pa.LargeStringArray]:
    """A column for each place of a column of lists."""
    column = table.column(name).combine_chunks()
    lengths = np.asarray(pc.list_value_length(column).fill_null(0), np.int64)
    if lengths.max() > MOST_NEGATIVES:
        raise DataError(
            f"{where}: the column {name!r} has a row of {lengths.max():,} texts; at most {MOST_NEGATIVES} are allowed"
        )
    starts = np.cumsum(lengths) - lengths
    values = columns.texts(pa.table({name: pc.list_flatten(column)}), name, where)
    places = range(int(lengths.max()))
    return [values.take(pa.array(starts + place, mask=lengths <= place)) for place in places]


def _usable(arrays: list[pa.LargeStringArray], taken: tuple[Taken, ...]) -> Pairs:
    """Pairs of the complete rows, each once."""
    rows = len(arrays[0])
    missing = pc.or_(arrays[0].is_null(), arrays[1].is_null())
    blank = [pc.equal(pc.utf8_trim_whitespace(array), "") for array in arrays]
    empty = pc.and_(pc.invert(missing), pc.or_(blank[0], blank[1]).fill_null(False))
    arrays[2:] = [
        pc.if_else(nothing.fill_null(True), pa.scalar(None, array.type), array)
        for array, nothing in zip(arrays[2:], blank[2:], strict=True)
    ]
    kept = pc.invert(pc.or_(missing, empty))
    if not pc.all(kept).as_py():
        arrays = [array.filter(kept) for array in arrays]
    complete = len(arrays[0])
    first = _first_of_each(arrays)
    if len(first) < complete:
        arrays = [array.take(first) for array in arrays]
    count = {
        "missing": pc.sum(missing).as_py() or 0,
        "empty": pc.sum(empty).as_py() or 0,
        "duplicates": complete - len(first),
    }
    report = Report(taken, rows, **count)
    if len(first) < 2:
        raise DataError(
            f"fewer than 2 usable pairs are left ({report}); give more rows with an anchor and a positive"
        )
    return Pairs(
        arrays[0], arrays[1], tuple(array for array in arrays[2:] if array.null_count < len(array)), report
    )


def _first_of_each(arrays: list[pa.LargeStringArray]) -> pa.Array:
    """The positions of the rows that no earlier row equals, ascending."""
    names = [str(place) for place in range(len(arrays))]
    table = pa.table([*arrays, pa.array(np.arange(len(arrays[0])))], names=[*names, "row"])
    firsts = (
        table.group_by(names, use_threads=False)
        .aggregate([("row", "min")])
        .column("row_min")
        .combine_chunks()
    )
    return firsts.sort()
