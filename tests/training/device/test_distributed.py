"""Two processes that train one model, for real: as the command line starts them, and when one dies."""

import json
import os
import socket
import subprocess
import sys

import numpy as np

from statim.tensors import load_tensors
from statim.training.device.distributed import Group

PAIRS = [
    {
        "anchor": f"how to {verb} a {thing}",
        "positive": (f"{verb} every {thing} with {thing}.{verb} {'and more ' * (i % 5)}"),
    }
    for i, verb in enumerate(
        [
            "sort",
            "open",
            "read",
            "write",
            "join",
            "split",
            "count",
            "merge",
            "copy",
            "delete",
            "find",
            "print",
        ]
    )
    for thing in [
        "list",
        "file",
        "table",
        "string",
        "number",
        "matrix",
        "thread",
        "process",
        "socket",
        "queue",
        "stack",
        "tree",
    ]
]


def command(tmp_path, name, *more):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return [
        "statim", "train", str(path), "--out", str(tmp_path / name), "--start", "random", "--dim", "32",
        "--epochs", "2",
        "--batch", "45", "--heldout", "14", "--no-baselines", "--precision", "fp32", "--device", "cpu", *more,
    ]  # fmt: skip


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def table(folder):
    (path,) = folder.glob("*.safetensors")
    return next(iter(load_tensors(path)[0].values()))


def test_two_processes_train_the_model_that_one_trains(tmp_path):
    more = [
        "--both-directions",
        "--weight-decay",
        "0.1",
        "--token-dropout",
        "0.2",
        "--false-negative-margin",
        "0.3",
    ]
    one = run("-m", *command(tmp_path, "one", *more))
    assert one.returncode == 0, one.stderr
    torchrun = "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())
    two = run(*torchrun, "-m", "--", *command(tmp_path, "two", "--json", *more))
    assert two.returncode == 0, two.stderr
    figures = json.loads(two.stdout)  # one process alone has printed
    assert figures["heldout"]
    expected, found = table(tmp_path / "one"), table(tmp_path / "two")
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert not np.array_equal(found, np.zeros_like(found))
    assert not list(tmp_path.glob("*.training"))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


DIES = """
import os, sys
from statim.training.device import fit
step, taken = fit._step, []
def dying(*arguments):
    taken.append(1)
    if os.environ["RANK"] == "1" and len(taken) == 3:
        os._exit(9)
    return step(*arguments)
fit._step = dying
sys.argv = sys.argv[1:]
from statim.cli import main
main()
"""


def test_when_one_dies_the_other_stops_with_a_sentence(tmp_path):
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", DIES, *command(tmp_path, "model", "--checkpoint-every", "1")],
            env=os.environ | shared | {"RANK": rank}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    (_, said), _ = (process.communicate(timeout=60) for process in both)
    assert [process.returncode for process in both] == [2, 9]
    last = said.strip().split("\n")[-1]
    assert last.startswith("error: process 0 of 2 lost the others, so training stopped; start all again")
    assert "Traceback" not in said
    assert len(list((tmp_path / "model.training").glob("step-*"))) == 2
    resumed = run(
        "-m", *command(tmp_path, "model", "--checkpoint-every", "1", "--resume", str(tmp_path / "model"))
    )
    assert resumed.returncode == 0, resumed.stderr


def test_shares_are_all_of_it_once():
    for size in (1, 2, 3, 7):
        shares = [Group(rank, size).share(20) for rank in range(size)]
        assert [i for share in shares for i in range(20)[share]] == list(range(20))
