import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statim import threads
from statim.errors import InputError


def test_count_of_an_argument():
    assert threads.count(1) == 1
    assert threads.count(7) == 7


def test_count_of_the_variable(monkeypatch):
    monkeypatch.setenv("STATIM_NUM_THREADS", "3")
    assert threads.count() == 3
    assert threads.count(2) == 2  # the argument is nearer
    monkeypatch.setenv("STATIM_NUM_THREADS", "")
    assert threads.count() == threads.count(None) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound to processors here")
def test_count_of_the_processors_at_hand():
    mine = os.sched_getaffinity(0)
    assert threads.count() == len(mine)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert threads.count() == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.parametrize(
    ("said", "allowed"),
    [("max 100000", None), ("100000 100000", 1), ("150000 100000", 2), ("1000 100000", 1), ("nonsense", None),
        ("", None)],
)  # fmt: skip
def test_count_of_a_containers_share(said, allowed, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    threads.QUOTA.write_text(said)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    threads._share.cache_clear()
    try:
        assert threads.count() == (allowed or 64)
        assert threads.count(7) == 7
    finally:
        threads._share.cache_clear()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, 2.0, True, "many", [], float("inf")])
def test_count_of_nonsense(wrong):
    with pytest.raises(InputError, match=r"^threads is .*; it must be a whole number of at least 1$"):
        threads.count(wrong)


@pytest.mark.parametrize("wrong", ["0", "-2", "1.5", "all"])
def test_variable_with_nonsense(wrong, monkeypatch):
    monkeypatch.setenv("STATIM_NUM_THREADS", wrong)
    with pytest.raises(InputError, match=rf"^STATIM_NUM_THREADS is '{wrong}'; it must be"):
        threads.count()


@given(st.integers(0, 1000), st.integers(1, 50))
def test_ranges_cut_everything_once_and_evenly(total, parts):
    found = threads.ranges(total, parts)
    assert [index for start, end in found for index in range(start, end)] == list(range(total))
    assert len(found) == min(parts, total)
    sizes = [end - start for start, end in found]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


@pytest.mark.parametrize("workers", [1, 2, 5, 50])
def test_run_keeps_the_order(workers):
    def task(index):
        time.sleep(0.001 * (7 * index % 5))
        return index

    assert threads.run([partial(task, index) for index in range(30)], workers) == list(range(30))
    assert threads.run([], workers) == []


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_stream_keeps_the_order(workers):
    def task(index):
        time.sleep(0.001 * (7 * index % 5))
        return index

    assert list(threads.stream(task, range(30), workers)) == list(range(30))
    assert list(threads.stream(task, [], workers)) == []


class Gauge:
    """How many are inside at once, and the most that ever were."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_more_threads_than_given(workers):
    threads.run([partial(time.sleep, 0.001)] * 8, 8)  # a larger pool exists already
    gauge = Gauge()

    def task(_=None):
        with gauge:
            time.sleep(0.005)

    threads.run([task] * 12, workers)
    assert gauge.most == workers
    gauge.most = 0
    list(threads.stream(task, range(12), workers))
    assert gauge.most == workers


def test_stream_is_bounded():
    """The source is read only so far ahead as threads can use, however slow the consumer is."""
    read = 0

    def source():
        nonlocal read
        for index in range(1000):
            read += 1
            yield index

    for seen, index in enumerate(threads.stream(lambda index: index, source(), 3)):
        assert index == seen
        assert read <= seen + 2 * 3 + 1


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_errors_of_tasks_come_through(workers):
    def task(index):
        if index == 5:
            raise InputError("number 5")
        return index

    with pytest.raises(InputError, match="number 5"):
        threads.run([partial(task, index) for index in range(12)], workers)
    seen = []
    with pytest.raises(InputError, match="number 5"):
        for value in threads.stream(task, range(12), workers):
            seen.append(value)
    assert seen == [0, 1, 2, 3, 4]


def test_the_first_error_of_a_stream_is_the_first_in_order():
    def task(index):
        time.sleep(0.02 if index == 1 else 0)
        if index >= 1:
            raise InputError(f"number {index}")

    with pytest.raises(InputError, match="number 1"):
        list(threads.stream(task, range(8), 4))


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_the_source_come_through(workers):
    def source():
        yield 1
        raise LookupError("the source broke")

    with pytest.raises(LookupError, match="the source broke"):
        list(threads.stream(lambda value: value, source(), workers))


def test_after_an_error_nothing_runs_on():
    running = Gauge()
    begun = []

    def task(index):
        begun.append(index)
        with running:
            time.sleep(0.01)
        if index == 0:
            raise InputError("stop")

    with pytest.raises(InputError):
        threads.run([partial(task, index) for index in range(100)], 4)
    assert running.inside == 0
    assert len(begun) < 20
    begun.clear()
    with pytest.raises(InputError):
        list(threads.stream(task, range(100), 4))
    assert running.inside == 0
    assert len(begun) < 20
    before = len(begun)
    time.sleep(0.05)
    assert len(begun) == before


def test_a_consumer_that_has_seen_enough():
    running = Gauge()

    def task(index):
        with running:
            time.sleep(0.01)
        return index

    stream = threads.stream(task, range(1000), 4)
    assert next(stream) == 0
    stream.close()
    assert running.inside == 0


@pytest.mark.timeout(60)
def test_work_inside_work_does_not_wait_for_itself():
    def inner(index):
        return index + 1

    def by_run(index):
        return sum(threads.run([partial(inner, index + k) for k in range(4)], 2))

    def by_stream(index):
        return sum(threads.stream(inner, range(index, index + 4), 2))

    expected = [4 * index + 10 for index in range(20)]
    for outer in (by_run, by_stream):
        assert threads.run([partial(outer, index) for index in range(20)], 2) == expected
        assert list(threads.stream(outer, range(20), 2)) == expected


@pytest.mark.timeout(60)
def test_a_stream_that_feeds_a_stream():
    first = threads.stream(lambda index: index + 1, range(50), 2)
    second = threads.stream(lambda index: index * 2, first, 2)
    assert list(second) == [2 * (index + 1) for index in range(50)]


@pytest.mark.timeout(60)
def test_many_callers_at_once():
    found = {}

    def caller(name):
        found[name] = list(threads.stream(lambda index: (name, index), range(200), 3))

    callers = [threading.Thread(target=caller, args=(name,)) for name in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert found == {name: [(name, index) for index in range(200)] for name in range(8)}


def run_code(code, *, timeout=60):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_its_own_threads():
    """Also a child that is born in the middle of a stream and leaves it."""
    out = run_code(
        """
        import os, sys, warnings
        # of Python 3.12 and later: fork while threads run
        warnings.simplefilter("ignore", DeprecationWarning)
        from statim import threads
        double = lambda index: 2 * index
        assert list(threads.stream(double, range(9), 3)) == list(range(0, 18, 2))
        for index in threads.stream(double, range(100), 3):
            if index == 10:
                child = os.fork()
                if child == 0:
                    break
        if child == 0:
            doubled = list(threads.stream(double, range(9), 3))
            right = doubled == threads.run([lambda: 0, lambda: 2], 2) + list(range(4, 18, 2))
            sys.exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print("both")
        """
    )
    assert out == "both\n"


def in_a_child(workers):
    return list(threads.stream(abs, range(10), workers))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_kinds_of_processes(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(in_a_child, [2, 3]) == [list(range(10))] * 2


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("way", ["stream", "run"])
def test_an_interrupt_leaves_nothing_running(way):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import threading, time
                from statim import threads
                inside, begun = [], []
                def task(index=0):
                    begun.append(index); inside.append(index); time.sleep(0.01); inside.remove(index)
                print("ready", flush=True)
                try:
                    if {way!r} == "stream":
                        for _ in threads.stream(task, range(100_000), 2): pass
                    else:
                        threads.run([task] * 100_000, 2)
                except KeyboardInterrupt:
                    before = len(begun)
                    time.sleep(0.1)
                    print(len(inside), len(begun) - before, before > 3)
                """
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    running, later, worked = out.split()
    assert worked == "True"
    assert later == "0"
    assert int(running) <= (1 if way == "run" else 0)  # the interrupted thread's own task never ended
    assert process.returncode == 0


def test_ahead_keeps_order_and_errors():
    def some():
        yield from range(5)
        raise ValueError("five")

    found = []
    with pytest.raises(ValueError, match="five"):
        found.extend(threads.ahead(some()))
    assert list(threads.ahead(range(1000), 3)) == list(range(1000))
    found = []
    with pytest.raises(ValueError, match="five"):
        for item in threads.ahead(some(), 2):
            found.append(item)
    assert found == list(range(5))


@pytest.mark.parametrize("most", [1, 3])
def test_ahead_is_bounded_and_stops(most):
    begun, closed = [], threading.Event()

    def some():
        try:
            for item in itertools.count():
                begun.append(item)
                yield item
        finally:
            closed.set()

    items = threads.ahead(some(), most)
    for expected in range(20):
        assert next(items) == expected
        assert len(begun) <= expected + 1 + most
    items.close()
    assert closed.is_set()
    assert len(begun) <= 20 + most
