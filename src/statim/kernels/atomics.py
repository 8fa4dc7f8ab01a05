"""Numbers that several threads change at once, and waiting for one of them without going to sleep.

A sleeping thread takes long to wake, longer on a virtual machine than much of the work that it is woken for.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from statim.kernels.prepared import njit

# that a waiting thread looks at a number, some tens of microseconds, before it lets others run each time
SPINS = 2_000
NONE = 1 << 62  # the number of a part that no work has
SPACING = 16  # numbers that are changed apart from each other stand two cache lines apart

Numbers = npt.NDArray[np.int64]

ORDER = "seq_cst"  # what was written before a change is seen by every thread that sees the change
_PROCESSOR = binding.get_process_triple().split("-")[0]


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _add(_context: Any, numbers: Any, _at: Any, _more: Any) -> tuple[Any, Any]:
    """Add to numbers[at] in one act; return what it was."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, signature, args), args[2], ORDER)

    return types.int64(numbers, types.int64, types.int64), generate


@intrinsic
def _read(_context: Any, numbers: Any, _at: Any) -> tuple[Any, Any]:
    """numbers[at] as it is now."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), ORDER, 8)

    return types.int64(numbers, types.int64), generate


@intrinsic
def _pause(_context: Any) -> tuple[Any, Any]:
    """Tell the processor that this thread only waits."""

    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if _PROCESSOR in ("x86_64", "i686"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), generate


if os.name == "posix":
    _let_others_run = types.ExternalFunction("sched_yield", types.int32())
else:

    @njit(nogil=True, cache=True)
    def _let_others_run() -> None:
        _pause()


@njit(nogil=True, cache=True)
def add(numbers: Numbers, at: int, more: int) -> int:
    """Add to numbers[at] in one act; return what it was before."""
    before: int = _add(numbers, at, more)
    return before


@njit(nogil=True, cache=True)
def wait_for(numbers: Numbers, at: int, least: int, stop: int, most: int = 0) -> bool:
    """Wait until numbers[at] is at least this large; True, or False once numbers[stop] is not 0.

    Or False once it has been looked at ``most`` times; 0 looks for ever.
    """
    looked = 0
    while _read(numbers, at) < least:
        if _read(numbers, stop) != 0 or looked == most > 0:
            return False
        looked += 1
        if looked > SPINS:
            _let_others_run()
        else:
            _pause()
    return True


# Of each phase that threads do together, ``numbers`` hold how many parts are taken, and done; the first
# number is not 0 once one failed.


@njit(nogil=True, cache=True)
def take(numbers: Numbers, phase: int) -> int:
    """The number of the next part; after a failure, one that no part has."""
    if _read(numbers, 0) != 0:
        return NONE
    part: int = _add(numbers, SPACING * (2 * phase + 1), 1)
    return part


@njit(nogil=True, cache=True)
def done(numbers: Numbers, phase: int) -> None:
    """A part is done."""
    _add(numbers, SPACING * (2 * phase + 2), 1)


@njit(nogil=True, cache=True)
def all_done(numbers: Numbers, phase: int, parts: int) -> bool:
    """Wait until ``count`` parts are done; False once one failed."""
    complete: bool = wait_for(numbers, SPACING * (2 * phase + 2), parts, 0)
    return complete
