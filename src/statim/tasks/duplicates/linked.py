"""Connected groups of very many rows, and the pairs that they hang by.

A pair is enough to join two groups, so a few pairs that are close by chance make one group of what has little
in common.
"""

from typing import Any

import numpy as np

from statim.tasks.similarity.similarity_join import Pairs
from statim.tasks.similarity.thresholds import example
from statim.tasks.similarity.vector_set import Floats, Items, Longs

LARGE, SHARE = 20, 0.01  # rows of a giant group at least, and their share of all
MOST = 3  # that are called out


def giants(items: Items, pairs: Pairs, representatives: Longs, scores: Floats) -> list[dict[str, Any]]:
    """The largest connected groups, where they are giant: plain values for JSON.

    Args:
        items: r rows.
        pairs: The pairs that connect them.
        representatives: (r,) each row's group: the row that stays.
        scores: (r,) the cosines with that.

    Returns:
        Of each its ``representative``, ``rows``, the ``lowest_score`` with the representative, and the
        ``weakest_link``: the pair with the lowest score that it needs to be one group.
    """
    sizes = np.bincount(representatives, minlength=items.rows)
    largest = np.argsort(-sizes, kind="stable")[:MOST]
    found = []
    for head in largest[sizes[largest] >= max(LARGE, SHARE * items.rows)].tolist():
        own = pairs.take(representatives[items.first[pairs.left]] == head)
        if len(own.left):  # else they are copies
            left, right, score = _weakest(own)
            found.append(
                {
                    "representative": head,
                    "rows": int(sizes[head]),
                    "lowest_score": round(float(scores[representatives == head].min()), 4),
                    "weakest_link": example(items, left, items, right, score),
                }
            )
    return found


def _weakest(pairs: Pairs) -> tuple[int, int, float]:
    """The last pair that joins anything, where the closest pairs come first: left, right, score."""
    from statim.kernels.search.neighbors import components

    members, places = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    order = np.argsort(-pairs.scores, kind="stable")
    first, second = places.astype(np.int32).reshape(2, -1)[:, order]
    last = order[components(first, second, np.arange(len(members), dtype=np.int32))]
    return int(pairs.left[last]), int(pairs.right[last]), float(pairs.scores[last])
