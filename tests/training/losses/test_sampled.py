"""Softmax weights rounded at random: against autograd in float64, in the mean, and for the same bits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import autograd, random_problem

from statim.training.datasets.batches import Targets, rounding_key
from statim.training.losses.contrastive import contrastive


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1), B=st.integers(2, 40), more=st.integers(0, 200), both=st.booleans(),
    levels=st.sampled_from([(24,), (8, 24), (1, 3, 10, 24)]), scale=st.sampled_from([1.0, 20.0, 100.0]),
    threads=st.sampled_from([1, 2, 3]), tile_rows=st.sampled_from([1, 7, None]),
    tile_columns=st.sampled_from([1, 100, None]),
)  # fmt: skip
def test_where_nothing_is_small_the_gradient_equals_autograd(
    seed, B, more, both, levels, scale, threads, tile_rows, tile_columns
):
    anchors, candidates, targets = random_problem(seed, B, B + more, 24)
    weights = np.random.default_rng(seed).uniform(0.1, 2, len(levels)).tolist()
    expected_loss, expected = autograd(anchors, candidates, targets, levels, weights, scale, both)
    loss, gradient = contrastive(
        anchors, candidates, targets, levels=levels, weights=weights, scale=scale, both_directions=both,
        threads=threads,
        least_share=1e-12, tile_rows=tile_rows, tile_columns=tile_columns,
    )  # fmt: skip
    assert loss == pytest.approx(expected_loss, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gradient, expected, atol=1e-7 * max(np.abs(expected).max(), 1e-9))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("tile_columns", [None, 64])
def test_rounded_weights_are_right_in_the_mean_and_leave_the_loss_alone(tile_columns, both):
    anchors, candidates, targets = random_problem(1, 40, 150, 24)
    given = {"levels": (3, 10, 24), "both_directions": both, "tile_columns": tile_columns}
    exact_loss, exact = contrastive(anchors, candidates, targets, **given)
    count, total, squares = 300, np.zeros_like(exact), np.zeros_like(exact)
    for number in range(count):
        drawn = replace(targets, key=rounding_key(0, number))
        loss, gradient = contrastive(anchors, candidates, drawn, least_share=0.25, **given)
        assert loss == pytest.approx(exact_loss, rel=1e-12)
        total += gradient
        squares += gradient**2
    mean = total / count
    noise = np.sqrt((squares / count - mean**2).sum() / count)  # of the mean
    assert 0.001 < noise / np.linalg.norm(exact) < 0.03
    assert np.linalg.norm(mean - exact) < 1.5 * noise


def test_a_weight_of_at_least_the_share_stays_and_a_smaller_one_becomes_it_or_nothing():
    """One anchor; its gradient at a candidate of one dimension each shows the candidate's coefficient."""
    cosines = np.array([0.9, 0.8, 0.4, 0.3, 0.2])
    anchors = np.array([[1.0, 0.0]])
    candidates = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    shares = np.exp(5 * cosines) / np.exp(5 * cosines).sum()
    least = 0.2 * shares[1:].sum()
    assert shares[1] > least > shares[2]  # the rest is small
    tangents = np.stack([candidates[:, 1] ** 2, -candidates[:, 0] * candidates[:, 1]], axis=1)
    for number in range(20):
        drawn = replace(Targets.plain(1), key=rounding_key(3, number))
        _, gradient = contrastive(anchors, candidates, drawn, levels=(2,), scale=5.0, least_share=0.2)
        found = gradient[1:, 0] / (5 * tangents[:, 0])
        np.testing.assert_allclose(found[:2], [shares[0] - 1, shares[1]], atol=1e-12)
        assert all(share == pytest.approx(least) or abs(share) < 1e-12 for share in found[2:])


def test_the_same_key_gives_the_same_bits_and_another_gives_others():
    anchors, candidates, targets = random_problem(5, 300, 420, 64, np.float32)
    given = {"levels": (16, 64), "least_share": 0.1, "precision": "bf16"}
    keyed = replace(targets, key=rounding_key(0, 1))
    once, again, alone = (contrastive(anchors, candidates, keyed, threads=t, **given)[1] for t in (2, 2, 1))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(alone, once, atol=1e-6 * np.abs(once).max())
    other = contrastive(anchors, candidates, replace(targets, key=rounding_key(0, 2)), threads=2, **given)[1]
    assert np.abs(other - once).max() > 1e-3 * np.abs(once).max()


def test_every_step_and_seed_has_a_key_of_its_own():
    assert len({rounding_key(seed, step) for seed in range(10) for step in range(100)}) == 1000
    assert rounding_key(7, 5) == rounding_key(7, 5) < 2**64
