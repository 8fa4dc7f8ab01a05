"""Bags, training sets and batches against plain Python."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from statim import spilled_array
from statim.data.pairs.pairs import Pairs
from statim.data.text_column import buffers
from statim.identity import Identities
from statim.kernels.text.identity import fingerprints
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import Assembler, order


@settings(deadline=None, max_examples=50)
@given(
    lists=st.lists(st.lists(st.integers(0, 9), max_size=30), min_size=1, max_size=20),
    threads=st.integers(1, 4), frozen=st.sampled_from([None, 2]),
)  # fmt: skip
def test_bags_count(lists, threads, frozen):
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int64)
    flat = np.array([token for ids in lists for token in ids], np.int32)
    bags = Bags.of(Tokens(flat, offsets), 10, frozen=frozen, threads=threads)
    for i, ids in enumerate(lists):
        part = slice(bags.offsets[i], bags.offsets[i + 1])
        found = dict(zip(bags.ids[part].tolist(), bags.counts[part].tolist(), strict=True))
        assert found == {token: count for token, count in Counter(ids).items() if token != frozen}
        assert bags.totals[i] == len(ids)


def test_a_count_beyond_uint16_is_spread():
    ids = np.full(200_001, 5, np.int32)
    bags = Bags.of(Tokens(ids, np.array([0, len(ids)])), 10)
    assert set(bags.ids.tolist()) == {5}
    assert bags.counts.astype(np.int64).sum() == len(ids)


def word_tokenizer():
    backend = Backend(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i + 1 for i in range(30)}}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer(backend)


texts = st.sampled_from([f"w{i} w{i % 3}" for i in range(8)])
rows = st.lists(st.tuples(texts, texts, st.one_of(st.none(), texts)), min_size=2, max_size=30)


@settings(deadline=None, max_examples=60)
@given(rows=rows, seed=st.integers(0, 5))
def test_batches_have_unique_columns_and_mask_every_known_positive(rows, seed):
    anchors, positives, negatives = zip(*rows, strict=True)
    pairs = Pairs(pa.array(anchors), pa.array(positives), (pa.array(negatives, pa.large_string()),))
    data = TrainingSet.of(pairs, word_tokenizer())
    names = {}
    for column, side in (
        (data.anchors, anchors),
        (data.candidates[:, 0], positives),
        (data.candidates[:, 1], negatives),
    ):
        for index, text in zip(column.tolist(), side, strict=True):
            assert (index < 0) == (text is None)
            if text is not None:
                assert names.setdefault(index, text) == text
    known = {}
    for a, p in zip(anchors, positives, strict=True):
        known.setdefault(a, {a}).add(p)
    chosen = order(seed, 0, len(rows))[: max(2, len(rows) // 2)]
    assemble = Assembler(data, len(rows))
    for _ in range(2):  # the scratch arrays are left clean
        batch, targets = assemble(chosen)
        B = len(chosen)
        columns = [names[i] for i in batch[B:].tolist()]
        assert len(set(columns)) == len(columns)
        wanted = {positives[i] for i in chosen} | {negatives[i] for i in chosen} - {None}
        assert set(columns) == wanted - {None}
        for i, pair in enumerate(chosen):
            assert names[int(batch[i])] == anchors[pair]
            assert columns[targets.columns[i]] == positives[pair]
            masked = targets.masked[targets.masked_offsets[i] : targets.masked_offsets[i + 1]]
            assert sorted(columns[j] for j in masked) == sorted(
                (known[anchors[pair]] - {positives[pair]}) & set(columns)
            )


def test_order_follows_from_seed_and_epoch_alone():
    np.testing.assert_array_equal(order(1, 2, 100), order(1, 2, 100))
    assert (order(1, 2, 100) != order(1, 3, 100)).any()
    assert (order(1, 2, 100) != order(2, 2, 100)).any()
    assert sorted(order(7, 0, 50).tolist()) == list(range(50))


def test_large_sets_come_from_the_cache_the_second_time(monkeypatch, tmp_path):
    import statim.training.datasets.bags as module

    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "CACHED_FROM", 4)
    pairs = Pairs(pa.array(["w1 w2", "w3", "w1 w2", "w5"]), pa.array(["w2 w2 w9", "w4", "zzz", "w3"]))
    first = TrainingSet.of(pairs, word_tokenizer())
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    monkeypatch.setattr(TrainingSet, "_of", None)  # the second time nothing is tokenized
    second = TrainingSet.of(pairs, word_tokenizer())
    for name, array in first._arrays().items():
        np.testing.assert_array_equal(array, second._arrays()[name])
        assert not array.flags.writeable


def test_a_damaged_cache_is_made_anew(monkeypatch, tmp_path):
    import statim.training.datasets.bags as module

    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "CACHED_FROM", 2)
    pairs = Pairs(pa.array(["w1 w2", "w3"]), pa.array(["w2", "w4"]))
    first = TrainingSet.of(pairs, word_tokenizer())
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    second = TrainingSet.of(pairs, word_tokenizer())
    np.testing.assert_array_equal(first.bags.ids, second.bags.ids)


texts_or_none = st.one_of(st.none(), st.text("w0123456789 ", max_size=12))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.text("w0123 é", max_size=9), st.text("w0123 é", max_size=9), texts_or_none),
        min_size=1, max_size=40),
    block=st.integers(1, 50), memory=st.sampled_from([1, 64, 1 << 20]),
)  # fmt: skip
def test_built_in_blocks_as_if_built_at_once(rows, block, memory):
    """Whatever the blocks, and in memory or in files: equal texts have one number, and their bag is their
    tokens.
    """
    anchors, positives, negatives = zip(*rows, strict=True)
    pairs = Pairs(pa.array(anchors), pa.array(positives), (pa.array(negatives, pa.large_string()),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled_array, "IN_MEMORY", memory)
        patch.setattr(Pairs.bounds, "__defaults__", (block,))
        data = TrainingSet.of(pairs, word_tokenizer())
    columns = [data.anchors, data.candidates[:, 0], data.candidates[:, 1]]
    number = {}
    for column, side in zip(columns, (anchors, positives, negatives), strict=True):
        for found, text in zip(column.tolist(), side, strict=True):
            assert number.setdefault(text, found) == found
    number.pop(None, None)
    assert sorted(number.values()) == list(range(len(data.bags.totals)))
    for text, place in number.items():
        ids = word_tokenizer()(text).ids.tolist()
        part = slice(data.bags.offsets[place], data.bags.offsets[place + 1])
        found = dict(zip(data.bags.ids[part].tolist(), data.bags.counts[part].tolist(), strict=True))
        assert found == {token: count for token, count in Counter(ids).items() if token != 0}
        assert data.bags.totals[place] == len(ids)
        known = data.known[data.known_offsets[place] : data.known_offsets[place + 1]].tolist()
        own = {number[p] for a, p in zip(anchors, positives, strict=True) if a == text}
        assert known == (sorted(own | {place}) if text in anchors else [])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 60))
def test_equal_keys_have_equal_numbers(values, block):
    keys = fingerprints(*buffers(pa.array([f"text {value}" for value in values], pa.large_string())))
    identities, found, fresh = Identities(), [], []
    for start in range(0, len(keys), block):
        ids, firsts = identities(keys[start : start + block])
        found += ids.tolist()
        fresh += (firsts + start).tolist()
    order = list(dict.fromkeys(values))
    assert found == [order.index(value) for value in values]
    assert fresh == [values.index(value) for value in order]
    assert len(identities) == len(order)


def test_many_keys_are_told_apart():
    """More than the table begins with; of keys that share a half, too."""
    keys = np.random.default_rng(0).integers(0, 1 << 63, (200_000, 2), np.uint64)
    keys[1::2, 0] = keys[::2, 0]
    keys[2::4, 1] = keys[::4, 1]
    identities = Identities()
    for part in np.array_split(keys, 7):
        identities(part)
    assert len(identities) == len(np.unique(keys, axis=0)) == 200_000
    np.testing.assert_array_equal(identities(keys)[0], np.arange(200_000))


def test_fingerprints_are_murmur_hashes():
    """Test values of MurmurHash3_x64_128 with seed 0, as published implementations give them."""
    texts = ["", "hello", "hello, world", "The quick brown fox jumps over the lazy dog"]
    wanted = [
        "00000000000000000000000000000000",
        "cbd8a7b341bd9b025b1e906a48ae1d19",
        "342fac623a5ebc8e4cdcbc079642414d",
        "e34bbc7bbc071b6c7a433ca9c49a9347",
    ]
    found = fingerprints(*buffers(pa.array(texts, pa.large_string())))
    assert [f"{a:016x}{b:016x}" for a, b in found.tolist()] == wanted


def test_known_positives_are_masked_across_sets():
    """The same anchor has a positive in each of two sets; neither is a negative of the other, whatever the
    batch.
    """
    anchors = ["w1", "w2", "w1", "w3"]
    positives = ["w11", "w12", "w13", "w11"]
    pairs = Pairs(
        pa.array(anchors), pa.array(positives), names=("a", "b"), sets=np.array([0, 0, 1, 1], np.uint16)
    )
    data = TrainingSet.of(pairs, word_tokenizer())
    assert data.names == ("a", "b")
    assert data.sets.tolist() == [0, 0, 1, 1]
    assert data.anchors[0] == data.anchors[2]
    assert data.candidates[0, 0] == data.candidates[3, 0]  # a text of two sets is one text
    texts, targets = Assembler(data, 4)(np.arange(4))
    assert len(texts) == 4 + 3
    column = {int(text): place for place, text in enumerate(texts[4:])}
    first, second = column[int(data.candidates[0, 0])], column[int(data.candidates[2, 0])]
    masked = [
        targets.masked[targets.masked_offsets[row] : targets.masked_offsets[row + 1]].tolist()
        for row in range(4)
    ]
    assert masked == [[second], [], [first], []]
