"""Texts that a model cannot tell apart are one text: none is a negative of another, in a batch, mined, or
given.
"""

import logging

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers

from statim import mine_hard_negatives
from statim.data.pairs.reading import read_pairs
from statim.model import StaticModel
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets import bags as module
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Assembler
from statim.training.loop.hard_negatives import mine
from statim.training.teach import _rows
from statim.training.train import train


def words(cased=False):
    backend = Backend(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i + 1 for i in range(60)}, "W1": 61}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if not cased:
        backend.normalizer = normalizers.Lowercase()
    return Tokenizer(backend)


ROWS = {
    "anchor": ["w9 w8", "W9  w8", "w7", "w6"],
    "positive": ["w1 w2", "w5", "w4 w4 w3", "w2"],
    "negative": ["W1\tw2", "w2 w1", "w3 w4  W4", None],
}


def test_they_have_one_number():
    data = TrainingSet.of(read_pairs(pa.table(ROWS)), words())
    first, second, third, fourth = data.candidates.tolist()
    assert data.anchors[0] == data.anchors[1]
    assert first == [first[0]] * 2
    assert second[1] == first[0]  # the order of words does not count either
    assert third == [third[0]] * 2
    assert fourth[1] == -1
    assert data.same == 4
    assert data.remark().startswith("4 texts count as the same as another one")
    assert data.remark().endswith("2 of the given negatives are their pair's positive in this sense")


def test_what_the_tokenizer_sees_counts():
    data = TrainingSet.of(read_pairs(pa.table(ROWS)), words(cased=True))
    assert data.candidates[0, 0] != data.candidates[0, 1]
    assert data.candidates[1, 1] == data.candidates[0, 0]
    more = [("w1", "w2"), ("w1 w1", "w2 w2"), ("w1 [UNK]", "w2 x"), ("w2 y y", "W1"), ("漢", "字")]
    kept = TrainingSet.of(read_pairs(more), words(cased=True))
    assert kept.same == 0  # other counts, other numbers of unknown words, no known word at all
    assert kept.remark() == ""
    assert len(np.unique([kept.anchors, kept.candidates[:, 0]])) == 10


@pytest.mark.parametrize("cached", [False, True])
def test_none_is_a_negative_in_a_batch(cached, monkeypatch):
    if cached:
        monkeypatch.setattr(module, "CACHED_FROM", 1)
    for _ in range(2):
        data = TrainingSet.of(read_pairs(pa.table(ROWS)), words())
        assert data.same == 4
        texts, targets = Assembler(data, 4)(np.arange(4))
        columns = texts[4:]
        assert len(columns) == len(np.unique(columns)) == 4
        for row in range(4):
            masked = targets.masked[targets.masked_offsets[row] : targets.masked_offsets[row + 1]]
            negatives = set(range(len(columns))) - {int(targets.columns[row])} - set(masked.tolist())
            own = set(data.candidates[data.anchors == data.anchors[row], 0].tolist())
            assert not {int(columns[column]) for column in negatives} & own


def test_none_is_mined_while_training():
    pairs = [(f"w{i} w{i + 1}", f"w{i + 20}") for i in range(15)] + [("W0 w1", "W21"), ("w1 w0", "w22")]
    data = TrainingSet.of(read_pairs(pairs), words())
    found = mine(data, np.random.default_rng(0).standard_normal((62, 8)).astype(np.float32), 5, 1)
    ours = {int(data.candidates[i, 0]) for i in (0, 15, 16)}
    assert len(ours) == 3
    for row in (0, 15, 16):
        assert not ours & set(found[row].tolist())


def test_training_with_such_negatives_is_training_without(caplog):
    rows = [{"anchor": f"w{i} w{i + 1}", "positive": f"w{i + 20} w{i + 21}"} for i in range(30)]
    start = StaticModel(np.random.default_rng(1).standard_normal((62, 16)), words())
    options = {
        "start": start,
        "heldout": 0,
        "development": 0,
        "dim": 16,
        "epochs": 2,
        "threads": 1,
        "batch": 8,
    }
    spaced = [row | {"negative": row["positive"].upper().replace(" ", " \t ")} for row in rows]
    with caplog.at_level(logging.INFO, "statim"):
        found = train(spaced, **options).model
    assert "30 texts count as the same as another one" in caplog.text
    assert "30 of the given negatives are their pair's positive" in caplog.text
    assert np.array_equal(found.table, train(rows, **options).model.table)


def test_none_is_mined():
    pairs = [(f"w{i} w{i + 1}", f"w{i + 20} w{i + 21}") for i in range(10)]
    corpus = ["W20  w21", " w20 w21\n", "w0 W1", "w29 w30 w30"]
    model = StaticModel(np.random.default_rng(0).standard_normal((62, 8)), words(), Settings())
    mined = mine_hard_negatives(pairs, model, corpus=corpus, relative_margin=None, num_negatives=3)
    first = [row for row in mined.table.to_pylist() if row["anchor"] == "w0 w1"]
    assert len(first) == 3
    assert not {row["negative"] for row in first} & {"w20 w21", *corpus[:3]}
    assert mined.report.removed["positive"] >= 3
    assert mined.report.removed["same text"] == 1
    again = mine_hard_negatives(pairs, model, relative_margin=None, num_negatives=3)
    assert again.report.removed["same text"] == 0


def test_none_is_taught():
    rows = read_pairs(
        pa.table({"anchor": ["a", "A ", "b"], "positive": ["x y", "z", "q"], "negative": ["X  y", "Z", "r"]})
    )
    table, mined = _rows(rows, None, 0, 0, 1, False)
    assert mined == 0
    assert table.column("negative_1").to_pylist() == ["q", "q", "r"]
