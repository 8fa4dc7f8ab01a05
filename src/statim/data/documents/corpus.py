"""A corpus: documents without pairs, from text files, a folder of them or a table's text column.

What stands in no pairs can still be trained on: pairs_from_documents.py makes pairs of documents' own parts.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.counted import counted
from statim.data.dedup.seen_rows import SeenRows
from statim.data.documents import files
from statim.data.documents.texts import read_texts
from statim.data.files import arrow, columns, file_types, tables
from statim.data.pairs.pairs import Report, Taken, hash_of
from statim.data.text_column import TextColumn
from statim.errors import DataError

EMPTY_LINES = 0.05  # a text file with at least this share of them has its documents between them
TITLES = ("title", "heading", "headline", "subject")


@dataclass(frozen=True, eq=False)
class Corpus:
    """n documents.

    Attributes:
        titles: Their titles; null where one has none.
        bodies: Their texts, none empty, no two equal.
        report: What was read and dropped.
    """

    titles: pa.LargeStringArray
    bodies: pa.LargeStringArray
    report: Report = field(default_factory=Report)

    unit: ClassVar[str] = "documents"

    def __len__(self) -> int:
        return len(self.bodies)

    def __repr__(self) -> str:
        return (
            f"Corpus({counted(len(self), 'documents')}, {len(self) - self.titles.null_count:,} with a title)"
        )

    @property
    def columns(self) -> tuple[pa.LargeStringArray, ...]:
        """The texts by which documents are compared; titles are left out, since many documents share one."""
        return (self.bodies,)

    def select(self, indices: npt.NDArray[np.integer]) -> "Corpus":
        """The documents at ``indices``; the report stays that of the whole."""
        chosen = pa.array(np.asarray(indices, np.int64))
        return Corpus(self.titles.take(chosen), self.bodies.take(chosen), self.report)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts in their order, in hexadecimal."""
        return hash_of([self.titles, self.bodies])


def is_corpus(source: Any) -> bool:
    """Is this the path of something that can only hold documents?

    A folder (but not of ``datasets``) or a file of running text.
    """
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source)
    return files.is_folder(path) or (path.is_file() and (_suffix(path) in files.SUFFIXES or _is_lines(path)))


def read_corpus(sources: Any, *, text: columns.Names = None, title: str | None = None) -> Corpus:
    """Read documents.

    Args:
        sources: One or several of these. A folder: each .txt, .md, .rst, .html, .pdf and .docx file in it, at
            any depth, is a document; hidden files are passed over, other kinds and files that cannot be used
            are left out and counted. A file of these kinds, likewise; but a .txt file (also .gz or .zst)
            that is named has a document on each line, or between empty lines where one line in twenty is
            empty. A table as in ``tables.read_table``: each row is a document.
        text: The column of texts in tables; guessed from the usual names by default, or the only column of
            text. Several, as a sequence or with commas between, are joined by line ends.
        title: The column of titles; guessed likewise.

    Returns:
        The documents in the order read (files by their paths), without empty ones and exact repetitions.

    Raises:
        DataError: A source is missing, holds no text or not UTF-8, a column is not there, or fewer than 2
            documents are left.

    Examples:
        >>> corpus = read_corpus("notes")
        >>> len(corpus)
        40
    """
    found = _Documents()
    for source in tables.sources(sources):
        path = Path(source) if isinstance(source, str) else source if isinstance(source, Path) else None
        if path is not None and path.is_dir() and not arrow.is_dataset(path):
            _folder(path, found)
        elif path is not None and path.is_file() and _is_lines(path):
            _lines(path, found)
        elif path is not None and path.is_file() and _suffix(path) in files.SUFFIXES:
            _file(path, found)
        else:
            _table(source, text, title, found)
    return found.corpus()


class _Documents:
    """The documents of all sources, each once."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._titles, self._bodies, self._seen = TextColumn(), TextColumn(), SeenRows()
        self._rows = self._missing = self._empty = self._filled = 0

    def add(self, titles: pa.LargeStringArray, bodies: pa.LargeStringArray) -> None:
        """Take a block of documents."""
        blank = pc.equal(pc.utf8_trim_whitespace(bodies), "")
        self._rows += len(bodies)
        self._missing += bodies.null_count
        self._empty += pc.sum(blank).as_py() or 0
        kept = pc.invert(blank.fill_null(True))
        titles, bodies = titles.filter(kept), bodies.filter(kept)
        self._filled += len(bodies)
        firsts = pa.array(self._seen.new([bodies])) if len(bodies) else pa.array([], pa.int64())
        titles, bodies = titles.take(firsts), bodies.take(firsts)
        nothing = pc.equal(pc.utf8_trim_whitespace(titles), "").fill_null(True)
        self._titles.append(pc.if_else(nothing, pa.scalar(None, titles.type), titles))
        self._bodies.append(bodies)

    def corpus(self) -> Corpus:
        """All of them."""
        count = len(self._bodies)
        report = Report(tuple(self.taken), self._rows, self._missing, self._empty, self._filled - count)
        if count < 2:
            raise DataError(
                f"there {'is only 1 document' if count else 'are no documents'} to train on "
                f"({report}); give at least 2, better "
                "thousands: a folder of text files, a text file with a document on each line, or a "
                "table with one in each row"
            )
        return Corpus(self._titles.finish(), self._bodies.finish(), report)


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _is_lines(path: Path) -> bool:
    """Is this a text file by its name, perhaps a compressed one?"""
    plain = path.with_suffix("") if _suffix(path) in file_types.COMPRESSIONS else path
    return _suffix(plain) == ".txt"


def _folder(folder: Path, found: _Documents) -> None:
    left_out: Counter[str] = Counter()
    documents = list(files.each(folder, left_out, lambda _, reason: left_out.update([_why(reason)])))
    if not documents:
        raise files.nothing(folder, left_out)
    kinds = Counter(_suffix(one.path) for one in documents)
    about = {"files": ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))}
    if left_out:
        about["left out"] = files.listed(left_out)
    found.taken.append(Taken(str(folder), len(documents), about))
    _add(documents, found)


def _add(documents: list[files.Found], found: _Documents) -> None:
    titles = pa.array([one.document.title for one in documents], pa.large_string())
    found.add(titles, pa.array([one.document.body for one in documents], pa.large_string()))


def _why(reason: str) -> str:
    known = {"larger": "too large", "binary": "binary", "is not": "not UTF-8", "no text": "without text"}
    return next((why for word, why in known.items() if word in reason), "unreadable")


def _file(path: Path, found: _Documents) -> None:
    def refuse(path: Path, reason: str) -> None:
        raise DataError(f"{path} {reason}")

    found.taken.append(Taken(str(path), 1, {"text": "the whole file"}))
    _add(list(files.each(path, Counter(), refuse)), found)


def _lines(path: Path, found: _Documents) -> None:
    """A document on each line, or between empty lines."""
    count = empty = 0
    for array in read_texts(path):
        count += len(array)
        empty += pc.sum(pc.equal(pc.utf8_trim_whitespace(array), "")).as_py() or 0
    apart = empty >= max(1, EMPTY_LINES * count)
    blocks = _between(read_texts(path)) if apart else read_texts(path)
    rows = 0
    for array in blocks:
        texts = array.filter(pc.not_equal(pc.utf8_trim_whitespace(array), ""))
        rows += len(texts)
        found.add(pa.nulls(len(texts), pa.large_string()), texts)
    found.taken.append(
        Taken(str(path), rows, {"text": "what stands between empty lines" if apart else "a line each"})
    )


def _between(blocks: Iterator[pa.LargeStringArray]) -> Iterator[pa.LargeStringArray]:
    open_: list[str] = []
    for array in blocks:
        whole: list[str] = []
        for line in array.to_pylist():
            if line.strip():
                open_.append(line)
            elif open_:
                whole.append("\n".join(open_))
                open_ = []
        yield pa.array(whole, pa.large_string())
    yield pa.array(["\n".join(open_)] if open_ else [], pa.large_string())


def text_columns(names: list[str], texts: list[str], text: columns.Names, where: str) -> list[str]:
    """The columns of documents: those named, else the first of the usual names, or the only one of text.

    Args:
        names: All columns.
        texts: Those of text.
        text: Those named.
        where: What messages call the table.

    Raises:
        DataError: There is none.
    """
    if text is None and columns.usual(names, columns.TEXT) is None and len(texts) == 1:
        return [columns.named(names, texts[0], where)]
    return columns.pick_several(names, "text", text, columns.TEXT, where)


def _table(source: Any, text: columns.Names, title: str | None, found: _Documents) -> None:
    where, rows = tables.label(source), 0
    bodies: list[str] = []
    heading: str | None = None
    checks: dict[str, columns.TextCheck] = {}
    for table in tables.stream(source, lambda names: names):
        if not bodies:
            names = table.column_names
            texts = [name for name in names if columns.is_text(table.schema.field(name).type)]
            bodies = text_columns(names, texts, text, where)
            if title is None:
                heading = columns.usual([name for name in texts if name not in bodies], TITLES)
            elif title not in bodies:
                heading = columns.named(names, title, where)
        missing = pa.nulls(len(table), pa.large_string())
        arrays = {}
        for name in (*bodies, *([heading] if heading else ())):
            arrays[name] = missing
            if name in table.column_names:
                checks.setdefault(name, columns.TextCheck(name, where)).see(table)
                array = columns.flat(table.column(name))
                arrays[name] = array.cast(pa.large_string()) if columns.is_text(array.type) else missing
        rows += len(table)
        joined = columns.join_texts([arrays[name] for name in bodies])
        found.add(arrays[heading] if heading else missing, joined)
    for check in checks.values():
        check.finish()
    chosen = {"text": " + ".join(bodies)} | ({"title": heading} if heading else {})
    found.taken.append(Taken(where, rows, chosen))
