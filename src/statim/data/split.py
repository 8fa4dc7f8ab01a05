"""Hold out pairs, or labelled texts, so that no near-duplicate of a held-out text is trained on.

Pairs are twins when any text of one, anchor or positive, is a near-duplicate of any text of the other (see
dedup/near_duplicates.py). Held out is never a pair but its whole family: its twins, their twins, and so on.
Families are found from the drawn pairs outwards, a generation at a time, by searching all texts for
near-duplicates of the newest members; so the work grows with the number of pairs held out, not with the
square of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.dedup.near_duplicates import near_duplicates
from statim.data.documents.corpus import Corpus
from statim.data.documents.plain import PlainTexts
from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError

MOST_HELD_OUT = 0.2  # share of all pairs
# A larger family is formulaic text: held out it would fill the test with one sentence's variations, so it
# trains.
MOST_RELATIVES = 20
GENERATIONS = (
    4  # searches from a drawn pair outwards; a family that still grows then is taken for a large one
)
DRAW = 1024  # pairs looked at in one go, at least; they count as drawn in their order until there are enough
DRAWS = 16

Positions = npt.NDArray[np.int64]
Texts = Sequence[pa.LargeStringArray]
Data = TypeVar("Data", Pairs, ScoredPairs, LabelledTexts, PlainTexts, Corpus)


@dataclass(frozen=True, eq=False)
class Split(Generic[Data]):
    """Pairs (or labelled texts) in three parts that share no near-duplicates.

    Attributes:
        train: What is left.
        development: Held out, for choosing.
        test: Held out, for the final figures.
        moved: ``joined + returned``: pairs on another side than the draw alone would have put them.
        joined: Held-out pairs that were not drawn but belong to the family of one that was.
        returned: Drawn pairs that train after all, since their family is too large to be held out, or for the
            room left.
        asked: How many pairs were asked for, for development and test. Fewer are held out where they would be
            more than a fifth of all, or where too few pairs have small families.
    """

    train: Data
    development: Data
    test: Data
    moved: int
    joined: int
    returned: int
    asked: tuple[int, int]

    def __str__(self) -> str:
        """A sentence for a person."""
        unit = self.train.unit
        held = (len(self.development), len(self.test))
        short = "" if held == self.asked else f" (asked were {self.asked[0]:,} and {self.asked[1]:,})"
        return (
            f"{len(self.train):,} {unit} to train on, {held[0]:,} for development and {held[1]:,} for the "
            f"test{short}; {self.moved:,} {unit} changed sides because of a near-duplicate"
        )


def split(
    pairs: Data, *, development: int, test: int, seed: int = 0, threads: int | None = None
) -> Split[Data]:
    """Hold out pairs at random, with all that resembles them.

    Args:
        pairs: n pairs, with scores or without; or n labelled texts, or documents.
        development: Pairs for development; 0 for none.
        test: Pairs for the test; 0 for none. Together at most a fifth of n are held out; beyond that both are
            cut alike.
        seed: Of the draw. The result does not depend on the number of threads.
        threads: Threads to use.

    Returns:
        The parts, each in the order of ``pairs``.

    Raises:
        InputError: A count is negative or not a whole number.

    Examples:
        >>> pairs = read_pairs("pairs.jsonl")
        >>> parts = split(pairs, development=10, test=20)
        >>> len(parts.train), len(parts.development), len(parts.test)
        (120, 10, 20)
    """
    for name, count in (("development", development), ("test", test)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise InputError(f"{name} is {count!r}; it must be a whole number of pairs, 0 for none")
    asked = (int(development), int(test))
    wanted = min(sum(asked), int(len(pairs) * MOST_HELD_OUT))
    room = [wanted - wanted * asked[1] // max(sum(asked), 1), wanted * asked[1] // max(sum(asked), 1)]
    order = np.random.default_rng(seed).permutation(len(pairs))
    side = np.full(len(pairs), -1, np.int8)  # -1 trains, 0 development, 1 test
    drawn = np.zeros(len(pairs), bool)
    draw = max(DRAW, 2 * wanted)
    for position in range(0, len(pairs), draw):
        if sum(room) == 0 or position == DRAWS * draw:
            break
        chosen = order[position : position + draw]
        chosen = chosen[side[chosen] < 0]
        for pair, family in zip(chosen, _families(pairs.columns, chosen, threads), strict=True):
            if sum(room) == 0:
                break
            drawn[pair] = True
            place = next(
                (place for place in (1, 0) if family is not None and len(family) <= room[place]), None
            )
            if family is not None and place is not None and side[pair] < 0:
                side[family] = place
                room[place] -= len(family)
    parts = [pairs.select(np.flatnonzero(side == place)) for place in (-1, 0, 1)]
    joined, returned = int(np.sum(~drawn & (side >= 0))), int(np.sum(drawn & (side < 0)))
    return Split(parts[0], parts[1], parts[2], joined + returned, joined, returned, asked)


def _families(columns: Texts, drawn: Positions, threads: int | None) -> list[Positions | None]:
    """The whole family of each drawn pair; None for one too large."""
    family = np.full(
        len(columns[0]), -1, np.int64
    )  # the drawn pair, by its position in drawn, that a pair belongs to
    family[drawn] = np.arange(len(drawn))
    root = np.arange(len(drawn))  # families found to be one carry the smallest number
    endless = np.zeros(len(drawn), bool)
    newest = drawn
    for _ in range(GENERATIONS):
        if len(newest) == 0:
            break
        own, other, crowded = _twins(columns, newest, threads)
        endless[family[crowded]] = True
        fresh = family[other] < 0
        found, first = np.unique(other[fresh], return_index=True)
        family[found] = family[own[fresh][first]]
        root = _merge(root, family[own], family[other])
        sizes = np.bincount(root[family[family >= 0]], minlength=len(root))
        endless = np.bincount(root, endless, len(root))[root] > 0
        endless |= sizes[root] > MOST_RELATIVES
        newest = found[~endless[family[found]]]
    endless[family[newest]] = True
    endless = np.bincount(root, endless, len(root))[root] > 0
    members = np.flatnonzero(family >= 0)
    members = members[np.argsort(root[family[members]], kind="stable")]
    bounds = np.searchsorted(root[family[members]], np.arange(len(root) + 1))
    return [None if endless[i] else members[bounds[r] : bounds[r + 1]] for i, r in enumerate(root)]


def _twins(columns: Texts, members: Positions, threads: int | None) -> tuple[Positions, Positions, Positions]:
    """Twins of some pairs: (the pair, its twin), and those that have too many twins for all to be named."""
    limit = 2 * MOST_RELATIVES  # a family of N pairs has 2 N texts
    chosen = pa.array(members)
    queries = pa.concat_arrays([texts.take(chosen) for texts in columns])
    owners = np.concatenate([members for _ in columns])
    found = [near_duplicates(queries, texts, limit=limit, threads=threads) for texts in columns]
    crowded = [owners[np.bincount(matches.queries, minlength=len(owners)) > limit] for matches in found]
    own = np.concatenate([owners[matches.queries] for matches in found])
    other = np.concatenate([matches.texts for matches in found])
    return own[own != other], other[own != other], np.concatenate(crowded)


def _merge(root: Positions, left: Positions, right: Positions) -> Positions:
    """Unite the families left[i] and right[i], for every i."""
    root = root.copy()
    while True:
        a, b = root[left], root[right]
        differing = a != b
        if not differing.any():
            return root
        low, high = np.minimum(a, b)[differing], np.maximum(a, b)[differing]
        np.minimum.at(root, high, low)
        while not np.array_equal(root, root[root]):
            root = root[root]
