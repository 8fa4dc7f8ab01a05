"""The steps of a training: from a table to the one that is kept, on this processor, on a device, or by several processes."""

from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim.progress import Progress
from statim.training import checkpoint, distributed, run
from statim.training.checkpoint import Checkpoints
from statim.training.development import Development
from statim.training.device.fit import choose
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.history import History
from statim.training.mined import Miner
from statim.training.optimizer import SparseAdam
from statim.training.recipe import Recipe
from statim.training.sets import TextSet, TrainingData
from statim.training.trainer import begin, fit
from statim.training.watch import Best, Watch, tensorboard_writer

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]


def execute(
    asked: SimpleNamespace,
    this: dict[str, Any],
    data: TrainingData,
    recipe: Recipe,
    table: Floats,
    row_rates: Floats | None,
    development: Development | None,
    miner: Miner,
    threads: int,
    out: Path | None,
    taught: TextSet | None,
) -> tuple[Floats, Watch]:
    """Train, from the newest checkpoint where there is one; gives the table to keep."""
    if (
        asked.resume
        and run.change_rate(this, recipe, asked.learning_rate, checkpoint.newest_step(asked.out))
        and out
    ):
        checkpoint.write_run(out, this)
    keep = asked.keep or ("best" if asked.patience else "last")
    optimizer = begin(table, data, recipe, threads, this["rates"], row_rates)
    best = Best(keep == "best")
    before = checkpoint.load(asked.out, optimizer.rates, threads, recipe, row_rates) if asked.resume else None
    if before is not None:
        optimizer, state, extra = before
        best = Best(keep == "best", **state["best"], table=extra.get("best"))
        miner.negatives = extra.get("negatives")
    left = (len(optimizer.rates) - 1 - optimizer.step) * min(recipe.batch, len(data))
    unit = "texts" if recipe.loss in ("classes", "distillation") else "pairs"
    with ExitStack() as stack:
        bar = stack.enter_context(Progress("train", total=left, unit=unit, show=asked.progress))
        history = History(checkpoint.folder(out) / checkpoint.LOG if out else None, step=optimizer.step)
        stack.enter_context(closing(history))
        watch = Watch(
            recipe, len(data), history, best,
            development=development, every=this["found"]["evaluate_every"], patience=asked.patience,
            checkpoint_every=asked.checkpoint_every, bar=bar,
        )  # fmt: skip
        watch.miner = miner
        if out is not None:
            kept = checkpoint.KEEP if asked.keep_checkpoints is None else asked.keep_checkpoints
            size = optimizer.table.nbytes + optimizer.first.nbytes + optimizer.second.nbytes
            watch.checkpoints = Checkpoints(out, size, asked.checkpoint_every, kept)
            stack.enter_context(closing(watch.checkpoints))
        if asked.tensorboard is not None and distributed.is_first():
            watch.board = stack.enter_context(closing(tensorboard_writer(asked.tensorboard, optimizer.step)))
        last = _fit(choose(asked.device or "auto"), miner, optimizer, recipe, watch, taught)
    return last if best.table is None else best.table, watch


def _fit(
    device: "torch.device",
    miner: Miner,
    optimizer: SparseAdam,
    recipe: Recipe,
    watch: Watch,
    taught: TextSet | None,
) -> Floats:
    """Train on this processor, on a device, or as one of several processes; gives the table of the last step."""
    if device.type == "cpu" and not distributed.is_distributed():
        watch.begin(optimizer)
        for data, until in miner.stretches(optimizer, lambda: watch.stops):
            fit(data, optimizer, recipe, on_step=watch, until=until, taught=taught)
        return optimizer.finish()
    with distributed.joined(device) as group:
        there = DeviceAdam(optimizer, device, half=recipe.precision != "fp32")
        watch.begin(there)
        for data, until in miner.stretches(there, lambda: watch.stops):
            fit_on_device(
                data, there, recipe, on_step=watch, needs_state=watch.pauses, group=group, until=until
            )
        return there.current()
