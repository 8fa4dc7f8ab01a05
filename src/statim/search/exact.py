"""Exact search: every query against every vector, in blocks, so that no (m, n) matrix ever exists.

A block of scores is a float32 matrix product, of which each query keeps its best k and some to spare. What was kept is
scored again in float64. So a score depends on its two vectors alone, not on how BLAS cut the work, how many threads it
had or what else was asked; equal vectors have equal scores; and ties go to the lower position. A query whose spare
documents could not rule out the rest (dozens of near-copies at the border) is searched once more by itself.

Where bfloat16 products are faster, they may come first (``half``): with a bound of what rounding does to a score (see products.py) most
queries are settled by them, for good, and the others are searched again in float32.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError, ModelError
from statim.files import atomic_file
from statim.search.blas import limited
from statim.search.engine import Floats, Positions, check_k
from statim.search.products import MINUS_INFINITY, HalfProducts, Products, finite, has_half, torch_threads

QUERIES, DOCUMENTS = 2048, 2048  # a block of scores: 16 MB
FEW = 1 << 30  # multiplications that plain numpy does before compiled code would be loaded
MUCH = 1 << 37  # multiplications from which torch is worth its loading: a second or two in float32
NOT_FINITE = "the documents' vectors hold NaN or infinities, or numbers too large to multiply; make them anew"
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<i8)', 'fortran_order': False, 'shape': \(([0-9, ]{1,60})\), \} *\n",
    re.DOTALL,
)


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
        half: Where there is much to do, and the processor and torch can, multiply in bfloat16 first. The result is the same.

    Returns:
        Scores, (m, min(k, n)) float32, falling, and positions in ``documents``, (m, min(k, n)) int64. Equal scores are in
        the order of their positions. A zero vector scores 0.

    Raises:
        InputError: The dimensions differ, a number is NaN or infinite, or k is below 1.
    """
    asked, given = matrix(queries, "the queries"), matrix(documents, "the documents' vectors")
    if asked.shape[1] != given.shape[1]:
        raise InputError(
            f"the queries have {asked.shape[1]} dimensions and the documents {given.shape[1]}; they must agree"
        )
    longest = max(
        (float(lengths(given[s : s + DOCUMENTS]).max()) for s in range(0, len(given), DOCUMENTS)), default=0.0
    )
    if not np.isfinite(longest):
        raise InputError(NOT_FINITE)
    return _search(asked, given, check_k(k), longest, np.zeros(0, np.int64), threads, half)


class Exact:
    """An engine (see engine.py) that compares with every vector, by cosine.

    Vectors are scaled to length 1 when they are added. A zero vector is like nothing: it is never found, and as a query
    finds nothing.

    Args:
        dim: The number of dimensions, d.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._blocks: list[Floats] = []
        self._excluded = np.zeros(0, np.int64)  # the positions of zero vectors, ascending

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def vectors(self) -> Floats:
        """The vectors, (n, d) float32 of length 1 or 0; possibly read-only."""
        if len(self._blocks) != 1:
            self._blocks = [np.concatenate([np.zeros((0, self.dim), np.float32), *self._blocks])]
        return self._blocks[0]

    def add(self, vectors: npt.ArrayLike) -> None:
        """Add n vectors at the positions that follow; see Engine."""
        given = self._matching(vectors, "the vectors")
        given, zero = unit(given)
        self._excluded = np.concatenate([self._excluded, len(self) + np.flatnonzero(zero)])
        self._blocks.append(given)

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest documents of each query; see Engine."""
        asked, zero = unit(self._matching(queries, "the queries"))
        k = check_k(k)
        try:
            scores, positions = _search(asked, self.vectors, k, 1.0, self._excluded, threads)
        except InputError as error:  # add() lets no such vectors in, so the file was damaged
            raise ModelError(f"the index is damaged: {error}") from None
        scores[zero] = -np.inf
        positions[scores == -np.inf] = -1
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of some documents with each query; see Engine."""
        asked, _ = unit(self._matching(queries, "the queries"))
        scores = np.zeros(positions.shape, np.float32)
        for query, row, out in zip(asked, positions, scores, strict=True):
            there = row >= 0
            out[there] = _dots(query, self.vectors, row[there])
        return scores

    def save(self, folder: Path) -> None:
        """Write into ``folder``; see Engine."""
        _write(folder / "vectors.npy", "<f4", (len(self), self.dim), self._blocks)
        _write(folder / "zeros.npy", "<i8", self._excluded.shape, [self._excluded])

    @staticmethod
    def load(folder: Path) -> "Exact":
        """Map what ``save`` wrote; see Engine."""
        vectors = _read(folder / "vectors.npy", "<f4", 2)
        excluded = _read(folder / "zeros.npy", "<i8", 1)
        if len(excluded) and not (
            excluded[0] >= 0 and excluded[-1] < len(vectors) and (np.diff(excluded) > 0).all()
        ):
            raise ModelError(
                f"{folder / 'zeros.npy'} does not fit {folder / 'vectors.npy'}; build the index anew"
            )
        engine = Exact(vectors.shape[1])
        engine._blocks, engine._excluded = [vectors], excluded
        return engine

    def _matching(self, vectors: npt.ArrayLike, name: str) -> Floats:
        given = matrix(vectors, name)
        if given.shape[1] != self.dim:
            raise InputError(f"{name} have {given.shape[1]} dimensions; this index has {self.dim}")
        return given


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


def _search(
    queries: Floats,
    documents: Floats,
    k: int,
    longest: float,
    excluded: Positions,
    threads: int | None,
    half: bool = False,
) -> tuple[Floats, Positions]:
    """``top_k`` without the positions in ``excluded`` (ascending); -inf and -1 where too few are left."""
    k = min(k, len(documents))
    long = lengths(queries)
    if not np.isfinite(long).all():
        raise InputError("the queries hold NaN or infinities; every number must be finite")
    # Eight standard deviations of the rounding of a float32 sum of d terms; up to d = 64 it is the bound for any order.
    margins = 8 * np.sqrt(documents.shape[1]) * 2.0**-24 * long * longest
    scores = np.empty((len(queries), k), np.float32)
    positions = np.empty((len(queries), k), np.int64)
    if k == 0 or len(queries) == 0:
        return scores, positions
    with limited(threads), np.errstate(all="ignore"):
        if len(queries) == 1 or queries.size * len(documents) <= FEW:
            unsure: npt.NDArray[np.int64] = np.arange(len(queries))
        else:
            workers, unsure = pool.count(threads), np.arange(len(queries))
            if half and queries.size * len(documents) >= MUCH and has_half():
                with torch_threads(workers):
                    unsure = _in_blocks(
                        HalfProducts,
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
                    Products, queries, documents, margins, excluded, workers, scores, positions, unsure
                )
        for i in unsure:
            _alone(queries[i], documents, float(margins[i]), excluded, scores[i], positions[i])
    return scores, positions


def _in_blocks(
    products: type[Products] | type[HalfProducts],
    queries: Floats,
    documents: Floats,
    margins: npt.NDArray[np.float64],
    excluded: Positions,
    workers: int,
    scores: Floats,
    positions: Positions,
    which: Positions,
) -> Positions:
    """Search the queries at ``which``; gives those whose result is not certain."""
    multiply, sure = products(documents), np.zeros(len(which), np.bool_)
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
    documents: Floats,
    margins: npt.NDArray[np.float64],
    excluded: Positions,
    workers: int,
    scores: Floats,
    positions: Positions,
    sure: npt.NDArray[np.bool_],
) -> None:
    """Search one block of queries, compiled. BLAS has threads of its own; the rest is shared among ours by query."""
    from statim.kernels.top_k import keep, settle

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
        part = slice(first, last)
        settle(
            queries[part], documents, kept_scores[part], kept_positions[part], margins[part],
            scores[part], positions[part], sure[part],
        )  # fmt: skip

    _share(finish, rows, workers)


def _share(function: Callable[[int, int], None], rows: list[tuple[int, int]], workers: int) -> None:
    pool.run([partial(function, first, last) for first, last in rows], workers)


def _alone(
    query: Floats, documents: Floats, margin: float, excluded: Positions, scores: Floats, positions: Positions
) -> None:
    """Search one query in plain numpy: all rough scores, then the exact ones of all that may belong to the k best."""
    k = len(scores)
    rough = documents @ query
    if not np.isfinite(rough).all():
        raise InputError(NOT_FINITE)
    rough[excluded] = -np.inf
    border = np.partition(rough, len(rough) - k)[len(rough) - k]
    near = np.flatnonzero((rough >= border - 2 * margin) & (rough > -np.inf))
    if margin == 0.0:  # all scores are exactly 0
        near = near[:k]
    exact = _dots(query, documents, near)
    order = np.argsort(-exact, kind="stable")[:k]
    scores[:], positions[:] = -np.inf, -1
    scores[: len(order)], positions[: len(order)] = exact[order], near[order]


def _dots(query: Floats, documents: Floats, positions: Positions) -> Floats:
    """Dot products with the documents at ``positions``, in float64: the same for equal vectors, wherever they stand."""
    wide = query.astype(np.float64)
    exact = np.empty(len(positions), np.float32)
    for start in range(0, len(positions), DOCUMENTS):
        part = slice(start, start + DOCUMENTS)
        exact[part] = (documents[positions[part]] * wide).sum(axis=1)
    return exact


def _write(path: Path, dtype: str, shape: tuple[int, ...], blocks: Sequence[npt.NDArray[Any]]) -> None:
    """Write one .npy file from its parts, atomically."""
    with atomic_file(path) as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def _read(path: Path, dtype: str, dimensions: int) -> npt.NDArray[Any]:
    """Map what ``_write`` wrote. numpy's own reader would parse any Python literal, this one knows just that header.

    Raises:
        ModelError: The file is missing, truncated, or holds something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the folder is not a whole index") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    header = _HEADER.match(start)
    if header is None or header[1].decode() != dtype:
        raise ModelError(f"{path} is not such an array as an index has; build the index anew")
    shape = tuple(int(number) for number in header[2].split(b",") if number.strip())
    fits = size == header.end() + math.prod(shape) * np.dtype(dtype).itemsize
    if len(shape) != dimensions or max(shape) >= 1 << 48 or not fits:
        raise ModelError(
            f"{path} has {size:,} bytes, which does not fit its shape {shape}; build the index anew"
        )
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", header.end(), shape))
