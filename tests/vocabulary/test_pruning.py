"""A pruned vocabulary: the texts it is made for keep their tokens, and no character becomes unknown."""

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.errors import DataError, InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary import grow, prune, prune_to

KINDS = ("WordPiece", "Unigram", "BPE")


def column(texts):
    return pa.array(texts, pa.large_string())


def cut(backend, texts):
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.fixture(scope="module", params=KINDS)
def case(request, backends, docstrings):
    """A tokenizer, texts, others, and what is left of it for the texts."""
    tokenizer = Tokenizer(backends[request.param])
    texts, others = docstrings[400:480], docstrings[480:1500]
    return tokenizer, texts, others, prune(tokenizer, [column(texts)])


def test_the_texts_keep_their_tokens(case):
    tokenizer, texts, _, pruned = case
    assert len(pruned.kept) == pruned.tokenizer.vocabulary_size < pruned.before == tokenizer.vocabulary_size
    new = cut(pruned.tokenizer.backend, texts)
    assert [pruned.kept[ids].tolist() for ids in new] == cut(tokenizer.backend, texts)
    assert [ids.tolist() for ids in pruned.tokenizer(texts)] == new
    assert f"{len(pruned.kept):,} of {pruned.before:,} rows are kept" in str(pruned)


def test_ids_stand_for_the_tokens_they_stood_for(case):
    tokenizer, _, _, pruned = case
    old = {number: token for token, number in tokenizer.vocabulary.items()}
    new = {number: token for token, number in pruned.tokenizer.vocabulary.items()}
    assert [old[number] for number in pruned.kept] == [new[number] for number in range(len(new))]
    if tokenizer.unknown_id is not None:
        assert pruned.kept[pruned.tokenizer.unknown_id] == tokenizer.unknown_id


def test_other_texts_have_more_tokens_but_none_that_is_unknown(case):
    tokenizer, _, others, pruned = case
    others = [*others, "zqxj Zqxj 0987 ~~ ZQ"]
    before, after = tokenizer(others), pruned.tokenizer(others)
    assert [ids.tolist() for ids in after] == cut(pruned.tokenizer.backend, others)
    assert len(after.ids) > len(before.ids)
    if tokenizer.unknown_id is not None:
        was = [np.count_nonzero(ids == tokenizer.unknown_id) for ids in before]
        is_ = [np.count_nonzero(ids == pruned.tokenizer.unknown_id) for ids in after]
        assert is_ == was


@pytest.mark.parametrize("kind", KINDS)
def test_after_growth(kind, backends, docstrings):
    grown = grow(Tokenizer(backends[kind]), [column(docstrings)], words=200, pairs=300).tokenizer
    pruned = prune(grown, [column(docstrings)])
    new = cut(pruned.tokenizer.backend, docstrings)
    assert [pruned.kept[ids].tolist() for ids in new] == cut(grown.backend, docstrings)
    assert [ids.tolist() for ids in pruned.tokenizer(docstrings)] == new


def test_a_character_without_a_token_of_its_own():
    """What can only be spelled by a longer token keeps it."""
    vocabulary = {"[UNK]": 0, "a": 1, "##a": 2, "xy": 3, "##xy": 4, "aa": 5}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pruned = prune(Tokenizer(backend), [column(["a"])])
    assert set(pruned.tokenizer.vocabulary) == vocabulary.keys() - {"aa"}
    assert len(pruned.tokenizer("xyaxy").ids) == 3


def test_nothing_to_go_by(backends, docstrings):
    with pytest.raises(InputError, match="is WordLevel, whose vocabulary cannot be pruned"):
        prune(Tokenizer(backends["WordLevel"]), [column(docstrings)])
    for texts in ([], ["", None, " "]):
        with pytest.raises(DataError, match="have no tokens"):
            prune(Tokenizer(backends["WordPiece"]), [column(texts)])


def test_to_chosen_tokens(minilm):
    texts = column(["how many dogs bark", "how many cats sleep"] * 5)
    grown = grow(Tokenizer(minilm), [texts], pairs=4).tokenizer
    wanted = [grown.vocabulary["how many"], grown.vocabulary["dogs"], grown.vocabulary["sleep"]]
    pruned = prune_to(grown, np.array(wanted))
    assert pruned.before == grown.vocabulary_size
    assert len(pruned.kept) < 5_000
    assert set(wanted) < set(pruned.kept.tolist())
    old = {number: token for token, number in grown.vocabulary.items()}
    cut_again = [old[pruned.kept[number]] for number in pruned.tokenizer(["how many dogs bark?"]).ids]
    assert cut_again[:2] == ["how many", "dogs"]
    assert "".join(token.removeprefix("##") for token in cut_again[2:]) == "bark?"
    assert cut_again[2] != "bark"
    again = [old[pruned.kept[number]] for number in pruned.tokenizer(["many cats"]).ids]
    assert "".join(token.removeprefix("##") for token in again) == "manycats"


def test_to_chosen_tokens_of_another_kind():
    words = Tokenizer(tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")))
    with pytest.raises(InputError, match="WordLevel"):
        prune_to(words, np.array([1]))
