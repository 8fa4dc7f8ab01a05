"""At which rank each relevant document stands, exactly, in the worst order that its scores allow.

A relevant document comes after every document with the same score that is less relevant. A score that is NaN
ranks a relevant document last, and any other before all that have a score.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError
from statim.evaluation.metrics import NOWHERE, Positions
from statim.search.engines.blas import limited
from statim.search.engines.matrices import matrix
from statim.search.engines.protocol import Floats

QUERIES, DOCUMENTS = 512, 4096  # a block of scores: 8 MB a thread
ROWS = 1 << 22  # entries of lists compared at a time


def ranks_by_vectors(
    queries: npt.ArrayLike,
    documents: npt.ArrayLike,
    judged_queries: Positions,
    judged_documents: Positions,
    grades: npt.NDArray[np.integer],
    *,
    threads: int | None = None,
) -> Positions:
    """The ranks of judged documents among all documents, by cosine.

    The score of each relevant document is known beforehand, so the others need only be counted: one blocked
    matrix product, no sort, no (m, n) matrix.

    Args:
        queries: (m, d), of any length; converted to float32.
        documents: (n, d), likewise. A zero vector scores 0 with everything; NaN spoils its own scores only.
        judged_queries: (k,) int64, the position of each judgement's query.
        judged_documents: (k,) int64, the position of its document.
        grades: (k,) how relevant the document is; 0 or less is not at all.
        threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand.

    Returns:
        (k,) int64, from 1; NOWHERE for documents that are not relevant.

    Raises:
        InputError: The dimensions differ.
    """
    from statim.kernels.search.ranks import products

    asked, given = _unit(matrix(queries, "the queries")), _unit(matrix(documents, "the documents' vectors"))
    if asked.shape[1] != given.shape[1]:
        raise InputError(
            f"the queries have {asked.shape[1]} dimensions and the documents {given.shape[1]}; they "
            "must agree"
        )
    relevant = np.flatnonzero(np.asarray(grades) > 0)
    relevant = relevant[np.argsort(judged_queries[relevant], kind="stable")]
    # only queries that have a relevant document are searched
    used, owners = np.unique(judged_queries[relevant], return_inverse=True)
    asked, owners = asked[used], owners.astype(np.int64)
    scores = np.empty(len(relevant), np.float32)
    products(asked, given, owners, judged_documents[relevant].astype(np.int64), scores)
    counts = np.zeros(len(relevant), np.int64)
    workers = pool.count(threads)
    tasks = []
    for start, end in pool.ranges(len(asked), max(workers, -(-len(asked) // QUERIES))):
        part = slice(*np.searchsorted(owners, [start, end]))
        tasks.append(
            partial(_count, asked[start:end], given, owners[part] - start, scores[part], counts[part])
        )
    with limited(1):  # threads of BLAS's own would go on waiting awake, in the way of a training that goes on
        pool.run(tasks, workers)
    ranks = np.full(len(judged_queries), NOWHERE, np.int64)
    ranks[relevant] = _worst(counts, scores, owners, np.asarray(grades)[relevant])
    return ranks


def _unit(vectors: Floats) -> Floats:
    """The vectors at length 1; zero stays zero, and NaN and infinities become NaN."""
    with np.errstate(all="ignore"):
        long = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        scaled: Floats = (vectors / np.where(long == 0, 1.0, long)[:, None]).astype(np.float32)
    scaled[~np.isfinite(long)] = np.nan
    return scaled


def _count(queries: Floats, documents: Floats, rows: Positions, scores: Floats, counts: Positions) -> None:
    """Add to ``counts`` how many documents score at least ``scores`` with their queries, or NaN."""
    from statim.kernels.search.ranks import count_at_or_above

    # Eight standard deviations of the rounding of a float32 sum of d terms; vectors have length 1
    margins = np.full(len(queries), 8 * np.sqrt(documents.shape[1]) * 2.0**-24)
    space = np.empty(len(queries) * min(DOCUMENTS, len(documents)), np.float32)
    for start in range(0, len(documents), DOCUMENTS):
        some = documents[start : start + DOCUMENTS]
        block = space[: len(queries) * len(some)].reshape(len(queries), len(some))
        with np.errstate(all="ignore"):
            np.matmul(queries, some.T, out=block)
        count_at_or_above(block, queries, some, rows, scores, margins, counts)


def ranks_in_lists(
    scores: npt.NDArray[np.floating],
    positions: Positions,
    total: int,
    judged_queries: Positions,
    judged_documents: Positions,
    grades: npt.NDArray[np.integer],
) -> Positions:
    """The ranks of judged documents in lists of the best k, as search engines give them.

    Args:
        scores: (m, k), the scores of each query's documents.
        positions: (m, k) int64, the documents; -1 where fewer than k were found.
        total: How many documents there are in all, n.
        judged_queries: (j,) int64, the position of each judgement's query.
        judged_documents: (j,) int64, the position of its document.
        grades: (j,) how relevant the document is; 0 or less is not at all.

    Returns:
        (j,) int64, from 1; NOWHERE for documents that are not relevant or not in the list, and for those that
        tie with the end of a list that was cut there, since any number of others may tie with them.
    """
    ranks = np.full(len(judged_queries), NOWHERE, np.int64)
    cut = positions.shape[1] < total
    relevant = np.flatnonzero(np.asarray(grades) > 0)
    step = max(1, ROWS // max(1, positions.shape[1]))
    found, places = [], []
    for start in range(0, len(relevant), step):
        some = relevant[start : start + step]
        same = positions[judged_queries[some]] == judged_documents[some, None]
        there = same.any(axis=1)
        found.append(some[there])
        places.append(same[there].argmax(axis=1))
    if not found:
        return ranks
    chosen, place = np.concatenate(found), np.concatenate(places)
    order = np.argsort(judged_queries[chosen], kind="stable")
    chosen, place = chosen[order], place[order]
    owners = judged_queries[chosen]
    own = scores[owners, place]
    counts = np.empty(len(chosen), np.int64)
    for start in range(0, len(chosen), step):
        part = slice(start, start + step)
        listed = scores[owners[part]]
        above = (listed >= own[part, None]) | np.isnan(listed) | np.isnan(own[part, None])
        counts[part] = (above & (positions[owners[part]] >= 0)).sum(axis=1)
    ends = positions[owners, -1] >= 0  # lists that may go on
    lost = np.isnan(own) | (cut & ends & ~(own > scores[owners, -1]))
    ranks[chosen] = np.where(lost, NOWHERE, _worst(counts, own, owners, np.asarray(grades)[chosen]))
    return ranks


def _worst(
    counts: Positions, scores: npt.NDArray[np.floating], owners: Positions, grades: npt.NDArray[np.integer]
) -> Positions:
    """Ranks from counts: relevant documents of a query ranked by score, then the less relevant.

    Args:
        counts: (k,) how many documents of the query score at least this, or NaN, itself and relevant ones
            included; all, if this is NaN.
        scores: (k,) the relevant documents' scores.
        owners: (k,) their queries, ascending.
        grades: (k,) how relevant they are.
    """
    lost = np.isnan(scores)
    keys = np.where(lost, np.inf, -scores.astype(np.float64))
    order = np.lexsort((grades, lost, keys, owners))
    owner, key, nan = owners[order], keys[order], lost[order]
    index = np.arange(len(order))
    starts = np.searchsorted(owner, owner)
    new = np.ones(len(order), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (key[1:] != key[:-1]) | (nan[1:] != nan[:-1])
    edges = np.append(np.flatnonzero(new), len(order))
    run_ends = edges[np.cumsum(new)]  # one past the last that ties with this
    with_nan = (
        np.bincount(owner, weights=nan)[owner].astype(np.int64) if len(owner) else np.zeros(0, np.int64)
    )
    counted = run_ends - starts + np.where(nan, 0, with_nan)  # how many relevant ones are in ``counts``
    ranks = np.empty(len(order), np.int64)
    ranks[order] = counts[order] - counted + (index - starts) + 1
    return ranks
