"""Detect the task of a source from its columns: pairs, scored pairs, labelled texts or documents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from statim.data.documents.corpus import Corpus, is_corpus, read_corpus
from statim.data.documents.plain import PlainTexts, read_plain
from statim.data.files import columns, tables
from statim.data.files.rows import named
from statim.data.labelled.graded import read_classes, read_scored
from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.data.pairs import sets
from statim.data.pairs.pairs import PYTHON_DOCS, Pairs
from statim.data.pairs.reading import Column, Columns, read_pairs
from statim.errors import DataError, InputError

KINDS = ("pairs", "scored pairs", "labelled texts", "plain texts", "documents")

Trainable = Pairs | ScoredPairs | LabelledTexts | PlainTexts
Supervision = Trainable | Corpus  # of which pairs are made first

# a column called label can mean many things beside two texts; these mean a score
SCORES = tuple(name for name in columns.SCORE if name not in columns.LABEL)

# columns that say something about a document and are no second text of a pair
ABOUT = {
    *columns.IDS,
    "url",
    "source",
    "file",
    "path",
    "date",
    "time",
    "timestamp",
    "author",
    "language",
    "lang",
}


def read_supervision(
    sources: Any,
    *,
    kind: str | None = None,
    anchor: Column = None,
    positive: Column = None,
    negative: Columns = None,
    score: str | None = None,
    label: str | None = None,
) -> Supervision:
    """Read what a model can be trained on.

    Args:
        sources: One or several, as for ``read_pairs``.
        kind: One of KINDS; by default told from the columns, those named and those there (never plain texts).
        anchor: The column of anchors, of the first texts of scored pairs, of the texts with labels, or of
            documents' titles; guessed by default.
        positive: The column of positives, of the second texts of scored pairs, or of documents' texts;
            likewise.
        negative: The column or columns of negatives; likewise.
        score: The column of scores; likewise.
        label: The column of labels; likewise.

    Raises:
        DataError: See ``read_pairs``, ``read_scored``, ``read_classes`` and ``read_corpus``; or the sources
            are of several kinds.

    Examples:
        >>> type(read_supervision("pairs.jsonl")).__name__
        'Pairs'
    """
    if isinstance(sources, Supervision):
        given = KINDS[(Pairs, ScoredPairs, LabelledTexts, PlainTexts, Corpus).index(type(sources))]
        if kind not in (None, given):
            raise DataError(f"{given} are given where {kind} are wanted")
        return sources
    if kind is None:
        kind = _only_kind(sources, anchor, positive, negative, score, label)
    if kind == "pairs" and not all(is_corpus(source) for _, source in sets.named(sources)):
        return read_pairs(sources, anchor=anchor, positive=positive, negative=negative)
    if isinstance(anchor, Mapping) or isinstance(positive, Mapping):
        raise InputError(
            f"of {kind} a column has one name for all sets; give the name alone, or name them alike"
        )
    if kind == "plain texts":
        return read_plain(sources, text=anchor)
    if kind in ("pairs", "documents"):
        return read_corpus(sources, text=positive, title=anchor)
    if kind == "scored pairs":
        return read_scored(sources, text1=anchor, text2=positive, score=score)
    return read_classes(sources, text=anchor, label=label)


def _only_kind(
    sources: Any,
    anchor: Column,
    positive: Column,
    negative: Columns,
    score: str | None,
    label: str | None,
) -> str:
    """The kind of all sources."""
    if score is not None or label is not None or negative is not None:
        return "scored pairs" if score is not None else "labelled texts" if label is not None else "pairs"
    found = {
        _kind(source, sets.own(anchor, name), sets.own(positive, name)): tables.label(source)
        for name, source in sets.named(sources)
    }
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise DataError(
            f"{first} holds {one}, but {second} holds {other}; train on one kind at a time, or say "
            "which with the loss"
        )
    return next(iter(found), "pairs")


def _kind(source: Any, anchor: str | None, positive: str | None) -> str:
    """What a source holds by its columns; pairs where nothing is clear, whose reader says what is missing."""
    if is_corpus(source):
        return "documents"
    names = _names(source)
    try:
        columns.pick_pair(names, anchor, positive, "")
        return "pairs"
    except DataError:
        pass
    first = anchor or columns.usual(names, columns.FIRST)
    second = positive or columns.usual(names, columns.SECOND)
    if first and second and columns.usual(names, SCORES):
        return "scored pairs"
    text = anchor or columns.usual(names, columns.TEXT)
    if text and not positive and columns.usual(names, columns.LABEL) and not (first and second):
        return "labelled texts"
    body = positive or (names[0] if len(names) == 1 else columns.usual(names, columns.TEXT))
    others = {name.lower() for name in names if name != body}
    return "documents" if body in names and not anchor and others <= ABOUT else "pairs"


def _names(source: Any) -> Sequence[str]:
    """The names of a source's columns, as far as they can be had without reading it."""
    if isinstance(source, Pairs):
        return ("anchor", "positive")
    if isinstance(source, (str, Path)):
        if str(source) == PYTHON_DOCS:
            return ("anchor", "positive")
        table = next(tables.tables(source), None)
        return [] if table is None else list(table.column_names)
    if isinstance(source, Mapping) and any(hasattr(value, "column_names") for value in source.values()):
        source = next(iter(source.values()))  # the splits of a data set
    for attribute in ("column_names", "columns"):
        if hasattr(source, attribute):
            return [str(name) for name in getattr(source, attribute)]
    if isinstance(source, Mapping):
        return list(map(str, source))
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (Mapping, list, tuple)):
        return list(map(str, named(source[0])))
    return []
