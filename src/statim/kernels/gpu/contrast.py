"""Contrastive gradient coefficients on a GPU, in Triton: the functions of ``training.device.tiles``.

A program takes a square of the scores. It multiplies block after block of the dimensions, and at each level
turns the products it has so far into what is wanted, while they are in registers: neither products nor scores
are ever written. The first pass gives the sums of the softmax, the second the coefficients. The second goes
from the full dimension down, taking one block's products off again at a time, because a block's coefficients
are summed over the levels above it.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl

ROWS, COLUMNS, DEPTH = 64, 128, 64  # of a program's square of scores; dimensions multiplied at a time
WARPS = 8


@triton.jit
def _multiply(total, a, p, m, n, in_m, in_n, first, last, D, sign: tl.constexpr, BK: tl.constexpr):
    """Add (take off) the products of dimensions [first, last) x BK."""
    for k in range(first, last):
        depth = k * BK + tl.arange(0, BK)
        x = tl.load(a + m[:, None] * D + depth[None, :], mask=in_m[:, None], other=0.0)
        y = tl.load(p + n[None, :] * D + depth[:, None], mask=in_n[None, :], other=0.0)
        total = tl.dot(x if sign > 0 else -x, y, total, input_precision="ieee")
    return total


@triton.jit
def _where(columns, hidden, R, N, HIDDEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Rows, columns, what is inside, what is a candidate, and what is the positive."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    inside = (m < R)[:, None] & (n < N)[None, :]
    candidate = inside
    if HIDDEN:
        at = m[:, None].to(tl.int64) * N + n[None, :]
        candidate = inside & (tl.load(hidden + at, mask=inside, other=1) == 0)
    target = tl.load(columns + m, mask=m < R, other=-1)
    return m, n, inside, candidate, target[:, None] == n[None, :], target


@triton.jit
def _row_sums(
    a, p, inverse_a, inverse_p, columns, hidden, bounds, tops, sums, aims, R, N, D, L, scale,
    HIDDEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m, n, _inside, candidate, own, target = _where(columns, hidden, R, N, HIDDEN, BM, BN)
    in_m, in_n = m < R, n < N
    products = tl.zeros([BM, BN], tl.float32)
    for level in range(L):
        products = _multiply(
            products, a, p, m, n, in_m, in_n, tl.load(bounds + level), tl.load(bounds + level + 1), D, 1, BK
        )
        left = tl.load(inverse_a + level * R + m, mask=in_m, other=0.0)
        right = tl.load(inverse_p + level * N + n, mask=in_n, other=0.0)
        logits = scale * (products * left[:, None] * right[None, :])
        shown = tl.where(candidate, logits, -float("inf"))
        top = tl.max(shown, axis=1)
        top = tl.where(top == -float("inf"), 0.0, top)
        total = tl.sum(tl.exp(shown - top[:, None]), axis=1)
        at = (level * R + m) * tl.num_programs(1) + tl.program_id(1)
        tl.store(tops + at, top, mask=in_m)
        tl.store(sums + at, total, mask=in_m)
        aim = tl.sum(tl.where(own, logits, 0.0), axis=1)
        tl.store(aims + level * R + m, aim, mask=in_m & (target // BN == tl.program_id(1)))


@triton.jit
def _column_sums(
    a, p, inverse_a, inverse_p, columns, hidden, bounds, tops, sums, aims, R, N, D, L, scale,
    HIDDEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m, n, inside, candidate, own, target = _where(columns, hidden, R, N, HIDDEN, BM, BN)
    in_m, in_n = m < R, n < N
    products = tl.zeros([BM, BN], tl.float32)
    for level in range(L):
        products = _multiply(
            products, a, p, m, n, in_m, in_n, tl.load(bounds + level), tl.load(bounds + level + 1), D, 1, BK
        )
        left = tl.load(inverse_a + level * R + m, mask=in_m, other=0.0)
        right = tl.load(inverse_p + level * N + n, mask=in_n, other=0.0)
        logits = scale * (products * left[:, None] * right[None, :])
        top = tl.max(tl.where(inside, logits, -float("inf")), axis=0)
        shown = tl.where(candidate & (own == 0), logits - top[None, :], -float("inf"))
        at = (level * N + n) * tl.num_programs(0) + tl.program_id(0)
        tl.store(tops + at, top, mask=in_n)
        tl.store(sums + at, tl.sum(tl.exp(shown), axis=0), mask=in_n)
        aim = tl.sum(tl.where(own, logits, 0.0), axis=1)
        tl.store(aims + level * R + m, aim, mask=in_m & (target // BN == tl.program_id(1)))


@triton.jit
def _coefficients(
    a, p, inverse_a, inverse_p, columns, hidden, bounds, pulls, sums, tops, factors, theirs, out, row_sums,
    column_sums,
    R, N, D, L, scale, HIDDEN: tl.constexpr, BOTH: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    m, n, inside, candidate, own, _target = _where(columns, hidden, R, N, HIDDEN, BM, BN)
    in_m, in_n = m < R, n < N
    products = tl.zeros([BM, BN], tl.float32)
    products = _multiply(products, a, p, m, n, in_m, in_n, tl.load(bounds), tl.load(bounds + L), D, 1, BK)
    above = tl.zeros([BM, BN], tl.float32)
    for below in range(L):
        level = L - 1 - below
        left = tl.load(inverse_a + level * R + m, mask=in_m, other=0.0)
        right = tl.load(inverse_p + level * N + n, mask=in_n, other=0.0)
        inverse = left[:, None] * right[None, :]
        cosines = products * inverse
        logits = scale * cosines
        pull = tl.load(pulls + level)
        total = tl.load(sums + level * R + m, mask=in_m, other=0.0)
        g = tl.where(candidate, tl.exp(logits - total[:, None]) * pull, 0.0)
        g = tl.where(own, g - pull, g)
        if BOTH:
            top = tl.load(tops + level * N + n, mask=in_n, other=0.0)
            factor = tl.load(factors + level * N + n, mask=in_n, other=0.0)
            their = tl.load(theirs + level * R + m, mask=in_m, other=0.0)
            away = tl.exp(tl.minimum(logits - top[None, :], 0.0)) * factor[None, :]
            g += tl.where(own, their[:, None], tl.where(candidate, away, 0.0))
        weighted = g * cosines
        at = (level * R + m) * tl.num_programs(1) + tl.program_id(1)
        tl.store(row_sums + at, tl.sum(weighted, axis=1), mask=in_m)
        at = (level * N + n) * tl.num_programs(0) + tl.program_id(0)
        tl.store(column_sums + at, tl.sum(weighted, axis=0), mask=in_n)
        above += g * inverse
        place = (level * R + m).to(tl.int64)[:, None] * N + n[None, :]
        tl.store(out + place, above.to(out.dtype.element_ty), mask=inside)
        if level > 0:
            products = _multiply(
                products,
                a,
                p,
                m,
                n,
                in_m,
                in_n,
                tl.load(bounds + level),
                tl.load(bounds + level + 1),
                D,
                -1,
                BK,
            )


@triton.jit
def _add_gradients(
    h, vectors, out, level_of, start_of, width_of, n, K, D, d, plane, stride, stride_k,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(1)
    level, start, width = tl.load(level_of + tile), tl.load(start_of + tile), tl.load(width_of + tile)
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.arange(0, BN)
    h += level.to(tl.int64) * plane
    total = tl.zeros([BM, BN], tl.float32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        at = i[:, None].to(tl.int64) * stride + k[None, :].to(tl.int64) * stride_k
        x = tl.load(h + at, mask=(i < n)[:, None] & (k < K)[None, :], other=0.0)
        y = tl.load(vectors + k[:, None] * D + (tile * BN + j)[None, :], mask=(k < K)[:, None], other=0.0)
        total = tl.dot(x, y, total, input_precision="ieee")
    place = out + i[:, None].to(tl.int64) * d + (start + j)[None, :]
    inside = (i < n)[:, None] & (j < width)[None, :]
    tl.store(place, tl.load(place, mask=inside, other=0.0) + total, mask=inside)


@lru_cache(maxsize=64)
def _numbers(values: tuple[float, ...], kind: torch.dtype, device: torch.device) -> torch.Tensor:
    """A few numbers on the device, sent there once."""
    return torch.tensor(values, dtype=kind, device=device)


def _padded(vectors: torch.Tensor, levels: Sequence[int]) -> torch.Tensor:
    """Each level's block filled up with zeros to a multiple of DEPTH."""
    if not vectors.is_cuda:
        vectors = vectors.float()  # triton's interpreter cannot multiply bfloat16
    sizes = [end - start for start, end in zip([0, *levels], levels, strict=False)]
    if all(size % DEPTH == 0 for size in sizes):
        return vectors.contiguous()
    blocks = [
        torch.nn.functional.pad(block, (0, -size % DEPTH))
        for block, size in zip(vectors[:, : levels[-1]].split(sizes, 1), sizes, strict=True)
    ]
    return torch.cat(blocks, 1)


class _Launch:
    """The arguments that all three kernels begin and end with."""

    def __init__(
        self, a: torch.Tensor, p: torch.Tensor, inverse_a: torch.Tensor, inverse_p: torch.Tensor,
        columns: torch.Tensor,
        masked: tuple[torch.Tensor, torch.Tensor], levels: Sequence[int], scale: float,
        limits: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        self.R, self.N, self.L = len(a), len(p), len(levels)
        self.grid = -(-self.R // ROWS), -(-self.N // COLUMNS)
        left, right = _padded(a, levels), _padded(p, levels)
        hidden = inverse_a  # stands for nothing
        if len(masked[0]):
            hidden = torch.zeros(self.R * self.N, dtype=torch.int8, device=a.device)
            hidden.index_fill_(0, masked[0] * self.N + masked[1], 1)
        if limits is not None:
            products = torch.mm(a, p.T, out_dtype=torch.float32) if a.is_cuda else a.float() @ p.float().T
            near = products * inverse_a[-1][:, None] * inverse_p[-1] > limits[:, None]
            near[torch.arange(self.R, device=a.device), columns] = False
            near = near.flatten().to(torch.int8)
            hidden = hidden | near if len(masked[0]) else near
        steps = [-(-(end - start) // DEPTH) for start, end in zip([0, *levels], levels, strict=False)]
        bounds = _numbers((0, *(sum(steps[: i + 1]) for i in range(self.L))), torch.int32, a.device)
        self.first = left, right, inverse_a.contiguous(), inverse_p, columns.contiguous(), hidden, bounds
        self.last = self.R, self.N, left.shape[1], self.L, scale
        self.options = {
            "HIDDEN": len(masked[0]) > 0 or limits is not None, "BM": ROWS, "BN": COLUMNS, "BK": DEPTH,
            "num_warps": WARPS,
        }  # fmt: skip


def _log_sum(tops: torch.Tensor, sums: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Combine what several programs found along the last axis: the largest, and the sum relative to it."""
    top = tops.amax(-1)
    return top, (sums * torch.exp(tops - top[..., None])).sum(-1)


def coefficients(
    a: torch.Tensor, p: torch.Tensor, inverse_a: torch.Tensor, inverse_p: torch.Tensor, columns: torch.Tensor,
    masked: tuple[torch.Tensor, torch.Tensor], levels: Sequence[int], scale: float, pulls: Sequence[float],
    backward: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None, limits: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Loss, coefficients (L, R, N) bfloat16, row sums (L, R) and column sums (L, N)."""
    launch = _Launch(a, p, inverse_a, inverse_p, columns, masked, levels, scale, limits)
    R, N, L, (down, across) = launch.R, launch.N, launch.L, launch.grid
    empty = torch.empty((0,), device=a.device).new_empty
    tops, sums, aims = empty(L, R, across), empty(L, R, across), empty(L, R)
    _row_sums[launch.grid](*launch.first, tops, sums, aims, *launch.last, **launch.options)
    top, total = _log_sum(tops, sums)
    logarithms = top + total.log()
    pull = _numbers(tuple(pulls), torch.float32, a.device)
    loss = ((logarithms - aims).sum(1) * pull).sum() / scale
    out = torch.empty(L, R, N, dtype=torch.bfloat16, device=a.device)
    row_sums, column_sums = empty(L, R, across), empty(L, N, down)
    others = [part.contiguous() for part in backward] if backward is not None else [pull] * 3
    _coefficients[launch.grid](
        *launch.first, pull, logarithms, *others, out, row_sums, column_sums, *launch.last,
        BOTH=backward is not None, **launch.options,
    )  # fmt: skip
    return loss, out, row_sums.sum(-1), column_sums.sum(-1)


def column_statistics(
    a: torch.Tensor, p: torch.Tensor, inverse_a: torch.Tensor, inverse_p: torch.Tensor, columns: torch.Tensor,
    masked: tuple[torch.Tensor, torch.Tensor], levels: Sequence[int], scale: float,
    limits: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Each column's largest logit and sum over negatives, (L, N) each, and the positives' logits (L, R)."""
    launch = _Launch(a, p, inverse_a, inverse_p, columns, masked, levels, scale, limits)
    empty = torch.empty((0,), device=a.device).new_empty
    tops, sums = (empty(launch.L, launch.N, launch.grid[0]) for _ in range(2))
    aims = empty(launch.L, launch.R)
    _column_sums[launch.grid](*launch.first, tops, sums, aims, *launch.last, **launch.options)
    return *_log_sum(tops, sums), aims


def add_gradients(
    coefficients: torch.Tensor,
    a: torch.Tensor,
    p: torch.Tensor,
    levels: Sequence[int],
    da: torch.Tensor,
    dp: torch.Tensor,
) -> None:
    """Add a tile's coefficients (L, R, N) times candidates to ``da``, transposed times anchors to ``dp``."""
    if not a.is_cuda:
        coefficients = coefficients.float()  # see _padded
    _, R, N = coefficients.shape
    tiles = [
        (level, place, min(DEPTH, end - place))
        for level, (start, end) in enumerate(zip([0, *levels], levels, strict=False))
        for place in range(start, end, DEPTH)
    ]
    tables = [_numbers(column, torch.int32, a.device) for column in zip(*tiles, strict=True)]
    for out, vectors, n, K, stride, stride_k in ((da, p, R, N, N, 1), (dp, a, N, R, 1, N)):
        padded = _padded(vectors, levels)
        _add_gradients[(-(-n // COLUMNS), len(tiles))](
            coefficients, padded, out, *tables, n, K, padded.shape[1], out.shape[1], R * N, stride, stride_k,
            BM=COLUMNS, BN=DEPTH, BK=DEPTH, num_warps=WARPS,
        )  # fmt: skip
