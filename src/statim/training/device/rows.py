"""The sparse side of a step in plain torch: any device, any float type.

``kernels.gpu.rows`` holds the same four functions for a GPU.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag


@dataclass(frozen=True, eq=False)
class Own:
    """Per-row constants where weights decay or rates differ; see ``kernels.training.rows.catch_up``.

    Attributes:
        groups: (V,) uint8, the group of each row.
        multipliers: (K,) float64, what each group's rate is multiplied by; rows of 0 never move.
        shrinks: (K * (T + 1),) float64, the logarithm of what is left of a row after each step, one group
            after the other.
        decays: (K,) float64, the weight decay of each group's rows.
        origin: (V, d) what rows decay towards; None for 0.
    """

    groups: torch.Tensor
    multipliers: torch.Tensor
    shrinks: torch.Tensor
    decays: torch.Tensor
    origin: torch.Tensor | None = None

    def rates(self, rows: torch.Tensor) -> torch.Tensor:
        """(U, 1) float64, what the rates of some rows are multiplied by."""
        return self.multipliers[self.groups[rows].long()][:, None]

    def decayed(self, found: torch.Tensor, rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Rows (U, d) of which so much is kept, (U, 1), or of their distance from their origin."""
        kept = kept.to(found.dtype)
        if self.origin is None:
            return found * kept
        origin = self.origin[rows]
        return origin + kept * (found - origin)


def bring(
    table: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    last: torch.Tensor,
    rows: torch.Tensor,
    step: int,
    drift: torch.Tensor,
    powers: torch.Tensor,
    epsilon: float,
    kind: torch.dtype,
    own: Own | None = None,
) -> torch.Tensor:
    """Move ``rows`` to where dense Adam has them after ``step`` steps; see ``rows.catch_up``.

    Args:
        table: (V, d) updated.
        first: (V, d) first moments.
        second: (V, d) second moments.
        last: (V,) int32, the last step at which each row had a gradient, 0 for never.
        rows: (U,) int64, each once.
        step: The step to catch up with.
        drift: (T + 1,) float64, see ``kernels.training.rows.catch_up``; of several groups one after the
            other.
        powers: (T + 1,) float64, powers of r, likewise.
        epsilon: Added to the root of the second moment.
        kind: The type wanted.
        own: Where weights decay or rates differ.

    Returns:
        The rows, (U, d) of that type.
    """
    since = last[rows].long()
    found = table[rows]
    if own is None:
        moves = drift[since] - powers[(step - since).clamp(min=0)] * drift[step]
    else:
        begin = own.groups[rows].long() * len(powers)
        shrinks = torch.exp(own.shrinks[begin + step] - own.shrinks[begin + since.clamp(max=step)])
        found = own.decayed(found, rows, shrinks[:, None])
        moves = shrinks * drift[begin + since] - powers[(step - since).clamp(min=0)] * drift[begin + step]
    moves = torch.where((since == 0) | (since >= step), 0.0, moves).to(table.dtype)
    found = found - moves[:, None] * first[rows] / (second[rows].sqrt() + epsilon)
    table[rows] = found
    return found.to(kind)


def pool(
    found: torch.Tensor, entry_rows: torch.Tensor, shares: torch.Tensor, offsets: torch.Tensor, entries: slice
) -> torch.Tensor:
    """The texts' vectors, (m, d) float32 (float64 of a float64 table).

    Args:
        found: (U, d) rows from ``bring``.
        entry_rows: int32, positions in ``found``, text after text.
        shares: float32, count / tokens of the text.
        offsets: (m + 1,) int64, where each text's entries begin in both.
        entries: The range from the first to the last offset.
    """
    return _sums(found, entry_rows, shares, offsets, entries)


def gather(
    gradients: torch.Tensor,
    positions: torch.Tensor,
    shares: torch.Tensor,
    row_offsets: torch.Tensor,
    entries: slice,
    parts: tuple[torch.Tensor, ...],  # noqa: ARG001 - what kernels.gpu.rows needs to divide the work
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum each row's gradient from those of the vectors it is in.

    Args:
        gradients: (m, d) of the pooled vectors.
        positions: int32, positions in ``gradients``, row after row.
        shares: float32, count / tokens of the text.
        row_offsets: (U + 1,) int64, where each row's entries begin in both.
        entries: The range from the first to the last offset.
        parts: Of rows with many entries; see ``training.device.plans``.

    Returns:
        Gradients (U, d), and the sum of their squares.
    """
    found = _sums(gradients, positions, shares, row_offsets, entries)
    return found, found.double().square().sum()


def adam(
    table: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    last: torch.Tensor,
    rows: torch.Tensor,
    gradients: torch.Tensor,
    factor: torch.Tensor,
    step: int,
    decays: tuple[torch.Tensor, torch.Tensor],
    betas: tuple[float, float],
    rate: float,
    epsilon: float,
    own: Own | None = None,
) -> None:
    """One step of Adam for the rows that occur; see ``kernels.training.rows.adam``.

    Args:
        table: (V, d) updated; rows caught up with step - 1.
        first: (V, d) first moments as of step ``last``, updated.
        second: (V, d) second moments, likewise.
        last: (V,) int32, set to ``step``.
        rows: (U,) int64, the rows that occur.
        gradients: (U, d) from ``gather``.
        factor: Gradients are multiplied by it (clipping), one float32 on the device.
        step: This step, from 1.
        decays: (T + 1,) each, the powers of both betas, in the table's type.
        betas: Decays of the moments.
        rate: Learning rate.
        epsilon: Added to the root of the second moment.
        own: Where weights decay or rates differ; the gradients of rows that never move are 0.
    """
    gaps = step - last[rows].long()
    gradients = gradients * factor
    m = decays[0][gaps][:, None] * first[rows] + (1 - betas[0]) * gradients
    v = decays[1][gaps][:, None] * second[rows] + (1 - betas[1]) * gradients.square()
    first[rows], second[rows] = m, v
    correction = (1 - betas[1] ** step) ** -0.5
    if own is None:
        table[rows] -= rate / (1 - betas[0] ** step) * m / (v.sqrt() * correction + epsilon)
        last.index_fill_(0, rows, step)
        return
    rates = own.rates(rows) * rate
    kept = own.decayed(table[rows], rows, 1 - rates * own.decays[own.groups[rows].long()][:, None])
    moves = (rates / (1 - betas[0] ** step)).to(table.dtype) * m / (v.sqrt() * correction + epsilon)
    table[rows] = kept - moves
    last[rows] = last[rows].masked_fill((own.rates(rows) > 0)[:, 0], step)


def _sums(
    vectors: torch.Tensor, indices: torch.Tensor, shares: torch.Tensor, offsets: torch.Tensor, entries: slice
) -> torch.Tensor:
    return embedding_bag(
        indices[entries].long(), vectors, offsets - offsets[0], mode="sum",
        per_sample_weights=shares[entries].to(vectors.dtype), include_last_offset=True,
    )  # fmt: skip
