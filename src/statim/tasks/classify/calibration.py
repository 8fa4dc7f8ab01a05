"""Probabilities from scores, fitted to examples that the head has not seen."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.tasks.classify.heads import Floats, Targets

Doubles = npt.NDArray[np.float64]

LEAST, MOST = 1e-3, 1e3  # slopes considered
STEPS = 60
UNCALIBRATED = {
    "logistic": 1.0,
    "ridge": 4.0,
    "centroid": 20.0,
    "neighbours": 1.0,
}  # slopes where nothing can be fitted


@dataclass(frozen=True)
class Calibration:
    """From scores to probabilities.

    They are the softmax of ``slope x scores``, or where labels are yes or no the logistic function of ``slope
    x scores + offset``. ``fitted`` is off where there were no examples to fit it to.
    """

    slope: float
    offset: float = 0.0
    fitted: bool = True

    def __call__(self, scores: Floats, several: bool) -> Floats:
        """(n, c) float32; without ``several`` each row sums to 1."""
        scaled: Doubles = self.slope * scores.astype(np.float64) + self.offset
        if several:
            return _single(0.5 + 0.5 * np.tanh(0.5 * scaled))
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return _single(scaled / scaled.sum(axis=1, keepdims=True))


def _single(given: Doubles) -> Floats:
    return given.astype(np.float32)


def calibrate(scores: Floats, targets: Targets, several: bool) -> Calibration:
    """The calibration of the least log loss on n examples.

    It is temperature scaling (Guo et al., 2017), or with ``several`` that of Platt (1999), over all labels
    together.
    """
    if several:
        return _platt(scores.ravel().astype(np.float64), targets.ravel())
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    own = shifted[targets].mean()

    def slope_of_loss(log_slope: float) -> float:
        weights = np.exp(np.exp(log_slope) * shifted)
        return float(((weights * shifted).sum(axis=1) / weights.sum(axis=1)).mean() - own)

    # the loss is convex in the slope: halve the interval in which its derivative changes sign
    low, high = np.log(LEAST), np.log(MOST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope_of_loss(middle) < 0 else (low, middle)
    return Calibration(float(np.exp((low + high) / 2)))


def _platt(scores: Doubles, targets: npt.NDArray[np.bool_]) -> Calibration:
    """Logistic regression on one number by Newton's method, with Platt's targets, which keep it finite."""
    yes, no = int(targets.sum()), int((~targets).sum())
    wanted = np.where(targets, (yes + 1) / (yes + 2), 1 / (no + 2))
    size = max(float(scores.std()), 1e-12)
    columns = np.stack([(scores - scores.mean()) / size, np.ones_like(scores)], axis=1)
    at = np.array([0.0, np.log((yes + 1) / (no + 1))])

    def loss(at: Doubles) -> float:
        given = columns @ at
        return float(np.logaddexp(0, given).sum() - wanted @ given)

    for _ in range(STEPS):
        given = 0.5 + 0.5 * np.tanh(0.5 * (columns @ at))
        gradient = columns.T @ (given - wanted)
        hessian = (columns * (given * (1 - given))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while length > 1e-6 and loss(at - length * step) > loss(at):
            length /= 2
        at = at - length * step
        if np.abs(step).max() * length < 1e-9:
            break
    slope = float(np.clip(at[0] / size, LEAST, MOST))
    return Calibration(slope, float(at[1] - at[0] * scores.mean() / size))


def log_loss(probabilities: Floats, targets: Targets, several: bool) -> float:
    """The mean negative log-probability of the truth (of each label's yes or no with ``several``)."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    if several:
        return float(-np.log(np.where(targets, p, 1 - p)).mean())
    known = targets.any(axis=1)
    return float(-(np.log(p[targets]).sum() + np.log(1e-7) * (~known).sum()) / len(p))


def calibration_error(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins: accuracy against mean confidence.

    Naeini et al. (2015).
    """
    bins = np.minimum((np.asarray(confidence, np.float64) * 15).astype(int), 14)
    counts = np.bincount(bins, minlength=15)
    gaps = np.bincount(bins, weights=right - np.asarray(confidence, np.float64), minlength=15)
    return float(np.abs(gaps).sum() / max(1, counts.sum()))
