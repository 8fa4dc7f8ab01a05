"""Heads: what turns vectors into scores of labels. Fitted in fitting.py; applied here, in plain numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from statim.search.engines.exact import Exact
from statim.tasks.classify.inputs import Inputs

Floats = npt.NDArray[np.float32]
Targets = npt.NDArray[np.bool_]

SHARPNESS = (
    20.0  # a neighbour counts exp(SHARPNESS x cosine): the scale at which tables are trained by default
)
LARGEST = 1e30  # of what a head is made of, so that no sum of products is infinite
PRIOR = 0.01  # of a vote, shared by all labels: none is impossible


class Head(Protocol):
    """Vectors of n texts in, scores (n, c) out; the more, the likelier is the label."""

    def scores(self, inputs: Inputs, *, threads: int | None = None) -> Floats:
        """(n, c) float32."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that the head is, by name."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Scores are ``inputs @ weights + bias``: (width, c) and (c,) float32.

    Logistic regression, ridge and centroids are this.
    """

    weights: Floats
    bias: Floats

    def scores(self, inputs: Inputs, *, threads: int | None = None) -> Floats:  # noqa: ARG002 - BLAS has its own
        """See Head."""
        return inputs.times(self.weights) + self.bias

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See Head."""
        return {"weights": self.weights, "bias": self.bias}


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest of N known vectors vote (Cover and Hart, 1967), the closer the more.

    Attributes:
        vectors: (N, d) float32.
        targets: (N, c) bool, which labels each has.
        k: How many vote.
    """

    vectors: Floats
    targets: Targets
    k: int

    def scores(self, inputs: Inputs, *, threads: int | None = None) -> Floats:
        """The logarithm of each label's share of the votes."""
        engine = Exact(self.vectors.shape[1])
        engine.add(self.vectors)
        near, positions = engine.search(inputs.vectors, self.k, threads=threads)
        return votes(near, positions, self.targets)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See Head."""
        return {"vectors": self.vectors, "targets": self.targets}


def votes(near: Floats, positions: npt.NDArray[np.int64], targets: Targets) -> Floats:
    """Log shares of votes, (n, c) float32, of neighbours with cosines ``near`` (n, k); -1 is none."""
    with np.errstate(invalid="ignore"):
        weights = np.where(positions >= 0, np.exp(SHARPNESS * (near - 1.0)), 0.0)
    totals = weights.sum(axis=1, keepdims=True)
    weights /= np.where(totals > 0, totals, 1.0)  # a text without known tokens has no neighbours
    shares = np.zeros((len(near), targets.shape[1]))
    for column in range(near.shape[1]):
        shares += weights[:, column, None] * targets[positions[:, column]]
    found: Floats = np.log((shares + PRIOR / targets.shape[1]) / (1.0 + PRIOR)).astype(np.float32)
    return found


def restore(kind: str, arrays: Mapping[str, npt.NDArray[Any]], k: int, width: int, labels: int) -> Head:
    """The head that ``arrays`` are of.

    Raises:
        ValueError: They do not fit such a head or its numbers of columns and labels, or hold NaN or absurd
            numbers.
    """
    if kind == "neighbours":
        vectors, targets = arrays["vectors"], arrays["targets"]
        good = vectors.shape == (len(targets), width) and targets.shape == (len(vectors), labels)
        good = good and targets.dtype == np.bool_ and k >= 1
        head: Head = Neighbours(vectors, targets, k)
        numbers = [vectors]
    else:
        weights, bias = arrays["weights"], arrays["bias"]
        good = weights.shape == (width, labels) and bias.shape == (labels,)
        head, numbers = Linear(weights, bias), [weights, bias]
    if not good or any(array.dtype != np.float32 or not (np.abs(array) < LARGEST).all() for array in numbers):
        raise ValueError("arrays of other shapes, or numbers that no head has")
    return head
