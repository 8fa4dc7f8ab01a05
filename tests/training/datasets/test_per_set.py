"""Limits of single sets: which pairs are used, and what is refused."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim import train
from statim.data.labelled.labelled import LabelledTexts
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError
from statim.training.datasets import per_set


def pairs_of(sets, names=("a", "b", "c")):
    anchors = [f"anchor {number}" for number in range(len(sets))]
    positives = [f"positive {number}" for number in range(len(sets))]
    return Pairs(pa.array(anchors), pa.array(positives), names=names, sets=np.array(sets, np.uint16))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 30)),
    st.integers(0, 5),
)  # fmt: skip
def test_so_many_of_each_set_in_their_order(sets, limits, seed):
    pairs = pairs_of(sets)
    found = per_set.limited(pairs, per_set.limits_of(pairs, limits), seed)
    kept = [int(text.split()[1]) for text in found.anchors.to_pylist()]
    assert kept == sorted(set(kept))
    assert found.positives.to_pylist() == [f"positive {number}" for number in kept]
    assert found.sets.tolist() == [sets[number] for number in kept]
    wanted = {place: min(count, limits.get("abc"[place], 99)) for place, count in Counter(sets).items()}
    assert Counter(found.sets.tolist()) == wanted
    again = per_set.limited(pairs, per_set.limits_of(pairs, limits), seed)
    assert again.hash == found.hash
    more = per_set.limited(
        pairs, per_set.limits_of(pairs, {name: limit + 1 for name, limit in limits.items()}), seed
    )
    assert set(kept) <= {int(text.split()[1]) for text in more.anchors.to_pylist()}


def test_seeds_draw_differently_and_evenly():
    pairs = pairs_of([0] * 20, ("a",))
    seen = Counter()
    for seed in range(400):
        seen.update(per_set.limited(pairs, (5,), seed).anchors.to_pylist())
    assert len(seen) == 20
    assert max(abs(count - 100) for count in seen.values()) < 40


def test_no_limits_cost_nothing():
    pairs = pairs_of([0, 1, 2])
    assert per_set.limits_of(pairs, {}) == ()
    assert per_set.limited(pairs, (), 0) is pairs
    assert per_set.limited(pairs, (5, 0, 1), 0) is pairs


def test_a_run_trains_on_what_is_left_before_it_is_split(rows, pairs):
    mapping = {"first": rows[:120], "second": rows[120:]}
    options = {
        "start": "random",
        "dim": 8,
        "batch": 16,
        "epochs": 1,
        "heldout": 10,
        "development": 0,
        "baselines": False,
    }
    result = train(mapping, set_limits={"second": 30}, **options)
    assert result.pairs["read"] == len(rows)
    assert result.pairs["train"] + result.pairs["test"] == 150
    assert result.recipe.set_limits == (0, 30)
    assert train(mapping, set_limits={"second": 5000}, **options).pairs["train"] == len(rows) - 10
    assert len(pairs) == len(rows)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "5", None])
def test_what_is_no_limit(rows, wrong):
    with pytest.raises(InputError, match=r"the limit of first is .*; it must be a whole number from 1"):
        train({"first": rows}, set_limits={"first": wrong})


def test_unknown_names():
    with pytest.raises(
        InputError, match="limit is given for the set 'd', which is not there; the sets are a, b, c"
    ):
        per_set.limits_of(pairs_of([0]), {"d": 5})
    texts = LabelledTexts(pa.array(["x"], pa.large_string()), pa.array(["y"], pa.large_string()))
    with pytest.raises(InputError, match="only sets of pairs can be limited"):
        per_set.limits_of(texts, {"d": 5})
