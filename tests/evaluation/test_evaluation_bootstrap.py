"""The paired bootstrap agrees with SciPy's interval and with the normal law, and is the same each time."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from statim.errors import InputError
from statim.evaluation.bootstrap import paired_bootstrap


def test_interval_equals_scipy():
    random = np.random.default_rng(0)
    a, b = random.random(300), random.random(300) + 0.05
    found = paired_bootstrap(a, b)
    theirs = bootstrap((b - a,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    assert found.difference == pytest.approx(np.mean(b - a))
    assert found.low == pytest.approx(theirs.low, abs=0.003)
    assert found.high == pytest.approx(theirs.high, abs=0.003)


def test_p_is_that_of_the_normal_law():
    random = np.random.default_rng(1)
    gaps = random.standard_normal(2000)
    gaps += 2 * gaps.std() / math.sqrt(2000) - gaps.mean()  # two standard errors
    found = paired_bootstrap(np.zeros(2000), gaps)
    assert found.p == pytest.approx(math.erfc(2 / math.sqrt(2)), abs=0.01)


def test_equal_systems_and_clear_differences():
    values = np.linspace(0, 1, 50)
    assert paired_bootstrap(values, values) == (0, 0, 0, 1)
    clear = paired_bootstrap(values, values + 1)
    assert clear.difference == clear.low == clear.high == pytest.approx(1)
    assert clear.p == pytest.approx(2 / 10_001)


def test_same_seed_same_answer():
    random = np.random.default_rng(2)
    a, b = random.random(70), random.random(70)
    assert paired_bootstrap(a, b, seed=5) == paired_bootstrap(a, b, seed=5)
    assert paired_bootstrap(a, b, seed=5) != paired_bootstrap(a, b, seed=6)


def test_what_does_not_pair_is_refused():
    with pytest.raises(InputError, match="3 and 2 values"):
        paired_bootstrap([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match="NaN"):
        paired_bootstrap([1.0], [math.nan])
