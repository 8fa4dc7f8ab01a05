"""Representatives of sets in which too many pairs are close to be kept: a million texts of one template, say.

Texts go by in blocks, in their order. A block is compared with the representatives so far, exhaustively; what
none of them is close to is compared with itself and gives new ones (stars, as in duplicates.py). So no more
is kept than a pair for each text. The work is the texts times the representatives, which are few where so
much is close; where they are many it takes minutes for a million.
"""

from functools import partial

import numpy as np

from statim import threads as pool
from statim.progress import Progress
from statim.search.engines.products import own_threads
from statim.tasks.similarity.similarity_join import LEFT, RIGHT, Pairs, joined, near_pairs
from statim.tasks.similarity.vector_set import Floats, Ints, Items


def with_representatives(
    items: Items, threshold: float, *, threads: int | None = None, progress: bool = False
) -> Pairs:
    """Each item close to an earlier representative, with the closest: (representative, item, cosine).

    Args:
        items: n items.
        threshold: The least cosine.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.
    """
    heads = np.empty(len(items), np.int32)
    count, found = 0, []
    with own_threads(items.rough), Progress("compare", total=len(items), unit="texts", show=progress) as bar:
        for start in range(0, len(items), LEFT):
            rows = np.arange(start, min(start + LEFT, len(items)), dtype=np.int32)
            covered = _closest(_between(items, rows, heads[:count], threshold, threads))
            left = np.setdiff1d(rows, covered.right, assume_unique=True)
            fresh, members = _stars(_between(items, left, left, threshold, threads), left)
            heads[count : count + len(fresh)] = fresh
            count += len(fresh)
            nearer = _between(items, covered.right, fresh, threshold, threads)
            found += [_closest(joined([covered, nearer.take(nearer.left < nearer.right)])), members]
            bar.advance(len(rows))
    pairs = joined(found)
    return pairs.take(np.argsort(pairs.right))


def _between(items: Items, rows: Ints, others: Ints, threshold: float, threads: int | None) -> Pairs:
    """Pairs of different items, (other, row)."""
    queries = items.rough[rows]

    def work(start: int, stop: int) -> Pairs:
        found = []
        for s in range(start, stop, RIGHT):
            columns = others[s : min(s + RIGHT, stop)]
            near = near_pairs(items, items, rows, columns, queries, items.rough[columns], threshold)
            found.append(Pairs(near.right, near.left, near.scores).take(near.left != near.right))
        return joined(found)

    workers = pool.count(threads)
    parts = [partial(work, *bounds) for bounds in pool.ranges(len(others), workers)]
    return joined(pool.run(parts, workers))


def _closest(pairs: Pairs) -> Pairs:
    """Of each item on the right its closest pair."""
    order = np.lexsort((pairs.left, -pairs.scores, pairs.right))
    _, first = np.unique(pairs.right[order], return_index=True)
    return pairs.take(order[first])


def _stars(pairs: Pairs, rows: Ints) -> tuple[Ints, Pairs]:
    """New representatives among some items, ascending, and the others with the closest of these.

    Args:
        pairs: All close pairs of these items, each from both ends.
        rows: The items, ascending.
    """
    from statim.kernels.search import neighbors as near

    once = pairs.take(pairs.left < pairs.right)
    first, second = (np.searchsorted(rows, side).astype(np.int32) for side in (once.left, once.right))
    centres, closest = np.full(len(rows), -1, np.int32), np.full(len(rows), -np.inf, np.float32)
    offsets, places = near.neighbours(first, second, len(rows))
    near.stars(first, second, once.scores, offsets, places, centres, closest)
    own = np.arange(len(rows))
    moved = np.flatnonzero(centres != own)
    scores: Floats = closest[moved]
    return rows[centres == own], Pairs(rows[centres[moved]], rows[moved], scores)
