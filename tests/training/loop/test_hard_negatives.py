"""Hard negatives that a training mines for itself."""

import json
import sys

import numpy as np
import pytest

from statim import train
from statim.cli import main
from statim.data.pairs.reading import read_pairs
from statim.errors import InputError
from statim.model import StaticModel
from statim.training.datasets.bags import TrainingSet
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.initial_tables import random_table
from statim.training.loop import hard_negatives
from statim.training.loop.hard_negatives import MARGIN, RANKS, Miner, mine
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.checkpoint import Checkpoints
from statim.vocabulary import learn_wordpiece

import torch  # isort: skip

QUICK = {"dim": 32, "batch": 16, "threads": 1, "baselines": False, "heldout": 0, "development": 0}


@pytest.fixture(scope="module")
def some(rows):
    """Pairs of which some anchors have two positives, some positives two anchors, and one anchor is a
    positive too.
    """
    further = [(a, rows[i + 1][1]) for i, (a, _) in enumerate(rows[:60])]
    return read_pairs([*rows, *further, (rows[3][1], rows[90][1])])


@pytest.fixture(scope="module")
def begun(some):
    tokenizer = learn_wordpiece([some.anchors, some.positives])
    table = random_table(tokenizer.vocabulary_size, 32, 3)
    table[tokenizer.unknown_id] = 0
    return tokenizer, table


def test_against_all_scores_in_float64(some, begun):
    tokenizer, table = begun
    found = mine(TrainingSet.of(some, tokenizer), table, 4, 2)
    model = StaticModel(table, tokenizer)
    anchors, positives = some.anchors.to_pylist(), some.positives.to_pylist()
    documents = sorted(set(positives))
    data = TrainingSet.of(some, tokenizer)
    text_of = dict(zip(data.candidates[:, 0].tolist(), positives, strict=True))

    def unit(texts):
        vectors = model.encode(texts, normalize=False).astype(np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    given = unit(documents)
    belongs = {
        anchor: {p for a, p in zip(anchors, positives, strict=True) if a == anchor} | {anchor}
        for anchor in anchors
    }
    most = max(len(known & set(documents)) for known in belongs.values())
    missing = 0
    for row, anchor in enumerate(anchors):
        known = belongs[anchor]
        scores = given @ unit([anchor])[0]
        worst = min(s for s, text in zip(scores, documents, strict=True) if text in known)
        order = [i for i in np.argsort(-scores)[: RANKS + most] if documents[i] not in known]
        allowed = [i for i in order if scores[i] <= worst - abs(worst) * MARGIN][:RANKS]
        expected = scores[allowed[:4]]
        own = [text_of[text] for text in found[row].tolist() if text >= 0]
        assert not set(own) & known
        # where documents tie (they may share their tokens) any may come first
        np.testing.assert_allclose(
            sorted(scores[[documents.index(text) for text in own]]), sorted(expected), atol=1e-5
        )
        missing += len(own) < 4
    assert 0 < missing < len(anchors)


def test_where_it_mines(some, begun, monkeypatch):
    """Before the first epoch, or after it from a random start; then every so many."""
    tokenizer, table = begun
    data = TrainingSet.of(some, tokenizer)
    recipe = Recipe.make(len(some), None, dim=32, batch=64, epochs=5, hard_negatives=2, mine_every=2)
    steps = len(some) // 64
    monkeypatch.setattr(
        hard_negatives, "mine", lambda data, table, n, threads: np.full((len(data), n), 7, np.int32)
    )
    for from_start, epochs in ((True, [0, 2, 4]), (False, [1, 3])):
        optimizer = begin(table.copy(), data, recipe, 1)
        seen = []
        for given, until in Miner(data, recipe, from_start, 1).stretches(optimizer, lambda: False):
            seen.append((optimizer.step, given.candidates.shape[1]))
            optimizer.step = until
        before = [] if from_start else [(0, 1)]
        assert seen == before + [(steps * epoch, 3) for epoch in epochs]


def test_stretches_change_nothing_by_themselves(some, begun):
    """Trained in two parts, on either path, a table is the same as in one."""
    tokenizer, table = begun
    data = TrainingSet.of(some, tokenizer)
    recipe = Recipe.make(len(some), None, dim=32, batch=32, epochs=2, precision="fp32")
    whole, parts = begin(table.copy(), data, recipe, 1), begin(table.copy(), data, recipe, 1)
    fit(data, whole, recipe)
    for until in (5, None):
        fit(data, parts, recipe, until=until)
    np.testing.assert_array_equal(whole.current(), parts.current())
    device = torch.device("cpu")
    whole, parts = (DeviceAdam(begin(table.copy(), data, recipe, 1), device) for _ in range(2))
    fit_on_device(data, whole, recipe)
    for until in (5, None):
        fit_on_device(data, parts, recipe, until=until)
    assert parts.step == whole.step
    np.testing.assert_array_equal(whole.current(), parts.current())


@pytest.mark.parametrize("step", [7, 15, 16, 38])
@pytest.mark.parametrize("start", ["random", "earlier"])
def test_a_resumed_run_trains_on_the_same(some, begun, tmp_path, monkeypatch, step, start):
    tokenizer, table = begun
    start = "random" if start == "random" else StaticModel(table, tokenizer)
    options = QUICK | {"start": start, "epochs": 3, "checkpoint_every": 1, "hard_negatives": 2}
    whole = train(some, out=tmp_path / "whole", **options)
    assert whole.steps == 48
    plain = train(some, **options | {"hard_negatives": 0, "checkpoint_every": None})
    assert not np.array_equal(whole.model.table, plain.model.table)
    save = Checkpoints.save

    def and_stop(self, optimizer, *rest):
        save(self, optimizer, *rest)
        if optimizer.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(some, out=tmp_path / "m", **options)
    monkeypatch.undo()
    again = train(some, out=tmp_path / "m", resume=True, start=None if start == "random" else start)
    assert list(again.losses) == list(whole.losses)
    np.testing.assert_array_equal(again.model.table, whole.model.table)


def test_refusals(some, rows):
    with pytest.raises(InputError, match=r"random start.*after the first epoch, and there is only one"):
        train(some, start="random", hard_negatives=2, epochs=1, **QUICK)
    with pytest.raises(InputError, match="hard negatives is -1"):
        train(some, start="random", hard_negatives=-1, **QUICK)
    with pytest.raises(InputError, match="mine every is 0"):
        train(some, start="random", hard_negatives=1, mine_every=0, **QUICK)
    few = [(f"{a} {i}", rows[i % 3][1]) for i, (a, _) in enumerate(rows)]
    with pytest.raises(InputError, match="there are 3 different positives to train on, too few for 3 hard"):
        train(few, start="random", hard_negatives=3, **QUICK)
    labelled = {"text": [a for a, _ in rows], "label": [str(i % 4) for i in range(len(rows))]}
    with pytest.raises(InputError, match="mined for pairs; leave them out with the loss classes"):
        train(labelled, start="random", hard_negatives=3, **QUICK)


def test_the_command(pairs_file, tmp_path, monkeypatch, capfd):
    words = ["train", str(pairs_file), "--out", str(tmp_path / "m"), "--start", "random", "--heldout", "0"]
    words += ["--hard-negatives", "2", "--mine-every", "2", "--epochs", "4", "--no-baselines"]
    monkeypatch.setattr(sys, "argv", ["statim", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    _, err = capfd.readouterr()
    assert caught.value.code == 0, err
    assert err.count("hard negatives for") == 2
    recipe = json.loads((tmp_path / "m" / "training.jsonl").read_text().splitlines()[0])
    assert recipe["step"] == 1
