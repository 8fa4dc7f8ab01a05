"""The tiled contrastive Matryoshka loss and its gradient, without the B x N matrix and without autograd.

For pooled anchors ``a`` (B, d) and candidates ``p`` (N, d), at prefixes D_1 < ... < D_L with weights w_l:

    C_l = a[:, :D_l] p[:, :D_l]'  = C_{l-1} + the product of block l alone
    S_l = C_l / (|a| |p|')                        cosines at level l
    P_l = softmax over candidates of scale * S_l  (known positives of an anchor are left out of its negatives)
    G_l = scale * w_l * (P_l - target) / B,       H_l = G_l / (|a| |p|')
    da[:, block j] = (sum of H_l for l >= j) p[:, block j] - (sum over l >= j of rowsum(G_l * S_l) / |a|^2) * a[:, block j]

and dp likewise with the transpose. Multiple negatives ranking (Henderson et al., 2017; InfoNCE, van den Oord et al., 2018) inside
Matryoshka representation learning (Kusupati et al., 2022). The softmax is row-wise, so a tile of rows goes from products to
gradient while it is in cache. The backward direction (candidate to anchor) needs each column's sum first, hence a pass of its
own over the products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from statim import threads as pool
from statim.kernels.contrast import inverse_norms, remove_radial, tile_to_column_sums, tile_to_gradient

TILE_BYTES = (
    6 << 20
)  # what a tile of all levels should take: the last levels' rows stay in a core's own cache

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Targets:
    """What each of a batch's B anchors should find among N candidates.

    Attributes:
        columns: (B,) int32, the column of each anchor's positive.
        masked: int32, the columns that are known positives of an anchor but not the one at hand, one anchor's after the other's.
        masked_offsets: (B + 1,) int64, where each anchor's begin in ``masked``.
    """

    columns: npt.NDArray[np.int32]
    masked: npt.NDArray[np.int32]
    masked_offsets: npt.NDArray[np.int64]

    @staticmethod
    def plain(rows: int) -> "Targets":
        """Anchor i's positive is candidate i, and nothing is masked."""
        return Targets(np.arange(rows, dtype=np.int32), np.zeros(0, np.int32), np.zeros(rows + 1, np.int64))


def contrastive(
    anchors: Floats,
    candidates: Floats,
    targets: Targets,
    *,
    levels: Sequence[int],
    weights: Sequence[float] | None = None,
    scale: float = 20.0,
    both_directions: bool = False,
    threads: int = 1,
    tile_rows: int | None = None,
) -> tuple[float, Floats]:
    """Loss and gradient of one batch.

    Args:
        anchors: (B, d) float32 (or float64, for checks), not normalised.
        candidates: (N, d) of the same type.
        targets: Each anchor's positive and the candidates that are not its negatives.
        levels: Matryoshka dimensions, ascending; the last is d.
        weights: One weight a level, 1 each by default.
        scale: Cosines are multiplied by it (1 / temperature).
        both_directions: Average the loss with that of finding, for each positive, its anchor among all anchors.
        threads: Threads to use. Results are the same bits for the same number of threads.
        tile_rows: Rows of a tile; by default as many as fit in cache.

    Returns:
        The loss, summed over levels, and its gradient with respect to anchors and candidates, (B + N, d), in this order.
    """
    a, p = anchors, candidates
    B, N, L = len(a), len(p), len(levels)
    level_weights = np.asarray(weights if weights is not None else [1.0] * L, a.dtype)
    per_row = level_weights / a.dtype.type(B)
    share = a.dtype.type(0.5 if both_directions else 1.0)
    blocks = [slice(start, end) for start, end in zip([0, *levels], levels, strict=False)]
    bounds = np.array(levels, np.int64)
    inverse_a, inverse_p = _inverse_norms(a, bounds), _inverse_norms(p, bounds)
    R = tile_rows or max(64, min(256, TILE_BYTES // (L * N * a.itemsize)))
    tiles = [(start, min(start + R, B)) for start in range(0, B, R)]
    parts = [tiles[share::threads] for share in range(min(threads, len(tiles)))]
    torch_a, torch_p = torch.from_numpy(a), torch.from_numpy(p)

    def multiply(buffer: torch.Tensor, start: int, end: int) -> torch.Tensor:
        """Each block's products of rows [start, end), (L, rows, N)."""
        tile = buffer[:, : end - start]
        for level, block in enumerate(blocks):
            torch.mm(torch_a[start:end, block], torch_p[:, block].T, out=tile[level])
        return tile

    def masks(start: int, end: int) -> tuple[Any, ...]:
        offsets = targets.masked_offsets[start : end + 1]
        return targets.columns[start:end], targets.masked[offsets[0] : offsets[-1]], offsets - offsets[0]

    if both_directions:
        loss_back, tops, factors, backward = _backward_direction(
            multiply, masks, parts, inverse_a, inverse_p, targets, scale, per_row * share
        )
    else:
        loss_back, tops, factors = 0.0, np.zeros((0, 0), a.dtype), np.zeros((0, 0), a.dtype)
        backward = np.zeros((L, B), a.dtype)
    gradient = np.empty((B + N, a.shape[1]), a.dtype)
    da, dp = gradient[:B], gradient[B:]
    row_sums = np.empty((L, B), a.dtype)

    def work(part: list[tuple[int, int]]) -> tuple[float, Floats, Floats]:
        torch.set_num_threads(1)  # the threads are ours
        loss = 0.0
        part_dp = torch.zeros(N, a.shape[1], dtype=torch_a.dtype)
        column_sums = np.zeros((L, N), a.dtype)
        buffer = torch.empty(L, R, N, dtype=torch_a.dtype)
        scratch = np.empty((4, N), a.dtype)
        for start, end in part:
            tile = multiply(buffer, start, end)
            rows = np.empty((L, end - start), a.dtype)
            loss += tile_to_gradient(
                tile.numpy(), inverse_a[:, start:end], inverse_p, *masks(start, end),
                a.dtype.type(scale), per_row * share, column_sums, rows, scratch, tops, factors, backward[:, start:end],
            )  # fmt: skip
            row_sums[:, start:end] = rows
            for level, block in enumerate(blocks):
                torch.mm(tile[level], torch_p[:, block], out=torch.from_numpy(da)[start:end, block])
                torch.addmm(
                    part_dp[:, block], tile[level].T, torch_a[start:end, block], out=part_dp[:, block]
                )
        return loss, part_dp.numpy(), column_sums

    results = pool.run([partial(work, part) for part in parts], threads)
    dp[:] = results[0][1]
    column_sums = results[0][2]
    for _, other, sums in results[1:]:
        dp += other
        column_sums += sums
    pool.run(
        [
            partial(remove_radial, da, a, row_sums, inverse_a, bounds, *part)
            for part in pool.ranges(B, threads)
        ]
        + [
            partial(remove_radial, dp, p, column_sums, inverse_p, bounds, *part)
            for part in pool.ranges(N, threads)
        ],
        threads,
    )
    return loss_back + sum(result[0] for result in results), gradient


def _inverse_norms(vectors: Floats, levels: npt.NDArray[np.int64]) -> Floats:
    out = np.empty((len(levels), len(vectors)), vectors.dtype)
    inverse_norms(vectors, levels, out)
    return out


def _backward_direction(
    multiply: Any, masks: Any, parts: list[list[tuple[int, int]]], inverse_a: Floats, inverse_p: Floats,
    targets: Targets, scale: float, weights: Floats,
) -> tuple[float, Floats, Floats, Floats]:  # fmt: skip
    """The softmax of each positive over all anchors: a first pass over the tiles.

    Returns:
        The loss; the shift (L, N) of each column's logits; the factor (L, N) of each column's shifted exponentials in G; and
        G (L, B) at the positives themselves.
    """
    (L, B), N = inverse_a.shape, inverse_p.shape[1]
    dtype = inverse_a.dtype
    aims = np.empty((L, B), dtype)
    R = max(end - start for part in parts for start, end in part)

    def work(part: list[tuple[int, int]]) -> tuple[Floats, Floats]:
        torch.set_num_threads(1)
        tops, sums = np.full((L, N), -np.inf, dtype), np.zeros((L, N), dtype)
        buffer = torch.empty(L, R, N, dtype=torch.from_numpy(aims).dtype)
        scratch = np.empty((4, N), dtype)
        for start, end in part:
            aim = np.empty((L, end - start), dtype)
            tile_to_column_sums(
                multiply(buffer, start, end).numpy(), inverse_a[:, start:end], inverse_p, *masks(start, end),
                dtype.type(scale), tops, sums, aim, scratch,
            )  # fmt: skip
            aims[:, start:end] = aim
        return tops, sums

    results = pool.run([partial(work, part) for part in parts], len(parts))
    tops = np.max([top for top, _ in results], axis=0)
    sums = np.zeros_like(tops)
    for top, total in results:
        sums += total * np.exp(top - tops)
    columns = targets.columns
    own = np.exp(aims - tops[:, columns])
    totals = own + sums[:, columns]
    pull = (dtype.type(scale) * weights)[:, None]
    factors = np.zeros_like(tops)
    for level in range(L):
        np.add.at(factors[level], columns, (pull[level] / totals[level]).astype(dtype))
    loss = float(
        np.sum(
            weights[:, None].astype(np.float64)
            * (np.log(totals.astype(np.float64)) - (aims - tops[:, columns]))
        )
    )
    return loss, tops, factors, pull * (own / totals - 1)
