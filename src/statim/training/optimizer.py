"""Row-sparse Adam: dense Adam's trajectory at the cost of the rows that occur."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.kernels.rows import adam, catch_up, gather, pool_bags, sort_by_row
from statim.training.bags import Bags

BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-12  # gradients of a mean over many texts are small: a larger one would damp rare rows

Floats = npt.NDArray[np.float32]


@dataclass(eq=False)
class SparseAdam:
    """A table under training, and its moments.

    Rows are updated when they occur; before a row is read, it is moved to where dense Adam's decaying momentum would have
    brought it since (in closed form, see kernels.rows.catch_up).

    Attributes:
        table: (V, d) float32, each row as of the last step that touched it; ``current`` gives the table of now.
        rates: (T + 1,) float64, the learning rate of each step from 1.
        first: (V, d) float32 first moments.
        second: (V, d) float32 second moments.
        last: (V,) int32, the step at which each row last occurred; 0 for never.
        threads: Threads to use; results do not depend on it.
        clip: The whole table's gradient is scaled down to this norm where it is larger; None never clips.
        step: Steps taken.
    """

    table: Floats
    rates: npt.NDArray[np.float64]
    threads: int = 1
    clip: float | None = None
    step: int = 0
    first: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    second: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    last: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        if self.first.size == 0:
            self.first, self.second = np.zeros_like(self.table), np.zeros_like(self.table)
            self.last = np.zeros(len(self.table), np.int32)
        self._ratio = BETA1 / BETA2**0.5
        self._drift = self._drifts()
        self._starts = np.empty(len(self.table) + 1, np.int32)
        self._rows = np.empty(len(self.table), np.int32)
        self._row_offsets = np.empty(len(self.table) + 1, np.int64)
        self._found = 0
        self._gathered = np.empty((0, 0), self.table.dtype)

    def _drifts(self) -> npt.NDArray[np.float64]:
        """drift[s] = sum over t > s of c_t r^(t - s), from the last step backwards."""
        steps = np.arange(len(self.rates))
        with np.errstate(divide="ignore", invalid="ignore"):
            corrected = self.rates * np.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
        drift = np.zeros(len(self.rates))
        for step in range(len(self.rates) - 2, -1, -1):
            drift[step] = self._ratio * (corrected[step + 1] + drift[step + 1])
        return drift

    def read(self, bags: Bags, texts: npt.NDArray[np.int64]) -> Floats:
        """The pooled vectors of a batch's texts, (m, d) float32, from rows brought up to date."""
        work = np.concatenate([[0], np.cumsum(bags.offsets[texts + 1] - bags.offsets[texts])])
        entries = int(work[-1])
        self._positions, self._shares = np.empty(entries, np.int32), np.empty(entries, self.table.dtype)
        self._found = sort_by_row(
            bags.ids, bags.counts, bags.offsets, bags.totals, texts,
            self._starts, self._rows, self._row_offsets, self._positions, self._shares,
        )  # fmt: skip
        self._move(self.table, self._rows, self._found)
        vectors = np.empty((len(texts), self.table.shape[1]), self.table.dtype)
        tasks = [
            partial(
                pool_bags,
                self.table,
                bags.ids,
                bags.counts,
                bags.offsets,
                bags.totals,
                texts,
                *bounds,
                vectors,
            )
            for bounds in _even(work, self.threads)
        ]
        pool.run(tasks, self.threads)
        return vectors

    def _move(self, table: Floats, rows: npt.NDArray[np.int32], count: int) -> None:
        """Bring ``rows`` of ``table`` up to the present step."""
        tasks = [
            partial(
                catch_up,
                table,
                self.first,
                self.second,
                self.last,
                rows,
                *bounds,
                self.step,
                self._drift,
                self._ratio,
                EPSILON,
            )
            for bounds in pool.ranges(count, self.threads)
        ]
        pool.run(tasks, self.threads)

    def update(self, gradients: Floats) -> None:
        """Take one step with the gradients (m, d) of the vectors that ``read`` gave last."""
        self.step += 1
        found = self._found
        if len(self._gathered) < found:
            self._gathered = np.empty((found + found // 4, self.table.shape[1]), self.table.dtype)
        squares = np.empty(found)
        work = self._row_offsets[: found + 1] + 4 * np.arange(found + 1)  # a row costs some entries by itself
        parts = _even(work, self.threads)
        entries = self._row_offsets, self._positions, self._shares, gradients
        pool.run([partial(gather, *entries, *part, self._gathered, squares) for part in parts], self.threads)
        norm = float(np.sqrt(squares.sum()))
        factor = min(1.0, self.clip / norm) if self.clip is not None and norm > 0 else 1.0
        state = self.table, self.first, self.second, self.last, self._rows, self._gathered
        numbers = factor, self.step, self.rates[self.step], BETA1, BETA2, EPSILON
        pool.run([partial(adam, *state, *part, *numbers) for part in parts], self.threads)

    def current(self, out: Floats | None = None) -> Floats:
        """A copy of the table with every row brought up to the present step; the training itself is not touched.

        Args:
            out: (V, d) to write it to; fresh memory by default, which takes longer than the copying.
        """
        table = np.empty_like(self.table) if out is None else out
        np.copyto(table, self.table)
        self._move(table, np.arange(len(table), dtype=np.int32), len(table))
        return table


def _even(work: npt.NDArray[np.int64], parts: int) -> list[tuple[int, int]]:
    """Ranges of about equal work; ``work`` (n + 1,) counts the work before each of n items."""
    bounds = np.searchsorted(work, work[-1] * np.arange(parts + 1) // parts)
    bounds[0], bounds[-1] = 0, len(work) - 1
    return [
        (start, end)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        if end > start
    ]
