"""Phases that several threads work through together, spinning rather than sleeping between them.

Nor between one piece of work and the next, if that comes soon: a step of a training takes so few milliseconds
that waking threads, which takes longest on a virtual machine, would be much of it.
"""

import atexit
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.kernels.atomics import SPACING, SPINS, Numbers, add, all_done, done, take, wait_for

Phase = tuple[int, Callable[[int], object]]  # how many parts, and what does one

LEAVING = 5.0  # seconds to wait, at the interpreter's end, for a thread that is at work
PATIENCE = 2 * SPINS  # looks, a millisecond or two, before a thread without work goes to sleep


def spans(ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Ranges, from and to, as compiled code takes them: (n, 2)."""
    return np.array(ranges, np.int64).reshape(-1, 2)


def run(phases: Sequence[Phase], threads: int) -> None:
    """Do each phase's parts on at most ``threads`` threads, this one included; a free thread takes the next.

    A thread only waits for parts that others are doing, so nothing is lost where these come late.

    The first error is raised once every thread has come to rest; parts that had not begun by then are not
    begun.
    """

    def go(numbers: Numbers) -> None:
        for phase, (parts, act) in enumerate(phases):
            while (part := take(numbers, phase)) < parts:
                act(part)
                done(numbers, phase)
            if not all_done(numbers, phase, parts):
                return

    together(go, len(phases), threads)


def together(go: Callable[[Numbers], object], phases: int, threads: int) -> None:
    """Let all threads go through some phases.

    Args:
        go: What each does: of every phase, it takes parts while there are any, and waits until all are done,
            with the functions of ``kernels.atomics`` and the numbers that it is given.
        phases: How many.
        threads: Threads to use, this one included. Errors are raised as by ``run``.
    """
    work = _Work(go, phases)
    if executor.alone(threads):
        work()
        work.finish()
        return
    helpers = _helpers.get(threads) or _helpers.setdefault(threads, _Helpers(threads - 1))
    if helpers.lock.acquire(blocking=False):
        try:
            helpers.help(work)
        finally:
            helpers.lock.release()
    else:  # they are at another thread's work
        executor.run([work] * threads, threads)
    work.finish()


class _Work:
    """What any number of threads may do together; each returns when there is nothing left to do."""

    def __init__(self, go: Callable[[Numbers], object], phases: int) -> None:
        self._go, self._errors = go, list[BaseException]()
        # a failure, the phases; then helpers that have come, and left, and nothing
        self._came, self._left, self._never = (SPACING * (2 * phases + place) for place in (1, 2, 3))
        self._numbers = np.zeros(self._never + SPACING, np.int64)

    def __call__(self) -> None:
        """Take part. No error comes out, but ``finish`` raises it."""
        try:
            self._go(self._numbers)
        except BaseException as error:
            self.fail(error)

    def help(self) -> None:
        """Take part as a helper, whom ``finish`` waits for after a failure."""
        add(self._numbers, self._came, 1)
        if (
            not self._errors
        ):  # looked at after coming, so that a thread that fails waits for those that have not seen it
            self()
        add(self._numbers, self._left, 1)

    def fail(self, error: BaseException) -> None:
        """Let nobody begin another part."""
        self._errors.append(error)
        add(self._numbers, 0, 1)

    def finish(self) -> None:
        """Raise the first error, when all helpers have left."""
        if self._errors:
            wait_for(self._numbers, self._left, int(self._numbers[self._came]), self._never)
            raise self._errors[0]


class _Helpers:
    """Threads that wait for work, awake for a while; the holder of the lock may give them some."""

    def __init__(self, count: int) -> None:
        self.lock, self._threads = threading.Lock(), list[threading.Thread]()
        self._count = count
        self._bell, self._given, self._over = threading.Condition(), 0, False
        self._work: _Work | None = None
        self._numbers = np.zeros(2 * SPACING, np.int64)  # pieces of work given; never a failure

    def help(self, work: _Work) -> None:
        """Do the work together with them."""
        while len(self._threads) < self._count and not self._over:
            thread = threading.Thread(target=self._wait, name="statim-phases", daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            self._work = work
            self._ring()
            work()
        except BaseException as error:  # an interrupt, anywhere: the helpers must not go on alone
            work.fail(error)
        finally:
            self._work = None  # who comes late has nothing to do, and what it held is free

    def leave(self) -> None:
        """End the threads: one returning from compiled code after the interpreter's end would crash."""
        self._over = True
        self._ring()
        for thread in self._threads:
            thread.join(LEAVING)

    def _ring(self) -> None:
        with self._bell:
            self._given += 1
            self._bell.notify_all()
        add(self._numbers, 0, 1)

    def _wait(self) -> None:
        executor.do_alone()
        seen = 0
        while not self._over:
            if not wait_for(self._numbers, 0, seen + 1, SPACING, PATIENCE):
                with self._bell:
                    while self._given == seen:
                        self._bell.wait()
            seen, work = self._given, self._work
            if work is not None:
                work.help()
            del work


_helpers: dict[int, _Helpers] = {}  # by number of threads


@atexit.register
def _leave() -> None:
    for helpers in _helpers.values():
        helpers.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.clear)  # threads do not survive a fork
