"""Halves of one corpus are fine; another domain, and words that the vocabulary lacks, are told."""

import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
import tokenizers
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest
from tokenizers import models, normalizers, pre_tokenizers

from statim.data import TextFile
from statim.errors import DataError, InputError
from statim.insight.drift import drift
from statim.insight.vocabulary_fit import Share, fit
from statim.model import StaticModel
from statim.training.train import train

KITCHEN = [
    "pot",
    "pan",
    "salt",
    "soup",
    "oven",
    "bread",
    "knife",
    "spoon",
    "onion",
    "butter",
    "flour",
    "sugar",
    "boil",
    "fry",
    "grill",
    "cut",
    "stir",
]
HARBOUR = [
    "ship",
    "sail",
    "rope",
    "mast",
    "storm",
    "wave",
    "anchor",
    "port",
    "tide",
    "crew",
    "fog",
    "hull",
    "deck",
    "cargo",
    "pier",
    "gull",
    "row",
]


@pytest.fixture(scope="module")
def model(minilm):
    rows = np.random.default_rng(0).normal(size=(minilm.get_vocab_size(), 16)).astype(np.float32)
    return StaticModel(rows, minilm)


def texts(words, count, seed):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, 8)) for _ in range(count)]


def test_halves_of_one_corpus_are_fine(model):
    verdicts = Counter(
        drift(model, texts(KITCHEN, 150, seed), texts(KITCHEN, 150, 1000 + seed), seed=seed).verdict
        for seed in range(20)
    )
    assert verdicts == {"fine": 20}


def test_another_domain_is_told(model):
    for old, new in ((KITCHEN, HARBOUR), (HARBOUR, KITCHEN)):
        found = drift(model, texts(old, 60, 0), texts(new, 60, 1))
        assert found.verdict == "retrain"
        assert found.auc > 0.95
        assert found.p == pytest.approx(0.001)
        assert "of another domain" in found.reason


def test_new_words_are_told(model):
    """One word in eight is a new one that the tokenizer cuts into pieces."""
    new = list({text.replace("spoon", "xyloquagglor") for text in texts(KITCHEN, 300, 5)})
    found = drift(model, texts(KITCHEN, 300, 6), new)
    assert found.verdict == "extend the vocabulary"
    assert found.new_words[0][0] == "xyloquagglor"
    assert found.new_words[0][1] == sum(text.count("xyloquagglor") for text in new)
    assert found.new.in_pieces.share == pytest.approx(found.new_words[0][1] / (len(new) * 8))
    assert found.old.in_pieces.share == 0.0


def test_figures_by_other_means(model):
    old, new = texts(KITCHEN, 80, 1), [*texts(HARBOUR, 60, 2), *texts(KITCHEN, 20, 3)]
    found = drift(model, old, new)
    counts = [
        np.bincount(model.tokenize(side).ids, minlength=model.tokenizer.vocabulary_size)
        for side in (old, new)
    ]
    assert found.divergence == pytest.approx(jensenshannon(*counts, base=2) ** 2)
    assert found.usual_divergence < found.divergence
    again = drift(model, old, [*new, old[0].upper()])
    assert again.repeated == pytest.approx(1 / 81)
    assert drift(model, old, new).to_dict() == found.to_dict()
    json.dumps(found.to_dict())


def test_a_share_of_texts_that_are_alike_is_less_certain():
    """Ten texts that are wholly in pieces beside 90 that are not tell less than 100 words drawn alone."""
    apart = Share.of(np.r_[np.ones(100), np.zeros(900)], np.ones(1000))
    together = Share.of(np.r_[np.full(10, 10.0), np.zeros(90)], np.full(100, 10.0))
    assert apart.share == together.share == 0.1
    assert together.high - together.low > 2 * (apart.high - apart.low)
    wilson = binomtest(100, 1000).proportion_ci(0.99, method="wilson")
    assert (apart.low, apart.high) == pytest.approx((wilson.low, wilson.high), abs=1e-5)


def test_refusals(model):
    with pytest.raises(InputError, match="the new side has 3 different texts; give at least 50"):
        drift(model, texts(KITCHEN, 60, 0), ["a", "b", "c", "a"])
    with pytest.raises(InputError, match="sample is 10"):
        drift(model, texts(KITCHEN, 60, 0), texts(KITCHEN, 60, 1), sample=10)
    with pytest.raises(InputError, match="seed is -1; it must be a whole number of at least 0"):
        drift(model, texts(KITCHEN, 60, 0), texts(KITCHEN, 60, 1), seed=-1)
    with pytest.raises(InputError, match="the old side: text 0 is of type NoneType, not str"):
        drift(model, [None] * 60, texts(KITCHEN, 60, 1))
    with pytest.raises(InputError, match="the new side: texts is of type int"):
        drift(model, texts(KITCHEN, 60, 1), 60)


def test_words_keep_their_marks_and_end_where_the_script_says():
    """Of a tokenizer that has the words whole, none is in pieces, however they are encoded."""
    whole = ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e", "caf\u00e9", "na\u00efve"]
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *whole])}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    exact = StaticModel(np.eye(5, 4, dtype=np.float32), backend)
    found = fit(exact, [unicodedata.normalize("NFD", " ".join(whole)), " ".join(whole)]).in_pieces
    assert (found.share, found.total) == (0.0, 8)
    chinese = "\u6211\u7231\u5317\u4eac\u5929\u5b89\u95e8"
    assert fit(exact, [chinese, f"{whole[2]} {chinese}"]).in_pieces.total == 1


def test_more_unknown_tokens_are_told_as_such():
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *KITCHEN])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    words = np.random.default_rng(2).normal(size=(len(KITCHEN) + 1, 16)).astype(np.float32)
    words[0] = 0
    new = [text.replace("spoon", "1234") for text in texts(KITCHEN, 300, 5)]
    found = drift(StaticModel(words, backend), texts(KITCHEN, 300, 6), new)
    assert found.verdict == "extend the vocabulary"
    assert found.reason.endswith("percentage points more of the tokens are unknown; add the new words")


def test_a_text_file_keeps_its_encoding(model, tmp_path):
    words = [word.replace("o", "\u00f6") for word in KITCHEN]
    for name, seed in (("old.txt", 1), ("new.txt", 2)):
        (tmp_path / name).write_text("\n".join(texts(words, 60, seed)), encoding="windows-1252")
    sides = [TextFile(tmp_path / name, encoding="windows-1252") for name in ("old.txt", "new.txt")]
    expected = drift(model, texts(words, 60, 1), texts(words, 60, 2))
    assert drift(model, *sides).to_dict() == expected.to_dict()


def test_the_old_side_may_be_a_folder_that_training_made(tmp_path, model):
    rows = [(f"how to {a} the {b}", f"the {b} : {a}") for a in KITCHEN for b in KITCHEN[:8]]
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps({"question": a, "answer": p}) + "\n" for a, p in rows))
    train(path, out=tmp_path / "out", start="random", dim=8, epochs=1, heldout=0, baselines="none")
    new = texts(HARBOUR, 60, 1)
    expected = drift(model, [text for pair in rows for text in pair], new)
    found = drift(model, tmp_path / "out", new)
    assert found.old_texts == expected.old_texts == len({text for pair in rows for text in pair})
    assert found.verdict == expected.verdict != "fine"
    path.unlink()
    with pytest.raises(
        DataError, match=r"what the model in .*out was trained on cannot be read: .*old.jsonl"
    ):
        drift(model, tmp_path / "out", new)
    model.save(tmp_path / "plain")
    with pytest.raises(DataError, match=r"plain is the folder of a model that does not say what it was"):
        drift(model, tmp_path / "plain", new)
