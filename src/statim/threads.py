"""Pools of threads for the whole process; kernels release the interpreter lock, so threads are enough.

The number of threads is an argument's, else ``STATIM_NUM_THREADS``, else the processors this process may use
(a container may have a share of them by time, rounded up). Work is cut
into the same parts in the same order for a given number of threads, so results do not depend on timing.

Nothing here can wait for itself: work that is already on one of these threads does its own parts one after
the other.
"""

import contextlib
import functools
import itertools
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar, cast

from statim.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

QUOTA = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of Linux's control groups: microseconds of processors, and in how many

PARTS = 4  # of work for each thread, so that none waits long for another that was interrupted
PATIENCE = 2.0  # seconds to wait for a thread that was told to stop and may be waiting itself

_pools: dict[
    int, ThreadPoolExecutor
] = {}  # by number of threads, so that no call runs on more than it was given
_here = threading.local()  # .inside is set on the threads of the pools


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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return int(min(cores, _share()))
    try:
        number = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1 or isinstance(given, (bool, float)):
        raise InputError(f"{where} is {given!r}; it must be a whole number of at least 1")
    return int(number)


@functools.cache
def _share() -> float:
    """The processors of this container's share of time, at least 1; infinity without a limit."""
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # there is no such file, or it says "max"
        return math.inf


def _pool(threads: int) -> ThreadPoolExecutor:
    """The process's executor of this many threads, made on first use."""
    pool = _pools.get(threads)
    if pool is None:
        pool = ThreadPoolExecutor(threads, "statim", initializer=do_alone)
        pool = _pools.setdefault(threads, pool)
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork: the child makes its own


def do_alone() -> None:
    """This thread's own work is done one part after the other from now on, as on a thread of the pools."""
    _here.inside = True


def alone(threads: int) -> bool:
    """Does work for this many threads run serially here, on one thread or inside a pool's thread?"""
    return threads == 1 or getattr(_here, "inside", False)


def submit(pool: ThreadPoolExecutor, function: Callable[..., R], *given: object) -> Future[R]:
    """As ``pool.submit``; but when the interpreter is ending and pools take nothing more, it is done here.

    Raises:
        SystemExit: This is a daemon thread, which nobody waits for: so it ends without a word.
    """
    try:
        return pool.submit(function, *given)
    except RuntimeError as error:
        _check_ending(error)
    done: Future[R] = Future()
    try:
        done.set_result(function(*given))
    except BaseException as error:
        done.set_exception(error)
    return done


def _check_ending(error: RuntimeError) -> None:
    """Raise the error unless it is Python's refusal of new work and new threads at the interpreter's end."""
    if "shutdown" not in str(error):
        raise error
    if threading.current_thread().daemon:
        raise SystemExit


def run(tasks: Sequence[Callable[[], R]], threads: int) -> list[R]:
    """Run ``tasks`` on at most ``threads`` threads, this one included; results keep the tasks' order.

    The first error is raised once every thread has come to rest; tasks that had not begun by then are not
    begun.
    """
    if alone(threads) or len(tasks) <= 1:
        return [task() for task in tasks]
    results: dict[int, R] = {}
    failed = threading.Event()
    waiting = iter(range(len(tasks)))  # a free thread takes the next, one at a time

    def work() -> None:
        try:
            for index in waiting:
                if failed.is_set():
                    return
                results[index] = tasks[index]()
        except BaseException:
            failed.set()
            raise

    futures = [submit(_pool(threads), work) for _ in range(1, min(threads, len(tasks)))]
    try:
        work()
    finally:
        wait(futures)
    for future in futures:
        future.result()
    return [results[index] for index in range(len(tasks))]


def stream(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``map`` over a stream with at most 2 x ``threads`` items under way; results come in order.

    However it ends (an error, an interrupt, a consumer that has seen enough), nothing runs on afterwards.
    """
    if alone(threads):
        yield from map(function, items)
        return
    process = os.getpid()
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
            waiting.append(submit(_pool(threads), function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        if (
            os.getpid() == process
        ):  # else this is a child that was forked midway: the threads are its parent's
            for future in waiting:
                future.cancel()
            wait(waiting)


def ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` contiguous, nearly equal, non-empty ranges."""
    parts = max(1, min(parts, total))
    bounds = [total * part // parts for part in range(parts + 1)]
    return [(start, end) for start, end in itertools.pairwise(bounds) if end > start]


def ahead(items: Iterable[T], most: int = 1) -> Generator[T, None, None]:
    """Iterate over ``items`` on another thread, at most ``most`` ahead; order and errors are kept.

    However it ends, that thread begins nothing new. One that waits for somebody else (a pipe that nobody
    writes to) cannot be woken and is left to wait; it does not keep the process alive.
    """
    room, stopped = threading.Semaphore(most), threading.Event()
    ready: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def work() -> None:
        iterator = iter(items)
        try:
            while room.acquire() and not stopped.is_set():
                ready.put((next(iterator), None))
        except BaseException as error:  # the end, too, is one: StopIteration
            ready.put((None, error))
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    thread = threading.Thread(target=work, name="statim-ahead", daemon=True)
    try:
        thread.start()
    except RuntimeError as refused:
        _check_ending(refused)
        yield from items
        return
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            room.release()
            yield cast(T, item)
            del item  # the next may be long in coming, and this one large
    finally:
        stopped.set()
        room.release()
        thread.join(timeout=PATIENCE)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch computes on the calling thread alone in the block; its own threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
