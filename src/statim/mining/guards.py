"""Which of the nearest documents are taken for negatives.

The nearest documents of an anchor often answer it too. The guards are those of sentence-transformers'
``mine_hard_negatives``, in its order: an anchor's own positives and its own text go first, whatever their
case and white space; then what is too close to the positive or beyond a score; of the rest, ranks are
counted. The relative margin with 0.05 is the TopK-PercPos (95 %) of NV-Retriever (Moreira et al., 2024).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError

SAMPLINGS = ("top", "random")
ROWS = 4096  # anchors looked at in one go

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Guards:
    """What a negative may be.

    Attributes:
        num_negatives: Negatives of each anchor, N.
        range_min: So many of the closest candidates are left out.
        range_max: Negatives are taken from this many of the closest, including those skipped. ``Guards.make``
            derives it.
        absolute_margin: A negative scores lower than the anchor's worst positive by at least this.
        relative_margin: A negative scores lower than it by at least this share of the positive's score.
        max_score: A negative scores no more.
        min_score: A negative scores no less.
        sampling: ``top`` takes the closest, ``random`` any.
        seed: Of the random ones.
        with_positives: Leave an anchor's positives and its own text among the candidates.
    """

    num_negatives: int
    range_min: int
    range_max: int
    absolute_margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None
    min_score: float | None = None
    sampling: str = "top"
    seed: int = 0
    with_positives: bool = False

    @staticmethod
    def make(
        num_negatives: int, range_min: int, range_max: int | None, positives: int, *, rescored: bool = False,
        **given: Any
    ) -> "Guards":  # fmt: skip
        """Guards, with a range that suits them where none is given.

        Args:
            num_negatives: See above.
            range_min: See above.
            range_max: See above; None takes ten candidates a negative where others may be removed, else one.
            positives: The most that an anchor has, its own text included.
            rescored: Candidates are scored once more, by another model.
            given: The other attributes.

        Raises:
            InputError: A value is out of range; the message names it.
        """
        for name, value, least in (
            ("num_negatives", num_negatives, 1),
            ("range_min", range_min, 0),
            ("range_max", range_max, 1),
        ):
            good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if value is not None and (not good or value < least):
                raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
        for name in ("absolute_margin", "relative_margin", "max_score", "min_score"):
            value = given.get(name)
            good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if value is not None and (not good or not np.isfinite(value)):
                raise InputError(f"{name} is {value!r}; it must be a number, or None")
        if given.get("sampling", "top") not in SAMPLINGS:
            raise InputError(f"sampling is {given['sampling']!r}; it must be one of {', '.join(SAMPLINGS)}")
        low, high = given.get("min_score"), given.get("max_score")
        if low is not None and high is not None and low > high:
            raise InputError(f"min_score is {low:g} and max_score {high:g}: no score is between; swap them")
        if range_max is None:
            some = any(
                given.get(name) is not None for name in ("absolute_margin", "relative_margin", "max_score")
            )
            range_max = range_min + num_negatives * (10 if some or rescored else 1) + positives
        if num_negatives > range_max - range_min:
            raise InputError(
                f"{num_negatives} negatives do not fit between range_min {range_min} and range_max "
                f"{range_max}; ask for fewer, or widen the range"
            )
        return Guards(num_negatives, range_min, range_max, **given)

    def empty(self) -> "Chosen":
        """Room for what ``choose`` finds."""
        return Chosen(self.num_negatives, np.random.default_rng(self.seed))

    def choose(
        self,
        chosen: "Chosen",
        scores: Floats,
        positions: Longs,
        positives: Longs,
        offsets: Longs,
        own: Longs,
        worst: Floats,
        numbers: Longs | None = None,
    ) -> None:
        """Choose negatives of b anchors among their nearest documents.

        Args:
            chosen: They are added to it.
            scores: (b, W) of the anchors' candidates, falling; -inf where there is none.
            positions: (b, W) int64, the candidates; -1 where there is none.
            positives: int64, the numbers of the positives of all anchors, one anchor's after the other's.
            offsets: (b + 1,) int64, where each of these anchors' begin.
            own: (b,) int64, the number of each anchor's own text; -1 for none.
            worst: (b,) the score of each anchor's worst positive.
            numbers: (n,) int64, the number of each document, the same for those that count as equal; None
                where it is its position.
        """
        for start in range(0, len(scores), ROWS):
            rows = slice(start, min(start + ROWS, len(scores)))
            some, places = scores[rows], positions[rows]
            left = (places >= 0) & (some > -np.inf)
            chosen.count("candidates", left)
            alike = places if numbers is None else np.where(places >= 0, numbers[places], -1)
            belongs = _contained(alike, positives, offsets[rows.start : rows.stop + 1])
            same = (alike == own[rows, None]) & (alike >= 0)
            for name, removed in self._removals(some, same, belongs, worst[rows, None]):
                chosen.count(name, left & removed)
                left &= ~removed
            ranks = np.cumsum(left, axis=1) - 1
            outside = left & ((ranks < self.range_min) | (ranks >= self.range_max))
            chosen.count("range", outside)
            left &= ~outside
            if self.sampling == "random" and left.shape[1] > self.num_negatives:
                keys = np.where(left, chosen.random.random(left.shape), 2.0)
                last = np.partition(keys, self.num_negatives - 1, axis=1)[:, self.num_negatives - 1]
                left &= keys <= last[:, None]
            among = np.cumsum(left, axis=1) - 1
            i, j = np.nonzero(left & (among < self.num_negatives))
            found = np.full((len(places), self.num_negatives), -1, np.int64)
            found_scores = np.full(found.shape, -np.inf, np.float32)
            found[i, among[i, j]], found_scores[i, among[i, j]] = places[i, j], some[i, j]
            chosen.add(found, found_scores)

    def _removals(
        self, scores: Floats, same: npt.NDArray[np.bool_], belongs: npt.NDArray[np.bool_], worst: Floats
    ) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """What each guard removes, (b, W), with its name."""
        if not self.with_positives:
            yield "same text", same
            yield "positive", belongs
        if self.absolute_margin is not None:
            yield "absolute margin", scores + np.float32(self.absolute_margin) > worst
        if self.relative_margin is not None:  # of the magnitude, so that it works for negative scores too
            yield "relative margin", scores > worst - np.abs(worst) * np.float32(self.relative_margin)
        if self.max_score is not None:
            yield "max score", scores > np.float32(self.max_score)
        if self.min_score is not None:
            yield "min score", scores < np.float32(self.min_score)


class Chosen:
    """The negatives of m anchors, which are added block by block.

    Args:
        width: Negatives of each anchor, N.
        random: Draws them, where they are drawn.

    Attributes:
        removed: How many candidates each guard removed, in the order in which they looked; before it, how
            many there were.
    """

    def __init__(self, width: int, random: np.random.Generator) -> None:
        self.random = random
        self.removed: dict[str, int] = {}
        self._positions, self._scores = [np.empty((0, width), np.int64)], [np.empty((0, width), np.float32)]

    @property
    def positions(self) -> Longs:
        """(m, N) int64, documents, the closest first; -1 after the last."""
        if len(self._positions) > 1:
            self._positions = [np.concatenate(self._positions)]
        return self._positions[0]

    @property
    def scores(self) -> Floats:
        """(m, N) float32; -inf after the last."""
        if len(self._scores) > 1:
            self._scores = [np.concatenate(self._scores)]
        return self._scores[0]

    @property
    def counts(self) -> Longs:
        """(m,) how many negatives each anchor has."""
        found: Longs = (self.positions >= 0).sum(axis=1)
        return found

    def add(self, positions: Longs, scores: Floats) -> None:
        """Put further anchors' at the end."""
        self._positions.append(positions)
        self._scores.append(scores)

    def count(self, name: str, which: npt.NDArray[np.bool_]) -> None:
        """Add to one of ``removed``."""
        self.removed[name] = self.removed.get(name, 0) + int(which.sum())


def _contained(positions: Longs, known: Longs, offsets: Longs) -> npt.NDArray[np.bool_]:
    """Which of (b, W) positions are known of their rows: row i's are known[offsets[i]:offsets[i + 1]]."""
    base = int(max(positions.max(initial=0), known[offsets[0] : offsets[-1]].max(initial=0))) + 1
    rows = np.repeat(np.arange(len(positions)), np.diff(offsets))
    keys = np.sort(rows * base + known[offsets[0] : offsets[-1]])
    if len(keys) == 0:
        return np.zeros(positions.shape, np.bool_)
    asked = np.arange(len(positions))[:, None] * base + positions
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    there: npt.NDArray[np.bool_] = (keys[places] == asked) & (positions >= 0)
    return there
