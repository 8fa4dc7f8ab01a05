"""Is a difference between two systems more than luck of the queries drawn? The paired bootstrap."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from statim.errors import InputError

BLOCK = 1 << 22  # draws made at a time


class Difference(NamedTuple):
    """How much better b is than a: mean, middle 95 % of resampled means, and the p-value of chance alone.

    ``p`` is two-sided: twice the share of resampled means on the other side of 0, the observed one counted
    in.
    """

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, samples: int = 10_000
) -> Difference:
    """Resample queries with replacement and look at the mean of ``b - a`` (Efron & Tibshirani, 1993).

    Args:
        a: (m,) the metric of each query for one system.
        b: (m,) for the other, the same queries in the same order.
        seed: Decides the draws.
        samples: How many times to resample.

    Raises:
        InputError: The two differ in length, are empty, or hold NaN.
    """
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape or left.ndim != 1 or left.size == 0:
        raise InputError(
            f"the systems have {left.size} and {right.size} values; both need one for each of the same "
            "queries"
        )
    gaps = right - left
    if not np.isfinite(gaps).all():
        raise InputError("a value is NaN or infinite; every query needs a number from each system")
    random = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, BLOCK // len(gaps))
    for start in range(0, samples, step):
        draws = random.integers(0, len(gaps), (min(step, samples - start), len(gaps)), np.int32)
        means[start : start + step] = gaps[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min(int((means <= 0).sum()), int((means >= 0).sum())) + 1
    return Difference(float(gaps.mean()), float(low), float(high), min(1.0, 2.0 * tail / (samples + 1)))
