"""Every task in processes of every start method, after the parent has done all of them: the child finds the
same.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import every_task
import pytest

SCRIPT = Path(__file__).with_name("every_task.py")
SECONDS = 290
SLOW = {"density"}  # which compiles for half a minute
NAMES = [name for name in every_task.TASKS if name not in SLOW]


def outcome(method, names, threads):
    """What becomes of these tasks in children."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), method, *names],
        env=os.environ | {"STATIM_NUM_THREADS": str(threads)}, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("method", "threads"), [("fork", 1), ("fork", 2), ("forkserver", 2), ("spawn", 2)])
def test_a_child_does_every_task(method, threads):
    assert outcome(method, NAMES, threads) == dict.fromkeys(NAMES, "same")


@pytest.mark.long
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_dense_regions_in_a_child(method):
    assert outcome(method, ["density"], 1) == {"density": "same"}


@pytest.mark.long
def test_dense_regions_in_a_forked_child(monkeypatch):
    """numba would end a child that goes on with its parent's OpenMP threads."""
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "omp")
    assert "spawn or forkserver" in outcome("fork", ["density"], 2)["density"]
