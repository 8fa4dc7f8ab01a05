"""Has the language moved? New texts against those that a model was made for.

Three questions, each with its own uncertainty:

- Are the vectors from another distribution? A permutation test on the distance between both means (Gretton et
  al., 2012, with a linear kernel) says whether anything has moved, and the area under the ROC curve says how
  far: how often a new text lies further along the difference than an old one. The direction comes from one
  half of the texts and the area from the other, both ways, so that it is not optimistic.
- Are there words that the vocabulary lacks? Words that are cut into pieces, and unknown tokens, as shares
  with intervals.
- Which tokens have become more or less frequent? The Jensen-Shannon divergence of both token distributions,
  beside that of two halves of the old texts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.insight.any_texts import drawn, read_any
from statim.model import StaticModel

SAMPLE = 2000
FEWEST = 50  # texts on either side, below which nothing can be told
PERMUTATIONS = 999
ALPHA = 0.005  # of the permutation test
MOVED = 0.65  # area under the curve from which texts count as moved
ELSEWHERE = 0.8  # and from which they count as of another domain
LACKING = 0.02  # more words in pieces by this share: the vocabulary lacks words
WORDS = 15  # new words that are shown
Z = 2.576  # of intervals of 99 %

FINE, EXTEND, RETRAIN = "fine", "extend the vocabulary", "retrain"

Doubles = npt.NDArray[np.float64]
_WORD = re.compile(r"[^\W\d_]{2,}")


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
    def of(counts: "Doubles", totals: "Doubles") -> "Share":
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


@dataclass(frozen=True)
class Drift:
    """What has changed from old texts to new ones.

    Attributes:
        old_texts: Old texts that were looked at.
        new_texts: New texts that were looked at.
        p: How likely such a distance between the means is if nothing has moved.
        area: Area under the ROC curve along the difference: 0.5 is no drift, 1 is another domain.
        old: How the vocabulary fits the old texts.
        new: How it fits the new ones.
        divergence: Jensen-Shannon divergence of the token distributions, in bits.
        usual_divergence: The same of two halves of the old texts.
        repeated: The share of new texts that stand among the old ones, up to case and white space.
        new_words: Frequent words of the new texts that are cut into pieces and that no old text has.
        verdict: ``fine``, ``extend the vocabulary`` or ``retrain``.
        reason: Why, in a sentence.
    """

    old_texts: int
    new_texts: int
    p: float
    area: float
    old: Vocabulary
    new: Vocabulary
    divergence: float
    usual_divergence: float
    repeated: float
    new_words: tuple[tuple[str, int], ...]
    verdict: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = vars(self) | {"new_words": [list(pair) for pair in self.new_words]}
        for name in ("old", "new"):
            fit: Vocabulary = found[name]
            found[name] = {"in_pieces": vars(fit.in_pieces), "unknown": vars(fit.unknown)}
        return found

    def __str__(self) -> str:
        def line(name: str, share: Share) -> str:
            return f"{name:24} {100 * share.share:6.2f} % ({100 * share.low:.2f} to {100 * share.high:.2f})"

        lines = [
            f"{self.old_texts:,} old texts, {self.new_texts:,} new ones",
            line("words in pieces, old", self.old.in_pieces),
            line("words in pieces, new", self.new.in_pieces),
            line("unknown tokens, old", self.old.unknown),
            line("unknown tokens, new", self.new.unknown),
            f"{'token divergence':24} {self.divergence:6.3f} bits (old {self.usual_divergence:.3f})",
            f"{'new texts seen before':24} {100 * self.repeated:6.2f} %",
            f"{'moved (0.5 no, 1 far)':24} {self.area:6.3f}, p {self.p:.3f}",
        ]
        if self.new_words:
            lines.append("new words: " + ", ".join(f"{word} ({count})" for word, count in self.new_words))
        return "\n".join([*lines, "", f"{self.verdict}: {self.reason}"])


def drift(
    model: str | Path | StaticModel,
    old: str | Path | Sequence[str],
    new: str | Path | Sequence[str],
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    threads: int | None = None,
) -> Drift:
    """Compare new texts with old ones, as a model sees them.

    Args:
        model: The model, or its path or name.
        old: Texts like those that the model was trained on: a list, or a file or folder of texts, documents,
            pairs or judged data.
        new: The new texts, likewise.
        sample: Look at no more different texts of either side, drawn by the seed. With 2,000 a difference in
            the share of words in pieces can be told from about one point on.
        seed: Decides the sample, the halves and the permutations.
        threads: Threads to encode with.

    Raises:
        InputError: ``sample`` is below 50, or a side has fewer than 50 different texts.
        DataError: A path cannot be read.
        ModelError: There is no model there.

    Examples:
        >>> texts = [f"{verb} the {thing} number {i}" for i in range(30) for verb in ("open", "close")
        ...          for thing in ("file", "window")]
        >>> drift(model, texts[::2], texts[1::2]).verdict
        'retrain'
    """
    if not isinstance(sample, int) or isinstance(sample, bool) or sample < FEWEST:
        raise InputError(f"sample is {sample!r}; it must be a whole number of at least {FEWEST}")
    loaded = model if isinstance(model, StaticModel) else StaticModel.load(model)
    whole = [_texts(given, name) for given, name in ((old, "old"), (new, "new"))]
    texts = [drawn(side, sample, seed) for side in whole]
    random = np.random.default_rng(seed)
    vectors = [loaded.encode(side, normalize=True, threads=threads).astype(np.float64) for side in texts]
    p, area = _permuted(vectors[0], vectors[1], random), _area(vectors[0], vectors[1], random)
    fits = [_fit(loaded, side) for side in texts]
    counts = [_counts(loaded, side) for side in texts]
    half = random.permutation(len(texts[0]))
    halves = [_counts(loaded, [texts[0][i] for i in part]) for part in np.array_split(half, 2)]
    verdict, reason = _verdict(p, area, fits[0], fits[1])
    known = {_folded(text) for text in whole[0]}
    return Drift(
        old_texts=len(texts[0]),
        new_texts=len(texts[1]),
        p=p,
        area=area,
        old=fits[0],
        new=fits[1],
        divergence=_divergence(counts[0], counts[1]),
        usual_divergence=_divergence(halves[0], halves[1]),
        repeated=sum(_folded(text) in known for text in texts[1]) / len(texts[1]),
        new_words=_new_words(loaded, texts[0], texts[1]),
        verdict=verdict,
        reason=reason,
    )


def _texts(given: str | Path | Sequence[str], name: str) -> list[str]:
    """The different texts of a side that are not empty.

    Raises:
        InputError: There are too few.
    """
    texts = read_any([Path(given)])[1] if isinstance(given, (str, Path)) else list(given)
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) < FEWEST:
        raise InputError(
            f"the {name} side has {len(different)} different texts; give at least {FEWEST}, better 2,000"
        )
    return different


def _permuted(old: Doubles, new: Doubles, random: np.random.Generator) -> float:
    """The p value of the distance between the means, by permutations of who is old and who is new."""
    pooled = np.concatenate([old, new])
    pooled -= pooled.mean(0)
    sides = np.full((PERMUTATIONS + 1, len(pooled)), -1.0 / len(new))
    for row in sides:
        row[: len(old)] = 1.0 / len(old)
    random.permuted(sides[1:], axis=1, out=sides[1:])
    distances = np.square(sides @ pooled).sum(1)
    return float((distances >= distances[0] * (1 - 1e-12)).sum() / len(distances))


def _area(old: Doubles, new: Doubles, random: np.random.Generator) -> float:
    """The area under the ROC curve along the difference of the means, each half judged by the other."""
    parts = [np.array_split(random.permutation(len(side)), 2) for side in (old, new)]
    areas = []
    for fitted, judged in ((0, 1), (1, 0)):
        direction = new[parts[1][fitted]].mean(0) - old[parts[0][fitted]].mean(0)
        before, after = old[parts[0][judged]] @ direction, new[parts[1][judged]] @ direction
        ordered = np.sort(before)
        below = np.searchsorted(ordered, after, "left") + np.searchsorted(ordered, after, "right")
        areas.append(below.mean() / (2 * len(before)))
    return float(np.mean(areas))


def _fit(model: StaticModel, texts: Sequence[str]) -> Vocabulary:
    words = [_WORD.findall(text) for text in texts]
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


def _counts(model: StaticModel, texts: Sequence[str]) -> Doubles:
    """How often each token occurs, (V,)."""
    ids = model.tokenize(texts).ids
    return np.bincount(ids, minlength=model.tokenizer.vocabulary_size).astype(np.float64)


def _divergence(a: Doubles, b: Doubles) -> float:
    """Jensen-Shannon divergence of two counts, in bits."""
    left, right = a / max(a.sum(), 1.0), b / max(b.sum(), 1.0)
    middle = (left + right) / 2

    def relative(x: Doubles) -> float:
        there = x > 0
        return float((x[there] * np.log2(x[there] / middle[there])).sum())

    return (relative(left) + relative(right)) / 2


def _new_words(model: StaticModel, old: Sequence[str], new: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The most frequent words that are cut into pieces and that no old text has."""
    known = {word.lower() for text in old for word in _WORD.findall(text)}
    counts = Counter(
        word for text in new for word in map(str.lower, _WORD.findall(text)) if word not in known
    )
    frequent = [word for word, count in counts.most_common(20 * WORDS) if count > 1]
    lengths = model.tokenize(frequent).lengths.tolist() if frequent else []
    cut = [word for word, length in zip(frequent, lengths, strict=True) if length > 1]
    return tuple((word, counts[word]) for word in cut[:WORDS])


def _verdict(p: float, area: float, old: Vocabulary, new: Vocabulary) -> tuple[str, str]:
    moved = p < ALPHA and area >= MOVED
    lacking = new.in_pieces.low - old.in_pieces.high > 0 and (
        new.in_pieces.share - old.in_pieces.share >= LACKING
    )
    lacking |= new.unknown.low - old.unknown.high > 0 and new.unknown.share - old.unknown.share >= LACKING
    if moved and area >= ELSEWHERE:
        return RETRAIN, f"the new texts are of another domain (moved {area:.2f}, from {ELSEWHERE} on)"
    if lacking:
        gained = 100 * (new.in_pieces.share - old.in_pieces.share)
        return EXTEND, f"{gained:.1f} points more of the words are cut into pieces; add the new words"
    if moved:
        return RETRAIN, f"the new texts have moved away from the old ones ({area:.2f}, from {MOVED} on)"
    return FINE, "the new texts are like the old ones"


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
