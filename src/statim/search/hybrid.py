"""Hybrid search: one ranking from vectors and BM25.

The default ranks by a weighted sum of the two scores, each divided by the query's highest. The score that is
given is that sum times how good the query's best are on a scale that all queries share: the cosine, and the
share of a full match (each of the query's words once, in a document of mean length) that BM25 found. So 1
means as good as can be on both sides, for every query, and an answer to nonsense scores low.

Candidates are the best
documents of either side, and *both* true scores of each are looked up: a document that only one side put
forward has not got 0 from the other, it stands somewhat lower there. This costs a few hundred dot products
and binary searches a query. On six collections it ranked as well as the sum over all documents, with 50
candidates of either side already; 0 for the missing score was worse on every one of them, even with 1,000
candidates, and reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009; k = 60), which sees no scores, was
worse than that.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.search.engines.protocol import Floats, Positions
from statim.search.stores.protocol import VectorSide, WordSide
from statim.settings import WEIGHT

DEPTH = 100  # candidates taken from either side, at least
RANK_CONSTANT = 60
GRID = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, eq=False)
class Candidates:
    """The documents that m hybrid queries choose from, at most c each.

    Attributes:
        positions: (m, c) int64, each document once, ascending; -1 for none.
        vector_scores: (m, c) float32, true cosines; 0 for none.
        vector_ranks: (m, c) int64, from 0; -1 if the document is not among the best vectors.
        bm25_scores: (m, c) float32, true scores; 0 for a document without a word of the query.
        bm25_ranks: (m, c) int64, likewise.
        full_match: (m,) float64, the BM25 score of a full match (see WordSide); 0 for a query without words.
    """

    positions: Positions
    vector_scores: Floats
    vector_ranks: Positions
    bm25_scores: Floats
    bm25_ranks: Positions
    full_match: npt.NDArray[np.float64]


def candidates(
    engine: VectorSide,
    bm25: WordSide,
    vectors: npt.ArrayLike,
    texts: Sequence[str],
    k: int,
    *,
    threads: int | None = None,
) -> Candidates:
    """The best documents of either side for m queries, with both scores and ranks.

    Args:
        engine: Holds the documents' vectors.
        bm25: Holds the words of the same documents.
        vectors: (m, d), the queries' vectors.
        texts: The m queries.
        k: Results wanted; at least k are taken from either side.
        threads: Threads to use.

    Raises:
        InputError: k is below 1, or the vectors are not such as the engine has.
    """
    depth = max(k, DEPTH)
    bm25 = bm25.asked(texts)
    _, nearest = engine.search(vectors, depth, threads=threads)
    _, lexical = bm25.search(texts, depth, threads=threads)
    both = np.sort(np.concatenate([nearest, lexical], axis=1), axis=1)
    both[:, 1:][both[:, 1:] == both[:, :-1]] = -1
    return Candidates(
        both,
        engine.score(vectors, both),
        _ranks(both, nearest),
        bm25.score(texts, both),
        _ranks(both, lexical),
        bm25.full_match(texts),
    )


def fuse_scores(found: Candidates, k: int, *, weight: float = WEIGHT) -> tuple[Floats, Positions]:
    """Rank by ``weight`` times the vector score plus ``1 - weight`` times BM25, each over its highest.

    The scores given are that sum times ``strength``, which changes no query's order.

    Args:
        found: The candidates of m queries.
        k: How many to return.
        weight: 1 is vectors alone, 0 is BM25 alone; a side of no weight puts no documents forward.

    Returns:
        As an engine's ``search``: (m, at most k) scores and positions, -inf and -1 where there are no more.

    Raises:
        InputError: ``weight`` is not between 0 and 1.
    """
    if not 0 <= weight <= 1:
        raise InputError(f"weight is {weight!r}; it must be between 0 (BM25 alone) and 1 (vectors alone)")
    total = weight * _over(found.vector_scores, found.vector_scores)
    total += (1 - weight) * _over(found.bm25_scores, found.bm25_scores)
    forward = ((weight > 0) & (found.vector_ranks >= 0)) | ((weight < 1) & (found.bm25_ranks >= 0))
    scores, positions = _best(total, np.where(forward, found.positions, -1), k)
    scaled = np.where(positions >= 0, scores, 0) * strength(found, weight)[:, None]
    return np.where(positions >= 0, scaled, -np.inf).astype(np.float32), positions


def fused(
    found: Candidates, vector_scores: Floats, bm25_scores: Floats, weight: float
) -> npt.NDArray[np.float64]:
    """The hybrid scores of other documents, (m, c), from their true scores, (m, c) each."""
    total = weight * _over(vector_scores, found.vector_scores)
    total += (1 - weight) * _over(bm25_scores, found.bm25_scores)
    scaled: npt.NDArray[np.float64] = total * strength(found, weight)[:, None]
    return scaled


def strength(found: Candidates, weight: float) -> npt.NDArray[np.float64]:
    """What m queries' weighted sums are multiplied by, (m,).

    The sum of a document that is the best on each side that has any then becomes how good that is, from 0 to
    1, on a scale that all queries share.
    """
    cosine = np.minimum(found.vector_scores.max(axis=1, initial=0).astype(np.float64), 1)
    best = found.bm25_scores.max(axis=1, initial=0).astype(np.float64)
    matched = np.minimum(best / np.where(found.full_match > 0, found.full_match, 1), 1)
    highest = weight * (cosine > 0) + (1 - weight) * (best > 0)
    combined: npt.NDArray[np.float64] = weight * cosine + (1 - weight) * matched
    return combined / np.where(highest > 0, highest, 1)


def fuse_ranks(found: Candidates, k: int) -> tuple[Floats, Positions]:
    """Rank by reciprocal rank fusion: the sum of 1 / (60 + rank) over the sides that put a document forward.

    Args:
        found: The candidates of m queries.
        k: How many to return.

    Returns:
        As ``fuse_scores``.
    """
    total = np.zeros(found.positions.shape)
    for ranks in (found.vector_ranks, found.bm25_ranks):
        total += np.where(ranks >= 0, 1 / (RANK_CONSTANT + 1 + ranks), 0)
    return _best(total, found.positions, k)


def tune_weight(
    found: Candidates, measure: Callable[[Positions], float], *, k: int = 10, grid: Iterable[float] = GRID
) -> tuple[float, float]:
    """The weight that does best on a development set (never a test set).

    Args:
        found: The candidates of the development queries.
        measure: Gives the worth of ranked positions (m, k), -1 for none, e.g. their mean NDCG@10; higher is
            better.
        k: How many ranks ``measure`` sees.
        grid: The weights to try.

    Returns:
        The weight and its worth; see ``best_weight``.
    """
    weights = list(grid)
    worth = [measure(fuse_scores(found, k, weight=weight)[1]) for weight in weights]
    weight = best_weight(weights, worth)
    return weight, worth[weights.index(weight)]


def best_weight(weights: Sequence[float], worth: Sequence[float]) -> float:
    """The weight whose worth, averaged with its neighbours', is highest; of equals the one nearest to 0.5.

    A single weight that is good by chance, as happens with few queries, does not win so.
    """
    levels = [float(np.mean(worth[max(0, i - 1) : i + 2])) for i in range(len(weights))]
    ranked = [
        (round(level, 9), -abs(weight - WEIGHT), weight)
        for level, weight in zip(levels, weights, strict=True)
    ]
    return max(ranked)[2]


def _ranks(positions: Positions, ranked: Positions) -> Positions:
    """Where each of ``positions`` (m, c) stands in the same row of ``ranked`` (m, r), or -1."""
    ranks = np.full(positions.shape, -1, np.int64)
    if ranked.shape[1] == 0:
        return ranks
    for row, order, out in zip(positions, ranked, ranks, strict=True):
        by_position = np.argsort(order, kind="stable")
        place = np.minimum(np.searchsorted(order, row, sorter=by_position), len(order) - 1)
        hit = (order[by_position[place]] == row) & (row >= 0)
        out[hit] = by_position[place[hit]]
    return ranks


def _over(scores: Floats, candidates: Floats) -> npt.NDArray[np.float64]:
    """Scores over the highest of their row's candidates; 0 for a row without any above 0."""
    highest = candidates.max(axis=1, keepdims=True, initial=0).astype(np.float64)
    return np.where(highest > 0, scores / np.where(highest > 0, highest, 1), 0)


def _best(total: npt.NDArray[np.float64], positions: Positions, k: int) -> tuple[Floats, Positions]:
    scores = np.where(positions >= 0, total, -np.inf).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # positions ascend, so ties go to the lower one
    chosen = np.take_along_axis(scores, order, 1)
    return chosen, np.where(chosen > -np.inf, np.take_along_axis(positions, order, 1), -1)
