"""One batch's loss and sampled gradient in a single compiled call that several threads share.

The same functions as ``training.losses.contrastive`` calls one by one: a step of a small batch takes a few
milliseconds, and threads that ask the interpreter what to do next would spend half of them waiting for each
other. Scores are products in 8 bits; a strip of anchors, of usual batches so few that its scores stay in the
second cache, goes from products to coefficients at once. Whoever is free takes the next strip, and each has
sums of its own, so results do not depend on who did what, nor on how many threads there are.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.atomics import Numbers, all_done, done, take
from statim.kernels.prepared import njit
from statim.kernels.training.norms import prepare, remove_radial
from statim.kernels.training.sampled import tile_to_entries
from statim.kernels.training.sampled_gradient import add_anchors, add_candidates, count, lay_out, turn
from statim.kernels.training.scores import corrections, multiply, pack, quantise

Floats = npt.NDArray[np.floating[Any]]
Halves = npt.NDArray[np.int16]  # bfloat16
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Parts = npt.NDArray[np.int64]

# places between the rows of a tile: at whole pages from each other, writing one would delay reading others
APART = 32
PHASES = 5  # of which the last has no parts: its number says which buffers are a thread's own


@njit(nogil=True, cache=True, error_model="numpy")
def gradient(
    numbers: Numbers,
    anchor_parts: Parts,
    candidate_parts: Parts,
    strips: Parts,
    a: Floats,
    p: Floats,
    levels: Offsets,
    places: Offsets,
    targets: Ints,
    masked: Ints,
    masked_offsets: Offsets,
    scale: Any,
    weights: Floats,
    find: bool,
    least: float,
    key: np.uint64,
    factors: Halves,
    inverse_a: Floats,
    inverse_p: Floats,
    others: Floats,
    bytes_a: Bytes,
    corrected: Ints,
    scales_a: Floats,
    bytes_p: Bytes,
    packed: Ints,
    scales_p: Floats,
    tiles: Halves,
    buffers: Floats,
    limits: Floats,
    tops: Floats,
    totals: Floats,
    aims: Floats,
    backward: Floats,
    row_sums: Floats,
    column_sums: Floats,
    losses: Floats,
    offsets: Offsets,
    columns: Ints,
    coefficients: Floats,
    starts: Offsets,
    ends: Offsets,
    rows: Ints,
    turned: Floats,
    full: npt.NDArray[np.uint8],
    out: Floats,
) -> None:
    """See above. B anchors, N candidates, L levels, d dimensions.

    Args:
        numbers: Of ``PHASES`` phases, see ``waiting``.
        anchor_parts: (parts, 2) anchors to prepare, from and to.
        candidate_parts: (parts, 2) candidates likewise; together as many as fill panels.
        strips: (S, 2) anchors of each strip.
        a: (B, d) float32 anchors.
        p: (N, d) float32 candidates.
        levels: (L,) ascending dimensions.
        places: From ``scores.depths``.
        targets: (B,) the column of each anchor's positive.
        masked: The columns that are no negatives of an anchor, one anchor's after the other's.
        masked_offsets: (B + 1,) where each anchor's begin.
        scale: What cosines are multiplied by.
        weights: (L,) each level's weight, divided by B.
        find: Rows need a maximum of their own, see ``contrast.FIXED``.
        least: See ``sampled.tile_to_entries``, as is key.
        factors: (B + N, d) written: the vectors as bfloat16.
        inverse_a: (B, L) written: 1 / norm.
        inverse_p: (N, L) written: likewise.
        others: (L, N) written: the same.
        bytes_a: Written, see ``scores.multiply``; as are corrected, scales_a, packed (from bytes_p) and
            scales_p.
        tiles: (threads, L * rows of a strip * (N in full panels + APART)) scratch.
        buffers: (threads, ...) scratch, see ``contrast.buffer_shape``.
        limits: (B,) NaN.
        tops: (B, L) the shift of the exponents; written if ``find``.
        totals: (B, L) written, as are aims: see ``tile_to_entries``.
        backward: (B, L) zeros.
        row_sums: (B, L) written: row sums of G * S.
        column_sums: (S, L, N) written: column sums of each strip.
        losses: (S,) written.
        offsets: (S, L, rows of a strip + 1) written, of the last strip as far as it goes: see
            ``tile_to_entries``.
        columns: (S, L, room) written.
        coefficients: (S, L, room) written.
        starts: (L, N + 1) written.
        ends: (L, N) written.
        rows: (room,) written: the coefficients' rows, see ``turn``.
        turned: (room,) likewise.
        full: (S + 1,) written: not 0 where a strip found too little room, the last if all of them together
            did; nothing else is of use then.
        out: (B + N, d) written: the gradient.
    """
    B, N, L = len(a), len(p), len(levels)
    da, dp, anchors, candidates = out[:B], out[B:], factors[:B], factors[B:]
    while True:
        part = take(numbers, 0)
        if part >= len(anchor_parts) + len(candidate_parts):
            break
        if part < len(anchor_parts):
            for i in range(anchor_parts[part, 0], anchor_parts[part, 1]):
                quantise(a, levels, places, i, i + 1, scales_a, bytes_a)
                corrections(bytes_a, places, i, i + 1, corrected)
                prepare(a, levels, i, i + 1, inverse_a, anchors)
        else:
            part -= len(anchor_parts)
            for j in range(candidate_parts[part, 0], candidate_parts[part, 1]):
                if j < N:
                    quantise(p, levels, places, j, j + 1, scales_p, bytes_p)
                    prepare(p, levels, j, j + 1, inverse_p, candidates)
                    others[:, j] = inverse_p[j]
                else:
                    bytes_p[j], scales_p[:, j] = 0, 0.0
                pack(bytes_p, places, j, j + 1, packed)
        done(numbers, 0)
    if not all_done(numbers, 0, len(anchor_parts) + len(candidate_parts)):
        return

    own, width = take(numbers, PHASES - 1), len(bytes_p) + APART
    nothing = others[:0, :0]
    while True:
        part = take(numbers, 1)
        if part >= len(strips):
            break
        start, end = strips[part, 0], strips[part, 1]
        R, sums = end - start, column_sums[part]
        tile = tiles[own][: L * R * width].reshape(L, R, width)
        at = offsets[part, :, : R + 1]
        multiply(
            bytes_a, corrected, scales_a, packed, scales_p, places, (start, end), (0, len(bytes_p)), tile
        )
        sums[:] = 0.0
        row_sums[start:end] = 0.0
        at[:, 0] = 0
        losses[part], stopped = tile_to_entries(
            tile, inverse_a[start:end], others, targets[start:end], masked, masked_offsets[start : end + 1],
            limits[start:end],
            scale, weights, False, find, tops[start:end], totals[start:end], aims[start:end], nothing,
            nothing,
            backward[start:end], sums, row_sums[start:end], buffers[own], least, key, start, 0, 0, at,
            columns[part], coefficients[part],
        )  # fmt: skip
        full[part] = stopped < R
        if not full[part]:
            add_anchors(candidates, levels, at, columns[part], coefficients[part], True, da[start:end])
            remove_radial(da, a, row_sums, inverse_a, levels, start, end)
        done(numbers, 1)
    if not all_done(numbers, 1, len(strips)) or full[: len(strips)].any():
        return
    first = np.zeros(L + 1, np.int64)  # each thread finds it for itself
    for level in range(L):
        first[level + 1] = first[level]
        for part in range(len(strips)):
            first[level + 1] += offsets[part, level, strips[part, 1] - strips[part, 0]]
    if first[L] > len(rows):
        full[len(strips)] = 1
        return

    while True:
        level = take(numbers, 2)
        if level >= L:
            break
        starts[level] = 0
        for part in range(len(strips)):
            start, end = strips[part, 0], strips[part, 1]
            count(level, offsets[part, :, : end - start + 1], columns[part], starts)
        lay_out(level, first[level], starts, ends)
        for part in range(len(strips)):
            start, end = strips[part, 0], strips[part, 1]
            at = offsets[part, :, : end - start + 1]
            turn(start, at, columns[part], coefficients[part], level, ends, rows, turned)
        done(numbers, 2)
    if not all_done(numbers, 2, L):
        return

    while True:
        part = take(numbers, 3)
        if part >= len(candidate_parts):
            break
        start, end = candidate_parts[part, 0], min(N, candidate_parts[part, 1])
        add_candidates(anchors, levels, starts, rows, turned, start, end, dp)
        whole = np.zeros((max(0, end - start), L), out.dtype)
        for strip in range(len(strips)):
            for level in range(L):
                for j in range(start, end):
                    whole[j - start, level] += column_sums[strip, level, j]
        remove_radial(
            dp[start:end], p[start:end], whole, inverse_p[start:end], levels, 0, max(0, end - start)
        )
        done(numbers, 3)
    all_done(numbers, 3, len(candidate_parts))
