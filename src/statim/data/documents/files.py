"""Files that are documents: those of a folder at any depth, or a single one of running text, PDF or Word."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from statim.counted import counted
from statim.data.documents import markup, office
from statim.data.documents.markup import Document
from statim.data.files import arrow, file_types
from statim.data.files.bad_rows import REFUSED, BadRows, UnusableError
from statim.data.files.text_file import encoding_of, how, tell
from statim.errors import DataError

MOST_BYTES = 16 << 20  # of a text that is one document
MOST_BYTES_OFFICE = 256 << 20  # of a PDF or Word file, which holds pictures too
HELD = 16 << 20  # characters of the documents of one table

# Suffix -> how the bytes of a file of that name are read
OFFICE: dict[str, Callable[[bytes], Document]] = {".pdf": office.pdf, ".docx": office.docx}
SUFFIXES = (*markup.READERS, *OFFICE)
LINES = (".txt", ".text")  # a text on each line, where such a file is named by itself


class Found(NamedTuple):
    """A document and where it was found: its path, below the folder if it is in one."""

    name: str
    path: Path
    document: Document


def is_folder(source: Any) -> bool:
    """Is this the path of a folder, but not of one that the library ``datasets`` wrote?"""
    return isinstance(source, (str, Path)) and Path(source).is_dir() and not arrow.is_dataset(Path(source))


def is_documents(source: Any) -> bool:
    """Is this the path of a folder of documents, or of a file that is one?"""
    return is_folder(source) or (isinstance(source, (str, Path)) and _suffix(Path(source)) in _ALONE)


_ALONE = frozenset(SUFFIXES) - frozenset(LINES)


def each(source: str | Path, left_out: Counter[str], bad: Callable[[Path, str], None]) -> Iterator[Found]:
    """The documents at a path, one after the other, in the order of their names.

    Args:
        source: A folder, in which hidden files and linked folders are passed over; or a file.
        left_out: Counts the files of a folder that are of other kinds, or empty.
        bad: Told of a file that cannot be used, and what is wrong with it.

    Raises:
        DataError: A folder cannot be looked into, or ``bad`` raises it.
        DependencyError: A package is missing that reads such files.
    """
    path = source if isinstance(source, Path) else Path(source)
    folder = path.is_dir()
    for one in _walk(path) if folder else [path]:
        if _suffix(one) not in SUFFIXES:
            left_out["of other kinds"] += 1
            continue
        try:
            document = read(one, how(path)[1])
        except UnusableError as reason:
            if folder and str(reason) == EMPTY:
                left_out["empty"] += 1
            else:
                bad(one, str(reason))
            continue
        yield Found(one.relative_to(path).as_posix() if folder else path.as_posix(), one, document)


def tables(source: str | Path, bad: BadRows = REFUSED) -> Iterator[pa.Table]:
    """The documents at a path, as tables with the columns ``id``, ``text`` and ``title``.

    The id is the file's path, in a folder that below it; the text has the title on its first line.

    Args:
        source: As for ``each``.
        bad: Told of files that cannot be used; by default the first is refused.

    Raises:
        DataError: There are no documents, or ``bad`` refuses a file.
        DependencyError: A package is missing that reads such files.
    """
    left_out: Counter[str] = Counter()
    rows: list[dict[str, str | None]] = []
    count = size = 0
    for found in each(source, left_out, lambda path, reason: bad(path, 0, reason, unit="file")):
        title, body = found.document
        rows.append({"id": found.name, "text": f"{title}\n{body}" if title else body, "title": title})
        count, size = count + 1, size + len(body)
        if size >= HELD:
            yield _table(rows)
            rows, size = [], 0
    if not count:
        raise nothing(source, left_out)
    if rows:
        yield _table(rows)
    if Path(source).is_dir():
        tell(source, f"{counted(count, 'documents')}{said(left_out)}")


def said(left_out: Counter[str]) -> str:
    """What was left out, for a message."""
    return f"; left out were {listed(left_out)}" if left_out else ""


def listed(left_out: Counter[str]) -> str:
    """Counts and what they are of."""
    return ", ".join(f"{count:,} {why}" for why, count in sorted(left_out.items()))


def nothing(source: str | Path, left_out: Counter[str]) -> DataError:
    """What to say of a path without documents."""
    return DataError(
        f"{source} holds no files of text ({', '.join(SUFFIXES)}){said(left_out)}; name a folder that does, "
        "or a file"
    )


def _table(rows: list[dict[str, str | None]]) -> pa.Table:
    names = ("id", "text", "title")
    return pa.table([pa.array([row[name] for row in rows], pa.large_string()) for name in names], names=names)


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _walk(folder: Path) -> Iterator[Path]:
    """The files in a folder at any depth, sorted; hidden ones and linked folders are passed over."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


EMPTY = "is empty"


def read(path: Path, encoding: str | None = None) -> Document:
    """One file as one document; text in UTF-8, or UTF-16 with a byte-order mark, unless an encoding is named.

    Raises:
        UnusableError: It is empty, too large, damaged, or not text.
        DataError: It cannot be read at all.
        DependencyError: A package is missing that reads such files.
    """
    office_reader = OFFICE.get(_suffix(path))
    most = MOST_BYTES if office_reader is None else MOST_BYTES_OFFICE
    with file_types.reading(path, "a file of text"), path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UnusableError(
            f"is larger than the {most:,} bytes that a document may have; cut it into several"
        )
    if not data.strip():
        raise UnusableError(EMPTY)
    if office_reader is not None:
        return office_reader(data)
    encoding = encoding or how(path)[1] or encoding_of(path, data)
    if b"\0" in data and not encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
        raise UnusableError("is a binary file, not text (it has a zero byte)")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        wanted = "UTF-8" if encoding in ("utf-8", "utf-16") else encoding
        raise UnusableError(
            f"is not {wanted} text; save it as UTF-8, or name its encoding (--encoding)"
        ) from None
    return markup.READERS[_suffix(path)](text.replace("\r\n", "\n"))
