"""Metrics equal pytrec_eval, SciPy and scikit-learn where nothing ties; what ties or is NaN counts against
the model.
"""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from statim.errors import InputError
from statim.evaluation.metrics import (
    NOWHERE,
    accuracy,
    average_precision,
    ranking_metrics,
    spearman,
)

METRICS = [
    "ndcg@1",
    "ndcg@3",
    "ndcg@10",
    "ndcg",
    "mrr",
    "recall@1",
    "recall@5",
    "precision@5",
    "map",
    "map@5",
]
TREC = [
    "ndcg_cut_1", "ndcg_cut_3", "ndcg_cut_10", "ndcg", "recip_rank", "recall_1", "recall_5", "P_5", "map",
    "map_cut_5",
]  # fmt: skip


def random_judgements(random, queries, documents):
    """Grades from -1 to 3, some queries without a relevant document; and a rank for each judged document."""
    owners, judged, grades, ranks = [], [], [], []
    for query in range(queries):
        size = int(random.integers(1, min(8, documents) + 1))
        chosen = random.choice(documents, size, replace=False)
        order = random.permutation(documents)
        owners += [query] * size
        judged += chosen.tolist()
        grades += random.integers(-1, 4, size).tolist()
        ranks += [int(np.flatnonzero(order == document)[0]) + 1 for document in chosen]
        yield order
    yield tuple(map(np.array, (owners, judged, grades, ranks)))


@pytest.mark.parametrize("seed", range(5))
def test_ranking_metrics_equal_trec_eval(seed):
    random = np.random.default_rng(seed)
    documents = [4, 12, 40][seed % 3]
    *orders, (owners, judged, grades, ranks) = random_judgements(random, 30, documents)
    found = ranking_metrics(ranks, owners, grades, count=30, metrics=METRICS)
    qrels = {}
    for owner, document, grade in zip(owners, judged, grades, strict=True):
        qrels.setdefault(f"q{owner}", {})[f"d{document}"] = int(grade)
    run = {
        f"q{i}": {f"d{d}": float(documents - place) for place, d in enumerate(o)}
        for i, o in enumerate(orders)
    }
    names = {"ndcg_cut.1,3,10", "ndcg", "recip_rank", "recall.1,5", "P.5", "map", "map_cut.5"}
    trec = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
    answered = [query for query in range(30) if max(qrels[f"q{query}"].values()) > 0]
    assert found.queries.tolist() == answered
    assert found.left_out == 30 - len(answered)
    for ours, theirs in zip(METRICS, TREC, strict=True):
        expected = [trec[f"q{query}"][theirs] for query in answered]
        np.testing.assert_allclose(found.per_query[ours], expected, atol=1e-6, err_msg=ours)
        assert found.metrics[ours] == pytest.approx(np.mean(expected), abs=1e-6)


def test_documents_that_were_not_found_gain_nothing():
    found = ranking_metrics(np.array([NOWHERE, 2]), np.array([0, 0]), np.array([3, 1]), metrics=METRICS)
    assert found.metrics["map"] == 0.25  # precision 1/2 at the one found, of two relevant
    assert found.metrics["mrr"] == 0.5
    nothing = ranking_metrics(np.array([NOWHERE]), np.array([0]), np.array([1]), metrics=METRICS)
    assert set(nothing.metrics.values()) == {0.0}


def test_mean_reciprocal_rank_is_cut():
    ranks, owners, grades = np.array([3, 11]), np.array([0, 1]), np.array([1, 1])
    found = ranking_metrics(ranks, owners, grades, metrics=["mrr@10", "mrr"])
    assert found.per_query["mrr@10"].tolist() == [1 / 3, 0.0]
    assert found.per_query["mrr"].tolist() == [1 / 3, 1 / 11]


@pytest.mark.parametrize("name", ["ndcg@0", "NDCG@10", "recall", "precision", "f1@3", "", "map@x"])
def test_unknown_metrics_are_refused(name):
    with pytest.raises(InputError, match=r"must be like ndcg@10"):
        ranking_metrics(np.array([1]), np.array([0]), np.array([1]), metrics=[name])


def test_nothing_relevant_is_refused():
    with pytest.raises(InputError, match="no document is relevant"):
        ranking_metrics(np.array([1]), np.array([0]), np.array([0]))


scores = st.floats(-100, 100) | st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf])


@given(st.lists(st.tuples(scores, st.integers(0, 5)), min_size=2, max_size=40))
def test_spearman_equals_scipy_ties_included(pairs):
    predicted, truth = map(np.array, zip(*pairs, strict=True))
    if len(set(truth.tolist())) < 2:
        with pytest.raises(InputError, match="same everywhere"):
            spearman(predicted, truth)
        return
    if len(set((predicted + 0.0).tolist())) < 2:
        assert spearman(predicted, truth) == 0.0
        return
    assert spearman(predicted, truth) == pytest.approx(spearmanr(predicted, truth).statistic, abs=1e-9)


@given(st.integers(5, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_a_nan_prediction_is_worse_than_a_good_one(size, lost, seed):
    random = np.random.default_rng(seed)
    truth = random.permutation(size).astype(float)
    predicted = truth + random.normal(0, 1, size)
    broken = predicted.copy()
    broken[random.choice(size, lost, replace=False)] = math.nan
    assert spearman(broken, truth) <= spearman(predicted, truth) + 1e-12
    assert spearman(np.full(size, math.nan), truth) == pytest.approx(-1)


def test_spearman_refuses_lists_that_do_not_fit():
    with pytest.raises(InputError, match="2 predictions and 3 true scores"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="NaN"):
        spearman([1, 2], [1, math.nan])


@given(st.integers(0, 2**31), st.integers(2, 60))
def test_average_precision_equals_scikit_learn_without_ties(seed, size):
    random = np.random.default_rng(seed)
    values = random.permutation(size).astype(float)
    labels = random.random(size) < 0.4
    labels[random.integers(size)] = True
    expected = average_precision_score(labels, values)
    assert average_precision(values, labels) == pytest.approx(expected, abs=1e-9)


def test_average_precision_is_pessimistic():
    assert average_precision([1, 1, 1, 1], [True, False, False, False]) == 1 / 4
    assert average_precision([math.nan, 0.1], [True, False]) == 1 / 2  # a NaN positive comes last
    assert average_precision([math.nan, 0.9], [False, True]) == 1 / 2  # a NaN negative comes first
    with pytest.raises(InputError, match="0 of them true"):
        average_precision([1, 2], [False, False])


def test_accuracy():
    assert accuracy(["a", "b", "c"], ["a", "b", "d"]) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="as many of both"):
        accuracy([1], [1, 2])
