import functools
import inspect
import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.data import Pairs, near_duplicates, split
from statim.data.split import MOST_RELATIVES
from statim.errors import InputError

IDEOGRAPHS = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"


@functools.cache
def words(text):
    """Words by regular expression: an independent reading of the definition (ASCII, Latin and ideographs)."""
    return tuple(re.findall(rf"{IDEOGRAPHS}|(?:(?!{IDEOGRAPHS})[^\W_])+", text.lower()))


@functools.cache
def shingles(found):
    return {found[i : i + 5] for i in range(len(found) - 4)}


def jaccard(a, b):
    a, b = words(a), words(b)
    if len(a) < 5 or len(b) < 5:
        return float(a == b)
    left, right = shingles(a), shingles(b)
    return len(left & right) / len(left | right)


def brute(queries, texts):
    found = []
    for (i, query), (j, text) in itertools.product(enumerate(queries), enumerate(texts)):
        if (value := jaccard(query, text)) >= 0.5:
            found.append((i, j, value))
    return found


def listed(matches):
    return list(zip(matches.queries.tolist(), matches.texts.tolist(), matches.jaccard.tolist(), strict=True))


word = st.sampled_from(["a", "B", "b", "Éa", "éA", "x1", "漢", "字", "ß", "Σ"])
text = st.lists(
    st.tuples(word, st.sampled_from([" ", ", ", "\n", "_", "—", "漢", "☕", "."])), max_size=12
).map(lambda parts: "".join(itertools.chain.from_iterable(parts)))


@settings(max_examples=200, deadline=None)
@given(st.lists(text, max_size=8), st.lists(text, max_size=8))
def test_near_duplicates_are_those_of_brute_force(queries, texts):
    assert listed(near_duplicates(queries, texts, threads=1)) == brute(queries, texts)


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_any_unicode_is_like_itself(a, b):
    matches = near_duplicates([a, b], [a, b.upper().lower(), "x"], threads=1)
    assert (0, 0, 1.0) in listed(matches)


def docstrings():
    """Real texts: docstrings of the standard library, and variations of them."""
    import argparse
    import asyncio
    import collections
    import decimal
    import email
    import logging
    import unittest

    found = []
    for package in (argparse, asyncio, collections, decimal, email, logging, unittest):
        for _, value in inspect.getmembers(package):
            for thing in (value, *(vars(value).values() if inspect.isclass(value) else ())):
                if doc := inspect.getdoc(thing) if callable(thing) else None:
                    found.append(doc)
    rng = np.random.default_rng(0)
    found = list(dict.fromkeys(found))[:400]
    varied = []
    for text in found[:150]:
        cut = text.split(" ")
        place = int(rng.integers(len(cut)))
        varied += [
            " ".join([*cut[:place], "another", *cut[place:]]),
            " ".join(cut[: max(1, len(cut) * 2 // 3)]),
        ]
    return found + varied


def test_near_duplicates_among_real_texts():
    texts = docstrings()
    expected = brute(texts[:150], texts)
    assert len(expected) > 250
    for threads in (1, 2):
        assert listed(near_duplicates(texts[:150], texts, threads=threads)) == expected
    # slices of Arrow arrays and other string types are the same texts
    array = pa.array(["", *texts])[1:]
    assert (
        listed(near_duplicates(array[:150], pa.chunked_array([array[:7], array[7:]]), threads=1)) == expected
    )


def test_limit_gives_more_than_the_limit():
    matches = near_duplicates(["a b c"], ["A. b, c!"] * 100, limit=5, threads=1)
    assert 5 < len(matches.texts) <= 100
    assert len(near_duplicates(["a"], []).texts) == 0
    assert len(near_duplicates([], ["a"]).texts) == 0


def twins(pairs):
    """All pairs of pairs that share a near-duplicate, by brute force."""
    sides = list(zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True))
    for (i, a), (j, b) in itertools.combinations(enumerate(sides), 2):
        if any(jaccard(x, y) >= 0.5 for x in a for y in b):
            yield i, j


def places(whole, part):
    keys = {
        key: i
        for i, key in enumerate(zip(whole.anchors.to_pylist(), whole.positives.to_pylist(), strict=True))
    }
    return [keys[key] for key in zip(part.anchors.to_pylist(), part.positives.to_pylist(), strict=True)]


def check(pairs, parts):
    """The parts are the whole, and no twins straddle them."""
    side = {}
    for name in ("train", "development", "test"):
        indices = places(pairs, getattr(parts, name))
        assert indices == sorted(indices)
        side |= dict.fromkeys(indices, name)
    assert len(side) == len(pairs) == len(parts.train) + len(parts.development) + len(parts.test)
    for i, j in twins(pairs):
        assert side[i] == side[j]


def real_pairs():
    texts = docstrings()
    rows = dict.fromkeys((text[:40], text[40:]) for text in texts if len(text) > 60)
    anchors, positives = zip(*rows, strict=True)
    return Pairs(anchors, positives)


def test_split_of_real_pairs():
    pairs = real_pairs()
    parts = split(pairs, development=20, test=40, seed=3)
    assert (len(parts.development), len(parts.test)) == (20, 40) == parts.asked
    assert parts.moved == parts.joined + parts.returned > 0
    check(pairs, parts)
    again = split(pairs, development=20, test=40, seed=3, threads=1)
    assert (again.train.hash, again.test.hash, again.moved) == (
        parts.train.hash,
        parts.test.hash,
        parts.moved,
    )
    assert split(pairs, development=20, test=40, seed=4).test.hash != parts.test.hash
    assert "20 for development and 40 for the test; " in str(parts)


few = st.sampled_from(
    ["a", "b", "c d", "one two three four five six", "One two three four five, six seven", "x y", "e", "f"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(few | text, few | text), min_size=2, max_size=60, unique=True),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_nothing_straddles(rows, development, test):
    pairs = Pairs(*zip(*rows, strict=True))
    parts = split(pairs, development=development, test=test)
    check(pairs, parts)
    assert len(parts.development) <= development
    assert len(parts.test) <= test
    assert len(parts.development) + len(parts.test) <= len(pairs) // 5


def family(name, size):
    """A chain of pairs: each positive is the next one's anchor."""
    return [(f"{name} {i}", f"{name} {i + 1}") for i in range(size)]


def test_families_go_whole_and_large_ones_train():
    rows = family("chain", 3) + [("hub", f"spoke {i}") for i in range(MOST_RELATIVES + 1)]
    rows += [(f"lone {i}", f"single {i}") for i in range(100)]
    pairs = Pairs(*zip(*rows, strict=True))
    held_chain = 0
    for seed in range(6):
        parts = split(pairs, development=0, test=24, seed=seed)
        check(pairs, parts)
        assert len(parts.test) == 24
        anchors = parts.test.anchors.to_pylist()
        assert "hub" not in anchors
        assert sum(anchor.startswith("chain") for anchor in anchors) in (0, 3)
        held_chain += any(anchor.startswith("chain") for anchor in anchors)
        assert parts.returned > 0
    assert held_chain


def test_long_chains_train():
    rows = family("chain", 15) + [(f"lone {i}", f"single {i}") for i in range(5)]
    pairs = Pairs(*zip(*rows, strict=True))
    parts = split(pairs, development=2, test=2)
    check(pairs, parts)
    assert all(anchor.startswith("lone") for anchor in parts.test.anchors.to_pylist())


def test_fewer_than_asked_is_said():
    pairs = Pairs([f"a{i}" for i in range(50)], [f"b{i}" for i in range(50)])
    parts = split(pairs, development=10, test=30)
    assert (len(parts.development), len(parts.test)) == (3, 7)
    assert "(asked were 10 and 30)" in str(parts)
    same = split(Pairs(["same"] * 50, [f"b{i}" for i in range(50)]), development=2, test=2)
    assert (len(same.train), len(same.test)) == (50, 0)
    none = split(pairs, development=0, test=0)
    assert (len(none.train), none.moved) == (50, 0)
    for wrong in (-1, 1.5, True, "3", None):
        with pytest.raises(InputError, match="must be a whole number of pairs"):
            split(pairs, development=wrong, test=1)
