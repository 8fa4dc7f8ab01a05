"""The training loop: batch, vectors, loss and gradient, rows."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

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


class DivergenceError(InputError):
    """The loss or the table is no longer finite."""


def steps_per_epoch(pairs: int, recipe: Recipe) -> int:
    """Full batches in an epoch; pairs that fill no batch are left to another epoch's order. At least one."""
    return max(1, pairs // recipe.batch)


def learning_rates(
    total: int, recipe: Recipe, changes: Sequence[tuple[int, float]] = ()
) -> npt.NDArray[np.float64]:
    """The rate of each step from 1 to ``total``, (total + 1,) float64: a linear rise, then what the schedule says.

    Linear and cosine reach 0 one step after the last, so that every step counts.

    Args:
        total: Steps.
        recipe: Peak rate, schedule and warm-up.
        changes: (step, peak rate): after that step the rates are those of another peak.
    """
    rates = _scheduled(total, recipe)
    for step, peak in changes:
        rates[step + 1 :] = _scheduled(total, dataclasses.replace(recipe, learning_rate=peak))[step + 1 :]
    return rates


def _scheduled(total: int, recipe: Recipe) -> npt.NDArray[np.float64]:
    steps = np.arange(total + 1)
    rising = max(1, math.ceil(total * recipe.warmup))
    left = (total + 1 - steps) / max(1, total + 1 - rising)  # 1 at the peak, 0 after the last step
    if recipe.schedule == "cosine":
        left = (1 - np.cos(np.pi * np.clip(left, 0, 1))) / 2
    elif recipe.schedule == "constant":
        left = np.ones(total + 1)
    return recipe.learning_rate * np.minimum(steps / rising, left)


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
    on_step: Callable[[SparseAdam, float], bool] | None = None,
) -> None:
    """Train ``optimizer.table`` from the step it stands at to the recipe's last one.

    Args:
        data: The pairs.
        optimizer: The table and its moments; its rates decide the number of steps.
        recipe: How.
        on_step: Called after each step with the step's loss; says whether to stop.

    Raises:
        DivergenceError: The loss is no longer finite; the message says at which step.
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
                raise DivergenceError(
                    f"the loss is {loss} at step {optimizer.step + 1}: training has diverged; lower the learning rate "
                    f"(now {recipe.learning_rate:g}) or the scale (now {recipe.scale:g})"
                )
            optimizer.update(gradient)
            if on_step is not None and on_step(optimizer, loss):
                break
