"""Ranks by counting equal ranks by sorting in the worst order, with ties, NaN and zero vectors; and
pytrec_eval without them.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.errors import InputError
from statim.evaluation import ranks as module
from statim.evaluation.metrics import NOWHERE
from statim.evaluation.ranks import ranks_by_vectors, ranks_in_lists
from statim.evaluation.retrieval import ranking_scores
from statim.search.engines.exact_top_k import top_k


def worst_ranks(scores, owners, judged, grades):
    """The oracle: sort every query's documents by score, the less relevant first where they tie."""
    found = []
    for owner, document, grade in zip(owners, judged, grades, strict=True):
        if grade <= 0:
            found.append(NOWHERE)
            continue
        gain = np.zeros(scores.shape[1])
        for o, d, g in zip(owners, judged, grades, strict=True):
            if o == owner and g > 0:
                gain[d] = g
        row = scores[owner]
        row = np.where(np.isnan(row), np.where(gain > 0, -np.inf, np.inf), row)
        order = sorted(range(len(row)), key=lambda d: (-row[d], gain[d]))
        # of documents alike in score and gain any may come first, so each may take any of their places
        alike = [p for p, d in enumerate(order) if (row[d], gain[d]) == (row[document], gain[document])]
        found.append({p + 1 for p in alike})
    return found


def agree(ranks, expected):
    for rank, places in zip(ranks.tolist(), expected, strict=True):
        assert rank == NOWHERE if places == NOWHERE else rank in places


@st.composite
def vectors_and_judgements(draw):
    """Few different vectors, so that many documents tie; zero and NaN vectors among them."""
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    kinds = random.standard_normal((draw(st.integers(1, 6)), draw(st.integers(1, 19)))).astype(np.float32)
    if draw(st.booleans()):
        kinds[0] = 0
    if draw(st.booleans()):
        kinds[-1] = math.nan
    if draw(st.booleans()):
        kinds[-1, 0] = math.inf
    documents = kinds[random.integers(len(kinds), size=draw(st.integers(1, 40)))]
    queries = random.standard_normal((draw(st.integers(1, 8)), kinds.shape[1])).astype(np.float32)
    if draw(st.booleans()):
        queries[0] = draw(st.sampled_from([0.0, math.nan]))
    pairs = {
        (int(random.integers(len(queries))), int(random.integers(len(documents))))
        for _ in range(draw(st.integers(1, 20)))
    }
    owners, judged = map(np.array, zip(*sorted(pairs), strict=True))
    return queries, documents, owners, judged, random.integers(-1, 3, len(owners))


@settings(max_examples=150)
@given(vectors_and_judgements(), st.integers(1, 3))
def test_ranks_are_the_worst_that_the_scores_allow(given_, threads):
    queries, documents, owners, judged, grades = given_
    found = ranks_by_vectors(queries, documents, owners, judged, grades, threads=threads)
    unit_q, unit_d = module._unit(queries), module._unit(documents)
    with np.errstate(all="ignore"):
        scores = (unit_q[:, None, :].astype(np.float64) * unit_d[None].astype(np.float64)).sum(axis=2)
    # equal vectors have equal scores here, since every sum runs in the same order
    agree(found, worst_ranks(scores.astype(np.float32), owners, judged, grades))
    relevant = found[grades > 0]
    for owner in np.unique(owners[grades > 0]):  # no two share a place
        places = relevant[owners[grades > 0] == owner].tolist()
        assert len(set(places)) == len(places)
        assert 1 <= min(places) <= max(places) <= len(documents)


def test_blocks_do_not_matter(monkeypatch):
    random = np.random.default_rng(0)
    documents = random.standard_normal((700, 24)).astype(np.float32)
    documents[300:] = documents[random.integers(0, 300, 400)]  # copies, far apart
    queries = random.standard_normal((90, 24)).astype(np.float32)
    owners, judged = np.repeat(np.arange(90), 3), random.integers(0, 700, 270)
    grades = np.ones(270, np.int32)
    whole = ranks_by_vectors(queries, documents, owners, judged, grades)
    monkeypatch.setattr(module, "QUERIES", 7)
    monkeypatch.setattr(module, "DOCUMENTS", 64)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(
            ranks_by_vectors(queries, documents, owners, judged, grades, threads=threads), whole
        )


def test_copies_of_the_relevant_document_all_come_before_it():
    random = np.random.default_rng(1)
    documents = random.standard_normal((5000, 384)).astype(np.float32)
    copies = [0, 17, 2047, 2048, 4095, 4096, 4999]
    documents[copies] = documents[0]
    ranks = ranks_by_vectors(documents[:1], documents, np.array([0]), np.array([2047]), np.array([1]))
    assert ranks.tolist() == [len(copies)]


def test_order_of_judgements_does_not_matter():
    random = np.random.default_rng(2)
    queries, documents = (random.standard_normal((n, 8)).astype(np.float32) for n in (5, 50))
    owners, judged, grades = random.integers(0, 5, 20), random.permutation(50)[:20], random.integers(0, 3, 20)
    shuffled = random.permutation(20)
    found = ranks_by_vectors(queries, documents, owners, judged, grades)
    again = ranks_by_vectors(queries, documents, owners[shuffled], judged[shuffled], grades[shuffled])
    np.testing.assert_array_equal(again, found[shuffled])


def test_metrics_of_vectors_equal_trec_eval():
    random = np.random.default_rng(3)
    queries, documents = (random.standard_normal((n, 16)).astype(np.float32) for n in (40, 900))
    pairs = sorted({(int(random.integers(40)), int(random.integers(900))) for _ in range(200)})
    owners, judged = map(np.array, zip(*pairs, strict=True))
    grades = random.integers(0, 4, len(pairs)).astype(np.int32)
    data = SimpleNamespace(judged_queries=owners, judged_documents=judged, grades=grades)
    found = ranking_scores(queries, documents, data, metrics=["ndcg@10", "recall@100", "map", "mrr"])
    unit_q, unit_d = module._unit(queries), module._unit(documents)
    run = {
        f"q{i}": {f"d{j}": float(unit_q[i].astype(float) @ unit_d[j].astype(float)) for j in range(900)}
        for i in range(40)
    }
    qrels = {}
    for owner, document, grade in zip(owners, judged, grades, strict=True):
        qrels.setdefault(f"q{owner}", {})[f"d{document}"] = int(grade)
    trec = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map", "recip_rank"}).evaluate(
        run
    )
    names = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "map": "map", "mrr": "recip_rank"}
    for ours, theirs in names.items():
        expected = [trec[f"q{query}"][theirs] for query in found.queries]
        np.testing.assert_allclose(found.per_query[ours], expected, atol=1e-6)


def test_a_model_that_collapsed_scores_nothing():
    data = SimpleNamespace(
        judged_queries=np.arange(20), judged_documents=np.arange(20), grades=np.ones(20, np.int32)
    )
    for value in (0.0, 1.0, math.nan):
        vectors = np.full((300, 8), value, np.float32)
        found = ranking_scores(vectors[:20], vectors, data)
        assert found.metrics["ndcg@10"] == found.metrics["recall@100"] == 0.0
        assert found.metrics["map"] == pytest.approx(1 / 300)


def test_dimensions_must_agree():
    with pytest.raises(InputError, match="the queries have 3 dimensions and the documents 4"):
        ranks_by_vectors(np.ones((1, 3)), np.ones((1, 4)), np.array([0]), np.array([0]), np.array([1]))


@settings(max_examples=100)
@given(vectors_and_judgements(), st.integers(1, 40))
def test_lists_agree_with_vectors_above_their_cut(given_, k):
    queries, documents, owners, judged, grades = given_
    queries, documents = np.nan_to_num(queries), np.nan_to_num(documents, posinf=1.0)
    queries, documents = module._unit(queries), module._unit(documents)
    scores, positions = top_k(queries, documents, k)
    listed = ranks_in_lists(scores, positions, len(documents), owners, judged, grades)
    exact = ranks_by_vectors(queries, documents, owners, judged, grades)
    for owner, document, rank, true in zip(owners, judged, listed, exact, strict=True):
        there = scores[owner][positions[owner] == document]
        cut = len(documents) > positions.shape[1]
        if true == NOWHERE or len(there) == 0 or (cut and there[0] <= scores[owner, -1]):
            assert rank == NOWHERE
        else:
            assert rank == true


def test_a_list_that_ended_by_itself_has_no_ties_behind_it():
    scores = np.array([[3.0, 2.0, -np.inf]], np.float32)
    positions = np.array([[5, 7, -1]])
    ranks = ranks_in_lists(scores, positions, 100, np.array([0, 0]), np.array([7, 8]), np.array([1, 1]))
    assert ranks.tolist() == [2, NOWHERE]


def test_nan_in_a_list_counts_against_the_model():
    scores = np.array([[3.0, math.nan, 1.0]], np.float32)
    positions = np.array([[5, 7, 9]])
    ranks = ranks_in_lists(scores, positions, 3, np.array([0, 0]), np.array([5, 7]), np.array([1, 0]))
    assert ranks.tolist() == [2, NOWHERE]  # the NaN of another document comes first
    ranks = ranks_in_lists(scores, positions, 3, np.array([0]), np.array([7]), np.array([1]))
    assert ranks.tolist() == [NOWHERE]
