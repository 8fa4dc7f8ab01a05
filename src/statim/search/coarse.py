"""First passes over every vector, on less of each: its first dimensions, fewer bytes a number, or one bit."""

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import ModelError
from statim.search.arrays import read_array, write_array
from statim.search.engine import Floats, Positions
from statim.search.exact import Exact
from statim.search.rescored import Picked

ROWS = 1 << 14  # vectors at a time
QUERIES = 64  # that bits are compared with in one pass
SEED = 7


class Coarse:
    """The first dimensions of every vector, in few bytes: the funnel of Matryoshka vectors (Kusupati et al., 2022); see ``First``.

    Args:
        few: How many dimensions.
        storage: See ``Exact``.
    """

    least, growth, foreign = 1, float("inf"), False

    def __init__(self, few: int, storage: str) -> None:
        self.effort, self._few, self._storage = 2, few, storage
        self._exact = Exact(few, storage)

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def over(self) -> float:
        """The effort is how many candidates there are for each result."""
        return self.effort

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        self._exact = Exact(self._few, self._storage)
        self.extend(vectors, threads)

    def extend(self, vectors: Picked, threads: int) -> bool:  # noqa: ARG002
        """See First."""
        for start in range(0, len(vectors), ROWS):
            self._exact.add(vectors[start : start + ROWS][:, : self._few])
        return True

    def efforts(self) -> tuple[int, int]:
        """See First."""
        return 2, 256

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        return self._exact.search(queries[:, : self._few], count, threads=threads)[1]

    def save(self, folder: Path) -> None:
        """See First."""
        self._exact.save(folder)

    def load(self, folder: Path) -> None:
        """See First."""
        self._exact = Exact.load(folder)
        if (self._exact.dim, self._exact.storage) != (self._few, self._storage):
            raise ModelError(f"{folder} holds other vectors than its engine has; build the index anew")


class Bits:
    """One bit a dimension, compared by how many differ; see ``First``.

    Vectors are rotated at random first, so that each bit is the side of a random hyperplane on which a vector lies (Charikar, 2002):
    the axes of a principal component analysis carry very different parts of a vector, and one bit each would count them alike.

    Args:
        dim: The number of dimensions, d.
    """

    least, growth, foreign = 1, float("inf"), False

    def __init__(self, dim: int) -> None:
        self.effort = 8
        made, _ = np.linalg.qr(np.random.Generator(np.random.Philox(SEED)).standard_normal((dim, dim)))
        self._rotation = np.ascontiguousarray(made, np.float32)
        self._blocks = [np.zeros((0, -(-dim // 64)), np.uint64)]

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def over(self) -> float:
        """The effort is how many candidates there are for each result."""
        return self.effort

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        self._blocks = [self._blocks[0][:0]]
        self.extend(vectors, threads)

    def extend(self, vectors: Picked, threads: int) -> bool:  # noqa: ARG002
        """See First."""
        self._blocks += [self._bits(vectors[s : s + ROWS]) for s in range(0, len(vectors), ROWS)]
        return True

    def efforts(self) -> tuple[int, int]:
        """See First."""
        return 8, 512

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        from statim.kernels.scan import scan

        rows, asked = self._rows, self._bits(queries)
        same, nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
        ranges = pool.ranges(len(rows), threads)
        out = np.full((len(queries), count), -1, np.int64)
        for start in range(0, len(queries), QUERIES):
            some = asked[start : start + QUERIES]
            scores = np.full((len(ranges), len(some), count), -np.inf, np.float32)
            positions = np.full(scores.shape, -1, np.int64)

            tasks = [
                partial(scan, rows, same, some, *bounds, nothing, scores[part], positions[part])
                for part, bounds in enumerate(ranges)
            ]
            pool.run(tasks, threads)
            together, where = np.concatenate(list(scores), axis=1), np.concatenate(list(positions), axis=1)
            if len(ranges) > 1:
                best = np.lexsort((where, -together), axis=1)[:, :count]  # however many threads there were
                where = np.take_along_axis(where, best, axis=1)
            out[start : start + QUERIES] = where
        return out

    def save(self, folder: Path) -> None:
        """See First."""
        write_array(folder / "rotation.npy", "<f4", self._rotation.shape, [self._rotation])
        write_array(folder / "bits.npy", "<u8", self._rows.shape, [self._rows])

    def load(self, folder: Path) -> None:
        """See First."""
        rotation, rows = (
            read_array(folder / "rotation.npy", ["<f4"], 2),
            read_array(folder / "bits.npy", ["<u8"], 2),
        )
        if rotation.shape != self._rotation.shape or rows.shape[1] != self._blocks[0].shape[1]:
            raise ModelError(f"{folder} holds other vectors than its engine has; build the index anew")
        self._rotation, self._blocks = np.array(rotation), [rows]

    @property
    def _rows(self) -> npt.NDArray[np.uint64]:
        """(n, ceil(d / 64)) uint64."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0]

    def _bits(self, vectors: Floats) -> npt.NDArray[np.uint64]:
        packed = np.packbits(vectors @ self._rotation > 0, axis=1)
        words = np.zeros((len(vectors), 8 * self._blocks[0].shape[1]), np.uint8)
        words[:, : packed.shape[1]] = packed
        return words.view(np.uint64)
