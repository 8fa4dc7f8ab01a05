"""Judged data: scored pairs, yes/no pairs, labelled texts; every row is kept, for evaluation."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import columns, tables
from statim.data.pairs.pairs import Report, hash_of
from statim.errors import DataError

YES_NO = {
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
}


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """n pairs of texts with human similarity scores, (n,) float64, finite; more is more similar."""

    text1: pa.LargeStringArray
    text2: pa.LargeStringArray
    scores: npt.NDArray[np.float64]
    report: Report = field(default_factory=Report)

    unit: ClassVar[str] = "pairs"

    def __len__(self) -> int:
        return len(self.text1)

    @property
    def columns(self) -> tuple[pa.LargeStringArray, ...]:
        """The texts by which pairs resemble each other."""
        return self.text1, self.text2

    def select(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> "ScoredPairs":
        """The pairs at ``indices``, copied; the report stays that of the whole."""
        chosen = np.asarray(indices, np.int64)
        first, second = (column.take(pa.array(chosen)) for column in self.columns)
        return ScoredPairs(first, second, self.scores[chosen], self.report)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts and scores in their order, in hexadecimal."""
        return hash_of(self.columns, self.scores.tobytes())


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """n pairs of texts and whether they belong together: ``labels`` (n,) bool, both values occur."""

    text1: pa.LargeStringArray
    text2: pa.LargeStringArray
    labels: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.text1)


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """n texts and their n labels (text; numbers are written out)."""

    texts: pa.LargeStringArray
    labels: pa.LargeStringArray
    report: Report = field(default_factory=Report)

    unit: ClassVar[str] = "texts"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def columns(self) -> tuple[pa.LargeStringArray, ...]:
        """The texts, which may resemble each other."""
        return (self.texts,)

    def select(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> "LabelledTexts":
        """The texts at ``indices``, copied; the report stays that of the whole."""
        chosen = pa.array(np.asarray(indices, np.int64))
        return LabelledTexts(self.texts.take(chosen), self.labels.take(chosen), self.report)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts and labels in their order, in hexadecimal."""
        return hash_of([self.texts, self.labels])


def read_sts(
    source: Any, *, text1: str | None = None, text2: str | None = None, score: str | None = None
) -> ScoredPairs:
    """Read pairs with similarity scores; columns named or guessed (text1, text2, score; sentence1 …).

    Raises:
        DataError: The source cannot be read, a column is not there, a text is missing, or a score is no
            finite number; the message names the row.

    Examples:
        >>> table = {"text1": ["sort a list", "open"], "text2": ["order a list", "close"], "score": [4.5, 1]}
        >>> read_sts(table).scores.tolist()
        [4.5, 1.0]
    """
    table, where = tables.read_table(source), tables.label(source)
    first, second = _two_texts(table, text1, text2, where)
    name = columns.pick(table.column_names, "score", score, columns.SCORE, where)
    scores = np.empty(len(table), np.float64)
    for row, value in enumerate(columns.flat(table.column(name)).to_pylist()):
        scores[row] = number(value)
        if not math.isfinite(scores[row]):
            raise bad(where, row, name, value, "a finite number")
    return ScoredPairs(first, second, scores)


def read_judged_pairs(
    source: Any, *, text1: str | None = None, text2: str | None = None, label: str | None = None
) -> JudgedPairs:
    """Read pairs labelled 1 or 0 (also true/false, yes/no); columns are named or guessed.

    Raises:
        DataError: The source cannot be read, a column is not there, a text is missing, a label is none of
            those (the message names the row), or all labels are the same.

    Examples:
        >>> table = {"text1": ["sort a list", "open"], "text2": ["order a list", "close"], "label": [1, 0]}
        >>> read_judged_pairs(table).labels.tolist()
        [True, False]
    """
    table, where = tables.read_table(source), tables.label(source)
    first, second = _two_texts(table, text1, text2, where)
    name = columns.pick(table.column_names, "label", label, columns.LABEL, where)
    labels = np.empty(len(table), np.bool_)
    for row, value in enumerate(columns.flat(table.column(name)).to_pylist()):
        answer = YES_NO.get(str(value).strip().lower())
        if answer is None:
            raise bad(where, row, name, value, "0 or 1")
        labels[row] = answer
    if labels.all() or not labels.any():
        raise DataError(
            f"{where}: every row of the column {name!r} is {int(labels[0])}; both 0 and 1 must occur"
        )
    return JudgedPairs(first, second, labels)


def read_labelled(source: Any, *, text: columns.Names = None, label: str | None = None) -> LabelledTexts:
    """Read texts with labels; columns named or guessed (text, label …).

    Raises:
        DataError: The source cannot be read, a column is not there, a text or label is missing, or a label is
            empty; the message names the row.

    Examples:
        >>> table = {"text": ["sort a list", "open a file"], "label": ["lists", "files"]}
        >>> read_labelled(table).labels.to_pylist()
        ['lists', 'files']
    """
    return labelled_of(tables.read_table(source), tables.label(source), text=text, label=label)


def labelled_of(
    table: pa.Table, where: str, *, text: columns.Names = None, label: str | None = None
) -> LabelledTexts:
    """``read_labelled`` of a table that was read already; ``where`` is what messages call it."""
    names = table.column_names
    chosen = columns.pick_several(names, "text", text, columns.TEXT, where)
    texts = columns.joined_texts(table, chosen, where)
    if texts.null_count:
        raise bad(where, int(np.argmax(np.asarray(texts.is_null()))), ", ".join(chosen), None, "given")
    name = columns.pick(names, "label", label, columns.LABEL, where)
    labels = _complete(table, name, where, any_type=True)
    empty = np.asarray(pc.equal(pc.utf8_trim_whitespace(labels), ""))  # what a CSV file has for a missing one
    if empty.any():
        raise bad(where, int(np.argmax(empty)), name, "", "given")
    return LabelledTexts(texts, labels)


def _two_texts(
    table: pa.Table, text1: str | None, text2: str | None, where: str
) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
    names: Sequence[str] = table.column_names
    first = columns.pick(names, "first text", text1, columns.FIRST, where)
    second = columns.pick(names, "second text", text2, columns.SECOND, where)
    if first == second:
        raise DataError(
            f"{where}: the first and the second text are both the column {first!r}; name two columns"
        )
    return _complete(table, first, where), _complete(table, second, where)


def _complete(table: pa.Table, name: str, where: str, *, any_type: bool = False) -> pa.LargeStringArray:
    texts = columns.texts(table, name, where, any_type=any_type)
    if texts.null_count:
        raise bad(where, int(np.argmax(np.asarray(texts.is_null()))), name, None, "given")
    return texts


def number(value: Any) -> float:
    """A value as a number; NaN where it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def bad(where: str, row: int, name: str, value: Any, allowed: str) -> DataError:
    """What to say of a value that is of no use."""
    given = "missing" if value is None else repr(value)[:60]
    return DataError(f"{where}, row {row + 1}: {name!r} is {given}; it must be {allowed}")
