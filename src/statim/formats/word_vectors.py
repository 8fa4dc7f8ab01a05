"""Word vectors as text: GloVe, word2vec and fastText .vec files, plain or compressed with gzip.

One line a word: the word, then its d numbers, separated by spaces. word2vec and fastText begin with a line
that says how many words and dimensions follow; GloVe does not.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.errors import ModelError
from statim.formats.parts import Parts, not_finite
from statim.formats.table import LARGEST
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer

UNKNOWN = "<unk>"  # GloVe's own name for it
CHUNK = 4 << 20  # bytes parsed at a time
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # before the first word, where some editors put it
LONGEST = 1 << 20  # bytes of a line; 50,000 dimensions fit
# of a gzip file's text to its size, from FREE bytes on: the whole is held, and numbers fold to a third
RATIO = 200
FREE = 1 << 30

Floats = npt.NDArray[np.float32]


def read(path: Path) -> Parts:
    """Read a file of word vectors as a model whose vectors are plain averages of those of a text's words.

    Texts are cut at white space and around each punctuation mark, and lower-cased if the file has no
    upper-case letter. Words that the file does not hold are dropped, and vectors are not normalised: what is
    meant by averaged word vectors. Of a word that stands there twice the first counts. Words may hold spaces
    (GloVe has some); no text ever gives those.

    Raises:
        ModelError: The file is missing or no text file of word vectors; the message names the line.
    """
    vocabulary, table = _read_table(path)
    text = "\n".join(vocabulary)
    if UNKNOWN not in vocabulary:
        vocabulary[UNKNOWN] = len(vocabulary)  # its row is zeros
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if text == text.lower():
        backend.normalizer = normalizers.Lowercase()
    return Parts(table[: len(vocabulary)], Tokenizer(backend), Settings(normalize=False, drop_unknown=True))


def begins_here(path: Path) -> bool:
    """Whether the first two lines of a file are of word vectors; a single line may be of anything."""
    try:
        first, second, *_ = next(_chunks(path))
        announced, dim = _layout(path, first)
        _parse_line(path, second, dim, 2)
    except (ModelError, StopIteration, ValueError):
        return False
    return announced is not None or _layout(path, second)[1] == dim


def _read_table(path: Path) -> tuple[dict[str, int], Floats]:
    """The words with their rows, and their vectors with a zero row or more at the end, (more than n, d)."""
    vocabulary: dict[str, int] = {}
    table = np.zeros((0, 0), np.float32)
    announced, number = None, 1
    for lines in _chunks(path):
        if number == 1:
            announced, dim = _layout(path, lines[0])
            table = np.zeros((1, dim), np.float32)
            if announced is not None:
                lines, number = lines[1:], 2
        words, vectors = _parse(path, lines, table.shape[1], number)
        number += len(lines)
        known = len(vocabulary)
        fresh = []
        for row, word in enumerate(words):
            if word not in vocabulary:
                vocabulary[word] = len(vocabulary)
                fresh.append(row)
        if len(vocabulary) * table.shape[1] * table.itemsize > LARGEST:
            raise ModelError(
                f"{path} has more word vectors than fit in {LARGEST >> 30} GiB; cut it to the most "
                "frequent words"
            )
        if len(vocabulary) >= len(table):
            # realloc moves no bytes where the system can map them elsewhere; new rows are zeros
            table.resize((len(vocabulary) * 3 // 2 + 1, table.shape[1]), refcheck=False)
        table[known : len(vocabulary)] = vectors[fresh]
    lines_of_words = number - 1 - (announced is not None)
    if not vocabulary:
        raise ModelError(f"{path} holds no word vectors; it is empty")
    if announced not in (None, lines_of_words):
        raise ModelError(
            f"{path} announces {announced:,} words in line 1 but holds {lines_of_words:,}; it is not "
            "whole, so copy it again"
        )
    return vocabulary, table


def _chunks(path: Path) -> Iterator[list[bytes]]:
    """The file's lines without line ends, some megabytes at a time; trailing blank lines are left out.

    Of several blank lines between two parts there is one: the first of them is refused.
    """
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
            if file.peek(len(BYTE_ORDER_MARK)).startswith(BYTE_ORDER_MARK):
                file.read(len(BYTE_ORDER_MARK))
            rest, blank, size = b"", False, 0
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > FREE and size > RATIO * raw.tell():
                    raise ModelError(
                        f"{path} unfolds to more than {RATIO} times its size, as no word vectors do; "
                        "decompress it with gunzip to read it all the same"
                    )
                *lines, rest = (rest + chunk).split(b"\n")
                if max(len(rest), *map(len, lines), 0) > LONGEST:
                    raise ModelError(
                        f"{path} has a line of more than {LONGEST:,} bytes; it is no text file of word "
                        "vectors"
                    )
                lines = [line.rstrip(b" \t\r") for line in lines]
                whole = len(lines) - _count_blank(lines)
                if whole:
                    yield [b""] * blank + lines[:whole]
                blank = (blank and not whole) or whole < len(lines)
            if rest := rest.rstrip(b" \t\r"):
                yield [b""] * blank + [rest]
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; name a file of word vectors") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ModelError(f"{path} is not a whole gzip file ({str(error)[:100]}); copy it again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None


def _count_blank(lines: list[bytes]) -> int:
    """How many lines at the end are empty."""
    return next((index for index, line in enumerate(reversed(lines)) if line), len(lines))


def _layout(path: Path, first: bytes) -> tuple[int | None, int]:
    """The number of words the first line announces, or None if it does not, and the dimensions."""
    if header := re.fullmatch(rb"(\d{1,12})[ \t]+(\d{1,6})", first):
        if int(header[2]) == 0:
            raise ModelError(
                f"{path} announces vectors of 0 dimensions in line 1; it is no file of word vectors"
            )
        return int(header[1]), int(header[2])
    numbers = 0
    for field in reversed(re.split(rb"[ \t]+", first)[1:]):  # a word of white space is one, too
        if not _is_number(field):
            break
        numbers += 1
    if numbers < 2:
        raise ModelError(
            f"{path} is no text file of word vectors: line 1 is {_shown(first)}, not a word and its "
            "numbers (GloVe) "
            "or the number of words and dimensions (word2vec, fastText)"
        )
    return None, numbers


def _parse(path: Path, lines: list[bytes], dim: int, number: int) -> tuple[list[str], Floats]:
    """The words of n lines and their vectors, (n, d); ``number`` is the number of the first line."""
    if not lines:
        return [], np.zeros((0, dim), np.float32)
    heads, _, tails = zip(*(line.partition(b" ") for line in lines), strict=True)
    try:
        # a line without numbers would be skipped
        whole = all(map(bytes.strip, heads)) and all(tails)
        vectors = np.loadtxt(tails, np.float32, comments=None, ndmin=2, encoding="latin-1") if whole else None
    except ValueError:
        vectors = None
    if vectors is None or vectors.shape != (len(lines), dim):
        # words with spaces, tabs, or a malformed line: one line after the other
        pairs = [_parse_line(path, line, dim, number + index) for index, line in enumerate(lines)]
        heads, vectors = tuple(head for head, _ in pairs), np.stack([vector for _, vector in pairs])
    row = not_finite(vectors)
    if row is not None:
        raise ModelError(
            f"{path}: line {number + row:,} holds NaN or a number too large for float32; correct or remove it"
        )
    return [head.decode("utf-8", "replace") for head in heads], vectors


def _parse_line(path: Path, line: bytes, dim: int, number: int) -> tuple[bytes, Floats]:
    fields = line.rsplit(None, dim)
    if len(fields) == dim + 1 and all(map(_is_number, fields[1:])):
        return fields[0], np.array([float(field) for field in fields[1:]]).astype(np.float32)
    raise ModelError(
        f"{path}: line {number:,} is not a word and {dim:,} numbers but {_shown(line)}; correct or "
        "remove the line"
    )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field


def _shown(line: bytes) -> str:
    text = line[:60].decode("utf-8", "replace")
    return repr(text + ("…" if len(line) > 60 else ""))
