import math

import numpy as np
import pytest

from statim.model import StaticModel
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import TrainingSet
from statim.training.initial_tables import random_table
from statim.training.recipe import Recipe
from statim.training.run.validation import Validation
from statim.vocabulary import learn_wordpiece


@pytest.fixture(scope="module")
def tokenizer(pairs) -> Tokenizer:
    return learn_wordpiece([pairs.anchors, pairs.positives])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_score_is_ndcg_at_10(pairs, tokenizer, threads):
    """Against the definition: one positive an anchor, at rank r, is worth 1 / log2(1 + r)."""
    some = pairs.select(np.arange(0, len(pairs), 3))
    prompts = Settings(prompts={"query": "draw "})
    table = random_table(tokenizer.vocabulary_size, 16, 5)
    model = StaticModel(table, tokenizer, prompts)
    queries = model.encode_query(some.anchors.to_pylist()).astype(np.float64)
    cosines = queries @ model.encode_document(some.positives.to_pylist()).astype(np.float64).T
    own = np.diag(cosines)[:, None]
    ranks = (cosines > own - 1e-9).sum(axis=1)
    expected = np.mean([1 / math.log2(1 + rank) if rank <= 10 else 0 for rank in ranks])
    assert 0.02 < expected < 0.9
    found = Validation(some, tokenizer, prompts, threads).score(table)
    assert found == pytest.approx(expected, abs=1e-6)


def test_spacing_is_a_few_times_an_epoch_and_rarer_where_it_is_dear(pairs, tokenizer):
    data = TrainingSet.of(pairs, tokenizer)
    few = Validation(pairs.select(np.arange(20)), tokenizer, Settings(), 1)
    recipe = Recipe.make(len(pairs), None, dim=64, batch=64, epochs=5)
    assert few.spacing(data, recipe, 10_000_000) == 500_000  # four an epoch
    every = few.spacing(data, recipe, 30)
    assert 1 <= every <= 30
    many = Validation(pairs.select(np.tile(np.arange(len(pairs)), 50)), tokenizer, Settings(), 1)
    assert many.spacing(data, recipe, 2000) >= few.spacing(data, recipe, 2000)
    assert many.spacing(data, Recipe.make(len(pairs), None, dim=64, batch=8, epochs=5), 2000) > 100
    assert few.spacing(data, recipe, 1) == 1
