"""First stages by usearch: a graph (HNSW) over float32, float16, int8 or one bit a dimension.

HNSW: Malkov and Yashunin (2016).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError, StorageError
from statim.quantize import quantize_vectors
from statim.search.engines.packages import package
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.two_stage import Picked

FILE = "index.usearch"
ROWS = 1 << 14  # vectors added at a time
NARROWEST = 16  # way through the graph: its width says nothing below
NEIGHBOURS, CONSTRUCTION = 32, 128  # links of a vector, and how hard a place is looked for


class UsearchIndex:
    """See ``First``.

    Args:
        dim: The number of dimensions, d.
        kind: f32, f16, i8 or b1.
    """

    least, growth, foreign = 1000, float("inf"), True

    def __init__(self, dim: int, kind: str) -> None:
        self.effort, self._dim, self._kind = NARROWEST, dim, kind
        self._index: Any = None
        self._mapped = False

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    @property
    def over(self) -> float:
        """How many candidates; bits need most of what is looked at."""
        return max(1.0, self.effort / 10) if self._kind == "b1" else 1.5

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        self._index, self._mapped = self._empty(), False
        self.extend(vectors, threads)

    def extend(self, vectors: Picked, threads: int) -> bool:
        """See First."""
        if self._mapped:  # which cannot be changed
            self._index, self._mapped = self._index.copy(), False
        for start in range(0, len(vectors), ROWS):
            some = self._numbers(vectors[start : start + ROWS])
            first = len(self._index)
            self._index.add(np.arange(first, first + len(some), dtype=np.uint64), some, threads=threads)
        return True

    def efforts(self) -> tuple[int, int]:
        """The width of the way through the graph; see First."""
        return NARROWEST, 2048

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        count = min(count, len(self))
        self._index.expansion_search = max(self.effort, count, NARROWEST)
        matches = self._index.search(self._numbers(queries), count, threads=threads)
        keys = np.asarray(matches.keys).reshape(len(queries), -1)
        found: Positions = np.where(keys < len(self), keys, 0).astype(np.int64)
        found[keys >= len(self)] = -1
        counts = np.asarray(getattr(matches, "counts", [keys.shape[1]]))
        found[np.arange(found.shape[1]) >= counts[:, None]] = -1
        return found

    def save(self, folder: Path) -> None:
        """See First."""
        try:
            self._index.save(str(folder / FILE))
        except (RuntimeError, OSError) as error:
            raise StorageError(f"cannot write {folder / FILE}: {str(error)[:100]}") from None

    def load(self, folder: Path) -> None:
        """Map what was saved; see First."""
        index = self._empty()
        known = package("usearch.index").Index.metadata(str(folder / FILE))
        expected = {"dimensions": self._width, "kind_scalar": index.dtype, "kind_metric": index.metric_kind}
        if not known or any(known.get(name) != value for name, value in expected.items()):
            raise ModelError(
                f"{folder / FILE} holds another index than its engine has; build the index again"
            )
        try:
            index.view(str(folder / FILE))
        except RuntimeError as error:
            raise ModelError(
                f"{folder / FILE} is not an index of usearch ({str(error)[:100]}); build the index again"
            ) from None
        self._index, self._mapped = index, True

    @property
    def _width(self) -> int:
        """Numbers, or bits, of a vector."""
        return -(-self._dim // 8) * 8 if self._kind == "b1" else self._dim

    def _empty(self) -> Any:
        module = package("usearch.index")
        metric = module.MetricKind.Hamming if self._kind == "b1" else module.MetricKind.Cos
        return module.Index(
            ndim=self._width, metric=metric, dtype=self._kind, connectivity=NEIGHBOURS,
            expansion_add=CONSTRUCTION,
        )  # fmt: skip

    def _numbers(self, vectors: Floats) -> npt.NDArray[Any]:
        """Vectors as the index takes them."""
        if self._kind in ("f32", "f16"):
            return np.ascontiguousarray(vectors, np.float32 if self._kind == "f32" else np.float16)
        if self._kind == "i8":
            out = np.empty(vectors.shape, np.int8)
            quantize_vectors(vectors, "int8", out)
            return out
        return np.packbits(vectors > 0, axis=1)
