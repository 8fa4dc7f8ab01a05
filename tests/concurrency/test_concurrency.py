"""Threads and processes at once: the same answers as one alone, and ends without a trace. (Locks:
tests/test_partial.py.)
"""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from actors import MANY, answers, model, texts

from statim import cache
from statim.search.index import Index

SCRIPT = Path(__file__).with_name("actors.py")
PATIENCE = 200


def begun(*arguments):
    command = [sys.executable, "-W", "ignore", SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it hangs: {process.communicate()}")
    return process.returncode, out, err


@pytest.mark.parametrize("threads", [1, 2])
def test_sixteen_threads_encode_the_same(threads):
    used, given, start = model(), texts(), threading.Barrier(16)
    truth = used.encode(given, threads=1)
    few = used.encode(given[:5])

    def work(number):
        start.wait()
        return used.encode(given, threads=threads), used.encode(given[:5])

    with ThreadPoolExecutor(16) as pool:
        for many, some in pool.map(work, range(16)):
            assert many.tobytes() == truth.tobytes()
            assert some.tobytes() == few.tobytes()
    assert truth.shape == (MANY, 32)
    assert np.isfinite(truth).all()


def test_sixteen_threads_search_the_same(tmp_path):
    used = model()
    index = Index.build(used, texts(300), tmp_path / "index")
    truth = answers(index, used, 1)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: answers(index, used), range(16))) == {truth}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_begin_while_threads_run(method, tmp_path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    assert ended(begun("processes", tmp_path, method)) == (0, "same", "")


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("daemon", "encode"), ("daemon", "search"), ("daemon", "train"), ("pool", "encode"),
        ("thread", "encode"), ("thread", "search"),
    ],
)  # fmt: skip
def test_the_interpreter_ends_in_the_middle(way, what, tmp_path):
    """Quietly; what is waited for is done first."""
    found = ended(begun("leave", tmp_path, way, what))
    assert found == (0, "leaving" if way == "daemon" else "leaving, done", "")


def test_two_first_runs_on_one_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    start = time.time() + 3  # after both have imported
    found = [ended(one) for one in [begun("first", tmp_path, start) for _ in range(2)]]
    assert [(code, err) for code, _, err in found] == [(0, "")] * 2
    assert found[0][1] == found[1][1] != ""
    kept = [path for path in cache.folder("python-docs").iterdir() if not path.name.endswith(".lock")]
    assert [path.suffix for path in kept] == [".safetensors"]


def test_two_writers_of_an_index(tmp_path):
    """One waits or is told; in the end what both have added is there."""
    used = model()
    Index.build(used, texts(50), tmp_path / "index")
    for code, _, err in [ended(one) for one in [begun("add", tmp_path, name, 8) for name in "xy"]]:
        assert (code, err) == (0, "")
    index = Index.load(tmp_path / "index")
    assert len(index) == 66
    found = {hit.id for hit in index.search("w001", 66, mode="vector")}
    assert {f"{name}{number}" for name in "xy" for number in range(8)} <= found
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def resources():
    """Resident bytes, open descriptors and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
    )


@pytest.mark.long
@pytest.mark.xdist_group("soak")
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc")
def test_nothing_grows(tmp_path, record_property):
    """Encoding, searching, changing and opening again, for STATIM_SOAK seconds: memory, descriptors and
    threads stay.
    """
    seconds = float(os.environ.get("STATIM_SOAK") or 60)
    used, seen, rounds = model(), [], 0
    Index.build(used, texts(200), tmp_path / "index")
    truth, began = used.encode(texts(), threads=2).tobytes(), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        while time.monotonic() - began < seconds:
            begun_at = time.monotonic()
            index = Index.load(tmp_path / "index")
            work = [pool.submit(answers, index, used) for _ in range(4)]
            assert len({one.result() for one in work}) == 1
            index.add([f"w00{rounds % 10} w001"], ids=["new"])
            assert Index.load(tmp_path / "index").delete(["new"]) == 1
            assert used.encode(texts(), threads=2).tobytes() == truth
            if rounds % 50 == 0:
                Index.build(used, texts(200), tmp_path / "index", overwrite=True)
            rounds += 1
            time.sleep(
                min(5, 3 * (time.monotonic() - begun_at))
            )  # leaves most of the processors to other tests
            if time.monotonic() - began > seconds / 3:
                seen.append(resources())
    quarter = max(1, len(seen) // 4)
    first, last = (
        [max(column) for column in zip(*some, strict=True)] for some in (seen[:quarter], seen[-quarter:])
    )
    record_property(
        "figures",
        f"soak: {rounds:,} rounds in {seconds:.0f} s; bytes, descriptors, threads {first} -> {last}",
    )
    assert last[0] < first[0] + (32 << 20), (first, last)
    assert last[1] <= first[1] + 2, (first, last)
    assert last[2] <= first[2], (first, last)
