"""Approximate search of many queries: cells of documents, screened in few bytes, rescored in full.

Documents lie in cells (k-means; an inverted file: Jégou et al., 2011). A query looks into the cells whose
centres are almost as close to it as the closest one's, and all queries that look into a cell are multiplied
with it together: in the principal dimensions, one byte a number, several hundred billion products a second
(see kernels/search/bytes.py). What comes out best is compared in all dimensions, in bytes, and the best of
that in float64, as exact search does, so scores are the same bits. How far a query looks is measured: on a
sample of the queries, which are searched exactly too, as little as finds enough of what is really closest.
"""

import math
from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.search.engines.exact_scores import settled
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.kmeans import beside, kmeans, nearest
from statim.search.engines.products import own_threads
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.screen import Kept, Panels, Rounded, sampled
from statim.search.engines.tuning import DEPTH, RECALL

SAMPLE = 1024  # queries
LEARNED = 1 << 14  # documents that principal dimensions are learned from
LEARNED_EACH = 32  # documents a cell that cells are learned from
ENERGY = 0.85  # of the documents' squared lengths, kept by the dimensions looked at first
CELLS = 1.0  # times the square root of the number of documents
COARSE, FINE = 24, 8  # candidates beyond those asked for: in few dimensions, and in all
MISSED = (0.008, 0.006, 0.004, 0.002, 0.0)  # shares of what is closest that may lie in cells not looked into
TRIES = 3  # that each take twice the candidates
ROWS = 1 << 11  # queries searched at a time by one thread


def fits(documents: Floats) -> bool:
    """Are there enough documents, of enough dimensions, for an index?"""
    return len(documents) >= 2000 and documents.shape[1] >= 8


class Approximate:
    """An index of n documents for many queries at once.

    Args:
        documents: (n, d) float32, of length 1 or 0.
        sample: (s, d) float32, some of the queries, of length 1.
        k: How many documents each query will ask for.
        threads: Threads to use.

    Attributes:
        recall: Of the sample, the share of the DEPTH closest documents that is found; below RECALL where even
            all cells and many candidates do not find enough.
    """

    def __init__(self, documents: Floats, sample: Floats, k: int, *, threads: int | None = None) -> None:
        from statim.kernels.search.bytes import PANEL

        self._documents, self._threads = documents, pool.count(threads)
        self._basis = principal(documents)
        few = documents @ self._basis
        cells = min(2 ** round(math.log2(CELLS * math.sqrt(len(documents)))), len(documents))
        self._centres = kmeans(few, few, cells, each=LEARNED_EACH, spread=False, threads=threads)
        own, _ = nearest(few, self._centres, threads=threads)
        self._whole = Rounded(documents, threads=threads)
        self._begins = self._whole.begins
        order, self._starts = in_cells(own, cells, PANEL)
        rounded = Rounded(few, threads=threads)
        self._panels = Panels(rounded, order, threads=threads)
        self._foresight = Panels(rounded, sampled(np.arange(len(few), dtype=np.int32)), threads=threads)
        del few, rounded
        self._coarse, self._margin = k + COARSE, 0.0
        self.recall = self._tune(sample, k, own)

    def __call__(self, queries: Floats, k: int) -> tuple[Floats, Positions]:
        """The k best documents that are found, as ``exact.top_k`` gives them.

        A query that finds fewer is searched exactly.
        """
        k = min(k, len(self._documents))
        scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        few = self._few(queries)
        order = np.argsort(nearest(few, self._centres, threads=self._threads)[0], kind="stable")

        def search(start: int) -> None:  # queries that are close to one another look at the same documents
            part = order[start : start + ROWS]
            asked = queries[part]
            found = self._candidates(asked, few[part], k)
            scores[part], positions[part] = settled(asked, self._documents, found, k, 1)

        with own_threads(queries):
            pool.run([partial(search, start) for start in range(0, len(queries), ROWS)], self._threads)
        short = np.flatnonzero(positions[:, k - 1] < 0)
        if len(short):
            scores[short], positions[short] = top_k(
                queries[short], self._documents, k, threads=self._threads, half=True
            )
        return scores, positions

    def _candidates(self, queries: Floats, few: Floats, k: int) -> Positions:
        """Documents that may be the k best of (b, d) queries, (b, c) int64; -1 for none."""
        from statim.kernels.search.best_bytes import narrow

        _, rows, cells = beside(few, self._centres, self._margin, threads=1)
        kept = Kept(Rounded(few, threads=1), self._coarse, self._foresight)
        kept.offer_cells(self._panels, self._starts, *by_cell(rows, cells, len(self._centres)))
        kept.tighten()
        places = np.empty((len(queries), min(k + FINE, self._coarse)), np.int64)
        asked = Rounded(queries, threads=1)
        whole = self._whole
        narrow(asked.rows, whole.rows, whole.scales, self._begins, kept.names, kept.counts, places)
        return places

    def _few(self, vectors: Floats) -> Floats:
        """Vectors in the dimensions that are looked at first."""
        few = np.empty((len(vectors), self._basis.shape[1]), np.float32)
        np.matmul(vectors, self._basis, out=few)
        return few

    def _tune(self, sample: Floats, k: int, own: npt.NDArray[np.int32]) -> float:
        """Look no further than is enough; gives the recall."""
        depth = min(DEPTH, k)
        least, truth = top_k(sample, self._documents, depth, threads=self._threads, half=True)
        close = self._few(sample) @ self._centres.T
        gaps = np.sort(
            (close.max(axis=1)[:, None] - np.take_along_axis(close, own[truth], axis=1)).reshape(-1)
        )
        recall = 0.0
        for _ in range(TRIES):
            for missed in MISSED:
                self._margin = float(gaps[max(0, math.ceil((1 - missed) * len(gaps)) - 1)]) + 1e-6
                scores, _ = self(sample, k)
                recall = float((scores[:, :depth] >= least[:, -1:]).mean())  # of equal ones any will do
                if recall >= RECALL:
                    return recall
            self._coarse *= 2
        return recall


def principal(documents: Floats) -> Floats:
    """The directions with ENERGY of the squared lengths: (d, m) float32, m a multiple of 16 or d."""
    n, d = documents.shape
    some = documents[np.linspace(0, n - 1, min(n, LEARNED)).astype(np.int64)]
    energies, directions = np.linalg.eigh((some.T @ some).astype(np.float64))
    energies = np.cumsum(energies[::-1].clip(0))
    m = int(np.searchsorted(energies, ENERGY * energies[-1])) + 1
    return np.ascontiguousarray(directions[:, ::-1][:, : min(d, -(-m // 16) * 16)], np.float32)


def in_cells(own: npt.NDArray[np.int32], cells: int, unit: int) -> tuple[npt.NDArray[np.int32], Positions]:
    """Documents by their cells.

    Args:
        own: (n,) the cell of each.
        cells: How many cells, c.
        unit: Each cell is filled up to a multiple of it.

    Returns:
        The order, int32, -1 where a cell is filled up; and where each cell begins and the last one ends, (c +
        1,) int64.
    """
    sizes = np.bincount(own, minlength=cells)
    starts = np.append(0, np.cumsum(-(-sizes // unit) * unit))
    members = np.argsort(own, kind="stable").astype(np.int32)
    order = np.full(int(starts[-1]), -1, np.int32)
    order[np.arange(len(own)) + np.repeat(starts[:-1] - np.append(0, np.cumsum(sizes))[:-1], sizes)] = members
    return order, starts


def by_cell(
    rows: npt.NDArray[np.int32], cells: npt.NDArray[np.int32], count: int
) -> tuple[npt.NDArray[np.int32], Positions]:
    """Queries by the cells they look into: those of cell c are [offsets[c], offsets[c + 1]) of the first."""
    short = cells.astype(np.uint16) if count <= 1 << 16 else cells  # numpy sorts those several times as fast
    order = np.argsort(short, kind="stable")
    return rows[order], np.append(0, np.cumsum(np.bincount(cells, minlength=count)))
