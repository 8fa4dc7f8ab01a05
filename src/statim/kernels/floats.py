"""Scalars that compiled loops need and numba lacks: bfloat16 read and written as its bits, and an exponential.

All are branch-free, so that loops over them become vector instructions. They are generic: of float32 and float64 arrays the
loads and stores are plain, and float64 has the exact exponential.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

# The constants of Cephes' expf (Moshier): exp(r) for |r| <= ln 2 / 2
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.12194440e-4)
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ONE = np.float32(1)
LEAST = np.float32(-87)  # exp of less would be no normal number; it gives exp(-87), 1.6e-38
ROUND = np.float32(
    3 << 22
)  # added to a small number, it leaves that rounded to a whole one in the lowest bits
HALF, LOWEST, SIXTEEN, MANTISSA = np.int32(0x7FFF), np.int32(1), np.int32(16), np.int32(23)


@intrinsic
def as_float(_context: Any, _bits: Any) -> tuple[Any, Any]:
    """The float32 with these bits."""
    return types.float32(types.int32), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def as_bits(_context: Any, _number: Any) -> tuple[Any, Any]:
    """The bits of a float32."""
    return types.int32(types.float32), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.IntType(32))


# not inlined by numba, which would give it its caller's leave to reorder sums; LLVM inlines it as it is
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def exp32(x: Any) -> Any:
    """exp(x) of a float32 of at most 88, to 1 ulp; at least exp(-87); NaN of NaN."""
    v = LEAST if x < LEAST else x
    power = v * LOG2E + ROUND
    n = power - ROUND
    r = v - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = P0 * r + P1
    p = p * r + P2
    p = p * r + P3
    p = p * r + P4
    p = p * r + P5
    p = p * r * r + r + ONE
    return as_float(as_bits(p) + (as_bits(power) << MANTISSA))


def exp(x: Any) -> Any:
    """exp32 or numpy's, chosen when compiled; this stub and its overload have no annotations, as numba wants it."""


@overload(exp, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: exp32(x)
    return lambda x: np.exp(x)


def load(array: Any, i: Any) -> Any:
    """array[i]; of uint16, the float32 whose upper half it is (bfloat16)."""


@overload(load, inline="always")
def _load(array, i):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if array.dtype == types.uint16:
        return lambda array, i: as_float(np.int32(array[i]) << SIXTEEN)
    return lambda array, i: array[i]


def store(array: Any, i: Any, x: Any) -> None:
    """array[i] = x; in uint16, the float32 x rounded to bfloat16 (to even)."""


@overload(store, inline="always")
def _store(array, i, x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if array.dtype == types.uint16:

        def rounded(array, i, x):  # type: ignore[no-untyped-def]
            bits = as_bits(x)
            array[i] = np.uint16((bits + HALF + ((bits >> SIXTEEN) & LOWEST)) >> SIXTEEN)

        return rounded

    def plain(array, i, x):  # type: ignore[no-untyped-def]
        array[i] = x

    return plain
