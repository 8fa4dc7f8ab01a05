"""Products of bytes: the same whole numbers as numpy's, and a screen that lets nothing through that belongs
to the best.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from statim.kernels import int8_dot
from statim.kernels.search import best_bytes
from statim.kernels.search import bytes as kernel
from statim.search.engines import exact_top_k, ivf, screen
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.screen import Kept, Panels, Rounded, Screen


def vectors(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def brute_force(queries, documents, k):
    """The best k in float64, ties by position."""
    scores = (queries.astype(np.float64) @ documents.T.astype(np.float64)).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def check_same(monkeypatch, queries, documents, k):
    """With products of bytes first the result is the same, bit for bit."""
    monkeypatch.setattr(exact_top_k, "FEW", -1)
    expected = top_k(queries, documents, k)
    monkeypatch.setattr(exact_top_k, "has_bytes", lambda: True)
    found = top_k(queries, documents, k, half=True)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@given(st.integers(1, 40), st.integers(1, 150), st.integers(1, 70), st.integers(1, 30), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_what_is_kept_is_the_best_by_whole_numbers(m, n, d, least, seed):
    random = np.random.default_rng(seed)
    asked, given = Rounded(vectors(m, d, seed)), Rounded(vectors(n, d, seed + 1))
    order = np.concatenate([random.permutation(n), np.full(-n % kernel.PANEL, -1)]).astype(np.int32)
    panels, kept = Panels(given, order), Kept(asked, least)
    which = np.flatnonzero(random.random(m) < 0.8).astype(np.int32)
    half = len(order) // 32 * 16
    for bounds in ((0, half), (half, len(order))):
        kept.offer(panels, which, *bounds)
    kept.tighten()
    truth = (asked.rows.astype(np.int64) @ given.rows.T.astype(np.int64)).astype(np.float32) * given.scales
    for q in range(m):
        assert kept.counts[q] == (min(n, least) if q in which else 0)
        found = kept.names[q, : kept.counts[q]]
        assert len(set(found.tolist())) == len(found)
        np.testing.assert_array_equal(kept.scores[q, : len(found)], truth[q, found])
        np.testing.assert_array_equal(np.sort(truth[q, found]), np.sort(truth[q])[n - len(found) :])
        if n >= least and q in which:
            assert kept.floors[q] == truth[q, found].min()


def test_without_the_instruction(monkeypatch):
    """A tile is right on processors that lack it."""
    monkeypatch.setattr(int8_dot, "FAST_BYTES", False)
    tile = kernel._tile_of(kernel.ROWS, 1)

    @njit
    def run(queries, begins, which, panels, scales, steps, floors, out, hits):
        tile(queries, begins, which, 0, panels, scales, 0, steps, floors, out, hits)

    random = np.random.default_rng(0)
    rows, asked = (random.integers(-127, 128, (n, 20)).astype(np.int8) for n in (kernel.PANEL, kernel.ROWS))
    panels, out = np.empty(rows.size, np.uint8), np.zeros((kernel.ROWS, kernel.WIDE), np.float32)
    kernel.to_panels(rows, np.arange(len(rows), dtype=np.int32), panels)
    begins = -int8_dot.SHIFT * asked.sum(axis=1, dtype=np.int32)
    which = np.random.default_rng(1).permutation(len(asked)).astype(np.int32)
    scales = np.ones(len(rows), np.float32)
    floors, hits = np.linspace(-1e5, 1e5, len(asked)).astype(np.float32), np.zeros(len(asked), np.uint64)
    run(asked.view(np.int32), begins, which, panels, scales, 5, floors, out, hits)
    expected = asked[which].astype(np.int64) @ rows.T.astype(np.int64)
    above = expected > floors[which][:, None]
    assert above.any()
    np.testing.assert_array_equal(hits, (above * 2 ** np.arange(len(rows))).sum(axis=1))
    np.testing.assert_array_equal(out[:, : kernel.PANEL], expected)
    assert (out[:, kernel.PANEL :] == 0).all()


def test_rounding_and_what_it_loses():
    some = vectors(50, 21)
    some[3], some[4], some[5] = 0, 1e38 * some[4] / np.abs(some[4]).max(), 1e-40
    rounded = Rounded(some)
    assert rounded.rows.shape == (50, 24)
    assert (rounded.rows[:, 21:] == 0).all()
    assert np.abs(rounded.rows.astype(int)).max() == 127
    back = rounded.rows[:, :21].astype(np.float64) * rounded.scales[:, None].astype(np.float64)
    np.testing.assert_allclose(rounded.lost, np.linalg.norm(some - back, axis=1), rtol=1e-9)
    long = np.linalg.norm(some[6:], axis=1)
    assert (rounded.lost[6:] < 0.02 * long).all()
    np.testing.assert_array_equal(rounded.begins, -int8_dot.SHIFT * rounded.rows.astype(np.int64).sum(axis=1))


@pytest.mark.parametrize("kind", ["plain", "clustered", "copies", "uneven"])
@pytest.mark.parametrize("k", [1, 10, 70])
def test_the_screen_loses_nothing(kind, k):
    documents, queries = vectors(4000, 40), vectors(90, 40, 1)
    if kind == "clustered":
        documents = vectors(9, 40, 2)[np.arange(4000) % 9] + 0.1 * documents
    elif kind == "copies":
        documents = np.repeat(documents[:50], 80, axis=0)
    elif kind == "uneven":
        documents[:, 0] *= 40
        queries[:, 0] *= 0.01
    excluded = np.arange(0, 4000, 7)
    places, worst, error = Screen(documents, excluded)(queries, k, 96)
    truth = queries.astype(np.float64) @ documents.T.astype(np.float64)
    truth[:, excluded] = -np.inf
    some = 0
    for q in range(len(queries)):
        found = places[q][places[q] >= 0]
        assert not set(found.tolist()) & set(excluded.tolist())
        border = np.sort(truth[q, found])[-k]
        others = np.delete(truth[q], found).max()
        if border > worst[q, 0] + error[q]:
            some += 1
            assert others <= border
    assert kind != "plain" or some > 60


def test_top_k_by_bytes_is_the_same(monkeypatch):
    """Bit for bit; with copies, zero vectors, and a query that is zero."""
    queries, documents = vectors(150, 33, 5), vectors(5000, 33, 6)
    documents[200:400], documents[7], queries[11] = documents[1000], 0, 0
    queries[12] = documents[1000]
    monkeypatch.setattr(exact_top_k, "FEW", -1)
    expected = top_k(queries, documents, 20)
    seen = []
    screened = exact_top_k._Search.screened

    def spy(search, screen, spare, which):
        left = screened(search, screen, spare, which)
        seen.append((spare, len(left)))
        return left

    monkeypatch.setattr(exact_top_k._Search, "screened", spy)
    monkeypatch.setattr(exact_top_k, "has_bytes", lambda: True)
    for threads in (1, 2):
        found = top_k(queries, documents, 20, half=True, threads=threads)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert seen[:2] == seen[2:]  # the same with one thread
    (first, some), (then, fewer) = seen[:2]
    assert first < then
    assert 2 <= some < 20  # those two at least cannot be certain at first
    assert 1 <= fewer < some  # with more room all copies fit; a query of zero never is certain
    scores, positions = brute_force(queries, documents, 20)
    np.testing.assert_array_equal(found[1], positions)
    np.testing.assert_allclose(found[0], scores, rtol=1e-6)


def test_large_documents_are_not_all_held(monkeypatch):
    monkeypatch.setattr(exact_top_k, "FEW", -1)
    monkeypatch.setattr(exact_top_k, "MOST", 100)
    monkeypatch.setattr(exact_top_k, "has_bytes", lambda: True)
    monkeypatch.setattr(exact_top_k, "Screen", None)
    queries, documents = vectors(20, 8), vectors(300, 8)
    np.testing.assert_array_equal(
        top_k(queries, documents, 5, half=True)[1], brute_force(queries, documents, 5)[1]
    )


def test_a_sample_that_misleads(monkeypatch):
    """Where floors are too high, no query is certain, and results are the same."""
    queries, documents = vectors(40, 24, 8), vectors(3000, 24, 9)
    documents[:300] = 3 * queries[np.arange(300) % 40]  # what is sampled is far closer than the rest
    monkeypatch.setattr(screen, "sampled", lambda there: screen.filled(there[:300]))
    places, _, _ = Screen(documents, np.zeros(0, np.int64))(queries, 30, 10)
    assert ((places >= 0).sum(axis=1) < 30).all()
    check_same(monkeypatch, queries, documents, 30)


@pytest.mark.parametrize("width", [4, 60, 64, 68, 132, 4096])
def test_narrowing_goes_by_whole_numbers(width):
    random = np.random.default_rng(width)
    queries, rows = (random.integers(-127, 128, (n, width)).astype(np.int8) for n in (3, 40))
    queries[2], rows[5], rows[6] = 127, 127, -127
    scales, begins = np.ones(40, np.float32), -int8_dot.SHIFT * rows.sum(axis=1, dtype=np.int32)
    names, counts = (
        np.array([random.permutation(40) for _ in range(3)], np.int32),
        np.array([40, 0, 7], np.int32),
    )
    asked = names[2, :7].tolist()
    places = np.empty((3, 9), np.int64)
    best_bytes.narrow(queries, rows, scales, begins, names, counts, places)
    truth = (queries.astype(np.int64) @ rows.T.astype(np.int64)).astype(np.float32)
    np.testing.assert_array_equal(np.sort(truth[0, places[0]]), np.sort(truth[0])[-9:])
    assert (places[1] == -1).all()
    assert sorted(places[2].tolist()) == sorted([*asked, -1, -1])


def test_many_copies_and_zero_queries_are_found_by_the_index(monkeypatch):
    """Floors estimated from copies leave room for these copies; no query falls back on exact search."""
    documents = vectors(4000, 32, 3)
    documents[:1000] = documents[0]
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    queries = documents[0] + 0.05 * vectors(200, 32, 4)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    queries[:20] = 0
    index = ivf.Approximate(documents, queries[20:], 10)
    monkeypatch.setattr(ivf, "top_k", None)
    scores, positions = index(queries, 10)
    assert (positions >= 0).all()
    assert (positions[20:] < 1000).mean() > 0.9
    assert (scores[:20] == 0).all()


def test_vectors_that_are_exact_in_bytes(monkeypatch):
    """Nothing is lost by rounding vectors then, but scores are rounded still."""
    random = np.random.default_rng(7)
    documents = random.integers(-127, 128, (800, 512)).astype(np.float32)
    documents[:, 0] = 127
    documents *= np.exp2(random.integers(-2, 2, (800, 1))).astype(np.float32)
    queries = random.integers(-127, 128, (40, 512)).astype(np.float32)
    check_same(monkeypatch, queries, documents, 10)


@pytest.mark.parametrize(("documents_by", "queries_by"), [(1e20, 1.0), (1e37, 1e-10), (1e-25, 1e-3)])
def test_lengths_that_float32_hardly_holds(monkeypatch, documents_by, queries_by):
    documents, queries = (
        vectors(300, 8, 1) * np.float32(documents_by),
        vectors(12, 8, 2) * np.float32(queries_by),
    )
    check_same(monkeypatch, queries, documents, 30)
