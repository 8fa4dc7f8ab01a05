"""The shim, compiled; and a summary of the figures that tests record under the name "figures".

With STATIM_FIGURES=FILE the figures of each test are appended there as soon as it has passed, and a test
that is there is not run again: so the long tests, which take an hour, go on where they were stopped. Of
another state of src/ nothing is taken over.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "search"))  # real_postgres


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The library to preload."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if not sys.platform.startswith("linux"):
        pytest.skip("the shim knows Linux's system calls only")
    if compiler is None:
        pytest.skip("there is no C compiler (cc, gcc, clang) to build the shim with")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [
        compiler,
        "-O2",
        "-Wall",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        library,
        HERE / "shim.c",
        "-ldl",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.fixture(scope="session")
def harness(shim):
    """Run one of the scripts here with the shim; gives the lines of JSON that it prints."""

    def run(script, *arguments, **variables):
        memory = Path("/dev/shm")  # quick, and its fsync waits for no disk
        place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None
        with tempfile.TemporaryDirectory(
            dir=place, prefix="statim-faults-", ignore_cleanup_errors=True
        ) as scratch:
            done = subprocess.run(
                [sys.executable, HERE / script, scratch, *map(str, arguments)], capture_output=True,
                text=True,
                env={**os.environ, "LD_PRELOAD": str(shim), **variables},
            )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


KEPT = Path(os.environ["STATIM_FIGURES"]) if os.environ.get("STATIM_FIGURES") else None


@functools.cache
def state():
    """A hash of all sources."""
    found = hashlib.sha256()
    for path in sorted((HERE.parent.parent / "src" / "statim").rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def kept():
    """The figures of each test that has passed, by its name."""
    if KEPT is None or not KEPT.exists():
        return {}
    lines = [json.loads(line) for line in KEPT.read_text().splitlines()]
    return {line["test"]: line["figures"] for line in lines if line["state"] == state()}


def pytest_collection_modifyitems(items):
    """Leave out what has passed."""
    done = kept()
    for item in items:
        if item.nodeid.split("@")[0] in done:
            item.add_marker(pytest.mark.skip(reason=f"has passed, see {KEPT}"))


def pytest_runtest_logreport(report):
    """Keep what passed, in the process that has all reports."""
    if (
        KEPT is not None
        and report.when == "call"
        and report.passed
        and "PYTEST_XDIST_WORKER" not in os.environ
    ):
        line = {"state": state(), "test": report.nodeid.split("@")[0], "figures": figures_of(report)}
        with KEPT.open("a") as file:
            file.write(json.dumps(line) + "\n")


def figures_of(report):
    """What a test recorded."""
    return [value for name, value in report.user_properties if name == "figures"]


def pytest_terminal_summary(terminalreporter):
    """Print the figures of all tests, sums first."""
    reports = [
        report
        for found in terminalreporter.stats.values()
        for report in found
        if hasattr(report, "user_properties")
    ]
    figures = [value for report in reports for value in figures_of(report)]
    if KEPT is not None:
        figures = [value for values in kept().values() for value in values]
    sums = {}
    for found in figures:
        if isinstance(found, dict):
            mine = sums.setdefault(found["kind"], {})
            for name, value in found.items():
                if name != "kind":
                    mine[name] = mine.get(name, 0) + value
    lines = [
        f"{kind}: " + ", ".join(f"{value:,} {name}" for name, value in mine.items())
        for kind, mine in sorted(sums.items())
    ]
    lines += [found for found in figures if isinstance(found, str)]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
