"""The tiled contrastive Matryoshka loss and its gradient, without the B x N matrix and without autograd.

For pooled anchors ``a`` (B, d) and candidates ``p`` (N, d), at prefixes D_1 < ... < D_L with weights w_l:

    C_l = a[:, :D_l] p[:, :D_l]'  = C_{l-1} + the product of block l alone
    S_l = C_l / (|a| |p|')                        cosines at level l
    P_l = softmax over candidates of scale * S_l  (known positives of an anchor are left out of its negatives)
    G_l = scale * w_l * (P_l - target) / B,       H_l = G_l / (|a| |p|')
    da[:, block j] = (sum of H_l for l >= j) p[:, block j] - (sum over l >= j of rowsum(G_l * S_l) / |a|^2) *
    a[:, block j]

and dp likewise with the transpose. Multiple negatives ranking (Henderson et al., 2017; InfoNCE, van den Oord
et al., 2018) inside Matryoshka representation learning (Kusupati et al., 2022). The softmax is row-wise, so a
tile of rows goes from products to gradient while it is in cache. Where a row's columns do not fit, they are
cut into tiles too, and a sweep of its own over the products finds the rows' sums first: memory grows with B +
N, never with B x N. The backward direction (candidate to anchor) needs each column's sum, hence another such
sweep.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from statim import threads as executor
from statim.kernels.floats import FAST_BFLOAT16
from statim.kernels.int8_dot import FAST_BYTES
from statim.kernels.training.contrast import (
    FIXED,
    buffer_shape,
    tile_to_column_totals,
    tile_to_gradient,
    tile_to_totals,
)
from statim.kernels.training.norms import add, margins, prepare, remove_radial
from statim.kernels.training.sampled import tile_to_entries
from statim.kernels.training.sampled_gradient import add_anchors, add_candidates, count, lay_out, turn
from statim.kernels.training.scores import corrections, depths, multiply, pack, quantise
from statim.training.datasets.batches import Targets
from statim.training.losses import spin_executor
from statim.training.losses.sampled import MOST as BY_THREADS
from statim.training.losses.sampled import sampled
from statim.training.losses.spin_executor import Phase
from statim.training.losses.workspace import Workspace

TILE_BYTES = 24 << 20  # what a tile of all levels may take; products are faster the larger they are
MOST_ROWS = 1024  # in one tile; with more, products are no faster
MOST_COLUMNS = 8192  # in one tile; a row of more is cut, which costs its products a second time
CUT_COLUMNS = 4096  # of such tiles
USUAL = 1.5  # times 1 / least: coefficients that are left of a row; more find room, too
PADDING = (
    64  # columns are filled up to a multiple of it, so that products have few shapes, each prepared once
)

Floats = npt.NDArray[np.floating[Any]]
G = TypeVar("G", bound=np.generic)
Sweeps = Callable[[list[tuple[int, int]], int], "_Sweep"]  # of a share, and its number
Given = tuple[
    bool, Floats, Floats, "_Backward", Floats
]  # are tops and totals known, these, the backward direction, row sums
Shares = list[list[tuple[int, int]]]  # of each thread the rows of its tiles, from and to


def contrastive(
    anchors: Floats,
    candidates: Floats,
    targets: Targets,
    *,
    levels: Sequence[int],
    weights: Sequence[float] | None = None,
    scale: float = 20.0,
    both_directions: bool = False,
    margin: float | None = None,
    precision: str = "fp32",
    least_share: float = 0.0,
    threads: int = 1,
    tile_rows: int | None = None,
    tile_columns: int | None = None,
    workspace: Workspace | None = None,
) -> tuple[float, Floats]:
    """Loss and gradient of one batch.

    Args:
        anchors: (B, d) float32 (or float64, for checks), not normalised.
        candidates: (N, d) of the same type.
        targets: Each anchor's positive and the candidates that are not its negatives.
        levels: Matryoshka dimensions, ascending; the last is d.
        weights: One weight a level, 1 each by default.
        scale: Cosines are multiplied by it (1 / temperature).
        both_directions: Average the loss with that of finding, for each positive, its anchor among all
            anchors.
        margin: Candidates whose full cosine exceeds the positive's by more than this are taken for unknown
            positives: no negatives of that anchor. By default there is no such limit.
        precision: ``bf16`` multiplies float32 vectors as bfloat16, where the processor has instructions for
            that; sums over levels, rows and columns stay float32. ``int8`` has the scores multiplied in 8
            bits beyond that, see ``kernels.training.scores``.
        least_share: Softmax weights below this share of a row's negatives are rounded at random in the
            gradient, to it or to 0, right in the mean (see ``kernels.training.sampled``); the loss is exact.
            0 rounds none.
        threads: Threads to use. Results are the same bits for the same number of threads.
        tile_rows: Rows of a tile; by default as many as fit in cache.
        tile_columns: Columns of a tile, rounded up to a multiple of PADDING; by default all, up to
            MOST_COLUMNS.
        workspace: Where the large arrays of an earlier call are used again; the gradient is then valid until
            the next call.

    Returns:
        The loss, summed over levels, and its gradient with respect to anchors and candidates, (B + N, d), in
        this order.
    """
    whole = max(len(anchors), len(candidates)) <= BY_THREADS and not (
        both_directions or margin is not None or tile_rows or tile_columns
    )
    if precision == "int8" and FAST_BYTES and anchors.dtype == np.float32 and least_share > 0 and whole:
        own = np.asarray([1.0] * len(levels) if weights is None else weights) / len(anchors)
        found = sampled(
            anchors, candidates, targets.columns, targets.masked, targets.masked_offsets, targets.key,
            levels=np.array(levels, np.int64), weights=own.astype(np.float32), scale=scale,
            least_share=least_share,
            threads=threads, workspace=workspace or Workspace(),
        )  # fmt: skip
        if found is not None:
            return found
    batch = _Batch(
        anchors, candidates, targets, levels, weights, scale, both_directions, margin, precision, least_share,
        threads, workspace or Workspace(),
    )  # fmt: skip
    return batch.gradient(tile_rows, tile_columns)


class _Batch:
    """One batch's vectors and what all sweeps over its tiles share."""

    def __init__(
        self, a: Floats, p: Floats, targets: Targets, levels: Sequence[int], weights: Sequence[float] | None,
        scale: float,
        both: bool, margin: float | None, precision: str, least: float, threads: int, workspace: Workspace,
    ) -> None:  # fmt: skip
        kind = a.dtype.type
        self.a, self.p, self.targets, self.threads, self.both = a, p, targets, threads, both
        self.workspace, self.scale, self.least = workspace, kind(scale), least
        self.find = scale > FIXED
        share = 0.5 if both else 1.0
        self.weights = (
            np.asarray([1.0] * len(levels) if weights is None else weights) * (share / len(a))
        ).astype(kind)
        self.blocks = [slice(start, end) for start, end in zip([0, *levels], levels, strict=False)]
        self.bounds = np.array(levels, np.int64)
        single = a.dtype == np.float32
        half = precision != "fp32" and FAST_BFLOAT16 and single
        eighth = precision == "int8" and FAST_BYTES and single and (half or least > 0)
        self.inverse_a, self.inverse_p = (
            np.empty((len(a), len(levels)), kind),
            np.empty((len(p), len(levels)), kind),
        )
        # of factors and products; bfloat16 as int16, also where only sums of a few of them are made
        self.stored = np.dtype(np.int16 if half or eighth else kind)
        self.tiled = np.dtype(np.int16) if eighth else self.stored  # of tiles
        factors = workspace.take("factors", (len(a) + _padded(len(p)), a.shape[1]), self.stored)
        factors[len(a) + len(p) :] = 0
        self.factors = factors
        self.torch_a, torch_p = _floats(factors[: len(a)]), _floats(factors[len(a) :])
        self.limits, self.margin = np.full(len(a), np.nan, kind), None if margin is None else kind(margin)
        self.others = np.empty((len(levels), len(p)), kind)
        self.in_bytes = eighth
        self.eighth: tuple[npt.NDArray[Any], ...] | None = None
        self.a_blocks = [self.torch_a[:, block] for block in self.blocks]
        self.p_blocks = [torch_p[:, block] for block in self.blocks]

    def _prepared(self) -> list[Phase]:
        """The phase that sets inverse norms and, in ``factors``, the anchors and candidates to multiply."""
        tasks: list[Callable[[], None]] = []
        if self.in_bytes:
            self.eighth, tasks = self._quantised()
        tasks += [
            partial(self._prepare_anchors, *part) for part in executor.ranges(len(self.a), self.threads)
        ]
        tasks += [
            partial(self._prepare_candidates, *part) for part in executor.ranges(len(self.p), self.threads)
        ]
        steps: list[Phase] = [(len(tasks), lambda task: tasks[task]())]
        if self.margin is not None:
            steps.append((1, self._find_limits))
        return steps

    def _prepare_anchors(self, start: int, end: int) -> None:
        prepare(self.a, self.bounds, start, end, self.inverse_a, self.factors)

    def _prepare_candidates(self, start: int, end: int) -> None:
        prepare(self.p, self.bounds, start, end, self.inverse_p, self.factors[len(self.a) :])
        self.others[:, start:end] = self.inverse_p[start:end].T

    def _find_limits(self, _: int) -> None:
        last = self.inverse_a[:, -1], self.inverse_p[:, -1]
        margins(self.a, self.p, self.targets.columns, *last, self.margin, self.limits)

    def _quantised(self) -> tuple[tuple[npt.NDArray[Any], ...], list[Callable[[], None]]]:
        """All that ``scores.multiply`` takes of the batch, and what sets it."""
        (B, N, L), places = (len(self.a), len(self.p), len(self.blocks)), depths(self.bounds)
        take, padded = self.workspace.take, _padded(N)
        a, p = (
            take(name, (n, int(places[-1])), np.int8)
            for name, n in (("a in 8 bits", B), ("p in 8 bits", padded))
        )
        scales_a, scales_p = np.empty((L, B), np.float32), np.zeros((L, padded), np.float32)
        sums, packed = np.empty((L, B), np.int32), take("packed", (padded * int(places[-1]) // 4,), np.int32)
        p[N:] = 0

        def anchors(start: int, end: int) -> None:
            quantise(self.a, self.bounds, places, start, end, scales_a, a)
            corrections(a, places, start, end, sums)

        def candidates(start: int, end: int) -> None:
            quantise(self.p, self.bounds, places, start, min(end, N), scales_p, p)
            pack(p, places, start, end, packed)

        tasks: list[Callable[[], None]] = [
            partial(anchors, *part) for part in executor.ranges(B, self.threads)
        ]
        tasks += [partial(candidates, *part) for part in executor.ranges(padded, self.threads)]
        return (a, sums, scales_a, packed, scales_p, places), tasks

    def gradient(self, tile_rows: int | None, tile_columns: int | None) -> tuple[float, Floats]:
        (B, d), N, L = self.a.shape, len(self.p), len(self.blocks)
        C = _padded(tile_columns or (N if N <= MOST_COLUMNS else CUT_COLUMNS))
        most = TILE_BYTES // (L * _padded(min(C, N)) * self.tiled.itemsize)
        R = tile_rows or _even(B, max(64, min(MOST_ROWS, most)), self.threads)
        rows = [(start, min(start + R, B)) for start in range(0, B, R)]
        columns = [(start, min(start + C, N)) for start in range(0, N, C)]
        shares = [rows[first :: self.threads] for first in range(min(self.threads, len(rows)))]
        sweep: Sweeps = partial(_Sweep, self, columns, R, _padded(min(C, N)))

        dtype = self.a.dtype
        tops = np.full((B, L), -np.inf if self.find else self.scale, dtype)
        totals, aims = np.zeros((B, L), dtype), np.zeros((B, L), dtype)
        row_sums, gradient = np.zeros((B, L), dtype), self.workspace.take("gradient", (B + N, d), dtype)
        backward = _Backward(self, len(shares))
        steps = self._prepared()
        if len(columns) > 1:
            steps.append((len(shares), lambda index: sweep(shares[index], index).totals(tops, totals, aims)))
        if self.both:
            steps.append((len(shares), lambda index: backward.add(index, sweep(shares[index], index))))
            steps.append((1, backward.finish))
        given = len(columns) > 1, tops, totals, backward, row_sums
        last: _Sampled | _Dense
        if self.least > 0:
            last = _Sampled(self, shares, sweep, given, aims, gradient)
        else:
            last = _Dense(self, shares, sweep, given, gradient)
        spin_executor.run(steps + last.steps(), self.threads)
        return backward.loss + math.fsum(last.losses), gradient

    def remove_radial_of_anchors(self, da: Floats, sums: Floats, start: int, end: int) -> None:
        """Of rows whose sums (B, L) of G * S are complete."""
        remove_radial(da, self.a, sums, self.inverse_a, self.bounds, start, end)

    def remove_radial_of_candidates(self, dp: Floats, sums: list[Floats], start: int, end: int) -> None:
        """Of columns whose sums of G * S, (L, N) of each share, are complete."""
        own = np.zeros((end - start, len(self.bounds)), dp.dtype)
        for share in sums:
            own += share[:, start:end].T
        columns = slice(start, end)
        remove_radial(dp[columns], self.p[columns], own, self.inverse_p[columns], self.bounds, 0, end - start)


class _Backward:
    """The direction from candidates to anchors: the softmax of each positive over all anchors.

    Nothing until it is finished.

    Attributes:
        loss: Of this direction.
        tops: (L, N) the shift of each column's logits; (0, 0) where there is no such direction.
        factors: (L, N) what each column's shifted exponentials are multiplied by in G.
        own: (B, L) G at the positives themselves.
    """

    def __init__(self, batch: _Batch, shares: int) -> None:
        self._batch = batch
        self._found: list[tuple[Floats, ...]] = [()] * shares
        nothing = np.zeros((0, 0), batch.a.dtype)
        self.loss, self.tops, self.factors = 0.0, nothing, nothing
        self.own = np.zeros((len(batch.a), len(batch.blocks)), batch.a.dtype)

    def add(self, index: int, sweep: "_Sweep") -> None:
        """A share of the rows."""
        self._found[index] = sweep.column_totals()

    def finish(self, _: int) -> None:
        """All of them have been added."""
        batch, (tops, sums, aims) = self._batch, zip(*self._found, strict=True)
        columns, dtype = batch.targets.columns, batch.a.dtype
        top = np.max(tops, axis=0)
        total = np.zeros_like(top)
        for part_top, part in zip(tops, sums, strict=True):
            total += part * np.exp(part_top - top)
        aim = (np.sum(aims, axis=0) - top[:, columns].T).astype(np.float64)
        own = np.exp(aim)
        whole = own + total[:, columns].T
        pull = (batch.scale * batch.weights).astype(np.float64)
        factors = np.zeros(top.shape, np.float64)
        for level in range(len(pull)):
            np.add.at(factors[level], columns, pull[level] / whole[:, level])
        self.loss = float(np.sum(batch.weights * (np.log(whole) - aim)))
        self.tops, self.factors = top, factors.astype(dtype)
        self.own = (pull * (own / whole - 1)).astype(dtype)


class _Dense:
    """The gradient by products with all coefficients; each share has its own sum for candidates."""

    def __init__(self, batch: _Batch, shares: Shares, sweep: Sweeps, given: Given, gradient: Floats) -> None:
        self._batch, self._shares, self._sweep, self._given = batch, shares, sweep, given
        self._gradient, self.losses, (B, (N, d)) = (
            gradient,
            [0.0] * len(shares),
            (len(batch.a), batch.p.shape),
        )
        take, kind = batch.workspace.take, gradient.dtype
        self._sums = [np.zeros((len(batch.blocks), N), kind) for _ in shares]
        self._parts = [
            gradient[B:] if index == 0 else take(f"candidates {index}", (N, d), kind)
            for index in range(len(shares))
        ]
        self._ranges = executor.ranges(N, executor.PARTS * batch.threads)

    def steps(self) -> list[Phase]:
        """All that is to be done."""
        return [(len(self._shares), self._share), (len(self._ranges), self._finish)]

    def _share(self, index: int) -> None:
        sweep, da = self._sweep(self._shares[index], index), self._gradient[: len(self._batch.a)]
        self.losses[index] = sweep.gradient(*self._given, self._sums[index], da, self._parts[index])

    def _finish(self, part: int) -> None:
        start, end = self._ranges[part]
        dp = self._parts[0]
        for other in self._parts[1:]:
            add(other[start:end], False, dp[start:end])
        self._batch.remove_radial_of_candidates(dp, self._sums, start, end)


class _Sampled:
    """The gradient by sums of the few vectors whose coefficients are left."""

    def __init__(
        self, batch: _Batch, shares: Shares, sweep: Sweeps, given: Given, aims: Floats, gradient: Floats
    ) -> None:
        self._batch, self._shares, self._sweep, self._given, self._aims = batch, shares, sweep, given, aims
        self._gradient, self.losses = gradient, [0.0] * len(shares)
        L, N = len(batch.blocks), len(batch.p)
        self._sums = [np.zeros((L, N), gradient.dtype) for _ in shares]
        self._starts, self._ends = np.zeros((L, N + 1), np.int64), np.empty((L, N), np.int64)
        self._tiles: list[list[_Entries]] = [[] for _ in shares]
        self._left, self._lock = len(shares), threading.Lock()
        self._ranges = executor.ranges(N, executor.PARTS * batch.threads)

    def steps(self) -> list[Phase]:
        """All that is to be done."""
        last = (len(self._ranges), self._finish)
        return [(len(self._shares), self._share), (len(self._starts), self._turn), last]

    def _share(self, index: int) -> None:
        sweep, da = self._sweep(self._shares[index], index), self._gradient[: len(self._batch.a)]
        self.losses[index], self._tiles[index] = sweep.entries(
            *self._given, self._sums[index], self._aims, da
        )
        with self._lock:
            self._left -= 1
            if not self._left:
                self._make_room()

    def _make_room(self) -> None:
        """For the coefficients of all levels, once they are turned."""
        sizes = np.sum([tile.offsets[:, -1] for tiles in self._tiles for tile in tiles], axis=0)
        self._first = np.append(0, np.cumsum(sizes))
        take, kept = self._batch.workspace.take, int(self._first[-1])
        self._rows = take("rows of candidates", (kept,), np.int32)
        self._turned = take("coefficients of candidates", (kept,), self._gradient.dtype)

    def _turn(self, level: int) -> None:
        tiles = [tile for tiles in self._tiles for tile in tiles]
        for tile in tiles:
            count(level, tile.offsets, tile.columns, self._starts)
        lay_out(level, self._first[level], self._starts, self._ends)
        for tile in tiles:
            own = tile.row, tile.offsets, tile.columns, tile.coefficients
            turn(*own, level, self._ends, self._rows, self._turned)

    def _finish(self, part: int) -> None:
        (start, end), batch = self._ranges[part], self._batch
        dp = self._gradient[len(batch.a) :]
        add_candidates(batch.factors, batch.bounds, self._starts, self._rows, self._turned, start, end, dp)
        batch.remove_radial_of_candidates(dp, self._sums, start, end)


@dataclass(frozen=True)
class _Entries:
    """A tile's remaining coefficients; ``row`` is its first, the others are ``tile_to_entries``'s."""

    row: int
    offsets: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    coefficients: Floats


class _Sweep:
    """One thread's share of a batch's tiles; its methods go over them once each."""

    def __init__(
        self, batch: _Batch, columns: list[tuple[int, int]], most_rows: int, most_columns: int,
        rows: list[tuple[int, int]],
        index: int,
    ) -> None:  # fmt: skip
        self.batch, self.rows, self.columns, self.index = batch, rows, columns, index
        self.most_rows, self.most_columns = most_rows, most_columns

    def _tiles(
        self,
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int], torch.Tensor, tuple[Any, ...]]]:
        """Each tile's rows, columns and products (L, rows, columns), and the kernels' shared arguments."""
        torch.set_num_threads(1)  # the threads are ours
        batch = self.batch
        L = len(batch.blocks)
        buffer = self._tensor("tile", (L * self.most_rows * self.most_columns,), batch.tiled)
        for rows in self.rows:
            for columns in self.columns:
                R, N = rows[1] - rows[0], _padded(columns[1] - columns[0])
                tile = buffer[: L * R * N].view(L, R, N)
                at, of = slice(*rows), slice(columns[0], columns[0] + N)
                if batch.eighth is not None:
                    multiply(*batch.eighth, rows, (of.start, of.stop), _bits(tile))
                else:
                    for a, p, out in zip(batch.a_blocks, batch.p_blocks, tile, strict=True):
                        torch.mm(a[at], p[of].T, out=out)
                yield rows, columns, tile, (
                    _bits(tile), batch.inverse_a[slice(*rows)], _cut(batch.others, columns),
                    *batch.targets.tile(rows, columns), batch.limits[slice(*rows)], batch.scale,
                )  # fmt: skip

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> torch.Tensor:
        """Of this thread alone."""
        return _floats(self.batch.workspace.take(f"{name} {self.index}", shape, dtype))

    def _buffers(self, columns: tuple[int, int]) -> Floats:
        shape = buffer_shape(len(self.batch.blocks), columns[1] - columns[0])
        return np.empty(shape, self.batch.a.dtype)

    def _room(self) -> tuple[npt.NDArray[np.int32], Floats]:
        """For the coefficients that are left of a tile, of usual size."""
        L, n, take = len(self.batch.blocks), self.most_columns, self.batch.workspace.take
        most = n + self.most_rows * int(min(n, USUAL / self.batch.least))
        kinds: tuple[npt.DTypeLike, ...] = np.int32, self.batch.a.dtype
        columns, coefficients = (take(f"{kind} left {self.index}", (L, most), kind) for kind in kinds)
        return columns, coefficients

    def totals(self, tops: Floats, totals: Floats, aims: Floats) -> None:
        for rows, columns, _, shared in self._tiles():
            at = slice(*rows)
            tile_to_totals(*shared, self.batch.find, tops[at], totals[at], aims[at], self._buffers(columns))

    def column_totals(self) -> tuple[Floats, Floats, Floats]:
        batch = self.batch
        (B, L), N, dtype = (len(batch.a), len(batch.blocks)), len(batch.p), batch.a.dtype
        tops, totals, aims = (
            np.full((L, N), -batch.scale, dtype),
            np.zeros((L, N), dtype),
            np.zeros((B, L), dtype),
        )
        for rows, columns, _, shared in self._tiles():
            of = slice(*columns)
            part_tops, part = _cut(tops, columns), _cut(totals, columns)
            tile_to_column_totals(*shared, part_tops, part, aims[slice(*rows)], self._buffers(columns))
            tops[:, of], totals[:, of] = part_tops, part
        return tops, totals, aims

    def entries(
        self, known: bool, tops: Floats, totals: Floats, backward: _Backward, row_sums: Floats,
        column_sums: Floats, aims: Floats,
        da: Floats,
    ) -> tuple[float, list[_Entries]]:  # fmt: skip
        """Write these rows of da, add to the column sums of G * S; return the loss and what tiles leave."""
        batch = self.batch
        candidates, (places, values) = batch.factors[len(batch.a) :], self._room()
        loss, tiles, several = 0.0, [], len(self.rows) * len(self.columns) > 1
        for rows, columns, _, shared in self._tiles():
            at, of, R = slice(*rows), slice(*columns), rows[1] - rows[0]
            sums = np.zeros((len(batch.blocks), columns[1] - columns[0]), batch.a.dtype)
            offsets, begin = np.zeros((len(batch.blocks), R + 1), np.int64), 0
            while begin < R:
                more, stopped = tile_to_entries(
                    *shared, batch.weights, known, batch.find, tops[at], totals[at], aims[at],
                    _cut(backward.tops, columns),
                    _cut(backward.factors, columns), backward.own[at], sums, row_sums[at],
                    self._buffers(columns),
                    batch.least, np.uint64(batch.targets.key), rows[0], columns[0], begin, offsets, places,
                    values,
                )  # fmt: skip
                loss, begin = loss + more, stopped
                if begin < R:
                    places, values = _doubled(places), _doubled(values)
            add_anchors(candidates, batch.bounds, offsets, places, values, columns[0] == 0, da[at])
            column_sums[:, of] += sums
            if columns == self.columns[-1]:
                batch.remove_radial_of_anchors(da, row_sums, *rows)
            used = int(offsets[:, -1].max())
            if several:  # the next one needs the room
                tiles.append(_Entries(rows[0], offsets, places[:, :used].copy(), values[:, :used].copy()))
            else:
                tiles.append(_Entries(rows[0], offsets, places, values))
        return loss, tiles

    def gradient(
        self, known: bool, tops: Floats, totals: Floats, backward: _Backward, row_sums: Floats,
        column_sums: Floats, da: Floats,
        dp: Floats,
    ) -> float:  # fmt: skip
        """Write these rows of da and this share of dp; add to the column sums of G * S; return the loss."""
        batch = self.batch
        product = self._tensor(
            "product", (max(self.most_rows, self.most_columns), batch.a.shape[1]), batch.stored
        )
        loss = 0.0
        for rows, columns, tile, shared in self._tiles():
            at, of = slice(*rows), slice(*columns)
            padded = slice(columns[0], columns[0] + tile.shape[2])
            sums = np.zeros((len(batch.blocks), columns[1] - columns[0]), batch.a.dtype)
            loss += tile_to_gradient(
                *shared, batch.weights, known, batch.find, tops[at], totals[at], _cut(backward.tops, columns),
                _cut(backward.factors, columns), backward.own[at], sums, row_sums[at], self._buffers(columns),
            )  # fmt: skip
            column_sums[:, of] += sums
            for level, block in enumerate(batch.blocks):
                torch.mm(tile[level], batch.p_blocks[level][padded], out=product[: tile.shape[1], block])
            add(_bits(product[: tile.shape[1]]), columns[0] == 0, da[at])
            for level, block in enumerate(batch.blocks):
                torch.mm(tile[level].T, batch.a_blocks[level][at], out=product[: tile.shape[2], block])
            add(_bits(product[: tile.shape[2]]), rows == self.rows[0], dp[of])
            if columns == self.columns[-1]:
                batch.remove_radial_of_anchors(da, row_sums, *rows)
        return loss


def _even(rows: int, most: int, threads: int) -> int:
    """Rows of a tile, up to a maximum, such that all threads have equally many tiles."""
    rounds = -(-rows // (most * threads))
    return -(-rows // (rounds * threads))


def _padded(columns: int) -> int:
    return -(-columns // PADDING) * PADDING


def _cut(array: Floats, columns: tuple[int, int]) -> Floats:
    """These columns, (L, n), contiguous: the array itself or a copy."""
    return np.ascontiguousarray(array[:, slice(*columns)])


def _bits(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor as numpy; bfloat16 as int16."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _floats(array: npt.NDArray[Any]) -> torch.Tensor:
    """The array as a tensor; int16 as bfloat16."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.int16 else tensor


def _doubled(array: npt.NDArray[G]) -> npt.NDArray[G]:
    """Room for twice as much, and what is there."""
    longer: npt.NDArray[G] = np.concatenate([array, np.empty_like(array)], axis=1)
    return longer
