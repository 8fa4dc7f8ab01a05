"""A data file's kind by its name, and the text of a text file in checked blocks of whole lines."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from statim.data.bad_rows import BadRows
from statim.errors import DataError

FORMATS = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "text",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEXT = ("json", "csv", "tsv", "text")

BLOCK = 1 << 20  # bytes read at a time
LINE_LIMIT = 256 << 20  # bytes one line may have


ZERO = "holds a zero byte; this is a binary file, or a damaged row"
FOREIGN = "not UTF-8; save the file as UTF-8"


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
            f"{path}: its suffix names no format that statim reads; allowed are {allowed}, text also with .gz or .zst"
        )
    return Kind(kind, compression)


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Turn what the system or Arrow say about a file that cannot be read into one sentence.

    Raises:
        DataError: In place of any OSError, MemoryError or Arrow error.
    """
    try:
        yield
    except (OSError, MemoryError, pa.ArrowException) as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:120]
        raise DataError(f"{path} cannot be read as {what}: {reason or 'out of memory'}") from None


@contextlib.contextmanager
def opened(path: Path, compression: str | None) -> Iterator[IO[bytes]]:
    """A file's bytes, decompressed."""
    with reading(path, f"a {compression} file" if compression else "a file"):
        stream = pa.OSFile(os.fsencode(path))
        with pa.CompressedInputStream(stream, compression) if compression else stream as file:
            yield file


def blocks(file: Any, name: str | Path) -> Iterator[Block]:
    r"""Cut a byte stream into decoded blocks of whole lines.

    Args:
        file: Anything with ``read(n)``.
        name: What messages call it.

    Yields:
        Lines that end with "\n", perhaps "\r\n", without a byte-order mark. Lines that are not UTF-8 or have a zero byte
        are marked.

    Raises:
        DataError: The stream is binary, or has a line of more than LINE_LIMIT bytes.
    """
    line, carry, first = 1, b"", True
    while True:
        with reading(name, "a text file" if first else f"text from line {line} on"):
            part = bytes(file.read(BLOCK))
        if first:
            _refuse_foreign(part, name)
            part, first = part.removeprefix(b"\xef\xbb\xbf"), False
        cut = part.rfind(b"\n") + 1
        if cut or (carry and not part):
            whole, carry = b"".join((carry, memoryview(part)[:cut])), part[cut:]
            yield _block(line, whole)
            line += int(np.count_nonzero(np.frombuffer(whole, np.uint8) == ord("\n")))
        else:
            carry += part
        if len(carry) > LINE_LIMIT:
            raise DataError(f"{name}, line {line}: longer than {LINE_LIMIT:,} bytes, which no text should be")
        if not part:
            return


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
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{name} is not UTF-8 but UTF-16; save it as UTF-8")
    for magic, kind, suffix in ((b"\x1f\x8b", "gzip", ".gz"), (b"\x28\xb5\x2f\xfd", "zstd", ".zst")):
        if start.startswith(magic):
            raise DataError(f"{name} is a binary file, compressed with {kind}; add {suffix} to its name")
    lines = start.split(b"\n") if b"\0" in start else []
    if 2 * sum(b"\0" in line for line in lines) > len(lines):
        raise DataError(f"{name} is a binary file, not text (most of its lines have a zero byte)")
