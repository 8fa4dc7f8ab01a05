"""The steps of a training, on this processor, a device or several processes."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim.progress import Progress
from statim.training.datasets.sets import TextSet, TrainingData
from statim.training.device import distributed
from statim.training.device.fit import choose
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.loop.hard_negatives import Miner
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import begin, fit
from statim.training.options import KEEP_CHECKPOINTS, TrainOptions
from statim.training.recipe import Recipe
from statim.training.run import checkpoint
from statim.training.run.callbacks import Best, Callbacks, tensorboard_writer
from statim.training.run.checkpoint import Checkpoints
from statim.training.run.history import History
from statim.training.run.record import Run
from statim.training.run.validation import Validation

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]


def launch(
    options: TrainOptions,
    this: Run,
    data: TrainingData,
    recipe: Recipe,
    table: Floats,
    row_rates: Floats | None,
    development: Validation | None,
    threads: int,
    *,
    mine_first: bool,
    old_rows: int | None = None,
    taught: TextSet | None = None,
) -> tuple[Floats, Callbacks, Run]:
    """Train, from the newest checkpoint where there is one.

    Args:
        options: What the training was asked for.
        this: The run; what it found is known.
        data: What is trained on.
        recipe: How.
        table: (V, d) the table to begin with; it is trained in place.
        row_rates: (V,) learning-rate multiplier of each row; None where all are 1.
        development: What to evaluate on, if anything.
        threads: Threads to use.
        mine_first: Mine hard negatives before the first epoch; see ``Miner``.
        old_rows: Rows from there on are new; see ``trainer.begin``.
        taught: Texts to distil on beside the data, if any.

    Returns:
        The table to keep, the callbacks with what happened, and the run with a learning rate that changed.
    """
    out = Path(options.out) if options.out is not None and distributed.is_first() else None
    assert this.found is not None
    changed = _with_rate(options, this)
    if changed is not this and out is not None:
        checkpoint.write_run(out, changed)
    optimizer = begin(table, data, recipe, threads, changed.rates, row_rates, old_rows)
    optimizer, best, negatives = _from_checkpoint(options, recipe, optimizer)
    miner = Miner(data, recipe, mine_first, threads, negatives)
    left = (len(optimizer.rates) - 1 - optimizer.step) * min(recipe.batch, len(data))
    unit = "texts" if recipe.loss in ("classes", "distillation") else "pairs"
    with ExitStack() as stack:
        bar = stack.enter_context(Progress("train", total=left, unit=unit, show=options.progress))
        history = History(checkpoint.folder(out) / checkpoint.LOG if out else None, step=optimizer.step)
        stack.enter_context(closing(history))
        checkpoints = board = None
        if out is not None:
            kept = KEEP_CHECKPOINTS if options.keep_checkpoints is None else options.keep_checkpoints
            size = optimizer.table.nbytes + optimizer.first.nbytes + optimizer.second.nbytes
            checkpoints = Checkpoints(out, size, options.checkpoint_every, kept)
            stack.enter_context(closing(checkpoints))
        if options.tensorboard is not None and distributed.is_first():
            board = stack.enter_context(closing(tensorboard_writer(options.tensorboard, optimizer.step)))
        callbacks = Callbacks(
            recipe, len(data), history, best,
            development=development, every=this.found.evaluate_every, patience=options.patience,
            checkpoint_every=options.checkpoint_every, bar=bar, checkpoints=checkpoints, board=board,
            miner=miner,
        )  # fmt: skip
        last = _fit(choose(options.device or "auto"), miner, optimizer, recipe, callbacks, taught)
    return last if best.table is None else best.table, callbacks, changed


def _with_rate(options: TrainOptions, this: Run) -> Run:
    """The run with another learning rate from its newest checkpoint on, where it is resumed with one."""
    if not options.resume or options.out is None:
        return this
    return this.with_rate(options.learning_rate, checkpoint.newest_step(options.out))


def _from_checkpoint(
    options: TrainOptions, recipe: Recipe, begun: SparseAdam
) -> tuple[SparseAdam, Best, Any]:
    """Optimizer, best evaluation and mined negatives: from the newest checkpoint, else initial ones."""
    keep, before = (options.keep or ("best" if options.patience else "last")) == "best", None
    if options.resume and options.out is not None:
        before = checkpoint.load(
            options.out, begun.rates, begun.threads, recipe, begun.row_rates, begun.origin
        )
    if before is None:
        return begun, Best(keep), None
    optimizer, state, extra = before
    return optimizer, Best(keep, **state["best"], table=extra.get("best")), extra.get("negatives")


def _fit(
    device: "torch.device",
    miner: Miner,
    optimizer: SparseAdam,
    recipe: Recipe,
    callbacks: Callbacks,
    taught: TextSet | None,
) -> Floats:
    """Train here, on a device, or as one of several processes; return the table of the last step."""
    if device.type == "cpu" and not distributed.is_distributed():
        callbacks.begin(optimizer)
        for data, until in miner.stretches(optimizer, lambda: callbacks.stops):
            fit(data, optimizer, recipe, on_step=callbacks, until=until, taught=taught)
        return optimizer.finish()
    with distributed.joined(device) as group:
        there = DeviceAdam(optimizer, device, half=recipe.precision != "fp32")
        callbacks.begin(there)
        for data, until in miner.stretches(there, lambda: callbacks.stops):
            fit_on_device(
                data, there, recipe, on_step=callbacks, needs_state=callbacks.pauses, group=group, until=until
            )
        return there.current()
