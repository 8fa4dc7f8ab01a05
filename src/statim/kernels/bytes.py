"""Vectors of one byte a number: their products in tiles that stay in registers, and the best of each query kept as they go by; compiled.

Documents lie in panels of 16: the first four numbers of each, then the next four, so that one instruction (AVX512-VNNI's vpdpbusd)
multiplies four numbers of 16 documents with four of a query, and adds up. It takes one side unsigned: documents have 128 added, which
each query takes off again at the begin. A tile is ROWS queries times up to four panels. No score is written anywhere but in the cache.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from statim.kernels.floats import prefetch
from statim.kernels.quads import INTS, LANES, add_products, spread

ROWS = 6  # queries of a tile
PANEL = LANES  # documents of a panel
WIDE = 64  # documents of a whole tile
STEP = 4  # numbers multiplied by one instruction
AHEAD = 6  # rows under way from memory
ALL, HALF, FEW = (
    np.uint64((1 << width) - 1) for width in (WIDE, WIDE // 2, PANEL)
)  # the places of a tile's row

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]

_INT, _LONG, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, PANEL)


def _tile_of(panels: int) -> Callable[..., None]:
    """A function for tiles of so many panels.

    It takes all queries (int32, four numbers in one), what each one's sums begin with (int32), which queries are asked and the place of
    the tile's first among these, ROWS following; all documents' panels (uint8) and scales (float32), the tile's first document and the
    number of steps; and writes (ROWS, WIDE) float32 sums times scales.
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

        queries, begins, which, documents, scales, out = (data(p, _INT) for p in (0, 1, 2, 4, 5, 8))
        start, place, steps = args[3], args[6], args[7]
        documents = builder.gep(documents, [builder.mul(place, steps)])
        asked = [
            builder.sext(builder.load(builder.gep(which, [builder.add(start, _LONG(row))])), _LONG)
            for row in range(ROWS)
        ]
        rows = [builder.gep(queries, [builder.mul(query, steps)]) for query in asked]
        first = [
            spread(builder, builder.load(builder.gep(begins, [query]))) for query in asked for _ in range(panels)
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
        for row in range(ROWS):
            four = spread(builder, builder.load(builder.gep(rows[row], [step])))
            new += [add_products(builder, sums[row * panels + p], parts[p], four) for p in range(panels)]
        following = builder.add(step, _LONG(1))
        step.add_incoming(_LONG(0), before)
        step.add_incoming(following, loop)
        for total, start, later in zip(sums, first, new, strict=True):
            total.add_incoming(start, before)
            total.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
        builder.position_at_end(end)
        for p in range(panels):
            scale = vector(scales, _FLOATS, builder.add(place, _LONG(PANEL * p)))
            for row in range(ROWS):
                score = builder.fmul(builder.sitofp(new[row * panels + p], _FLOATS), scale)
                there = builder.gep(out, [_LONG(row * WIDE + p * PANEL)])
                builder.store(score, builder.bitcast(there, _FLOATS.as_pointer())).align = 4
        return context.get_dummy_value()

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        _context, queries, begins, which, start, panels, scales, place, steps, out
    ):
        return types.void(queries, begins, which, start, panels, scales, place, steps, out), generate

    return tile  # type: ignore[no-any-return]


_four, _two, _one = _tile_of(WIDE // PANEL), _tile_of(WIDE // PANEL // 2), _tile_of(1)


@intrinsic
def _added(_context: Any, _total: Any, _left: Any, _right: Any) -> tuple[Any, Any]:
    """Total + left * right of int8 in int32; numba's own would be int64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        left, right = (builder.sext(byte, _INT) for byte in args[1:])
        return builder.add(args[0], builder.mul(left, right))

    return types.int32(types.int32, types.int8, types.int8), generate


@intrinsic
def _above(_context: Any, _rows: Any, _row: Any, _floor: Any) -> tuple[Any, Any]:
    """Which of the WIDE scores of a tile's row are above a floor: a bit for each."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, bits = ir.VectorType(_FLOAT, WIDE), ir.IntType(WIDE)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        row = builder.gep(array.data, [builder.mul(args[1], _LONG(WIDE))])
        scores = builder.load(builder.bitcast(row, kind.as_pointer()))
        scores.align = 4
        floor = builder.insert_element(ir.Constant(kind, ir.Undefined), args[2], _INT(0))
        floor = builder.shuffle_vector(floor, floor, ir.Constant(ir.VectorType(_INT, WIDE), [0] * WIDE))
        return builder.bitcast(builder.fcmp_ordered(">", scores, floor), bits)

    return types.uint64(_rows, types.int64, types.float32), generate


@intrinsic
def _lowest(_context: Any, _bits: Any) -> tuple[Any, Any]:
    """The place of the lowest bit that is set."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


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
        vector = vectors[i]
        most = np.float32(0)
        for j in range(len(vector)):
            most = max(most, abs(vector[j]))
        scale = np.float32(most / np.float32(127))
        wide = np.float64(scale)
        inverse = 1 / wide if wide > 0 else 0.0
        total = 0.0
        for j in range(len(vector)):
            number = min(max(np.rint(vector[j] * inverse), -127.0), 127.0)
            rows[i, j] = np.int8(number)
            miss = vector[j] - number * wide
            total += miss * miss
        scales[i], lost[i] = scale, np.sqrt(total)


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
                panels[base + j // STEP * PANEL * STEP + j % STEP] = np.uint8(number + 128)


@njit(nogil=True, cache=True, error_model="numpy")
def _best_first(scores: Floats, names: Ints, count: int, least: int) -> np.float32:
    """Bring the ``least`` highest of ``count`` scores to the front, in any order (quickselect: Hoare, 1961); gives the lowest of them."""
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
    """Multiply queries ``which`` with documents [first, last), and keep each query's best; see ``offer_cells``."""
    steps, m = queries.shape[1], len(which)
    asked = np.empty(-(-m // ROWS) * ROWS, np.int32)
    asked[:m], asked[m:] = which, which[m - 1]
    out = np.zeros((ROWS, WIDE), np.float32)
    place = first
    while place < last:  # a tile's documents stay in the first cache while all queries go by
        left = last - place
        wide, there = (WIDE, ALL) if left >= WIDE else (WIDE // 2, HALF) if left >= WIDE // 2 else (PANEL, FEW)
        for start in range(0, m, ROWS):
            if wide == WIDE:
                _four(queries, begins, asked, start, panels, scales, place, steps, out)
            elif wide == WIDE // 2:
                _two(queries, begins, asked, start, panels, scales, place, steps, out)
            else:
                _one(queries, begins, asked, start, panels, scales, place, steps, out)
            for i in range(min(ROWS, m - start)):
                q = asked[start + i]
                hits = _above(out, i, floors[q]) & there
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
        begins: (m,) int32, -128 times the sum of each query's numbers.
        which: (c,) int32, which queries, one cell's after the other's.
        offsets: (C + 1,) those of cell c are which[offsets[c]:offsets[c + 1]].
        panels: From ``to_panels``.
        scales: (p,) float32 of the documents in panels; NaN where there is none.
        names: (p,) int32, what is kept of a document.
        starts: (C + 1,) the documents of cell c are those at [starts[c], starts[c + 1]), multiples of PANEL.
        least: How many are kept in any case, K.
        kept: (m, L) float32, L > K, written: scores, of which each query's own scale is left out.
        kept_names: (m, L) int32, written.
        counts: (m,) int32, how many are kept; begins with 0.
        floors: (m,) float32, what is not above them is not kept; begins with -inf.
    """
    for cell in range(len(starts) - 1):
        some = which[offsets[cell] : offsets[cell + 1]]
        if len(some) > 0:
            _offer(
                queries, begins, some, panels, scales, names, starts[cell], starts[cell + 1], least, kept, kept_names,
                counts, floors,
            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def tighten(least: int, kept: Floats, kept_names: Ints, counts: Ints, floors: Floats) -> None:
    """Leave each query the ``least`` best of what it kept; where it has so many, its floor is the lowest of them. See ``offer_cells``."""
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
    queries: Bytes, rows: Bytes, scales: Floats, kept_names: Ints, counts: Ints, places: npt.NDArray[np.int64]
) -> None:
    """The best of some candidates by the dot products of their bytes.

    Args:
        queries: (m, w) int8.
        rows: (n, w) int8, all documents.
        scales: (n,) float32.
        kept_names: (m, L) int32, the candidates; their order changes.
        counts: (m,) int32, how many there are.
        places: (m, c) int64, written: the best, in any order; -1 where there are fewer.
    """
    scores = np.empty(kept_names.shape[1], np.float32)
    for q in range(len(queries)):
        query, names = queries[q], kept_names[q]
        for c in range(min(AHEAD, counts[q])):
            prefetch(rows, names[c])
        for c in range(counts[q]):
            if c + AHEAD < counts[q]:
                prefetch(rows, names[c + AHEAD])
            row, total = rows[names[c]], np.int32(0)
            for j in range(len(query)):
                total = _added(total, query[j], row[j])
            scores[c] = np.float32(total) * scales[names[c]]
        found = min(counts[q], places.shape[1])
        if found > 0:
            _best_first(scores, names, counts[q], found)
        for c in range(places.shape[1]):
            places[q, c] = names[c] if c < found else -1
