"""Matrices of vectors as they are given: float32, finite, of length 1; and sets of positions."""

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.search.engines.protocol import Floats, Positions


def matrix(given: npt.ArrayLike, name: str) -> Floats:
    """``given`` as a contiguous float32 matrix; nothing is copied that is one.

    Raises:
        InputError: It is not a matrix of numbers.
    """
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
            array = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a matrix of numbers ({str(error)[:100]})") from None
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} have the shape {array.shape}; it must be (how many, dimensions)")
    return np.ascontiguousarray(array)


def lengths(vectors: Floats) -> npt.NDArray[np.float64]:
    """The Euclidean lengths of (n, d) vectors, (n,) float64."""
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def unit(vectors: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The vectors at length 1, copied, and which were zero and stay so.

    Raises:
        InputError: A vector holds NaN or infinities; the message names its position.
    """
    long = lengths(vectors)
    if not np.isfinite(long).all():
        raise InputError(
            f"vector {int(np.argmin(np.isfinite(long)))} holds NaN or infinities; every number must be finite"
        )
    zero = long == 0
    return (vectors / np.where(zero, 1.0, long)[:, None]).astype(np.float32), zero


def among(positions: Positions, ascending: Positions) -> npt.NDArray[np.bool_]:
    """Which of ``positions`` are in ``ascending``."""
    if not len(ascending):
        return np.zeros(positions.shape, np.bool_)
    places = np.minimum(np.searchsorted(ascending, positions), len(ascending) - 1)
    found: npt.NDArray[np.bool_] = ascending[places] == positions
    return found
