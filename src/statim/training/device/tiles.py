"""From vectors to a tile's gradient coefficients in plain torch, on any device and float type.

``kernels.gpu.contrast`` holds the same two functions for a GPU, where products and scores never reach memory.
"""

from collections.abc import Sequence

import torch

Pair = tuple[torch.Tensor, torch.Tensor]
Backward = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply matrices; of bfloat16 matrices with float32 sums, in float32."""
    if left.dtype != torch.bfloat16:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def _cosines(
    a: torch.Tensor, p: torch.Tensor, inverse_a: torch.Tensor, inverse_p: torch.Tensor, levels: Sequence[int]
) -> list[torch.Tensor]:
    """(R, N) of each level; all together cost the products of the full dimension once."""
    found, products, start = [], torch.zeros((), device=a.device), 0
    for level, end in enumerate(levels):
        products = products + product(a[:, start:end], p[:, start:end].T)
        found.append(products * inverse_a[level][:, None] * inverse_p[level])
        start = end
    return found


def _near(cosines: torch.Tensor, limits: torch.Tensor | None, own: Pair) -> torch.Tensor | None:
    """(R, N) which candidates but the positive exceed their anchor's limit."""
    if limits is None:
        return None
    near = cosines > limits[:, None]
    near[own] = False
    return near


def _hide(values: torch.Tensor, masked: Pair, near: torch.Tensor | None, fill: float) -> torch.Tensor:
    values = values.index_put(masked, values.new_full((), fill))
    return values if near is None else values.masked_fill_(near, fill)


def coefficients(
    a: torch.Tensor,
    p: torch.Tensor,
    inverse_a: torch.Tensor,
    inverse_p: torch.Tensor,
    columns: torch.Tensor,
    masked: Pair,
    levels: Sequence[int],
    scale: float,
    pulls: Sequence[float],
    backward: Backward | None,
    limits: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """The factors by which blocks of candidates (anchors) give the gradient of anchors (candidates).

    Args:
        a: (R, d) the tile's anchors, in the type in which matrices are multiplied.
        p: (N, d) candidates, likewise.
        inverse_a: (L, R) 1 / norm of each anchor's first D_l dimensions.
        inverse_p: (L, N) likewise.
        columns: (R,) int64, each anchor's positive.
        masked: The rows and the columns of what is no negative.
        levels: Matryoshka dimensions.
        scale: What cosines are multiplied by.
        pulls: Each level's scale * weight / rows of the batch.
        backward: Of the other direction, see ``training.device.loss``: tops (L, N), factors (L, N), own (L,
            R).
        limits: (R,) candidates with a greater cosine in full are no negatives either, unless they are the
            positive.

    Returns:
        The forward loss of the rows; for each level the sum over levels m >= l of H_m, (R, N) in the type of
        ``a``; row sums (L, R) and column sums (L, N) of G * S.
    """
    own = torch.arange(len(a), device=a.device), columns
    loss = torch.zeros((), dtype=inverse_a.dtype, device=a.device)
    gradients, row_sums, column_sums = [], [], []
    scores = _cosines(a, p, inverse_a, inverse_p, levels)
    near = _near(scores[-1], limits, own)
    for level, cosines in enumerate(scores):
        logits = scale * cosines
        aims = logits[own]
        g = _hide(logits, masked, near, -torch.inf)
        sums = torch.logsumexp(g, 1)
        loss = loss + (sums - aims).sum() * (pulls[level] / scale)
        g = torch.exp(g - sums[:, None]) * pulls[level]
        g[own] -= pulls[level]
        if backward is not None:
            tops, factors, theirs = (part[level] for part in backward)
            away = torch.exp((logits - tops).clamp(max=0)) * factors
            away[own] = theirs
            g += _hide(away, masked, near, 0.0)
        weighted = g * cosines
        row_sums.append(weighted.sum(1))
        column_sums.append(weighted.sum(0))
        gradients.append(g * inverse_a[level][:, None] * inverse_p[level])
    for level in reversed(range(len(levels) - 1)):
        gradients[level] += gradients[level + 1]
    return loss, [g.to(a.dtype) for g in gradients], torch.stack(row_sums), torch.stack(column_sums)


def column_statistics(
    a: torch.Tensor,
    p: torch.Tensor,
    inverse_a: torch.Tensor,
    inverse_p: torch.Tensor,
    columns: torch.Tensor,
    masked: Pair,
    levels: Sequence[int],
    scale: float,
    limits: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each column's largest logit and sum of exp(logit - largest) over rows it is a negative of.

    Args:
        a: See ``coefficients``; as are all others.

    Returns:
        Largest (L, N), sums (L, N), and the logits of the positives (L, R).
    """
    own = torch.arange(len(a), device=a.device), columns
    tops, sums, aims = [], [], []
    scores = _cosines(a, p, inverse_a, inverse_p, levels)
    near = _near(scores[-1], limits, own)
    for cosines in scores:
        logits = scale * cosines
        tops.append(logits.amax(0))
        aims.append(logits[own])
        shifted = torch.exp(logits - tops[-1])
        shifted[own] = 0
        sums.append(_hide(shifted, masked, near, 0.0).sum(0))
    return torch.stack(tops), torch.stack(sums), torch.stack(aims)


def add_gradients(
    coefficients: Sequence[torch.Tensor],
    a: torch.Tensor,
    p: torch.Tensor,
    levels: Sequence[int],
    da: torch.Tensor,
    dp: torch.Tensor,
) -> None:
    """Multiply a tile's coefficients with the vectors.

    Args:
        coefficients: From ``coefficients``.
        a: (R, d) the tile's anchors.
        p: (N, d) candidates.
        levels: Matryoshka dimensions.
        da: (R, d) float32 (float64 of float64), added to.
        dp: (N, d) likewise.
    """
    for h, start, end in zip(coefficients, [0, *levels], levels, strict=False):
        da[:, start:end] += product(h, p[:, start:end])
        dp[:, start:end] += product(h.T, a[:, start:end])
