"""From data to a step's texts and targets: scores, triplets and classes against plain Python; and that they
teach.
"""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.batches import Schedule, order
from statim.training.datasets.sets import ClassSet, training_data
from statim.training.initial_tables import random_table
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import fit, learning_rates
from statim.training.losses.objectives import as_cosines, objective
from statim.training.recipe import Recipe


def word_tokenizer(count=40):
    backend = Backend(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i + 1 for i in range(count)}}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer(backend)


def classes_of(labels):
    return LabelledTexts(
        pa.array([f"w{i % 40} w{i // 40}" for i in range(len(labels))], pa.large_string()),
        pa.array(list(map(str, labels)), pa.large_string()),
    )


@settings(deadline=None, max_examples=60)
@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=60), seed=st.integers(0, 3))
def test_classes_draw_positives_of_the_class_and_mask_the_rest_of_it(labels, seed):
    recipe = Recipe.make(len(labels), 8, loss="classes", batch=max(2, len(labels) // 2), seed=seed)
    aim = objective(ClassSet.of(classes_of(labels), word_tokenizer()), recipe, 1)
    rows = order(seed, 0, len(labels))[: recipe.batch]
    texts, targets = aim.batch(rows, 0, 3)
    columns = texts[len(rows) :]
    np.testing.assert_array_equal(texts[: len(rows)], rows)
    assert len(set(columns.tolist())) == len(columns)
    assert set(targets.columns.tolist()) == set(range(len(columns)))
    for i, row in enumerate(rows.tolist()):
        positive = int(columns[targets.columns[i]])
        assert labels[positive] == labels[row]
        assert (positive == row) == (labels.count(labels[row]) == 1)
        masked = targets.masked[targets.masked_offsets[i] : targets.masked_offsets[i + 1]].tolist()
        same = {j for j, column in enumerate(columns.tolist()) if labels[column] == labels[row]}
        assert sorted(masked) == sorted(same - {int(targets.columns[i])})
    again, _ = aim.batch(rows, 0, 3)
    np.testing.assert_array_equal(texts, again)


def test_a_text_that_stands_twice_keeps_its_rows_apart():
    twice = LabelledTexts(
        pa.array(["w1", "w2", "w1", "w3"], pa.large_string()), pa.array(list("xyxy"), pa.large_string())
    )
    data = ClassSet.of(twice, word_tokenizer())
    assert data.bags.ids.tolist() == [2, 3, 2, 4]
    texts, targets = objective(data, Recipe.make(4, 8, loss="classes", batch=4), 1).batch(np.arange(4), 0, 0)
    assert texts[4:][targets.columns].tolist() == [2, 3, 0, 1]


def test_positives_are_drawn_evenly_and_anew_each_step():
    aim = objective(
        ClassSet.of(classes_of([0] * 5 + [1] * 5), word_tokenizer()),
        Recipe.make(10, 8, loss="classes", batch=10),
        1,
    )
    rows = np.arange(10)
    drawn = []
    for epoch, step in itertools.product(range(2), range(2000)):
        texts, targets = aim.batch(rows, epoch, step)
        drawn.append(texts[10:][targets.columns])
    drawn = np.array(drawn)
    for row in range(10):
        counts = np.bincount(drawn[:, row], minlength=10)
        others = [i for i in range(10) if i // 5 == row // 5 and i != row]
        assert counts[others].sum() == len(drawn)
        assert np.abs(counts[others] - 1000).max() < 150  # 5 standard deviations
    assert (drawn[:2000] != drawn[2000:]).any()


def test_triplets_take_the_negatives_that_are_there():
    pairs = Pairs(
        pa.array(["w1", "w2", "w3"]),
        pa.array(["w4", "w5", "w6"]),
        (pa.array(["w7", None, "w8"]), pa.array([None, None, "w9"])),
    )
    data = training_data(pairs, word_tokenizer())
    aim = objective(data, Recipe.make(3, 8, loss="triplet"), 1)
    texts, offsets = aim.batch(np.array([2, 1, 0]), 0, 0)
    words = [data.bags.ids[data.bags.offsets[text]] - 1 for text in texts]
    assert words == [3, 2, 1, 6, 8, 9, 5, 4, 7]
    assert offsets.tolist() == [0, 3, 4, 6]
    with pytest.raises(InputError, match="needs negatives"):
        objective(
            training_data(Pairs(pairs.anchors, pairs.positives), word_tokenizer()),
            Recipe.make(3, 8, loss="triplet"),
            1,
        )


def test_a_loss_for_other_data_is_refused():
    data = ClassSet.of(classes_of([0, 1]), word_tokenizer())
    with pytest.raises(InputError, match="the loss cosent is not for a ClassSet"):
        objective(data, Recipe.make(2, 8, loss="cosent"), 1)


def test_scores_become_cosines():
    np.testing.assert_array_equal(as_cosines(np.array([-1.0, 0.5, 1.0])), [-1, 0.5, 1])
    np.testing.assert_array_equal(as_cosines(np.array([1.0, 5.0, 2.0])), [0, 1, 0.25])


def taught(given, tokenizer, **options):
    """A random table, and what training makes of it."""
    recipe = Recipe.make(len(given), None, dim=16, levels=[4, 16], epochs=20, **options)
    data = training_data(given, tokenizer)
    table = random_table(tokenizer.vocabulary_size, 16, 0)
    table[0] = 0
    rates = learning_rates(Schedule(data, recipe).steps * recipe.epochs, recipe)
    optimizer = SparseAdam(table.copy(), rates, 2)
    fit(data, optimizer, recipe)
    return table, optimizer.current()


def cosines(table, left, right):
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    return (unit[left] * unit[right]).sum(axis=1)


@pytest.mark.parametrize("loss", ["cosent", "cosine"])
@pytest.mark.parametrize("dim", [4, 16])
def test_scores_are_learned(loss, dim):
    """Words of the same ten are close, of neighbouring tens less so, of others not."""
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 40, (2, 600))
    scores = 5.0 - np.minimum(2, np.abs(left // 10 - right // 10)) * 2.5
    pairs = ScoredPairs(
        pa.array([f"w{i}" for i in left], pa.large_string()),
        pa.array([f"w{i}" for i in right], pa.large_string()),
        scores,
    )
    before, after = taught(pairs, word_tokenizer(), loss=loss, batch=32, learning_rate=0.05)
    fresh_left, fresh_right = rng.integers(0, 40, (2, 500))
    truth = -np.abs(fresh_left // 10 - fresh_right // 10)
    for table, low, high in ((before, -0.3, 0.3), (after, 0.8, 1.0)):
        found = np.corrcoef(truth, cosines(table[:, :dim], fresh_left + 1, fresh_right + 1))[0, 1]
        assert low < found <= high


def test_classes_are_learned():
    before, after = taught(
        classes_of([i % 4 for i in range(400)]), word_tokenizer(), loss="classes", batch=64, learning_rate=0.1
    )
    left, right = np.triu_indices(40, 1)
    same = left % 4 == right % 4
    for table, apart in ((before, False), (after, True)):
        found = cosines(table, left + 1, right + 1)
        assert (found[same].mean() > found[~same].mean() + 0.5) == apart


def test_triplets_are_learned():
    rng = np.random.default_rng(0)
    anchors = rng.integers(0, 40, 600)
    positives, negatives = (
        (anchors + 4 * rng.integers(1, 10, 600)) % 40,
        (anchors + rng.choice([1, 2, 3], 600)) % 40,
    )
    pairs = Pairs(
        *(pa.array([f"w{i}" for i in side]) for side in (anchors, positives)),
        (pa.array([f"w{i}" for i in negatives]),),
    )
    before, after = taught(
        pairs, word_tokenizer(), loss="triplet", triplet_margin=0.3, batch=32, learning_rate=0.05
    )
    for table, low, high in ((before, 0.3, 0.7), (after, 0.97, 1.0)):
        closer = cosines(table, anchors + 1, positives + 1) > cosines(table, anchors + 1, negatives + 1)
        assert low < closer.mean() <= high


@pytest.mark.parametrize("loss", ["cosent", "classes"])
def test_a_run_taken_up_in_the_middle_gives_the_same_bits(loss):
    rng = np.random.default_rng(1)
    left, right = ([f"w{i}" for i in rng.integers(0, 40, 200)] for _ in range(2))
    pairs = ScoredPairs(
        pa.array(left, pa.large_string()), pa.array(right, pa.large_string()), rng.random(200)
    )
    data = training_data(
        pairs if loss == "cosent" else classes_of(rng.integers(0, 5, 200).tolist()), word_tokenizer()
    )
    recipe = Recipe.make(200, None, dim=16, loss=loss, batch=32, epochs=4)
    rates = learning_rates(Schedule(data, recipe).steps * recipe.epochs, recipe)
    whole = SparseAdam(random_table(41, 16, 0), rates, 2)
    kept = []

    def keep(state, _):
        if state.step == 9:
            kept.append([array.copy() for array in (state.table, state.first, state.second, state.last)])

    fit(data, whole, recipe, on_step=keep)
    table, first, second, last = kept[0]
    resumed = SparseAdam(table, rates, 2, step=9, first=first, second=second, last=last)
    fit(data, resumed, recipe)
    np.testing.assert_array_equal(whole.current(), resumed.current())


def test_weights_go_with_their_levels():
    recipe = Recipe.make(100, 32, levels=[32, 8], weights=[2, 0.5])
    assert (recipe.levels, recipe.weights) == ((8, 32), (0.5, 2.0))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    for levels, weights in (
        ([8], [1.0]),
        ([8, 32], [1.0]),
        ([8, 8, 32], [1.0, 1.0, 1.0]),
        ([8, 32], [1.0, -1.0]),
    ):
        with pytest.raises(InputError, match="weight"):
            Recipe.make(100, 32, levels=levels, weights=weights)
    assert dataclasses.replace(recipe, weights=None).to_dict()["weights"] is None


@pytest.mark.parametrize("loss", ["contrastive", "classes"])
def test_the_recipes_margin_is_that_of_the_loss(loss):
    """An anchor is closer to the positive of another than to its own: with a margin that is no negative of
    it.
    """
    if loss == "classes":
        data = training_data(classes_of([0, 0, 1, 1]), word_tokenizer())
    else:
        sides = [pa.array([f"w{i}" for i in side], pa.large_string()) for side in ([0, 2], [1, 3])]
        data = training_data(Pairs(*sides), word_tokenizer())
    losses = []
    for margin in (None, 0.1, 1.5):
        recipe = Recipe.make(
            2, 2, loss=loss, levels=[2], batch=4, precision="fp32", false_negative_margin=margin
        )
        aim = objective(data, recipe, 1)
        texts, targets = aim.batch(np.arange(len(data)), 0, 0)
        angles = np.array([0.0, 1.0, 0.2, 1.3])[data.bags.ids[texts] - 1]
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        losses.append(aim(vectors, targets)[0])
        cosines = np.cos(angles[: len(data), None] - angles[None, len(data) :])
        value = 0.0
        for i, column in enumerate(targets.columns):
            own = targets.masked[targets.masked_offsets[i] : targets.masked_offsets[i + 1]]
            limit = np.inf if margin is None else cosines[i, column] + margin
            there = [
                j for j in range(cosines.shape[1]) if j == column or (j not in own and cosines[i, j] <= limit)
            ]
            value += np.log(np.exp(20 * cosines[i, there]).sum()) - 20 * cosines[i, column]
        assert losses[-1] == pytest.approx(value / len(data), rel=1e-4)
    assert losses[0] == losses[2] != losses[1]
