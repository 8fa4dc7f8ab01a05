"""The contrastive Matryoshka loss on tensors, tile by tile; see ``training.losses.contrastive``.

Several processes can share a batch: each has some of the anchors and all candidates.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from statim.training.device import tiles
from statim.training.device.distributed import ALONE, Group
from statim.training.device.fused import is_fused

TILE = 1 << 26  # coefficients of a tile, all levels together, at most about


def contrastive(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    columns: torch.Tensor,
    masked: tuple[torch.Tensor, torch.Tensor],
    *,
    levels: Sequence[int],
    weights: Sequence[float] | None = None,
    scale: float = 20.0,
    both_directions: bool = False,
    margin: float | None = None,
    half: bool = False,
    group: Group = ALONE,
    batch: int | None = None,
    tile_rows: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss and gradient of one batch, or of this process's share of its anchors.

    Args:
        anchors: (B, d) float32 or float64, not normalised.
        candidates: (N, d) of the same type.
        columns: (B,) int64, the column of each anchor's positive.
        masked: The rows (M,) int64, ascending, and the columns (M,) int64 of the candidates that are no
            negatives of an anchor.
        levels: Matryoshka dimensions, ascending; the last is d.
        weights: One weight a level, 1 each by default.
        scale: Cosines are multiplied by it (1 / temperature).
        both_directions: Average the loss with that of finding, for each positive, its anchor among all
            anchors.
        margin: Candidates whose cosine in full exceeds the positive's by more than this are no negatives of
            that anchor.
        half: Multiply matrices in bfloat16, with float32 sums.
        group: The processes that share the batch.
        batch: Anchors of all of them together; B by default.
        tile_rows: Rows of a tile.

    Returns:
        The loss of these anchors, as a tensor, so that nobody waits for it; and its gradient with respect to
        anchors (B, d) and candidates (N, d).
    """
    B, N, L = len(anchors), len(candidates), len(levels)
    share = 0.5 if both_directions else 1.0
    pulls = [share * scale * weight / (batch or B) for weight in weights or [1.0] * L]
    members = _members(tuple(levels), anchors.dtype, anchors.device)
    inverse_a, inverse_p = _inverse_norms(anchors, members), _inverse_norms(candidates, members)
    kind = torch.bfloat16 if half else anchors.dtype
    a, p = anchors.to(kind), candidates.to(kind)
    functions: Any = tiles
    if half and is_fused(anchors.device):
        from statim.kernels.gpu import contrast

        functions = contrast
    parts = _cut(B, tile_rows or max(64, TILE // (L * N)), masked)
    arguments = [
        (a[rows], p, inverse_a[:, rows], inverse_p, columns[rows], some, levels, scale)
        for rows, some in parts
    ]
    limits: list[torch.Tensor | None] = [None] * len(parts)
    if margin is not None:
        aims = (anchors * candidates[columns]).sum(1) * inverse_a[-1] * inverse_p[-1, columns]
        limits = [aims[rows] + margin for rows, _ in parts]
    loss = torch.zeros((), dtype=anchors.dtype, device=anchors.device)
    shifts: list[torch.Tensor] = []
    if both_directions:
        found = [
            functions.column_statistics(*argument, limit)
            for argument, limit in zip(arguments, limits, strict=True)
        ]
        loss, *shifts = _backward_direction(found, columns, scale, pulls, group)
    da, dp = torch.zeros_like(anchors), torch.zeros_like(candidates)
    row_sums, column_sums = torch.empty_like(inverse_a), torch.zeros_like(inverse_p)
    for (rows, _), argument, limit in zip(parts, arguments, limits, strict=True):
        backward = (shifts[0], shifts[1], shifts[2][:, rows]) if shifts else None
        value, coefficients, row_sums[:, rows], sums = functions.coefficients(
            *argument, pulls, backward, limit
        )
        loss = loss + value
        column_sums += sums
        functions.add_gradients(coefficients, a[rows], p, levels, da[rows], dp)
    # what normalising takes out of the gradient: the part along the vector, level by level
    da.addcmul_((row_sums * inverse_a.square()).T @ members.T, anchors, value=-1)
    dp.addcmul_((column_sums * inverse_p.square()).T @ members.T, candidates, value=-1)
    return loss, da, dp


def _cut(
    rows: int, most: int, masked: tuple[torch.Tensor, torch.Tensor]
) -> list[tuple[slice, tuple[torch.Tensor, torch.Tensor]]]:
    """Tiles of rows, each with what is masked in it."""
    bounds = list(range(0, rows, most))
    if len(bounds) <= 1:
        return [(slice(0, rows), masked)]
    edges = torch.tensor([*bounds, rows], device=masked[0].device)
    cuts = torch.searchsorted(
        masked[0].contiguous(), edges
    ).tolist()  # a wait, for batches so large that it is nothing
    return [
        (slice(start, min(start + most, rows)), (masked[0][low:high] - start, masked[1][low:high]))
        for start, low, high in zip(bounds, cuts[:-1], cuts[1:], strict=True)
    ]


@lru_cache(maxsize=8)
def _members(levels: tuple[int, ...], kind: torch.dtype, device: torch.device) -> torch.Tensor:
    """(d, L) 1 where a dimension belongs to a level, else 0; sent to the device once."""
    return (torch.arange(levels[-1])[:, None] < torch.tensor(levels)).to(device, kind)


def _inverse_norms(vectors: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """(L, n) 1 / norm of each vector's first D_l dimensions, 0 for a zero prefix; NaN stays NaN."""
    squares = (vectors.square() @ members).T.contiguous()
    return torch.where(squares == 0, squares, squares.rsqrt())


def _backward_direction(
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    columns: torch.Tensor,
    scale: float,
    pulls: Sequence[float],
    group: Group,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The softmax of each positive over all anchors, from the statistics of each tile.

    Returns:
        The loss of these anchors; the shift (L, N) of each column's logits; the factor (L, N) of each
        column's shifted exponentials in G; and G (L, B) at the positives themselves.
    """
    tops = group.largest(torch.stack([top for top, _, _ in found]).amax(0))
    sums = group.total(sum(torch.exp(top - tops) * part for top, part, _ in found))  # type: ignore[arg-type]
    shifted = torch.cat([aims for _, _, aims in found], 1) - tops[:, columns]
    own = torch.exp(shifted)
    totals = own + sums[:, columns]
    pull = torch.cat([own.new_full((1, 1), value) for value in pulls])
    factors = torch.zeros_like(tops.T)
    factors.index_put_((columns,), (pull / totals).T.contiguous(), accumulate=True)  # in a fixed order
    loss = (pull / scale * (totals.log() - shifted)).sum()
    return loss, tops, group.total(factors).T, pull * (own / totals - 1)
