"""One pool of threads for the whole process; kernels release the interpreter lock, so threads are enough.

The number of threads is an argument's, else ``STATIM_NUM_THREADS``, else the processors this process may use. Work is cut
into the same parts in the same order for a given number of threads, so results do not depend on timing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from statim.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_pool: ThreadPoolExecutor | None = None


def count(threads: int | None = None) -> int:
    """How many threads to use: ``threads``, else ``STATIM_NUM_THREADS``, else the processors at hand.

    Raises:
        InputError: ``threads`` or the variable is not a whole number of at least 1.
    """
    given: object = threads
    where = "threads"
    if threads is None:
        given, where = os.environ.get("STATIM_NUM_THREADS") or None, "STATIM_NUM_THREADS"
    if given is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    try:
        number = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        number = 0
    if number < 1 or isinstance(given, (bool, float)):
        raise InputError(f"{where} is {given!r}; it must be a whole number of at least 1")
    return int(number)


def _executor(threads: int) -> ThreadPoolExecutor:
    """The process's pool, made on first use and made larger when more threads are asked for."""
    global _pool
    if _pool is None or _pool._max_workers < threads:
        _pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="statim")
    return _pool


def _forget_pool() -> None:
    """Threads do not survive a fork: the child makes its own pool."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run(tasks: list[Callable[[], R]], threads: int) -> list[R]:
    """Run ``tasks`` on at most ``threads`` threads, this one included; results come in the order of the tasks."""
    if threads == 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    share = min(threads, len(tasks))
    results: dict[int, R] = {}

    def work(first: int) -> None:
        for index in range(first, len(tasks), share):
            results[index] = tasks[index]()

    futures = [_executor(threads).submit(work, first) for first in range(1, share)]
    try:
        work(0)
    finally:
        for future in futures:
            future.result()
    return [results[index] for index in range(len(tasks))]


def stream(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``map`` over a stream with a bounded number of items under way; results come in order."""
    if threads == 1:
        yield from map(function, items)
        return
    pool = _executor(threads)
    waiting: list[Future[R]] = []
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * threads:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` contiguous, nearly equal, non-empty ranges."""
    parts = max(1, min(parts, total))
    bounds = [total * part // parts for part in range(parts + 1)]
    return [(start, end) for start, end in zip(bounds, bounds[1:], strict=False) if end > start]
