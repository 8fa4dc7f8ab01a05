"""Read scored pairs and labelled texts for training; unusable rows are left out and counted.

For evaluation labelled.py reads the same files, and refuses what is left out here: there every row counts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import columns, tables
from statim.data.labelled.labelled import LabelledTexts, ScoredPairs, bad, number
from statim.data.pairs import sets
from statim.data.pairs.pairs import Report, Taken
from statim.errors import DataError

Columns = list[Any]  # of texts, and of numbers as (n,) float64
Read = Callable[[pa.Table, str], tuple[Columns, dict[str, str]]]  # the columns taken, and their names by role


def read_scored(
    sources: Any, *, text1: str | None = None, text2: str | None = None, score: str | None = None
) -> ScoredPairs:
    """Read pairs with similarity scores to train on.

    Args:
        sources: One or several sources, see ``reading.read_pairs``.
        text1: The column of the first texts; guessed by default (text1, sentence1, premise, anchor …).
        text2: The column of the second texts; likewise.
        score: The column of scores, numbers of which more is more similar; likewise (score, similarity, label
            …).

    Returns:
        The pairs in the order read, without rows that are empty, incomplete or exact repetitions; ``report``
        counts these.

    Raises:
        DataError: A source is missing or malformed, a column is not there, a score is no finite number (the
            message names the row), or all scores are the same.

    Examples:
        >>> table = {"text1": ["sort a list", "open"], "text2": ["order a list", "close"], "score": [1, 0]}
        >>> read_scored(table).scores.tolist()
        [1.0, 0.0]
    """

    def read(table: pa.Table, where: str) -> tuple[Columns, dict[str, str]]:
        names = table.column_names
        first = columns.pick(names, "first text", text1, columns.FIRST, where)
        second = columns.pick(names, "second text", text2, columns.SECOND, where)
        if first == second:
            raise DataError(f"{where}: both texts of a pair are the column {first!r}; name two columns")
        name = columns.pick(names, "score", score, columns.SCORE, where)
        texts: Columns = [columns.texts(table, column, where) for column in (first, second)]
        found = {"first text": first, "second text": second, "score": name}
        return [*texts, _scores(table, name, where)], found

    (first, second, scores), report = _usable(sources, read)
    if len(scores) < 2 or (scores == scores[0]).all():
        raise DataError(
            f"fewer than 2 different scores are left ({report}); give pairs that are more and less similar"
        )
    return ScoredPairs(first, second, scores, report)


def read_classes(sources: Any, *, text: columns.Names = None, label: str | None = None) -> LabelledTexts:
    """Read texts with labels to train on.

    Args:
        sources: One or several sources, see ``reading.read_pairs``.
        text: The column of texts; guessed by default (text, document, sentence, title …). Several, as a
            sequence or with commas between, are joined by line ends.
        label: The column of labels; likewise (label, class, category, intent …).

    Returns:
        The texts in the order read, each once, without rows that are empty or incomplete and without texts
        that stand under several labels; ``report`` counts these.

    Raises:
        DataError: A source is missing or malformed, a column is not there, or fewer than 2 labels are left.

    Examples:
        >>> found = read_classes({"text": ["sort a list", "open a file"], "label": ["lists", "files"]})
        >>> found.labels.to_pylist()
        ['lists', 'files']
    """

    def read(table: pa.Table, where: str) -> tuple[Columns, dict[str, str]]:
        chosen = columns.pick_several(table.column_names, "text", text, columns.TEXT, where)
        name = columns.pick(table.column_names, "label", label, columns.LABEL, where)
        if name in chosen:
            raise DataError(f"{where}: text and label are both the column {name!r}; name two columns")
        labels = columns.texts(table, name, where, any_type=True)
        found = {"text": " + ".join(chosen), "label": name}
        return [columns.joined_texts(table, chosen, where), labels], found

    (texts, labels), report = _usable(sources, read)
    codes = texts.dictionary_encode().indices.to_numpy()
    single = np.bincount(codes)[codes] == 1
    if not single.all():
        texts, labels = (column.filter(pa.array(single)) for column in (texts, labels))
        report = Report(
            report.taken, report.rows, report.missing, report.empty, report.duplicates, int((~single).sum())
        )
    if pc.count_distinct(labels).as_py() < 2:
        raise DataError(f"fewer than 2 labels are left ({report}); give texts of at least two classes")
    return LabelledTexts(texts, labels, report)


def _usable(sources: Any, read: Read) -> tuple[list[Any], Report]:
    """The columns of all sources, of the complete rows, each once."""
    parts, taken = [], []
    for _, source in sets.named(sources):
        table, where = tables.read_table(source), tables.label(source)
        found, names = read(table, where)
        parts.append(found)
        taken.append(Taken(where, len(table), names))
    # numbers become columns of a table too, in which NaN stands for a missing one
    joined = [pa.concat_arrays([pa.array(column) for column in place]) for place in zip(*parts, strict=True)]
    texts = [pa.types.is_large_string(column.type) for column in joined]
    missing, empty = np.zeros(len(joined[0]), bool), np.zeros(len(joined[0]), bool)
    for column, is_text in zip(joined, texts, strict=True):
        if is_text:
            missing |= np.asarray(column.is_null())
            empty |= np.asarray(pc.equal(pc.utf8_trim_whitespace(column), "").fill_null(False))
        else:
            missing |= np.isnan(np.asarray(column))
    kept = np.flatnonzero(~missing & ~empty)
    table = pa.table(
        [column.take(pa.array(kept)) for column in joined], names=list(map(str, range(len(joined))))
    )
    groups = table.append_column("row", pa.array(np.arange(len(table)))).group_by(
        table.column_names, use_threads=False
    )
    firsts = np.sort(np.asarray(groups.aggregate([("row", "min")]).column("row_min"), np.int64))
    columns_left = [columns.flat(column.take(pa.array(firsts))) for column in table.columns]
    report = Report(
        tuple(taken),
        len(missing),
        int(missing.sum()),
        int((empty & ~missing).sum()),
        len(table) - len(firsts),
    )
    return [
        column if text else column.to_numpy() for column, text in zip(columns_left, texts, strict=True)
    ], report


def _scores(table: pa.Table, name: str, where: str) -> npt.NDArray[np.float64]:
    """A column of numbers; NaN where one is missing."""
    column = columns.flat(table.column(name))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        scores = np.array(column.cast(pa.float64(), safe=False).fill_null(np.nan), np.float64)
    else:
        given = [None if value is None or str(value).strip() == "" else value for value in column.to_pylist()]
        scores = np.array([np.nan if value is None else number(value) for value in given], np.float64)
        wrong = np.isnan(scores) & np.array([value is not None for value in given], bool)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise bad(where, row, name, given[row], "a finite number")
    if np.isinf(scores).any():
        row = int(np.argmax(np.isinf(scores)))
        raise bad(where, row, name, float(scores[row]), "a finite number")
    return scores
