"""The tiled loss against autograd in float64, and against sentence-transformers' own losses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import autograd, random_problem

from statim.training.datasets.batches import Targets
from statim.training.losses.contrastive import contrastive


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1), B=st.integers(2, 40), more=st.integers(0, 200), both=st.booleans(),
    levels=st.sampled_from([(24,), (8, 24), (1, 3, 10, 24)]), scale=st.sampled_from([1.0, 20.0, 100.0]),
    threads=st.sampled_from([1, 2, 3]), tile_rows=st.sampled_from([1, 7, 16, None]),
    tile_columns=st.sampled_from([1, 100, None]),
)  # fmt: skip
def test_gradient_equals_autograd_in_float64(
    seed, B, more, both, levels, scale, threads, tile_rows, tile_columns
):
    anchors, candidates, targets = random_problem(seed, B, B + more, levels[-1])
    weights = np.random.default_rng(seed).uniform(0.2, 2.0, len(levels))
    loss, gradient = contrastive(
        anchors, candidates, targets, levels=levels, weights=weights, scale=scale, both_directions=both,
        threads=threads, tile_rows=tile_rows, tile_columns=tile_columns,
    )  # fmt: skip
    expected_loss, expected = autograd(anchors, candidates, targets, levels, weights, scale, both)
    assert loss == pytest.approx(expected_loss, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("tile_columns", [None, 64])
@pytest.mark.parametrize("margin", [-0.2, 0.0, 0.1])
def test_a_margin_masks_candidates_above_the_positive(margin, tile_columns, both):
    anchors, candidates, targets = random_problem(11, 30, 150, 24)
    candidates[targets.columns] += 0.5 * anchors  # positives are near, as they mostly are
    cosines = (anchors / np.linalg.norm(anchors, axis=1)[:, None]) @ (
        candidates / np.linalg.norm(candidates, axis=1)[:, None]
    ).T
    above = cosines > cosines[np.arange(30), targets.columns][:, None] + margin
    above[np.arange(30), targets.columns] = False
    rows = [
        np.union1d(np.flatnonzero(above[i]), targets.masked[slice(*targets.masked_offsets[i : i + 2])])
        for i in range(30)
    ]
    widened = Targets(
        targets.columns,
        np.concatenate(rows).astype(np.int32),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
    )
    assert len(widened.masked) > len(targets.masked)
    expected_loss, expected = autograd(anchors, candidates, widened, (8, 24), [1.0, 1.0], 20.0, both)
    loss, gradient = contrastive(
        anchors,
        candidates,
        targets,
        levels=(8, 24),
        margin=margin,
        tile_columns=tile_columns,
        both_directions=both,
    )
    assert loss == pytest.approx(expected_loss, rel=1e-11)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("negatives", [0, 1, 2])
def test_equals_sentence_transformers(both, negatives):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    B, d, levels = 48, 64, (8, 16, 32, 64)
    rng = np.random.default_rng(negatives)
    anchors = rng.standard_normal((B, d)).astype(np.float32)
    candidates = rng.standard_normal((B * (1 + negatives), d)).astype(np.float32)
    module = StaticEmbedding(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), embedding_dim=d)
    directions = ("query_to_doc", "doc_to_query") if both else ("query_to_doc",)
    inner = MultipleNegativesRankingLoss(
        SentenceTransformer(modules=[module], device="cpu"),
        directions=directions,
        partition_mode="per_direction",
    )
    a = torch.tensor(anchors, requires_grad=True)
    docs = [torch.tensor(part, requires_grad=True) for part in np.split(candidates, 1 + negatives)]
    # MatryoshkaLoss cuts the embeddings at each dimension, normalises, and sums the inner losses with weight
    # 1
    loss = torch.zeros(())
    for level in levels:
        shrunk = [torch.nn.functional.normalize(part[:, :level], dim=-1) for part in (a, *docs)]
        loss = loss + inner.compute_loss_from_embeddings(shrunk, None)
    loss.backward()
    expected = np.concatenate([a.grad.numpy(), *(part.grad.numpy() for part in docs)])
    found_loss, gradient = contrastive(
        anchors, candidates, Targets.plain(B), levels=levels, both_directions=both
    )
    assert found_loss == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-6 * np.abs(expected).max() * 10)


def test_whole_matryoshka_loss_of_sentence_transformers_gives_the_same_row_gradients():
    """End to end: its tokenizer, EmbeddingBag and MatryoshkaLoss against our bags, loss and sorted rows."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [f"w{i}" for i in range(50)]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w49"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    rng = np.random.default_rng(0)
    columns = [[" ".join(rng.choice(words[:49], rng.integers(1, 12))) for _ in range(32)] for _ in range(3)]
    table = rng.standard_normal((50, 32)).astype(np.float32)
    module = StaticEmbedding(backend, embedding_weights=table.copy())
    model = SentenceTransformer(modules=[module], device="cpu")
    loss = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=[32, 16, 8])
    value = loss([model.preprocess(column) for column in columns], None)
    value.backward()
    expected = module.embedding.weight.grad.numpy()

    from statim.tokenizer.tokenizer import Tokenizer as Ours

    tokens = [Ours(backend)(column) for column in columns]
    means = [np.stack([table[ids].mean(axis=0) for ids in part]) for part in tokens]
    found, gradient = contrastive(means[0], np.concatenate(means[1:]), Targets.plain(32), levels=(8, 16, 32))
    rows = np.zeros_like(table)
    for ids, g in zip((ids for part in tokens for ids in part), gradient, strict=True):
        np.add.at(rows, ids, g / len(ids))
    assert found == pytest.approx(value.item(), rel=1e-5)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("both", [False, True])
def test_zero_vectors_give_zero_scores_and_gradients(both):
    anchors, candidates, targets = random_problem(3, 12, 20, 16, np.float32)
    anchors[4] = 0
    candidates[7] = 0
    loss, gradient = contrastive(anchors, candidates, targets, levels=(4, 16), both_directions=both)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert not gradient[4].any()
    assert not gradient[12 + 7].any()


def test_scale_100_does_not_underflow():
    """All cosines far below the row's own maximum, and a masked candidate far above the rest."""
    rng = np.random.default_rng(1)
    anchors = rng.standard_normal((8, 32)).astype(np.float32)
    candidates = np.concatenate([-anchors, anchors])
    masked = np.arange(8, 16, dtype=np.int32)
    targets = Targets(np.arange(8, dtype=np.int32), masked, np.arange(9, dtype=np.int64))
    loss, gradient = contrastive(anchors, candidates, targets, levels=(32,), scale=100.0)
    expected_loss, expected = autograd(anchors, candidates, targets, (32,), [1.0], 100.0, False)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())


def test_same_bits_every_time_and_nearly_the_same_for_other_thread_counts():
    anchors, candidates, targets = random_problem(5, 300, 420, 64, np.float32)
    runs = [contrastive(anchors, candidates, targets, levels=(16, 64), threads=t) for t in (2, 2, 1, 3)]
    assert runs[0][0] == runs[1][0]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    for loss, gradient in runs[2:]:
        assert loss == pytest.approx(runs[0][0], rel=1e-6)
        np.testing.assert_allclose(gradient, runs[0][1], atol=1e-6 * np.abs(gradient).max())


def test_bfloat16_products_stay_near_float32():
    anchors, candidates, targets = random_problem(6, 256, 256, 128, np.float32)
    exact_loss, exact = contrastive(anchors, candidates, targets, levels=(32, 128))
    loss, gradient = contrastive(anchors, candidates, targets, levels=(32, 128), precision="bf16")
    assert loss == pytest.approx(exact_loss, rel=1e-2)
    assert np.linalg.norm(gradient - exact) < 0.03 * np.linalg.norm(exact)


def test_a_nan_vector_gives_a_nan_loss():
    """So that the trainer can stop instead of training on."""
    anchors, candidates, targets = random_problem(7, 6, 6, 8, np.float32)
    anchors[2, 3] = np.nan
    loss, _ = contrastive(anchors, candidates, targets, levels=(8,))
    assert np.isnan(loss)
