"""A sample of an index's own vectors, what is nearest to each, and how much of that a search finds."""

from collections.abc import Callable, Iterable

import numpy as np

from statim.search.engines.exact_top_k import top_k
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.tuning import DEPTH, Recall, measured

SIZE = 64  # vectors of a sample

Nearest = Callable[[Floats, int], tuple[Positions, Floats]]  # a query (d,) and k: positions and cosines


class Sample:
    """Some vectors that an index holds, each compared with all others.

    What is found counts by its score, not by its position: among equal documents one is as right as another.

    Args:
        positions: (m,) int64, where the vectors of the sample are.
        queries: (m, d) float32, the vectors at length 1 or 0; those of 0 are left out.
        blocks: All vectors of the index with their positions, (n,) and (n, d).
        depth: How many of the nearest are needed at most.
    """

    def __init__(
        self, positions: Positions, queries: Floats, blocks: Iterable[tuple[Positions, Floats]], depth: int
    ) -> None:
        there = queries.any(axis=1)
        self._own, self._queries = positions[there], queries[there]
        self._scores = np.zeros((len(self._queries), 0), np.float32)
        for places, vectors in blocks:
            some = vectors.any(axis=1)
            if len(self._queries) and some.any():
                scores, rows = top_k(self._queries, vectors[some], depth + 1)
                scores[places[some][rows] == self._own[:, None]] = -np.inf
                self._scores = -np.sort(-np.hstack([self._scores, scores]), axis=1)[:, :depth]

    def recall(self, nearest: Nearest, depth: int = DEPTH, most: int = SIZE) -> Recall:
        """What a search finds of the ``depth`` nearest others.

        Args:
            nearest: The search.
            depth: How many of the nearest are looked for; at most the sample's own depth.
            most: How many vectors of the sample are asked for.
        """
        truths, found = [], []
        for own, query, scores in zip(self._own[:most], self._queries, self._scores, strict=False):
            truth = scores[:depth][np.isfinite(scores[:depth])]
            if len(truth):
                places, near = nearest(query, depth + 1)
                truths.append(truth)
                found.append(near[places != own])
        return measured(truths, found)
