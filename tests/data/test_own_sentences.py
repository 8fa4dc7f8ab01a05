"""Sentences and passages drawn from pairs: of all sets alike, of the right lengths, the same for the same
seed.
"""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.data.documents.own_sentences import own_sentences, without
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError


def of(*sizes):
    """Sets of so many pairs, whose texts name the set: a sentence and one too long, which is in a passage;
    and four sentences.
    """
    anchors, positives, sets = [], [], []
    for number, size in enumerate(sizes):
        for row in range(size):
            anchors.append(f"Question {row} of set {number} here? Too short. " + "long " * 50 + "end.")
            positives.append(
                f"First part of {row} in set {number}. Second part of {row} in set {number}. Third of "
                f"{row} in set {number}. Fourth part of {row} in set {number}."
            )
            sets.append(number)
    names = tuple(f"s{number}" for number in range(len(sizes)))
    return Pairs(pa.array(anchors), pa.array(positives), names=names, sets=np.array(sets, np.uint16))


def set_of(sentence):
    return int(sentence.rsplit("set ", 1)[1].split()[0].strip(".?"))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    most=st.integers(1, 200),
    seed=st.integers(0, 3),
)
def test_sets_count_alike(sizes, most, seed):
    if not sum(sizes):
        return
    pairs = of(*sizes)
    drawn = own_sentences(pairs, most, seed).texts.to_pylist()
    assert drawn == own_sentences(pairs, most, seed).texts.to_pylist()
    assert len(drawn) == len(set(drawn)) == min(most, 4 * sum(sizes))
    assert not any("Third" in text or "Fourth" in text for text in drawn)
    assert all(text.startswith("Question") and text.endswith("end.") for text in drawn if "long" in text)
    if most >= 4 * sum(sizes):
        assert sum("long" in text for text in drawn) == sum(sizes)
    counts = np.bincount(list(map(set_of, drawn)), minlength=len(sizes))
    fair = most // sum(size > 0 for size in sizes)
    for size, count in zip(sizes, counts, strict=True):
        assert count >= min(fair, 4 * size)


def test_no_part_of_a_held_out_text_is_kept():
    pairs = of(12)
    drawn = own_sentences(pairs, 1000, 0)
    held = [pairs.select([3]), pairs.select([7, 8])]
    kept = without(drawn, held).texts.to_pylist()
    numbers = {int(text.split(" in " if " in " in text else " of ")[0].split()[-1]) for text in kept}
    assert numbers == set(range(12)) - {3, 7, 8}
    assert kept == [text for text in drawn.texts.to_pylist() if text in set(kept)]
    assert without(drawn, []) is drawn


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no sentence of 4 to 40 words"):
        own_sentences(Pairs(pa.array(["a b"]), pa.array(["c"])), 10, 0)
