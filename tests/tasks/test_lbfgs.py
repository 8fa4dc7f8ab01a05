import numpy as np
import pytest
from scipy.optimize import minimize as scipys

from statim.tasks.classify.lbfgs import minimize


def logistic(seed, n=120, d=30, strength=10.0):
    """Logistic regression with a penalty, its columns of very different sizes: value and gradient."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d)) * np.geomspace(0.05, 5, d)
    signs = np.where(rows @ rng.standard_normal(d) + rng.standard_normal(n) > 0, 1.0, -1.0)

    def objective(at):
        given = signs * (rows @ at)
        value = np.logaddexp(0, -given).sum() + at @ at / (2 * strength)
        return float(value), at / strength - rows.T @ (signs / (1 + np.exp(given)))

    return objective


@pytest.mark.parametrize("seed", range(6))
def test_it_ends_where_scipy_does(seed):
    objective = logistic(seed)
    start = np.zeros(30)
    found = minimize(objective, start, flat=1e-4, iterations=500)
    value, gradient = objective(found)
    assert np.abs(gradient).max() <= 1e-4
    best = scipys(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0.0})
    assert value == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose(found, best.x, atol=6e-3)  # strength times the gradient
    assert (start == 0).all()


def test_it_never_goes_up_and_stops_when_told():
    objective = logistic(1)
    seen = [objective(minimize(objective, np.zeros(30), flat=0.0, iterations=k))[0] for k in range(12)]
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == objective(np.zeros(30))[0]
    at = minimize(objective, np.zeros(30), flat=0.0, iterations=5000)  # no step helps any more
    assert np.isfinite(at).all()
