"""How hard an approximate index must look: as little as finds enough, measured; and what it finds then.

Every engine and store measures it in this way and tells it under the names of ``Recall``.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RECALL, DEPTH = 0.99, 10  # the share of the closest that is found, and how many of them count
# of what is closest to a sample of the vectors; real queries lie further out, and were seen to miss twice as
# much
AIM = 0.995
ROOM = 12  # times the vectors that are wanted must be in the cells that are looked into

SAME = 1e-6  # between cosines that differ by rounding alone

Floats = npt.NDArray[np.float32]


class Recall(NamedTuple):
    """What a search finds of what is nearest, from 0 to 1; an index tells it under these names.

    Attributes:
        recall: The share of the DEPTH nearest that is found.
        recall_at_1: How often the nearest is found.
    """

    recall: float
    recall_at_1: float


ALL = Recall(1.0, 1.0)


def measured(truth: Iterable[Floats], found: Iterable[Floats]) -> Recall:
    """The recall of some queries, by scores: of documents that are equally near any will do.

    Args:
        truth: For each query, the scores of the nearest, falling.
        found: For each query, the scores of what was found, in any order; -inf for none.
    """
    shares, first = [], []
    for best, row in zip(truth, found, strict=True):
        if len(best):
            shares.append(min(1.0, np.count_nonzero(row >= best[-1] - SAME) / len(best)))
            first.append(row.max(initial=-np.inf) >= best[0] - SAME)
    return Recall(float(np.mean(shares)), float(np.mean(first))) if shares else ALL


def cells_for(count: int, cells: int, vectors: int) -> int:
    """How many equal cells to probe for ``count`` neighbours, from what was enough for DEPTH."""
    return min(cells, -(-ROOM * count * cells // max(1, vectors)))


def least_effort(recall: Callable[[int], float], aim: float, first: int, most: int) -> tuple[int, float]:
    """The least effort that reaches a recall, to a sixteenth of it; or the most.

    Args:
        recall: What an effort finds, from 0 to 1.
        aim: What it should find.
        first: The effort to begin with; it is doubled until it is enough.
        most: The greatest.

    Returns:
        The effort, and its recall.
    """
    low, high = 0, first
    reached = recall(high)
    while reached < aim and high < most:
        low, high = high, min(2 * high, most)
        reached = recall(high)
    while reached >= aim and high - low > max(1, high // 16):
        middle = (low + high) // 2
        found = recall(middle)
        if found >= aim:
            high, reached = middle, found
        else:
            low = middle
    return high, reached
