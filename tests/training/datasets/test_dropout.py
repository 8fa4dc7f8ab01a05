"""Token dropout against plain Python, and the same entries wherever they are read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import dropout_key
from statim.training.device.plans import DeviceData
from statim.training.loop.optimizer import SparseAdam

WORD = (1 << 64) - 1


def splitmix(key, number):
    """SplitMix64 as published: the output at a state."""
    x = (key + number * 0x9E3779B97F4A7C15) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def bags_of(lists, frozen=None):
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int64)
    flat = np.array([token for ids in lists for token in ids], np.int32)
    return Bags.of(Tokens(flat, offsets), 10, frozen=frozen)


def expected(bags, text, key, probability):
    """What is left of a text: ids with counts, and the total."""
    entries = range(bags.offsets[text], bags.offsets[text + 1])
    kept = [e for e in entries if splitmix(key, e) / 2**64 >= probability]
    lost = sum(int(bags.counts[e]) for e in entries if e not in kept) if kept else 0
    return [(int(bags.ids[e]), int(bags.counts[e])) for e in kept or entries], int(bags.totals[text]) - lost


lists_of_ids = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=8)


def test_splitmix_is_the_published_one():
    """Outputs of the reference implementation that begins at 1234567."""
    found = [splitmix(1234567, number) for number in range(1, 4)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(deadline=None, max_examples=60)
@given(lists_of_ids, st.integers(0, WORD), st.sampled_from([0.05, 0.3, 0.5, 0.9]), st.data())
def test_left_out_is_what_the_hash_says(lists, key, probability, draw):
    bags = bags_of(lists, frozen=3)
    texts = draw.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    left = bags.dropped(np.array(texts, np.int64), key, probability)
    assert len(left.totals) == len(texts)
    for place, text in enumerate(texts):
        part = slice(left.offsets[place], left.offsets[place + 1])
        entries, total = expected(bags, text, key, probability)
        assert list(zip(left.ids[part].tolist(), left.counts[part].tolist(), strict=True)) == entries
        assert left.totals[place] == total
        assert bool(entries) == any(token != 3 for token in lists[text])  # nothing loses everything


def test_as_many_are_left_out_as_asked_and_others_in_every_step():
    bags = bags_of([list(range(10)) * 2] * 2000)
    texts = np.arange(2000)
    seen = []
    for step in range(4):
        left = bags.dropped(texts, dropout_key(7, step), 0.3)
        assert len(left.ids) / len(bags.ids) == pytest.approx(0.7, abs=0.01)
        assert set(left.counts.tolist()) == {2}
        seen.append(left.ids.tobytes())
    assert len(set(seen)) == 4
    assert dropout_key(7, 1) == dropout_key(7, 1) != dropout_key(8, 1)


def test_pooled_and_gathered_are_the_same_entries():
    """The step's matrix of means, from the definition, gives the vectors; its transpose gives the gradient of
    the rows.
    """
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 10, rng.integers(0, 9)).tolist() for _ in range(30)]
    bags, texts = bags_of(lists), rng.integers(0, 30, 50)
    means = np.zeros((50, 10))
    for place, text in enumerate(texts):
        entries, total = expected(bags, text, 99, 0.4)
        for token, count in entries:
            means[place, token] = count / total
    np.testing.assert_allclose(means.sum(axis=1), [len(lists[text]) > 0 for text in texts])
    table, gradients = rng.standard_normal((10, 5)), rng.standard_normal((50, 5))
    sparse = SparseAdam(table.copy(), np.array([0, 0.1]))
    plan = sparse.plan(bags.dropped(texts, 99, 0.4), np.arange(50))
    np.testing.assert_allclose(sparse.read(plan), means @ table, atol=1e-12)
    sparse.update(plan, gradients)
    np.testing.assert_allclose(sparse.first, 0.1 * means.T @ gradients, atol=1e-12)


@pytest.mark.parametrize("probability", [0.3, 0.9])
def test_a_device_leaves_out_the_same(probability):
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 10, rng.integers(0, 9)).tolist() for _ in range(40)]
    bags = bags_of(lists, frozen=3)
    anchors, candidates = (
        rng.integers(0, 20, 60).astype(np.int32),
        rng.integers(20, 40, (60, 1)).astype(np.int32),
    )

    known = np.zeros(0, np.int32), np.zeros(41, np.int64)
    data = TrainingSet(bags, anchors, candidates, *known, ("pairs",), np.zeros(60, np.uint16))
    device = DeviceData(data, 10, torch.device("cpu"), probability)
    pairs, keys = rng.permutation(60).reshape(3, 20), [dropout_key(0, 0), WORD - 5, 1 << 63]
    for batch, chosen, key in zip(device.plan(torch.from_numpy(pairs), keys), pairs, keys, strict=True):
        texts = [*anchors[chosen], *np.unique(candidates[chosen])]
        assert batch.texts == len(texts)
        for place, text in enumerate(texts):
            part = slice(int(batch.offsets[place]), int(batch.offsets[place + 1]))
            ids = batch.rows[batch.entry_rows[part].long()].tolist()
            entries, total = expected(bags, text, key, probability)
            assert ids == [token for token, _ in entries]
            shares = np.array([count for _, count in entries]) * (1 / max(total, 1))
            np.testing.assert_array_equal(batch.shares[part], shares.astype(np.float32))
        by_row = [
            (int(batch.rows[u]), int(batch.positions[e]), float(batch.row_shares[e]))
            for u in range(len(batch.rows))
            for e in range(batch.row_offsets[u], batch.row_offsets[u + 1])
        ]
        by_text = [
            (int(batch.rows[batch.entry_rows[e]]), place, float(batch.shares[e]))
            for place in range(len(texts))
            for e in range(batch.offsets[place], batch.offsets[place + 1])
        ]
        assert by_row == sorted(by_text)
