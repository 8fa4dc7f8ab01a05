"""Blocks of scores: matrix products in float32 by numpy, or in bfloat16 by torch, at twice the rate or more."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.search.engine import Floats

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

    Where v' is v rounded, |q'd' - qd| <= |q' - q| |d'| + |q| |d' - d| (Cauchy and Schwarz), of which all lengths are known. The score
    itself is rounded by at most 2^-8 of what is left of it.

    Args:
        documents: (n, d) float32, all that will be multiplied.
    """

    spare = 96

    def __init__(self, documents: Floats) -> None:
        import torch

        self._torch, self._lost, self._long = torch, np.zeros(0), np.zeros(0)
        self._half = self._space = torch.empty(0, 0, dtype=torch.bfloat16)
        self._longest = self._most_lost = 0.0
        for start in range(0, len(documents), ROWS):
            half, lost = _rounded(documents[start : start + ROWS])
            self._longest = max(self._longest, float(half.float().norm(dim=1).max()) * SLACK)
            self._most_lost = max(self._most_lost, float(lost.max()))

    def begin(self, queries: Floats, most: int) -> None:
        """See Products."""
        self._half, self._lost = _rounded(queries)
        self._long = np.linalg.norm(queries.astype(np.float64), axis=1)
        self._space = self._torch.empty(len(queries) * most, dtype=self._torch.bfloat16)

    def __call__(self, documents: Floats) -> npt.NDArray[np.int16]:
        """(b, c) bfloat16 as int16, valid until the next call."""
        half = self._torch.tensor(documents).bfloat16()
        block = self._space[: len(self._half) * len(half)].view(len(self._half), len(half))
        self._torch.mm(self._half, half.T, out=block)
        found: npt.NDArray[np.int16] = block.view(self._torch.int16).numpy()
        return found

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

    whole = torch.tensor(vectors)
    half = whole.bfloat16()
    return half, (whole - half.float()).norm(dim=1).numpy().astype(np.float64) * SLACK
