"""The same negatives as sentence-transformers' mine_hard_negatives, on the same vectors."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers.util import cos_sim, mine_hard_negatives, pairwise_cos_sim

from statim import mine_hard_negatives as mine

DIM = 16


class Given:
    """A sentence transformer as far as mine_hard_negatives looks, whose vectors are given."""

    device = torch.device("cpu")

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts, **_):
        return np.stack([self.vectors[text] for text in texts])

    encode_query = encode_document = encode

    def similarity(self, a, b):
        return cos_sim(a, b)

    def similarity_pairwise(self, a, b):
        return pairwise_cos_sim(a, b)


class Scorer:
    """A cross-encoder whose scores are random, and the same for the same pair."""

    def predict(self, pairs, convert_to_tensor=False, **_):
        found = np.array(
            [np.random.default_rng(abs(hash(pair)) % 2**32).normal() for pair in pairs], np.float32
        )
        return torch.from_numpy(found) if convert_to_tensor else found


@pytest.fixture(scope="module")
def case():
    """60 anchors with one to three positives, some positives of several anchors, and a corpus that holds some
    of them.
    """
    random = np.random.default_rng(7)
    pairs = [
        (f"anchor {a}", f"document {d}")
        for a in range(60)
        for d in random.choice(80, size=random.integers(1, 4), replace=False)
    ]
    random.shuffle(pairs)
    pairs = [tuple(map(str, pair)) for pair in pairs]
    corpus = [f"document {d}" for d in range(40)] + [f"other {i}" for i in range(90)]
    texts = {text for pair in pairs for text in pair} | set(corpus)
    centres = random.normal(size=(6, DIM))
    vectors = {text: centres[i % 6] + random.normal(size=DIM) for i, text in enumerate(sorted(texts))}
    for anchor in {anchor for anchor, _ in pairs}:  # close to what belongs to it
        own = [vectors[positive] for other, positive in pairs if other == anchor]
        vectors[anchor] = np.mean(own, axis=0) + 0.5 * random.normal(size=DIM)
    vectors = {text: vector.astype(np.float32) for text, vector in vectors.items()}
    return pairs, corpus, Given(vectors)


def theirs(case, corpus, options, capsys):
    pairs, _, model = case
    data = Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [p for _, p in pairs]})
    found = mine_hard_negatives(data, model, corpus=corpus, verbose=False, **options)
    capsys.readouterr()
    return found


COMBINATIONS = [
    {"relative_margin": None},
    {"relative_margin": 0.05},
    {"relative_margin": 0.3, "num_negatives": 5},
    {"absolute_margin": 0.1, "relative_margin": None},
    {"absolute_margin": 0.02, "relative_margin": 0.05, "range_min": 2, "range_max": 20},
    {"relative_margin": None, "range_min": 4, "num_negatives": 2},
    {"relative_margin": None, "range_max": 5, "max_score": 0.6},
    {"relative_margin": None, "max_score": 0.7, "min_score": 0.4, "num_negatives": 8, "range_max": 30},
    {"relative_margin": None, "min_score": 0.5},
    {"relative_margin": 0.05, "num_negatives": 7, "range_max": 200},
    {"relative_margin": None, "include_positives": True, "num_negatives": 9},
]


@pytest.mark.parametrize("options", COMBINATIONS, ids=json.dumps)
@pytest.mark.parametrize("separate", [False, True])
def test_triplets(case, options, separate, capsys):
    pairs, corpus, model = case
    corpus = corpus if separate else None
    expected = theirs(case, corpus, {"output_scores": True} | options, capsys)
    found = mine(pairs, model, corpus=corpus, output_scores=True, **options).table
    assert 20 < len(found) == len(expected)
    names = [name for name in expected.column_names if name != "scores"]
    assert found.column_names == expected.column_names
    for name in names:
        assert found.column(name).to_pylist() == expected[name]
    np.testing.assert_allclose(found.column("scores").to_pylist(), expected["scores"], atol=1e-6)


@pytest.mark.parametrize("output_format", ["n-tuple", "labeled-pair", "labeled-list"])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("options", [COMBINATIONS[0], COMBINATIONS[2]], ids=json.dumps)
def test_formats(case, output_format, scores, options, capsys):
    pairs, _, model = case
    options = options | {"output_format": output_format, "output_scores": scores}
    expected = theirs(case, None, options, capsys)
    found = mine(pairs, model, **options).table
    assert 20 < len(found) == len(expected)
    for ours, name in zip(
        found.column_names, expected.column_names, strict=True
    ):  # but two are called otherwise
        if "score" in name:
            ours_flat, flat = (list(np.hstack(v)) for v in (found.column(ours).to_pylist(), expected[name]))
            np.testing.assert_allclose(ours_flat, flat, atol=1e-6)
        else:
            assert found.column(ours).to_pylist() == expected[name]


@pytest.mark.parametrize("options", [COMBINATIONS[1], COMBINATIONS[4], COMBINATIONS[8]], ids=json.dumps)
def test_rescored(case, options, capsys, monkeypatch):
    pairs, _, model = case
    options = options | {"cross_encoder": Scorer(), "output_scores": True}
    expected = theirs(case, None, options, capsys)
    found = mine(pairs, model, **options).table
    assert 20 < len(found) == len(expected)
    for name in ("anchor", "positive", "negative"):
        assert found.column(name).to_pylist() == expected[name]
    np.testing.assert_allclose(found.column("scores").to_pylist(), expected["scores"], atol=1e-6)


def test_random_ones_are_among_those_it_draws_from(case, capsys):
    """With as many negatives as there are places in the range, drawing takes all of them."""
    pairs, _, model = case
    options = {"relative_margin": 0.05, "range_min": 3, "range_max": 15, "num_negatives": 12}
    allowed = theirs(case, None, options, capsys)
    allowed = set(zip(allowed["anchor"], allowed["negative"], strict=True))
    drawn = mine(pairs, model, **options | {"num_negatives": 4, "sampling": "random", "seed": 1})
    top = mine(pairs, model, **options | {"num_negatives": 4})
    rows = set(zip(*(drawn.table.column(name).to_pylist() for name in ("anchor", "negative")), strict=True))
    assert rows <= allowed
    assert len(drawn) == len(top)
    assert drawn.table != top.table
    again = mine(pairs, model, **options | {"num_negatives": 4, "sampling": "random", "seed": 1})
    assert again.table == drawn.table
    other = mine(pairs, model, **options | {"num_negatives": 4, "sampling": "random", "seed": 2})
    assert other.table != drawn.table


def test_whatever_they_can_be_asked_can_be_asked_here():
    """Every parameter there has its counterpart here, by its name or the one beside it."""
    import inspect

    renamed = {
        "dataset": "data", "anchor_column_name": "anchor", "positive_column_name": "positive",
        "sampling_strategy": "sampling", "use_faiss": "search", "faiss_batch_size": "search",
        "use_multi_process": "threads", "verbose": "progress",
    }  # fmt: skip
    unneeded = {
        "cache_folder",
        "as_triplets",
        "margin",
    }  # teachers' vectors are cached anyway; the others are deprecated
    ours = set(inspect.signature(mine).parameters)
    theirs = set(inspect.signature(mine_hard_negatives).parameters) - unneeded
    assert {renamed.get(name, name) for name in theirs} <= ours
