"""CSV and TSV: every column is text, the first line gives the names."""

import bisect
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from statim.counted import counted
from statim.data.files import file_types, rows
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.data.files.delimiter import NAMES, detect
from statim.data.files.text_file import tell

ROWS = 1 << 15  # rows per table, fewer where they are long (raw.HELD)
ENDLESS = f"a row that is longer than {file_types.LIMIT_VARIABLE} allows"
UNENDING = ("unexpected end of data", "field larger than field limit", ENDLESS)  # when a quote stays open


def tables(
    path: Path, compression: str | None, delimiter: str | None, bad: BadRows = REFUSED
) -> Iterator[pa.Table]:
    """The rows of a file, ROWS at a time; names that occur twice stay so.

    Fields may be quoted and hold line ends, in TSV too; but when every line of a TSV file (of its first
    block) has the same number of tabs, nothing needed quotes, and a quote is a character like others unless
    it closes where the field ends.

    Args:
        path: The file.
        compression: As ``raw.identify`` has it.
        delimiter: What is between fields; None to detect it (see delimiter.py), which is said where it is no
            comma.
        bad: Told of rows that have more or fewer fields than the first, are not UTF-8, or leave a quote open.

    Raises:
        DataError: ``bad`` refuses such a row, or the first is one; the message names the line in which it
            begins.
    """
    with file_types.opened(path, compression) as file:
        blocks = file_types.blocks(file_types.Begun(file, path), path)
        first = next(blocks, None)
        if first is None or not first.text.strip():
            return
        if delimiter is None:
            second = next(blocks, None)
            delimiter = detect(first.text, whole=second is None)
            blocks = itertools.chain([] if second is None else [second], blocks)
            if delimiter != ",":
                tell(path, f"its fields are between {NAMES[delimiter]} (detected; see --delimiter)")
        reader = _Reader(first, blocks, path, delimiter, bad)
        names = [name.strip() for name in reader.header()]
        rows.check_width(len(names), path)
        while (found := reader.rows(len(names))) is not None:
            columns = zip(*found, strict=True) if found else [()] * len(names)
            yield pa.table([pa.array(column, pa.large_string()) for column in columns], names=names)


class _Reader:
    """Rows from blocks of lines, and in which line each begins."""

    def __init__(
        self,
        first: file_types.Block,
        others: Iterator[file_types.Block],
        path: Path,
        delimiter: str,
        bad: BadRows,
    ) -> None:
        self._path, self._bad, self._delimiter = path, bad, delimiter
        counts = {line.count("\t") for line in first.text.split("\n") if line.strip()}
        self._plain = delimiter == "\t" and len(counts) == 1
        # csv takes a lone "\r" for a line's end and counts it; it is one only in files of old, which have no
        # "\n"
        self._old = "\n" not in first.text
        self._lone: list[int] = []  # which of the lines as csv counts them end so
        self._wrong: dict[int, str] = {}  # what is wrong with a line, by its number
        self._kept: list[str] = []  # the lines of the row that is being read, if bad rows are written aside
        self._lines = itertools.chain.from_iterable(map(self._cut, itertools.chain([first], others)))
        self._ahead: Iterable[str] = ()  # lines that were read and not given to csv
        self._read = self._start = 0  # characters given to csv, and those before the table that is being read
        self._limit = file_types.line_limit()
        self._begin([], first.line - 1)

    def _cut(self, block: file_types.Block) -> Iterable[str]:
        self._wrong.update(block.bad)
        self._read += len(block.text)
        lines = io.StringIO(block.text, newline="")
        if not self._old and block.text.count("\r") > block.text.count("\r\n"):
            numbered = enumerate(lines, block.line + len(self._lone))
            self._lone += [number for number, line in list(numbered) if line.endswith("\r")]
            lines.seek(0)
        if (
            self._read - self._start > file_types.HELD + self._limit
        ):  # a table ends before, unless a row does not
            self._ahead = lines
            raise csv.Error(ENDLESS)
        return lines

    def _line(self, number: int) -> int:
        """The line in the file, by its number as csv counts."""
        return number - bisect.bisect_left(self._lone, number)

    def _begin(self, again: list[str], line: int) -> None:
        """Read on behind a line, some that were read already first."""
        lines: Iterable[str] = itertools.chain(again, self._ahead, self._lines)
        self._ahead = ()
        if self._bad.wants_rows:
            lines = self._keeping(lines)
        self._csv = csv.reader(
            lines,
            delimiter=self._delimiter,
            quoting=csv.QUOTE_NONE if self._plain else csv.QUOTE_MINIMAL,
            strict=True,
        )
        self._before, self._end = line, 0  # the lines before this reader's, and where its last row ended

    def _keeping(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._kept.append(line)
            yield line

    def header(self) -> list[str]:
        """The first row.

        Raises:
            DataError: It cannot be read.
        """
        bad, self._bad = self._bad, REFUSED
        while (found := self.rows(None, 1)) == []:
            pass  # a blank line
        self._bad = bad
        return found[0] if found else []

    def rows(self, width: int | None, most: int = ROWS) -> list[list[str]] | None:
        """The next rows, of ``width`` fields; perhaps none of those read were good. None at the end."""
        found: list[list[str]] = []
        wrong, kept, reader, row = self._wrong, self._kept, self._csv, None
        self._start = self._read
        full = self._start + file_types.HELD
        limit = csv.field_size_limit(self._limit)
        try:
            for row in itertools.islice(reader, most):
                if (len(row) == width and not wrong) or self._is_good(row, width):
                    found.append(row)
                self._end = reader.line_num
                if kept:
                    kept.clear()
                if self._read > full:
                    break
        except csv.Error as error:
            self._pass_over(str(error))
        else:
            if row is None:
                return None
        finally:
            csv.field_size_limit(limit)
        return [[_unquoted(field) for field in row] for row in found] if self._plain else found

    def _is_good(self, row: list[str], width: int | None) -> bool:
        """Look closely at a row, and report it if it is bad; blank lines are not good either."""
        first = self._line(self._before + self._end + 1)
        if faults := self._faults(first, self._line(self._before + self._csv.line_num)):
            self._report(*faults[0])
        elif row and width is not None and len(row) != width:
            self._report(
                first,
                f"has {counted(len(row), 'fields')} where the first line has {width}; "
                "put fields that hold the delimiter or a line end between double quotes",
            )
        else:
            return bool(row)
        return False

    def _faults(self, first: int, last: int) -> list[tuple[int, str]]:
        """What is wrong with some lines; it is told once."""
        return [(line, self._wrong.pop(line)) for line in range(first, last + 1) if line in self._wrong]

    def _pass_over(self, error: str) -> None:
        """Report a row that csv cannot read, and begin behind it.

        Where a quote is never closed, all that follows would be that row; then it is the line with the quote
        alone.
        """
        again = self._kept[1:] if error.startswith(UNENDING) else []
        del self._kept[len(self._kept) - len(again) :]
        first, last = self._before + self._end + 1, self._before + self._csv.line_num - len(again)
        self._faults(self._line(first), self._line(last))
        self._report(self._line(first), f"not valid CSV ({error}); is a double quote left open?")
        self._begin(again, last)

    def _report(self, line: int, reason: str) -> None:
        self._bad(self._path, line, reason, "".join(self._kept).rstrip("\r\n") or None)
        self._kept.clear()


def _unquoted(field: str) -> str:
    """What a CSV writer put between quotes; a field that only happens to begin with one stays as it is."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"':
        return field
    inner = field[1:-1]
    return field if '"' in inner.replace('""', "") else inner.replace('""', '"')
