"""How many threads numpy's matrix products use.

BLAS has threads of its own, one a processor. They are left alone unless somebody asked for a number, or
several threads multiply at once: then they would wait for each other's threads, so each has one.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

from statim import threads as pool

_lock = threading.Lock()
_users = _asked = 0  # blocks that asked for a number of threads, and the number of the first
_sharing = 0  # blocks that share the processors
_crowded = False  # they were several, and not none since
_held: int | None = None
_limits: Any = None


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Limit numpy to ``threads`` threads, or STATIM_NUM_THREADS, in the block; otherwise change nothing.

    The limit is the process's. Blocks that overlap share the first one's, and the last one out lifts it.
    """
    global _users, _asked
    workers = pool.count(threads)
    if threads is None and not os.environ.get("STATIM_NUM_THREADS"):
        yield
        return
    with _lock:
        _asked = _asked if _users else workers
        _users += 1
        _hold()
    try:
        yield
    finally:
        with _lock:
            _users = max(0, _users - 1)  # a child may leave a block that its parent entered
            _hold()


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """In the block numpy uses all processors, or one for each thread while several threads are in one."""
    global _sharing
    with _lock:
        _sharing += 1
        _hold()
    try:
        yield
    finally:
        with _lock:
            _sharing = max(0, _sharing - 1)
            _hold()


def _hold() -> None:
    """Set the limit that the blocks ask for, if it is another one than now."""
    global _crowded, _held, _limits
    _crowded = _sharing > 1 or (_crowded and _sharing > 0)
    wanted = _asked if _users else 1 if _crowded else None
    if wanted == _held:
        return
    if _limits is not None:
        _limits.restore_original_limits()
    _limits = None if wanted is None else _controller().limit(limits=wanted, user_api="blas")
    _held = wanted


@functools.cache
def _controller() -> Any:
    """Finding the libraries takes long, and numpy's is there from the beginning."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _forget() -> None:
    """In a forked child, where the threads that were in such blocks are not."""
    global _lock, _users, _sharing
    _lock, _users, _sharing = threading.Lock(), 0, 0
    _hold()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
