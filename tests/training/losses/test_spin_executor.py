"""Threads that do phases together: order, errors, and who may call them when."""

import multiprocessing
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from statim import threads as pool
from statim.kernels.atomics import all_done, done, take
from statim.training.losses import spin_executor


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_part_is_done_once_and_no_phase_begins_before_the_one_before_has_ended(threads):
    sizes, lock, seen = (7, 0, 1, 16, 3), threading.Lock(), []

    def act(phase, part):
        time.sleep(0.001 * (part % 3))
        with lock:
            seen.append((phase, part))

    for _ in range(5):
        seen.clear()
        spin_executor.run(
            [(parts, lambda part, phase=phase: act(phase, part)) for phase, parts in enumerate(sizes)],
            threads,
        )
        assert sorted(seen) == [(phase, part) for phase, parts in enumerate(sizes) for part in range(parts)]
        assert [phase for phase, _ in seen] == sorted(phase for phase, _ in seen)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_is_raised_when_all_have_come_to_rest_and_what_follows_is_not_begun(threads):
    running, later = [], []

    def act(part):
        running.append(part)
        if part == 1:
            raise ValueError("the second part")
        time.sleep(0.05)
        running.remove(part)

    with pytest.raises(ValueError, match="the second part"):
        spin_executor.run([(4, act), (4, later.append)], threads)
    assert running == [1]
    assert later == []
    spin_executor.run([(4, later.append)], threads)  # and all is well afterwards
    assert sorted(later) == [0, 1, 2, 3]


def test_nobody_goes_on_alone_after_an_interrupt():
    parts = []

    def act(part):
        parts.append(part)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        spin_executor.run([(50, act), (50, act)], 2)
    begun = len(parts)
    assert begun <= 4
    time.sleep(0.1)
    assert len(parts) == begun


def test_several_callers_at_once_each_get_their_own_work_done():
    found = {}

    def call(number):
        own = np.zeros(200, np.int64)
        for _ in range(20):
            spin_executor.run([(100, lambda part: own.__setitem__(part, own[part] + 1))] * 2, 2)
        found[number] = own[:100].tolist()

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(found[number] == [40] * 100 for number in range(4))


def test_on_a_thread_of_the_pools_it_is_done_alone():
    found, both = {}, threading.Barrier(2)

    def call():
        both.wait(60)  # one of the two is here, the other on a thread of the pool
        used = []
        spin_executor.run([(5, lambda _: used.append(threading.current_thread()))], 2)
        found[threading.current_thread()] = used

    pool.run([call] * 2, 2)
    assert all(len(used) == 5 for used in found.values())
    [inside] = found.keys() - {threading.current_thread()}
    assert set(found[inside]) == {inside}


def test_it_waits_for_threads_that_sleep_and_come_late():
    spin_executor.run([(2, lambda _: None)], 2)
    time.sleep(0.1)  # the helper has gone to sleep
    names = set()

    def act(_):
        names.add(threading.current_thread().name)
        time.sleep(0.02)

    spin_executor.run([(8, act)], 2)
    assert len(names) == 2


def test_after_a_failure_compiled_code_is_given_no_more_parts():
    taken, failed = [], threading.Event()

    def go(numbers):
        if threading.current_thread() is threading.main_thread():
            failed.set()
            raise KeyboardInterrupt
        failed.wait(60)
        while not numbers[0]:
            time.sleep(0.001)
        taken.append(take(numbers, 0))
        assert not all_done(numbers, 0, 5)

    with pytest.raises(KeyboardInterrupt):
        spin_executor.together(go, 1, 2)
    assert all(part >= 5 for part in taken)


def test_compiled_code_takes_parts_by_the_same_numbers():
    taken = []

    def go(numbers):
        while (part := take(numbers, 0)) < 10:
            taken.append(part)
            done(numbers, 0)
        assert all_done(numbers, 0, 10)

    spin_executor.together(go, 1, 3)
    assert sorted(taken) == list(range(10))


def _child(results):
    total = np.zeros(6)
    spin_executor.run([(6, lambda part: total.__setitem__(part, part))], 2)
    results.put(total.sum())


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    spin_executor.run([(2, lambda _: None)], 2)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_child, args=(results,))
    child.start()
    assert results.get(timeout=60) == 15
    child.join(60)
    assert child.exitcode == 0


END = """
import atexit, threading
from statim.training.losses import spin_executor
def alive():
    print(sum(thread.name == "statim-phases" for thread in threading.enumerate()))
spin_executor.run([(8, lambda _: None)] * 3, 3)
alive()
atexit._run_exitfuncs()
alive()
spin_executor.run([(8, lambda part: print(part, end=" "))], 3)
"""


def test_at_the_end_of_the_interpreter_no_thread_is_left_that_could_come_back():
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["2", "0", *map(str, range(8))]
