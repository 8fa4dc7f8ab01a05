"""A small training set with everything that makes batches hard, and a way to train on it."""

import numpy as np
import pytest
import torch

from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import Schedule
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import learning_rates
from statim.training.recipe import Recipe

V, FROZEN = 300, 3


def training_set(seed=0, pairs=500, texts=400):
    """Anchors and positives that repeat, negatives that some pairs lack, empty texts, very frequent and rare
    rows.
    """
    rng = np.random.default_rng(seed)
    words = np.minimum(rng.zipf(1.3, (texts, 60)) - 1, V - 1).astype(np.int32)
    lists = [row[: rng.integers(0, 60)] for row in words]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int64)
    bags = Bags.of(Tokens(np.concatenate(lists), offsets), V, frozen=FROZEN)
    anchors = rng.integers(0, texts // 2, pairs).astype(np.int32)
    candidates = rng.integers(texts // 3, texts, (pairs, 3)).astype(np.int32)
    candidates[:, 1:][rng.random((pairs, 2)) < 0.3] = -1
    links = sorted(
        {(a, p) for a, p in zip(anchors, candidates[:, 0], strict=True)} | {(a, a) for a in anchors}
    )
    known = np.array([p for _, p in links], np.int32)
    sizes = np.bincount([a for a, _ in links], minlength=texts)
    return TrainingSet(
        bags,
        anchors,
        candidates,
        known,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        ("pairs",),
        np.zeros(pairs, np.uint16),
    )


def begin(data, dim=24, row_rates=None, **given):
    """A recipe of three epochs, and the table it starts from."""
    values = {
        "levels": (4, 12, dim),
        "batch": 64,
        "epochs": 3,
        "learning_rate": 0.05,
        "precision": "fp32",
    } | given
    recipe = Recipe.make(len(data), None, dim=dim, **values)
    table = np.random.default_rng(7).standard_normal((V, dim)).astype(np.float32)
    table[FROZEN] = 0
    rates = learning_rates(Schedule(data, recipe).steps * recipe.epochs, recipe)
    origin = table[: V // 2].copy() if recipe.decay_to == "start" else None
    return recipe, SparseAdam(
        table, rates, 1, recipe.clip, decay=recipe.weight_decay, row_rates=row_rates, origin=origin
    )


@pytest.fixture(scope="session", name="begin")
def begin_fixture():
    return begin


@pytest.fixture(scope="session")
def small():
    return training_set(pairs=80, texts=60)


@pytest.fixture(scope="session")
def data():
    return training_set()


def problem(seed, B, N, d, most_masked=4):
    """Anchors, more candidates, shared positives, and known positives that are masked."""
    rng = np.random.default_rng(seed)
    anchors, candidates = rng.standard_normal((B, d)), rng.standard_normal((N, d))
    columns = rng.integers(0, N, B)
    rows, cols = [], []
    for i in range(B):
        chosen = rng.choice(N, min(N - 1, rng.integers(0, most_masked)), replace=False)
        found = [j for j in chosen if j != columns[i]]
        rows += [i] * len(found)
        cols += found
    return anchors, candidates, columns, (np.array(rows, np.int64), np.array(cols, np.int64))


def tensors(anchors, candidates, columns, masked, dtype=torch.float64):
    return (
        torch.tensor(anchors, dtype=dtype),
        torch.tensor(candidates, dtype=dtype),
        torch.tensor(columns),
        tuple(torch.tensor(part) for part in masked),
    )


@pytest.fixture(scope="session", name="problem")
def problem_fixture():
    return problem


@pytest.fixture(scope="session", name="tensors")
def tensors_fixture():
    return tensors
