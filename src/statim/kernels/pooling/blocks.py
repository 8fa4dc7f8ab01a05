"""Sums of table rows, a block of columns at a time, the sums held in registers while the rows pass by.

Where registers are few and rows long, so little of a row would be read at a time that memory keeps the
processor waiting: there some whole rows are added at once, to sums in the first cache. Both give the same
bits.

Numba keeps arrays in memory, never in registers, so these inner loops are written in LLVM's language. int8
rows are multiplied with 15-bit factors and summed as integers, which processors do two at a time.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from statim.kernels.int8_dot import spread
from statim.kernels.prepared import njit
from statim.kernels.processor import FEATURES

LANES = 16  # columns in a vector of LLVM's, which cuts it to the processor's size
MANY_REGISTERS = bool(FEATURES.get("avx512f"))
WIDE = 8 if MANY_REGISTERS else 4  # vectors in a block: as many as registers hold
LONG = 1 << 62 if MANY_REGISTERS else 384  # columns from which on whole rows are added
AT_ONCE = 4  # rows

MOST = 512  # int8 rows that can be added before an int32 could overflow: 512 * 127 * 32767 < 2**31
TOP = 32767  # the largest factor of an int8 row

F32, F64 = ir.FloatType(), ir.DoubleType()
I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
# of the table: as stored, bytes, as summed, the factor's type; half floats are seen as uint16, bfloat16 as
# int16
KINDS = {
    types.float32: (F32, 4, F32, F32),
    types.float64: (F64, 8, F64, F64),
    types.uint16: (ir.HalfType(), 2, F32, F32),
    types.int16: (I16, 2, F32, F32),
    types.int8: (I8, 1, I32, I16),
}


def _block(vectors: int, lanes: int = LANES) -> Callable[..., None]:
    """A compiled function that writes the weighted sum of some rows at ``vectors * lanes`` columns."""

    @intrinsic
    def add(
        _context: Any, table: Any, column: Any, rows: Any, factors: Any, start: Any, stop: Any, out: Any
    ) -> tuple[Any, Any] | None:
        """out[column:][:block] = sum of factors[i] * table[rows[i], column:][:block], start <= i < stop."""
        written = types.float64 if table.dtype == types.float64 else types.float32
        if (factors.dtype, out.dtype) != (types.int16 if table.dtype == types.int8 else written, written):
            return None  # numba refuses the call
        signature = types.void(table, column, rows, factors, start, stop, out)
        return signature, lambda *given: _generate(vectors, lanes, *given)

    function: Callable[..., None] = add
    return function


def _generate(vectors: int, lanes: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    table, rows, factors, out = (
        context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 3, 6)
    )
    column, start, stop = args[1], args[4], args[5]
    stored, size, summed, factored = KINDS[signature.args[0].dtype]
    sums = ir.VectorType(summed, lanes)
    nothing = ir.Constant(sums, [0] * lanes)
    stride = builder.extract_value(table.strides, 0)
    first = builder.add(builder.ptrtoint(table.data, I64), builder.mul(column, ir.Constant(I64, size)))

    before = builder.block
    loop, done = builder.append_basic_block("row"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, done)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(start, before)
    totals = [builder.phi(sums) for _ in range(vectors)]
    row = builder.sext(builder.load(builder.gep(rows.data, [i])), I64)
    place = builder.add(first, builder.mul(row, stride))
    factor = builder.load(builder.gep(factors.data, [i]))
    if factored == I16:  # seen to be 15 bits, so that LLVM takes the instruction for pairs of 16
        factor = builder.and_(builder.zext(factor, I32), ir.Constant(I32, TOP))
    factor = spread(builder, factor, sums)
    added = []
    for k, total in enumerate(totals):
        address = builder.add(place, ir.Constant(I64, k * lanes * size))
        values = builder.load(
            builder.inttoptr(address, ir.VectorType(stored, lanes).as_pointer()), align=size
        )
        added.append(_added(builder, total, values, factor))
        total.add_incoming(nothing, before)
        total.add_incoming(added[-1], loop)
    following = builder.add(i, ir.Constant(I64, 1))
    i.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)

    builder.position_at_end(done)
    ends = [builder.phi(sums) for _ in range(vectors)]
    for end, total in zip(ends, added, strict=True):
        end.add_incoming(nothing, before)
        end.add_incoming(total, loop)
    written, width = (F64, 8) if summed == F64 else (F32, 4)
    to = builder.add(builder.ptrtoint(out.data, I64), builder.mul(column, ir.Constant(I64, width)))
    floats = ir.VectorType(written, lanes)
    for k, end in enumerate(ends):
        address = builder.inttoptr(builder.add(to, ir.Constant(I64, k * lanes * width)), floats.as_pointer())
        builder.store(builder.sitofp(end, floats) if summed == I32 else end, address, align=width)
    return context.get_dummy_value()


def _added(builder: Any, total: Any, values: Any, factor: Any) -> Any:
    """``total`` and ``factor`` times the values of a row, as they are stored."""
    sums, stored = total.type, values.type.element
    if sums.element == I32:
        return builder.add(total, builder.mul(builder.sext(values, sums), factor))
    if stored == sums.element:
        return builder.fadd(total, builder.fmul(values, factor))  # two roundings, as in numpy
    if stored == I16:  # bfloat16 is the upper half of a float32
        fours = ir.VectorType(I32, sums.count)
        upper = builder.shl(builder.zext(values, fours), ir.Constant(fours, [16] * sums.count))
        wide = builder.bitcast(upper, sums)
    else:  # a half float times a count loses nothing in float32, so one rounding is as good
        wide = builder.fpext(values, sums)
    return builder.fadd(total, builder.fmul(wide, factor, flags=["contract"]), flags=["contract"])


@intrinsic
def _whole(
    _context: Any, table: Any, rows: Any, factors: Any, start: Any, stop: Any, out: Any
) -> tuple[Any, Any]:
    """Write the sums of whole vectors of columns, see ``add_rows``; return how many: none unless float32."""
    signature = types.int64(table, rows, factors, start, stop, out)
    if (factors.dtype, out.dtype) != (types.float32, types.float32):
        return signature, lambda *_: ir.Constant(I64, 0)
    return signature, _generate_whole


def _generate_whole(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    table, rows, factors, out = (
        context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 1, 2, 5)
    )
    start, stop = args[3], args[4]
    stored, size = KINDS[signature.args[0].dtype][:2]
    sums, lanes = ir.VectorType(F32, LANES), ir.Constant(I64, LANES)
    first, stride = builder.ptrtoint(table.data, I64), builder.extract_value(table.strides, 0)
    width = builder.mul(builder.udiv(builder.extract_value(out.shape, 0), lanes), lanes)

    def sums_at(column: Any) -> Any:
        return builder.bitcast(builder.gep(out.data, [column]), sums.as_pointer())

    def add(entry: Any, count: int) -> None:
        places, weights = [], []
        for i in range(count):
            at = builder.add(entry, ir.Constant(I64, i))
            row = builder.sext(builder.load(builder.gep(rows.data, [at])), I64)
            places.append(builder.add(first, builder.mul(row, stride)))
            weights.append(spread(builder, builder.load(builder.gep(factors.data, [at])), sums))
        with cgutils.for_range_slice(builder, ir.Constant(I64, 0), width, lanes) as (column, _):
            total = builder.load(sums_at(column), align=4)
            for place, factor in zip(places, weights, strict=True):
                address = builder.add(place, builder.mul(column, ir.Constant(I64, size)))
                pointer = builder.inttoptr(address, ir.VectorType(stored, LANES).as_pointer())
                total = _added(builder, total, builder.load(pointer, align=size), factor)
            builder.store(total, sums_at(column), align=4)

    with cgutils.for_range_slice(builder, ir.Constant(I64, 0), width, lanes) as (column, _):
        builder.store(ir.Constant(sums, [0] * LANES), sums_at(column), align=4)
    many = ir.Constant(I64, AT_ONCE)
    whole = builder.add(start, builder.mul(builder.sdiv(builder.sub(stop, start), many), many))
    with cgutils.for_range_slice(builder, start, whole, many) as (entry, _):
        add(entry, AT_ONCE)
    with cgutils.for_range_slice(builder, whole, stop, ir.Constant(I64, 1)) as (entry, _):
        add(entry, 1)
    return width


_wide, _half, _vector, _one = _block(WIDE), _block(WIDE // 2), _block(1), _block(1, 1)
_WIDE, _HALF = WIDE * LANES, WIDE // 2 * LANES


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def add_rows(table: Any, rows: Any, factors: Any, start: int, stop: int, out: Any) -> None:
    """Write the weighted sum of rows[start:stop] of a table to ``out``; the last block may overlap.

    Args:
        table: (V, d) float32, float64, int8, float16 seen as uint16, or bfloat16 seen as int16.
        rows: Row numbers, int32.
        factors: What each is multiplied with: float32 (of float64 such); for int8 int16 in [0, TOP], for at
            most MOST rows.
        start: The first of ``rows`` to add.
        stop: The end of those to add.
        out: (dim,) float32 (of float64 such), dim at most d.
    """
    dim = len(out)
    column = _whole(table, rows, factors, start, stop, out) if dim >= LONG else 0
    while column < dim:
        left = dim - column
        if left > _HALF and dim >= _WIDE:
            column = min(column, dim - _WIDE)
            _wide(table, column, rows, factors, start, stop, out)
            column += _WIDE
        elif left > LANES and dim >= _HALF:
            column = min(column, dim - _HALF)
            _half(table, column, rows, factors, start, stop, out)
            column += _HALF
        elif dim >= LANES:
            column = min(column, dim - LANES)
            _vector(table, column, rows, factors, start, stop, out)
            column += LANES
        else:
            _one(table, column, rows, factors, start, stop, out)
            column += 1
