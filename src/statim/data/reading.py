"""Reading pairs from any source; rows that are empty, incomplete or repeated are left out and counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.data import columns, tables
from statim.data.pairs import PYTHON_DOCS, Pairs, Report, Taken
from statim.data.python_docs import python_docs
from statim.errors import DataError

MOST_NEGATIVES = 100  # per row


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
    named = {"anchor": a, "positive": p} | ({"negative": ", ".join(negatives)} if negatives else {})
    taken = Taken(where, len(table), named)
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
