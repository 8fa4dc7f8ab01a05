"""Pairs of documents' own parts: each kind is what it says, the seed decides, and what is held out was never
seen.
"""

import numpy as np
import pyarrow as pa
import pytest

from statim.data.dedup.near_duplicates import near_duplicates
from statim.data.documents.corpus import Corpus
from statim.data.pairs_from_documents import KINDS, Parts, check_kinds, self_pairs, split_into_pairs
from statim.data.split import split
from statim.errors import DataError, InputError

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]
FOOTER = (
    "Copyright of the people who wrote this. All rights are theirs, and you may copy it as you like if "
    "you say whose it is."
)


def document(random, paragraphs=2):
    def sentence():
        return " ".join(random.choice(WORDS, 16)).capitalize() + "."

    return "\n\n".join(" ".join(sentence() for _ in range(4)) for _ in range(paragraphs))


@pytest.fixture(scope="module")
def corpus():
    random = np.random.default_rng(0)
    titles = [f"about {WORDS[i]}" if i % 2 else None for i in range(200)]
    bodies = [f"{document(random)}\n\n{FOOTER}" for _ in titles]
    return Corpus(pa.array(titles, pa.large_string()), pa.array(bodies, pa.large_string()))


@pytest.fixture(scope="module")
def parts(corpus):
    return Parts.of(corpus)


def test_passages_stand_once(parts, corpus):
    texts = parts.passages.to_pylist()
    assert len(set(texts)) == len(texts)
    assert sum(FOOTER in text for text in texts) == 1
    assert (np.diff(parts.owners) >= 0).all()
    for text, owner in zip(texts, parts.owners, strict=True):
        assert text in " ".join(corpus.bodies[int(owner)].as_py().split())


def owners_of(parts, text):
    """The documents in which all of a text's words stand (made-up texts share no sentence)."""
    return {
        int(owner)
        for whole, owner in zip(parts.passages.to_pylist(), parts.owners, strict=True)
        if text in whole
    }


def test_titles(parts):
    pairs = self_pairs(parts, ["titles"], seed=0)
    assert len(pairs) == 200  # a hundred titles, first and another passage
    for title, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
        assert {parts.titles[owner].as_py() for owner in owners_of(parts, positive)} == {title}


def test_neighbours(parts):
    pairs = self_pairs(parts, ["neighbours"], seed=0)
    texts = parts.passages.to_pylist()
    for anchor, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
        place = texts.index(anchor)
        assert texts[place + 1] == positive
        assert parts.owners[place] == parts.owners[place + 1]


def test_sentences_are_mostly_taken_out_of_their_passage(parts):
    pairs = self_pairs(parts, ["sentences"], seed=0, rounds=4)
    within = 0
    for anchor, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
        within += anchor in positive
        assert anchor.endswith(".")
        whole = next(text for text in parts.passages.to_pylist() if anchor in text)
        assert positive in (whole, " ".join(whole.replace(anchor, "").split()))
    assert 0.05 < within / len(pairs) < 0.15


def test_crops_are_spans_of_one_passage(parts):
    pairs = self_pairs(parts, ["crops"], seed=0)
    assert len(pairs) > 700
    for anchor, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
        assert owners_of(parts, anchor) & owners_of(parts, positive)
        assert len(anchor) >= 15


def test_writing_without_spaces_is_cropped_too():
    text = "天気がいいので散歩に行きたいと思います明日は雨が降るかもしれないから今日がいいでしょう" * 3
    corpus = Corpus(pa.nulls(2, pa.large_string()), pa.array([text, text[::-1]], pa.large_string()))
    pairs = self_pairs(Parts.of(corpus), ["crops"], seed=0)
    assert len(pairs) == 4
    assert all(anchor in text or anchor in text[::-1] for anchor in pairs.anchors.to_pylist())


def test_the_seed_decides(parts):
    first, again, other = (self_pairs(parts, KINDS, seed=seed) for seed in (1, 1, 2))
    assert first.hash == again.hash != other.hash


def test_held_out_documents_share_nothing_with_trained_ones(corpus):
    found = split_into_pairs(split(corpus, development=20, test=20, seed=0), KINDS, seed=0)
    assert min(len(found.train), len(found.development), len(found.test)) > 20
    train = found.train.anchors.to_pylist() + found.train.positives.to_pylist()
    for part in (found.development, found.test):
        held = part.anchors.to_pylist() + part.positives.to_pylist()
        assert len(near_duplicates(held, train).queries) == 0
        assert not any(FOOTER in text for text in held)


def test_titles_that_were_seen_are_no_questions():
    random = np.random.default_rng(1)
    bodies = pa.array([document(random) for _ in range(40)], pa.large_string())
    titles = pa.array(["Introduction"] * 40, pa.large_string())
    found = split_into_pairs(
        split(Corpus(titles, bodies), development=0, test=8), ["titles", "sentences"], seed=0
    )
    assert "Introduction" in found.train.anchors.to_pylist()
    assert "Introduction" not in found.test.anchors.to_pylist()


def test_too_short_documents_are_refused():
    corpus = Corpus(pa.nulls(3, pa.large_string()), pa.array(["one", "two", "three"], pa.large_string()))
    with pytest.raises(DataError, match="too few to train on"):
        split_into_pairs(split(corpus, development=0, test=0), ["sentences", "crops"], seed=0)


@pytest.mark.parametrize("kinds", ["", "title", "titles,,crops", []])
def test_unknown_kinds(kinds):
    with pytest.raises(InputError, match="choose among titles"):
        check_kinds(kinds)
    assert check_kinds(" crops, titles,crops") == ("crops", "titles")
