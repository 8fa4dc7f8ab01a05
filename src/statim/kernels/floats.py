"""Scalars that numba lacks: bfloat16 read and written as bits, and an exponential.

All are branch-free, so that loops over them become vector instructions. They are generic: of float32 and
float64 arrays the loads and stores are plain, and float64 has the exact exponential.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from statim.kernels.prepared import njit
from statim.kernels.processor import FEATURES

# Has the processor instructions for bfloat16? Else its products are slower than float32's
FAST_BFLOAT16 = bool(FEATURES.get("avx512bf16"))

LINE = 64  # bytes that come into the cache together

LOG2E = 1.4426950408889634  # exp(x) = exp2(LOG2E * x)

# 2**f for |f| <= 1/2, of the least relative error (9.1e-8) in degree 5 that keeps 2**0 = 1
P5, P4, P3 = np.float32(1.3264722333e-03), np.float32(9.6715129845e-03), np.float32(5.5507337594e-02)
P2, P1, P0 = np.float32(2.4022242078e-01), np.float32(6.9314697759e-01), np.float32(1)
LEAST = np.float32(-126)  # 2**-126 is the smallest normal number
ROUND = np.float32(
    3 << 22
)  # added to a small number, it leaves that rounded to a whole one in the lowest bits
MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but its sign
HALF, LOWEST, SIXTEEN, MANTISSA = np.int32(0x7FFF), np.int32(1), np.int32(16), np.int32(23)


@intrinsic
def as_float(_context: Any, _bits: Any) -> tuple[Any, Any]:
    """The float32 with these bits."""
    return types.float32(types.int32), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def as_bits(_context: Any, _number: Any) -> tuple[Any, Any]:
    """The bits of a float32."""
    return types.int32(types.float32), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.IntType(32))


def fetch_line(builder: Any, pointer: Any, level: int) -> None:
    """Prefetch a line into the cache, 3 for the closest, 2 for the next; past the end nothing happens."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
    builder.call(function, [builder.bitcast(pointer, byte), number(0), number(level), number(1)])


@intrinsic
def prefetch(_context: Any, _rows: Any, _row: Any) -> tuple[Any, Any]:
    """Begin to bring a row of a matrix into the cache: its memory is far, and wanted soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, long = ir.IntType(8), ir.IntType(64)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        columns = builder.extract_value(array.shape, 1)
        size = builder.mul(columns, array.itemsize)
        start = builder.gep(builder.bitcast(array.data, byte.as_pointer()), [builder.mul(args[1], size)])
        with cgutils.for_range_slice(builder, long(0), size, long(LINE)) as (place, _):
            fetch_line(builder, builder.gep(start, [place]), 3)
        return context.get_dummy_value()

    return types.void(_rows, types.int64), generate


@intrinsic
def prefetch_at(_context: Any, _numbers: Any, _i: Any) -> tuple[Any, Any]:
    """Begin to bring numbers[i] and its neighbours into the cache."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        fetch_line(builder, builder.gep(array.data, [args[1]]), 3)
        return context.get_dummy_value()

    return types.void(_numbers, types.int64), generate


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def largest(x: npt.NDArray[np.float32]) -> Any:
    """The largest magnitude, NaN if there is one.

    It is found among the bits, which are ordered alike; floats would not be vectorized.
    """
    top = np.int32(0)
    for j in range(len(x)):
        bits = as_bits(x[j]) & MAGNITUDE
        top = bits if bits > top else top
    return as_float(top)


# not inlined by numba, which would give it its caller's leave to reorder sums; LLVM inlines it as it is
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def exp2_32(x: Any) -> Any:
    """2**x of a float32 of at most 127, to 2 ulp; at least 2**-126; NaN of NaN."""
    v = LEAST if x < LEAST else x
    power = v + ROUND
    f = v - (power - ROUND)
    p = P5 * f + P4
    p = p * f + P3
    p = p * f + P2
    p = p * f + P1
    p = p * f + P0
    return as_float(as_bits(p) + (as_bits(power) << MANTISSA))


def exp2(x: Any) -> Any:
    """exp2_32 or numpy's, chosen when compiled; numba wants stub and overload without annotations."""


@overload(exp2, inline="always")
def _exp2(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: exp2_32(x)
    return lambda x: np.exp2(x)


def load(array: Any, i: Any) -> Any:
    """array[i]; of int16, the float32 whose upper half it is (bfloat16)."""


@overload(load, inline="always")
def _load(array, i):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if array.dtype == types.int16:
        return lambda array, i: as_float(np.int32(array[i]) << SIXTEEN)  # the sign's copies are shifted out
    return lambda array, i: array[i]


def store(array: Any, i: Any, x: Any) -> None:
    """array[i] = x; in int16, the float32 x rounded to bfloat16 (to even)."""


@overload(store, inline="always")
def _store(array, i, x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if array.dtype == types.int16:

        def rounded(array, i, x):  # type: ignore[no-untyped-def]
            bits = as_bits(x)
            array[i] = np.int16((bits + HALF + ((bits >> SIXTEEN) & LOWEST)) >> SIXTEEN)

        return rounded

    def plain(array, i, x):  # type: ignore[no-untyped-def]
        array[i] = x

    return plain


def store_random(array: Any, i: Any, x: Any, bits: Any) -> None:
    """array[i] = x, not negative; int16 stores bfloat16, rounded at random by 16 bits, unbiased."""


@overload(store_random, inline="always")
def _store_random(array, i, x, bits):  # type: ignore[no-untyped-def]  # noqa: ARG001
    if array.dtype == types.int16:

        def rounded(array, i, x, bits):  # type: ignore[no-untyped-def]
            array[i] = np.int16((as_bits(x) + bits) >> SIXTEEN)

        return rounded

    def plain(array, i, x, bits):  # type: ignore[no-untyped-def]  # noqa: ARG001
        array[i] = x

    return plain


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def halves(
    vectors: npt.NDArray[np.float32], out: npt.NDArray[np.int16], lost: npt.NDArray[np.float64]
) -> None:
    """Round vectors to bfloat16, to even.

    Args:
        vectors: (n, d) float32.
        out: (n, d) int16, written.
        lost: (n,) float64, written: the length of what rounding took from each.
    """
    for i in range(len(vectors)):
        vector, rounded = vectors[i], out[i]
        total = 0.0
        for j in range(len(vector)):
            store(rounded, j, vector[j])
            gone = vector[j] - load(rounded, j)
            total += np.float64(gone) * np.float64(gone)
        lost[i] = np.sqrt(total)
