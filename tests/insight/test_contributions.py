"""Contributions add up to the cosine of the vectors that ``encode`` gives, whatever the model."""

import re

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.errors import InputError
from statim.insight.contributions import explain, marked
from statim.insight.explain_page import page
from statim.insight.neighbors import neighbors
from statim.model import StaticModel
from statim.settings import Settings

WORDS = ["[UNK]", "red", "green", "blue", "sky", "sea", "grass", "over", "the", "a"]
A, B = "the sky over the sea xyzzy", "blue blue grass plugh a sea"


def model_of(settings=None, dim=16, seed=3):
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(seed).normal(size=(len(WORDS), dim)).astype(np.float32)
    return StaticModel(table * np.arange(1, len(WORDS) + 1)[:, None], backend, settings)


def cosine(model, a, b, **options):
    left, right = model.encode([a, b], normalize=False, **options).astype(np.float64)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(normalize=False, drop_unknown=True),
        Settings(max_tokens=3),
        Settings(max_characters=9, drop_unknown=True),
    ],
    ids=["ours", "unknown dropped", "three tokens", "nine characters"],
)
@pytest.mark.parametrize("dim", [None, 5])
def test_the_parts_are_the_cosine(dtype, settings, dim):
    model = model_of(settings).quantize(dtype)
    found = explain(model, A, B, dim=dim)
    assert found.score == pytest.approx(cosine(model, A, B, dim=dim), abs=1e-6)
    assert found.contributions.sum() == pytest.approx(found.score, abs=1e-12)
    for tokens in (found.tokens_a, found.tokens_b):
        assert sum(token.contribution for token in tokens) == pytest.approx(found.score, abs=1e-12)
    told = found.to_dict(3)
    assert sum(pair["contribution"] for pair in told["pairs"]) + told["rest"] == pytest.approx(found.score)
    counted = model.tokenize([A]).ids.tolist()
    if settings.drop_unknown:
        counted = [i for i in counted if i]
    assert {token.id: token.count for token in found.tokens_a} == {i: counted.count(i) for i in counted}
    assert [token.id for token in found.tokens_a] == list(dict.fromkeys(counted))


def test_one_pair_by_hand():
    """Two tokens against one: the rows and counts written out."""
    model = model_of()
    red, sky, sea = (model.table[WORDS.index(word)].astype(np.float64) for word in ("red", "sky", "sea"))
    found = explain(model, "sky sea sky", "red")
    lengths = np.linalg.norm(2 * sky + sea) * np.linalg.norm(red)
    assert found.contributions == pytest.approx(np.array([[2 * sky @ red], [sea @ red]]) / lengths)
    assert [(token.text, token.count, token.spans) for token in found.tokens_a] == [
        ("sky", 2, ((0, 3), (8, 11))),
        ("sea", 1, ((4, 7),)),
    ]
    strongest = found.pairs(1)[0]
    by_hand = [abs(2 * sky @ red), abs(sea @ red)]
    assert strongest.a == ("sky", "sea")[int(np.argmax(by_hand))]


def test_prompts_come_before_the_texts():
    model = model_of()
    found = explain(model, "sky", "sea", prompts=("the ", None))
    assert found.score == pytest.approx(cosine(model, "the sky", "sea"), abs=1e-6)
    assert [token.spans for token in found.tokens_a] == [((0, 3),), ((4, 7),)]


def test_of_every_tokenizer(backends):
    texts = "Opening files über Größe, twice: opening files!", "a file's size in bytes; größe"
    for kind, backend in backends.items():
        rows = np.random.default_rng(0).normal(size=(backend.get_vocab_size(), 8)).astype(np.float32)
        model = StaticModel(rows, backend)
        found = explain(model, *texts)
        assert found.score == pytest.approx(cosine(model, *texts), abs=1e-6), kind
        spans = sorted(span for token in found.tokens_a for span in token.spans)
        assert spans, kind
        assert sum(token.count for token in found.tokens_a) == len(spans), kind
        assert all(0 <= start <= stop <= len(texts[0]) for start, stop in spans), kind


@pytest.mark.parametrize("pair", [("", "sky"), ("sky", ""), ("", ""), ("xyzzy", "sky")])
def test_texts_without_tokens_have_the_score_0(pair):
    found = explain(model_of(Settings(drop_unknown=True)), *pair)
    assert found.score == 0.0
    assert found.pairs() == []


@pytest.mark.parametrize("text", ["sky \ud800 sea", "\ud83d\ude00 sky over sea"])
@pytest.mark.parametrize("limit", [None, 6])
def test_surrogates_are_mended_as_in_encode(text, limit):
    model = model_of(Settings(max_characters=limit))
    found = explain(model, text, B)
    assert found.score == pytest.approx(cosine(model, text, B), abs=1e-6)
    found.a.encode("utf-8")
    for token in found.tokens_a:
        for start, stop in token.spans:
            assert token.text in (found.a[start:stop], "[UNK]")


def test_refusals():
    with pytest.raises(InputError, match=r"^b is of type int; give a text \(str\)$"):
        explain(model_of(), "a", 3)
    with pytest.raises(InputError, match="dim is 17"):
        explain(model_of(), "a", "b", dim=17)


def test_neighbors_are_the_nearest_rows():
    model, before = model_of(), model_of(seed=4)
    rows = model.table.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = rows @ rows[WORDS.index("sky")]
    expected = [i for i in np.argsort(-scores) if WORDS[i] != "sky"][:4]
    found = neighbors(model, "sky", 4, before=before)
    assert [one.token for one in found] == [WORDS[i] for i in expected]
    assert [one.score for one in found] == pytest.approx(scores[expected].tolist(), abs=1e-6)
    earlier = before.table.astype(np.float64)
    earlier /= np.linalg.norm(earlier, axis=1, keepdims=True)
    assert [one.before for one in found] == pytest.approx(
        (earlier @ earlier[WORDS.index("sky")])[expected].tolist(), abs=1e-6
    )
    assert len(neighbors(model, "sky", 1000)) == len(WORDS) - 1
    with pytest.raises(InputError, match="k is 0"):
        neighbors(model, "sky", 0)
    with pytest.raises(InputError, match="knows no token of ''"):
        neighbors(model, "")


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_neighbors_of_quantized_models(dtype):
    model = model_of().quantize(dtype)
    rows = model.table.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = neighbors(model, "sky", 4, before=model)
    scores = (rows @ rows[WORDS.index("sky")])[[WORDS.index(one.token) for one in found]]
    assert [one.score for one in found] == pytest.approx(scores.tolist(), abs=1e-6)
    assert [one.before for one in found] == [one.score for one in found]


def test_what_an_earlier_model_lacks_is_none():
    model, table = model_of(), model_of(seed=4).table.copy()
    nearest, second = neighbors(model, "sky", 2)
    table[WORDS.index(nearest.token)] = 0
    before = StaticModel(table, model.tokenizer.backend)
    found = neighbors(model, "sky", 2, before=before)
    assert found[0].before is None
    assert found[1].before is not None
    assert found[1].token == second.token
    table[WORDS.index("sky")] = 0
    before = StaticModel(table, model.tokenizer.backend)
    assert [one.before for one in neighbors(model, "sky", 3, before=before)] == [None] * 3


def test_parts_are_the_text_whatever_the_tokenizer(backends):
    """Several tokens may be at one place: those of the bytes of a letter."""
    text = "größer € ☕ files"
    for kind, backend in backends.items():
        rows = np.random.default_rng(0).normal(size=(backend.get_vocab_size(), 8)).astype(np.float32)
        found = explain(StaticModel(rows, backend), text, "files")
        parts = list(marked(found.a, found.tokens_a))
        assert "".join(part for part, _, _ in parts) == text, kind
        assert all(abs(share) <= 1 for _, _, share in parts), kind
        assert "größer € ☕ files" in re.sub("</?mark[^>]*>", "", page(found)), kind
