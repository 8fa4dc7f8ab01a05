"""The index for many queries against exhaustive search."""

import numpy as np
import pytest

from statim.search.engines import ivf
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.ivf import Approximate, by_cell, in_cells, principal
from statim.search.engines.matrices import unit


def made(kind, n=5000, d=48, queries=700):
    """Queries and documents of length 1."""
    random = np.random.default_rng(4)
    documents = random.standard_normal((n, d))
    if kind == "clustered":
        documents = 2 * random.standard_normal((60, d))[random.integers(60, size=n)] + documents
    elif kind == "copies":
        documents = documents[random.integers(n // 40, size=n)]
    elif kind == "few directions":
        documents = documents[:, :6] @ random.standard_normal((6, d)) + 0.01 * documents
    asked = documents[random.integers(n, size=queries)] + 0.5 * random.standard_normal((queries, d))
    return unit(asked.astype(np.float32))[0], unit(documents.astype(np.float32))[0]


def recall(truth, scores, depth):
    """Of equal scores any will do."""
    return float((scores[:, :depth] >= truth[:, depth - 1 : depth]).mean())


@pytest.mark.parametrize("kind", ["clustered", "uniform", "copies", "few directions"])
def test_recall(kind):
    queries, documents = made(kind)
    index = Approximate(documents, queries[::2], 20)
    assert 0.99 <= index.recall <= 1
    rest = queries[1::2]
    scores, positions = index(rest, 20)
    truth, _ = top_k(rest, documents, 20)
    assert recall(truth, scores, 10) > 0.975
    assert scores.dtype == np.float32
    assert positions.dtype == np.int64
    assert (np.diff(scores, axis=1) <= 0).all()
    for row in positions:
        assert len(set(row.tolist())) == 20
    whole, order = top_k(rest, documents, len(documents))  # scores are the same bits
    for q in range(0, len(rest), 50):
        by_position = np.empty(len(documents), np.float32)
        by_position[order[q]] = whole[q]
        np.testing.assert_array_equal(by_position[positions[q]], scores[q])
    again = Approximate(documents, queries[::2], 20)(rest, 20)
    np.testing.assert_array_equal(again[1], positions)


def test_it_leaves_most_of_clustered_documents_out():
    queries, documents = made("clustered")
    index = Approximate(documents, queries, 10)
    cells = ivf.beside(index._few(queries), index._centres, index._margin)[2]
    assert np.diff(index._starts)[cells].sum() < 0.3 * len(queries) * len(documents)


@pytest.mark.parametrize(("n", "k"), [(1, 3), (5, 5), (40, 33), (40, 100), (300, 290)])
def test_few_documents(n, k):
    """Fewer than there are in a panel, fewer than are asked for, more asked for than a cell has: then all are
    found.
    """
    queries, documents = made("uniform", n, 16, 30)
    index = Approximate(documents, queries, k)
    scores, positions = index(queries, k)
    truth, expected = top_k(queries, documents, k)
    assert scores.shape == truth.shape == (30, min(n, k))
    assert recall(truth, scores, min(n, k, 10)) >= 0.99
    assert (positions >= 0).all()
    if k >= n:
        np.testing.assert_array_equal(positions, expected)


def test_zero_vectors_and_nothing_but_one_direction():
    queries, documents = made("uniform", 2500, 16, 50)
    documents[::3], queries[7] = 0, 0
    index = Approximate(documents, queries, 10)
    scores, _ = index(queries, 10)
    truth, _ = top_k(queries, documents, 10)
    assert recall(truth, scores, 10) >= 0.99
    assert (scores[7] == 0).all()
    same = np.repeat(documents[1:2], 2500, axis=0)
    assert Approximate(same, queries, 10).recall == 1


def test_an_aim_that_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(ivf, "RECALL", 1.1)
    queries, documents = made("clustered", 2000)
    assert Approximate(documents, queries[:64], 10).recall == 1


def test_its_parts():
    own = np.array([2, 0, 2, 2, 0], np.int32)
    order, starts = in_cells(own, 4, 4)
    np.testing.assert_array_equal(starts, [0, 4, 4, 8, 8])
    np.testing.assert_array_equal(order, [1, 4, -1, -1, 0, 2, 3, -1])
    rows, offsets = by_cell(np.array([0, 0, 1, 2], np.int32), np.array([3, 1, 1, 3], np.int32), 4)
    np.testing.assert_array_equal(rows, [0, 1, 0, 2])
    np.testing.assert_array_equal(offsets, [0, 0, 2, 2, 4])
    _, documents = made("few directions")
    basis = principal(documents)
    assert basis.shape == (48, 16)
    np.testing.assert_allclose(basis.T @ basis, np.eye(16), atol=1e-5)
    assert ((documents @ basis) ** 2).sum() >= 0.85 * (documents**2).sum()
