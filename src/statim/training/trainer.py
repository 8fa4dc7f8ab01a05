"""The training loop: batch, vectors, loss and gradient, rows."""

import contextlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from statim.errors import InputError
from statim.training.bags import TrainingSet
from statim.training.batches import Assembler, order
from statim.training.contrastive import contrastive
from statim.training.optimizer import SparseAdam
from statim.training.recipe import Recipe

Floats = npt.NDArray[np.float32]


def steps_per_epoch(pairs: int, recipe: Recipe) -> int:
    """Full batches in an epoch; pairs that fill no batch are left to another epoch's order. At least one."""
    return max(1, pairs // recipe.batch)


def learning_rates(total: int, recipe: Recipe) -> npt.NDArray[np.float64]:
    """The rate of each step from 1 to ``total``, (total + 1,) float64: a linear rise, then a linear fall to 0."""
    steps = np.arange(total + 1)
    rising = max(1, math.ceil(total * recipe.warmup))
    shape = np.minimum(steps / rising, (total + 1 - steps) / max(1, total + 1 - rising))
    return recipe.learning_rate * shape


@contextlib.contextmanager
def torch_threads() -> Iterator[None]:
    """Restore torch's number of threads afterwards."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fit(
    data: TrainingSet,
    optimizer: SparseAdam,
    recipe: Recipe,
    *,
    on_step: Callable[[SparseAdam, float], None] | None = None,
) -> None:
    """Train ``optimizer.table`` from the step it stands at to the recipe's last one.

    Args:
        data: The pairs.
        optimizer: The table and its moments; its rates decide the number of steps.
        recipe: How.
        on_step: Called after each step with the step's loss.

    Raises:
        InputError: The loss is no longer finite; the message says at which step.
    """
    per_epoch = steps_per_epoch(len(data), recipe)
    assemble = Assembler(data, recipe.batch)
    pairs, epoch = np.zeros(0, np.int64), -1
    with torch_threads():
        while optimizer.step < len(optimizer.rates) - 1:
            if optimizer.step // per_epoch != epoch:
                epoch = optimizer.step // per_epoch
                pairs = order(recipe.seed, epoch, len(data))
            start = optimizer.step % per_epoch * recipe.batch
            texts, targets = assemble(pairs[start : start + recipe.batch])
            vectors = optimizer.read(data.bags, texts)
            anchors = len(targets.columns)
            loss, gradient = contrastive(
                vectors[:anchors], vectors[anchors:], targets,
                levels=recipe.levels, scale=recipe.scale, both_directions=recipe.both_directions,
                precision=recipe.precision, threads=optimizer.threads,
            )  # fmt: skip
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} at step {optimizer.step + 1}: training has diverged; lower the learning rate "
                    f"(now {recipe.learning_rate:g}) or the scale (now {recipe.scale:g})"
                )
            optimizer.update(gradient)
            if on_step is not None:
                on_step(optimizer, loss)
