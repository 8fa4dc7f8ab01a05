"""A batch's sampled gradient in one call of compiled code: against the same functions called one by one, and
in float64.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import autograd, random_problem

from statim.kernels.int8_dot import FAST_BYTES
from statim.training.datasets.batches import rounding_key
from statim.training.losses import contrastive as module
from statim.training.losses import sampled as compiled
from statim.training.losses.contrastive import contrastive
from statim.training.losses.workspace import Workspace

pytestmark = pytest.mark.skipif(not FAST_BYTES, reason="the processor has no AVX-512 VNNI")


@pytest.fixture
def calls(monkeypatch):
    """What each call of the compiled way gave."""
    found = []

    def sampled(*arguments, **named):
        found.append(compiled.sampled(*arguments, **named))
        return found[-1]

    monkeypatch.setattr(module, "sampled", sampled)
    return found


def one_by_one(*problem, **named):
    """The ordinary way, tiles of so many rows."""
    return contrastive(*problem, **named, tile_rows=64)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1), B=st.integers(1, 150), more=st.integers(0, 200),
    levels=st.sampled_from([(40,), (8, 40), (3, 10, 40)]), scale=st.sampled_from([1.0, 20.0, 100.0]),
    least=st.sampled_from([1e-9, 0.02, 0.3]), threads=st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_it_equals_the_same_functions_called_one_by_one(seed, B, more, levels, scale, least, threads):
    anchors, candidates, targets = random_problem(seed, B, B + more, 40, np.float32)
    targets = replace(targets, key=rounding_key(seed, 3))
    named = {
        "levels": levels,
        "weights": [0.5] * len(levels),
        "scale": scale,
        "precision": "int8",
        "least_share": least,
    }
    expected_loss, expected = one_by_one(anchors, candidates, targets, **named)
    loss, gradient = contrastive(anchors, candidates, targets, **named, threads=threads)
    assert loss == pytest.approx(expected_loss, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * max(np.abs(expected).max(), 1e-6))


def test_threads_do_not_change_a_bit_nor_does_a_workspace_used_before(calls):
    problem = random_problem(4, 500, 700, 96, np.float32)
    named = {"levels": (16, 96), "precision": "int8", "least_share": 0.05}
    used = Workspace()
    contrastive(*random_problem(5, 900, 1000, 96, np.float32), **named, workspace=used)
    loss, gradient = contrastive(*problem, **named)
    for threads in (1, 2, 5):
        again, same = contrastive(*problem, **named, threads=threads, workspace=used)
        assert again == loss
        np.testing.assert_array_equal(same, gradient)
    assert len(calls) == 5
    assert None not in calls


def test_it_is_near_autograd_where_nothing_is_rounded_away(calls):
    anchors, candidates, targets = random_problem(8, 200, 260, 64, np.float32)
    expected_loss, expected = autograd(anchors, candidates, targets, (16, 64), [1, 1], 20.0, False)
    loss, gradient = contrastive(
        anchors, candidates, targets, levels=(16, 64), precision="int8", least_share=1e-9, threads=2
    )
    assert calls[0] is not None
    assert loss == pytest.approx(expected_loss, rel=1e-2)
    assert np.linalg.norm(gradient - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("room", [0.0, 0.1])
def test_where_there_is_too_little_room_it_is_done_the_ordinary_way(calls, monkeypatch, room):
    monkeypatch.setattr(compiled, "ROOM", room)
    problem = random_problem(6, 300, 300, 32, np.float32)
    named = {"levels": (8, 32), "precision": "int8", "least_share": 0.01, "threads": 2}
    loss, gradient = contrastive(*problem, **named)
    assert calls == [None]
    expected_loss, expected = one_by_one(*problem, **named)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    "named", [{"both_directions": True}, {"margin": 0.1}, {"precision": "bf16"}, {"least_share": 0.0}]
)
def test_other_settings_are_done_the_ordinary_way(calls, named):
    problem = random_problem(6, 30, 40, 32, np.float32)
    contrastive(*problem, **{"levels": (8, 32), "precision": "int8", "least_share": 0.1} | named)
    assert not calls


def test_vectors_of_zero_do_not_break_it(calls):
    anchors, candidates, targets = random_problem(9, 40, 50, 32, np.float32)
    anchors[3], candidates[7], anchors[:, :8] = 0, 0, 0
    loss, gradient = contrastive(
        anchors, candidates, targets, levels=(8, 32), precision="int8", least_share=0.1, scale=100.0
    )
    assert calls[0] is not None
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
