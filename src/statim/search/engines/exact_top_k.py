"""Exact search: every query against every vector, in blocks, so that no (m, n) matrix ever exists.

A block of scores is a float32 matrix product, of which each query keeps its best k and some to spare. What
was kept is scored again in float64. So a score depends on its two vectors alone, not on how BLAS cut the
work, how many threads it had or what else was asked; equal vectors have equal scores; and ties go to the
lower position. A query whose spare documents could not rule out the rest (dozens of near-copies at the
border) is searched once more by itself.

Where products of bytes or bfloat16 are faster, they may come first (``half``): with a bound of what rounding
does to a score (see screen.py and products.py) most queries are settled by them, for good; the others are
screened once more with more room, then searched in float32.

A few queries over much are one compiled pass at the speed of memory (see stored_vectors.py), and are then
scored again in the same way.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError
from statim.search.engines import compiled
from statim.search.engines.blas import limited, shared
from statim.search.engines.exact_scores import SETTLED, order_by_score, share, widened
from statim.search.engines.matrices import lengths, matrix
from statim.search.engines.products import (
    MINUS_INFINITY,
    HalfProducts,
    Products,
    finite,
    has_half,
)
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.engines.screen import MOST, Screen, has_bytes
from statim.search.engines.stored_vectors import Rows, Vectors, one_pass

QUERIES, DOCUMENTS = 2048, 2048  # a block of scores: 16 MB
FEW = 1 << 30  # multiplications that plain numpy does before compiled code would be loaded
MUCH = 1 << 37  # multiplications from which torch is worth its loading: a second or two in float32
NOT_FINITE = (
    "the documents' vectors hold NaN or infinities, or numbers too large to multiply; make them again"
)
FEW_QUERIES = 8  # that one pass takes together
ONE_PASS = 1 << 26  # numbers from which a compiled pass is worth its loading, which takes half a second
NARROW_PASS = 1 << 22  # where it was loaded for the work before, or numpy would be slow
# Candidates beyond those asked for that products of bytes leave, at first and then of queries that are not
# certain
SPARES = (96, 768)
WIDEST = 1 << 16  # dimensions of which sums of products of bytes are whole numbers of 32 bits
HUGE = 1e15  # lengths from which products of bytes, scaled, might be too large for float32


def top_k(
    queries: npt.ArrayLike,
    documents: npt.ArrayLike,
    k: int,
    *,
    threads: int | None = None,
    half: bool = False,
) -> tuple[Floats, Positions]:
    """The k documents with the highest dot product with each query: cosines, if all vectors have length 1.

    Args:
        queries: (m, d), converted to float32.
        documents: (n, d), converted to float32; may be a memory map.
        k: How many to return; n at most are.
        threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand.
        half: Where there is much to do, and the processor can, multiply in bytes or bfloat16 first. The
            result is the same.

    Returns:
        Scores, (m, min(k, n)) float32, falling, and positions in ``documents``, (m, min(k, n)) int64. Equal
        scores are in the order of their positions. A zero vector scores 0.

    Raises:
        InputError: The dimensions differ, a number is NaN or infinite, or k is below 1.
    """
    asked, given = matrix(queries, "the queries"), matrix(documents, "the documents' vectors")
    if asked.shape[1] != given.shape[1]:
        raise InputError(
            f"the queries have {asked.shape[1]} dimensions and the documents {given.shape[1]}; they "
            "must agree"
        )
    longest = max(
        (float(lengths(given[s : s + DOCUMENTS]).max()) for s in range(0, len(given), DOCUMENTS)), default=0.0
    )
    if not np.isfinite(longest):
        raise InputError(NOT_FINITE)
    return search_vectors(asked, given, check_k(k), longest, np.zeros(0, np.int64), threads, half)


def search_vectors(
    queries: Floats,
    documents: Vectors,
    k: int,
    longest: float,
    excluded: Positions,
    threads: int | None,
    half: bool = False,
) -> tuple[Floats, Positions]:
    """``top_k`` without the positions in ``excluded`` (ascending); -inf and -1 where too few are left.

    Args:
        queries: (m, d) float32.
        documents: (n, d), none of them longer than ``longest``.
        k: How many to return.
        longest: A length.
        excluded: Positions, int64.
        threads: Threads to use.
        half: See ``top_k``; of float32 documents only.

    Raises:
        InputError: A number is NaN or infinite.
    """
    k = min(k, len(documents))
    long = lengths(queries)
    if not np.isfinite(long).all():
        raise InputError("the queries hold NaN or infinities; every number must be finite")
    # Eight standard deviations of the rounding of a float32 sum of d terms; up to d = 64 it is the bound for
    # any order. Four more for those of stored numbers and their scale.
    margins = (8 * np.sqrt(documents.shape[1]) + 4) * 2.0**-24 * long * longest
    search = _Search(
        queries, documents, margins, longest, excluded, pool.count(threads),
        np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64),
    )  # fmt: skip
    if k and len(queries):
        unsure: Positions = np.arange(len(queries))
        passed = len(queries) <= FEW_QUERIES and _is_worth_a_pass(documents)
        if passed:
            unsure = search.in_one_pass()
        if len(unsure):
            with limited(threads), np.errstate(all="ignore"):
                if not passed and len(queries) > 1 and queries.size * len(documents) > FEW:
                    safe = documents.shape[1] <= WIDEST and max(longest, float(long.max())) < HUGE
                    unsure = search.compiled(unsure, half=half, safe=safe)
                search.each_alone(unsure)
    return search.scores, search.positions


@dataclass
class _Search:
    """One search: what is asked of what, and where the answers go.

    Attributes:
        queries: (m, d) float32.
        documents: (n, d).
        margins: (m,) float64, how far a float32 score may be from the exact one.
        longest: No document is longer.
        excluded: The positions that are never found, ascending.
        workers: Threads to use.
        scores: (m, k) float32, written.
        positions: (m, k) int64, written.
    """

    queries: Floats
    documents: Vectors
    margins: npt.NDArray[np.float64]
    longest: float
    excluded: Positions
    workers: int
    scores: Floats
    positions: Positions

    def in_one_pass(self) -> Positions:
        """Search a few queries in one pass; gives those whose result is not certain."""
        k = self.scores.shape[1]
        try:
            _, kept, worst = one_pass(
                self.documents, self.queries, k, self.longest, self.excluded, self.workers
            )
        except FloatingPointError:
            raise InputError(NOT_FINITE) from None
        sure = np.zeros(len(self.queries), np.bool_)
        for i, query in enumerate(self.queries):
            near = np.sort(kept[i][kept[i] >= 0])
            last = order_by_score(query, self.documents, near, self.scores[i], self.positions[i])
            sure[i] = worst[i] == -np.inf or last > worst[i] + self.margins[i]
        return np.flatnonzero(~sure)

    def compiled(self, unsure: Positions, *, half: bool, safe: bool) -> Positions:
        """Search the queries at ``unsure`` in blocks; gives those whose result is not certain.

        Args:
            unsure: Positions of queries.
            half: Multiply in bytes or bfloat16 first, where that is faster.
            safe: Are sums of products of bytes whole numbers of 32 bits?
        """
        documents = self.documents
        if half and not isinstance(documents, Rows):
            if documents.size <= MOST and safe and has_bytes():
                screen = Screen(documents, self.excluded, threads=self.workers)
                for spare in SPARES:
                    unsure = self.screened(screen, spare, unsure)
            if len(unsure) * documents.shape[1] * len(documents) >= MUCH and has_half():
                with pool.one_torch_thread():
                    unsure = self.in_blocks(HalfProducts(documents, self.workers), unsure)
        if len(unsure) * documents.shape[1] * len(documents) > FEW:
            unsure = self.in_blocks(Products(), unsure)
        return unsure

    def screened(self, screen: Screen, spare: int, which: Positions) -> Positions:
        """Search the queries at ``which`` by products of bytes first; gives those that are not certain."""
        from statim.kernels.search.top_k import settle

        sure, size = np.zeros(len(which), np.bool_), max(1, min(QUERIES, -(-len(which) // self.workers)))

        def search(start: int) -> None:
            part = which[start : start + size]
            asked, scores, positions = self.queries[part], self.scores[part], self.positions[part]  # copies
            places, worst, error = screen(asked, scores.shape[1], spare)
            settle(
                asked, self.documents, worst, places, self.margins[part] + error, scores, positions,
                sure[start : start + size],
            )  # fmt: skip
            self.scores[part], self.positions[part] = scores, positions

        pool.run([partial(search, start) for start in range(0, len(which), size)], self.workers)
        return which[~sure]

    def in_blocks(self, multiply: Products | HalfProducts, which: Positions) -> Positions:
        """Search the queries at ``which``; gives those whose result is not certain."""
        sure = np.zeros(len(which), np.bool_)
        for start in range(0, len(which), QUERIES):
            sure[start : start + QUERIES] = self.block(multiply, which[start : start + QUERIES])
        return which[~sure]

    def block(self, multiply: Products | HalfProducts, which: Positions) -> npt.NDArray[np.bool_]:
        """Search one block of queries; tells which are certain.

        BLAS has its own threads; ours share the rest by query.
        """
        from statim.kernels.search.top_k import settle

        asked, scores, positions = self.queries[which], self.scores[which], self.positions[which]  # copies
        kept_scores, kept_positions = self.kept(multiply, asked)
        margins = self.margins[which] + multiply.error(kept_scores[:, 0])
        sure = np.zeros(len(which), np.bool_)

        def finish(first: int, last: int) -> None:
            size = SETTLED if isinstance(self.documents, Rows) else max(1, last - first)
            for start in range(first, last, size):
                part = slice(start, min(start + size, last))
                wide, places, names = widened(self.documents, kept_positions[part])
                settle(
                    asked[part], wide, kept_scores[part], places, margins[part], scores[part],
                    positions[part], sure[part],
                )  # fmt: skip
                if names is not None:
                    positions[part] = names[positions[part]]

        share(finish, pool.ranges(len(which), self.workers), self.workers)
        self.scores[which], self.positions[which] = scores, positions
        return sure

    def kept(self, multiply: Products | HalfProducts, asked: Floats) -> tuple[Floats, Positions]:
        """The rough scores and the positions of each query's best documents, some to spare, best first."""
        from statim.kernels.search.top_k import keep

        count, n, k = len(asked), len(self.documents), self.scores.shape[1]
        spare = min(n, k + multiply.spare + k // 8)
        kept_scores = np.full((count, spare), -np.inf, np.float32)
        kept_positions = np.full((count, spare), -1, np.int64)
        rows = pool.ranges(count, self.workers)
        multiply.begin(asked, DOCUMENTS)
        for start in range(0, n, DOCUMENTS):
            some = self.documents[start : start + DOCUMENTS]
            block = multiply(some)
            if not finite(block[0]):  # a document that is not finite spoils its column
                raise InputError(NOT_FINITE)
            first, last = np.searchsorted(self.excluded, [start, start + len(some)])
            left_out = self.excluded[first:last] - start
            block[:, left_out] = -np.inf if block.dtype == np.float32 else MINUS_INFINITY

            def offer(first: int, last: int, start: int = start, block: npt.NDArray[Any] = block) -> None:
                keep(block[first:last], start, kept_scores[first:last], kept_positions[first:last])

            share(offer, rows, self.workers)
        return kept_scores, kept_positions

    def each_alone(self, which: Positions) -> None:
        """Search queries one by one in plain numpy: all rough scores, then exact ones of the best."""
        if len(which):
            with shared():
                for i in which:
                    self.alone(int(i))

    def alone(self, i: int) -> None:
        """Search one query in plain numpy; the result is certain."""
        query, documents, k = self.queries[i], self.documents, self.scores.shape[1]
        rough = documents @ query if not isinstance(documents, Rows) else _by_parts(query, documents)
        if not np.isfinite(rough).all():
            raise InputError(NOT_FINITE)
        rough[self.excluded] = -np.inf
        border = np.partition(rough, len(rough) - k)[len(rough) - k]
        near = np.flatnonzero((rough >= border - 2 * self.margins[i]) & (rough > -np.inf))
        if self.margins[i] == 0.0:  # all scores are exactly 0
            near = near[:k]
        order_by_score(query, documents, near, self.scores[i], self.positions[i])


def _is_worth_a_pass(documents: Vectors) -> bool:
    """Whether to take a compiled pass; results are the same."""
    numbers = int(documents.shape[1]) * len(documents)
    if isinstance(documents, Rows) or numbers < NARROW_PASS:
        return numbers >= NARROW_PASS
    return numbers >= ONE_PASS or compiled.worth(numbers)


def _by_parts(query: Floats, documents: Rows) -> Floats:
    """The products of a query with rows that are widened a block at a time, (n,)."""
    return np.concatenate([documents[s : s + DOCUMENTS] @ query for s in range(0, len(documents), DOCUMENTS)])
