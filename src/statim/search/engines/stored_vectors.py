"""Stored vectors in fewer bytes, read as float32; and one pass over them for a few queries.

float16 loses about 2^-11 of each number. int8 has a scale for each row: its largest number is 127 times the
scale. Both are widened a block at a time, so that everything that is exact of float32 vectors is exact of
these, too.
"""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.quantize import quantize_table
from statim.search.engines import compiled
from statim.search.engines.protocol import Floats, Positions

STORAGES = ("float32", "float16", "int8")
SPARE = 24  # candidates kept beyond those asked for, since scores are rough


class Rows:
    """n vectors of d dimensions in float16 or int8, indexed as a float32 matrix by slices or positions.

    Args:
        data: (n, d) float16 or int8.
        scales: (n,) float32, what rows of int8 are multiplied by; empty for float16.
    """

    def __init__(self, data: npt.NDArray[Any], scales: Floats) -> None:
        self.data, self.scales = data, scales

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.data.shape[0], self.data.shape[1]

    def __getitem__(self, which: slice | Positions) -> Floats:
        wide = self.data[which].astype(np.float32)
        if len(self.scales):
            wide *= self.scales[which, None]
        return wide


Vectors = Floats | Rows


def from_on(vectors: Vectors, start: int) -> Vectors:
    """The vectors from a position on, not copied."""
    if isinstance(vectors, Rows):
        return Rows(vectors.data[start:], vectors.scales[start:])
    return vectors[start:]


def narrow(vectors: Floats, storage: str) -> Rows:
    """(n, d) float32 vectors of length 1 or 0 as ``storage``, float16 or int8."""
    data, scales = quantize_table(vectors, storage)
    return Rows(data, np.zeros(0, np.float32) if scales is None else scales)


def parts_of(vectors: Vectors) -> tuple[npt.NDArray[Any], Floats]:
    """The numbers as compiled code reads them, float16 as uint16; and the scales, empty for 1."""
    if isinstance(vectors, Rows):
        data = vectors.data.view(np.uint16) if vectors.data.dtype == np.float16 else vectors.data
        return data, vectors.scales
    return vectors, np.zeros(0, np.float32)


def one_pass(
    vectors: Vectors, queries: Floats, k: int, longest: float, excluded: Positions, threads: int
) -> tuple[Floats, Positions, Floats]:
    """The best of each query by rough scores, all queries in one pass over the vectors.

    Args:
        vectors: (n, d).
        queries: (m, d) float32; few.
        k: How many are wanted; some to spare are given.
        longest: No vector is longer.
        excluded: Positions to leave out, ascending.
        threads: Threads to use.

    Returns:
        Rough scores and positions, (m, K), in no order, -inf and -1 where there are no more; and (m,) the
        score that no vector that is not given exceeds, but for the rounding of float32 sums.

    Raises:
        FloatingPointError: A score is not finite.
    """
    from statim.kernels.int8_dot import FAST_BYTES
    from statim.kernels.int16_dot import BLOCK, WIDEST, to_digits
    from statim.kernels.search.scan import scan

    compiled.use()
    data, scales = parts_of(vectors)
    asked: npt.NDArray[Any] = queries
    by, lost = np.ones(len(queries)), np.zeros(len(queries))
    if data.dtype == np.int8 and FAST_BYTES and BLOCK <= data.shape[1] < WIDEST:
        asked, by, lost = to_digits(queries)
    ranges = pool.ranges(len(vectors), threads)
    spare = min(len(vectors), k + SPARE + k // 8)
    scores = np.full((len(ranges), len(queries), spare), -np.inf, np.float32)
    positions = np.full((len(ranges), len(queries), spare), -1, np.int64)
    straight = np.zeros((0, 2), np.float32)

    def work(part: int, first: int, last: int) -> bool:
        return bool(scan(data, scales, asked, straight, first, last, excluded, scores[part], positions[part]))

    tasks = [partial(work, part, *bounds) for part, bounds in enumerate(ranges)]
    if not all(pool.run(tasks, threads)):
        raise FloatingPointError
    scores *= by[:, None]
    worst = scores[:, :, 0].max(axis=0) + lost * longest
    return np.concatenate(list(scores), axis=1), np.concatenate(list(positions), axis=1), worst
