import math

import numpy as np
import pytest

from statim.errors import InputError
from statim.kernels import int8_dot
from statim.training.datasets.batches import Schedule
from statim.training.loop.trainer import learning_rates
from statim.training.recipe import LEAST_SHARE, Recipe


def test_defaults_follow_the_data():
    small, large = Recipe.make(500, None), Recipe.make(500_000, 384)
    assert small.batch < large.batch
    assert large.dim == 384
    assert large.levels == (24, 48, 96, 192, 384) or large.levels[-1] == 384
    assert list(large.levels) == sorted(set(large.levels))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", math.nan), ("learning_rate", 0.0), ("learning_rate", -1.0),
        ("learning_rate", math.inf),
        ("dim", 0), ("dim", 1.5), ("levels", [0]), ("levels", [-4, 32]), ("levels", [512]), ("batch", 1),
        ("epochs", 0),
        ("scale", math.nan), ("scale", 0.0), ("warmup", 1.5), ("precision", "fp16"), ("seed", -1),
        ("epochs", True),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(InputError) as caught:
        Recipe.make(1000, 256, **{name: value})
    words = {"levels": "Matryoshka", "learning_rate": "learning rate", "warmup": "warm-up"}.get(name, name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_survives_json():
    import json

    recipe = Recipe.make(1000, None, seed=5)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_rates_rise_then_fall():
    recipe = Recipe.make(1000, None, learning_rate=0.5)
    rates = learning_rates(100, recipe)
    assert rates[0] == 0
    assert rates.max() == pytest.approx(0.5)
    assert np.argmax(rates) == 10
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[100] > 0
    assert Schedule(range(10), recipe).steps == 1


@pytest.mark.parametrize(
    ("pairs", "batch", "epochs"),
    [(300, None, 16), (9_006, None, 18), (33_085, None, 10), (41_166, None, 8), (300_000, None, 3),
        (9_006, 32, 3), (2_000_000, None, 1)],
)  # fmt: skip
def test_few_pairs_are_trained_on_for_longer(pairs, batch, epochs):
    assert Recipe.make(pairs, 64, batch=batch).epochs == epochs
    assert Recipe.make(pairs, 64, batch=batch, loss="classes").epochs == (1 if pairs > 1_000_000 else 3)
    assert Recipe.make(pairs, 64, batch=batch, epochs=2).epochs == 2


@pytest.mark.parametrize(
    ("bytes_", "loss", "precision"),
    [
        (True, "contrastive", "int8"), (True, "classes", "int8"), (True, "cosent", "bf16"),
        (False, "contrastive", "bf16"),
    ],
)  # fmt: skip
def test_the_processor_chooses_the_precision(bytes_, loss, precision, monkeypatch):
    monkeypatch.setattr(int8_dot, "FAST_BYTES", bytes_)
    assert Recipe.make(1000, 8, loss=loss).precision == precision
    assert Recipe.make(1000, 8, loss=loss, precision="auto").precision == precision
    assert Recipe.make(1000, 8, loss=loss, precision="fp32").precision == "fp32"


def test_int8_alone_rounds_softmax_weights():
    shares = {name: Recipe.make(1000, 8, precision=name).least_share for name in ("bf16", "fp32", "int8")}
    assert shares == {"bf16": 0, "fp32": 0, "int8": LEAST_SHARE}
    assert Recipe.make(1000, 8, precision="int8", loss="cosent").least_share == 0
    assert Recipe.make(1000, 8, precision="int8", least_share=0.5).least_share == 0.5
