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

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError, ModelError
from statim.quantize import check_dtype
from statim.search.engines import compiled
from statim.search.engines.array_files import read_array, write_array
from statim.search.engines.blas import limited, shared
from statim.search.engines.products import (
    MINUS_INFINITY,
    HalfProducts,
    Products,
    finite,
    has_half,
    one_torch_thread,
)
from statim.search.engines.protocol import Floats, Positions, check_k, check_positions
from statim.search.engines.screen import MOST, Screen, has_bytes
from statim.search.engines.stored_vectors import STORAGES, Rows, Vectors, narrow, one_pass
from statim.search.engines.tuning import ALL, Recall

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
SETTLED = 128  # queries whose candidates are widened together
LONGEST = 2.0  # no vector of length 1 is longer when its numbers are rounded to int8
SAVED = 1 << 14  # rows written at a time
_NUMBERS = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}


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


class Exact:
    """An engine (see protocol.py) that compares with every vector, by cosine.

    Vectors are scaled to length 1 when they are added. A zero vector is like nothing: it is never found, and
    as a query finds nothing. A deleted vector is a zero vector from then on; in a file that stands already,
    until the next ``save``.

    Args:
        dim: The number of dimensions, d.
        storage: ``float32``; or ``float16`` or ``int8``, which take half or a quarter of the memory and time.
            Results are exact of what is stored; see stored_vectors.py for what that loses.

    Raises:
        InputError: There is no such storage.
    """

    def __init__(self, dim: int, storage: str = "float32") -> None:
        check_dtype(storage, STORAGES)
        self.dim, self.storage = dim, storage
        self._blocks: list[Vectors] = []
        self._excluded = np.zeros(0, np.int64)  # the positions of zero vectors, ascending

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def vectors(self) -> Vectors:
        """The vectors, (n, d) float32 of length 1 or 0, possibly read-only; of other storages as ``Rows``."""
        if len(self._blocks) != 1:
            self._blocks = [_joined(self._blocks, self.dim, self.storage)]
        return self._blocks[0]

    @property
    def excluded(self) -> Positions:
        """The positions that are never found, zero and deleted, ascending int64."""
        return self._excluded

    def add(self, vectors: npt.ArrayLike) -> None:
        """Add n vectors at the positions that follow; see Engine."""
        given = self.matching(vectors, "the vectors")
        given, zero = unit(given)
        self._excluded = np.concatenate([self._excluded, len(self) + np.flatnonzero(zero)])
        self._blocks.append(given if self.storage == "float32" else narrow(given, self.storage))

    @property
    def recall(self) -> Recall | None:
        """Everything, of vectors that are not rounded; see Engine."""
        return ALL if self.storage == "float32" else None

    @staticmethod
    def of(vectors: Floats) -> "Exact":
        """Of (n, d) float32 vectors of length 1 or 0, which are not copied."""
        engine = Exact(vectors.shape[1])
        engine._blocks, engine._excluded = [vectors], np.flatnonzero(~vectors.any(axis=1))
        return engine

    def delete(self, positions: npt.ArrayLike) -> None:
        """Leave positions empty; see Engine."""
        self._excluded = np.union1d(self._excluded, check_positions(positions, len(self)))

    def prepare(self, *, threads: int | None = None) -> None:
        """Nothing is to be prepared; see Engine."""

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest documents of each query; see Engine."""
        asked, zero = unit(self.matching(queries, "the queries"))
        k = check_k(k)
        try:
            scores, positions = search_vectors(asked, self.vectors, k, LONGEST, self._excluded, threads)
        except InputError as error:  # add() lets no such vectors in, so the file was damaged
            raise ModelError(f"the index is damaged: {error}") from None
        scores[zero] = -np.inf
        positions[scores == -np.inf] = -1
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of some documents with each query; see Engine."""
        asked, _ = unit(self.matching(queries, "the queries"))
        scores = np.zeros(positions.shape, np.float32)
        for query, row, out in zip(asked, positions, scores, strict=True):
            there = (row >= 0) & ~among(row, self._excluded)
            out[there] = _dots(query, self.vectors, row[there])
        return scores

    def save(self, folder: Path) -> None:
        """Write into ``folder``; see Engine."""
        vectors = self.vectors
        data = vectors.data if isinstance(vectors, Rows) else vectors
        write_array(folder / "vectors.npy", _NUMBERS[self.storage], data.shape, self._cleared(data))
        if isinstance(vectors, Rows) and self.storage == "int8":
            write_array(folder / "scales.npy", "<f4", vectors.scales.shape, [vectors.scales])
        write_array(folder / "zeros.npy", "<i8", self._excluded.shape, [self._excluded])

    @staticmethod
    def load(folder: Path) -> "Exact":
        """Map what ``save`` wrote; see Engine."""
        data = read_array(folder / "vectors.npy", list(_NUMBERS.values()), 2)
        excluded = read_array(folder / "zeros.npy", ["<i8"], 1)
        if len(excluded) and not (
            excluded[0] >= 0 and excluded[-1] < len(data) and (np.diff(excluded) > 0).all()
        ):
            raise ModelError(
                f"{folder / 'zeros.npy'} does not fit {folder / 'vectors.npy'}; build the index again"
            )
        engine = Exact(data.shape[1], data.dtype.name)
        scales = np.zeros(0, np.float32)
        if engine.storage == "int8":
            scales = read_array(folder / "scales.npy", ["<f4"], 1)
            if len(scales) != len(data):
                raise ModelError(
                    f"{folder / 'scales.npy'} does not fit {folder / 'vectors.npy'}; build the index again"
                )
        engine._blocks = [data if engine.storage == "float32" else Rows(data, scales)]
        engine._excluded = excluded
        return engine

    def matching(self, vectors: npt.ArrayLike, name: str) -> Floats:
        """``vectors`` as a float32 matrix of d dimensions.

        Raises:
            InputError: It is no matrix of numbers, or of other dimensions.
        """
        given = matrix(vectors, name)
        if given.shape[1] != self.dim:
            raise InputError(f"{name} have {given.shape[1]} dimensions; this index has {self.dim}")
        return given

    def _cleared(self, data: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """The rows in parts, what was deleted zero."""
        for start in range(0, len(data), SAVED):
            part = data[start : start + SAVED]
            empty = self._excluded[
                np.searchsorted(self._excluded, start) : np.searchsorted(self._excluded, start + len(part))
            ]
            if len(empty):
                part = part.copy()
                part[empty - start] = 0
            yield part


def among(positions: Positions, ascending: Positions) -> npt.NDArray[np.bool_]:
    """Which of ``positions`` are in ``ascending``."""
    if not len(ascending):
        return np.zeros(positions.shape, np.bool_)
    places = np.minimum(np.searchsorted(ascending, positions), len(ascending) - 1)
    found: npt.NDArray[np.bool_] = ascending[places] == positions
    return found


def _joined(blocks: list[Vectors], dim: int, storage: str) -> Vectors:
    """Blocks of vectors as one."""
    if storage == "float32":
        return np.concatenate(
            [np.zeros((0, dim), np.float32), *(b for b in blocks if not isinstance(b, Rows))]
        )
    rows = [block for block in blocks if isinstance(block, Rows)]
    data = np.concatenate([np.zeros((0, dim), storage), *(block.data for block in rows)])
    return Rows(data, np.concatenate([np.zeros(0, np.float32), *(block.scales for block in rows)]))


def matrix(given: npt.ArrayLike, name: str) -> Floats:
    """``given`` as a contiguous float32 matrix; nothing is copied that is one.

    Raises:
        InputError: It is not a matrix of numbers.
    """
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
            array = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a matrix of numbers ({str(error)[:100]})") from None
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} have the shape {array.shape}; it must be (how many, dimensions)")
    return np.ascontiguousarray(array)


def lengths(vectors: Floats) -> npt.NDArray[np.float64]:
    """The Euclidean lengths of (n, d) vectors, (n,) float64."""
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def unit(vectors: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The vectors at length 1, copied, and which were zero and stay so.

    Raises:
        InputError: A vector holds NaN or infinities; the message names its position.
    """
    long = lengths(vectors)
    if not np.isfinite(long).all():
        raise InputError(
            f"vector {int(np.argmin(np.isfinite(long)))} holds NaN or infinities; every number must be finite"
        )
    zero = long == 0
    return (vectors / np.where(zero, 1.0, long)[:, None]).astype(np.float32), zero


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
    scores = np.empty((len(queries), k), np.float32)
    positions = np.empty((len(queries), k), np.int64)
    if k == 0 or len(queries) == 0:
        return scores, positions
    unsure: npt.NDArray[np.int64] = np.arange(len(queries))
    passed = len(queries) <= FEW_QUERIES and _is_worth_a_pass(documents)
    if passed:
        unsure = _passed(
            queries, documents, margins, longest, excluded, pool.count(threads), scores, positions
        )
        if not len(unsure):
            return scores, positions
    with limited(threads), np.errstate(all="ignore"):
        if not passed and len(queries) > 1 and queries.size * len(documents) > FEW:
            workers = pool.count(threads)
            safe = documents.shape[1] <= WIDEST and max(longest, float(long.max())) < HUGE
            if half and not isinstance(documents, Rows) and documents.size <= MOST and safe and has_bytes():
                screen = Screen(documents, excluded, threads=workers)
                for spare in SPARES:
                    unsure = _screened(
                        screen, spare, queries, documents, margins, workers, scores, positions, unsure
                    )
            much = len(unsure) * documents.shape[1] * len(documents) >= MUCH
            if half and not isinstance(documents, Rows) and much and has_half():
                with one_torch_thread():
                    unsure = _in_blocks(
                        HalfProducts(documents, workers),
                        queries,
                        documents,
                        margins,
                        excluded,
                        workers,
                        scores,
                        positions,
                        unsure,
                    )
            if len(unsure) * queries.shape[1] * len(documents) > FEW:
                unsure = _in_blocks(
                    Products(), queries, documents, margins, excluded, workers, scores, positions, unsure
                )
        if len(unsure):
            with shared():
                for i in unsure:
                    _alone(queries[i], documents, float(margins[i]), excluded, scores[i], positions[i])
    return scores, positions


def _is_worth_a_pass(documents: Vectors) -> bool:
    """Whether to take a compiled pass; results are the same."""
    numbers = int(documents.shape[1]) * len(documents)
    if isinstance(documents, Rows) or numbers < NARROW_PASS:
        return numbers >= NARROW_PASS
    return numbers >= ONE_PASS or compiled.worth(numbers)


def _passed(
    queries: Floats,
    documents: Vectors,
    margins: npt.NDArray[np.float64],
    longest: float,
    excluded: Positions,
    workers: int,
    scores: Floats,
    positions: Positions,
) -> Positions:
    """Search a few queries in one pass; gives those whose result is not certain."""
    try:
        _, kept, worst = one_pass(documents, queries, scores.shape[1], longest, excluded, workers)
    except FloatingPointError:
        raise InputError(NOT_FINITE) from None
    sure = np.zeros(len(queries), np.bool_)
    for i, query in enumerate(queries):
        near = np.sort(kept[i][kept[i] >= 0])
        last = _order(query, documents, near, scores[i], positions[i])
        sure[i] = worst[i] == -np.inf or last > worst[i] + margins[i]
    return np.flatnonzero(~sure)


def _screened(
    screen: Screen,
    spare: int,
    queries: Floats,
    documents: Floats,
    margins: npt.NDArray[np.float64],
    workers: int,
    scores: Floats,
    positions: Positions,
    which: Positions,
) -> Positions:
    """Search the queries at ``which`` by products of bytes first; gives those whose result is not certain."""
    from statim.kernels.search.top_k import settle

    sure, size = np.zeros(len(which), np.bool_), max(1, min(QUERIES, -(-len(which) // workers)))

    def search(start: int) -> None:
        part = which[start : start + size]
        asked, some_scores, some_positions = queries[part], scores[part], positions[part]  # copies
        places, worst, error = screen(asked, scores.shape[1], spare)
        settle(
            asked, documents, worst, places, margins[part] + error, some_scores, some_positions,
            sure[start : start + size]
        )  # fmt: skip
        scores[part], positions[part] = some_scores, some_positions

    pool.run([partial(search, start) for start in range(0, len(which), size)], workers)
    return which[~sure]


def _in_blocks(
    multiply: Products | HalfProducts,
    queries: Floats,
    documents: Vectors,
    margins: npt.NDArray[np.float64],
    excluded: Positions,
    workers: int,
    scores: Floats,
    positions: Positions,
    which: Positions,
) -> Positions:
    """Search the queries at ``which``; gives those whose result is not certain."""
    sure = np.zeros(len(which), np.bool_)
    for start in range(0, len(which), QUERIES):
        part = which[start : start + QUERIES]
        some_scores, some_positions = scores[part], positions[part]  # copies
        _blocked(
            multiply, queries[part], documents, margins[part], excluded, workers,
            some_scores, some_positions, sure[start : start + QUERIES],
        )  # fmt: skip
        scores[part], positions[part] = some_scores, some_positions
    return which[~sure]


def _blocked(
    multiply: Products | HalfProducts,
    queries: Floats,
    documents: Vectors,
    margins: npt.NDArray[np.float64],
    excluded: Positions,
    workers: int,
    scores: Floats,
    positions: Positions,
    sure: npt.NDArray[np.bool_],
) -> None:
    """Search one block of queries, compiled. BLAS has its own threads; ours share the rest by query."""
    from statim.kernels.search.top_k import keep, settle

    count, n = len(queries), len(documents)
    spare = min(n, scores.shape[1] + multiply.spare + scores.shape[1] // 8)
    kept_scores = np.full((count, spare), -np.inf, np.float32)
    kept_positions = np.full((count, spare), -1, np.int64)
    rows = pool.ranges(count, workers)
    multiply.begin(queries, DOCUMENTS)
    for start in range(0, n, DOCUMENTS):
        some = documents[start : start + DOCUMENTS]
        block = multiply(some)
        if not finite(block[0]):  # a document that is not finite spoils its column
            raise InputError(NOT_FINITE)
        left_out = (
            excluded[np.searchsorted(excluded, start) : np.searchsorted(excluded, start + len(some))] - start
        )
        block[:, left_out] = -np.inf if block.dtype == np.float32 else MINUS_INFINITY

        def offer(first: int, last: int, start: int = start, block: npt.NDArray[Any] = block) -> None:
            keep(block[first:last], start, kept_scores[first:last], kept_positions[first:last])

        _share(offer, rows, workers)
    margins = margins + multiply.error(kept_scores[:, 0])

    def finish(first: int, last: int) -> None:
        size = SETTLED if isinstance(documents, Rows) else max(1, last - first)
        for start in range(first, last, size):
            part = slice(start, min(start + size, last))
            wide, places, names = _widened(documents, kept_positions[part])
            settle(
                queries[part], wide, kept_scores[part], places, margins[part],
                scores[part], positions[part], sure[part],
            )  # fmt: skip
            if names is not None:
                positions[part] = names[positions[part]]

    _share(finish, rows, workers)


def settled(
    queries: Floats, documents: Vectors, kept: Positions, k: int, threads: int | None
) -> tuple[Floats, Positions]:
    """The best k of some candidates, scored as ``top_k`` does.

    Args:
        queries: (m, d) float32.
        documents: (n, d).
        kept: (m, c) int64, the candidates of each query, none twice; -1 for none.
        k: How many are wanted.
        threads: Threads to use.

    Returns:
        Scores and positions, (m, k), best first; -inf and -1 where there are no more.
    """
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    if len(queries) <= FEW_QUERIES and not compiled.ready():
        for i, query in enumerate(queries):
            _order(query, documents, np.sort(kept[i][kept[i] >= 0]), scores[i], positions[i])
        return scores, positions
    from statim.kernels.search.top_k import settle

    rough = np.zeros((len(queries), 1), np.float32)
    margins, sure = np.zeros(len(queries)), np.empty(len(queries), np.bool_)  # mean nothing here
    workers = pool.count(threads)

    def finish(first: int, last: int) -> None:
        for start in range(first, last, SETTLED):
            part = slice(start, min(start + SETTLED, last))
            wide, places, names = _widened(documents, kept[part])
            settle(
                queries[part], wide, rough[part], places, margins[part], scores[part], positions[part],
                sure[part]
            )  # fmt: skip
            if names is not None:
                positions[part] = names[positions[part]]

    _share(finish, pool.ranges(len(queries), workers), workers)
    return scores, positions


def _widened(documents: Vectors, kept: Positions) -> tuple[Floats, Positions, Positions | None]:
    """Documents in float32, the kept ones' places among them, and their positions; None if the same."""
    if not isinstance(documents, Rows):
        return documents, kept, None
    names = np.unique(kept)
    names = names[np.searchsorted(names, 0) :]
    places = np.where(kept < 0, -1, np.searchsorted(names, kept))
    return documents[names], places, np.append(names, -1)


def _share(function: Callable[[int, int], None], rows: list[tuple[int, int]], workers: int) -> None:
    pool.run([partial(function, first, last) for first, last in rows], workers)


def _alone(
    query: Floats,
    documents: Vectors,
    margin: float,
    excluded: Positions,
    scores: Floats,
    positions: Positions,
) -> None:
    """Search one query in plain numpy: all rough scores, then exact ones of candidates for the k best."""
    k = len(scores)
    rough = documents @ query if not isinstance(documents, Rows) else _by_parts(query, documents)
    if not np.isfinite(rough).all():
        raise InputError(NOT_FINITE)
    rough[excluded] = -np.inf
    border = np.partition(rough, len(rough) - k)[len(rough) - k]
    near = np.flatnonzero((rough >= border - 2 * margin) & (rough > -np.inf))
    if margin == 0.0:  # all scores are exactly 0
        near = near[:k]
    _order(query, documents, near, scores, positions)


def _by_parts(query: Floats, documents: Rows) -> Floats:
    """The products of a query with rows that are widened a block at a time, (n,)."""
    return np.concatenate([documents[s : s + DOCUMENTS] @ query for s in range(0, len(documents), DOCUMENTS)])


def _order(query: Floats, documents: Vectors, near: Positions, scores: Floats, positions: Positions) -> float:
    """Write the best of the documents at ``near``, ascending, by exact score; return the last, or -inf."""
    exact = _dots(query, documents, near)
    order = np.argsort(-exact, kind="stable")[: len(scores)]
    scores[:], positions[:] = -np.inf, -1
    scores[: len(order)], positions[: len(order)] = exact[order], near[order]
    return float(scores[-1])


def _dots(query: Floats, documents: Vectors, positions: Positions) -> Floats:
    """Dot products with the documents at ``positions``, in float64: the same for equal vectors anywhere."""
    wide = query.astype(np.float64)
    exact = np.empty(len(positions), np.float32)
    for start in range(0, len(positions), DOCUMENTS):
        part = slice(start, start + DOCUMENTS)
        exact[part] = (documents[positions[part]] * wide).sum(axis=1)
    return exact
