"""How hard an approximate index must look: as little as finds enough, measured."""

from collections.abc import Callable

RECALL, DEPTH = 0.99, 10  # this share of the closest so many is found


def least_effort(recall: Callable[[int], float], first: int, most: int) -> tuple[int, float]:
    """The least effort that reaches RECALL, to a sixteenth of it; or the most.

    Args:
        recall: What an effort finds, from 0 to 1.
        first: The effort to begin with; it is doubled until it is enough.
        most: The greatest.

    Returns:
        The effort, and its recall.
    """
    low, high = 0, first
    reached = recall(high)
    while reached < RECALL and high < most:
        low, high = high, min(2 * high, most)
        reached = recall(high)
    while reached >= RECALL and high - low > max(1, high // 16):
        middle = (low + high) // 2
        found = recall(middle)
        if found >= RECALL:
            high, reached = middle, found
        else:
            low = middle
    return high, reached
