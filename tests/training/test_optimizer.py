"""Row-sparse Adam against torch's dense Adam."""

import numpy as np
import pytest
import torch

from statim.tokens import Tokens
from statim.training.bags import Bags
from statim.training.optimizer import BETA1, BETA2, EPSILON, SparseAdam

V, D, FROZEN = 40, 12, 3


def random_bags(rng, texts=200):
    # every other text draws from a few rows only, so that some rows are frequent and others rare
    lists = [rng.integers(0, V if i % 2 else 8, rng.integers(0, 12)) for i in range(texts)]
    offsets = np.zeros(texts + 1, np.int64)
    np.cumsum([len(ids) for ids in lists], out=offsets[1:])
    tokens = Tokens(np.concatenate(lists).astype(np.int32), offsets)
    return lists, Bags.of(tokens, V, frozen=FROZEN, threads=2)


def rates(steps):
    rising = np.minimum(np.arange(1, steps + 1) / 30, 1)
    return np.concatenate([[0.0], rising * np.linspace(1, 0, steps) * 0.05])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 2e-5)])
@pytest.mark.parametrize(("threads", "clip"), [(1, None), (3, None), (2, 4.0)])
def test_follows_dense_adam(dtype, tolerance, threads, clip):
    rng = np.random.default_rng(0)
    lists, bags = random_bags(rng)
    start = rng.standard_normal((V, D)).astype(dtype)
    start[FROZEN] = 0
    steps = 300
    sparse = SparseAdam(start.copy(), rates(steps), threads=threads, clip=clip)
    dense = torch.tensor(start.astype(np.float64), requires_grad=True)
    adam = torch.optim.Adam([dense], betas=(BETA1, BETA2), eps=EPSILON)
    clipped = 0
    for step in range(1, steps + 1):
        texts = rng.integers(0, len(lists), 6).astype(np.int64)
        means = np.zeros((6, V))
        for i, text in enumerate(texts):
            for token in lists[text]:
                if token != FROZEN:
                    means[i, token] += 1 / len(lists[text])
        plan = sparse.plan(bags, texts)
        vectors = sparse.read(plan)
        np.testing.assert_allclose(vectors, means @ dense.detach().numpy(), atol=tolerance)
        gradients = rng.standard_normal((6, D)).astype(dtype)
        dense.grad = torch.tensor(means.T @ gradients.astype(np.float64))
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_([dense], clip)
            clipped += norm > clip
        adam.param_groups[0]["lr"] = sparse.rates[step]
        adam.step()
        sparse.update(plan, gradients)
    moved = dense.detach().numpy()
    np.testing.assert_allclose(sparse.current(), moved, atol=tolerance)
    assert np.abs(moved - start).max() > 0.1
    assert clip is None or 0 < clipped < steps
    assert not sparse.current()[FROZEN].any()


def test_row_wise_moments_follow_the_dense_formula():
    rng = np.random.default_rng(3)
    lists, bags = random_bags(rng)
    table = rng.standard_normal((V, D))
    table[FROZEN] = 0
    sparse = SparseAdam(table.copy(), rates(200), threads=2, row_wise=True)
    assert sparse.second.shape == (V, 1)
    dense, first, second = table.copy(), np.zeros((V, D)), np.zeros((V, 1))
    for step in range(1, 201):
        texts = rng.integers(0, len(lists), 6).astype(np.int64)
        means = np.array(
            [np.bincount(lists[text], minlength=V)[:V] / max(len(lists[text]), 1) for text in texts]
        )
        means[:, FROZEN] = 0
        gradients = rng.standard_normal((6, D))
        plan = sparse.plan(bags, texts)
        np.testing.assert_allclose(sparse.read(plan), means @ dense, atol=1e-6)
        sparse.update(plan, gradients)
        gradient = means.T @ gradients
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * np.mean(gradient**2, axis=1, keepdims=True)
        size = np.sqrt(second / (1 - BETA2**step)) + EPSILON
        dense -= sparse.rates[step] * first / (1 - BETA1**step) / size
    np.testing.assert_allclose(sparse.current(), dense, atol=1e-6)


def test_bfloat16_rounds_what_is_pooled_and_gathered_but_not_the_table():
    tables = []
    for precision in ("fp32", "bf16"):
        rng = np.random.default_rng(4)
        _, bags = random_bags(rng)
        sparse = SparseAdam(rng.standard_normal((V, D)).astype(np.float32), rates(60), precision=precision)
        for _ in range(60):
            plan = sparse.plan(bags, rng.integers(0, 200, 6).astype(np.int64))
            vectors = sparse.read(plan)
            sparse.update(plan, rng.standard_normal((6, D)).astype(np.float32))
        tables.append((vectors, sparse.current()))
    (exact, exact_table), (near, near_table) = tables
    assert 0 < np.abs(near - exact).max() < 2**-8 * np.abs(exact_table).max()
    assert np.linalg.norm(near_table - exact_table) < 1e-3 * np.linalg.norm(exact_table)


def test_current_leaves_the_training_alone_and_threads_do_not_change_a_bit():
    tables = []
    for threads, peek in ((1, False), (2, True), (5, False)):
        rng = np.random.default_rng(1)
        _, bags = random_bags(rng)
        sparse = SparseAdam(rng.standard_normal((V, D)).astype(np.float32), rates(50), threads=threads)
        for _ in range(50):
            texts = rng.integers(0, 200, 6).astype(np.int64)
            plan = sparse.plan(bags, texts)
            sparse.read(plan)
            sparse.update(plan, rng.standard_normal((6, D)).astype(np.float32))
            if peek:
                sparse.current()
        tables.append(sparse.current())
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])


def test_an_empty_batch_of_tokens_changes_nothing():
    offsets = np.zeros(4, np.int64)
    bags = Bags.of(Tokens(np.zeros(0, np.int32), offsets), V)
    table = np.ones((V, D), np.float32)
    sparse = SparseAdam(table.copy(), rates(3))
    plan = sparse.plan(bags, np.arange(3))
    assert not sparse.read(plan).any()
    sparse.update(plan, np.ones((3, D), np.float32))
    np.testing.assert_array_equal(sparse.current(), table)
