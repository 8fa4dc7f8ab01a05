"""The columns of a table, by name or guessed from usual names, and their content as text or numbers."""

import functools
import re
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import rows
from statim.errors import DataError

# The usual names of an anchor and what is close to it, the clearest first
PAIRS = (
    ("anchor", "positive"), ("query", "positive"), ("question", "positive"), ("query", "pos"),
    ("query", "document"), ("query", "passage"), ("query", "answer"), ("query", "text"),
    ("question", "answer"), ("question", "passage"), ("question", "context"), ("question", "response"),
    ("instruction", "response"), ("instruction", "output"), ("prompt", "response"), ("prompt", "completion"),
    ("title", "text"), ("title", "body"), ("title", "abstract"), ("title", "description"),
    ("title", "content"),
    ("term", "definition"), ("summary", "document"),
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text1", "text2"), ("text_1", "text_2"),
    ("question1", "question2"), ("premise", "hypothesis"),
)  # fmt: skip
# Pairs that stand beside one of these are judged ones: not all of them mean the same
SYMMETRIC = ("sentence1", "sentence_1", "text1", "text_1", "question1", "premise")
JUDGEMENTS = (
    "label",
    "labels",
    "score",
    "similarity",
    "similarity_score",
    "is_duplicate",
    "gold_label",
    "relatedness_score",
)
NEGATIVE = re.compile(r"(hard_?)?neg(ative)?s?_?\d*", re.IGNORECASE)

FIRST = ("text1", "sentence1", "sentence_1", "text_1", "question1", "premise", "anchor")
SECOND = ("text2", "sentence2", "sentence_2", "text_2", "question2", "hypothesis", "positive", "text")
TEXT = (
    "text",
    "document",
    "passage",
    "content",
    "contents",
    "body",
    "sentence",
    "abstract",
    "description",
    "positive",
    "title",
)
IDS = ("_id", "id", "doc_id", "docid", "document_id", "corpus-id", "corpus_id", "pid", "key")
LABEL = ("label", "labels", "class", "category", "intent", "is_duplicate", "gold_label")
SCORE = ("score", "similarity", "similarity_score", "relatedness_score", "label")

Names = str | Sequence[str] | None  # of the columns of texts: one, or several that are joined
BETWEEN = "\n"  # the texts of several columns

UNFOLDED = 16 << 30  # bytes of a dictionary's texts, where all must be held
NUMBER = r"^\s*[-+]?\d+(\.\d*)?\s*$"


def listed(names: Iterable[str]) -> str:
    """Column names for a message."""
    names = [name[:40] for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"


def free(name: str, taken: Collection[str]) -> str:
    """The name, with as many underscores behind it as it takes to be none of some."""
    while name in taken:
        name += "_"
    return name


def spelt(names: Sequence[str]) -> str:
    """One or several columns for a message."""
    return " and ".join(map(repr, names))


def named(names: Sequence[str], name: str, where: str) -> str:
    """The column of that name.

    Raises:
        DataError: There is none, or there are several.
    """
    if name not in names:
        raise DataError(f"{where} has no column {name!r}; its columns are: {listed(names)}")
    if list(names).count(name) > 1:
        raise DataError(
            f"{where} has {list(names).count(name)} columns of the name {name!r}; give them names of "
            "their own"
        )
    return name


def usual(names: Sequence[str], candidates: Iterable[str]) -> str | None:
    """The first of the candidates that is a column, in any case."""
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[candidate] for candidate in candidates if candidate in lowered), None)


def pick(names: Sequence[str], role: str, given: str | None, candidates: Sequence[str], where: str) -> str:
    """The column for a role: the one given, else the first of the usual names.

    Raises:
        DataError: The one given is not there, or none has a usual name.
    """
    found = given if given is not None else usual(names, candidates)
    if found is None:
        raise DataError(
            f"{where}: cannot tell which column is the {role}; name it, or call it {candidates[0]}; "
            f"its columns are: {listed(names)}"
        )
    return named(names, found, where)


def pick_several(
    names: Sequence[str], role: str, given: Names, candidates: Sequence[str], where: str
) -> list[str]:
    """As ``pick``, perhaps several columns: a sequence, or names with commas between (``subject,body``).

    Raises:
        DataError: As for ``pick``; or a column is named twice.
    """
    if isinstance(given, str) and given not in names and "," in given:
        given = [part.strip() for part in given.split(",")]
    if given is None or isinstance(given, str):
        return [pick(names, role, given, candidates, where)]
    found = [named(names, name, where) for name in given]
    if not found or len(set(found)) < len(found):
        raise DataError(
            f"{where}: the columns of the {role} are given as {listed(given)}; name one or more, each once"
        )
    return found


def pick_pair(names: Sequence[str], anchor: str | None, positive: str | None, where: str) -> tuple[str, str]:
    """The columns of anchors and positives: those given, the rest guessed.

    Raises:
        DataError: One is not there, both are the same, none has a usual name, or a guess would take judged
            pairs for positive ones.
    """
    for name in (anchor, positive):
        if name is not None:
            named(names, name, where)
    for first, second in PAIRS:
        a, p = anchor or usual(names, [first]), positive or usual(names, [second])
        if a is None or p is None or a == p:
            continue
        judged = usual(names, JUDGEMENTS)
        if anchor is None and positive is None and first in SYMMETRIC and judged:
            raise DataError(
                f"{where} has the columns {a}, {p} and {judged}, so not every row may be a positive pair; "
                f"keep the rows that are, and name the columns (anchor={a}, positive={p})"
            )
        return named(names, a, where), named(names, p, where)
    if anchor is not None and anchor == positive:
        raise DataError(f"{where}: anchor and positive are both the column {anchor!r}; name two columns")
    raise DataError(
        f"{where}: cannot tell which columns are anchor and positive; name them (--anchor, "
        "--positive), or have pairs made of one column "
        f"of documents (--make-pairs, --positive); its columns are: {listed(names)}"
    )


def pick_negatives(names: Sequence[str], negative: str | Sequence[str] | None, where: str) -> list[str]:
    """The columns of negatives: those given, else all called negative, negative_1, neg, hard_negative ….

    Raises:
        DataError: One given is not there.
    """
    if negative is None:
        return [named(names, name, where) for name in names if NEGATIVE.fullmatch(name)]
    return [named(names, name, where) for name in ([negative] if isinstance(negative, str) else negative)]


def unfolded(array: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """(n,) the bytes of each text of a dictionary array; zeros where the dictionary has no texts."""
    kind = array.type.value_type
    if not (is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)) or pa.types.is_null(
        kind
    ):
        return np.zeros(len(array), np.int64)
    lengths = pc.binary_length(array.dictionary.cast(pa.large_binary())).take(array.indices)
    return np.asarray(lengths.fill_null(0), np.int64)


def flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array with the values themselves: no chunks, no dictionary; all kinds of text as large_string.

    Raises:
        DataError: The texts of a dictionary would take more than UNFOLDED bytes.
    """
    if pa.types.is_dictionary(column.type):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        size = sum(int(unfolded(chunk).sum()) for chunk in chunks)
        if size > UNFOLDED:
            raise DataError(
                f"a column of a dictionary unfolds to {size:,} bytes, over the limit of {UNFOLDED:,}; "
                "write it without a dictionary, or in several files"
            )
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        column = column.cast(pa.large_string())
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def is_text(kind: pa.DataType) -> bool:
    """Is this a type of text (or of nothing but missing values)?"""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in text)


def texts(table: pa.Table, name: str, where: str, *, any_type: bool = False) -> pa.LargeStringArray:
    """A column's texts; missing ones are null.

    Args:
        table: A table.
        name: A column that it has once.
        where: What messages call the table.
        any_type: Numbers and dates are welcome too, written as text (for ids and labels).

    Raises:
        DataError: The column holds no text, or numbers written as text that can only be a label.
    """
    array = flat(table.column(name))
    if not is_text(array.type):
        if any_type and not pa.types.is_nested(array.type) and not pa.types.is_binary(array.type):
            return as_texts(array)
        raise _no_text(table, name, where)
    if not any_type and _is_label(array):
        raise _label(name, where)
    return array


def joined_texts(table: pa.Table, names: Sequence[str], where: str) -> pa.LargeStringArray:
    """The texts of one column, or of several with BETWEEN between them.

    Empty ones are left out; where all are missing, there is a null.

    Raises:
        DataError: As for ``texts``; or none of the columns is there.
    """
    there = [name for name in names if name in table.column_names]
    found = [texts(table, name, where) for name in there or [named(table.column_names, names[0], where)]]
    return join_texts(found)


def join_texts(found: Sequence[pa.LargeStringArray]) -> pa.LargeStringArray:
    """The texts of several columns, row by row; see ``joined_texts``."""
    if len(found) == 1:
        return found[0]
    joined = functools.reduce(_join, (one.fill_null("") for one in found))
    missing = functools.reduce(pc.and_, [one.is_null() for one in found])
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), joined)


def _join(one: pa.LargeStringArray, other: pa.LargeStringArray) -> pa.LargeStringArray:
    """Two texts with BETWEEN between them; where one is empty, the other."""
    empty, no_more = (pc.equal(pc.utf8_trim_whitespace(part), "") for part in (one, other))
    both = pc.binary_join_element_wise(one, other, pa.scalar(BETWEEN, pa.large_string()))
    return pc.if_else(empty, pc.if_else(no_more, "", other), pc.if_else(no_more, one, both))


def as_texts(array: pa.Array) -> pa.LargeStringArray:
    """An array's values as text, as ``rows.as_text`` writes each."""
    kind = array.type
    if is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.large_string())
    # of numpy's own numbers, whose text is as short as their type allows
    narrow = pa.types.is_floating(kind) and not pa.types.is_float64(kind)
    values = array.to_numpy(zero_copy_only=False) if narrow else array.to_pylist()
    return pa.array([rows.as_text(value) for value in values], pa.large_string())


def _no_text(table: pa.Table, name: str, where: str) -> DataError:
    others = listed(field.name for field in table.schema if is_text(field.type))
    return DataError(
        f"{where}: the column {name!r} holds {table.schema.field(name).type}, not text; the columns of "
        f"text are: {others}"
    )


def _label(name: str, where: str) -> DataError:
    return DataError(
        f"{where}: the column {name!r} holds nothing but a few numbers, which is a label and not text"
    )


class TextCheck:
    """Refuses what ``texts`` refuses, of a column that is seen table by table.

    Args:
        name: The column.
        where: What messages call the tables.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name, self._where = name, where
        self._other: pa.Table | None = None  # the head of the first table where it is no text
        self._texts = False
        self._numbers: list[pa.LargeStringArray] | None = []  # the texts so far, as long as all are numbers

    def see(self, table: pa.Table) -> None:
        """Look at a table; lists are left to others."""
        kind = table.schema.field(self._name).type
        if pa.types.is_nested(kind) or pa.types.is_null(kind):
            return
        if not is_text(kind):
            self._other = self._other or table.slice(0, 0)
            return
        self._texts = True
        if self._numbers is not None:
            array = flat(table.column(self._name))
            self._numbers.append(array)
            if _has_text(array):
                self._numbers = None

    def finish(self) -> None:
        """Say what is wrong, after the last table.

        Raises:
            DataError: The column holds no text in any table, or numbers written as text that can only be a
                label.
        """
        if self._other is not None and not self._texts:
            raise _no_text(self._other, self._name, self._where)
        if self._numbers and _is_label(pa.concat_arrays(self._numbers)):
            raise _label(self._name, self._where)


def _has_text(array: pa.LargeStringArray) -> bool:
    """Is anything else there than numbers?"""
    for part in (array.slice(0, 10), array):
        if pc.all(pc.match_substring_regex(part, NUMBER)).as_py() is False:
            return True
    return False


def _is_label(array: pa.LargeStringArray) -> bool:
    """Ten rows or more of nothing but numbers that repeat."""
    if len(array) < 10 or array.null_count == len(array) or _has_text(array):
        return False
    return bool(pc.count_distinct(array).as_py() <= max(5, len(array) // 10))
