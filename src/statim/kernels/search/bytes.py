"""Products of int8 vectors in register tiles, keeping each query's best on the way; compiled.

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
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from statim.kernels.floats import LINE, largest, prefetch
from statim.kernels.int8_dot import INTS, LANES, SHIFT, VNNI, add_products, spread

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
_whole, _half, _one = _tile_of(FEW, WIDE // PANEL), _tile_of(ROWS, HALF // PANEL), _tile_of(ROWS, 1)


@intrinsic
def _dot(_context: Any, _shifted: Any, _rows: Any, _row: Any, _start: Any) -> tuple[Any, Any]:
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
def _lowest(_context: Any, _bits: Any) -> tuple[Any, Any]:
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


@njit(nogil=True, cache=True, error_model="numpy")
def _best_first(scores: Floats, names: Ints, count: int, least: int) -> np.float32:
    """Move the ``least`` highest of ``count`` scores to the front and return the lowest of them.

    In any order (quickselect: Hoare, 1961).
    """
    low, high = 0, count - 1
    while low < high:
        pivot = scores[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                names[i], names[j] = names[j], names[i]
                i += 1
                j -= 1
        if least - 1 <= j:
            high = j
        elif least - 1 >= i:
            low = i
        else:
            break
    lowest: np.float32 = scores[0]
    for i in range(1, least):
        lowest = min(lowest, scores[i])
    return lowest


@njit(nogil=True, cache=True, error_model="numpy")
def _offer(
    queries: Ints,
    begins: Ints,
    which: Ints,
    panels: npt.NDArray[np.uint8],
    scales: Floats,
    names: Ints,
    first: int,
    last: int,
    least: int,
    kept: Floats,
    kept_names: Ints,
    counts: Ints,
    floors: Floats,
) -> None:
    """Multiply queries ``which`` with documents [first, last), keep each one's best; see ``offer_cells``."""
    steps, m = queries.shape[1], len(which)
    asked = np.empty(-(-m // ROWS) * ROWS, np.int32)
    asked[:m], asked[m:] = which, which[m - 1]
    out, above = np.zeros((ROWS, WIDE), np.float32), np.zeros(ROWS, np.uint64)
    place = first
    while place < last:  # a tile's documents stay in the first cache while all queries go by
        if last - place >= WIDE:
            wide, size = WIDE, FEW
        else:
            wide, size = (HALF if last - place >= HALF else PANEL), ROWS
        for start in range(0, m, size):
            if wide == WIDE:
                _whole(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            elif wide == HALF:
                _half(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            else:
                _one(queries, begins, asked, start, panels, scales, place, steps, floors, out, above)
            for i in range(min(size, m - start)):
                q, hits = asked[start + i], above[i]
                while hits:
                    j = _lowest(hits)
                    hits &= hits - np.uint64(1)
                    if counts[q] == kept.shape[1]:  # all but the best make room, and the floor rises
                        floors[q] = _best_first(kept[q], kept_names[q], counts[q], least)
                        counts[q] = least
                    if out[i, j] > floors[q]:
                        kept[q, counts[q]], kept_names[q, counts[q]] = out[i, j], names[place + j]
                        counts[q] += 1
        place += wide


@njit(nogil=True, cache=True, error_model="numpy")
def offer_cells(
    queries: Ints,
    begins: Ints,
    which: Ints,
    offsets: npt.NDArray[np.int64],
    panels: npt.NDArray[np.uint8],
    scales: Floats,
    names: Ints,
    starts: npt.NDArray[np.int64],
    least: int,
    kept: Floats,
    kept_names: Ints,
    counts: Ints,
    floors: Floats,
) -> None:
    """Multiply the queries of each cell with its documents, and keep each query's best.

    Args:
        queries: (m, w / STEP) int32, which are (m, w) int8.
        begins: (m,) int32, -SHIFT times the sum of each query's numbers.
        which: (c,) int32, which queries, one cell's after the other's.
        offsets: (C + 1,) those of cell c are which[offsets[c]:offsets[c + 1]].
        panels: From ``to_panels``.
        scales: (p,) float32 of the documents in panels; NaN where there is none.
        names: (p,) int32, what is kept of a document.
        starts: (C + 1,) the documents of cell c are those at [starts[c], starts[c + 1]), multiples of PANEL.
        least: How many are kept in any case, of those above the floor, K.
        kept: (m, L) float32, L > K, written: scores, of which each query's own scale is left out.
        kept_names: (m, L) int32, written.
        counts: (m,) int32, how many are kept; begins with 0.
        floors: (m,) float32, what is not above them is not kept; they begin with -inf, or with what is
            foreseen.
    """
    for cell in range(len(starts) - 1):
        some = which[offsets[cell] : offsets[cell + 1]]
        if len(some) > 0:
            _offer(
                queries, begins, some, panels, scales, names, starts[cell], starts[cell + 1], least, kept,
                kept_names,
                counts, floors,
            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def tighten(least: int, kept: Floats, kept_names: Ints, counts: Ints, floors: Floats) -> None:
    """Keep the ``least`` best of each query; its floor becomes the lowest of that many.

    See ``offer_cells``.
    """
    for q in range(len(counts)):
        if counts[q] >= least:
            floors[q] = _best_first(kept[q], kept_names[q], counts[q], least)
            counts[q] = least


@njit(nogil=True, cache=True, error_model="numpy")
def likely(
    k: int, slack: Floats, kept: Floats, kept_names: Ints, counts: Ints, places: npt.NDArray[np.int64]
) -> None:
    """What may belong to the k best, of scores that may be wrong.

    Args:
        k: How many are wanted.
        slack: (m,) float32; what is lower than the k-th score by more does not belong to them.
        kept: From ``tighten``.
        kept_names: Likewise.
        counts: Likewise.
        places: (m, K) int64, written: names; -1 for those left out.
    """
    for q in range(len(counts)):
        floor = np.float32(-np.inf)
        if counts[q] > k:
            floor = _best_first(kept[q], kept_names[q], counts[q], k) - slack[q]
        for c in range(places.shape[1]):
            places[q, c] = kept_names[q, c] if c < counts[q] and kept[q, c] >= floor else -1


@njit(nogil=True, cache=True, error_model="numpy")
def narrow(
    queries: Bytes,
    rows: Bytes,
    scales: Floats,
    begins: Ints,
    kept_names: Ints,
    counts: Ints,
    places: npt.NDArray[np.int64],
) -> None:
    """The best of some candidates by the dot products of their bytes.

    Args:
        queries: (m, w) int8.
        rows: (n, w) int8, all documents.
        scales: (n,) float32.
        begins: (n,) int32, -SHIFT times the sum of each document's numbers.
        kept_names: (m, L) int32, the candidates; their order changes.
        counts: (m,) int32, how many there are.
        places: (m, c) int64, written: the best, in any order; -1 where there are fewer.
    """
    scores, shifted = np.empty(kept_names.shape[1], np.float32), np.empty(rows.shape[1], np.uint8)
    for q in range(len(queries)):
        names = kept_names[q]
        for j in range(len(shifted)):
            shifted[j] = np.uint8(np.int32(queries[q, j]) + SHIFT)
        for c in range(min(AHEAD, counts[q])):
            prefetch(rows, names[c])
        for c in range(counts[q]):
            name = names[c]
            if c + AHEAD < counts[q]:
                prefetch(rows, names[c + AHEAD])
            scores[c] = np.float32(_dot(shifted, rows, name, begins[name])) * scales[name]
        found = min(counts[q], places.shape[1])
        if found > 0:
            _best_first(scores, names, counts[q], found)
        for c in range(places.shape[1]):
            places[q, c] = names[c] if c < found else -1
