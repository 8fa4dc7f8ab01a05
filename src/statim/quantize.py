"""Tables and vectors in fewer bits.

A table of int8 has a scale for each row: its largest number is 127 times the scale. A vector of int8 has its
largest number at 127 (zeros, and what is below 1e-36, become zeros): its direction is kept, its length is
not. A binary vector keeps the signs, one bit each (Charikar 2002; as "ubinary" in sentence-transformers).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError, ModelError

TABLES = ("float32", "float16", "int8")
VECTORS = ("float32", "float16", "int8", "binary")

HALF_OVERFLOW = 65520  # this and what is larger rounds to an infinite float16
SMALLEST = 127 / float(
    np.finfo(np.float32).max
)  # of an int8 vector's largest number: 127 divided by less overflows

Floats = npt.NDArray[np.float32]


def check_dtype(dtype: str, allowed: tuple[str, ...]) -> None:
    """Make sure that ``dtype`` is one of those allowed.

    Raises:
        InputError: It is not.
    """
    if dtype not in allowed:
        raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(allowed)}")


def quantize_table(table: Floats, dtype: str) -> tuple[npt.NDArray[Any], Floats | None]:
    """A table in fewer bits.

    Args:
        table: (V, d) float32, finite.
        dtype: One of TABLES.

    Returns:
        The table (V, d) of that type; and for int8 the scale of each row, (V,) float32, else None.

    Raises:
        InputError: ``dtype`` is none of TABLES.
        ModelError: A number is too large for float16.
    """
    check_dtype(dtype, TABLES)
    if dtype == "int8":
        scales = np.abs(table).max(axis=1) / np.float32(127)
        return np.rint(table / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8), scales
    with np.errstate(over="ignore"):
        narrow = table.astype(dtype)
    if not np.isfinite(narrow).all():
        row = int(np.flatnonzero(~np.isfinite(narrow).all(axis=1))[0])
        raise ModelError(f"row {row:,} of the table holds a number too large for float16; take int8")
    return narrow, None


def widen_table(table: npt.NDArray[Any], scales: Floats | None) -> Floats:
    """What ``quantize_table`` gave, as float32; a float32 table itself, not copied."""
    wide = table.astype(np.float32, copy=False)
    return wide if scales is None else wide * scales[:, None]


def width(dim: int, dtype: str) -> int:
    """Numbers per vector of ``dim`` dimensions: ``dim``, or for ``binary`` the bytes of its bits."""
    return -(-dim // 8) if dtype == "binary" else dim


def storage(dtype: str) -> str:
    """The numpy type that vectors of ``dtype``, one of VECTORS, have."""
    return "uint8" if dtype == "binary" else dtype


def quantize_vectors(vectors: Floats, dtype: str, out: npt.NDArray[Any], *, first: int = 0) -> None:
    """Write vectors in fewer bits.

    Args:
        vectors: (n, dim) float32.
        dtype: One of VECTORS; but see the module for what int8 and binary keep.
        out: (n, dim) of that type, written; for binary (n, ceil(dim / 8)) uint8, the first dimension in the
            highest bit.
        first: The number of the first vector, for messages.

    Raises:
        InputError: A number is too large for float16, or for int8 not finite.
    """
    if dtype == "binary":
        out[:] = np.packbits(vectors > 0, axis=1)
    elif dtype == "int8":
        largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))[:, None]
        if not (largest < np.inf).all():
            raise _does_not_fit(vectors, dtype, np.inf, first)
        scaled = vectors * (np.float32(127) / np.where(largest > SMALLEST, largest, np.inf))
        out[:] = np.rint(scaled, out=scaled)
    else:
        try:
            with np.errstate(over="raise"):
                out[:] = vectors
        except FloatingPointError:
            raise _does_not_fit(vectors, dtype, HALF_OVERFLOW, first) from None


def _does_not_fit(vectors: Floats, dtype: str, limit: float, first: int) -> InputError:
    """The message about vectors with a number of ``limit`` or more; ``first`` numbers the first of them."""
    largest = np.abs(vectors).max(axis=1)
    row = int(np.flatnonzero(~(largest < limit))[0])
    return InputError(
        f"the vector of text {first + row:,} holds {largest[row]:.6g}, which does not fit {dtype}; "
        "take float32, or vectors of length 1 (normalize)"
    )
