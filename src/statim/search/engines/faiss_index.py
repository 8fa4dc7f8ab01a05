"""First stages by faiss: flat, inverted file (IVF), graph (HNSW) and product quantization (PQ).

IVF: Jégou et al., 2011; HNSW: Malkov and Yashunin, 2016; product codes read 32 at a time: André et al., 2015.
The vectors are scored again, so IVF and HNSW hold them in one byte a number. None of them deletes.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from statim import threads as pool
from statim.errors import ModelError, StorageError
from statim.search.engines.packages import faiss_threads
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.tuning import cells_for
from statim.search.engines.two_stage import Picked

FILE = "index.faiss"
NEIGHBOURS, CONSTRUCTION = 32, 100  # of a graph: links of a vector, and how hard a place is looked for
NARROWEST = 16  # way through a graph
TRAINED = 40  # vectors a cluster that the clusters are learned from
WIDEST = 384  # dimensions that are quantized; of more, the principal ones
ADDED = 1 << 14  # vectors added at a time: faiss makes copies of them

CLASSES = {
    "flat": ("IndexFlat", "IndexFlatIP"),
    "ivf": ("IndexIVFScalarQuantizer",),
    "hnsw": ("IndexHNSWSQ",),
    "pq": ("IndexIVFPQ", "IndexIVFPQFastScan", "IndexPreTransform"),
}


class FaissIndex:
    """See ``First``.

    Args:
        dim: The number of dimensions, d.
        kind: flat, ivf, hnsw or pq.
    """

    foreign = True

    def __init__(self, dim: int, kind: str) -> None:
        self.effort, self._dim, self._kind = 1, dim, kind
        self.least = 1 if kind == "flat" else 1000
        # clusters are learned from the first vectors
        self.growth = 4.0 if kind in ("ivf", "pq") else math.inf
        self._index: Any = None

    def __len__(self) -> int:
        return 0 if self._index is None else int(self._index.ntotal)

    @property
    def over(self) -> float:
        """See First."""
        return {"flat": 1.0, "pq": 16.0}.get(self._kind, 1.5)

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        n = len(vectors)
        lists = 2 ** round(math.log2(1.6 * math.sqrt(n)))
        name = {
            "flat": "Flat",
            "ivf": f"IVF{lists},SQ8",
            "hnsw": f"HNSW{NEIGHBOURS},SQ8",
            "pq": quantized(lists, self._dim) if self._dim > 1 else f"IVF{lists},PQ1x4",
        }[self._kind]
        with faiss_threads(threads) as faiss:
            self._index = faiss.index_factory(self._dim, name, faiss.METRIC_INNER_PRODUCT)
            if self._kind == "hnsw":
                self._index.hnsw.efConstruction = CONSTRUCTION
            if self._kind in ("ivf", "pq"):
                inverted = self._inverted(faiss)
                inverted.cp.niter, inverted.cp.max_points_per_centroid = 6, TRAINED
                inverted.cp.min_points_per_centroid = 1  # else faiss writes a warning
            if self._kind == "pq":
                inverted.by_residual = False
                inverted.pq.cp.niter = 6
            if self._kind != "flat":
                every = max(1, n // (lists * TRAINED))
                sample = [vectors[s : s + ADDED][::every] for s in range(0, n, ADDED)]
                self._index.train(np.concatenate(sample))
        self.extend(vectors, threads)

    def extend(self, vectors: Picked, threads: int) -> bool:
        """See First."""
        with faiss_threads(threads):
            for start in range(0, len(vectors), ADDED):
                self._index.add(np.ascontiguousarray(vectors[start : start + ADDED]))
        return True

    def efforts(self) -> tuple[int, int]:
        """The lists that are looked into, or the width of the way through the graph; see First."""
        with faiss_threads(pool.count()) as faiss:
            if self._kind in ("ivf", "pq"):
                lists = int(self._inverted(faiss).nlist)
                return max(1, lists // 32), lists
        return (NARROWEST, 2048) if self._kind == "hnsw" else (1, 1)

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        with faiss_threads(threads) as faiss:
            options = None
            if self._kind == "hnsw":
                options = faiss.SearchParametersHNSW(efSearch=max(self.effort, count, NARROWEST))
            elif self._kind in ("ivf", "pq"):
                inverted = self._inverted(faiss)
                wanted = math.ceil(count / self.over)
                inverted.nprobe = max(self.effort, cells_for(wanted, inverted.nlist, len(self)))
            _, found = self._index.search(queries, count, params=options)
        positions: Positions = found
        return positions

    def save(self, folder: Path) -> None:
        """See First."""
        with faiss_threads(pool.count()) as faiss:
            try:
                faiss.write_index(self._index, str(folder / FILE))
            except RuntimeError as error:
                raise StorageError(f"cannot write {folder / FILE}: {str(error)[-100:]}") from None

    def load(self, folder: Path) -> None:
        """See First."""
        with faiss_threads(pool.count()) as faiss:
            try:
                self._index = faiss.read_index(str(folder / FILE))
                right = self._index.d == self._dim and self._index.is_trained
                right &= type(self._index).__name__ in CLASSES[self._kind]
            except RuntimeError as error:
                raise ModelError(
                    f"{folder / FILE} is not an index of faiss ({str(error)[-100:]}); build the index again"
                ) from None
        if not right:
            raise ModelError(
                f"{folder / FILE} holds another index than its engine has; build the index again"
            )

    def _inverted(self, faiss: Any) -> Any:
        """The inverted file, which may stand behind a change of axes."""
        return faiss.downcast_index(faiss.extract_index_ivf(self._index))


def quantized(lists: int, d: int) -> str:
    """The faiss description of an inverted file: its lists, and 4 bits for every two or three dimensions."""
    width = min(WIDEST, d // 2 * 2)
    parts = width // 3 if width % 3 == 0 else width // 2
    return ("" if width == d else f"PCA{width},") + f"IVF{lists},PQ{parts}x4fs"
