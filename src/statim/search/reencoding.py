"""An index's vectors made by an updated model: only texts whose vector can have changed are encoded.

A vector is the mean of its tokens' rows, so a text whose tokens are the same in both models, and none of
whose rows moved, keeps its vector.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from statim.model import ABOUT, StaticModel

Floats = npt.NDArray[np.float32]


class Reencoded(NamedTuple):
    """How many texts were ``encoded`` again and how many ``kept`` their vectors."""

    encoded: int
    kept: int

    def __str__(self) -> str:
        return f"{self.encoded:,} of {self.encoded + self.kept:,} texts encoded again"


def moved_rows(before: StaticModel, after: StaticModel) -> npt.NDArray[np.bool_]:
    """Which rows of ``after``, (V,), are not those of ``before``; new ones are not."""
    old, new = before.table, after.table
    moved = np.ones(len(new), np.bool_)
    shared = min(len(old), len(new))
    if old.shape[1] == new.shape[1]:
        moved[:shared] = (old[:shared] != new[:shared]).any(axis=1)
    return moved


class Reencoder:
    """Makes the vectors of texts by another model, keeping those that cannot have changed.

    Args:
        before: The model that made the vectors.
        after: The model that is to have made them.
        threads: Threads to use.
    """

    def __init__(self, before: StaticModel, after: StaticModel, threads: int | None = None) -> None:
        self._before, self._after, self._threads = before, after, threads
        self._moved = moved_rows(before, after)
        self._prompt = after.settings.prompts.get("document", "")
        self._alike = before.dim == after.dim and _ways(before) == _ways(after)
        self.counts = Reencoded(0, 0)

    def __call__(self, texts: list[str], vectors: Floats) -> Floats:
        """The vectors (n, d) of n texts; ``vectors`` are those of before."""
        changed = np.ones(len(texts), np.bool_)
        if self._alike:
            asked = [self._prompt + text for text in texts]
            old, new = (one.tokenize(asked, threads=self._threads) for one in (self._before, self._after))
            for at, (ids, others) in enumerate(zip(old, new, strict=True)):
                changed[at] = not np.array_equal(ids, others) or self._moved[others].any()
        out = np.empty((len(texts), self._after.dim), np.float32)
        if self._alike:
            out[~changed] = vectors[~changed]
        which = np.flatnonzero(changed)
        out[which] = self._after.encode_document(
            [texts[at] for at in which], normalize=True, threads=self._threads
        )
        again = len(which)
        self.counts = Reencoded(self.counts.encoded + again, self.counts.kept + len(texts) - again)
        return out


def _ways(model: StaticModel) -> dict[str, object]:
    """The settings that decide vectors."""
    return {name: value for name, value in dataclasses.asdict(model.settings).items() if name not in ABOUT}
