"""Candidates of a search, scored exactly.

A score is a sum in float64, so it depends on its two vectors alone, not on how BLAS cut the work, how many
threads it had or what else was asked.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from statim import threads as pool
from statim.search.engines import compiled
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.stored_vectors import Rows, Vectors

FEW_QUERIES = 8  # for which compiled code is not loaded
SETTLED = 128  # queries whose candidates are widened together
BLOCK = 2048  # documents that are widened at a time


def settled(
    queries: Floats, documents: Vectors, kept: Positions, k: int, threads: int | None
) -> tuple[Floats, Positions]:
    """The best k of some candidates, scored as ``top_k`` does.

    Args:
        queries: (m, d) float32.
        documents: (n, d).
        kept: (m, c) int64, the candidates of each query, none twice; -1 for none.
        k: How many are wanted.
        threads: Threads to use.

    Returns:
        Scores and positions, (m, k), best first; -inf and -1 where there are no more.
    """
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    if len(queries) <= FEW_QUERIES and not compiled.ready():
        for i, query in enumerate(queries):
            order_by_score(query, documents, np.sort(kept[i][kept[i] >= 0]), scores[i], positions[i])
        return scores, positions
    from statim.kernels.search.top_k import settle

    rough = np.zeros((len(queries), 1), np.float32)
    margins, sure = np.zeros(len(queries)), np.empty(len(queries), np.bool_)  # mean nothing here
    workers = pool.count(threads)

    def finish(first: int, last: int) -> None:
        for start in range(first, last, SETTLED):
            part = slice(start, min(start + SETTLED, last))
            wide, places, names = widened(documents, kept[part])
            settle(
                queries[part], wide, rough[part], places, margins[part], scores[part], positions[part],
                sure[part]
            )  # fmt: skip
            if names is not None:
                positions[part] = names[positions[part]]

    share(finish, pool.ranges(len(queries), workers), workers)
    return scores, positions


def widened(documents: Vectors, kept: Positions) -> tuple[Floats, Positions, Positions | None]:
    """Documents in float32, the kept ones' places among them, and their positions; None if the same."""
    if not isinstance(documents, Rows):
        return documents, kept, None
    names = np.unique(kept)
    names = names[np.searchsorted(names, 0) :]
    places = np.where(kept < 0, -1, np.searchsorted(names, kept))
    return documents[names], places, np.append(names, -1)


def share(function: Callable[[int, int], None], rows: list[tuple[int, int]], workers: int) -> None:
    """Call the function for each range of rows, in threads."""
    pool.run([partial(function, first, last) for first, last in rows], workers)


def order_by_score(
    query: Floats, documents: Vectors, near: Positions, scores: Floats, positions: Positions
) -> float:
    """Write the best of the documents at ``near``, ascending, by exact score; return the last, or -inf."""
    exact = dots(query, documents, near)
    order = np.argsort(-exact, kind="stable")[: len(scores)]
    scores[:], positions[:] = -np.inf, -1
    scores[: len(order)], positions[: len(order)] = exact[order], near[order]
    return float(scores[-1])


def dots(query: Floats, documents: Vectors, positions: Positions) -> Floats:
    """Dot products with the documents at ``positions``, in float64: the same for equal vectors anywhere."""
    wide = query.astype(np.float64)
    exact = np.empty(len(positions), np.float32)
    for start in range(0, len(positions), BLOCK):
        part = slice(start, start + BLOCK)
        exact[part] = (documents[positions[part]] * wide).sum(axis=1)
    return exact
