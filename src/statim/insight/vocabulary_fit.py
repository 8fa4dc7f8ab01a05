"""How a model's vocabulary fits texts: words in pieces, unknown tokens, and new words.

Words of scripts without spaces between them, and of Korean, are left out: where they end is not known.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.model import StaticModel
from statim.scripts import MARKS, UNSPACED

WORDS = 15  # new words that are shown
Z = 2.576  # of intervals of 99 %

Doubles = npt.NDArray[np.float64]
_WORD = re.compile(rf"(?:(?![\d_{UNSPACED}])[\w{MARKS}]){{2,}}")  # letters and their marks


@dataclass(frozen=True)
class Share:
    """A share of ``total`` words or tokens, with an interval of 99 %.

    Words of one text go together, so the texts are what is drawn: the interval is Wilson's (1927), for as
    many things as the variance between the texts is worth (Kish, 1965).
    """

    share: float
    low: float
    high: float
    total: int

    @staticmethod
    def of(counts: Doubles, totals: Doubles) -> "Share":
        """The share of the sum of ``counts`` in the sum of ``totals``, (n,) of n texts each."""
        total = float(totals.sum())
        if total == 0:
            return Share(0.0, 0.0, 1.0, 0)
        share = float(counts.sum()) / total
        clustered = float(np.square(counts - share * totals).sum()) / total**2
        simple = share * (1 - share) / total
        size = total * min(1.0, simple / clustered) if clustered > 0 else total
        square = Z * Z / size
        middle = (share + square / 2) / (1 + square)
        half = Z / (1 + square) * (share * (1 - share) / size + square / (4 * size)) ** 0.5
        return Share(share, max(0.0, middle - half), min(1.0, middle + half), int(total))


@dataclass(frozen=True)
class Vocabulary:
    """How a model's vocabulary fits texts.

    Attributes:
        in_pieces: The share of words that the tokenizer cuts into pieces.
        unknown: The share of tokens that are unknown.
    """

    in_pieces: Share
    unknown: Share


def fit(model: StaticModel, texts: Sequence[str]) -> Vocabulary:
    """Measure how a model's vocabulary fits texts."""
    words = [_words(text) for text in texts]
    different = list(dict.fromkeys(word for found in words for word in found))
    cut = dict(zip(different, (model.tokenize(different).lengths > 1).tolist(), strict=True))
    tokens = model.tokenize(texts)
    unknown = model.tokenizer.unknown_id
    return Vocabulary(
        Share.of(
            np.array([sum(cut[word] for word in found) for found in words], np.float64),
            np.array([len(found) for found in words], np.float64),
        ),
        Share.of(
            np.array([0 if unknown is None else (ids == unknown).sum() for ids in tokens], np.float64),
            tokens.lengths.astype(np.float64),
        ),
    )


def new_words(model: StaticModel, old: Sequence[str], new: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The most frequent words that are cut into pieces and that no old text has."""
    known = {word.lower() for text in old for word in _words(text)}
    counts = Counter(word for text in new for word in map(str.lower, _words(text)) if word not in known)
    frequent = [word for word, count in counts.most_common(20 * WORDS) if count > 1]
    lengths = model.tokenize(frequent).lengths.tolist() if frequent else []
    cut = [word for word, length in zip(frequent, lengths, strict=True) if length > 1]
    return tuple((word, counts[word]) for word in cut[:WORDS])


def _words(text: str) -> list[str]:
    """The words of a text of two letters or more, with accents joined to their letters (NFC)."""
    return _WORD.findall(unicodedata.normalize("NFC", text))
