"""Products of int8 vectors in register tiles; compiled. best_bytes.py keeps the best of each query.

Documents lie in panels of 16: the first four numbers of each, then the next four, so that one step
(int8_dot.py) multiplies four numbers of 16 documents with four of a query, and adds up. Documents have SHIFT
added for that, which each query takes off again at the begin. A tile is some queries times up to four panels.
No score is written anywhere but in the cache.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from statim.kernels.floats import LINE, largest
from statim.kernels.int8_dot import INTS, LANES, SHIFT, VNNI, add_products, spread
from statim.kernels.prepared import njit

PANEL = LANES  # documents of a panel
# Queries of a tile, those of a whole one, and documents of a whole one: as many sums as fit into registers
ROWS, FEW, WIDE = (12, 6, 4 * PANEL) if VNNI else (4, 4, PANEL)
STEP = 4  # numbers multiplied by one instruction
AHEAD = 6  # rows under way from memory

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]

_INT, _LONG, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, PANEL)


def _tile_of(size: int, panels: int) -> Callable[..., None]:
    """A function for tiles of a number of queries and panels.

    It takes all queries (int32, four numbers in one), what each one's sums begin with (int32), which queries
    are asked and the place of the tile's first among these; all documents' panels (uint8) and scales
    (float32), the tile's first document and the number of steps; and the floors of all queries (float32). It
    writes (size, WIDE) float32 sums times scales, and which of them are above their query's
    floor: (size,) uint64, a bit for each document.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def data(place: int, kind: Any) -> Any:
            array = context.make_array(signature.args[place])(context, builder, args[place])
            return builder.bitcast(array.data, kind.as_pointer())

        def vector(pointer: Any, kind: Any, place: Any) -> Any:
            there = builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer())
            found = builder.load(there)
            found.align = 4
            return found

        queries, begins, which, documents, scales, floors, out, hits = (
            data(p, _INT) for p in (0, 1, 2, 4, 5, 8, 9, 10)
        )
        start, place, steps = args[3], args[6], args[7]
        documents = builder.gep(documents, [builder.mul(place, steps)])
        asked = [
            builder.sext(builder.load(builder.gep(which, [builder.add(start, _LONG(row))])), _LONG)
            for row in range(size)
        ]
        rows = [builder.gep(queries, [builder.mul(query, steps)]) for query in asked]
        first = [
            spread(builder, builder.load(builder.gep(begins, [query])))
            for query in asked
            for _ in range(panels)
        ]
        before = builder.basic_block
        loop, end = builder.append_basic_block("step"), builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_LONG)
        sums = [builder.phi(INTS) for _ in first]
        parts = [
            vector(
                documents, INTS, builder.mul(builder.add(step, builder.mul(steps, _LONG(p))), _LONG(PANEL))
            )
            for p in range(panels)
        ]
        new = []
        for row in range(size):
            four = spread(builder, builder.load(builder.gep(rows[row], [step])))
            new += [add_products(builder, sums[row * panels + p], parts[p], four) for p in range(panels)]
        following = builder.add(step, _LONG(1))
        step.add_incoming(_LONG(0), before)
        step.add_incoming(following, loop)
        for total, begin, later in zip(sums, first, new, strict=True):
            total.add_incoming(begin, before)
            total.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
        builder.position_at_end(end)
        theirs = [vector(scales, _FLOATS, builder.add(place, _LONG(PANEL * p))) for p in range(panels)]
        hits = builder.bitcast(hits, _LONG.as_pointer())
        for row, query in enumerate(asked):
            floor = builder.bitcast(builder.load(builder.gep(floors, [query])), _FLOAT)
            floor, above = spread(builder, floor, _FLOATS), _LONG(0)
            for p in range(panels):
                score = builder.fmul(builder.sitofp(new[row * panels + p], _FLOATS), theirs[p])
                there = builder.gep(out, [_LONG(row * WIDE + p * PANEL)])
                builder.store(score, builder.bitcast(there, _FLOATS.as_pointer())).align = 4
                bits = builder.bitcast(builder.fcmp_ordered(">", score, floor), ir.IntType(PANEL))
                above = builder.or_(above, builder.shl(builder.zext(bits, _LONG), _LONG(PANEL * p)))
            builder.store(above, builder.gep(hits, [_LONG(row)]))
        return context.get_dummy_value()

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        _context, queries, begins, which, start, panels, scales, place, steps, floors, out, hits
    ):
        return types.void(
            queries, begins, which, start, panels, scales, place, steps, floors, out, hits
        ), generate

    return tile  # type: ignore[no-any-return]


HALF = max(WIDE // 2, PANEL)
tile_whole, tile_half, tile_one = (
    _tile_of(FEW, WIDE // PANEL),
    _tile_of(ROWS, HALF // PANEL),
    _tile_of(ROWS, 1),
)


@intrinsic
def row_product(_context: Any, _shifted: Any, _rows: Any, _row: Any, _start: Any) -> tuple[Any, Any]:
    """The dot product of a query with a row of (n, w) int8, ``start`` included.

    Steps of LINE bytes, w / LINE of them; the rest of w apart.

    The query is uint8 and has SHIFT added.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, a)
            for kind, a in zip(signature.args, args[:2], strict=False)
        ]
        width = builder.extract_value(arrays[1].shape, 1)
        left = arrays[0].data
        right = builder.gep(arrays[1].data, [builder.mul(args[2], width)])
        total = cgutils.alloca_once_value(builder, ir.Constant(INTS, None))

        def vector(pointer: Any, place: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(pointer, [place]), INTS.as_pointer()), align=1)

        whole = builder.mul(builder.udiv(width, _LONG(LINE)), _LONG(LINE))
        with cgutils.for_range_slice(builder, _LONG(0), whole, _LONG(LINE)) as (place, _):
            new = add_products(builder, builder.load(total), vector(left, place), vector(right, place))
            builder.store(new, total)
        kind = ir.FunctionType(_INT, [INTS])
        add = builder.module.declare_intrinsic("llvm.vector.reduce.add.v16i32", (), kind)
        dot = cgutils.alloca_once_value(
            builder, builder.add(args[3], builder.call(add, [builder.load(total)]))
        )
        with cgutils.for_range_slice(builder, whole, width, _LONG(1)) as (place, _):
            ours = (builder.zext if SHIFT else builder.sext)(builder.load(builder.gep(left, [place])), _INT)
            theirs = builder.sext(builder.load(builder.gep(right, [place])), _INT)
            builder.store(builder.add(builder.load(dot), builder.mul(ours, theirs)), dot)
        return builder.load(dot)

    return types.int32(_shifted, _rows, types.int64, types.int32), generate


@intrinsic
def lowest_bit(_context: Any, _bits: Any) -> tuple[Any, Any]:
    """The place of the lowest bit that is set."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _round(vector: Floats, inverse: Any, scale: Any, row: Bytes) -> Any:
    """Write a vector's bytes; gives the square of the length of what that takes."""
    total = 0.0
    for j in range(len(vector)):
        number = min(max(np.rint(vector[j] * inverse), -127.0), 127.0)
        row[j] = np.int8(np.int32(number))
        miss = vector[j] - number * scale
        total += miss * miss
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def to_bytes(vectors: Floats, rows: Bytes, scales: Floats, lost: npt.NDArray[np.float64]) -> None:
    """Round vectors to 127 steps to either side, the largest number of each being 127.

    Args:
        vectors: (n, d) float32, finite.
        rows: (n, w) int8, w >= d, zero, written.
        scales: (n,) float32, written: vectors are about rows times these.
        lost: (n,) float64, written: the lengths of what rounding took.
    """
    for i in range(len(vectors)):
        scales[i] = largest(vectors[i]) / np.float32(127)
        scale = np.float64(scales[i])
        lost[i] = np.sqrt(_round(vectors[i], 1 / scale if scale > 0 else 0.0, scale, rows[i]))


@njit(nogil=True, cache=True, error_model="numpy")
def to_panels(rows: Bytes, order: Ints, panels: npt.NDArray[np.uint8]) -> None:
    """Lay documents out in panels.

    Args:
        rows: (n, w) int8, w a multiple of STEP.
        order: (p,) int32, p a multiple of PANEL: which document where; -1 for none.
        panels: (p * w,) uint8, written.
    """
    width = rows.shape[1]
    for start in range(0, len(order), PANEL):
        for place in range(PANEL):
            name = order[start + place]
            base = start * width + place * STEP
            for j in range(width):
                number = np.int64(rows[name, j]) if name >= 0 else 0
                panels[base + j // STEP * PANEL * STEP + j % STEP] = np.uint8(number + SHIFT)
