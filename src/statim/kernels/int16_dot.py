"""A query of 16-bit numbers times a row of bytes: a whole number, exact, for which the row is read once.

A number of the query is 255 times a signed byte and another, its two digits, neither -128, and each digit has
sums of products of bytes (int8_dot.py) of its own. The row's bytes have SHIFT added for that, which the sum
of the digits takes off again. Sums wrap around at 2^32, but what they come to is at most 2^7 * 2^7 * d, which
fits for d below WIDEST, so nothing is lost. The last 64 bytes are read from the row's end back; where that
reads some twice, digits are 0.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.floats import fetch_line
from statim.kernels.int8_dot import INTS, LANES, SHIFT, SHIFTS, add_products, all_of
from statim.kernels.prepared import njit

AHEAD = 1 << 12  # bytes that memory is fetched ahead: the processor by itself stops at each page
BLOCK = 4 * LANES  # bytes read at once; no row is shorter
WIDEST = 1 << 17  # dimensions, which are fewer
BASE = 255
TOP = 127 * BASE + 127  # the largest number of two digits

Digits = npt.NDArray[np.int8]

_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def to_digits(
    queries: npt.NDArray[np.float32],
) -> tuple[Digits, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Round queries to 16 bits, the largest number of each being TOP.

    Args:
        queries: (m, d) float32, finite, d at least BLOCK.

    Returns:
        (m, 2, w) int8, the high and the low digits, w being d rounded up to a multiple of BLOCK; (m,)
        float64, what the numbers they make are multiplied by; and (m,) float64, the lengths of what rounding
        took.
    """
    m, d = queries.shape
    wide = queries.astype(np.float64)
    scales = np.abs(wide).max(axis=1) / TOP
    scales[scales == 0] = 1
    numbers = np.rint(wide / scales[:, None])
    lost = np.linalg.norm(wide - numbers * scales[:, None], axis=1)
    whole = numbers.astype(np.int32)
    low = (whole + 127) % BASE - 127
    rest = (d - 1) % BLOCK + 1  # of the last block
    digits = np.zeros((m, 2, -(-d // BLOCK) * BLOCK), np.int8)
    for place, digit in enumerate(((whole - low) // BASE, low)):
        digits[:, place, : d - rest] = digit[:, : d - rest]
        digits[:, place, -rest:] = digit[:, d - rest :]
    return digits, scales, lost


@intrinsic
def _product(
    _context: Any, _rows: Any, _row: Any, _digits: Any, _first: Any, _second: Any
) -> tuple[Any, Any]:
    """rows[row] times the numbers of two rows of digits, whose sums begin with ``first`` and ``second``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, digits = (context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 2))
        d, w = builder.extract_value(rows.shape, 1), builder.extract_value(digits.shape, 1)
        start = builder.mul(args[1], d)

        def block(array: Any, place: Any) -> Any:
            there = builder.bitcast(builder.gep(array.data, [place]), INTS.as_pointer())
            return builder.load(there, align=1)

        before = builder.basic_block
        loop, end = builder.append_basic_block("block"), builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        place, sums = builder.phi(_LONG), [builder.phi(INTS) for _ in range(2)]
        last = builder.sub(d, _LONG(BLOCK))
        at = builder.select(builder.icmp_signed("<", place, last), place, last)
        own = builder.add(start, at)
        fetch_line(builder, builder.gep(rows.data, [builder.add(own, _LONG(AHEAD))]), 2)
        unsigned = builder.xor(block(rows, own), all_of(SHIFTS))
        added = [
            add_products(builder, sums[0], unsigned, block(digits, place)),
            add_products(builder, sums[1], unsigned, block(digits, builder.add(w, place))),
        ]
        following = builder.add(place, _LONG(BLOCK))
        place.add_incoming(_LONG(0), before)
        place.add_incoming(following, loop)
        for total, later in zip(sums, added, strict=True):
            total.add_incoming(all_of(0), before)
            total.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, w), loop, end)
        builder.position_at_end(end)
        reduce = builder.module.declare_intrinsic(
            "llvm.vector.reduce.add.v16i32", (), ir.FunctionType(_INT, [INTS])
        )
        high, low = (
            builder.sext(builder.add(builder.call(reduce, [total]), begin), _LONG)
            for total, begin in zip(added, args[3:], strict=True)
        )
        return builder.add(builder.mul(high, _LONG(BASE)), low)

    return types.int64(_rows, types.int64, _digits, types.int32, types.int32), generate


@njit(nogil=True, error_model="numpy")
def products(rows: Digits, digits: Digits, out: npt.NDArray[np.float32]) -> None:
    """Multiply rows with the numbers of a query.

    Args:
        rows: (c, d) int8.
        digits: (2, w) int8 from ``to_digits``.
        out: (at least c,) float32, written: whole numbers, rounded.
    """
    first = second = np.int32(0)
    for j in range(digits.shape[1]):
        first += np.int32(digits[0, j])
        second += np.int32(digits[1, j])
    for r in range(len(rows)):
        out[r] = np.float32(_product(rows, r, digits, np.int32(-SHIFT * first), np.int32(-SHIFT * second)))
