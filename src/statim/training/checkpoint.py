"""Checkpoints: all that a training needs to go on as if it had never stopped.

They stand beside the output (``OUT.training``), since OUT itself appears only when it is whole:

    OUT.training/
    ├── run.json            the recipe, the data's hash, what was asked for
    └── step-00000300/      table.safetensors: table, moments, last; and the step
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import InputError, ModelError
from statim.files import atomic_directory, read_json, write_json
from statim.tensors import load_tensors, save_tensors
from statim.training.optimizer import SparseAdam
from statim.training.recipe import Recipe

VERSION = 1
KEEP = 2  # the newest checkpoints
RUN = "run.json"


def folder(out: str | Path) -> Path:
    """Where the checkpoints of the training into ``out`` stand."""
    out = Path(out).absolute()
    return out.with_name(out.name + ".training")


def begin(out: str | Path, run: dict[str, Any]) -> None:
    """Start a new run: forget the checkpoints of an earlier one, and write down what this one is.

    Raises:
        InputError: A folder of that name holds something else.
        StorageError: The disk is full, read-only, or not permitted.
    """
    if folder(out).exists() and not (folder(out) / RUN).is_file() and any(folder(out).iterdir()):
        raise InputError(
            f"{folder(out)}, where checkpoints would go, holds something else; move it, or choose another --out"
        )
    shutil.rmtree(folder(out), ignore_errors=True)
    write_json(folder(out) / RUN, {"version": VERSION} | run)


def finish(out: str | Path) -> None:
    """Remove the checkpoints: the model itself stands."""
    shutil.rmtree(folder(out), ignore_errors=True)


def read_run(out: str | Path) -> dict[str, Any]:
    """What ``begin`` wrote.

    Raises:
        ModelError: There is no interrupted training into ``out``, or another version of statim wrote it.
    """
    if not folder(out).is_dir():
        raise ModelError(
            f"there is no interrupted training into {out} ({folder(out)} does not exist); start it anew"
        )
    run = read_json(folder(out) / RUN)
    if not isinstance(run, dict) or run.get("version") != VERSION:
        raise ModelError(f"{folder(out)} was written by another version of statim; start the training anew")
    return run


def save(out: str | Path, optimizer: SparseAdam) -> None:
    """Write a checkpoint of the present step, then delete all but the newest few."""
    with atomic_directory(folder(out) / f"step-{optimizer.step:08d}", overwrite=True) as target:
        arrays = {
            "table": optimizer.table, "first": optimizer.first, "second": optimizer.second, "last": optimizer.last,
        }  # fmt: skip
        save_tensors(target / "table.safetensors", arrays, {"state": json.dumps({"step": optimizer.step})})
    for old in steps(out)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def steps(out: str | Path) -> list[Path]:
    """The checkpoints there are, oldest first."""
    return sorted(path for path in folder(out).glob("step-*") if path.is_dir())


def load(
    out: str | Path, rates: np.ndarray[Any, np.dtype[np.float64]], threads: int, recipe: Recipe
) -> SparseAdam | None:
    """The newest checkpoint, ready to go on; None when the run was stopped before its first.

    Raises:
        ModelError: The checkpoint is not whole.
    """
    found = steps(out)
    if not found:
        return None
    arrays, metadata = load_tensors(found[-1] / "table.safetensors")
    try:
        step = int(json.loads(metadata["state"])["step"])
        table, first, second = (np.array(arrays[name], np.float32) for name in ("table", "first", "second"))
        last = np.array(arrays["last"], np.int32)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{found[-1]} is not a checkpoint of statim: {error}; delete it to go on from an earlier one"
        ) from None
    return SparseAdam(
        table, rates, threads, recipe.clip, step, recipe.row_wise, recipe.precision, first, second, last
    )
