"""Reading pairs from any source; rows that are empty, incomplete or repeated are left out and counted.

Sources are read in blocks, so that memory holds neither a file nor the pairs of large ones (see
spilled_array.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim import threads as pool
from statim.data.dedup.seen_rows import SeenRows
from statim.data.files import columns, rows, tables
from statim.data.pairs import sets
from statim.data.pairs.pairs import PYTHON_DOCS, Pairs, Report, Taken
from statim.data.pairs.python_docs import python_docs
from statim.data.text_column import TextColumn
from statim.errors import DataError, InputError

MOST_NEGATIVES = 100  # per row

Texts = list[pa.LargeStringArray]
Column = str | Mapping[str, str] | None
Columns = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None


def read_pairs(
    sources: Any,
    *,
    anchor: Column = None,
    positive: Column = None,
    negative: Columns = None,
    threads: int | None = None,
) -> Pairs:
    """Read pairs.

    Args:
        sources: ``"python-docs"`` (the documentation inside this Python installation); a path (see
            ``tables.tables`` for the kinds of files); a table (pandas, Polars, Arrow, ``datasets``); a list
            of dicts or of tuples (anchor, positive[, negative …]); Pairs; or several data sets: a list of
            paths, tables, Pairs or ``"python-docs"``, or a mapping from names to any of these.
        anchor: The column of anchors; guessed from the usual names by default (anchor, query, question,
            title, sentence1 …), for each source by itself. A mapping from the names of sets gives it for
            some.
        positive: The column of positives, likewise (positive, answer, document, text, sentence2 …). Lists of
            texts give one pair each.
        negative: The column or columns of negatives, likewise; by default those called negative, negative_1,
            neg …. Lists of texts give a column for each place.
        threads: Threads to use.

    Returns:
        The pairs in the order read, without rows that are empty, incomplete or exact repetitions; ``report``
        counts these.

    Raises:
        DataError: A source is missing or malformed, a column is not there or not text, or fewer than 2 pairs
            are left.
        InputError: A column is named for a set that is not there.

    Examples:
        >>> pairs = read_pairs([("sort a list", "list.sort"), ("open a file", "open(path)")])
        >>> len(pairs), pairs.anchors.to_pylist()
        (2, ['sort a list', 'open a file'])
        >>> len(read_pairs("pairs.jsonl", anchor="question", positive="answer"))
        150
    """
    if isinstance(sources, Pairs):
        return sources
    given = sets.named(sources)
    names = tuple(name for name, _ in given)
    for choice in (anchor, positive, negative):
        for name in choice if isinstance(choice, Mapping) else ():
            if name not in names:
                raise InputError(
                    f"a column is named for the set {name!r}, which is not given; the sets are "
                    f"{columns.listed(names)}"
                )
    usable, sizes = _Usable(), []
    for name, source in given:
        before = len(usable)
        own = [sets.own(choice, name) for choice in (anchor, positive, negative)]
        for arrays in _blocks(source, own, usable.taken, pool.count(threads)):
            usable.add(arrays)
        sizes.append(len(usable) - before)
    return usable.pairs(names, np.repeat(np.arange(len(names), dtype=np.uint16), sizes))


def _blocks(source: Any, names: list[Any], taken: list[Taken], threads: int) -> Iterator[Texts]:
    """The columns of one source a block at a time, lists spread out; ``taken`` is filled at the end."""
    if isinstance(source, Pairs) or (isinstance(source, str) and source == PYTHON_DOCS):
        pairs = source if isinstance(source, Pairs) else python_docs()
        for start, stop in pairs.bounds():
            yield [
                column.slice(start, stop - start)
                for column in (pairs.anchors, pairs.positives, *pairs.negatives)
            ]
        taken += pairs.report.taken or [
            Taken("the Pairs given", len(pairs), {"anchor": "anchor", "positive": "positive"})
        ]
        return
    where, count = tables.label(source), 0
    anchor, positive, negative = names
    chosen: dict[str, str] = {}
    found: dict[str, None] = {}  # columns of negatives, in the order in which they come

    def pick(names: list[str]) -> list[str]:
        if not chosen:
            chosen["anchor"], chosen["positive"] = columns.pick_pair(names, anchor, positive, where)
        if not found or negative is None:
            found.update(dict.fromkeys(columns.pick_negatives(names, negative, where)))
        return [*chosen.values(), *(name for name in found if name not in chosen.values())]

    checks: dict[str, columns.TextCheck] = {}
    for table in tables.stream(source, pick, threads=threads):
        picked = pick(table.column_names)
        count += len(table)
        for name in picked:
            if name in table.column_names:
                checks.setdefault(name, columns.TextCheck(name, where)).see(table)
        yield _spread(table, picked, where)
    for check in checks.values():
        check.finish()
    negatives = {"negative": ", ".join(picked[2:])} if len(picked) > 2 else {}
    taken.append(Taken(where, count, chosen | negatives))


def _spread(table: pa.Table, names: list[str], where: str) -> Texts:
    """The texts of some columns; a pair for each of a list of positives, a column for each negative."""
    if _is_list(table.column(names[1]).type):
        table = _one_each(table, names[1])
    arrays = [_texts(table, name) for name in names[:2]]
    for name in names[2:]:
        if name in table.column_names and _is_list(table.column(name).type):
            arrays += _places(table, name, where)
        else:
            arrays.append(_texts(table, name))
    return arrays


def _texts(table: pa.Table, name: str) -> pa.LargeStringArray:
    """A column as texts; what is none is written as text, and refused later if the whole column is so."""
    if name not in table.column_names:
        return pa.nulls(len(table), pa.large_string())
    array = columns.flat(table.column(name))
    if columns.is_text(array.type):
        return array
    return pa.array([rows.as_text(value) for value in array.to_pylist()], pa.large_string())


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


def _places(table: pa.Table, name: str, where: str) -> Texts:
    """A column for each place of a column of lists."""
    column = table.column(name).combine_chunks()
    lengths = np.asarray(pc.list_value_length(column).fill_null(0), np.int64)
    if lengths.max() > MOST_NEGATIVES:
        raise DataError(
            f"{where}: the column {name!r} has a row of {lengths.max():,} texts; at most "
            f"{MOST_NEGATIVES} are allowed"
        )
    starts = np.cumsum(lengths) - lengths
    values = _texts(pa.table({name: pc.list_flatten(column)}), name)
    places = range(int(lengths.max()))
    return [values.take(pa.array(starts + place, mask=lengths <= place)) for place in places]


class _Usable:
    """The complete rows of all sources, each once."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._columns = [TextColumn(), TextColumn()]
        self._seen = SeenRows()
        self._rows = self._missing = self._empty = self._complete = 0

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, arrays: Texts) -> None:
        """Take a block of rows: anchors, positives, negatives."""
        missing = pc.or_(arrays[0].is_null(), arrays[1].is_null())
        blank = [pc.equal(pc.utf8_trim_whitespace(array), "") for array in arrays]
        empty = pc.and_(pc.invert(missing), pc.or_(blank[0], blank[1]).fill_null(False))
        arrays[2:] = [
            pc.if_else(nothing.fill_null(True), pa.scalar(None, array.type), array)
            for array, nothing in zip(arrays[2:], blank[2:], strict=True)
        ]
        self._rows += len(arrays[0])
        self._missing += pc.sum(missing).as_py() or 0
        self._empty += pc.sum(empty).as_py() or 0
        kept = pc.invert(pc.or_(missing, empty))
        if not pc.all(kept).as_py():
            arrays = [array.filter(kept) for array in arrays]
        self._complete += len(arrays[0])
        firsts = self._seen.new(arrays)
        if len(firsts) < len(arrays[0]):
            arrays = [array.take(pa.array(firsts)) for array in arrays]
        before = len(self)
        while len(self._columns) < len(arrays):
            self._columns.append(TextColumn())
            self._columns[-1].append_missing(before)
        for place, column in enumerate(self._columns):
            if place < len(arrays):
                column.append(arrays[place])
            else:
                column.append_missing(len(firsts))

    def pairs(self, names: tuple[str, ...], numbers: npt.NDArray[np.uint16]) -> Pairs:
        """All of them, of the sets of these names and numbers."""
        report = Report(tuple(self.taken), self._rows, self._missing, self._empty, self._complete - len(self))
        if len(self) < 2:
            raise DataError(
                f"fewer than 2 usable pairs are left ({report}); give more rows with an anchor and a positive"
            )
        anchors, positives, *negatives = (column.finish() for column in self._columns)
        some = tuple(array for array in negatives if array.null_count < len(array))
        return Pairs(anchors, positives, some, report, names, numbers)
