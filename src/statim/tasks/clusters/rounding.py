"""Vectors that differ by the rounding of their numbers alone: the same text, computed in another order."""

from functools import partial

import numpy as np

from statim import threads as pool
from statim.tasks.similarity.vector_set import Floats, Longs

GAP = (
    1e-6  # the largest distance that rounding puts between vectors of length 1: some units in the last place
)


def heads(vectors: Floats, *, threads: int | None = None) -> Longs:
    """The first of the vectors that each one equals but for rounding; itself where there is none before it.

    Vectors are sorted by where they lie along a random direction: those that are so close lie as close there,
    and nearly all others are told apart by a second direction.

    Args:
        vectors: (n, d) float32 of length 1.
        threads: Threads to use.

    Returns:
        (n,) int64.
    """
    from statim.kernels.search.neighbors import along, leaders

    directions = np.random.default_rng(0).standard_normal((2, vectors.shape[1])).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True) * (1 + 1e-6)  # no longer than 1
    places, workers = np.empty((len(vectors), 2)), pool.count(threads)

    def work(start: int, stop: int) -> None:
        along(vectors[start:stop], *directions, places[start:stop])

    pool.run([partial(work, *bounds) for bounds in pool.ranges(len(vectors), workers)], workers)
    found = np.empty(len(vectors), np.int64)
    leaders(vectors, np.argsort(places[:, 0]), places, GAP, found)
    first = np.arange(len(found))
    np.minimum.at(first, found, np.arange(len(found)))
    return first[found]
