"""One instruction for 64 products of bytes (AVX512-VNNI's vpdpbusd), as LLVM is told of it: four neighbours at a time, unsigned by signed.

The unsigned side has 128 added, which the other side's sum takes off again.
"""

from typing import Any

from llvmlite import binding, ir
from numba import config

LANES = 16  # of a register, with four bytes each
INTS = ir.VectorType(ir.IntType(32), LANES)

# Has the processor the instruction, and is code compiled for this processor?
FAST_BYTES = bool(binding.get_host_cpu_features().get("avx512vnni")) and not config.CPU_NAME


def spread(builder: Any, number: Any, kind: Any = INTS) -> Any:
    """A number in every place of a vector."""
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(INTS, [0] * LANES))


def all_of(number: int) -> Any:
    """The same in every place of a vector, known when compiled."""
    return ir.Constant(INTS, [number] * LANES)


def add_products(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """In each place, ``total`` and the products of four bytes. Without the instruction it is right, and slow."""
    if FAST_BYTES:
        kind = ir.FunctionType(INTS, [INTS, INTS, INTS])
        function = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
        return builder.call(function, [total, unsigned, signed])
    for bit in (0, 8, 16, 24):
        left = builder.and_(builder.lshr(unsigned, all_of(bit)), all_of(255))
        right = builder.ashr(builder.shl(signed, all_of(24 - bit)), all_of(24))
        total = builder.add(total, builder.mul(left, right))
    return total
