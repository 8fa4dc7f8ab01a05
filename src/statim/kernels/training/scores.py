"""Products of vectors in 8 bits: one scale for each block of dimensions, exact integer sums.

The loop is written in LLVM's language around the instruction for 64 products at once (int8_dot.py), which
does twice as many as that for bfloat16.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.floats import largest
from statim.kernels.int8_dot import INTS, LANES, SHIFT, SHIFTS, VNNI, add_products, all_of, spread
from statim.kernels.prepared import njit

# Candidates that lie beside each other, four entries of each; and anchors in a block
PANEL, ROWS = (32, 8) if VNNI else (16, 4)
TOP = 127

Floats = npt.NDArray[np.floating[Any]]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Sums = npt.NDArray[np.int32]

I8, I16, I32, I64, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
VECTORS = PANEL // LANES
FLOATS = ir.VectorType(F32, LANES)


def _block(rows: int) -> Callable[..., None]:
    """A compiled function that writes the products of N anchors with a panel of candidates."""

    @intrinsic
    def multiply(
        _context: Any, a: Any, i: Any, k: Any, b: Any, at: Any, depth: Any, sums: Any, scales_a: Any,
        scales_b: Any, j: Any, out: Any
    ) -> tuple[Any, Any]:  # fmt: skip
        """out[i:, j:] = products of a[i:, k:] and the panel b[at:], 4 * ``depth`` long, as bfloat16."""
        return types.void(a, i, k, b, at, depth, sums, scales_a, scales_b, j, out), lambda *given: _generate(
            rows, *given
        )

    function: Callable[..., None] = multiply
    return function


def _generate(rows: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    arrays = {
        n: context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 3, 6, 7, 8, 10)
    }
    i, k, at, depth, j = (args[n] for n in (1, 2, 4, 5, 9))

    def place(n: int, *terms: Any) -> Any:
        """The address of an array's data, plus these bytes."""
        address = builder.ptrtoint(arrays[n].data, I64)
        for term in terms:
            address = builder.add(address, term)
        return address

    def load(address: Any, kind: Any, align: int) -> Any:
        return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)

    def bytes_of(number: Any, size: int) -> Any:
        return builder.mul(number, ir.Constant(I64, size))

    stride = builder.extract_value(arrays[0].strides, 0)
    own = [builder.add(i, ir.Constant(I64, row)) for row in range(rows)]
    anchors = [place(0, builder.mul(row, stride), k) for row in own]
    panel = place(3, at)
    starts = [spread(builder, load(place(6, bytes_of(row, 4)), I32, 4)) for row in own]

    before, loop, done = (
        builder.block,
        builder.append_basic_block("depth"),
        builder.append_basic_block("done"),
    )
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(I64)
    step.add_incoming(ir.Constant(I64, 0), before)
    totals = [[builder.phi(INTS) for _ in range(VECTORS)] for _ in range(rows)]
    four = bytes_of(step, 4)
    theirs = [
        load(builder.add(panel, builder.add(bytes_of(step, 4 * PANEL), ir.Constant(I64, 64 * v))), INTS, 4)
        for v in range(VECTORS)
    ]
    added = []
    for row in range(rows):
        ours = spread(builder, load(builder.add(anchors[row], four), I32, 1))
        added.append([add_products(builder, totals[row][v], theirs[v], ours) for v in range(VECTORS)])
        for v in range(VECTORS):
            totals[row][v].add_incoming(starts[row], before)
            totals[row][v].add_incoming(added[row][v], loop)
    following = builder.add(step, ir.Constant(I64, 1))
    step.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)

    builder.position_at_end(done)
    scales = [
        load(place(8, bytes_of(j, 4), ir.Constant(I64, 4 * LANES * v)), FLOATS, 4) for v in range(VECTORS)
    ]
    width = builder.extract_value(arrays[10].strides, 0)
    for row in range(rows):
        scale = spread(builder, load(place(7, bytes_of(own[row], 4)), F32, 4), FLOATS)
        for v in range(VECTORS):
            product = builder.fmul(builder.sitofp(added[row][v], FLOATS), builder.fmul(scale, scales[v]))
            address = place(10, builder.mul(own[row], width), bytes_of(j, 2), ir.Constant(I64, 2 * LANES * v))
            halves = _rounded(builder, product)
            builder.store(halves, builder.inttoptr(address, halves.type.as_pointer()), align=2)
    return context.get_dummy_value()


def _rounded(builder: Any, floats: Any) -> Any:
    """Sixteen floats as bfloat16 (to even)."""
    bits = builder.bitcast(floats, INTS)
    odd = builder.and_(builder.lshr(bits, all_of(16)), all_of(1))
    bits = builder.lshr(builder.add(builder.add(bits, all_of(0x7FFF)), odd), all_of(16))
    return builder.trunc(bits, ir.VectorType(I16, LANES))


_many, _one = _block(ROWS), _block(1)


def depths(levels: Offsets) -> Offsets:
    """(L + 1,) where the blocks of dimensions begin, each filled up to a multiple of four entries."""
    widths = np.diff(levels, prepend=0)
    return np.concatenate([[0], np.cumsum(-(-widths // 4) * 4)]).astype(np.int64)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _quantise(x: Floats, factor: Any, out: Bytes) -> None:
    for j in range(len(x)):
        out[j] = np.int8(np.int32(np.rint(x[j] * factor)))


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def quantise(
    vectors: Floats, levels: Offsets, places: Offsets, start: int, end: int, scales: Floats, out: Bytes
) -> None:  # fmt: skip
    """Write the vectors [start, end) in 8 bits.

    Args:
        vectors: (n, d) float32.
        levels: (L,) ascending dimensions.
        places: From ``depths``.
        start: First vector.
        end: One past the last.
        scales: (L, at least n) written: what each block is multiplied with; 0 where all of it is 0.
        out: (at least n, places[-1]) written, rows from ``start``.
    """
    for i in range(start, end):
        begin = 0
        for level in range(len(levels)):
            block = vectors[i, begin : levels[level]]
            top = largest(block)
            scales[level, i] = top / np.float32(TOP)
            row = out[i, places[level] : places[level + 1]]
            _quantise(block, np.float32(TOP) / top if top > 0 else np.float32(0), row)
            row[len(block) :] = 0
            begin = levels[level]


@njit(nogil=True, cache=True, error_model="numpy")
def corrections(quantised: Bytes, places: Offsets, start: int, end: int, out: Sums) -> None:
    """Set out (L, n) at anchors [start, end) to -SHIFT times the sum of each block's entries."""
    for i in range(start, end):
        for level in range(len(places) - 1):
            total = np.int32(0)
            for k in range(places[level], places[level + 1]):
                total += np.int32(quantised[i, k])
            out[level, i] = -SHIFT * total


@njit(nogil=True, cache=True, error_model="numpy")
def pack(
    quantised: Bytes, places: Offsets, start: int, end: int, out: npt.NDArray[np.int32]
) -> None:  # fmt: skip
    """Lay candidates [start, end) out in panels.

    Args:
        quantised: (n, places[-1]) from ``quantise``, n a multiple of PANEL; SHIFT is added here.
        places: From ``depths``.
        start: First candidate.
        end: One past the last.
        out: (n * places[-1] / 4,) written: one block after the other, of each all panels, of these four
            entries of each candidate.
    """
    n = len(quantised)
    for i in range(start, end):
        fours = quantised[i].view(np.int32)
        panel, lane = i // PANEL, i % PANEL
        for level in range(len(places) - 1):
            first, depth = places[level] // 4, (places[level + 1] - places[level]) // 4
            at = first * n + panel * depth * PANEL + lane
            for k in range(depth):
                out[at + k * PANEL] = fours[first + k] ^ np.int32(SHIFTS)


@njit(nogil=True, cache=True, error_model="numpy")
def multiply(
    anchors: Bytes,
    corrected: Sums,
    scales_a: Floats,
    candidates: npt.NDArray[np.int32],
    scales_p: Floats,
    places: Offsets,
    rows: tuple[int, int],
    columns: tuple[int, int],
    out: npt.NDArray[np.int16],
) -> None:
    """The products of each block of dimensions.

    Args:
        anchors: (B, places[-1]) from ``quantise``, as is scales_a.
        corrected: (L, B) from ``corrections``.
        scales_a: (L, B).
        candidates: From ``pack``.
        scales_p: (L, n) from ``quantise``.
        places: From ``depths``.
        rows: Anchors, from and to.
        columns: Candidates, likewise, both multiples of PANEL.
        out: (L, rows, columns) bfloat16 as int16, written.
    """
    n, (first, last), R = scales_p.shape[1], columns, rows[1] - rows[0]
    own = anchors[rows[0] : rows[1]]
    for level in range(len(places) - 1):
        depth = (places[level + 1] - places[level]) // 4
        sums, scales = corrected[level, rows[0] : rows[1]], scales_a[level, rows[0] : rows[1]]
        others, target = scales_p[level, first:last], out[level]
        for panel in range(first // PANEL, last // PANEL):
            at = 4 * (places[level] // 4 * n + panel * depth * PANEL)
            column = panel * PANEL - first
            i = 0
            while i + ROWS <= R:
                _many(own, i, places[level], candidates, at, depth, sums, scales, others, column, target)
                i += ROWS
            while i < R:
                _one(own, i, places[level], candidates, at, depth, sums, scales, others, column, target)
                i += 1
