"""Hard negatives mined between epochs by the model in training, among its own positives.

The bags are pooled with the table of that moment; the guards are those of ``statim mine`` (ANCE: Xiong et
al., 2021; the margin: NV-Retriever, Moreira et al., 2024). What was mined goes with the checkpoints, so a
resumed run trains on the same.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.mining.guards import Guards
from statim.mining.nearest import Nearest, cosines, scaled
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Schedule
from statim.training.datasets.sets import TrainingData
from statim.training.recipe import Recipe

RANKS = 20  # negatives are among this many closest that the margin leaves
MARGIN = 0.05  # below the worst positive's score, as a share of it

log = logging.getLogger("statim")

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class Miner:
    """Gives the data of each stretch of a training, with negatives mined at its begin.

    Args:
        data: What is trained on.
        recipe: Its ``hard_negatives`` and ``mine_every``.
        from_start: Mine before the first epoch; a random table would find random texts, so it waits for the
            second.
        threads: Threads to use; what exact search finds does not depend on it.
        negatives: Those of a checkpoint.

    Attributes:
        negatives: (n, N) int32, the texts that were mined last for each pair, -1 for none; None before.

    Raises:
        InputError: Nothing would ever be mined, or the data are no pairs, or too few.
    """

    def __init__(
        self,
        data: TrainingData,
        recipe: Recipe,
        from_start: bool,
        threads: int,
        negatives: Ints | None = None,
    ) -> None:
        self._data, self._recipe, self._threads = data, recipe, threads
        self.negatives = negatives
        self._steps: list[int] = []  # before which to mine
        if recipe.hard_negatives == 0:
            return
        if not isinstance(data, TrainingSet):
            raise InputError(
                f"hard negatives are mined for pairs; leave them out with the loss {recipe.loss}"
            )
        first = 0 if from_start else 1
        if first >= recipe.epochs:
            raise InputError(
                "from a random start hard negatives are mined after the first epoch, and there is only "
                "one; give more epochs, or another start"
            )
        documents = len(np.unique(data.candidates[:, 0]))
        if documents <= recipe.hard_negatives:
            raise InputError(
                f"there are {documents:,} different positives to train on, too few for "
                f"{recipe.hard_negatives:,} hard negatives of each anchor; ask for fewer, or give more "
                "pairs"
            )
        steps = Schedule(data, recipe).steps
        self._steps = [steps * epoch for epoch in range(first, recipe.epochs, recipe.mine_every)]

    def stretches(self, optimizer: Any, stops: Callable[[], bool]) -> Iterator[tuple[TrainingData, int]]:
        """From ``optimizer``'s step on: data to train on and the step to reach, until training ``stops``."""
        last = len(optimizer.rates) - 1
        while optimizer.step < last and not stops():
            if optimizer.step in self._steps:
                self.negatives = self._mine(optimizer.current())
            until = min([step for step in self._steps if step > optimizer.step], default=last)
            yield self._with_negatives(), until

    def _with_negatives(self) -> TrainingData:
        if self.negatives is None or not isinstance(self._data, TrainingSet):
            return self._data
        candidates = np.concatenate([self._data.candidates, self.negatives], axis=1)
        return dataclasses.replace(self._data, candidates=candidates)

    def _mine(self, table: Floats) -> Ints:
        assert isinstance(self._data, TrainingSet)
        started = time.perf_counter()
        found = mine(self._data, table, self._recipe.hard_negatives, self._threads)
        log.info(
            "mined %s hard negatives for %s pairs in %.1f s",
            f"{int((found >= 0).sum()):,}", f"{len(found):,}", time.perf_counter() - started,
        )  # fmt: skip
        return found


def mine(data: TrainingSet, table: Floats, negatives: int, threads: int) -> Ints:
    """Hard negatives of each pair by a table.

    Args:
        data: n pairs.
        table: (V, d) float32.
        negatives: How many of each, N.
        threads: Threads to use.

    Returns:
        (n, N) int32, texts that are positives of other anchors, the closest first; -1 after the last.
    """
    anchors, rows = np.unique(data.anchors, return_inverse=True)
    documents = np.unique(data.candidates[:, 0])
    place = np.full(len(data.known_offsets) - 1, -1, np.int64)
    place[documents] = np.arange(len(documents))
    known, offsets = _known(data, anchors, place)
    asked = scaled(data.bags.pooled(table, anchors, threads), "the anchors' vectors")
    given = scaled(data.bags.pooled(table, documents, threads), "the positives' vectors")
    owners = np.repeat(np.arange(len(anchors)), np.diff(offsets))
    worst = np.minimum.reduceat(cosines(asked, given, owners, known), offsets[:-1])
    guards = Guards(negatives, 0, max(RANKS, negatives), relative_margin=MARGIN)
    find = Nearest(asked, given, guards.range_max + int(np.diff(offsets).max()), threads=threads)
    chosen, step = guards.empty(), find.rows
    for start in range(0, len(anchors), step):
        part = slice(start, min(start + step, len(anchors)))
        nobody = np.full(part.stop - start, -1)
        scores, positions = find(asked[part])
        guards.choose(chosen, scores, positions, known, offsets[start : part.stop + 1], nobody, worst[part])
    texts = np.append(documents, -1).astype(np.int32)  # so that -1 stays -1
    return np.ascontiguousarray(texts[chosen.positions][rows])


def _known(
    data: TrainingSet, anchors: Ints, place: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], ...]:
    """The documents that are no negatives of some anchors, concatenated, and each anchor's offset."""
    starts, ends = data.known_offsets[anchors], data.known_offsets[anchors + 1]
    sizes = ends - starts
    owners = np.repeat(np.arange(len(anchors)), sizes)
    at = np.arange(int(sizes.sum())) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    documents = place[data.known[at]]
    there = documents >= 0  # an anchor's own text may be no document
    offsets = np.searchsorted(owners[there], np.arange(len(anchors) + 1))
    return documents[there], offsets
