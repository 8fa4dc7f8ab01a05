"""A file of text whose encoding or delimiter a caller names; what is not named is detected."""

import codecs
import functools
import logging
import sys
from collections.abc import Mapping
from glob import has_magic
from pathlib import Path
from typing import IO, Any

from statim.errors import DataError, InputError

log = logging.getLogger("statim")

BLOCK = 1 << 20  # bytes decoded at a time
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
SPELT = {"tab": "\t", r"\t": "\t"}  # what a shell lets pass, and the delimiter that it means


class TextFile(type(Path())):  # type: ignore[misc]
    r"""A path that says how its file is to be read; taken wherever a path is.

    Attributes:
        delimiter: The character between the fields of a .csv or .tsv file; None to detect it.
        encoding: The encoding of a text file, a name that Python knows; None for UTF-8, or the UTF-16 that a
            byte-order mark tells.

    Args:
        path: The file.
        delimiter: See above; ``tab`` and ``\t`` mean a tab.
        encoding: See above.

    Raises:
        InputError: The delimiter is no single character, or Python does not know the encoding.

    Examples:
        >>> TextFile("export.csv", delimiter=";", encoding="windows-1252").name
        'export.csv'
    """

    delimiter: str | None = None
    encoding: str | None = None

    def __new__(cls, *path: str | Path, delimiter: str | None = None, encoding: str | None = None) -> Any:
        """A path; see the class."""
        found = super().__new__(cls, *path)
        found.delimiter, found.encoding = _delimiter(delimiter), _encoding(encoding)
        return found

    def __init__(self, *path: str | Path, **_: str | None) -> None:
        super().__init__(*(path if sys.version_info >= (3, 12) else ()))


def read_as(source: Any, delimiter: str | None, encoding: str | None) -> Any:
    """Sources whose files are read so: a path, or several in a list or a mapping; all else stays as it is.

    Raises:
        InputError: As for ``TextFile``.
    """
    if _delimiter(delimiter) is None and _encoding(encoding) is None:
        return source
    if isinstance(source, (str, Path)):
        named = TextFile(source, delimiter=delimiter, encoding=encoding)
        is_path = named.exists() or has_magic(str(source))  # else a word such as python-docs
        return named if is_path else source
    if isinstance(source, Mapping):
        return {
            name: read_as(value, delimiter, encoding) if isinstance(value, (str, Path)) else value
            for name, value in source.items()
        }
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, Path)) for item in source):
        return [read_as(item, delimiter, encoding) for item in source]
    return source


def how(path: str | Path) -> tuple[str | None, str | None]:
    """The delimiter and the encoding that a caller named for a file."""
    return (path.delimiter, path.encoding) if isinstance(path, TextFile) else (None, None)


def encoding_of(path: Path, head: bytes) -> str:
    """The encoding of a file with this beginning: the one named, that of its byte-order mark, or UTF-8."""
    named = how(path)[1]
    found = named or next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")
    if found != (named or "utf-8"):
        tell(path, f"its encoding is {found}, by its byte-order mark")
    return found


@functools.lru_cache(1024)
def tell(where: str | Path, what: str) -> None:
    """Log what was detected about a source, once however often it is read."""
    log.info("%s: %s", where, what)


class Recoded:
    """A byte stream in UTF-8, made of one in another encoding.

    Args:
        file: Anything with ``read(n)``.
        path: What messages call it.
        encoding: Of the stream.
    """

    def __init__(self, file: IO[bytes], path: Path, encoding: str) -> None:
        self._file, self._path, self._encoding = file, path, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._line = 1

    def read(self, size: int = BLOCK) -> bytes:
        """The next bytes; none at the end.

        Raises:
            DataError: They are not in the encoding; the message names the line.
        """
        made = ""
        while not made:
            data = bytes(self._file.read(size))
            try:
                made = self._decoder.decode(data, not data)
            except UnicodeDecodeError as error:
                line = self._line + error.object[: error.start].decode(self._encoding, "ignore").count("\n")
                raise DataError(
                    f"{self._path}, line {line}: not {self._encoding} ({error.reason}); name the encoding "
                    "that the file has (--encoding), or save it as UTF-8"
                ) from None
            if not data:
                break
        self._line += made.count("\n")
        return made.encode("utf-8", "replace")


def _delimiter(given: str | None) -> str | None:
    found = SPELT.get(given, given) if given is not None else None
    if found is not None and (len(found) != 1 or found in '"\r\n\0' or ord(found) > 0xFFFF):
        raise InputError(
            f"delimiter is {given!r}; it must be one character that is neither a double quote nor a line "
            "end, like ; or , or tab"
        )
    return found


def _encoding(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        "".encode(given)
    except LookupError:
        raise InputError(
            f"encoding is {given!r}, which Python does not know; give a name like utf-8, utf-16, "
            "windows-1252 or shift_jis"
        ) from None
    return "utf-8" if codecs.lookup(given).name in ("utf-8", "utf-8-sig") else given
