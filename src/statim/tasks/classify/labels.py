"""Texts with one label each, or with several, as a head is fitted to and judged by."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import columns, tables
from statim.data.files.rows import as_text, clean
from statim.data.labelled.labelled import bad, labelled_of
from statim.errors import DataError, InputError
from statim.tasks.classify.heads import Targets
from statim.texts import Texts

log = logging.getLogger("statim")

MOST_LABELS = 100_000


@dataclass(frozen=True, eq=False)
class Examples:
    """n texts and the labels of each: one, or with ``several`` any number."""

    texts: pa.LargeStringArray
    labels: list[tuple[str, ...]]
    several: bool

    def __len__(self) -> int:
        return len(self.texts)

    def names(self) -> list[str]:
        """Every label that occurs, sorted."""
        return sorted({label for row in self.labels for label in row})

    def targets(self, names: Sequence[str]) -> Targets:
        """(n, c) bool: which of ``names`` each text has; labels that are none of them are left out."""
        places = {name: place for place, name in enumerate(names)}
        found = np.zeros((len(self), len(names)), np.bool_)
        rows = [row for row, given in enumerate(self.labels) for label in given if label in places]
        which = [places[label] for given in self.labels for label in given if label in places]
        found[rows, which] = True
        return found


def read_examples(
    source: Any,
    *,
    text: columns.Names = None,
    label: str | None = None,
    several: bool = False,
    separator: str | None = None,
) -> Examples:
    """Read texts with labels.

    Args:
        source: A file, a table or a data frame; see ``statim.data.files.tables.read_table``.
        text: The column of texts; guessed by default. Several, as a sequence or with commas between
            (``subject,body``), are joined by line ends.
        label: The column of labels; guessed by default.
        several: Each text has any number of labels: the column holds lists, or texts that are cut at
            ``separator``.
        separator: See ``several``; ``|`` by default.

    Raises:
        DataError: The source cannot be read, a column is not there, or a text is missing; the message
            names the row. Rows of files without a label are left out, and counted in the log.
    """
    if isinstance(source, Examples):
        if source.several != several:
            raise InputError(
                "the examples have one label each and several are wanted, or the other way round"
            )
        return source
    table, where = tables.read_table(source), tables.label(source)
    if not several:
        name = columns.pick(table.column_names, "label", label, columns.LABEL, where)
        table = _with_labels(table, name, where, blank=True)
        if pa.types.is_nested(table.schema.field(name).type):
            raise DataError(
                f"{where}: the column {name!r} holds lists; say that texts have several labels "
                "(--several), or name a column with one label each"
            )
        read = labelled_of(table, where, text=text, label=label)
        return Examples(read.texts, [(name,) for name in read.labels.to_pylist()], False)
    names = table.column_names
    # the plural is the usual name of a column of lists
    name = columns.pick(names, "label", label, ("labels", "tags", *columns.LABEL), where)
    table = _with_labels(table, name, where, blank=False)
    chosen = columns.pick_several(names, "text", text, columns.TEXT, where)
    texts = columns.joined_texts(table, chosen, where)
    if texts.null_count:
        raise bad(where, int(np.argmax(np.asarray(texts.is_null()))), ", ".join(chosen), None, "given")
    array = columns.flat(table.column(name))
    if not pa.types.is_nested(array.type):
        array = columns.texts(table, name, where, any_type=True)
    given = [
        _several(value, separator or "|", where, row, name) for row, value in enumerate(array.to_pylist())
    ]
    return Examples(texts, given, True)


def _with_labels(table: pa.Table, name: str, where: str, *, blank: bool) -> pa.Table:
    """The rows with a label; how many have none is said. With ``blank``, an empty text is none."""
    column = table.column(name)
    there = column.is_valid()
    if blank and columns.is_text(column.type):
        filled = pc.not_equal(pc.utf8_trim_whitespace(columns.flat(column)), "")
        there = pc.and_(there, filled.fill_null(False))
    count = len(table) - (pc.sum(there).as_py() or 0)
    if count == len(table):
        raise DataError(f"{where}: the column {name!r} has no label in any row")
    if count:
        log.warning(
            "%s: %s of %s rows have no label; they are left out", where, f"{count:,}", f"{len(table):,}"
        )
    return table.filter(there)


def of_lists(texts: Any, labels: Iterable[Any], *, several: bool = False) -> Examples:
    """Examples from texts and labels in memory: str or numbers, with ``several`` an iterable per text.

    Labels are written as those of files are: 7.0 is "7", True is "true".

    Raises:
        InputError: They differ in number, or one is missing.
    """
    rows: list[tuple[str, ...]] = []
    lister = getattr(labels, "to_pylist", None)  # Arrow's own scalars hide that one is missing
    for row, given in enumerate(lister() if lister else labels):
        some = tuple(given) if several and not isinstance(given, str) else (given,)
        if any(_is_missing(label) for label in some):
            raise InputError(f"label {row} is {given!r}; every text needs a label")
        rows.append(tuple(dict.fromkeys(as_text(label) or "" for label in some)))
    whole = isinstance(texts, pa.LargeStringArray) and texts.null_count == 0
    array = texts if whole else pa.array(map(clean, Texts.of(texts).checked()), pa.large_string())
    if len(array) != len(rows):
        raise InputError(f"there are {len(array):,} texts and {len(rows):,} labels; every text needs its own")
    return Examples(array, rows, several)


def check_names(names: Sequence[str]) -> None:
    """Refuse labels between which nothing can be told.

    Raises:
        DataError: There are fewer than two, or very many.
    """
    if len(names) < 2:
        held = f"the label {names[0]!r} alone" if names else "no label at all"
        raise DataError(f"the examples have {held}; a head needs examples of at least two labels")
    if len(names) > MOST_LABELS:
        raise DataError(
            f"the examples have {len(names):,} different labels, more than {MOST_LABELS:,}; is that "
            "column really one of labels?"
        )


def _several(value: Any, separator: str, where: str, row: int, name: str) -> tuple[str, ...]:
    if value is None:
        raise bad(where, row, name, None, "given (perhaps empty)")
    parts = value.split(separator) if isinstance(value, str) else value
    if any(_is_missing(part) for part in parts):
        raise bad(where, row, name, value, "a list without missing labels")
    return tuple(dict.fromkeys(stripped for part in parts if (stripped := (as_text(part) or "").strip())))


def _is_missing(label: Any) -> bool:
    """None, NaN, or what pandas has for them."""
    nan = isinstance(label, (float, np.floating)) and bool(np.isnan(label))
    return label is None or nan or type(label).__name__ in ("NAType", "NaTType")
