"""Row-sparse Adam against torch's dense Adam."""

import numpy as np
import pytest
import torch

from statim.errors import InputError
from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import Bags
from statim.training.loop.optimizer import BETA1, BETA2, EPSILON, SparseAdam

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
    finished = sparse.finish()
    np.testing.assert_array_equal(finished, tables[2])
    assert finished is sparse.table


def test_an_empty_batch_of_tokens_changes_nothing():
    offsets = np.zeros(4, np.int64)
    bags = Bags.of(Tokens(np.zeros(0, np.int32), offsets), V)
    table = np.ones((V, D), np.float32)
    sparse = SparseAdam(table.copy(), rates(3))
    plan = sparse.plan(bags, np.arange(3))
    assert not sparse.read(plan).any()
    sparse.update(plan, np.ones((3, D), np.float32))
    np.testing.assert_array_equal(sparse.current(), table)


def adamw(start, rates, gradients, decay, multipliers, clip=None):
    """torch's AdamW over the dense gradients of all steps: rows of one rate are a group of parameters, frozen
    ones are none.
    """
    groups = {
        rate: torch.tensor(start[multipliers == rate].astype(np.float64), requires_grad=bool(rate > 0))
        for rate in np.unique(multipliers)
    }
    optimizer = torch.optim.AdamW(
        [{"params": [part], "rate": float(rate)} for rate, part in groups.items() if rate > 0],
        betas=(BETA1, BETA2), eps=EPSILON, weight_decay=decay,
    )  # fmt: skip
    for step, gradient in enumerate(gradients, 1):
        for rate, part in groups.items():
            part.grad = torch.tensor(gradient[multipliers == rate]) if rate > 0 else None
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([part for rate, part in groups.items() if rate > 0], clip)
        for group in optimizer.param_groups:
            group["lr"] = rates[step] * group["rate"]
        optimizer.step()
    found = start.astype(np.float64)
    for rate, part in groups.items():
        found[multipliers == rate] = part.detach().numpy()
    return found


def trained(dtype, decay, multipliers, clip=None, threads=2, steps=300, rates=rates, peek=False):
    """A table after some steps, and the same by AdamW. Rows from 30 on never occur; the last steps have no
    gradient at all.
    """
    rng = np.random.default_rng(5)
    lists, bags = random_bags(rng)
    lists = [ids[ids < 30] for ids in lists]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int64)
    bags = Bags.of(Tokens(np.concatenate(lists).astype(np.int32), offsets), V, frozen=FROZEN)
    start = rng.standard_normal((V, D)).astype(dtype)
    start[FROZEN] = 0
    sparse = SparseAdam(
        start.copy(), rates(steps), threads=threads, clip=clip, decay=decay, row_rates=multipliers
    )
    dense = []
    for step in range(steps):
        texts = rng.integers(0, len(lists) if step % 3 else 20, 6).astype(np.int64)
        means = np.array([np.bincount(lists[t], minlength=V) / max(len(lists[t]), 1) for t in texts])
        means[:, FROZEN] = 0
        gradients = rng.standard_normal((6, D)).astype(dtype) * (step < steps - 20)
        dense.append(means.T @ gradients.astype(np.float64))
        plan = sparse.plan(bags, texts)
        sparse.read(plan)
        sparse.update(plan, gradients)
        if peek:
            sparse.current()
    own = np.ones(V) if multipliers is None else multipliers
    return start, sparse, adamw(start, sparse.rates, dense, decay, own, clip)


SOME = np.where(np.arange(V) % 4 == 1, 0.0, np.where(np.arange(V) % 4 == 2, 0.5, 1.0)).astype(np.float32)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 3e-5)])
@pytest.mark.parametrize(
    ("decay", "multipliers", "clip"), [(0.3, None, None), (0.0, SOME, 4.0), (0.9, SOME, None)]
)
def test_follows_dense_adamw_with_decay_and_rates_of_rows(dtype, tolerance, decay, multipliers, clip):
    start, sparse, dense = trained(dtype, decay, multipliers, clip)
    found = sparse.current()
    np.testing.assert_allclose(found, dense, atol=tolerance)
    never = sparse.last == 0
    assert never[30:].all()
    moves = slice(30, None) if multipliers is None else np.flatnonzero((np.arange(V) >= 30) & (SOME > 0))
    shrunk = found[moves] / start[moves]
    if decay:
        assert (shrunk < 0.95).all()
        np.testing.assert_allclose(found[30:], dense[30:], rtol=1e-12 if dtype is np.float64 else 2e-6)
    else:
        assert (shrunk == 1).all()
    if multipliers is not None:
        np.testing.assert_array_equal(found[SOME == 0], start[SOME == 0])
        assert not sparse.first[SOME == 0].any()
        assert np.abs(found[:30][SOME[:30] == 0.5] - start[:30][SOME[:30] == 0.5]).max() > 0.05
    assert not found[FROZEN].any()


def test_decay_over_a_long_run_neither_vanishes_nor_explodes():
    """A row that occurs once and then for 100,000 steps no more, at the largest decay; against the recursion
    in float64.
    """
    steps, decay = 100_000, 0.5
    flat = np.concatenate([[0.0], np.full(steps, 0.1)])
    bags = Bags.of(Tokens(np.array([0], np.int32), np.array([0, 1])), 2)
    sparse = SparseAdam(np.full((2, 1), 8.0), flat, decay=decay)
    nothing = Bags.of(Tokens(np.zeros(0, np.int32), np.array([0, 0])), 2)
    w, m, v = 8.0, 0.0, 0.0
    for step in range(1, 201):
        now = bags if step in (1, 100) else nothing
        plan = sparse.plan(now, np.zeros(1, np.int64))
        sparse.read(plan)
        sparse.update(plan, np.ones((1, 1)))
        g = 1.0 if now is bags else 0.0
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        w -= 0.1 * decay * w
        w -= 0.1 * m / (1 - BETA1**step) / (np.sqrt(v / (1 - BETA2**step)) + EPSILON)
        np.testing.assert_allclose(sparse.current()[:, 0], [w, 8 * 0.95**step], rtol=1e-10)
    sparse.step = steps
    assert np.isfinite(sparse.current()).all()
    assert np.abs(sparse.current()).max() < 1e-300
    with pytest.raises(
        InputError, match=r"decay of 0.6 at a rate of 0.1 shrinks rows by more than 5% in a step"
    ):
        SparseAdam(np.ones((2, 1)), flat, decay=0.6)


@pytest.mark.parametrize("multipliers", [None, SOME])
def test_decay_towards_an_origin_is_decay_of_the_distance_from_it(multipliers):
    """With given gradients the distance moves as a table does that decays to 0; new rows do not decay."""
    old, steps = 25, 200
    found = {}
    for name, decay, far, origin in (
        ("pulled", 0.6, 1, True),
        ("distance", 0.6, 0, False),
        ("free", 0, 1, False),
    ):
        rng = np.random.default_rng(5)
        _, bags = random_bags(rng)
        start = rng.standard_normal((V, D))
        sparse = SparseAdam(
            start * far, rates(steps), decay=decay, row_rates=multipliers,
            origin=start[:old].copy() if origin else None,
        )  # fmt: skip
        for _ in range(steps):
            plan = sparse.plan(bags, rng.integers(0, 200, 6).astype(np.int64))
            sparse.read(plan)
            sparse.update(plan, rng.standard_normal((6, D)))
        found[name] = sparse.current()
    np.testing.assert_allclose(found["pulled"][:old], (start + found["distance"])[:old], atol=1e-10)
    np.testing.assert_allclose(found["pulled"][old:], found["free"][old:], atol=1e-10)
    distances = [np.abs((found[name] - start)[:old]).max() for name in ("pulled", "free")]
    assert distances[0] < 0.9 * distances[1]


def test_threads_and_looking_do_not_change_a_bit_with_decay():
    tables = [
        trained(np.float32, 0.3, SOME, threads=threads, steps=60, peek=peek)[1].current()
        for threads, peek in ((1, False), (3, True))
    ]
    np.testing.assert_array_equal(*tables)


def test_no_decay_and_rates_of_one_are_the_plain_optimizer_to_the_bit():
    plain, ones = (trained(np.float32, 0.0, rates, steps=60)[1] for rates in (None, np.ones(V, np.float32)))
    np.testing.assert_array_equal(plain.current(), ones.current())


def test_row_wise_moments_decay_too():
    """A row of one entry has the same moments either way."""
    found = []
    for row_wise in (False, True):
        rng = np.random.default_rng(2)
        _, bags = random_bags(rng)
        sparse = SparseAdam(
            rng.standard_normal((V, 2)), rates(80), row_wise=row_wise, decay=0.5, row_rates=SOME
        )
        for _ in range(80):
            plan = sparse.plan(bags, rng.integers(0, 200, 6).astype(np.int64))
            sparse.read(plan)
            sparse.update(plan, np.repeat(rng.standard_normal((6, 1)), 2, axis=1))
        found.append(sparse.current())
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


def test_moments_in_bfloat16_follow_those_of_float32_and_do_not_stand_still():
    """A step changes a second moment by less than bfloat16 resolves; rounded at random it follows all the
    same.
    """
    _, bags = random_bags(np.random.default_rng(2))
    found = {}
    for precision in ("fp32", "int8"):
        rng = np.random.default_rng(4)
        sparse = SparseAdam(rng.standard_normal((V, D)).astype(np.float32), rates(2000), precision=precision)
        for _ in range(2000):
            plan = sparse.plan(bags, rng.integers(0, 200, 6).astype(np.int64))
            sparse.read(plan)
            sparse.update(plan, rng.standard_normal((6, D)).astype(np.float32))
        found[precision] = sparse
    near, exact = found["int8"], found["fp32"]
    assert near.first.dtype == near.second.dtype == np.int16
    seen = exact.last > 0
    ratios = widened(near.second)[seen] / exact.second[seen]
    assert abs(ratios.mean() - 1) < 0.01
    assert ratios.std() < 0.1
    moved = exact.current() - near.current()
    assert np.linalg.norm(moved) < 0.05 * np.linalg.norm(exact.current())


def test_moments_in_bfloat16_are_the_same_bits_after_a_pause_and_on_more_threads():
    _, bags = random_bags(np.random.default_rng(2))
    tables = []
    for threads, pause in ((1, None), (2, 11), (5, None)):
        rng = np.random.default_rng(4)
        sparse = SparseAdam(
            rng.standard_normal((V, D)).astype(np.float32), rates(30), threads, precision="int8"
        )
        for step in range(30):
            if step == pause:
                sparse = SparseAdam(
                    sparse.table.copy(), sparse.rates, threads, step=step, precision="int8",
                    first=sparse.first.copy(), second=sparse.second.copy(), last=sparse.last.copy(),
                )  # fmt: skip
            plan = sparse.plan(bags, rng.integers(0, 200, 6).astype(np.int64))
            sparse.read(plan)
            sparse.update(plan, rng.standard_normal((6, D)).astype(np.float32))
        tables.append((sparse.current(), sparse.first, sparse.second))
    for other in tables[1:]:
        for one, same in zip(tables[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def widened(array):
    """bfloat16 as float32."""
    return (array.astype(np.int32) << 16).view(np.float32)
