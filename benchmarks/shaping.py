"""Ways of shaping a table that were tried and are no part of statim; benchmarks/ablation.py measures them.

Each ends in a plain table, so that a model made with them needs nothing else to be used.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.kernels.training.adam import gather
from statim.training.loop.optimizer import BETA1, BETA2, EPSILON, SparseAdam

SNAPSHOTS = 8  # of the last part of a training
SAMPLE = 4000  # texts in which common directions are looked for

Floats = npt.NDArray[np.float32]


def soup(tables: Sequence[Floats]) -> Floats:
    """The mean of tables that were trained from the same start (Wortsman et al., 2022), (V, d)."""
    return np.mean(tables, axis=0, dtype=np.float64).astype(np.float32)


class Tail:
    """The mean of SNAPSHOTS tables, evenly spread over the last steps (Izmailov et al., 2018).

    Args:
        share: How much of the training is averaged over.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._sum: npt.NDArray[np.float64] | None = None
        self._count = 0

    def __call__(self, optimizer: SparseAdam, loss: float) -> None:  # noqa: ARG002
        """After each step."""
        last = len(optimizer.rates) - 1
        steps = {last - round(place * self._share * last / SNAPSHOTS) for place in range(SNAPSHOTS)}
        if optimizer.step in steps:
            table = optimizer.current()
            self._sum = table.astype(np.float64) if self._sum is None else self._sum + table
            self._count += 1

    def table(self) -> Floats:
        """The mean."""
        assert self._sum is not None
        return (self._sum / self._count).astype(np.float32)


def without_common(table: Floats, data: Any, directions: int, *, unknown: int | None, threads: int) -> Floats:
    """A table whose texts have mean 0, and nothing along their most common directions.

    Arora et al. (2017) take out the first direction, Mu and Viswanath (2018) the mean and some. Both are
    the same for every text, so they can be taken out of the rows: of a mean of rows the same is gone.
    (Exactly, but for texts with unknown tokens.)

    Args:
        table: (V, d).
        data: A TrainingSet, in whose texts the mean and the directions are found.
        directions: How many.
        unknown: The row that stays 0.
        threads: Threads to use.
    """
    count = len(data.bags.totals)
    texts = np.random.default_rng(0).permutation(count)[:SAMPLE].astype(np.int32)
    vectors = data.bags.pooled(table, texts, threads).astype(np.float64)
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :directions] if directions else None
    out = table - mean
    if axes is not None:
        out -= (out @ axes) @ axes.T
    out = out.astype(np.float32)
    if unknown is not None:
        out[unknown] = 0
    return out


class WeightedAdam(SparseAdam):
    """Adam on rows and on a weight of each, exp(s); the table holds their product.

    The gradient of s is the product of a row and its own gradient. Adam makes every parameter's step about
    as large as the rate, whatever the size of the gradient: a weight learns ``strength`` times as quickly
    as the table's entries do.

    Attributes:
        strength: What the rate of weights is multiplied by.
    """

    strength = 0.3

    def update(self, plan: Any, gradients: Floats) -> None:
        """Take one step; the rows' gradients are gathered once more, for the weights."""
        rows = plan.rows[: plan.found]
        sums = _products(self.table[rows], plan, gradients, self.threads)
        super().update(plan, gradients)
        if not hasattr(self, "_means"):
            self._means, self._squares = np.zeros(len(self.table)), np.zeros(len(self.table))
        self._means *= BETA1
        self._squares *= BETA2
        self._means[rows] += (1 - BETA1) * sums
        self._squares[rows] += (1 - BETA2) * sums**2
        mean = self._means[rows] / (1 - BETA1**self.step)
        size = np.sqrt(self._squares[rows] / (1 - BETA2**self.step)) + EPSILON
        factors = np.exp(-self.strength * self.rates[self.step] * mean / size)
        self.table[rows] *= factors.astype(np.float32)[:, None]


def _products(rows: Floats, plan: Any, gradients: Floats, threads: int) -> npt.NDArray[np.float64]:
    """Each row times its gradient, (rows,)."""
    gathered, squares = np.empty_like(rows), np.empty(len(rows))
    entries = plan.row_offsets, plan.positions, plan.shares, gradients
    parts = pool.ranges(len(rows), threads)
    pool.run([partial(gather, *entries, *part, gathered, squares) for part in parts], threads)
    return np.einsum("ij,ij->i", rows, gathered, dtype=np.float64)


def weighted(optimizer: SparseAdam, strength: float) -> None:
    """Let an optimizer learn weights too."""
    optimizer.__class__ = WeightedAdam
    optimizer.strength = strength  # type: ignore[attr-defined]
