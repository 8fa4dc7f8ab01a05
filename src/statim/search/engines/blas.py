"""How many threads numpy's matrix products use.

BLAS has threads of its own, one a processor. They are left alone unless somebody asked for a number.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from statim import threads as pool

_lock = threading.Lock()
_users = 0
_limits: Any = None


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Hold numpy to ``threads`` threads, or to STATIM_NUM_THREADS, inside the block; None and no variable change nothing.

    The limit is the process's. Blocks that overlap share the first one's, and the last one out lifts it.
    """
    global _users, _limits
    workers = pool.count(threads)
    if threads is None and not os.environ.get("STATIM_NUM_THREADS"):
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with _lock:
        if _users == 0:
            _limits = threadpool_limits(workers, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limits.restore_original_limits()
