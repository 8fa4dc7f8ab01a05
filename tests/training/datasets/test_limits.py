"""A start's limits of tokens and characters hold in training and in the model that comes of it."""

import json

import numpy as np
import pytest

from statim.data.pairs.reading import read_pairs
from statim.model import StaticModel
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.cutting import Cutting, as_cut_by
from statim.training.run.validation import Validation
from statim.training.start import start_from
from statim.training.train import train

LIMITS = {
    "tokens": {"max_tokens": 5},
    "characters": {"max_characters": 12},
    "both": {"max_tokens": 4, "max_characters": 20},
}
OPTIONS = {"heldout": 0, "development": 0, "epochs": 2, "dim": 16, "threads": 1, "seed": 3}


def started(minilm, **limits):
    table = np.random.default_rng(1).standard_normal((minilm.get_vocab_size(), 16))
    return StaticModel(table, minilm, Settings(**limits))


@pytest.fixture
def longer(rows):
    """The pairs, and the same with texts that go on after five tokens, each in another way; all are of more
    than 20 characters.
    """
    heads = [(f"{a.replace(' ', '')[:12]} aa bb cc", f"{b.replace(' ', '')[:12]} dd ee ff") for a, b in rows]
    assert len({text[:12] for pair in heads for text in pair}) > 30
    return [
        [tuple(f"{text}{tail} {i} {tail * 9}" for text in pair) for i, pair in enumerate(heads)]
        for tail in ("x", "y")
    ]


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("loss", ["contrastive", "cosent", "classes"])
def test_what_lies_beyond_a_limit_is_not_trained_on(loss, limits, longer, minilm):
    first, second = longer
    if loss == "cosent":
        first, second = (
            [{"text1": a, "text2": b, "score": i % 5} for i, (a, b) in enumerate(rows)] for rows in longer
        )
    if loss == "classes":
        first, second = (
            [{"text": a, "label": str(i % 7)} for i, (a, _) in enumerate(rows)] for rows in longer
        )
    start = started(minilm, **limits)
    tables = [train(rows, start=start, loss=loss, **OPTIONS).model.table for rows in (first, second)]
    assert np.array_equal(*tables)
    assert not np.array_equal(tables[0], start.table)
    free = [train(rows, start=started(minilm), loss=loss, **OPTIONS).model.table for rows in (first, second)]
    assert not np.array_equal(*free)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize(
    "more", [{}, {"grow_words": 3}, {"prune_vocabulary": True}], ids=["plain", "grown", "pruned"]
)
def test_the_trained_model_keeps_them(more, limits, rows, minilm, tmp_path):
    start = started(minilm, **limits, prompts={"query": "q: "}, language=("de",))
    start.save(tmp_path / "start")
    for given in (start, tmp_path / "start"):
        trained = train(rows, out=tmp_path / "m", start=given, overwrite=True, **OPTIONS, **more).model
        for model in (
            trained,
            StaticModel.load(tmp_path / "m"),
            StaticModel.load(tmp_path / "m").quantize("int8"),
        ):
            found = {name: getattr(model.settings, name) for name in ("max_tokens", "max_characters")}
            assert found == {"max_tokens": None, "max_characters": None} | limits
            assert model.settings.prompts == {"query": "q: "}
    text = "how do I bake a long list of breads?"
    cut = trained.tokenizer([text[: limits.get("max_characters")]], max_tokens=limits.get("max_tokens"))
    assert np.array_equal(trained.encode([text]), trained.pool(cut))
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    assert config["max_length"] == limits.get("max_tokens")


def test_a_start_without_limits_has_its_own_tokenizer(rows, minilm):
    begun = start_from(started(minilm), None, read_pairs(rows), False)
    assert begun.cutting is begun.tokenizer
    limited = start_from(started(minilm, max_tokens=5), None, read_pairs(rows), False)
    assert limited.hash != begun.hash


def test_the_development_pairs_are_cut_too(longer, minilm):
    settings = Settings(max_tokens=5)
    scores = [
        Validation(read_pairs(rows), as_cut_by(settings, Tokenizer(minilm)), settings, 1).score(
            started(minilm).table
        )
        for rows in longer
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("count", [3, 1000])
def test_lower_limits_may_be_asked_for(count, minilm):
    whole = Tokenizer(minilm)
    cutting = Cutting(whole, 6, 30)
    texts = ["the quick brown fox jumps over the lazy dog"] * count
    assert cutting(texts) == whole(texts, max_tokens=6, max_characters=30)
    assert cutting(texts, max_tokens=2) == whole(texts, max_tokens=2)
    assert cutting(texts, max_tokens=9, max_characters=8) == whole(texts, max_characters=8)
    assert len({cutting.hash, whole.hash, Cutting(whole, 6).hash, Cutting(whole, None, 6).hash}) == 4
