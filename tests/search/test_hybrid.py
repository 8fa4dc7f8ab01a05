import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.errors import InputError
from statim.search import hybrid
from statim.search.engines.exact import Exact
from statim.search.lexical.bm25 import BM25

QUERIES = [
    "parse command line arguments",
    "copy a file",
    "the",
    "",
    "zzzz",
    "median of numeric data",
    "zip archive",
]


@pytest.fixture(scope="module")
def sides(texts, model):
    engine = Exact(model.dim)
    engine.add(model.encode(texts))
    return engine, BM25.build(texts), model.encode(QUERIES)


def everything(sides, n):
    """Both scores of every document: the oracle."""
    engine, bm25, vectors = sides
    everywhere = np.broadcast_to(np.arange(n), (len(QUERIES), n))
    return engine.score(vectors, everywhere), bm25.score(QUERIES, everywhere)


def full_match(bm25, texts):
    """The oracle: each word of a query once, in a document of mean length, by BM25's formula."""
    held = [set(bm25.analyzer.terms(text)) for text in texts]
    found = []
    for query in QUERIES:
        dfs = [sum(word in words for words in held) for word in bm25.analyzer.query_terms(query)]
        found.append(sum(np.log(1 + (len(texts) - df + 0.5) / (df + 0.5)) for df in dfs) / (1 + 1.5))
    np.testing.assert_allclose(bm25.full_match(QUERIES), found, rtol=1e-12)
    return found


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_sum_over_all_documents(sides, texts, weight):
    vector, lexical = everything(sides, len(texts))
    expected = np.zeros(vector.shape)
    whole = full_match(sides[1], texts)
    for row in range(len(QUERIES)):
        if vector[row].max() > 0:
            expected[row] += weight * vector[row] / vector[row].max()
        if lexical[row].max() > 0:
            expected[row] += (1 - weight) * lexical[row] / lexical[row].max()
        matched = min(1, lexical[row].max() / whole[row]) if whole[row] else 0
        cosine = min(1, max(0, vector[row].max()))
        sides_with_any = weight * (cosine > 0) + (1 - weight) * (matched > 0)
        expected[row] *= (weight * cosine + (1 - weight) * matched) / (sides_with_any or 1)
    found = hybrid.candidates(*sides[:2], sides[2], QUERIES, 10)
    scores, positions = hybrid.fuse_scores(found, 10, weight=weight)
    for row in range(len(QUERIES)):
        order = np.argsort(-expected[row].astype(np.float32), kind="stable")[:10]
        if weight == 0:
            order = order[lexical[row][order] > 0]
        if not sides[2][row].any() and weight > 0:
            continue  # without a vector there are the documents with its words, and "the" and "" have none
        np.testing.assert_array_equal(positions[row][: len(order)], order)
        assert (positions[row][len(order) :] == -1).all()
        np.testing.assert_allclose(scores[row][: len(order)], expected[row][order], rtol=1e-6)


def test_all_weight_on_one_side_is_that_side(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, vectors, QUERIES, 10)
    for weight, (_, alone) in {1: engine.search(vectors, 10), 0: bm25.search(QUERIES, 10)}.items():
        np.testing.assert_array_equal(hybrid.fuse_scores(found, 10, weight=weight)[1], alone)


def test_candidates_hold_each_document_once_with_its_ranks(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, vectors, QUERIES, 3)
    nearest, lexical = engine.search(vectors, 100)[1], bm25.search(QUERIES, 100)[1]
    for row in range(len(QUERIES)):
        there = found.positions[row] >= 0
        assert sorted(found.positions[row][there]) == sorted((set(nearest[row]) | set(lexical[row])) - {-1})
        for ranks, ranked in ((found.vector_ranks, nearest), (found.bm25_ranks, lexical)):
            for position, rank in zip(found.positions[row][there], ranks[row][there], strict=True):
                assert rank == (list(ranked[row]).index(position) if position in ranked[row] else -1)
        assert (found.vector_ranks[row][~there] == -1).all()
        assert (found.bm25_ranks[row][~there] == -1).all()


def test_reciprocal_ranks(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, vectors, QUERIES, 10)
    scores, positions = hybrid.fuse_ranks(found, 10)
    for row in range(len(QUERIES)):
        worth: dict[int, float] = {}
        for ranked in (engine.search(vectors, 100)[1][row], bm25.search(QUERIES, 100)[1][row]):
            for rank, position in enumerate(ranked[ranked >= 0].tolist(), 1):
                worth[position] = worth.get(position, 0) + 1 / (60 + rank)
        order = sorted(worth, key=lambda position: (-np.float32(worth[position]), position))[:10]
        assert positions[row][positions[row] >= 0].tolist() == order
        np.testing.assert_allclose(scores[row][: len(order)], [worth[p] for p in order], rtol=1e-6)


def test_a_query_without_words_or_tokens_finds_nothing(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, np.zeros_like(vectors[:1]), [""], 10)
    for scores, positions in (hybrid.fuse_scores(found, 10), hybrid.fuse_ranks(found, 10)):
        assert (positions == -1).all()
        assert (scores == -np.inf).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 8), st.integers(1, 12), st.floats(0, 1))
def test_order_and_shape(data, n, k, weight):
    numbers = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=n, max_size=n)
    vector = np.array([data.draw(numbers)], np.float32)
    lexical = np.abs(np.array([data.draw(numbers)], np.float32))
    ranks = np.arange(n)[None]
    found = hybrid.Candidates(np.arange(n)[None] * 3, vector, ranks, lexical, ranks, np.array([3.0]))
    scores, positions = hybrid.fuse_scores(found, k, weight=weight)
    assert scores.shape == positions.shape == (1, min(k, n))
    pairs = list(zip(-scores[0], positions[0], strict=True))
    assert pairs == sorted(pairs)
    assert len(set(positions[0].tolist())) == min(k, n)
    assert (scores <= 1 + 1e-6).all()


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weights_out_of_range(sides, weight):
    found = hybrid.candidates(*sides[:2], sides[2], QUERIES, 3)
    with pytest.raises(InputError, match="between 0"):
        hybrid.fuse_scores(found, 3, weight=weight)


def test_scores_are_on_one_scale(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, vectors, QUERIES, 10)
    scores, positions = hybrid.fuse_scores(found, 10)
    full, nonsense = QUERIES.index("zip archive"), QUERIES.index("zzzz")
    assert scores[full, 0] > 0.7
    # without a word of it anywhere, half of the cosine is left
    cosines = engine.search(vectors, 10)[0]
    np.testing.assert_allclose(scores[nonsense], cosines[nonsense] / 2, rtol=1e-6)
    rows = np.arange(len(QUERIES))[:, None]
    there = positions >= 0
    places = np.where(there, positions, 0)
    again = hybrid.fused(found, engine.score(vectors, places), bm25.score(QUERIES, places), 0.5)
    np.testing.assert_allclose(again[rows, np.arange(10)][there], scores[there], rtol=1e-6)


def test_a_weight_that_is_good_by_chance_does_not_win():
    weights = [step / 10 for step in range(11)]
    worth = [0.3, 0.3, 0.9, 0.3, 0.3, 0.5, 0.6, 0.7, 0.7, 0.6, 0.5]
    assert hybrid.best_weight(weights, worth) == 0.7
    assert hybrid.best_weight(weights, [step / 10 for step in range(11)]) == 1.0
    assert hybrid.best_weight(weights, [0.4] * 11) == 0.5


def test_tuning_takes_the_best_weight(sides):
    engine, bm25, vectors = sides
    found = hybrid.candidates(engine, bm25, vectors, QUERIES, 10)
    nearest = engine.search(vectors, 1)[1][:, 0]
    weight, worth = hybrid.tune_weight(found, lambda positions: float((positions[:, 0] == nearest).mean()))
    assert weight > 0.5
    assert worth == max(
        float((hybrid.fuse_scores(found, 10, weight=w)[1][:, 0] == nearest).mean()) for w in hybrid.GRID
    )
    assert hybrid.tune_weight(found, lambda positions: 0.0) == (0.5, 0.0)
