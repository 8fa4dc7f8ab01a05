"""Checkpoints: all that a training needs to resume as if it had never stopped.

They are beside the output (``OUT.training``), since OUT itself is written atomically at the end:

    OUT.training/
    ├── run.json            the options, and what was found: see record.py; removed first and written last
    ├── training.jsonl      the log so far: see history.py
    └── step-00000300/      table.safetensors: table, moments, last, best; checkpoint.json: its digest

A checkpoint is written by the training's own thread, as far as the system's memory for files; a copy for
another thread to write would cost as much. Another thread syncs it to the disk, renames it and deletes the
oldest.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.digests import check_seal, seal, stamps, verify
from statim.errors import InputError, ModelError
from statim.files import atomic_directory, locked, read_json, storage_errors, write_json
from statim.partial import MARKER
from statim.strict_json import loads
from statim.tensors import load_tensors, write_tensors
from statim.threads import submit
from statim.training.loop.optimizer import SparseAdam
from statim.training.options import KEEP_CHECKPOINTS
from statim.training.recipe import Recipe
from statim.training.run.record import Run

VERSION = 2
SECONDS = 10.0  # between checkpoints, at least: a kill loses about as much
SHARE = 0.02  # of the time may go into them
SPEED = 5e8  # bytes a second, until one has been measured
SUFFIX = ".training"  # of the folder beside the output
RUN, LOG, TABLE, MANIFEST = "run.json", "training.jsonl", "table.safetensors", "checkpoint.json"

Floats = npt.NDArray[np.float32]


def folder(out: str | Path) -> Path:
    """Where the checkpoints of the training into ``out`` stand."""
    out = Path(out).absolute()
    return out.with_name(out.name + SUFFIX)


@contextlib.contextmanager
def opened(out: str | Path, *, resume: bool) -> Iterator[None]:
    """Keep ``out.training`` for this process alone; an empty one, unless it is to be gone on with.

    Raises:
        InputError: A folder of that name holds something else, or another process is training into ``out``.
        ModelError: There is nothing to resume.
        StorageError: The disk is full, read-only, or not permitted.
    """
    place = folder(out)
    if resume and not (place / RUN).is_file():
        advice = "it is finished" if (Path(out) / LOG).is_file() else "start it again"
        raise ModelError(
            f"there is no interrupted training into {out} ({place / RUN} does not exist); {advice}"
        )
    with storage_errors(place):
        if place.exists() and not (place.is_dir() and all(map(_ours, place.iterdir()))):
            raise InputError(
                f"{place}, where checkpoints would go, holds something else; move it, or choose another --out"
            )
        place.mkdir(0o700, parents=True, exist_ok=True)
    with locked(place, Path(out)):
        with storage_errors(place):
            if not resume:
                _empty(place)
            for left in place.glob(f".*{MARKER}"):  # half-written when a process was killed
                _remove(left)
        yield


def _ours(path: Path) -> bool:
    return path.name in (RUN, LOG) or path.name.startswith("step-") or path.name.endswith(MARKER)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _empty(place: Path) -> None:
    """Remove everything, the run first: without it the rest says nothing."""
    (place / RUN).unlink(missing_ok=True)
    for path in place.iterdir():
        _remove(path)


def finish(out: str | Path) -> None:
    """Remove the folder: the model is saved, or there is nothing to resume from."""
    with storage_errors(folder(out)):
        _empty(folder(out))
        folder(out).rmdir()


def write_run(out: str | Path, run: Run) -> None:
    """Write down what this run is, so that a later process can resume it."""
    write_json(folder(out) / RUN, seal({"version": VERSION, **run.to_dict()}))


def read_run(out: str | Path) -> Run:
    """What ``write_run`` wrote.

    Raises:
        ModelError: It is damaged, or another version of statim wrote it.
    """
    run = read_json(folder(out) / RUN)
    if not isinstance(run, dict) or run.pop("version", None) != VERSION:
        raise ModelError(f"{folder(out)} was written by another version of statim; start the training again")
    check_seal({"version": VERSION, **run}, folder(out) / RUN, "start the training again")
    run.pop("digest", None)
    return Run.from_dict(run)


def steps(out: str | Path) -> list[Path]:
    """The checkpoints there are, oldest first."""
    return sorted(path for path in folder(out).glob("step-[0-9]*") if path.is_dir())


def newest_step(out: str | Path) -> int:
    """The step of the newest checkpoint; 0 before the first."""
    return max((int(path.name.removeprefix("step-")) for path in steps(out)), default=0)


class Checkpoints:
    """Writes the checkpoints of one run.

    Args:
        out: The output they are beside.
        size: Bytes of one, about.
        every: Steps between them; by default they go by the clock, such that they take little of it. When
            they are written changes nothing in what is trained.
        keep: Keep the N newest; 0 writes none.
    """

    def __init__(
        self, out: str | Path, size: int, every: int | None = None, keep: int = KEEP_CHECKPOINTS
    ) -> None:
        self._out, self._size, self._every, self._keep = out, size, every, keep
        self._writer = ThreadPoolExecutor(1, "statim-checkpoint")
        self._pending: Future[None] | None = None
        self._last = time.monotonic()
        self._cost = size / SPEED
        self.seconds = 0.0  # that the training has waited for them

    def due(self, step: int) -> bool:
        """Is it time for one?"""
        if self._keep == 0 or self._every is not None:
            return self._keep > 0 and step % (self._every or 1) == 0
        pause = max(SECONDS, self._cost / SHARE)
        written = self._pending is None or self._pending.done()
        return written and time.monotonic() - self._last >= pause

    def save(
        self,
        optimizer: SparseAdam,
        state: Mapping[str, Any],
        extra: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Write a checkpoint of the present step, then delete all but the newest few.

        Args:
            optimizer: The table and its moments.
            state: What else there is to know, for JSON; ``step`` is added.
            extra: Further arrays.

        Raises:
            StorageError: The disk is full, read-only, or not permitted. Earlier checkpoints still stand.
        """
        started = time.monotonic()
        self._wait()
        arrays = {
            "table": optimizer.table, "first": optimizer.first, "second": optimizer.second,
            "last": optimizer.last,
        } | dict(extra or {})  # fmt: skip
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(
                atomic_directory(folder(self._out) / f"step-{optimizer.step:08d}", overwrite=True)
            )
            with storage_errors(target), (target / TABLE).open("wb") as file:
                write_tensors(file, arrays, {"state": json.dumps({"step": optimizer.step, **state})})
            self._pending = submit(self._writer, self._complete, target, stack.pop_all())
        self._last = time.monotonic()
        self.seconds += self._last - started
        self._cost = self._last - started

    def _complete(self, target: Path, stack: contextlib.ExitStack) -> None:
        with stack, storage_errors(target):
            write_json(target / MANIFEST, seal({"stamps": stamps(target)}))
        # to the disk, and into its place
        for old in steps(self._out)[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def close(self) -> None:
        """Wait for the last one to be safe on the disk.

        Raises:
            StorageError: It could not be written.
        """
        self._writer.shutdown()
        self._wait()


def check(step: Path) -> dict[str, Any]:
    """Check a checkpoint's files; return sizes and digests, none for earlier versions of statim.

    Raises:
        ModelError: One is damaged; the message names it.
    """
    remedy = f"delete {step} to go on from the checkpoint before it (statim train --resume)"
    if not (step / MANIFEST).exists():
        return {}
    try:
        said = read_json(step / MANIFEST)
    except ModelError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("stamps"), dict):
        raise ModelError(f"{step / MANIFEST} is damaged at stamps; {remedy}")
    check_seal(said, step / MANIFEST, remedy)
    verify(step, said["stamps"], "always", remedy)
    return dict(said["stamps"])


def load(
    out: str | Path,
    rates: npt.NDArray[np.float64],
    threads: int,
    recipe: Recipe,
    row_rates: Floats | None = None,
    origin: Floats | None = None,
) -> tuple[SparseAdam, dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """The newest checkpoint, ready to go on, with its state and its further arrays; None before the first.

    Raises:
        ModelError: The checkpoint is not whole.
    """
    found = steps(out)
    if not found:
        return None
    check(found[-1])
    arrays, metadata = load_tensors(found[-1] / TABLE)
    try:
        state: dict[str, Any] = loads(metadata["state"])
        step = int(state["step"])
        table = np.array(arrays.pop("table"), np.float32)
        first, second = (np.array(arrays.pop(name)) for name in ("first", "second"))
        last = np.array(arrays.pop("last"), np.int32)
        _check_shapes(table, first, second, last, recipe.row_wise)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{found[-1]} is not a checkpoint of statim: {error}; delete it to go on from an earlier one"
        ) from None
    optimizer = SparseAdam(
        table, rates, threads, recipe.clip, step, recipe.row_wise, recipe.precision, first, second, last,
        recipe.weight_decay, row_rates, origin,
    )  # fmt: skip
    return optimizer, state, {name: np.array(array) for name, array in arrays.items()}


def _check_shapes(
    table: Floats,
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    last: npt.NDArray[np.int32],
    row_wise: bool,
) -> None:
    """Refuse arrays that do not fit together, before compiled loops follow them.

    Raises:
        ValueError: They do not.
    """
    if table.ndim != 2 or first.shape != table.shape or last.shape != table.shape[:1]:
        raise ValueError("its arrays have other shapes than its table")
    if second.shape != ((len(table), 1) if row_wise else table.shape):
        raise ValueError("its second moments have another shape than its table")
    if {first.dtype, second.dtype} - {np.dtype(np.float32), np.dtype(np.int16)}:
        raise ValueError("its moments have another type")
