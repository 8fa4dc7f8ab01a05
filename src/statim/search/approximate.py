"""Approximate search of very many queries: an inverted file of product-quantized documents (faiss), scored again exactly.

Documents are clustered (IVF: Jégou et al., 2011); a query looks into the clusters whose centres are closest, at vectors of 4 bits
for three dimensions, 32 at a time (FastScan: André et al., 2015). What comes out best is scored in float64, as exact search does,
so scores are the same bits. How many clusters a query looks into is measured: on a sample of the queries, which are searched
exactly too, as few as find enough of what is really closest.
"""

import math
from typing import Any

import numpy as np

from statim import threads as pool
from statim.search.engine import Floats, Positions
from statim.search.exact import settled, top_k
from statim.search.packages import faiss_threads
from statim.search.tuning import DEPTH, least_effort

SAMPLE = 512  # queries
TRAINED = 40  # vectors a cluster that the clusters are learned from
SPARE = 4  # candidates for each that is asked for
WIDEST = 384  # dimensions that are quantized; of more, the principal ones
ADDED = 1 << 14  # documents added at a time: faiss makes copies of them
ROWS = 1 << 12  # queries searched at a time


def available() -> bool:
    """Is faiss installed?"""
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def fits(documents: Floats) -> bool:
    """Are there enough documents, of enough dimensions, for an index?"""
    return len(documents) >= 2000 and documents.shape[1] >= 8


def quantized(lists: int, d: int) -> str:
    """The inverted file's description, as faiss reads it: so many lists of vectors of d dimensions, in 4 bits for two or three."""
    width = min(WIDEST, d // 2 * 2)
    parts = width // 3 if width % 3 == 0 else width // 2
    return ("" if width == d else f"PCA{width},") + f"IVF{lists},PQ{parts}x4fs"


class Approximate:
    """An index of n documents for many queries at once.

    Args:
        documents: (n, d) float32, of length 1 or 0.
        sample: (s, d) float32, some of the queries, of length 1.
        k: How many documents each query will ask for.
        threads: Threads to use.

    Attributes:
        recall: Of the sample, the share of the DEPTH closest documents that is found; below RECALL where quantized vectors
            cannot tell them from others.

    Raises:
        DependencyError: faiss is not installed.
    """

    def __init__(self, documents: Floats, sample: Floats, k: int, *, threads: int | None = None) -> None:
        self._documents, self._threads = documents, pool.count(threads)
        n, d = documents.shape
        lists = 2 ** round(math.log2(1.6 * math.sqrt(n)))
        with faiss_threads(self._threads) as faiss:
            self._index: Any = faiss.index_factory(d, quantized(lists, d), faiss.METRIC_INNER_PRODUCT)
            self._lists = faiss.downcast_index(faiss.extract_index_ivf(self._index))
            self._lists.by_residual = False
            for clustering in (self._lists.cp, self._lists.pq.cp):
                clustering.niter, clustering.max_points_per_centroid = 6, TRAINED
            some = np.linspace(0, n - 1, min(n, lists * TRAINED)).astype(np.int64)
            self._index.train(documents[some])
            for start in range(0, n, ADDED):
                self._index.add(documents[start : start + ADDED])
        self.recall = self._tune(sample, k, lists)

    def __call__(self, queries: Floats, k: int) -> tuple[Floats, Positions]:
        """The k best documents that are found, as ``exact.top_k`` gives them; -inf and -1 where fewer are."""
        k = min(k, len(self._documents))
        scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), ROWS):
            part = slice(start, start + ROWS)
            with faiss_threads(self._threads):
                _, found = self._index.search(queries[part], min(SPARE * k, len(self._documents)))
            scores[part], positions[part] = settled(queries[part], self._documents, found, k, self._threads)
        return scores, positions

    def _tune(self, sample: Floats, k: int, lists: int) -> float:
        """Look into as few clusters as are enough; gives the recall."""
        depth = min(DEPTH, k)
        _, truth = top_k(sample, self._documents, depth, threads=self._threads)

        def recall(clusters: int) -> float:
            self._lists.nprobe = clusters
            _, found = self(sample, k)
            return (
                sum(float(np.isin(row, own).sum()) for row, own in zip(truth, found, strict=True))
                / truth.size
            )

        self._lists.nprobe, reached = least_effort(recall, max(1, lists // 8), lists)
        return reached
