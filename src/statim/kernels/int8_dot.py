"""Products of bytes as LLVM is told of them: four neighbours at a time, in sixteen places.

With AVX512-VNNI it is one instruction (vpdpbusd) for 64 products. It takes one side unsigned, so that side
has SHIFT added, which the other side's sum takes off again. With AVX2 there are four for 32: magnitudes of
one side times the other with its signs, in pairs of 16 bits, which are then added up. Entries of the other
side are above -128, so neither loses anything, and all machines give the same.
"""

from typing import Any

from llvmlite import ir

from statim.kernels.processor import FEATURES

LANES = 16  # of a register with AVX-512, of two with AVX2; with four bytes each
INTS = ir.VectorType(ir.IntType(32), LANES)

VNNI = bool(FEATURES.get("avx512vnni"))
FAST_BYTES = VNNI or bool(FEATURES.get("avx2"))
SHIFT = 128 if VNNI else 0  # added to each byte of the side that is laid out for it
SHIFTS = -0x7F7F7F80 if VNNI else 0  # four bytes are that much more by exclusive or


def spread(builder: Any, number: Any, kind: Any = INTS) -> Any:
    """A number in every place of a vector of this kind."""
    nothing, places = (
        ir.Constant(kind, ir.Undefined),
        ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None),
    )
    one = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, places)


def all_of(number: int) -> Any:
    """The same in every place of a vector, known when compiled."""
    return ir.Constant(INTS, [number] * LANES)


def add_products(builder: Any, total: Any, shifted: Any, signed: Any) -> Any:
    """In each place, ``total`` and the products of four bytes.

    Without such instructions it is right, and slow.
    """
    if VNNI:
        kind = ir.FunctionType(INTS, [INTS, INTS, INTS])
        function = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
        return builder.call(function, [total, shifted, signed])
    if FAST_BYTES:
        return builder.add(total, _by_pairs(builder, shifted, signed))
    for bit in (0, 8, 16, 24):
        left, right = (
            builder.ashr(builder.shl(four, all_of(24 - bit)), all_of(24)) for four in (shifted, signed)
        )
        total = builder.add(total, builder.mul(left, right))
    return total


def _by_pairs(builder: Any, left: Any, right: Any) -> Any:
    """The products of four bytes, both signed, by AVX2."""
    bytes_, pairs, fours = (ir.VectorType(ir.IntType(bits), 256 // bits) for bits in (8, 16, 32))

    def call(name: str, result: Any, *given: Any) -> Any:
        kind = ir.FunctionType(result, [one.type for one in given])
        return builder.call(builder.module.declare_intrinsic(name, (), kind), given)

    def part(four: Any, first: int) -> Any:
        places = ir.Constant(fours, list(range(first, first + LANES // 2)))
        return builder.bitcast(builder.shuffle_vector(four, ir.Constant(INTS, ir.Undefined), places), bytes_)

    sums = []
    for first in (0, LANES // 2):
        ours, theirs = part(left, first), part(right, first)
        magnitudes = call("llvm.abs.v32i8", bytes_, ours, ir.IntType(1)(0))
        two = call(
            "llvm.x86.avx2.pmadd.ub.sw",
            pairs,
            magnitudes,
            call("llvm.x86.avx2.psign.b", bytes_, theirs, ours),
        )
        sums.append(call("llvm.x86.avx2.pmadd.wd", fours, two, ir.Constant(pairs, [1] * 16)))
    return builder.shuffle_vector(*sums, ir.Constant(INTS, list(range(LANES))))
