"""The contrastive loss and its sampled gradient, 8-bit scores, by threads without the GIL.

See ``kernels.training.sampled_batch``.
"""

import math

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.kernels.atomics import Numbers
from statim.kernels.training.contrast import FIXED, buffer_shape
from statim.kernels.training.sampled_batch import APART, PHASES, gradient
from statim.kernels.training.scores import PANEL, ROWS, depths
from statim.training.losses import spin_executor
from statim.training.losses.workspace import Workspace

MOST = 8192  # anchors, and candidates: beyond, threads spend their time in large products anyway
STRIP_BYTES = 1 << 20  # of scores of all levels: half of a usual second cache
STRIPS = 16  # at least about this many, so that threads have equal work
# since each has sums of all columns; of very large batches strips are larger than STRIP_BYTES therefore
MOST_STRIPS = 128
ROOM = 2.0  # times as many coefficients as are expected at most, of all rows of a strip, and of the batch

Floats = npt.NDArray[np.float32]


def sampled(
    anchors: Floats,
    candidates: Floats,
    columns: npt.NDArray[np.int32],
    masked: npt.NDArray[np.int32],
    masked_offsets: npt.NDArray[np.int64],
    key: int,
    *,
    levels: npt.NDArray[np.int64],
    weights: Floats,
    scale: float,
    least_share: float,
    threads: int,
    workspace: Workspace,
) -> tuple[float, Floats] | None:
    """``contrastive.contrastive`` for precision int8 and float32 vectors, one direction, no margin.

    Args:
        anchors: (B, d), B at most MOST; for it and the others see there.
        candidates: (N, d), N at most MOST.
        columns: Of the targets, as are masked, masked_offsets and key.
        masked: See ``contrastive.Targets``.
        masked_offsets: Likewise.
        key: Likewise.
        levels: Likewise.
        weights: (L,) each level's, divided by B.
        scale: Likewise.
        least_share: Likewise, above 0.
        threads: Likewise; here results do not depend on it.
        workspace: Likewise.

    Returns:
        The loss and its gradient, or None if more coefficients are left than there is room for.
    """
    (B, d), N, L, take = anchors.shape, len(candidates), len(levels), workspace.take
    padded, find = -(-N // PANEL) * PANEL, scale > FIXED
    most = executor.PARTS * threads
    R = (
        max(min(STRIP_BYTES // (2 * L * padded), -(-B // STRIPS)) // ROWS, -(-B // (MOST_STRIPS * ROWS)), 1)
        * ROWS
    )
    strips = spin_executor.spans([(start, min(start + R, B)) for start in range(0, B, R)])
    S, places = len(strips), depths(levels)
    # of a row each level chooses 1 / least at most in the mean, and all that is chosen at it or above it is
    # left of it
    of_first, of_level = (int(min(N, ROOM * chosen / least_share + 1)) for chosen in (L, (L + 1) / 2))
    tops = np.full((B, L), -np.inf if find else scale, np.float32)
    losses, full, out = np.zeros(S), np.zeros(S + 1, np.uint8), take("gradient", (B + N, d), np.float32)
    arrays = (
        take("factors", (B + N, d), np.int16),
        take("inverse of a", (B, L), np.float32), take("inverse of p", (N, L), np.float32),
        take("inverse by level", (L, N), np.float32),
        take("a in 8 bits", (B, int(places[-1])), np.int8), take("sums of a", (L, B), np.int32),
        take("scales of a", (L, B), np.float32),
        take("p in 8 bits", (padded, int(places[-1])), np.int8),
        take("packed", (padded * int(places[-1]) // 4,), np.int32),
        take("scales of p", (L, padded), np.float32),
        take("tiles", (threads, L * R * (padded + APART)), np.int16),
        take("buffers", (threads, *buffer_shape(L, N)), np.float32),
        np.full(B, np.nan, np.float32), tops, *(take(name, (B, L), np.float32) for name in ("totals",
            "aims")),
        np.zeros((B, L), np.float32), take("row sums", (B, L), np.float32),
        take("column sums", (S, L, N), np.float32), losses,
        take("offsets", (S, L, R + 1), np.int64),
        *(take(f"{kind.__name__} of strips", (S, L, R * of_first + N), kind) for kind in (np.int32,
            np.float32)),
        take("starts", (L, N + 1), np.int64), take("ends", (L, N), np.int64),
        *(take(f"{kind.__name__} of candidates", (B * L * of_level,), kind) for kind in (np.int32,
            np.float32)),
        full, out,
    )  # fmt: skip
    parts = *(spin_executor.spans(executor.ranges(count, most)) for count in (B, padded)), strips
    given = columns, masked, masked_offsets, np.float32(scale), weights, find, least_share, np.uint64(key)

    def go(numbers: Numbers) -> None:
        gradient(numbers, *parts, anchors, candidates, levels, places, *given, *arrays)

    spin_executor.together(go, PHASES, threads)
    return None if full.any() else (math.fsum(losses), out)
