"""How well recommendations find the rest of baskets that were not learned from, beside what is popular."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import DataError
from statim.evaluation.metrics import NOWHERE, ranking_metrics
from statim.search.engines.protocol import check_k
from statim.tasks.recommend.baskets import Baskets, Positions
from statim.tasks.recommend.recommend import Recommender

POPULARITY = "popularity"


@dataclass(frozen=True)
class BasketTable:
    """Recommender's name -> metric -> mean; and the number of baskets of two items or more.

    Attributes:
        figures: ``recall@k`` and ``ndcg@k`` of each.
        baskets: How many were judged.
        hidden: How many items there were to find.
    """

    figures: dict[str, dict[str, float]]
    baskets: int
    hidden: int

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"baskets": self.baskets, "hidden": self.hidden, "figures": self.figures}

    def __str__(self) -> str:
        metrics = list(next(iter(self.figures.values())))
        wide = max(map(len, self.figures))
        lines = [" " * wide + "".join(f"{name:>12}" for name in metrics)]
        for name, row in self.figures.items():
            lines.append(f"{name:<{wide}}" + "".join(f"{row[metric]:>12.4f}" for metric in metrics))
        best = max(self.figures, key=lambda name: self.figures[name][metrics[-1]])
        lines.append(f"{self.hidden:,} items to find in {self.baskets:,} baskets; best: {best}")
        return "\n".join(lines)


def judge_baskets(
    recommenders: Mapping[str, Recommender],
    heldout: Baskets,
    learned: Baskets | None = None,
    *,
    k: int = 10,
    popularity: Mapping[str, float] | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> BasketTable:
    """Show recommenders half of each basket's items (the larger, by the seed), and look for the rest.

    Args:
        recommenders: By name; all of the same catalogue. Items that were shown are not recommended.
        heldout: Baskets that none has learned from; those of one item are passed over.
        learned: Baskets from which ``popularity`` counts; without them it is left out.
        k: How many recommendations are looked at.
        popularity: By the names of recommenders that have counted it: its weight, see
            ``Recommender.recommend``.
        seed: Decides the halves.
        threads: Threads to use.

    Raises:
        DataError: No basket has two items.
        InputError: ``k`` is below 1.
    """
    k = check_k(k)
    some = heldout.select(np.flatnonzero(np.diff(heldout.offsets) >= 2))
    if len(some) == 0:
        raise DataError("no held-out basket has two items, so there is nothing to find")
    owners = some.owners
    order = np.lexsort((np.random.default_rng(seed).random(len(owners)), owners))
    places = np.arange(len(owners)) - some.offsets[owners]
    shown = np.empty(len(owners), np.bool_)
    shown[order] = places < (np.diff(some.offsets)[owners] + 1) // 2
    given, hidden = some.keep(shown), some.keep(~shown)
    found: dict[str, Positions] = {}
    if learned is not None:
        size = len(next(iter(recommenders.values()))) if recommenders else int(some.items.max()) + 1
        found[POPULARITY] = _popular(learned, given, size, k)
    for name, recommender in recommenders.items():
        weight = (popularity or {}).get(name, 0.0)
        many = recommender.recommend_many(given, k, popularity=weight, threads=threads)
        found[name] = np.concatenate([places for _, places in many])
    metrics = (f"recall@{k}", f"ndcg@{k}")
    figures = {}
    for name, lists in found.items():
        scores = ranking_metrics(
            _ranks(lists, hidden), hidden.owners, np.ones(len(hidden.items), np.int64), metrics=metrics
        )
        figures[name] = scores.metrics
    return BasketTable(figures, len(some), len(hidden.items))


def _popular(learned: Baskets, given: Baskets, size: int, k: int) -> Positions:
    """(b, k) the items of most baskets that were not shown, the first of equals."""
    counts = np.bincount(learned.items, minlength=size)
    best = np.argsort(-counts, kind="stable")[: k + int(np.diff(given.offsets).max())]
    out = np.full((len(given), k), -1, np.int64)
    for row in range(len(given)):
        left = best[~np.isin(best, given.items[given.offsets[row] : given.offsets[row + 1]])][:k]
        out[row, : len(left)] = left
    return out


def _ranks(lists: Positions, hidden: Baskets) -> npt.NDArray[np.int64]:
    """Where in its basket's list each hidden item stands, from 1."""
    hits = lists[hidden.owners] == hidden.items[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, NOWHERE)
