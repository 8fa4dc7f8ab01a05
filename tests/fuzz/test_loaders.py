"""Whatever stands in a file, its loader gives a value or one of our errors in one sentence, in bounded time
and memory.

By hand: ``python -m pytest tests/fuzz/test_loaders.py -k parquet``, with ``-m long`` for the long ones.
FUZZ_SEED gives other damage, FUZZ_INPUTS more or less of it (of all loaders together; a million unless
given). What was found once is in ``corpus/``, unless it is one that ends the process in another library.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import campaign
import pytest
from loaders import LOADERS

HERE = Path(__file__).parent
SEED = int(os.environ.get("FUZZ_SEED") or 1)
INPUTS = int(os.environ.get("FUZZ_INPUTS") or 1_000_000)
FOUND = [line for path in sorted((HERE / "corpus").glob("*.jsonl")) for line in path.read_text().splitlines()]


def told(record_property, name, figures):
    record_property("figures", {"kind": f"fuzzing {name}", **figures})
    record_property("figures", {"kind": "fuzzing, all loaders together", **figures})


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
def test_some_damage(loader, record_property):
    told(record_property, loader.name, campaign.run(loader, loader.quick, 1))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
def test_much_damage(loader, record_property, tmp_path):
    """In a process of its own, which another library may end: then the input is in the message."""
    count = round(INPUTS * loader.long / sum(loader.long for loader in LOADERS))
    trace = tmp_path / "input.jsonl"
    command = [sys.executable, HERE / "campaign.py", loader.name, str(count), str(SEED), trace]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3500)
    if done.returncode < 0:
        pytest.fail(f"signal {-done.returncode}: {done.stderr[-2000:]}\n{trace.read_text()}")
    assert done.returncode == 0, done.stderr[-6000:]
    told(record_property, loader.name, json.loads(done.stdout))


@pytest.mark.parametrize("line", FOUND, ids=lambda line: json.loads(line)["loader"])
def test_what_was_found_before(line):
    loader, name, data = campaign.again(line)
    with campaign.place(loader.name) as home, campaign.bounded():
        campaign.Target(loader, Path(home)).load(name, data)


def test_a_finding_is_seen(tmp_path):
    """Neither a foreign error nor one that says nothing passes."""
    from dataclasses import replace

    from statim.errors import DataError

    def wordless(folder):
        content = (folder / "v.npy").read_bytes()
        if content[:6] != b"\x93NUMPY":
            raise DataError("")

    def foreign(folder):
        (folder / "v.npy").read_bytes()[200]

    whole = next(loader for loader in LOADERS if loader.name == "vectors .npy")
    for load, said in ((wordless, "says nothing"), (foreign, "IndexError")):
        with pytest.raises(AssertionError, match=said):
            campaign.run(
                replace(
                    whole,
                    make=lambda folder: (folder / "v.npy").write_bytes(b"\x93NUMPY" + b"x" * 200),
                    load=load,
                ),
                500,
                1,
            )


def test_a_corpus_is_small():
    assert sum(path.stat().st_size for path in (HERE / "corpus").iterdir()) < 100_000
