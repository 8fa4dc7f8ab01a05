"""Every engine in a child of a process that has searched: forked (as gunicorn and multiprocessing do), by a
fork server, and spawned.
"""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from statim.search.engines import packages
from statim.search.engines.registry import NAMES

SCRIPT = Path(__file__).parents[1] / "in_processes.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_child_finds_what_its_parent_does(name, tmp_path):
    methods = multiprocessing.get_all_start_methods()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, name, ",".join(methods), tmp_path / "engine"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if line.startswith("found by")]
    assert found == [f"found by {method}" for method in methods], done.stderr[-2000:]


def test_only_packages_that_were_loaded_before_a_fork_keep_to_one_thread(monkeypatch):
    monkeypatch.setattr(packages, "_forked", set())
    assert packages.allowed("faiss", 3) == 3
    monkeypatch.setitem(sys.modules, "faiss", object())
    monkeypatch.delitem(sys.modules, "scann", raising=False)
    packages._mark()  # as in a child
    assert (packages.allowed("faiss", 3), packages.allowed("scann", 3)) == (1, 3)
