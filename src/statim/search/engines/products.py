"""Blocks of scores: matrix products in float32 by numpy, or in bfloat16 by torch, at twice the rate or more.

torch is given one thread, and the work is cut among ours: threads of its own do not survive a fork, and a
child would wait for them for ever. For the same reason torch does not round to bfloat16 here.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.search.engines.blas import limited
from statim.search.engines.protocol import Floats

ROWS = 1 << 13  # documents looked at in one go
SLACK = 1 + 1e-5  # for the rounding of float32 lengths
MINUS_INFINITY = np.int16(-128)  # 0xFF80, the upper half of float32's


class Products:
    """The products of blocks of queries with blocks of documents.

    Attributes:
        spare: So many candidates are kept beyond those asked for, since scores are rough.
    """

    spare = 32

    def __init__(self) -> None:
        self._queries: Floats = np.empty((0, 0), np.float32)
        self._space: Floats = np.empty(0, np.float32)

    def begin(self, queries: Floats, most: int) -> None:
        """Take a block of queries, (b, d) float32, to multiply with ``most`` documents at a time."""
        self._queries, self._space = queries, np.empty(len(queries) * most, np.float32)

    def __call__(self, documents: Floats) -> Floats:
        """(b, c) float32, valid until the next call."""
        block = self._space[: len(self._queries) * len(documents)].reshape(-1, len(documents))
        np.matmul(self._queries, documents.T, out=block)
        return block

    def error(self, worst: Floats) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """By how much rounding of the numbers before they are multiplied may change scores: not at all."""
        return np.zeros(len(self._queries))


class HalfProducts:
    """The same in bfloat16, with a bound of its error.

    Where v' is v rounded, |q'd' - qd| <= |q' - q| |d'| + |q| |d' - d| (Cauchy and Schwarz), of which all
    lengths are known. The score itself is rounded by at most 2^-8 of what is left of it.

    Args:
        documents: (n, d) float32, all that will be multiplied.
        workers: Threads to use.
    """

    spare = 96

    def __init__(self, documents: Floats, workers: int) -> None:
        self._workers, self._longest, self._most_lost = workers, 0.0, 0.0
        self._lost, self._long = np.zeros(0), np.zeros(0)
        self._half, self._space = np.empty((0, 0), np.int16), np.empty(0, np.int16)
        for start in range(0, len(documents), ROWS):
            some = documents[start : start + ROWS]
            _, lost = halved(some)
            longest = (np.linalg.norm(some, axis=1) + lost).max()  # rounded, no vector is longer than that
            self._longest = max(self._longest, float(longest) * SLACK)
            self._most_lost = max(self._most_lost, float(lost.max()) * SLACK)

    def begin(self, queries: Floats, most: int) -> None:
        """See Products."""
        self._half, lost = halved(queries)
        self._lost = lost * SLACK
        self._long = np.linalg.norm(queries.astype(np.float64), axis=1)
        self._space = np.empty(len(queries) * most, np.int16)

    def __call__(self, documents: Floats) -> npt.NDArray[np.int16]:
        """(b, c) bfloat16 as int16, valid until the next call."""
        half, _ = halved(documents)
        block = self._space[: len(self._half) * len(half)].reshape(len(self._half), len(half))

        def multiply(first: int, last: int) -> None:
            product(self._half[first:last], half, block[first:last])

        parts = pool.ranges(len(block), self._workers)
        pool.run([partial(multiply, *bounds) for bounds in parts], self._workers)
        return block

    def error(self, worst: Floats) -> npt.NDArray[np.float64]:
        """The bound, (b,), for documents whose rough scores are no more than ``worst`` (b,)."""
        found: npt.NDArray[np.float64] = (
            self._lost * self._longest + self._long * self._most_lost + 2.0**-8 * np.abs(worst)
        )
        return found


def finite(scores: npt.NDArray[Any]) -> bool:
    """Are all of these scores finite, float32 or bfloat16 as int16?"""
    if scores.dtype == np.float32:
        return bool(np.isfinite(scores).all())
    return bool(((scores & 0x7F80) != 0x7F80).all())


def has_half() -> bool:
    """Are products in bfloat16 possible here, and faster?"""
    from statim.kernels.floats import FAST_BFLOAT16

    return FAST_BFLOAT16 and find_spec("torch") is not None


@contextlib.contextmanager
def own_threads(rough: npt.NDArray[Any]) -> Iterator[None]:
    """Inside the block products of such vectors use one thread each: the threads are ours."""
    with limited(1), pool.one_torch_thread() if rough.dtype == np.int16 else contextlib.nullcontext():
        yield


def product(
    a: npt.NDArray[Any], b: npt.NDArray[Any], out: npt.NDArray[np.int16] | None = None
) -> npt.NDArray[Any]:
    """All dot products of (m, d) and (c, d), (m, c) float32, or bfloat16 as int16, written to ``out``."""
    if a.dtype != np.int16:
        found: npt.NDArray[Any] = a @ b.T
        return found
    import torch

    torch.set_num_threads(1)  # of this thread
    block = np.empty((len(a), len(b)), np.int16) if out is None else out
    torch.mm(_tensor(a), _tensor(b).T, out=_tensor(block))
    return block


def _tensor(array: npt.NDArray[np.int16]) -> Any:
    import torch

    # torch warns of memory that cannot be written to, as mapped items are, though nothing here writes
    return torch.from_numpy(array if array.flags.writeable else array.copy()).view(torch.bfloat16)


def rounded(vectors: Floats, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Vectors in the type of ``like``: float32, or bfloat16 as int16."""
    return vectors if like.dtype != np.int16 else halved(vectors)[0]


def halved(vectors: Floats) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64]]:
    """Vectors (n, d) in bfloat16 as int16, and the lengths of what that lost, (n,)."""
    from statim.kernels.floats import halves

    found, lost = np.empty(vectors.shape, np.int16), np.empty(len(vectors))
    halves(vectors, found, lost)
    return found, lost
