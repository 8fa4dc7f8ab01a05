"""A run that is killed, at whatever moment and however often, ends in the same bits as one that is not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from statim.tensors import load_tensors


def log_without_times(path):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(entry.pop("seconds") >= 0 for entry in entries)
    return entries


def crash(pairs, folder, seed, kills, precision="bf16"):
    """Kill and resume; gives the steps from which it went on, all results compared."""
    folder.mkdir(exist_ok=True)
    script = Path(__file__).with_name("crash.py")
    done = subprocess.run(
        [sys.executable, script, pairs, folder, str(seed), str(kills), precision], capture_output=True,
        text=True, timeout=280
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["done"]
    for name in ("model.safetensors", "tokenizer.json", "config.json", "training.html"):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), name
    logs = [log_without_times(folder / name / "training.jsonl") for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    states = [load_tensors(folder / f"{name}.last" / "table.safetensors") for name in ("whole", "killed")]
    assert states[0][1] == states[1][1]
    assert states[0][0].keys() == {"table", "first", "second", "last", "best"}
    for name, array in states[0][0].items():
        np.testing.assert_array_equal(array, states[1][0][name], name)
    assert not list(folder.rglob("*.statim-partial"))
    assert not (folder / "killed.training").exists()
    return found["steps"]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_killed_and_resumed_gives_the_same_bits(pairs_file, tmp_path, precision):
    steps = crash(pairs_file, tmp_path, seed=1, kills=5, precision=precision)
    assert len(steps) >= 4  # times it was killed before it was done
    assert max(steps) > 0  # in the midst of training, too


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 8))
def test_killed_very_often(pairs_file, tmp_path, seed):
    steps = [crash(pairs_file, tmp_path / str(run), 100 * seed + run, kills=12) for run in range(3)]
    assert sum(map(len, steps)) >= 15
