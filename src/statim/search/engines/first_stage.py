"""First passes over every vector, on less of each: its first dimensions, fewer bytes a number, or one bit."""

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import ModelError
from statim.search.engines import compiled
from statim.search.engines.array_files import read_array, write_array
from statim.search.engines.exact import Exact
from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.two_stage import Picked

ROWS = 1 << 14  # vectors at a time
QUERIES = 64  # that bits are compared with in one pass
# squared length of the mean, about the mean cosine, from which bits are those of vectors less the mean
SHARED = 0.1
SHORTEST = 1e-6  # a query less the mean is taken to be so long, at least
SEED = 7


class Coarse:
    """The first dimensions of every vector in few bytes: the Matryoshka funnel; see ``First``.

    Kusupati et al. (2022).

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
            raise ModelError(f"{folder} holds other vectors than its engine has; build the index again")


class Bits:
    """One bit a dimension, compared by how many differ; see ``First``.

    Vectors are rotated at random first, so that each bit is the side of a random hyperplane on which a vector
    lies (Charikar, 2002): the axes of a principal component analysis carry very different parts of a vector,
    and one bit each would count them alike.

    Where vectors share a direction, most of them lie on one side of most hyperplanes, and bits say little.
    Then their mean is subtracted first, from queries too. That changes lengths, on which the cosine of what
    was there before depends: for x of length 1 and x' = x - c, cos(q, x) is |q'| |x'| cos(q', x') - |x'|^2 /
    2 and what does not depend on x. Bits tell the angle between q' and x'; each vector's |x'| is kept beside
    them.

    Args:
        dim: The number of dimensions, d.
    """

    least, growth, foreign = 1, 4.0, False  # the mean is that of what it is built from

    def __init__(self, dim: int) -> None:
        self.effort, self._dim = 8, dim
        made, _ = np.linalg.qr(np.random.Generator(np.random.Philox(SEED)).standard_normal((dim, dim)))
        self._rotation = np.ascontiguousarray(made, np.float32)
        self._centre: Floats | None = None
        self._blocks = [np.zeros((0, -(-dim // 64)), np.uint64)]
        self._lengths = [np.zeros(0, np.float32)]

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def over(self) -> float:
        """The effort is how many candidates there are for each result."""
        return self.effort

    def build(self, vectors: Picked, threads: int) -> None:
        """See First."""
        self._centre, self._blocks, self._lengths = None, [self._blocks[0][:0]], [self._lengths[0][:0]]
        starts = range(0, len(vectors), ROWS)
        mean = sum((vectors[s : s + ROWS].sum(axis=0, dtype=np.float64) for s in starts), np.zeros(self._dim))
        mean /= max(1, len(vectors))
        if mean @ mean >= SHARED:
            self._centre = mean.astype(np.float32)
        self.extend(vectors, threads)

    def extend(self, vectors: Picked, threads: int) -> bool:  # noqa: ARG002
        """See First."""
        for start in range(0, len(vectors), ROWS):
            bits, lengths = self._bits(vectors[start : start + ROWS])
            self._blocks.append(bits)
            self._lengths.append(lengths)
        return True

    def efforts(self) -> tuple[int, int]:
        """See First."""
        return 8, 512

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """See First."""
        from statim.kernels.search.scan import scan

        compiled.use()
        rows, lengths = self._joined()
        asked, long = self._bits(queries)
        lines = np.zeros((0, 2), np.float32)
        if self._centre is not None:
            lines = self._lines(long)
        nothing = np.zeros(0, np.int64)
        ranges = pool.ranges(len(rows), threads)
        out = np.full((len(queries), count), -1, np.int64)
        for start in range(0, len(queries), QUERIES):
            some = asked[start : start + QUERIES]
            scores = np.full((len(ranges), len(some), count), -np.inf, np.float32)
            positions = np.full(scores.shape, -1, np.int64)
            straight = lines[start : start + QUERIES]
            tasks = [
                partial(scan, rows, lengths, some, straight, *bounds, nothing, scores[part], positions[part])
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
        rows, lengths = self._joined()
        write_array(folder / "rotation.npy", "<f4", self._rotation.shape, [self._rotation])
        write_array(folder / "bits.npy", "<u8", rows.shape, [rows])
        if self._centre is not None:
            write_array(folder / "centre.npy", "<f4", self._centre.shape, [self._centre])
            write_array(folder / "lengths.npy", "<f4", lengths.shape, [lengths])

    def load(self, folder: Path) -> None:
        """See First. What has no centre was made without one."""
        rotation, rows = (
            read_array(folder / "rotation.npy", ["<f4"], 2),
            read_array(folder / "bits.npy", ["<u8"], 2),
        )
        fits = rotation.shape == self._rotation.shape and rows.shape[1] == self._blocks[0].shape[1]
        lengths = self._lengths[0]
        if (folder / "centre.npy").is_file():
            centre = np.array(read_array(folder / "centre.npy", ["<f4"], 1))
            lengths = read_array(folder / "lengths.npy", ["<f4"], 1)
            fits = fits and len(centre) == self._dim and len(lengths) == len(rows)
            self._centre = centre
        if not fits:
            raise ModelError(f"{folder} holds other vectors than its engine has; build the index again")
        self._rotation, self._blocks, self._lengths = np.array(rotation), [rows], [lengths]

    def _joined(self) -> tuple[npt.NDArray[np.uint64], Floats]:
        """Bits, (n, ceil(d / 64)) uint64, and lengths, (n,) float32, or (0,) without a centre."""
        if len(self._blocks) > 1:
            self._blocks, self._lengths = [np.concatenate(self._blocks)], [np.concatenate(self._lengths)]
        return self._blocks[0], self._lengths[0]

    def _bits(self, vectors: Floats) -> tuple[npt.NDArray[np.uint64], Floats]:
        """Bits and lengths of vectors less the centre."""
        lengths = self._lengths[0][:0]
        if self._centre is not None:
            vectors = vectors - self._centre
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        packed = np.packbits(vectors @ self._rotation > 0, axis=1)
        words = np.zeros((len(vectors), 8 * self._blocks[0].shape[1]), np.uint8)
        words[:, : packed.shape[1]] = packed
        return words.view(np.uint64), lengths

    def _lines(self, long: Floats) -> Floats:
        """Scores of bits (see ``scan``) for query lengths: cosines of angles as if evenly distributed."""
        lines = np.empty((len(long), 2), np.float32)
        lines[:, 0] = self._dim / 2
        lines[:, 1] = self._dim / (2 * np.pi * np.maximum(long, SHORTEST))
        return lines
