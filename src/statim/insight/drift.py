"""Has the language moved? New texts against those that a model was made for.

Three questions, each with its own uncertainty:

- Are the vectors from another distribution? A permutation test on the distance between both means (Gretton et
  al., 2012, with a linear kernel) says whether anything has moved, and the area under the ROC curve (AUC)
  says how far: the probability that a new text lies further along the line from the old mean to the new one
  than an old text. The direction comes from one half of the texts and the AUC from the other, both ways, so
  that it is not optimistic.
- Are there words that the vocabulary lacks? Words that are cut into pieces, and unknown tokens, as shares
  with intervals.
- Which tokens have become more or less frequent? The Jensen-Shannon divergence of both token distributions,
  beside that of two halves of the old texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.insight.any_texts import read_any, sample_texts
from statim.insight.vocabulary_fit import Share, Vocabulary, fit, new_words
from statim.model import StaticModel
from statim.texts import Texts

SAMPLE = 2000
FEWEST = 50  # texts on either side, below which nothing can be told
PERMUTATIONS = 999
SIGNIFICANCE = 0.005  # level of the permutation test
MOVED_AUC = 0.65  # from this AUC on, texts count as moved
OTHER_DOMAIN_AUC = 0.8  # and from this one on as of another domain
LEAST_INCREASE = 0.02  # in the share of words in pieces or of unknown tokens: the vocabulary lacks words

FINE, EXTEND, RETRAIN = "fine", "extend the vocabulary", "retrain"

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """What has changed from old texts to new ones.

    Attributes:
        old_texts: Old texts that were looked at.
        new_texts: New texts that were looked at.
        p: How likely such a distance between the means is if nothing has moved.
        auc: Area under the ROC curve along the line between the means: 0.5 is no drift, 1 is another domain.
        old: How the vocabulary fits the old texts.
        new: How it fits the new ones.
        divergence: Jensen-Shannon divergence of the token distributions, in bits.
        usual_divergence: The same of two halves of the old texts.
        repeated: The share of new texts that are among the old ones, up to case and white space.
        new_words: Frequent words of the new texts that are cut into pieces and that no old text has.
        verdict: ``fine``, ``extend the vocabulary`` or ``retrain``.
        reason: Why, in a sentence.
    """

    old_texts: int
    new_texts: int
    p: float
    auc: float
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
            f"{'AUC (0.5 no drift)':24} {self.auc:6.3f}, p {self.p:.3f}",
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
        old: Texts like those that the model was trained on: a list; a file or folder of texts, documents,
            pairs or judged data; or a folder that ``train`` made, for the texts it was trained on, if they
            are still there.
        new: The new texts, likewise.
        sample: Sample at most this many different texts per side. With 2,000, a difference of about one
            percentage point in the share of words in pieces can be detected.
        seed: Seed of the sample, the halves and the permutations.
        threads: Threads to encode with.

    Raises:
        InputError: ``sample`` is below 50 or ``seed`` below 0, a text is not a str, or a side has fewer than
            50 different texts.
        DataError: A path cannot be read.
        ModelError: There is no model there.

    Examples:
        >>> texts = [f"{verb} the {thing} number {i}" for i in range(30) for verb in ("open", "close")
        ...          for thing in ("file", "window")]
        >>> drift(model, texts[::2], texts[1::2]).verdict
        'retrain'
    """
    for name, value, least in (("sample", sample, FEWEST), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    loaded = model if isinstance(model, StaticModel) else StaticModel.load(model)
    whole = [_texts(given, name) for given, name in ((old, "old"), (new, "new"))]
    texts = [sample_texts(side, sample, seed) for side in whole]
    random = np.random.default_rng(seed)
    vectors = [loaded.encode(side, normalize=True, threads=threads).astype(np.float64) for side in texts]
    p, auc = _permuted(vectors[0], vectors[1], random), _auc(vectors[0], vectors[1], random)
    fits = [fit(loaded, side) for side in texts]
    counts = [_counts(loaded, side) for side in texts]
    half = random.permutation(len(texts[0]))
    halves = [_counts(loaded, [texts[0][i] for i in part]) for part in np.array_split(half, 2)]
    verdict, reason = _verdict(p, auc, fits[0], fits[1])
    known = {_folded(text) for text in whole[0]}
    return Drift(
        old_texts=len(texts[0]),
        new_texts=len(texts[1]),
        p=p,
        auc=auc,
        old=fits[0],
        new=fits[1],
        divergence=_divergence(counts[0], counts[1]),
        usual_divergence=_divergence(halves[0], halves[1]),
        repeated=sum(_folded(text) in known for text in texts[1]) / len(texts[1]),
        new_words=new_words(loaded, texts[0], texts[1]),
        verdict=verdict,
        reason=reason,
    )


def _texts(given: str | Path | Sequence[str], name: str) -> list[str]:
    """The different texts of a side that are not empty.

    Raises:
        InputError: There are too few, or one is not a str.
    """
    if isinstance(given, (str, Path)) and _is_model(Path(given)):
        from statim.training.run import trained_on

        texts = [text for column in trained_on.read(Path(given)).columns for text in column.to_pylist()]
    elif isinstance(given, (str, Path)):
        texts = read_any([given])[1]
    else:
        try:
            texts = Texts.of(given).checked()
        except InputError as error:
            raise InputError(f"the {name} side: {error}") from None
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) < FEWEST:
        raise InputError(
            f"the {name} side has {len(different)} different texts; give at least {FEWEST}, better 2,000"
        )
    return different


def _is_model(path: Path) -> bool:
    """Is there a model in a folder?"""
    return (path / "model.safetensors").is_file() and (path / "tokenizer.json").is_file()


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


def _auc(old: Doubles, new: Doubles, random: np.random.Generator) -> float:
    """The area under the ROC curve along the line between the means, each half judged by the other."""
    parts = [np.array_split(random.permutation(len(side)), 2) for side in (old, new)]
    found = []
    for fitted, judged in ((0, 1), (1, 0)):
        direction = new[parts[1][fitted]].mean(0) - old[parts[0][fitted]].mean(0)
        before, after = old[parts[0][judged]] @ direction, new[parts[1][judged]] @ direction
        ordered = np.sort(before)
        below = np.searchsorted(ordered, after, "left") + np.searchsorted(ordered, after, "right")
        found.append(below.mean() / (2 * len(before)))
    return float(np.mean(found))


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


def _verdict(p: float, auc: float, old: Vocabulary, new: Vocabulary) -> tuple[str, str]:
    moved = p < SIGNIFICANCE and auc >= MOVED_AUC
    if moved and auc >= OTHER_DOMAIN_AUC:
        return RETRAIN, f"the new texts are of another domain (AUC {auc:.2f}, from {OTHER_DOMAIN_AUC} on)"
    for before, after, what in (
        (old.in_pieces, new.in_pieces, "the words are cut into pieces"),
        (old.unknown, new.unknown, "the tokens are unknown"),
    ):
        increase = after.share - before.share
        if after.low > before.high and increase >= LEAST_INCREASE:
            return EXTEND, f"{100 * increase:.1f} percentage points more of {what}; add the new words"
    if moved:
        return (
            RETRAIN,
            f"the new texts have moved away from the old ones (AUC {auc:.2f}, from {MOVED_AUC} on)",
        )
    return FINE, "the new texts are like the old ones"


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
