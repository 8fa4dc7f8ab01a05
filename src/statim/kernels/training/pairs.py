"""Cosines of chosen pairs at every Matryoshka level, and the gradient of pulls at those cosines.

Each of B left vectors meets a run of right vectors of its own, so threads that share out the left ones never
write to the same vector. The kernels are generic in the float type, as those of contrast.py, whose norms and
radial parts these go with.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.kernels.prepared import njit
from statim.kernels.training.contrast import SUMS

Floats = npt.NDArray[np.floating[Any]]
Offsets = npt.NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def pair_cosines(
    lefts: Floats,
    rights: Floats,
    offsets: Offsets,
    levels: Offsets,
    inverse_lefts: Floats,
    inverse_rights: Floats,
    start: int,
    end: int,
    out: Floats,
) -> None:
    """Set out (E, L) to the cosines of the pairs of left vectors [start, end); 0 where a vector is zero.

    Args:
        lefts: (B, d).
        rights: (E, d).
        offsets: (B + 1,) left vector i meets the right vectors [offsets[i], offsets[i + 1]).
        levels: (L,) ascending dimensions.
        inverse_lefts: (B, L) 1 / norm at each level, 0 for a zero vector.
        inverse_rights: (E, L) likewise.
        start: First left vector.
        end: One past the last.
        out: (E, L) written.
    """
    for i in range(start, end):
        left = lefts[i]
        for e in range(offsets[i], offsets[i + 1]):
            right = rights[e]
            product = left[0] * 0
            first = 0
            for level in range(len(levels)):
                for j in range(first, levels[level]):
                    product += left[j] * right[j]
                first = levels[level]
                out[e, level] = product * (inverse_lefts[i, level] * inverse_rights[e, level])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=SUMS)
def pull_pairs(
    lefts: Floats,
    rights: Floats,
    offsets: Offsets,
    levels: Offsets,
    inverse_lefts: Floats,
    inverse_rights: Floats,
    pulls: Floats,
    start: int,
    end: int,
    left_gradient: Floats,
    right_gradient: Floats,
) -> None:
    """Set the gradients of left vectors [start, end) and their partners, before normalization's part.

    Args:
        lefts: See ``pair_cosines``; as are rights, offsets, levels, inverse_lefts, inverse_rights, start and
            end.
        pulls: (E, L) the derivatives of the loss by the cosines.
        left_gradient: (B, d) written.
        right_gradient: (E, d) written.
    """
    for i in range(start, end):
        left, into_left = lefts[i], left_gradient[i]
        into_left[:] = 0.0
        for e in range(offsets[i], offsets[i + 1]):
            right, into_right = rights[e], right_gradient[e]
            factor = left[0] * 0
            for level in range(len(levels) - 1, -1, -1):
                factor += pulls[e, level] * (inverse_lefts[i, level] * inverse_rights[e, level])
                for j in range(levels[level - 1] if level > 0 else 0, levels[level]):
                    into_left[j] += factor * right[j]
                    into_right[j] = factor * left[j]
