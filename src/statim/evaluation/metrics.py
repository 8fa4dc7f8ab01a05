"""Figures of merit from ranks, scores and labels. Whatever is tied or NaN counts against the model.

Ranking metrics are those of trec_eval (gains linear in the grade); Spearman's correlation is SciPy's, average
precision and V-measure are scikit-learn's. All agree with those wherever no scores tie.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.errors import InputError

Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

RANKING = ("ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "map")
NOWHERE = int(np.iinfo(np.int64).max)  # the rank of a document that was not found

_NAME = re.compile(r"(ndcg|mrr|recall|precision|map)(?:@([1-9][0-9]{0,8}))?")


@dataclass(frozen=True, eq=False)
class RankingScores:
    """Ranking metrics of m queries.

    Attributes:
        per_query: Metric -> (m,) float64, one value a query, for a paired comparison.
        queries: (m,) int64, which queries these are: those with a relevant document, ascending.
        left_out: How many queries have no relevant document.
    """

    per_query: dict[str, Doubles]
    queries: Positions
    left_out: int

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> its mean over the queries."""
        return {name: float(values.mean()) for name, values in self.per_query.items()}


def ranking_metrics(
    ranks: Positions,
    queries: Positions,
    grades: npt.NDArray[np.integer],
    *,
    count: int | None = None,
    metrics: Sequence[str] = RANKING,
) -> RankingScores:
    """Metrics from the ranks of the relevant documents; nothing else matters to them.

    Args:
        ranks: (k,) the rank of each judged document, from 1; NOWHERE if it was not found. Those of documents
            that are not relevant may be anything.
        queries: (k,) the query of each judgement.
        grades: (k,) how relevant the document is; 0 or less is not at all.
        count: How many queries there are; by default those judged.
        metrics: ``ndcg@k``, ``recall@k``, ``precision@k``, ``mrr``, ``map`` (these two also with @k, the
            first two also without).

    Raises:
        InputError: A metric's name is none of those, or no document is relevant.
    """
    total = len(np.unique(queries)) if count is None else count
    relevant = np.flatnonzero(np.asarray(grades) > 0)
    if len(relevant) == 0:
        raise InputError("no document is relevant to any query, so there is nothing to rank")
    relevant = relevant[np.lexsort((ranks[relevant], queries[relevant]))]
    asked, owners = np.unique(queries[relevant], return_inverse=True)
    stands = np.where(ranks[relevant] == NOWHERE, np.inf, ranks[relevant])
    gains = np.asarray(grades)[relevant].astype(np.float64)
    first = np.searchsorted(owners, np.arange(len(asked)))
    places = np.arange(1, len(owners) + 1) - first[owners]  # 1 for the best placed document of each query
    ideal = gains[np.lexsort((-gains, owners))]
    sizes = np.bincount(owners).astype(np.float64)

    def per_query(values: Doubles) -> Doubles:
        sums: Doubles = np.bincount(owners, weights=values, minlength=len(asked)).astype(
            np.float64, copy=False
        )
        return sums

    scores: dict[str, Doubles] = {}
    for name in metrics:
        kind, k = _parse(name)
        found = stands <= min(k, 2.0**53)  # exact; infinity is not found
        if kind == "ndcg":
            best = per_query(np.where(places <= k, ideal / np.log2(places + 1.0), 0.0))
            scores[name] = per_query(np.where(found, gains / np.log2(stands + 1.0), 0.0)) / best
        elif kind == "mrr":
            scores[name] = np.where(found[first], 1.0 / stands[first], 0.0)
        elif kind == "map":
            scores[name] = per_query(np.where(found, places / stands, 0.0)) / sizes
        else:
            scores[name] = per_query(found.astype(np.float64)) / (sizes if kind == "recall" else k)
    return RankingScores(scores, asked, total - len(asked))


def _parse(name: str) -> tuple[str, int]:
    """A metric's kind and cut."""
    match = _NAME.fullmatch(name)
    if match is None or (match[2] is None and match[1] in ("recall", "precision")):
        raise InputError(
            f"the metric is {name!r}; it must be like ndcg@10, mrr@10, recall@10, precision@10 or map"
        )
    return match[1], int(match[2]) if match[2] else NOWHERE


def spearman(predicted: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Spearman's rank correlation of n predictions with the truth; equal ones share the mean of their ranks.

    A prediction that is NaN is ranked against the truth: lowest where the truth is high, highest where it is
    low. Predictions that are all equal correlate with nothing (0).

    Raises:
        InputError: The two differ in length, or the truth is NaN somewhere or the same everywhere.
    """
    given, true = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if given.shape != true.shape or given.ndim != 1:
        raise InputError(
            f"there are {given.size} predictions and {true.size} true scores; both must be lists of "
            "the same length"
        )
    if len(true) < 2 or np.isnan(true).any() or (true == true[0]).all():
        raise InputError(
            "the true scores are the same everywhere, or NaN; a correlation needs at least two different ones"
        )
    wanted = _mean_ranks(true)
    lost = np.isnan(given)
    if lost.any():
        side = np.where(lost, np.where(wanted > wanted.mean(), -1, 1), 0)
        _, codes = np.unique(
            np.stack([side, np.where(lost, -wanted, given)], axis=1), axis=0, return_inverse=True
        )
        given = codes.reshape(-1).astype(np.float64)
    got = _mean_ranks(given)
    got, wanted = got - got.mean(), wanted - wanted.mean()
    size = float(np.sqrt((got @ got) * (wanted @ wanted)))
    return float(got @ wanted) / size if size > 0 else 0.0


def _mean_ranks(values: Doubles) -> Doubles:
    _, codes, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    ranks: Doubles = (last - (sizes - 1) / 2.0)[codes]
    return ranks


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Average precision of the n pairs' positives; among equal scores negatives rank first.

    Args:
        scores: (n,) higher means positive; NaN ranks a positive pair last and a negative one first.
        labels: (n,) bool.

    Raises:
        InputError: The two differ in length, or no label is true.
    """
    given, positive = np.asarray(scores, np.float64), np.asarray(labels, np.bool_)
    if given.shape != positive.shape or given.ndim != 1 or not positive.any():
        raise InputError(
            f"there are {given.size} scores and {positive.size} labels, {int(positive.sum())} of them "
            "true; there must be as many of both, and a true one"
        )
    given = np.where(np.isnan(given), np.where(positive, -np.inf, np.inf), given)
    ranked = positive[np.lexsort((positive, -given))]
    ranks = np.flatnonzero(ranked) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def accuracy(predicted: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """The share of n predictions that equal the truth.

    Raises:
        InputError: The two differ in length, or are empty.
    """
    given, true = np.asarray(predicted), np.asarray(truth)
    if given.shape != true.shape or given.size == 0:
        raise InputError(
            f"there are {given.size} predictions and {true.size} true labels; there must be as many of "
            "both, and one"
        )
    return float(np.mean(given == true))
