"""The sparse side of a step on a GPU, in Triton: the functions of ``training.device.rows``.

One program takes one row, text or part of a row; sums run in a fixed order, so the same input gives the same
bits. Several rows of a sum are fetched together, since each fetch takes far longer than adding what it
brings.
"""

from typing import Any

import torch
import triton
import triton.language as tl

WIDTH = 1024  # columns that one program takes at most
TOGETHER = 8  # rows fetched together
CHUNK = 64  # entries of a row that one program sums; as training.device.plans divides them

# These stand anywhere in a block's arrays: a kernel must not be compiled again for every alignment
LOOSE = [
    "rows", "entry_rows", "shares", "offsets", "positions", "row_offsets", "extra_rows", "extra_starts",
    "heavy", "firsts",
    "parts",
]  # fmt: skip


def _loose(*names: str) -> Any:
    """Compile once for all values and alignments of these arguments."""
    return triton.jit(
        do_not_specialize=list(names),
        do_not_specialize_on_alignment=[name for name in names if name in LOOSE],
    )


@_loose("rows", "step")
def _bring(table, first, second, last, rows, drift, powers, out, step, epsilon, d, BLOCK: tl.constexpr):
    u = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < d
    row = tl.load(rows + u)
    since = tl.load(last + row)
    at = row * d + j
    w = tl.load(table + at, mask=inside, other=0.0)
    if (since > 0) & (since < step):
        move = tl.load(drift + since) - tl.load(powers + (step - since)) * tl.load(drift + step)
        m = tl.load(first + at, mask=inside, other=0.0)
        v = tl.load(second + at, mask=inside, other=0.0)
        w -= move.to(tl.float32) * m / (tl.sqrt(v) + epsilon)
        tl.store(table + at, w, mask=inside)
    tl.store(out + u * d + j, w.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _sum(source, indices, shares, start, end, d, j, inside, BLOCK: tl.constexpr, TOGETHER: tl.constexpr):
    """The sum of rows indices[start:end] of ``source`` times their shares, at the columns ``j``."""
    total = tl.zeros([BLOCK], tl.float32)
    for e in range(start, end, TOGETHER):
        which = e + tl.arange(0, TOGETHER)
        some = which < end
        index = tl.load(indices + which, mask=some, other=0).to(tl.int64)
        share = tl.load(shares + which, mask=some, other=0.0)
        part = tl.load(
            source + index[:, None] * d + j[None, :], mask=some[:, None] & inside[None, :], other=0.0
        )
        total += tl.sum(part.to(tl.float32) * share[:, None], axis=0)
    return total


@_loose("entry_rows", "shares", "offsets")
def _pool(found, entry_rows, shares, offsets, out, d, BLOCK: tl.constexpr, TOGETHER: tl.constexpr):
    text = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < d
    start, end = tl.load(offsets + text), tl.load(offsets + text + 1)
    total = _sum(found, entry_rows, shares, start, end, d, j, inside, BLOCK, TOGETHER)
    tl.store(out + text * d + j, total, mask=inside)


@_loose("positions", "shares", "row_offsets", "extra_rows", "extra_starts", "found")
def _gather(
    gradients, positions, shares, row_offsets, extra_rows, extra_starts, out, squares, found, d,
    CHUNK: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < d
    row = part
    if part < found:
        start = tl.load(row_offsets + part)
    else:
        row = tl.load(extra_rows + part - found)
        start = tl.load(extra_starts + part - found)
    end = tl.minimum(tl.load(row_offsets + row + 1), start + CHUNK)
    total = _sum(gradients, positions, shares, start, end, d, j, inside, BLOCK, TOGETHER)
    tl.store(out + part * d + j, total, mask=inside)
    if part < found:
        tl.store(squares + part * tl.num_programs(1) + tl.program_id(1), tl.sum(total * total, axis=0))


@_loose("heavy", "firsts", "parts", "found")
def _combine(out, squares, heavy, firsts, parts, found, d, BLOCK: tl.constexpr, TOGETHER: tl.constexpr):
    h = tl.program_id(0)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < d
    row, first = tl.load(heavy + h), tl.load(firsts + h) + found
    end = first + tl.load(parts + h)
    total = tl.load(out + row * d + j, mask=inside, other=0.0)
    for x in range(first, end, TOGETHER):
        which = x + tl.arange(0, TOGETHER).to(tl.int64)
        some = (which < end)[:, None] & inside[None, :]
        total += tl.sum(tl.load(out + which[:, None] * d + j[None, :], mask=some, other=0.0), axis=0)
    tl.store(out + row * d + j, total, mask=inside)
    tl.store(squares + row * tl.num_programs(1) + tl.program_id(1), tl.sum(total * total, axis=0))


@_loose("rows", "step")
def _adam(
    table, first, second, last, rows, gradients, factor, decays_1, decays_2, step, new_1, new_2, rate,
    correction, epsilon,
    d, BLOCK: tl.constexpr,
):  # fmt: skip
    u = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = j < d
    row = tl.load(rows + u)
    gap = step - tl.load(last + row)
    at = row * d + j
    g = tl.load(gradients + u * d + j, mask=inside, other=0.0) * tl.load(factor)
    m = tl.load(decays_1 + gap) * tl.load(first + at, mask=inside, other=0.0) + new_1 * g
    v = tl.load(decays_2 + gap) * tl.load(second + at, mask=inside, other=0.0) + new_2 * g * g
    w = tl.load(table + at, mask=inside, other=0.0) - rate * m / (tl.sqrt(v) * correction + epsilon)
    tl.store(first + at, m, mask=inside)
    tl.store(second + at, v, mask=inside)
    tl.store(table + at, w, mask=inside)


def _blocks(d: int) -> tuple[int, int]:
    """How many programs share a row's columns, and how many each takes."""
    width = min(WIDTH, triton.next_power_of_2(d))
    return -(-d // width), width


def bring(
    table: torch.Tensor, first: torch.Tensor, second: torch.Tensor, last: torch.Tensor, rows: torch.Tensor,
    step: int,
    drift: torch.Tensor, powers: torch.Tensor, epsilon: float, kind: torch.dtype,
) -> torch.Tensor:  # fmt: skip
    """Move ``rows`` to where dense Adam would have them after ``step`` steps; returns them, (U, d)."""
    out = torch.empty(len(rows), table.shape[1], dtype=kind, device=table.device)
    columns, width = _blocks(table.shape[1])
    if len(rows):
        _bring[(len(rows), columns)](
            table, first, second, last, rows, drift, powers, out, step, epsilon, table.shape[1], BLOCK=width
        )
    return out


def pool(
    found: torch.Tensor, entry_rows: torch.Tensor, shares: torch.Tensor, offsets: torch.Tensor,
    entries: slice,  # noqa: ARG001 - of use to torch only
) -> torch.Tensor:  # fmt: skip
    """The texts' vectors, (m, d) float32."""
    out = torch.empty(len(offsets) - 1, found.shape[1], device=found.device)
    columns, width = _blocks(found.shape[1])
    if len(out):
        _pool[(len(out), columns)](
            found, entry_rows, shares, offsets, out, found.shape[1], BLOCK=width, TOGETHER=TOGETHER
        )
    return out


def gather(
    gradients: torch.Tensor, positions: torch.Tensor, shares: torch.Tensor, row_offsets: torch.Tensor,
    entries: slice,  # noqa: ARG001
    parts: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Sum each row's gradient from those of the vectors it is in: (U, d), and the sum of their squares."""
    extra_rows, extra_starts, heavy, firsts, counts = parts
    found, d = len(row_offsets) - 1, gradients.shape[1]
    columns, width = _blocks(d)
    out = torch.empty(found + len(extra_rows), d, device=gradients.device)
    squares = torch.empty(found, columns, device=gradients.device)
    if found:
        _gather[(len(out), columns)](
            gradients, positions, shares, row_offsets, extra_rows, extra_starts, out, squares, found, d,
            CHUNK=CHUNK, BLOCK=width, TOGETHER=TOGETHER,
        )  # fmt: skip
    if len(heavy):
        _combine[(len(heavy), columns)](
            out, squares, heavy, firsts, counts, found, d, BLOCK=width, TOGETHER=TOGETHER
        )
    return out[:found], squares.sum()


def adam(
    table: torch.Tensor, first: torch.Tensor, second: torch.Tensor, last: torch.Tensor, rows: torch.Tensor,
    gradients: torch.Tensor, factor: torch.Tensor, step: int, decays: tuple[torch.Tensor, torch.Tensor],
    betas: tuple[float, float], rate: float, epsilon: float,
) -> None:  # fmt: skip
    """One step of Adam for the rows that occur."""
    columns, width = _blocks(table.shape[1])
    if len(rows):
        _adam[(len(rows), columns)](
            table, first, second, last, rows, gradients, factor, *decays, step, 1 - betas[0], 1 - betas[1],
            rate / (1 - betas[0] ** step), (1 - betas[1] ** step) ** -0.5, epsilon, table.shape[1],
            BLOCK=width,
        )  # fmt: skip
    last.index_fill_(0, rows, step)
