"""Runs with weight decay, token dropout, frozen tokens, a margin and limits: what they leave, and how they go
on.
"""

import json

import numpy as np
import pyarrow as pa
import pytest

from statim import train
from statim.errors import InputError
from statim.settings import Settings
from statim.training.initial_tables import random_table
from statim.training.loop.trainer import learning_rates
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.run import checkpoint, record
from statim.training.run.checkpoint import Checkpoints
from statim.training.start import Start, grow_start
from statim.vocabulary import learn_wordpiece

QUICK = {
    "start": "random",
    "dim": 32,
    "batch": 16,
    "threads": 2,
    "baselines": False,
    "heldout": 0,
    "development": 0,
}
KNOBS = {
    "weight_decay": 0.2, "token_dropout": 0.3, "false_negative_margin": 0.1, "freeze": ["how", "do"],
    "set_limits": {"first": 100}, "clip": 0.5, "row_wise": True,
}  # fmt: skip


@pytest.fixture
def files(rows, tmp_path):
    for name, part in (("first", rows[:120]), ("second", rows[120:])):
        lines = [json.dumps({"anchor": a, "positive": p}) + "\n" for a, p in part]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]


@pytest.fixture
def cut(files, tmp_path, monkeypatch):
    """A run with everything, interrupted after its 12th step."""
    save = Checkpoints.save

    def and_stop(self, optimizer, *rest):
        save(self, optimizer, *rest)
        if optimizer.step == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(files, out=tmp_path / "cut", epochs=3, checkpoint_every=6, **KNOBS, **QUICK)
    monkeypatch.setattr(Checkpoints, "save", save)
    return tmp_path / "cut"


def test_goes_on_to_the_same_bits(files, tmp_path, cut):
    whole = train(files, out=tmp_path / "whole", epochs=3, checkpoint_every=100, **KNOBS, **QUICK)
    again = train(out=cut, resume=True)
    np.testing.assert_array_equal(again.model.table, whole.model.table)
    assert list(again.losses) == list(whole.losses)
    assert again.recipe == whole.recipe
    assert again.pairs["train"] == 180
    assert whole.recipe.set_limits == (100, 0)
    card = (cut / "README.md").read_text()
    for line in (
        "- weight_decay: 0.2",
        "- token_dropout: 0.3",
        "- false_negative_margin: 0.1",
        "- frozen rows: 2",
        "- row_wise: True",
    ):
        assert line in card


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", 0.1), ("token_dropout", 0.2), ("false_negative_margin", 0.2), ("freeze", ["how"]),
        ("set_limits", {"first": 99}), ("new_rows_rate", 0.5), ("clip", 1.0), ("row_wise", False),
    ],
)  # fmt: skip
def test_another_value_is_refused(cut, name, value):
    with pytest.raises(InputError, match=f"{name} is .*, but the interrupted training began with"):
        train(out=cut, resume=True, **{name: value})
    assert checkpoint.newest_step(cut) == 12


def test_a_run_of_an_earlier_version_has_none_of_them_and_gets_none():
    earlier = {"options": {"dim": 32}, "in_memory": [], "files": {}, "threads": 1, "rates": []}
    earlier = record.Run.from_dict(earlier)
    assert earlier.resumed(TrainOptions()).dim == 32
    with pytest.raises(
        InputError, match=r"weight_decay is 0.1, but the interrupted training began with None"
    ):
        earlier.resumed(TrainOptions(weight_decay=0.1))
    values = Recipe.make(1000, 8).to_dict()
    new = ("false_negative_margin", "weight_decay", "token_dropout", "new_rows_rate", "set_limits")
    older = {name: value for name, value in values.items() if name not in new}
    assert Recipe.from_dict(older) == Recipe.make(1000, 8)


def test_what_is_not_asked_for_changes_nothing(pairs):
    plain = train(pairs, epochs=1, **QUICK)
    given = train(
        pairs,
        epochs=1,
        weight_decay=0.0,
        token_dropout=0.0,
        freeze=[],
        new_rows_rate=1.0,
        set_limits={},
        **QUICK,
    )
    np.testing.assert_array_equal(plain.model.table, given.model.table)


def test_frozen_tokens_stay_and_others_decay(pairs):
    frozen = ["how", "sort", "[UNK]"]
    result = train(pairs, epochs=1, freeze=frozen, weight_decay=0.05, **QUICK)
    table, tokenizer = result.model.table, result.model.tokenizer
    start = random_table(len(table), 32, 0)
    start[tokenizer.unknown_id] = 0
    ids = [tokenizer.vocabulary[token] for token in frozen]
    np.testing.assert_array_equal(table[ids], start[ids])
    assert result.frozen == result.to_dict()["frozen"] == 3
    never = tokenizer.vocabulary["[PAD]"]
    left = np.prod(1 - 0.05 * learning_rates(result.steps, result.recipe))
    np.testing.assert_allclose(table[never], left * start[never], rtol=1e-6)
    assert left < 0.97
    moved = np.abs(table - start).max(axis=1)
    assert np.flatnonzero(moved == 0).tolist() == sorted(ids)


def test_new_rows_have_a_rate_of_their_own(pairs):
    tokenizer = learn_wordpiece([pa.array(["some other words of another corpus"] * 10, pa.large_string())])
    old = Start("a table", tokenizer, Settings(), np.ones((tokenizer.vocabulary_size, 4), np.float32))
    start = grow_start(old, pairs, words=2, pairs=0, threads=1)
    first, second = start.new_rows
    assert start.row_rates([], 1.0) is None
    token = next(token for token, number in start.tokenizer.vocabulary.items() if number == second)
    rates = start.row_rates([token], 2.5)
    wanted = np.ones(start.tokenizer.vocabulary_size, np.float32)
    wanted[first], wanted[second] = 2.5, 0
    np.testing.assert_array_equal(rates, wanted)
    assert old.hash != start.hash
    with pytest.raises(
        InputError, match=r"new_rows_rate is 0.5, but a table has no new rows beside old ones"
    ):
        old.row_rates([], 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"freeze": ["how", "Zaphod", "Arthur"]},
            ("freeze names 2 tokens that the tokenizer of a random start does not have, the first 'Zaphod'"),
        ),
        ({"freeze": "how"}, "freeze is 'how'; give a list of tokens"),
        ({"freeze": [5]}, "give a list of tokens"),
        ({"new_rows_rate": 0.5}, "a random start has no new rows"),
        ({"weight_decay": -0.1}, "weight decay is -0.1"),
        (
            {"weight_decay": 1.0},
            ("a weight decay of 1 at a rate of 0.1 shrinks rows by more than 5% in a step"),
        ),
        ({"token_dropout": 1.0}, "token dropout is 1.0; it must be a number from 0 to 0.9"),
        ({"token_dropout": float("nan")}, "token dropout is nan"),
        ({"false_negative_margin": 3.0}, "false-negative margin is 3.0"),
        (
            {"false_negative_margin": 0.1, "loss": "cosent"},
            ("a false-negative margin is given, but the loss cosent"),
        ),
        ({"new_rows_rate": -1.0}, "the rate of new rows is -1.0"),
    ],
)
def test_what_is_refused(pairs, tmp_path, options, words):
    with pytest.raises(InputError) as caught:
        train(pairs, out=tmp_path / "m", **options, **QUICK)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
