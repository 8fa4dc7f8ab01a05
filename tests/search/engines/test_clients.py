"""Several threads search one index: what is chosen follows from the work, and BLAS has a thread for each of
them.
"""

import subprocess
import sys
import threading

import numpy as np
import pytest
import threadpoolctl

from statim.search.engines import blas, compiled
from statim.search.engines.exact import Exact
from statim.search.engines.exact_top_k import NARROW_PASS


def vectors(count, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.fixture
def engine():
    found = Exact(64)
    found.add(vectors(NARROW_PASS // 64 + 1000, 64))
    return found


@pytest.fixture
def cold(monkeypatch):
    """As in a process that has not searched yet."""
    for name, value in (("_done", 0), ("_loading", False), ("_ready", False)):
        monkeypatch.setattr(compiled, name, value)


SCRIPT = """
import sys
import numpy as np
if sys.argv[1] == "numba":
    import numba
from statim.search.engines import compiled
from statim.search.engines.exact import Exact
engine = Exact(64)
engine.add(np.random.default_rng(0).standard_normal((70_000, 64)).astype(np.float32))
compiled.WORTH = 4 * 70_000 * 64
first = engine.search(engine.vectors[7:8], 5)
for _ in range(2):
    engine.search(engine.vectors[7:8], 5)
before = "statim.kernels.search.scan" in sys.modules
last = engine.search(engine.vectors[7:8], 5)
assert all(np.array_equal(a, b) for a, b in zip(first, last))
print(before, "statim.kernels.search.scan" in sys.modules)
"""


@pytest.mark.parametrize("loaded", ["numba", "nothing"])
def test_compiled_code_is_loaded_after_enough_work_whatever_else_is_loaded(loaded):
    done = subprocess.run([sys.executable, "-c", SCRIPT, loaded], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_small_vectors_never_load_it(cold, monkeypatch):
    monkeypatch.setattr(compiled, "WORTH", 1)
    engine = Exact(8)
    engine.add(vectors(100, 8))
    engine.search(vectors(1, 8, 1), 3)
    assert not compiled.ready()


def test_one_thread_loads_it_and_the_others_go_on(cold, monkeypatch):
    monkeypatch.setattr(compiled, "_loading", True)
    assert not compiled.worth(10 * compiled.WORTH)
    monkeypatch.setattr(compiled, "_loading", False)
    assert compiled.worth(0)
    assert compiled.worth(0)


def test_threads_find_what_one_finds(cold, engine, monkeypatch):
    """Before, while and after compiled code takes over."""
    monkeypatch.setattr(compiled, "WORTH", 20 * engine.vectors.size)
    queries = vectors(12, 64, 1)
    expected = [engine.search(query[None], 7) for query in queries]
    wrong = []

    def search():
        for query, (scores, positions) in zip(queries, expected, strict=True):
            found = engine.search(query[None], 7)
            if not np.array_equal(found[0], scores) or not np.array_equal(found[1], positions):
                wrong.append(found)

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert compiled.ready()


def used():
    """The threads of numpy's own library; others may be loaded, such as scipy's."""
    return {
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
    }


def test_blas_has_one_thread_for_each_that_shares_it(monkeypatch):
    monkeypatch.delenv("STATIM_NUM_THREADS", raising=False)
    before = used()
    with blas.shared():
        assert used() == before  # nobody else is there
        with blas.shared():
            assert used() == {1}
        assert used() == {1}  # until none is left: the next may come at once
        with blas.limited(2):
            assert used() <= {2}
        assert used() == {1}
    assert used() == before
    with blas.shared(), blas.limited(1):
        assert used() == {1}
    assert used() == before


def test_limits_that_end_in_any_order(monkeypatch):
    monkeypatch.delenv("STATIM_NUM_THREADS", raising=False)
    before = used()
    first, second, third = blas.limited(1), blas.shared(), blas.shared()
    for block in (first, second, third):
        block.__enter__()
    first.__exit__(None, None, None)
    assert used() == {1}
    second.__exit__(None, None, None)
    third.__exit__(None, None, None)
    assert used() == before


def test_libraries_are_looked_for_once(monkeypatch):
    with blas.limited(1):
        pass
    before = used()
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", None)  # whose call would fail
    with blas.limited(1):
        pass
    monkeypatch.undo()
    assert used() == before
