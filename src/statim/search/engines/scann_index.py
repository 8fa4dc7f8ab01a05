"""A first pass by ScaNN: clusters, and product codes learned for inner products (Guo et al., 2020).

ScaNN's own loader would unpickle a file of names if one lies there. It is never called: the searcher is made
from its files directly, which hold protocol buffers and arrays alone. It can add to a searcher only under
names of its own, so it is built again instead.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import ModelError, StorageError
from statim.search.engines.packages import allowed, package
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.tuning import cells_for
from statim.search.engines.two_stage import Picked

ASSETS = "scann_assets.pbtxt"
MODULE = "scann.scann_ops.py.scann_ops_pybind"
TOGETHER = 64  # queries that one thread takes at a time


class ScannIndex:
    """See ``First``. What is added stays outside, searched exactly, until it is an eighth of all.

    Args:
        dim: The number of dimensions, d.
    """

    least, growth, foreign, over = 1000, 1.125, True, 8.0

    def __init__(self, dim: int) -> None:
        self.effort, self._dim = 1, dim
        self._searcher: Any = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def _leaves(self) -> int:
        """Clusters."""
        return int(max(1, 2 ** round(math.log2(1.2 * math.sqrt(max(1, self._count))))))

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        module, n = package(MODULE), len(vectors)
        threads = allowed("scann", threads)
        self._count = n
        builder = module.builder(np.ascontiguousarray(vectors[0:n]), 10, "dot_product")
        builder.set_n_training_threads(threads).tree(
            num_leaves=self._leaves,
            num_leaves_to_search=1,
            training_sample_size=min(n, 40 * self._leaves),
            training_iterations=6,
        ).score_ah(2, anisotropic_quantization_threshold=0.2, training_sample_size=min(n, 50_000))
        self._searcher = builder.build()

    def extend(self, vectors: Picked, threads: int) -> bool:  # noqa: ARG002
        """See First."""
        return False

    def efforts(self) -> tuple[int, int]:
        """The clusters that are looked into; see First."""
        return max(1, self._leaves // 32), self._leaves

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        leaves = max(self.effort, cells_for(math.ceil(count / self.over), self._leaves, self._count))
        options: dict[str, Any] = {
            "final_num_neighbors": count, "pre_reorder_num_neighbors": count, "leaves_to_search": leaves,
        }  # fmt: skip
        threads = allowed("scann", threads)
        if threads > 1 and len(queries) > TOGETHER:
            self._searcher.set_num_threads(threads)
            found, scores = self._searcher.search_batched_parallel(queries, batch_size=TOGETHER, **options)
        else:
            found, scores = self._searcher.search_batched(queries, **options)
        positions: Positions = np.asarray(found).astype(np.int64)
        wrong = ~np.isfinite(np.asarray(scores)) | (positions >= self._count)
        positions[wrong] = -1
        return positions

    def save(self, folder: Path) -> None:
        """See First."""
        try:
            self._searcher.serialize(str(folder), relative_path=True)
        except (RuntimeError, ValueError) as error:
            raise StorageError(f"cannot write {folder}: {str(error)[:100]}") from None

    def load(self, folder: Path) -> None:
        """See First."""
        module = package(MODULE)
        try:
            assets = (folder / ASSETS).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ModelError(f"{folder / ASSETS} is missing or damaged; build the index again") from None
        paths = re.findall(r'asset_path:\s*"([^"]*)"', assets)
        if not paths or any("/" in path or not (folder / path).is_file() for path in paths):
            raise ModelError(f"{folder / ASSETS} names files that are not there; build the index again")
        try:
            searcher = module.scann_pybind.ScannNumpy(str(folder), assets)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{folder} is not an index of ScaNN ({str(error)[:100]}); build the index again"
            ) from None
        self._searcher = module.ScannSearcher(searcher)
        self._count = int(self._searcher.size())
