"""Blocks of scores: matrix products in float32 by numpy, or in bfloat16 by torch, at twice the rate or more."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.search.engine import Floats

MINUS_INFINITY = np.int16(-128)  # 0xFF80, the upper half of float32's


class Products:
    """The products of one block of queries with blocks of documents.

    Args:
        queries: (b, d) float32.
        most: Documents of a block, at most.
    """

    def __init__(self, queries: Floats, most: int) -> None:
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

    A vector v is rounded to v'. By Cauchy and Schwarz |q'd' - qd| <= |q' - q| |d'| + |q| |d' - d|, of which all lengths are known. The score
    itself is rounded by at most 2^-8 of what is left of it.
    """

    def __init__(self, queries: Floats, most: int) -> None:
        import torch

        self._torch, (self._half, self._lost) = torch, _rounded(queries)
        self._long = np.linalg.norm(queries.astype(np.float64), axis=1)
        self._space = torch.empty(len(queries) * most, dtype=torch.bfloat16)
        self._worst_lost = self._longest = 0.0

    def __call__(self, documents: Floats) -> npt.NDArray[np.int16]:
        """(b, c) bfloat16 as int16, valid until the next call."""
        half, lost = _rounded(documents)
        self._worst_lost = max(self._worst_lost, float(lost.max()))
        self._longest = max(self._longest, float(half.float().norm(dim=1).max()))
        block = self._space[: len(self._half) * len(half)].view(len(self._half), len(half))
        self._torch.mm(self._half, half.T, out=block)
        found: npt.NDArray[np.int16] = block.view(self._torch.int16).numpy()
        return found

    def error(self, worst: Floats) -> npt.NDArray[np.float64]:
        """The bound for documents that score no more than ``worst`` (b,), among all that were multiplied."""
        found: npt.NDArray[np.float64] = (
            self._lost * self._longest + self._long * self._worst_lost + 2.0**-8 * np.abs(worst)
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
def torch_threads(threads: int) -> Iterator[None]:
    """Hold torch to so many threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rounded(vectors: Floats) -> tuple[Any, npt.NDArray[np.float64]]:
    """Vectors in bfloat16, and the lengths of what that lost."""
    import torch

    with torch.inference_mode():
        whole = torch.tensor(vectors)
        half = whole.bfloat16()
        lost = (whole - half.float()).norm(dim=1)
    return half, lost.numpy().astype(np.float64) * (1 + 1e-5)
