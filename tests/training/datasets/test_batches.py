"""Which pairs a step takes: by seed, epoch and step alone, every pair as often as its set weighs."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from statim.errors import InputError
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import Schedule, order
from statim.training.recipe import Recipe

NOTHING = Bags(np.zeros(0, np.int32), np.zeros(0, np.uint16), np.zeros(1, np.int64), np.zeros(0, np.int32))


def data_of(sets, names=None):
    """A training set of which only the sets matter."""
    n, sets = len(sets), np.asarray(sets, np.uint16)
    names = names or tuple(f"set {i}" for i in range(int(sets.max()) + 1))
    empty = np.zeros((n, 1), np.int32)
    return TrainingSet(NOTHING, empty[:, 0], empty, np.zeros(0, np.int32), np.zeros(1, np.int64), names, sets)


def recipe_of(**values):
    return Recipe.make(1000, None, dim=8, levels=[8], **values)


def epoch_of(schedule, epoch):
    return [schedule(epoch * schedule.steps + step) for step in range(schedule.steps)]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)
weights = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
mixes = st.sampled_from(["together", "proportional", "turn"])


def test_one_set_is_shuffled_as_a_whole():
    recipe = recipe_of(batch=8, seed=3)
    schedule = Schedule(data_of([0] * 50), recipe)
    assert schedule.steps == 6
    for epoch in range(3):
        whole = np.random.Generator(np.random.Philox(key=[3, epoch])).permutation(50)
        np.testing.assert_array_equal(np.concatenate(epoch_of(schedule, epoch)), whole[:48])


def test_few_pairs_make_one_batch():
    schedule = Schedule(data_of([0] * 5), recipe_of(batch=16))
    assert schedule.steps == 1
    assert sorted(schedule(0)) == list(range(5))


@settings(max_examples=60, deadline=None)
@given(sizes, st.data(), mixes, st.integers(0, 3))
def test_batches_follow_from_the_step_alone(counts, draw, mix, seed):
    batch = draw.draw(st.integers(2, max(2, min(counts))))
    assume(mix == "together" or batch <= min(counts))
    own = draw.draw(st.lists(weights, min_size=len(counts), max_size=len(counts)))
    recipe = recipe_of(batch=batch, seed=seed, mix=mix, set_weights=tuple(own))
    data = data_of(np.repeat(np.arange(len(counts)), counts))
    if mix == "together":
        assume(sum(round(n * w) for n, w in zip(counts, own, strict=True)) > 0)
    whole = Schedule(data, recipe)
    wanted = [whole(step) for step in range(3 * whole.steps)]
    steps = draw.draw(st.permutations(range(3 * whole.steps)))[:10]
    for step in steps:  # a schedule that begins anywhere, or jumps, gives the same
        np.testing.assert_array_equal(Schedule(data, recipe)(step), wanted[step])
        np.testing.assert_array_equal(whole(step), wanted[step])
    assert all(rows.dtype == np.int64 for rows in wanted)


@settings(max_examples=60, deadline=None)
@given(sizes, st.data(), st.booleans())
def test_together_takes_every_pair_as_often_as_its_set_weighs(counts, draw, mixed_up):
    own = draw.draw(st.lists(weights, min_size=len(counts), max_size=len(counts)))
    sets = np.repeat(np.arange(len(counts)), counts)
    if mixed_up:
        sets = np.random.default_rng(0).permutation(sets)
    taken = [round(n * w) for n, w in zip(counts, own, strict=True)]
    assume(sum(taken) >= 2)
    schedule = Schedule(data_of(sets), recipe_of(batch=sum(taken), set_weights=tuple(own)))
    assert schedule.steps == 1  # nothing is left over
    seen = Counter()
    for epoch in range(5):
        (rows,) = epoch_of(schedule, epoch)
        assert np.bincount(sets[rows], minlength=len(counts)).tolist() == taken
        seen.update(rows.tolist())
        for part, total in enumerate(taken):
            often = [seen[row] for row in np.flatnonzero(sets == part)]
            assert max(often) - min(often) <= 1  # no pair is more than once ahead of another of its set
            assert sum(often) == (epoch + 1) * total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=5), st.data(), st.booleans())
def test_proportional_batches_are_of_one_set_each(counts, draw, mixed_up):
    own = draw.draw(st.lists(weights, min_size=len(counts), max_size=len(counts)))
    sets = np.repeat(np.arange(len(counts)), counts)
    if mixed_up:
        sets = np.random.default_rng(0).permutation(sets)
    schedule = Schedule(data_of(sets), recipe_of(batch=3, mix="proportional", set_weights=tuple(own)))
    wanted = [max(1, round(n // 3 * w)) for n, w in zip(counts, own, strict=True)]
    assert schedule.steps == sum(wanted)
    streams = [[] for _ in counts]
    for epoch in range(4):
        sequence = []
        for rows in epoch_of(schedule, epoch):
            assert len(set(rows.tolist())) == 3
            (part,) = set(sets[rows].tolist())
            sequence.append(part)
            streams[part] += rows.tolist()
        assert np.bincount(sequence, minlength=len(counts)).tolist() == wanted
        for part, count in enumerate(
            wanted
        ):  # evenly apart: never more than one batch from where it should be
            ahead = np.cumsum(np.array(sequence) == part) - count * np.arange(1, len(sequence) + 1) / len(
                sequence
            )
            assert np.abs(ahead).max() <= len(counts)
    for n, stream in zip(counts, streams, strict=True):  # before a pair comes again, all full batches came
        for start in range(0, len(stream), n // 3 * 3):
            turn = stream[start : start + n // 3 * 3]
            assert len(set(turn)) == len(turn)


def test_turns_are_taken_in_rotation():
    sets = np.repeat([0, 1, 2], [40, 8, 12])
    schedule = Schedule(data_of(sets), recipe_of(batch=4, mix="turn"))
    assert schedule.steps == 15
    sequence = [int(sets[rows[0]]) for rows in epoch_of(schedule, 0)]
    assert sequence == [0, 1, 2] * 5
    small = Counter(row for rows in epoch_of(schedule, 0) for row in rows.tolist() if sets[row] == 1)
    assert set(small.values()) == {2, 3}  # the small set came round more than twice
    doubled = Schedule(data_of(sets), recipe_of(batch=4, mix="turn", set_weights=(1.0, 2.0, 0.0)))
    found = Counter(int(sets[rows[0]]) for rows in epoch_of(doubled, 0))
    assert found[1] == pytest.approx(2 * found[0], abs=1)
    assert 2 not in found


def test_large_data_costs_a_step_no_more_than_small_data():
    """A step touches a batch's worth of a permutation that is made once an epoch, of four bytes a pair."""
    rows = order(0, 0, 3_000_000)
    assert rows.dtype == np.int32
    schedule = Schedule(data_of(np.zeros(3_000_000, np.uint16)), recipe_of(batch=64))
    schedule(0)
    kept = schedule._orders[-1][1]
    schedule(1)
    assert schedule._orders[-1][1] is kept


def test_what_cannot_be_mixed():
    data = data_of([0] * 20 + [1] * 5, ("large", "small"))
    for mix in ("proportional", "turn"):
        with pytest.raises(
            InputError, match=r"'small' has 5 pairs to train on, fewer than a batch of 8.*--batch"
        ):
            Schedule(data, recipe_of(batch=8, mix=mix))
        assert Schedule(data, recipe_of(batch=8, mix=mix, set_weights=(1.0, 0.0))).steps == 2
    for mix in ("together", "proportional", "turn"):
        with pytest.raises(InputError, match="leave no pairs to train on"):
            Schedule(data, recipe_of(batch=8, mix=mix, set_weights=(0.0, 0.0)))
    for wrong in (-1.0, float("nan"), 1001.0, "2"):
        with pytest.raises(
            InputError, match=r"the weight of a set is .*; it must be a number from 0 to 1000"
        ):
            recipe_of(set_weights=(1.0, wrong))
    with pytest.raises(InputError, match="mix is 'stirred'; it must be one of together, proportional, turn"):
        recipe_of(mix="stirred")


def test_recipes_with_sets_survive_json():
    recipe = recipe_of(mix="turn", set_weights=(1.0, 0.5))
    assert recipe.to_dict()["set_weights"] == [1.0, 0.5]
    assert Recipe.from_dict(recipe.to_dict()) == recipe
