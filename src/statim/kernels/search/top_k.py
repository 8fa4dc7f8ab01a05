"""Selection: the best K scores per query, kept while blocks of documents go by; compiled."""

import numpy as np
import numpy.typing as npt
from numba import boolean, float32, float64, int16, int32, int64, types, void

from statim.kernels.floats import load, prefetch
from statim.kernels.prepared import njit

CHUNK = 32  # scores looked at together
AHEAD = 2  # documents under way from memory

FAST = {"reassoc", "contract", "nsz"}  # NaN and infinities stay as they are

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

_matrix = types.Array(float32, 2, "C", readonly=True)
_halves = types.Array(int16, 2, "C", readonly=True)
_floats = types.Array(float32, 1, "C", readonly=True)
_doubles = types.Array(float64, 1, "C", readonly=True)
_int32s = types.Array(int32, 1, "C", readonly=True)
_int64s = types.Array(int64, 1, "C", readonly=True)


@njit(void(float32[::1], int64[::1], float32, int64), nogil=True, cache=True, error_model="numpy")
def _replace_worst(scores: Floats, positions: Positions, score: np.float32, position: int) -> None:
    """Put a better document in place of the worst, which stands at the root of the heap.

    Of two with the same score the one at the higher position is the worse.
    """
    size = len(scores)
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        right = child + 1
        if right < size and (
            scores[right] < scores[child]
            or (scores[right] == scores[child] and positions[right] > positions[child])
        ):
            child = right
        if scores[child] > score or (scores[child] == score and positions[child] < position):
            break
        scores[hole] = scores[child]
        positions[hole] = positions[child]
        hole = child
    scores[hole] = score
    positions[hole] = position


@njit(
    [void(block, int64, float32[:, ::1], int64[:, ::1]) for block in (_matrix, _halves)],
    nogil=True,
    cache=True,
    error_model="numpy",
)
def keep(block: Floats, first: int, scores: Floats, positions: Positions) -> None:
    """Offer a block of scores to the heaps of its queries. Blocks must come in the order of their documents.

    Args:
        block: (m, c), the scores of m queries and c documents; float32, or bfloat16 as int16.
        first: The position of the block's first document.
        scores: (m, K) float32 heaps, the worst at [:, 0]; what is not above that does not enter.
        positions: (m, K) int64, the documents of ``scores``.
    """
    for i in range(len(block)):
        row = block[i]
        worst = scores[i, 0]
        for start in range(0, len(row), CHUNK):
            stop = min(start + CHUNK, len(row))
            better = 0
            for j in range(start, stop):  # without a branch, so that it becomes vector instructions
                better += load(row, j) > worst
            if better > 0:
                for j in range(start, stop):
                    score = load(row, j)
                    if score > worst:
                        _replace_worst(scores[i], positions[i], score, first + j)
                        worst = scores[i, 0]


@njit(
    void(
        _matrix,
        _matrix,
        float32[:, ::1],
        int64[:, ::1],
        _doubles,
        float32[:, ::1],
        int64[:, ::1],
        boolean[::1],
    ),
    nogil=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def settle(
    queries: Floats,
    documents: Floats,
    kept_scores: Floats,
    kept_positions: Positions,
    margins: npt.NDArray[np.float64],
    scores: Floats,
    positions: Positions,
    sure: npt.NDArray[np.bool_],
) -> None:
    """Score what was kept in float64, and order it: highest score first, then lowest position.

    Args:
        queries: (m, d) float32.
        documents: (n, d) float32.
        kept_scores: (m, at least 1) float32, not exact; at [:, 0] what no document that was not kept exceeds,
            -inf where all were kept.
        kept_positions: (m, K) int64; -1 where fewer than K documents were kept.
        margins: (m,) float64, by how much a kept score may be wrong.
        scores: (m, k) float32, k <= K, written; -inf where there is no document.
        positions: (m, k) int64, written; -1 where there is no document.
        sure: (m,) bool, written: no document that was not kept can belong to the k best.
    """
    k = scores.shape[1]
    for i in range(len(queries)):
        chosen = np.sort(kept_positions[i])
        chosen = chosen[np.searchsorted(chosen, 0) :]
        exact = np.empty(len(chosen), np.float32)
        for c in range(min(AHEAD, len(chosen))):
            prefetch(documents, chosen[c])
        for c in range(len(chosen)):
            if c + AHEAD < len(chosen):
                prefetch(documents, chosen[c + AHEAD])
            document = documents[chosen[c]]
            total = 0.0
            for j in range(queries.shape[1]):
                total += np.float64(queries[i, j]) * np.float64(document[j])
            exact[c] = total
        order = np.argsort(-exact, kind="mergesort")[:k]
        found = len(order)
        for rank in range(found):
            scores[i, rank] = exact[order[rank]]
            positions[i, rank] = chosen[order[rank]]
        scores[i, found:] = -np.inf
        positions[i, found:] = -1
        # an error of zero means that kept scores are exact, ties included
        worst = kept_scores[i, 0]
        sure[i] = worst == -np.inf or (
            found == k and (margins[i] == 0.0 or exact[order[k - 1]] > worst + margins[i])
        )


@njit(
    boolean(_floats, _int32s, _int64s, _int32s, _int64s, int64, float32[:, ::1], int64[:, ::1]),
    nogil=True,
    cache=True,
    error_model="numpy",
)
def best_postings(
    weights: Floats,
    documents: npt.NDArray[np.int32],
    offsets: Positions,
    words: npt.NDArray[np.int32],
    starts: Positions,
    total: int,
    scores: Floats,
    positions: Positions,
) -> bool:
    """Sum the weights of each query's words per document, and give the k best documents that hold one.

    Args:
        weights: (p,) float32, what a word gives to a document that holds it; above 0.
        documents: (p,) int32, those documents, ascending within a word.
        offsets: (V + 1,) int64; word v has weights[offsets[v]:offsets[v + 1]].
        words: int32, the words of all queries.
        starts: (m + 1,) int64; query i has words[starts[i]:starts[i + 1]].
        total: The number of documents, n.
        scores: (m, k) float32, written: highest first, ties by position; -inf where no document is left.
        positions: (m, k) int64, written; -1 where no document is left.

    Returns:
        False if a document is outside of [0, n); nothing can be relied on then.
    """
    sums = np.empty(total, np.float32)
    for i in range(len(scores)):
        sums[:] = 0.0
        for t in range(starts[i], starts[i + 1]):
            for p in range(offsets[words[t]], offsets[words[t] + 1]):
                if not 0 <= documents[p] < total:
                    return False
                sums[documents[p]] += weights[p]
        scores[i] = 0.0
        positions[i] = -1
        keep(sums.reshape(1, total), 0, scores[i : i + 1], positions[i : i + 1])
        by_position = np.argsort(positions[i])
        order = by_position[np.argsort(-scores[i][by_position], kind="mergesort")]
        scores[i] = scores[i][order]
        positions[i] = positions[i][order]
        for rank in range(scores.shape[1]):
            if positions[i, rank] < 0:
                scores[i, rank] = -np.inf
    return True
