"""A data file's kind by its name, and the text of a text file in checked blocks of whole lines."""

import codecs
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from statim.data.files.bad_rows import BadRows
from statim.data.files.text_file import Recoded, encoding_of
from statim.errors import DataError, InputError

FORMATS = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "text",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEXT = ("json", "csv", "tsv", "text")

BLOCK = 1 << 20  # bytes read at a time
HELD = 16 << 20  # bytes of a text file that one table may come from, and one row more
LINE_LIMIT = 64 << 20  # bytes that one line, row or item may have
LIMIT_VARIABLE = "STATIM_LINE_LIMIT"  # bytes that it may have instead


BYTE_ORDER_MARK, NEWLINE = b"\xef\xbb\xbf", b"\n"
ZERO = "holds a zero byte; this is a binary file, or a damaged row"
FOREIGN = "not UTF-8; save the file as UTF-8, or name its encoding (--encoding windows-1252, say)"


class Block(NamedTuple):
    r"""Whole lines of a text file.

    Attributes:
        line: The number of the first, from 1.
        text: All of them. In bad ones, bytes that are not UTF-8 are written as ``\xff``.
        bad: What is wrong with a line, by its number.
    """

    line: int
    text: str
    bad: Mapping[int, str]

    def good(self, where: str | Path, bad: BadRows) -> str:
        """The text with bad lines reported, and then empty."""
        if not self.bad:
            return self.text
        lines = self.text.split("\n")
        for number, reason in self.bad.items():
            bad(where, number, reason, lines[number - self.line].removesuffix("\r"))
            lines[number - self.line] = ""
        return "\n".join(lines)


class Kind(NamedTuple):
    """What a file's name says of it: a value of FORMATS, and a value of COMPRESSIONS or None."""

    format: str
    compression: str | None


def identify(path: Path) -> Kind:
    """The kind of an existing, non-empty file.

    Raises:
        DataError: The file is missing, empty, a folder, or has a suffix that says nothing.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder where a file is meant; name the files in it")
        if path.stat().st_size == 0 and path.is_file():
            raise DataError(f"{path} is empty")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    plain = suffixes[:-1] if compression else suffixes
    kind = FORMATS.get(plain[-1]) if plain else None
    if kind is None or (compression and kind not in TEXT):
        allowed = ", ".join(FORMATS)
        raise DataError(
            f"{path}: its suffix names no format that statim reads; allowed are {allowed}, text also "
            "with .gz or .zst"
        )
    return Kind(kind, compression)


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Turn what the system or Arrow say about a file that cannot be read into one sentence.

    Raises:
        DataError: In place of any OSError, MemoryError or Arrow error, and of a name that is not UTF-8.
    """
    try:
        yield
    except (OSError, MemoryError, UnicodeDecodeError, pa.ArrowException) as error:  # a name that is not UTF-8
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:120]
        raise DataError(f"{path} cannot be read as {what}: {reason or 'out of memory'}") from None


@contextlib.contextmanager
def opened(path: Path, compression: str | None) -> Iterator[Any]:
    """A file's bytes, decompressed; text in another encoding is recoded to UTF-8 (see text_file.py)."""
    with reading(path, f"a {compression} file" if compression else "a file"):
        head = b""
        if path.is_file():  # what is no file can be read only once
            with _plain(path, compression) as file:
                head = bytes(file.read(4))
        encoding = encoding_of(path, head)
        with _plain(path, compression) as file:
            yield file if encoding == "utf-8" else Recoded(file, path, encoding)


def _plain(path: Path, compression: str | None) -> Any:
    stream = pa.OSFile(os.fsencode(path))
    return pa.CompressedInputStream(stream, compression) if compression else stream


def line_limit() -> int:
    """How many bytes one line, row or item may have: LINE_LIMIT, or what STATIM_LINE_LIMIT says.

    Raises:
        InputError: The variable is no whole number of at least 1.
    """
    given = os.environ.get(LIMIT_VARIABLE)
    if not given:
        return LINE_LIMIT
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 16 and int(given)):
        raise InputError(
            f"{LIMIT_VARIABLE} is {given[:40]!r}; it must be a whole number of bytes, at least 1"
        )
    return int(given)


def too_long(name: str | Path, line: int, what: str = "longer than") -> DataError:
    """The message about a line, or the row or item that begins in it, of more bytes than ``line_limit``."""
    return DataError(
        f"{name}, line {line}: {what} {line_limit():,} bytes, which no text should be; "
        f"set {LIMIT_VARIABLE} to a larger number to read it"
    )


class Begun:
    """A byte stream without the blank lines at its beginning, however many there are.

    Attributes:
        head: The first bytes behind them, without a byte-order mark; empty where there are none.
        line: The number of the line in which they begin.

    Args:
        file: Anything with ``read(n)``.
        name: What messages call it.

    Raises:
        DataError: The stream cannot be read, or is binary.
    """

    def __init__(self, file: Any, name: str | Path) -> None:
        self._file, self.line = file, 1
        with reading(name, "a text file"):
            self.head = bytes(file.read(BLOCK)).removeprefix(BYTE_ORDER_MARK)
            while self.head.isspace():
                self.line += self.head.count(b"\n")
                self.head = bytes(file.read(BLOCK))
        _refuse_foreign(self.head, name)

    def read(self, size: int) -> bytes:
        """The next bytes; the first are ``head``, however many that are."""
        data, self.head = self.head, b""
        return data or bytes(self._file.read(size))


def blocks(file: Any, name: str | Path) -> Iterator[Block]:
    r"""Cut a byte stream into decoded blocks of whole lines.

    Args:
        file: Anything with ``read(n)``; its first line has the number ``file.line``, if that is there.
        name: What messages call it.

    Yields:
        Lines that end with "\n", perhaps "\r\n", without a byte-order mark. Lines that are not UTF-8 or have
        a zero byte are marked.

    Raises:
        DataError: The stream is binary, or has a line of more than ``line_limit`` bytes.
    """
    line, first, limit = getattr(file, "line", 1), True, line_limit()
    carry: list[
        bytes
    ] = []  # the parts of a line whose end has not come; joining them each time would be quadratic
    carried = 0
    while True:
        with reading(name, "a text file" if first else f"text from line {line} on"):
            part = bytes(file.read(BLOCK))
        if first:
            _refuse_foreign(part, name)
            part, first = part.removeprefix(BYTE_ORDER_MARK), False
        cut = part.rfind(b"\n") + 1
        if cut or (carried and not part):
            whole = b"".join((*carry, memoryview(part)[:cut]))
            yield _block(line, whole)
            line += int(np.count_nonzero(np.frombuffer(whole, np.uint8) == ord("\n")))
            carry, carried = [], 0
        carry.append(part[cut:])
        carried += len(part) - cut
        if carried > limit:
            raise too_long(name, line)
        if not part:
            return


def pieces(file: Any, name: str | Path) -> Iterator[str]:
    """A byte stream as text, cut anywhere; for a value that may be one long line.

    Args:
        file: As in ``blocks``.
        name: What messages call it.

    Raises:
        DataError: The stream cannot be read, is not UTF-8, or has a zero byte; the message names the line.
    """
    line, rest, part = getattr(file, "line", 1), b"", b" "
    while part:
        with reading(name, f"text from line {line} on"):
            part = bytes(file.read(BLOCK))
        data, zero = rest + part, part.find(b"\0")
        if zero >= 0:
            raise DataError(f"{name}, line {line + part.count(NEWLINE, 0, zero)}: {ZERO}")
        try:
            text, used = codecs.utf_8_decode(data, "strict", not part)
        except UnicodeDecodeError as error:
            raise DataError(f"{name}, line {line + data.count(NEWLINE, 0, error.start)}: {FOREIGN}") from None
        line, rest = line + data.count(NEWLINE, 0, used), data[used:]
        yield text


def _block(line: int, data: bytes) -> Block:
    with contextlib.suppress(UnicodeDecodeError):
        if b"\0" not in data:
            return Block(line, data.decode(), {})
    bad, texts = {}, []
    for number, one in enumerate(data.split(b"\n"), line):
        text = one.decode("utf-8", "backslashreplace")
        if b"\0" in one:
            bad[number] = ZERO
        elif text.encode() != one:
            bad[number] = FOREIGN
        texts.append(text)
    return Block(line, "\n".join(texts), bad)


def _refuse_foreign(start: bytes, name: str | Path) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):  # of the standard input: files are recoded
        raise DataError(f"{name} is not UTF-8 but UTF-16; save it as UTF-8")
    for magic, kind, suffix in ((b"\x1f\x8b", "gzip", ".gz"), (b"\x28\xb5\x2f\xfd", "zstd", ".zst")):
        if start.startswith(magic):
            raise DataError(f"{name} is a binary file, compressed with {kind}; add {suffix} to its name")
    lines = start.split(b"\n") if b"\0" in start else []
    if 2 * sum(b"\0" in line for line in lines) > len(lines):
        raise DataError(f"{name} is a binary file, not text (most of its lines have a zero byte)")
