import concurrent.futures
import json
import multiprocessing
import pickle
import random
import time
import warnings

import hypothesis.strategies as st
import nanotoken
import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from statim.errors import InputError, ModelError
from statim.tokenizer.tokenizer import PROBE, Tokenizer, mend

KINDS = ["WordPiece", "Unigram", "BPE", "WordLevel"]


@pytest.fixture(scope="session")
def ours(backends):
    return {kind: Tokenizer(backend) for kind, backend in backends.items()}


@pytest.fixture(scope="session")
def theirs(backends):
    """ids by the library itself, one text at a time, of a copy without truncation and padding."""
    copies = {kind: tokenizers.Tokenizer.from_str(backend.to_str()) for kind, backend in backends.items()}
    for backend in copies.values():
        backend.no_truncation()
        backend.no_padding()
    return lambda kind, texts: [copies[kind].encode(text, add_special_tokens=False).ids for text in texts]


def replaced(text):
    """The rule for surrogates, unit by unit: a pair is its character, a lone one is U+FFFD."""
    out, index = [], 0
    while index < len(text):
        here = text[index]
        after = text[index + 1 : index + 2]
        if "\ud800" <= here <= "\udbff" and after and "\udc00" <= after <= "\udfff":
            out.append(chr(0x10000 + ((ord(here) - 0xD800) << 10) + (ord(after) - 0xDC00)))
            index += 2
            continue
        out.append("\ufffd" if "\ud800" <= here <= "\udfff" else here)
        index += 1
    return "".join(out)


def random_texts(number, seed):
    """Characters of all planes, of the scripts with tricky rules, and pieces of the probe, run together."""
    r = random.Random(seed)
    pieces = [*PROBE, " ", "hello", "Zürich", "##ing", "\u2028", "\x85"]
    ways = [
        lambda: chr(r.randrange(128)),
        lambda: chr(r.randrange(0x300)),
        lambda: chr(r.randrange(0x300, 0x370)),  # combining marks
        lambda: chr(r.randrange(0x3000)),
        lambda: chr(r.choice([r.randrange(0xD800), r.randrange(0xE000, 0x110000)])),
        lambda: r.choice(pieces),
        lambda: " ",
    ]
    return ["".join(r.choice(ways)() for _ in range(r.randrange(14))) for _ in range(number)]


@pytest.mark.parametrize(
    ("kind", "number"), [("WordPiece", 6000), ("Unigram", 2000), ("BPE", 2000), ("WordLevel", 2000)]
)
def test_ids_are_those_of_tokenizers_on_random_texts(kind, number, ours, theirs):
    texts = random_texts(number, seed=7)
    assert [ids.tolist() for ids in ours[kind](texts)] == theirs(kind, texts)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(texts=st.lists(st.text(st.characters()), max_size=8))
def test_ids_are_those_of_tokenizers_on_any_text(kind, ours, theirs, texts):
    """Lone surrogates among them."""
    assert [ids.tolist() for ids in ours[kind](texts)] == theirs(kind, [replaced(text) for text in texts])


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers_on_real_texts(kind, ours, theirs, docstrings):
    texts = docstrings[:: 1 if kind == "WordPiece" else 4]
    assert [ids.tolist() for ids in ours[kind](texts)] == theirs(kind, texts)


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_and_padding_of_the_backend_do_not_leak(kind, backends, ours):
    backend = tokenizers.Tokenizer.from_str(backends[kind].to_str())
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    text = "many words in this text, more than three of them"
    assert Tokenizer(backend)([text]) == ours[kind]([text])
    assert len(backend.encode(text).ids) == 50  # the caller's own is as it was


@given(
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=8) | st.text(st.characters())
)
def test_surrogates(text):
    assert mend(text) == replaced(text)


def test_surrogates_at_the_edges():
    assert mend("a\ud83d\ude00b") == "a😀b"
    assert mend("\ufeff\ud800") == "\ufeff\ufffd"
    assert mend("\ude00\ud83d") == "\ufffd\ufffd"
    assert mend("\ud83d\ud83d\ude00") == "\ufffd😀"


def test_one_bad_text_does_not_change_its_neighbours(ours):
    texts = ["first one", "bad \ud800 text", "last one"]
    for tokenizer in ours.values():
        assert tokenizer(texts) == tokenizer(["first one", "bad \ufffd text", "last one"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_max_tokens(kind, limit, ours, docstrings):
    whole = ours[kind](docstrings[:200])
    cut = ours[kind](docstrings[:200], max_tokens=limit)
    assert [ids.tolist() for ids in cut] == [ids.tolist()[:limit] for ids in whole]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 5, 40])
def test_max_characters(kind, limit, ours, docstrings):
    assert ours[kind](docstrings[:200], max_characters=limit) == ours[kind](
        [t[:limit] for t in docstrings[:200]]
    )


@pytest.mark.parametrize("limit", [{"max_tokens": 0}, {"max_tokens": -1}, {"max_characters": 0}])
def test_limits_that_are_none(limit, ours):
    (name,) = limit
    for tokenizer in ours.values():
        with pytest.raises(InputError, match=f"^{name} is .*; it must be at least 1, or None for no limit"):
            tokenizer(["text"], **limit)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_give_the_same(kind, ours, docstrings):
    texts = docstrings * (4 if kind == "WordPiece" else 1)
    one = ours[kind](texts, threads=1)
    assert one == ours[kind](texts, threads=2) == ours[kind](texts, threads=5)
    assert one == ours[kind](iter(texts), threads=2)


@pytest.mark.parametrize("kind", KINDS)
def test_many_threads_use_one_tokenizer(kind, ours, docstrings):
    texts = docstrings[:500]
    expected = ours[kind](texts)
    with concurrent.futures.ThreadPoolExecutor(6) as callers:
        assert all(found == expected for found in callers.map(ours[kind], [texts] * 12))


@pytest.mark.parametrize("kind", KINDS)
def test_few_and_none(kind, ours):
    assert len(ours[kind]([])) == 0
    assert ours[kind](["", "  ", ""]).lengths.tolist()[::2] == [0, 0]
    assert ours[kind]("one str is one text") == ours[kind](["one str is one text"])
    assert ours[kind]([np.str_("numpy's own")]) == ours[kind](["numpy's own"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (None, "NoneType"),
        (b"bytes", "bytes"),
        (1, "int"),
        (float("nan"), "float"),
        (["a"], "list"),
        (("a", "b"), "tuple"),
    ],
)
def test_the_first_text_that_is_none_is_named(kind, wrong, name, ours):
    texts = ["fine"] * 3000
    texts[2500] = wrong
    texts[2700] = 7
    for given_texts in (texts, iter(texts)):
        with pytest.raises(
            InputError, match=rf"^text 2,500 is of type {name}, not str; give every text as a str"
        ):
            ours[kind](given_texts, threads=2)


def test_ten_megabytes_in_one_text(ours, docstrings):
    text = "\n".join(docstrings)
    text = (text * (10_000_000 // len(text) + 1))[:10_000_000]
    started = time.perf_counter()
    tokens = ours["WordPiece"]([text])
    assert time.perf_counter() - started < 10
    half = text.rindex(" ", 0, 5_000_000)
    assert len(tokens.ids) == len(ours["WordPiece"]([text[:half], text[half:]]).ids) > 1_500_000
    assert ours["WordPiece"]([text], max_tokens=3)[0].tolist() == tokens.ids[:3].tolist()


def test_ten_megabytes_without_a_space(ours):
    started = time.perf_counter()
    tokens = ours["WordPiece"](["x" * 10_000_000])
    assert tokens.ids.tolist() == [ours["WordPiece"].unknown_id]
    assert time.perf_counter() - started < 10


def test_what_it_says_of_itself(ours, backends):
    for kind, tokenizer in ours.items():
        assert tokenizer.kind == kind
        assert tokenizer.is_fast is (kind == "WordPiece")
        assert tokenizer.vocabulary == backends[kind].get_vocab(with_added_tokens=True)
        assert tokenizer.vocabulary_size == max(tokenizer.vocabulary.values()) + 1
    assert ours["WordPiece"].unknown_id == ours["WordPiece"].vocabulary["[UNK]"]
    assert ours["WordLevel"].unknown_id == ours["WordLevel"].vocabulary["[UNK]"]
    assert ours["Unigram"].unknown_id == ours["Unigram"].vocabulary["<unk>"]
    assert ours["BPE"].unknown_id is None


def test_unknown_ids_of_other_kinds():
    bpe = tokenizers.Tokenizer(models.BPE({"a": 0, "?": 1}, [], unk_token="?"))
    assert Tokenizer(bpe).unknown_id == 1
    assert Tokenizer(bpe)(["ab"]).ids.tolist() == [0, 1]
    assert Tokenizer(tokenizers.Tokenizer(models.Unigram([("a", 0.0)]))).unknown_id is None


def test_ids_with_gaps():
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 3, "[UNK]": 70}, unk_token="[UNK]"))
    assert Tokenizer(backend).vocabulary_size == 71
    assert Tokenizer(tokenizers.Tokenizer(models.BPE())).vocabulary_size == 0


@pytest.mark.parametrize(
    "model",
    [
        models.WordPiece({"a": 0}, unk_token="[UNK]"),
        models.WordLevel({"a": 0}, unk_token="[UNK]"),
        models.BPE({"a": 0}, [], unk_token="[UNK]"),
        models.Unigram([("a", 0.0)]),
    ],
    ids=["WordPiece", "WordLevel", "BPE", "Unigram"],
)
def test_an_unknown_token_that_does_not_exist(model):
    with pytest.raises(
        InputError, match=r"the tokenizer cannot cut every text .*; give its vocabulary an unknown token"
    ):
        Tokenizer(tokenizers.Tokenizer(model))(["b"])


def wordpiece(normalizer, pre_tokenizer, vocabulary, *added, **options):
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", **options))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizer
    backend.add_tokens(list(added))
    return backend


WORDPIECES = {
    "cased": (normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()),
    "accents kept": (normalizers.BertNormalizer(strip_accents=False), pre_tokenizers.BertPreTokenizer()),
    "uncleaned": (normalizers.BertNormalizer(clean_text=False), pre_tokenizers.BertPreTokenizer()),
    "NFKC": (
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre_tokenizers.Whitespace(),
    ),
    "NFD": (
        normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]),
        pre_tokenizers.WhitespaceSplit(),
    ),
    "replacing": (normalizers.Replace("a", "b"), pre_tokenizers.BertPreTokenizer()),
    "by a pattern": (normalizers.Lowercase(), pre_tokenizers.Split(tokenizers.Regex("[aeiou]"), "isolated")),
}


@pytest.mark.parametrize("way", WORDPIECES)
def test_every_wordpiece_cuts_like_tokenizers(way, minilm):
    """Those that nanotoken does not know go through tokenizers, silently."""
    added = (
        AddedToken("New York", lstrip=True, rstrip=True),
        AddedToken("a1", single_word=True),
        AddedToken("É", normalized=True),
    )
    backend = wordpiece(*WORDPIECES[way], minilm.get_vocab(), *added, max_input_chars_per_word=20)
    texts = [*random_texts(800, seed=3), "from New York to a1 or a12, É e\u0301"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Tokenizer(backend)(texts)
    assert [ids.tolist() for ids in found] == [
        backend.encode(text, add_special_tokens=False).ids for text in texts
    ]
    assert Tokenizer(backend).is_fast is (way not in ("replacing", "by a pattern"))


def test_one_warning_and_exact_ids_when_nanotoken_differs(minilm, monkeypatch):
    """nanotoken is given another tokenizer than it was asked for: one that keeps capitals."""
    honest = nanotoken.WordPieceTokenizer

    class Wrong:
        @staticmethod
        def from_json(text):
            changed = json.loads(text)
            changed["normalizer"]["lowercase"] = False
            return honest.from_json(json.dumps(changed))

    monkeypatch.setattr(nanotoken, "WordPieceTokenizer", Wrong)
    with pytest.warns(UserWarning, match="tokenizers is used instead, exact but slower") as caught:
        tokenizer = Tokenizer(minilm)
    assert len(caught) == 1
    assert "'Hello, world!'" in str(caught[0].message)
    assert not tokenizer.is_fast
    monkeypatch.undo()
    assert tokenizer(list(PROBE)) == Tokenizer(minilm)(list(PROBE))


@pytest.mark.parametrize("kind", KINDS)
def test_json_and_pickle_round_trip(kind, ours):
    texts = random_texts(100, seed=1)
    for copy in (Tokenizer.from_json(ours[kind].to_json()), pickle.loads(pickle.dumps(ours[kind]))):
        assert copy(texts) == ours[kind](texts)
        assert copy.hash == ours[kind].hash
        assert copy.is_fast == ours[kind].is_fast
    assert len({tokenizer.hash for tokenizer in ours.values()}) == len(KINDS)


def cut(tokenizer, texts):
    return tokenizer(texts, threads=2)


def test_in_another_process(ours):
    texts = random_texts(50, seed=2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for tokenizer in ours.values():
            assert pool.apply(cut, (tokenizer, texts)) == tokenizer(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "null",
        b"\xff\xfe",
        '{"version":"1.0","model":{"type":"WordPiece"}}',
        '{"version":"1.0","model":{"type":"Unigram","vocab":[["a",0]],"unk_id":5}}',
        '{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}',
        '{"version":"9.0","model":{"type":"Spell","vocab":{}}}',
    ],
)
def test_json_that_is_no_tokenizer(text):
    with pytest.raises(ModelError, match=r"^tokenizer\.json does not describe a tokenizer: "):
        Tokenizer.from_json(text)


@pytest.mark.parametrize("wrong", [None, "tokenizer.json", {}, object()])
def test_what_is_no_tokenizer(wrong):
    with pytest.raises(InputError, match=r"^the tokenizer is a .*; give a tokenizers\.Tokenizer"):
        Tokenizer(wrong)
