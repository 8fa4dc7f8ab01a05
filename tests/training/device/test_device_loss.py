"""The loss on tensors against autograd in float64, and against the loss of the processor's path."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from statim.training.datasets.batches import Targets
from statim.training.device.loss import contrastive
from statim.training.losses.contrastive import contrastive as on_processor


def autograd(given, levels, weights, scale, both, margin=None):
    """The plain formula, every matrix spelled out."""
    a, p, columns, masked = given
    a.requires_grad_()
    p.requires_grad_()
    hidden = torch.zeros(len(a), len(p), dtype=torch.bool)
    hidden[masked] = True
    own = torch.arange(len(a)), columns
    if margin is not None:
        cosines = torch.nn.functional.cosine_similarity(a[:, None], p[None], dim=2).detach()
        above = cosines > cosines[own][:, None] + margin
        above[own] = False
        hidden |= above
        assert above.any()
    known = hidden.clone()
    known[own] = True
    loss = torch.zeros((), dtype=torch.float64)
    for level, weight in zip(levels, weights, strict=True):
        unit = torch.nn.functional.normalize
        logits = scale * unit(a[:, :level], dim=1) @ unit(p[:, :level], dim=1).T
        term = torch.nn.functional.cross_entropy(logits.masked_fill(hidden, -torch.inf), columns)
        if both:
            others = logits.masked_fill(known, -torch.inf)[:, columns]
            back = torch.logsumexp(torch.cat([others, logits[own][None]]), 0) - logits[own]
            term = (term + back.mean()) / 2
        loss = loss + weight * term
    loss.backward()
    return loss.item(), a.grad.numpy(), p.grad.numpy()


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1), B=st.integers(2, 40), more=st.integers(0, 30), both=st.booleans(),
    levels=st.sampled_from([(24,), (8, 24), (1, 3, 10, 24)]), scale=st.sampled_from([1.0, 20.0, 100.0]),
    tile_rows=st.sampled_from([1, 7, 16, None]),
)  # fmt: skip
def test_gradient_equals_autograd_in_float64(problem, tensors, seed, B, more, both, levels, scale, tile_rows):
    given = problem(seed, B, B + more, levels[-1])
    weights = np.random.default_rng(seed).uniform(0.2, 2.0, len(levels)).tolist()
    loss, da, dp = contrastive(
        *tensors(*given),
        levels=levels,
        weights=weights,
        scale=scale,
        both_directions=both,
        tile_rows=tile_rows,
    )
    expected, expected_a, expected_p = autograd(tensors(*given), levels, weights, scale, both)
    assert loss.item() == pytest.approx(expected, rel=1e-11, abs=1e-11)
    largest = max(1.0, np.abs(expected_a).max(), np.abs(expected_p).max())
    np.testing.assert_allclose(da, expected_a, rtol=0, atol=1e-9 * largest)
    np.testing.assert_allclose(dp, expected_p, rtol=0, atol=1e-9 * largest)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("tile_rows", [7, None])
@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.15])
def test_a_margin_hides_what_is_closer_than_the_positive(problem, tensors, both, tile_rows, margin):
    given, levels = problem(4, 30, 45, 24), (8, 24)
    loss, da, dp = contrastive(
        *tensors(*given), levels=levels, both_directions=both, margin=margin, tile_rows=tile_rows
    )
    expected, expected_a, expected_p = autograd(tensors(*given), levels, [1.0, 1.0], 20.0, both, margin)
    assert loss.item() == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(da, expected_a, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dp, expected_p, rtol=0, atol=1e-10)
    plain, *_ = contrastive(*tensors(*given), levels=levels, both_directions=both)
    assert loss < plain - 0.01


@pytest.mark.parametrize("both", [False, True])
def test_equals_the_loss_of_the_processors_path_in_float32(problem, tensors, both):
    anchors, candidates, columns, masked = problem(1, 200, 300, 64)
    counts = np.bincount(masked[0], minlength=200)
    targets = Targets(
        columns.astype(np.int32), masked[1].astype(np.int32), np.concatenate([[0], np.cumsum(counts)])
    )
    expected, gradient = on_processor(
        anchors.astype(np.float32),
        candidates.astype(np.float32),
        targets,
        levels=(16, 64),
        both_directions=both,
    )
    loss, da, dp = contrastive(
        *tensors(anchors, candidates, columns, masked, torch.float32), levels=(16, 64), both_directions=both
    )
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(torch.cat([da, dp]), gradient, rtol=0, atol=2e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("both", [False, True])
def test_zero_vectors_give_zero_gradients_and_a_nan_gives_a_nan_loss(problem, tensors, both):
    anchors, candidates, columns, masked = problem(3, 12, 20, 16)
    anchors[4], candidates[7] = 0, 0
    loss, da, dp = contrastive(
        *tensors(anchors, candidates, columns, masked), levels=(4, 16), both_directions=both
    )
    assert torch.isfinite(loss)
    assert da.isfinite().all()
    assert dp.isfinite().all()
    assert not da[4].any()
    assert not dp[7].any()
    anchors[2, 3] = np.nan
    loss, _, _ = contrastive(
        *tensors(anchors, candidates, columns, masked), levels=(4, 16), both_directions=both
    )
    assert loss.isnan()
