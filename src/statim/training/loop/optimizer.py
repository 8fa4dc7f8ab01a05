"""Row-sparse Adam: dense Adam's trajectory at the cost of the rows that occur."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.errors import InputError
from statim.kernels.atomics import Numbers
from statim.kernels.training.adam import update
from statim.kernels.training.rows import catch_up, read, sort_by_row
from statim.training.datasets.bags import Bags
from statim.training.losses import spin_executor
from statim.training.losses.workspace import Workspace
from statim.training.recipe import check_decay

BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-12  # gradients of a mean over many texts are small: a larger one would damp rare rows
MOST_RATES = 256
PLANS = 2  # that are valid at once: one is made ahead

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """A batch's entries, sorted by row.

    Attributes:
        bags: Where the texts are.
        texts: (m,) which texts are pooled.
        work: (m + 1,) entries before each of them.
        found: How many rows of the table occur.
        rows: These rows, ascending, in the first ``found`` places.
        slots: (V,) at each of them its place in ``rows``.
        row_offsets: Entries of rows[u] are [row_offsets[u], row_offsets[u + 1]).
        positions: Of each entry, the position of its text in the batch.
        shares: Of each entry, count / total.
    """

    bags: Bags
    texts: npt.NDArray[np.int64]
    work: npt.NDArray[np.int64]
    found: int
    rows: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]
    row_offsets: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]
    shares: npt.NDArray[np.floating[Any]]


@dataclass(eq=False)
class SparseAdam:
    """A table under training, and its moments.

    Rows are updated when they occur; before a row is read, it is moved to where dense Adam's decaying
    momentum would have brought it since (in closed form, see kernels.training.rows.catch_up).

    Attributes:
        table: (V, d) float32, each row as of the last step that touched it; ``current`` gives the table of
            now.
        rates: (T + 1,) float64, the learning rate of each step from 1.
        first: (V, d) float32 first moments; or bfloat16 as int16.
        second: (V, d) likewise second moments; (V, 1) float32 with ``row_wise``.
        last: (V,) int32, the step at which each row last occurred; 0 for never.
        threads: Threads to use; results do not depend on it.
        clip: The whole table's gradient is scaled down to this norm where it is larger; None never clips.
        step: Steps taken.
        row_wise: Keep one second moment for each row, the mean over its entries, instead of one for each
            entry.
        precision: ``bf16`` rounds rows to bfloat16 where they are pooled, and gradients of vectors where they
            are gathered; the table, its moments and all sums are float32. With ``int8`` the moments are
            bfloat16 too. ``fp32`` rounds nothing.
        decay: Weight decay, decoupled (AdamW; Loshchilov and Hutter, 2019): a step shrinks every row by rate
            * decay, also those that do not occur, and those that never have.
        origin: (V', d) what rows decay towards, 0 by default; rows from V' on do not decay.
        row_rates: (V,) float32 of at most MOST_RATES different values, what each row's rate is multiplied by:
            a row of 0 never moves, and its gradient does not count where the norm is clipped; None multiplies
            none.

    Raises:
        InputError: Rows would shrink too much in a step, see ``recipe.check_decay``; or have too many
            different rates.
    """

    table: Floats
    rates: npt.NDArray[np.float64]
    threads: int = 1
    clip: float | None = None
    step: int = 0
    row_wise: bool = False
    precision: str = "fp32"
    first: npt.NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    second: npt.NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    last: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    decay: float = 0.0
    row_rates: npt.NDArray[np.float32] | None = None
    origin: Floats | None = None

    def __post_init__(self) -> None:
        V, d = self.table.shape
        if self.first.size == 0:
            half = self.precision == "int8" and self.table.dtype == np.float32
            kind = np.dtype(np.int16) if half else self.table.dtype
            self.first = np.zeros((V, d), kind)
            self.second = np.zeros((V, 1), self.table.dtype) if self.row_wise else np.zeros((V, d), kind)
            self.last = np.zeros(len(self.table), np.int32)
        self._ratio = BETA1 / BETA2**0.5
        decaying = V if self.origin is None else len(self.origin)
        self._multipliers, self._decays, self._groups = _groups(self.row_rates, self.decay, decaying, V)
        self._origin = np.zeros((0, d), self.table.dtype) if self.origin is None else self.origin
        self._drift, self._shrinks = self._series()
        self._starts = np.empty(len(self.table) + 1, np.int32)
        self._stored = np.dtype(np.int16) if self.precision != "fp32" else self.table.dtype
        self._workspace = Workspace()
        self._plans, self._planned = [Workspace() for _ in range(PLANS + 1)], 0

    def _series(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The drift and log P of each group of rows, (K, T + 1) each; see ``rows.catch_up``.

        drift[s] = sum over t > s of c_t r^(t - s) P_s / P_t is summed from the last step backwards. It stays
        small, since r divided by what a step leaves of a row is less than 1.
        """
        steps = np.arange(len(self.rates))
        own = self._multipliers[:, None] * self.rates
        lost = own * self._decays[:, None]
        check_decay(self.decay, float(own.max()))
        with np.errstate(divide="ignore", invalid="ignore"):
            corrected = own * np.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
        drift = np.zeros(own.shape)
        for group, (sizes, kept) in enumerate(zip(corrected.tolist(), (1 - lost).tolist(), strict=True)):
            sum_after = 0.0
            for step in range(len(sizes) - 1, 0, -1):
                sum_after = self._ratio * (sizes[step] + sum_after) / kept[step]
                drift[group, step - 1] = sum_after
        shrinks = np.cumsum(np.log1p(-lost), axis=1)
        return drift, shrinks if self.decay > 0 else shrinks[:, :0].copy()

    def plan(self, bags: Bags, texts: npt.NDArray[np.int64]) -> "Plan":
        """Sort a batch's entries by row, without reading the table: one thread can do it ahead.

        The plan is valid until PLANS more have been made.
        """
        work = np.concatenate([[0], np.cumsum(bags.offsets[texts + 1] - bags.offsets[texts])])
        entries, V = int(work[-1]), len(self.table)
        self._planned += 1
        take = self._plans[self._planned % len(self._plans)].take
        rows, slots, row_offsets = (
            take("rows", (V,), np.int32),
            take("slots", (V,), np.int32),
            take("row offsets", (V + 1,), np.int64),
        )
        positions, shares = (
            take("positions", (entries,), np.int32),
            take("shares", (entries,), self.table.dtype),
        )
        found = sort_by_row(
            bags.ids,
            bags.counts,
            bags.offsets,
            bags.totals,
            texts,
            self._starts,
            rows,
            slots,
            row_offsets,
            positions,
            shares,
        )
        return Plan(bags, texts, work, found, rows, slots, row_offsets, positions, shares)

    def read(self, plan: "Plan") -> Floats:
        """The pooled vectors of the plan's texts, (m, d), from up-to-date rows; valid until the next call."""
        d, bags = self.table.shape[1], plan.bags
        fetched = self._workspace.take("fetched", (plan.found, d), self._stored)
        vectors = self._workspace.take("vectors", (len(plan.texts), d), self.table.dtype)
        most = executor.PARTS * self.threads
        parts = (
            spin_executor.spans(executor.ranges(plan.found, most)),
            spin_executor.spans(_even(plan.work, most)),
        )
        entries = plan.slots, bags.ids, bags.counts, bags.offsets, bags.totals, plan.texts
        state = self.table, self.first, self.second, self.last, plan.rows, self.step
        series = self._drift, self._ratio, EPSILON, self._groups, self._shrinks, self._origin

        def go(numbers: Numbers) -> None:
            read(numbers, *parts, *state, *series, fetched, *entries, vectors)

        spin_executor.together(go, 2, self.threads)
        return vectors

    def _state(self, table: Floats, rows: npt.NDArray[np.int32], bounds: tuple[int, int]) -> tuple[Any, ...]:
        """What brings rows[bounds] of ``table`` up to the present step."""
        moments = self.first, self.second, self.last
        series = self._drift, self._ratio, EPSILON, self._groups, self._shrinks, self._origin
        return table, *moments, rows, *bounds, self.step, *series

    def update(self, plan: "Plan", gradients: Floats) -> None:
        """Take one step with the gradients (m, d) of the vectors that ``read`` gave for this plan."""
        self.step += 1
        found = plan.found
        gathered = self._workspace.take("gathered", (found, self.table.shape[1]), self._stored)
        squares = np.empty(found)
        work = plan.row_offsets[: found + 1] + 4 * np.arange(found + 1)  # a row costs some entries by itself
        most, rounded = executor.PARTS * self.threads, gradients
        if self._stored != gradients.dtype:
            rounded = self._workspace.take("rounded", gradients.shape, self._stored)
        copied = executor.ranges(0 if rounded is gradients else len(gradients), most)
        parts = spin_executor.spans(copied), spin_executor.spans(_even(work, most))
        counted = (
            np.ones(found, np.bool_) if self.row_rates is None else self.row_rates[plan.rows[:found]] != 0
        )
        entries = (
            gradients,
            rounded,
            plan.row_offsets,
            plan.positions,
            plan.shares,
            gathered,
            squares,
            counted,
        )
        clip = np.inf if self.clip is None else float(self.clip)
        state = self.table, self.first, self.second, self.last, plan.rows
        numbers = (
            self.step,
            self.rates[self.step],
            BETA1,
            BETA2,
            EPSILON,
            self._groups,
            self._multipliers,
            self._decays,
            self._origin,
        )

        def go(phase: Numbers) -> None:
            update(phase, *parts, *entries, clip, *state, *numbers)

        spin_executor.together(go, 3, self.threads)

    def current(self, out: Floats | None = None) -> Floats:
        """A copy of the table with every row brought up to this step; training is not affected.

        Args:
            out: (V, d) to write it to; fresh memory by default, which takes longer than the copying.
        """
        return self._brought(np.empty_like(self.table) if out is None else out)

    def finish(self) -> Floats:
        """The table itself, every row brought up to the last step; training cannot go on from here."""
        return self._brought(self.table)

    def _brought(self, table: Floats) -> Floats:
        """Set every row to what it is at the present step."""
        rows = np.arange(len(table), dtype=np.int32)

        def bring(start: int, end: int) -> None:
            if table is not self.table:
                table[start:end] = self.table[start:end]
            catch_up(*self._state(table, rows, (start, end)))

        parts = executor.ranges(len(table), executor.PARTS * self.threads)
        executor.run([partial(bring, *part) for part in parts], self.threads)
        return table


def _groups(
    row_rates: npt.NDArray[np.float32] | None, decay: float, decaying: int, size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """The groups of rows that move alike: multiplier and decay of each, (K,), and which each row is in, (V,).

    The last is (0,) where all rows are of one group.
    """
    if row_rates is None and (decaying == size or decay == 0):
        return np.ones(1), np.full(1, float(decay)), np.zeros(0, np.uint8)
    rates = np.ones(size, np.float32) if row_rates is None else row_rates
    decays = np.where(np.arange(size) < decaying, decay, 0.0)
    kinds, groups = np.unique(np.stack([rates.astype(np.float64), decays]), axis=1, return_inverse=True)
    if kinds.shape[1] > MOST_RATES:
        raise InputError(f"rows have {kinds.shape[1]:,} different rates; at most {MOST_RATES} are possible")
    return kinds[0].copy(), kinds[1].copy(), groups.ravel().astype(np.uint8)


def _even(work: npt.NDArray[np.int64], parts: int) -> list[tuple[int, int]]:
    """Ranges of about equal work; ``work`` (n + 1,) counts the work before each of n items."""
    bounds = np.searchsorted(work, work[-1] * np.arange(parts + 1) // parts)
    bounds[0], bounds[-1] = 0, len(work) - 1
    return [
        (start, end)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        if end > start
    ]
