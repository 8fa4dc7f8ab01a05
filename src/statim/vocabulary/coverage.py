"""What share of a corpus a tokenizer reads."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from statim.scripts import UNSPACED
from statim.tokenizer.tokenizer import Tokenizer

TEXTS, CHARACTERS = 1_000, 1_000  # of a column that are looked at: texts, and characters of each

_has_runs = re.compile(f"[{UNSPACED}]").search


@dataclass(frozen=True)
class Coverage:
    """How a tokenizer reads texts.

    Attributes:
        unknown: Share of the letters that become the unknown token, from 0 to 1.
        spelled: Share of the letters in words that are cut into single letters.
    """

    unknown: float
    spelled: float

    @property
    def unread(self) -> float:
        """Share of the letters that it does not know as parts of words."""
        return self.unknown + self.spelled

    def __str__(self) -> str:
        return (
            f"{self.unknown:.1%} of the letters unknown, {self.spelled:.1%} in words cut into single letters"
        )


def coverage(tokenizer: Tokenizer, columns: Sequence[pa.Array], *, texts: int = TEXTS) -> Coverage:
    """How a tokenizer reads the column that it reads worst; at most ``texts`` texts of each are looked at."""
    return max(
        (_of(tokenizer, sampled(column, texts)) for column in columns),
        key=lambda one: one.unread,
        default=Coverage(0, 0),
    )


def unknown_share(tokenizer: Tokenizer, column: pa.Array) -> float:
    """The share of unknown tokens in a sample of at most 1,000 texts, from 0 to 1."""
    if tokenizer.unknown_id is None:
        return 0.0
    ids = tokenizer(list(sampled(column)), threads=1).ids
    return float((ids == tokenizer.unknown_id).mean()) if len(ids) else 0.0


def marked_share(columns: Sequence[pa.Array]) -> float:
    """The share of words with accents, vowel signs or letters of a script without spaces.

    Of the column where it is highest; at most 1,000 texts of each are looked at.
    """
    return max(map(_marked, columns), default=0.0)


def is_marked(word: str) -> bool:
    """Does a word have marks, or letters of a script without spaces?"""
    if word.isascii():
        return False
    apart = unicodedata.normalize("NFD", word)
    return bool(_has_runs(word)) or any(unicodedata.category(letter) == "Mn" for letter in apart)


def sampled(column: pa.Array, texts: int = TEXTS) -> Iterator[str]:
    """The beginnings of some texts from all over a column."""
    step = max(1, len(column) // texts)
    for text in column.take(pa.array(range(0, len(column), step), pa.int64()))[:texts].to_pylist():
        if text:
            yield text[:CHARACTERS]


def _marked(column: Iterable[str]) -> float:
    words = [word for text in sampled(column) for word in text.split()]
    return sum(map(is_marked, words)) / max(1, len(words))


def _of(tokenizer: Tokenizer, texts: Iterable[str]) -> Coverage:
    letters = unknown = spelled = 0
    for text in texts:
        found = tokenizer.backend.encode(text, add_special_tokens=False)
        pieces = zip(found.word_ids, found.ids, found.offsets, strict=True)
        for _, word in groupby(pieces, key=lambda piece: piece[0]):
            numbers, places = zip(*((number, place) for _, number, place in word), strict=True)
            length = places[-1][1] - places[0][0]
            letters += length
            if tokenizer.unknown_id in numbers:
                unknown += length
            elif len(numbers) >= length > 1:
                spelled += length
    return Coverage(unknown / max(1, letters), spelled / max(1, letters))
