"""A grown vocabulary: what is chosen, how it is cut, and what its rows are."""

import json
import unicodedata
from collections import Counter

import nanotoken
import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.errors import DataError, InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary import counts as counting
from statim.vocabulary import grow

KINDS = ("WordPiece", "Unigram", "BPE")


def column(texts):
    return pa.array(texts, pa.large_string())


def cut(backend, texts):
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def is_word(text):
    return all(letter.isalnum() or unicodedata.category(letter)[0] == "M" for letter in text)


@pytest.fixture(scope="module")
def grown(backends, docstrings):
    """By kind: 300 words and 400 pairs more."""
    return {
        kind: grow(Tokenizer(backends[kind]), [column(docstrings)], words=300, pairs=400) for kind in KINDS
    }


@pytest.fixture(scope="module")
def counted(minilm, docstrings):
    """All words of several pieces, and all pairs of words, as BERT's own steps give them."""
    words, pairs = Counter(), Counter()
    for text in docstrings:
        normalized = minilm.normalizer.normalize_str(text)
        before = None
        for word, (start, stop) in minilm.pre_tokenizer.pre_tokenize_str(normalized):
            pieces = minilm.model.tokenize(word)
            if not is_word(word) or pieces[0].value == "[UNK]":
                before = None
                continue
            if len(pieces) > 1:
                words[word] += 1
            if before is not None:
                assert normalized[before[1] : start].isspace()
                pairs[f"{before[0]} {word}"] += 1
            before = (word, stop)
    return words, pairs


def test_the_most_frequent_are_chosen(counted, grown):
    found = grown["WordPiece"]
    words, pairs = counted
    assert (found.words, len(found)) == (300, 700)
    for texts, numbers, right in (
        (found.texts[:300], found.counts[:300], words),
        (found.texts[300:], found.counts[300:], pairs),
    ):
        assert [right[text] for text in texts] == numbers.tolist()
        assert sorted(numbers, reverse=True) == sorted(right.values(), reverse=True)[: len(texts)]


def test_a_full_table_forgets_the_rare(minilm, docstrings, counted, monkeypatch):
    monkeypatch.setattr(counting, "PAIRS", 1 << 12)
    found = grow(Tokenizer(minilm), [column(docstrings)], pairs=30)
    pairs = counted[1]
    assert len(pairs) > 7 * (1 << 12)
    assert {text for text, _ in pairs.most_common(15)} <= set(found.texts)
    for text, count in zip(found.texts, found.counts, strict=True):
        assert 0.9 * pairs[text] <= count <= pairs[text]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers(kind, grown, docstrings):
    found = grown[kind]
    right = cut(found.tokenizer.backend, docstrings)
    for limit in (None, 20):
        tokens = found.tokenizer(docstrings, max_tokens=limit)
        assert [ids.tolist() for ids in tokens] == [ids[:limit] for ids in right]
    assert [ids.tolist() for ids in found.tokenizer(docstrings[:50])] == right[:50]
    occur = np.bincount(found.tokenizer(docstrings).ids, minlength=found.tokenizer.vocabulary_size)
    assert np.mean(occur[found.first :] > 0) > 0.95
    again = Tokenizer.from_json(found.tokenizer.to_json())
    assert again.hash == found.tokenizer.hash
    assert again.phrases == 400
    assert again.is_remembering or again.is_fast


def test_nanotoken_cuts_alike(grown, docstrings):
    """By itself, not only where it is used here."""
    found = grown["WordPiece"].tokenizer
    twin = nanotoken.WordPieceTokenizer.from_json(found.to_json())
    ids, offsets = twin.encode_batch(docstrings, add_special_tokens=False)
    tokens = found(docstrings)
    assert np.array_equal(ids, tokens.ids)
    assert np.array_equal(offsets, tokens.offsets)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_word_is_one_token(kind, grown):
    found = grown[kind]
    words = cut(found.tokenizer.backend, [f" {word}" for word in found.texts[: found.words]])
    pairs = cut(found.tokenizer.backend, found.texts[found.words :])
    numbers = [[number] for number in range(found.first, found.first + len(found))]
    assert [ids[-1:] for ids in words] + pairs == numbers


@pytest.mark.parametrize("kind", KINDS)
def test_old_ids_mean_what_they_meant(kind, grown, backends):
    old = Tokenizer(backends[kind]).vocabulary
    new = grown[kind].tokenizer.vocabulary
    assert {token: new[token] for token in old} == old
    assert sorted(new.values()) == list(range(len(old) + 700))


def test_pairs_change_no_vector(minilm, docstrings):
    """Each pair's row is the sum of its words', so the sum over a text is what it was."""
    found = grow(Tokenizer(minilm), [column(docstrings)], pairs=500)
    rows = [*map(np.atleast_1d, range(found.first)), *found.pieces]
    old, new = Tokenizer(minilm)(docstrings), found.tokenizer(docstrings)
    assert len(new.ids) < 0.95 * len(old.ids)
    for before, after in zip(old, new, strict=True):
        assert np.array_equal(np.concatenate([rows[number] for number in after] or [after]), before)
    table = np.random.default_rng(0).standard_normal((found.first, 8)).astype(np.float32)
    right = np.stack([table[pieces].astype(np.float64).sum(axis=0) for pieces in found.pieces])
    np.testing.assert_allclose(found.extended(table)[found.first :], right, rtol=1e-5, atol=1e-5)
    counts = np.bincount(new.ids, minlength=found.tokenizer.vocabulary_size).astype(np.float64)
    assert np.array_equal(found.as_before(counts, found.first), np.bincount(old.ids, minlength=found.first))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_pairs_are_sums_of_words(kind, grown, backends):
    """Words in a pair may be new ones; what all come from in the end is what the text was cut into before."""
    found = grown[kind]
    table = np.random.default_rng(0).standard_normal((found.first, 4)).astype(np.float32)
    whole = found.extended(table)
    assert np.array_equal(whole[: found.first], table)
    with_words = found.first + found.words
    assert np.array_equal(found.extended(whole[:with_words]), whole)
    assert (found.pieces[found.words :].ids >= found.first).any()
    old = cut(Tokenizer(backends[kind]).backend, [f" {text}" for text in found.texts])
    right = np.stack([table[ids].astype(np.float64).sum(axis=0) for ids in old])
    alike = np.isclose(whole[found.first :], right, rtol=1e-4, atol=1e-4).all(axis=1)
    assert alike.mean() > (
        0.999 if kind == "WordPiece" else 0.95
    )  # others cut a text's first word in another way, some
    counts = np.arange(len(whole), dtype=np.float64)
    weighed = counts @ whole.astype(np.float64)
    for size in (found.first, with_words):
        folded = found.as_before(counts, size)
        np.testing.assert_allclose(folded @ whole[:size].astype(np.float64), weighed, rtol=1e-3)


def test_the_same_on_any_number_of_threads(minilm, docstrings):
    one, four = (
        grow(Tokenizer(minilm), [column(docstrings)], words=50, pairs=50, threads=threads)
        for threads in (1, 4)
    )
    assert one.tokenizer.hash == four.tokenizer.hash
    assert one.texts == four.texts


def test_a_grown_vocabulary_grows(grown, docstrings):
    first = grown["WordPiece"]
    more = grow(first.tokenizer, [column(docstrings)], words=20, pairs=20)
    assert more.first == first.first + 700
    assert not set(more.texts) & set(first.texts)
    right = cut(more.tokenizer.backend, docstrings)
    assert [ids.tolist() for ids in more.tokenizer(docstrings)] == right


def test_added_tokens_beyond_the_vocabulary(backends, docstrings):
    for kind in KINDS:
        backend = tokenizers.Tokenizer.from_str(backends[kind].to_str())
        backend.add_special_tokens(["<one>", "<two>"])
        found = grow(Tokenizer(backend), [column(docstrings)], words=20, pairs=20)
        texts = [f"{text}<two> of the<one>" for text in docstrings[:300]]
        right = cut(found.tokenizer.backend, texts)
        assert [ids.tolist() for ids in found.tokenizer(texts)] == right
        assert right[0][-1] == backend.token_to_id("<one>")


def test_a_small_corpus_gives_fewer(minilm):
    found = grow(Tokenizer(minilm), [column(["a frobnicator frobnicates"] * 5)], words=10, pairs=10)
    assert set(found.texts[:2]) == {"frobnicates", "frobnicator"}
    assert set(found.texts[2:]) == {"a frobnicator", "frobnicator frobnicates"}
    assert found.counts.tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize("rows", [-1, 2.5, True, "many", 10**7])
def test_a_number_out_of_range(rows, minilm):
    with pytest.raises(InputError, match=r"whole number from 0 to 1,000,000"):
        grow(Tokenizer(minilm), [column(["a"])], words=rows)


def test_nothing_asked_for_and_nothing_there(minilm):
    with pytest.raises(InputError, match="neither words nor pairs"):
        grow(Tokenizer(minilm), [column(["a"])])
    for texts in ([], ["", None], ["all different words"]):
        with pytest.raises(DataError, match="no word or pair that needs a row occurs 5 times"):
            grow(Tokenizer(minilm), [column(texts)], words=10, pairs=10)


def test_tokenizers_that_cannot_be_grown(backends, docstrings):
    whole = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    whole.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    for backend in (backends["WordLevel"], whole):
        with pytest.raises(InputError, match="of a kind whose vocabulary cannot be grown; give one of"):
            grow(Tokenizer(backend), [column(docstrings)], words=10)


def test_the_file_says_all(grown):
    """Nothing is needed beside tokenizer.json, and pairs are marked as any reader of it expects."""
    description = json.loads(grown["Unigram"].tokenizer.to_json())
    pair = description["added_tokens"][-1]
    assert pair["content"] == grown["Unigram"].texts[-1]
    assert (pair["single_word"], pair["normalized"], pair["special"]) == (True, True, False)
