"""Losses over cosines of pairs against autograd in float64, and against sentence-transformers' own."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.training.losses.pairwise import cosent, cosine, pairwise, triplet

KINDS = ("cosent", "cosine", "triplet")


def problem(seed, B, d, kind, dtype=np.float64, zeros=0.0):
    """Vectors, where each left one's right ones begin, and the scores; scores are tied, negatives of
    different number.
    """
    rng = np.random.default_rng(seed)
    runs = 1 + rng.integers(0, 4, B) if kind == "triplet" else np.ones(B, int)
    offsets = np.append(0, np.cumsum(runs))
    vectors = rng.standard_normal((B + offsets[-1], d)).astype(dtype)
    vectors[rng.random(len(vectors)) < zeros] = 0
    return vectors, offsets, rng.integers(0, max(2, B // 2), B) / 4.0


def loss_of(kind, offsets, scores, scale, margin):
    if kind == "cosent":
        return partial(cosent, scores=scores, scale=scale)
    return (
        partial(cosine, scores=scores)
        if kind == "cosine"
        else partial(triplet, offsets=offsets, margin=margin)
    )


def autograd(kind, vectors, offsets, scores, levels, weights, scale, margin):
    """The plain formulas in float64, over every pair of pairs; a zero vector has a cosine of 0 and no
    gradient.
    """
    v = torch.tensor(vectors, dtype=torch.float64, requires_grad=True)
    B = len(offsets) - 1
    lefts = torch.repeat_interleave(torch.arange(B), torch.tensor(np.diff(offsets)))
    rights = torch.arange(len(lefts)) + B
    total = v.sum() * 0
    for level, weight in zip(levels, weights, strict=True):
        norms = (v[:, :level] ** 2).sum(dim=1)
        unit = v[:, :level] / torch.where(norms > 0, norms, 1.0).sqrt()[:, None]
        unit = unit * (norms > 0)[:, None]
        cosines = (unit[lefts] * unit[rights]).sum(dim=1)
        alive = (norms[lefts] > 0) & (norms[rights] > 0)
        cosines = torch.where(alive, cosines, cosines.detach())
        if kind == "cosent":
            y = torch.tensor(scores)
            terms = scale * (cosines[None, :] - cosines[:, None])[y[:, None] > y[None, :]]
            value = torch.logsumexp(torch.cat([terms, torch.zeros(1, dtype=torch.float64)]), 0)
        elif kind == "cosine":
            value = ((cosines - torch.tensor(scores)) ** 2).mean()
        else:
            terms = [
                torch.relu(margin + cosines[e] - cosines[offsets[i]])
                for i in range(B) for e in range(offsets[i] + 1, offsets[i + 1])
            ]  # fmt: skip
            value = torch.stack(terms).mean() if terms else v.sum() * 0
        total = total + weight * value
    total.backward()
    return total.item(), v.grad.numpy()


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1), B=st.integers(1, 40),
    zeros=st.sampled_from([0.0, 0.2]),
    levels=st.sampled_from([(16,), (4, 16), (1, 3, 10, 16)]), scale=st.sampled_from([1.0, 20.0, 5000.0]),
    margin=st.sampled_from([0.0, 0.2, 2.0]), threads=st.sampled_from([1, 2, 5]),
)  # fmt: skip
def test_gradient_equals_autograd_in_float64(kind, seed, B, zeros, levels, scale, margin, threads):
    vectors, offsets, scores = problem(seed, B, levels[-1], kind, zeros=zeros)
    weights = np.random.default_rng(seed).uniform(0.2, 2.0, len(levels))
    if kind == "triplet" and zeros and margin == 0:
        margin = 0.1  # exactly at the edge of the hinge its slope is a matter of taste
    loss, gradient = pairwise(
        vectors, offsets, loss_of(kind, offsets, scores, scale, margin), levels=levels, weights=weights,
        threads=threads
    )  # fmt: skip
    expected_loss, expected = autograd(kind, vectors, offsets, scores, levels, weights, scale, margin)
    assert loss == pytest.approx(expected_loss, rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))
    assert not gradient[~vectors.any(axis=1)].any()


def static_model(texts, d):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(texts)}, unk_token="w0"))
    return SentenceTransformer(modules=[StaticEmbedding(backend, embedding_dim=d)], device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_equals_sentence_transformers_inside_its_matryoshka_loss(kind):
    """Every text is one word, so that the gradient of a row is that of a text's vector."""
    from sentence_transformers.sentence_transformer.losses import (
        CoSENTLoss,
        CosineSimilarityLoss,
        MatryoshkaLoss,
        TripletLoss,
    )
    from sentence_transformers.sentence_transformer.losses.triplet import TripletDistanceMetric

    B, d, levels, weights = 48, 32, (8, 16, 32), (0.5, 1.0, 2.0)
    rng = np.random.default_rng(3)
    columns = 3 if kind == "triplet" else 2
    model = static_model(B * columns, d)
    table = rng.standard_normal((B * columns, d)).astype(np.float32)
    model[0].embedding.weight.data[:] = torch.from_numpy(table)
    inner = {
        "cosent": lambda: CoSENTLoss(model, scale=20.0),
        "cosine": lambda: CosineSimilarityLoss(model),
        "triplet": lambda: TripletLoss(
            model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=0.3
        ),
    }[kind]()
    whole = MatryoshkaLoss(model, inner, matryoshka_dims=list(levels), matryoshka_weights=list(weights))
    scores = rng.integers(0, 6, B) / 5.0
    words = [[f"w{place * B + i}" for i in range(B)] for place in range(columns)]
    value = whole([model.preprocess(column) for column in words], torch.tensor(scores, dtype=torch.float32))
    value.backward()
    expected = model[0].embedding.weight.grad.numpy()
    if kind == "triplet":  # anchors, then each one's positive and negative
        order = np.concatenate([np.arange(B), np.stack([B + np.arange(B), 2 * B + np.arange(B)], 1).ravel()])
        offsets = np.arange(0, 2 * B + 1, 2)
    else:
        order, offsets = np.arange(2 * B), np.arange(B + 1)
    loss, gradient = pairwise(
        table[order], offsets, loss_of(kind, offsets, scores, 20.0, 0.3), levels=levels, weights=weights
    )
    assert loss == pytest.approx(value.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, expected[order], rtol=0, atol=1e-5 * np.abs(expected).max())


def test_cosent_of_a_large_batch_needs_no_matrix_and_stays_exact():
    rng = np.random.default_rng(0)
    cosines, scores = rng.uniform(-1, 1, 200_000), rng.integers(0, 50, 200_000).astype(float)
    loss, pulls = cosent(cosines, scores, 1.0)
    # sums of exponentials by score, in plain arithmetic, which scale 1 allows
    low = np.bincount(scores.astype(int), np.exp(cosines))
    high = np.bincount(scores.astype(int), np.exp(-cosines))
    below, above = np.cumsum(low) - low, np.cumsum(high[::-1])[::-1] - high
    total = 1 + (low * above).sum()
    expected = np.exp(cosines) * above[scores.astype(int)] - np.exp(-cosines) * below[scores.astype(int)]
    assert loss == pytest.approx(np.log(total), rel=1e-12)
    np.testing.assert_allclose(pulls, expected / total, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_vector_gives_a_nan_loss(kind):
    vectors, offsets, scores = problem(1, 12, 8, kind, np.float32)
    vectors[5, 2] = np.nan
    loss, _ = pairwise(vectors, offsets, loss_of(kind, offsets, scores, 20.0, 0.2), levels=(4, 8))
    assert np.isnan(loss)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_change_a_bit(kind):
    vectors, offsets, scores = problem(2, 500, 64, kind, np.float32)
    runs = [
        pairwise(
            vectors, offsets, loss_of(kind, offsets, scores, 20.0, 0.2), levels=(16, 64), threads=threads
        )
        for threads in (1, 2, 5)
    ]
    for loss, gradient in runs[1:]:
        assert loss == runs[0][0]
        np.testing.assert_array_equal(gradient, runs[0][1])
