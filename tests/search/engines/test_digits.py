"""Queries of 16 bits times rows of bytes: the same whole numbers as numpy's int64, and the same results as
every vector in float64.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from statim.kernels import int8_dot
from statim.kernels import int16_dot as kernel
from statim.search.engines import exact_top_k
from statim.search.engines.exact import Exact
from statim.search.engines.stored_vectors import Rows, one_pass

TOP = 32512
DIMENSIONS = (64, 65, 100, 127, 128, 129, 383, 384, 385, 1000)


def whole(query):
    """The oracle of rounding: numbers to either side of zero, the largest of them TOP."""
    most = np.abs(query.astype(np.float64)).max()
    return np.rint(query.astype(np.float64) / (most / TOP if most else 1)).astype(np.int64)


def check(rows, queries):
    digits, scales, lost = kernel.to_digits(queries)
    for query, own, scale, gone in zip(queries, digits, scales, lost, strict=True):
        out = np.full(len(rows) + 1, 7, np.float32)
        kernel.products(rows, own, out)
        np.testing.assert_array_equal(out[:-1], (rows.astype(np.int64) @ whole(query)).astype(np.float32))
        assert out[-1] == 7  # what comes after is left alone
        wide = rows.astype(np.float64)
        missed = np.abs(wide @ (whole(query) * scale) - wide @ query.astype(np.float64))
        slack = 1e-13 * np.linalg.norm(query.astype(np.float64))  # of float64 itself
        assert (missed <= (gone + slack) * np.linalg.norm(wide, axis=1)).all()
        assert gone <= 0.51 * scale * np.sqrt(len(query))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_products_are_those_of_whole_numbers(d):
    random = np.random.default_rng(d)
    rows = random.integers(-128, 128, (70, d), dtype=np.int8)
    queries = random.standard_normal((4, d)).astype(np.float32)
    queries[3] = 0
    rows[5] = 0
    check(rows, queries)
    check(rows[:1], queries)
    check(rows[:0], queries)


@pytest.mark.parametrize("d", [64, 97, 384, kernel.WIDEST - 1])
def test_extremes_do_not_overflow(d):
    rows = np.repeat(np.array([-128, 127, -127], np.int8)[:, None], d, axis=1)
    rows = np.concatenate([rows, np.where(np.arange(d) % 2, 127, -128)[None].astype(np.int8)])
    ones = np.ones(d, np.float32)
    # digits are 127 and 127, -127 and -127, and (the number 32258) 127 and -127
    low = np.float32(32258 / TOP) * ones
    low[0] = 1
    signs = np.where(np.arange(d) % 2, 1, -1).astype(np.float32)
    check(rows, np.stack([ones, -ones, low, -low, signs]))


@given(st.integers(64, 200), st.integers(1, 40), st.integers(0, 1000), st.sampled_from([1e-30, 1.0, 1e30]))
@settings(max_examples=60, deadline=None)
def test_any_shape_and_size(d, n, seed, size):
    random = np.random.default_rng(seed)
    queries = (random.standard_normal((2, d)) * random.choice([0, 1, 1e-3], d)).astype(np.float32)
    check(random.integers(-128, 128, (n, d), dtype=np.int8), (queries * size).astype(np.float32))


def test_without_the_instruction(monkeypatch):
    """It is right on processors that lack it, where it is slow and one_pass does not take it."""
    monkeypatch.setattr(int8_dot, "FAST_BYTES", False)
    made = njit(kernel.products.py_func)  # compiled again
    random = np.random.default_rng(0)
    rows, query = random.integers(-128, 128, (9, 100), dtype=np.int8), random.standard_normal((1, 100))
    digits, _, _ = kernel.to_digits(query.astype(np.float32))
    out = np.empty(9, np.float32)
    made(rows, digits[0], out)
    np.testing.assert_array_equal(
        out, (rows.astype(np.int64) @ whole(query[0].astype(np.float32))).astype(np.float32)
    )


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 1100])
@pytest.mark.parametrize("d", [63, 64, 150])
def test_one_pass_keeps_the_best(n, d, fast, monkeypatch):
    """With and without products of bytes, on one thread and more; what is left out exceeds nothing."""
    monkeypatch.setattr(int8_dot, "FAST_BYTES", fast)
    random = np.random.default_rng(n)
    data, scales = (
        random.integers(-128, 128, (n, d), dtype=np.int8),
        random.uniform(0.001, 0.002, n).astype(np.float32),
    )
    queries = random.standard_normal((3, d)).astype(np.float32)
    excluded = np.flatnonzero(random.random(n) < 0.2)
    stored = data.astype(np.float64) * scales[:, None].astype(np.float64)
    truth, longest = queries.astype(np.float64) @ stored.T, float(np.linalg.norm(stored, axis=1).max())
    truth[:, excluded] = -np.inf
    for threads in (1, 3):
        scores, kept, worst = one_pass(Rows(data, scales), queries, 5, longest, excluded, threads)
        for q in range(3):
            there = kept[q] >= 0
            assert not np.isin(kept[q], excluded).any()
            np.testing.assert_allclose(scores[q][there], truth[q, kept[q][there]], rtol=1e-3, atol=1e-3)
            others = np.delete(truth[q], kept[q][there])
            assert others.max(initial=-np.inf) <= worst[q] + 1e-5
        alive = n - len(excluded)
        assert ((kept >= 0).sum(axis=1) >= min(alive, 5)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(64, 140), st.integers(1, 400), st.integers(1, 8), st.integers(1, 30), st.integers(0, 99))
def test_search_is_brute_force_over_what_is_stored(d, n, m, k, seed):
    """Ties, near-copies, zero vectors and deleted ones; both ways through the numbers."""
    random = np.random.default_rng(seed)
    vectors = random.choice(np.array([-1.0, 0.0, 0.5, 1.0], np.float32), (n, d))
    vectors[random.random(n) < 0.3] = vectors[0]
    vectors[random.random(n) < 0.1] = 0
    queries = random.standard_normal((m, d)).astype(np.float32)
    queries[random.random(m) < 0.2] = 0
    engine = Exact(d, "int8")
    engine.add(vectors)
    engine.delete(random.integers(n, size=n // 5))
    stored = np.asarray(engine.vectors[0:n], np.float64)
    long = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
    unit = (queries / np.where(long > 0, long, 1)).astype(np.float32).astype(np.float64)
    truth = (stored * unit[:, None, :]).sum(axis=2).astype(np.float32)
    truth[:, engine.excluded] = -np.inf
    truth[~queries.any(axis=1)] = -np.inf
    expected = np.argsort(-truth, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(truth, expected, axis=1)
    expected[best == -np.inf] = -1
    kept = exact_top_k.NARROW_PASS, int8_dot.FAST_BYTES
    try:
        exact_top_k.NARROW_PASS = 0
        for int8_dot.FAST_BYTES in (True, False):
            scores, positions = engine.search(queries, k)
            np.testing.assert_array_equal(positions, expected)
            np.testing.assert_array_equal(scores, best)
    finally:
        exact_top_k.NARROW_PASS, int8_dot.FAST_BYTES = kept
