"""The training loop: batch, vectors, loss and gradient, rows."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from statim import threads
from statim.errors import InputError
from statim.training.datasets.bags import Bags
from statim.training.datasets.batches import Schedule, dropout_key
from statim.training.datasets.sets import TextSet, TrainingData
from statim.training.hyperparameters import START
from statim.training.loop.optimizer import Plan, SparseAdam
from statim.training.losses.objectives import Mixed, Objective, objective
from statim.training.recipe import Recipe

Floats = npt.NDArray[np.float32]


class DivergenceError(InputError):
    """The loss or the table is no longer finite."""


def learning_rates(
    total: int, recipe: Recipe, changes: Sequence[tuple[int, float]] = ()
) -> npt.NDArray[np.float64]:
    """The learning rate of steps 1 to ``total``, (total + 1,) float64: linear warmup, then the schedule.

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


def begin(
    table: Floats,
    data: TrainingData,
    recipe: Recipe,
    threads: int,
    changes: Sequence[tuple[int, float]] = (),
    row_rates: Floats | None = None,
    old_rows: int | None = None,
) -> SparseAdam:
    """The optimizer of a table that is to be trained by this recipe on these data.

    ``row_rates`` are SparseAdam's; rows from ``old_rows`` on are new and do not decay to the start.

    Raises:
        InputError: The data cannot be mixed as the recipe says; see ``batches.Schedule``. Or weights decay
            too fast; see SparseAdam.
    """
    rates = learning_rates(Schedule(data, recipe).steps * recipe.epochs, recipe, changes)
    pulled = recipe.decay_to == START and recipe.weight_decay > 0
    origin = table[:old_rows].copy() if pulled else None
    return SparseAdam(
        table, rates, threads, recipe.clip, row_wise=recipe.row_wise, precision=recipe.precision,
        decay=recipe.weight_decay, row_rates=row_rates, origin=origin,
    )  # fmt: skip


@contextlib.contextmanager
def torch_threads() -> Iterator[None]:
    """Restore torch's number of threads afterwards."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    data: TrainingData,
    optimizer: SparseAdam,
    recipe: Recipe,
    *,
    on_step: Callable[[SparseAdam, float], bool | None] | None = None,
    until: int | None = None,
    taught: TextSet | None = None,
) -> None:
    """Train ``optimizer.table`` from its current step to the recipe's last one, or to ``until``.

    Args:
        data: The pairs, scored pairs or labelled texts.
        optimizer: The table and its moments; its rates decide the number of steps.
        recipe: How.
        on_step: Called after each step with the step's loss; says whether to stop.
        until: The step to train to.
        taught: Plain texts that the recipe's ``distil_weight`` is for; their bags begin with those of
            ``data``.

    Raises:
        DivergenceError: The loss is no longer finite; the message says at which step.
        InputError: The loss is for data of another kind.
    """
    aim, bags = objective(data, recipe, optimizer.threads), data.bags
    if taught is not None:
        aim, bags = Mixed(aim, taught, recipe, optimizer.threads), taught.bags
    # the next batch is assembled and sorted while this one is trained on
    with (
        torch_threads(),
        contextlib.closing(threads.ahead(_batches(data, bags, aim, optimizer, recipe, until))) as batches,
    ):
        for targets, plan in batches:
            loss, gradient = aim(optimizer.read(plan), targets)
            if not math.isfinite(loss):
                raise DivergenceError(
                    f"the loss is {loss} at step {optimizer.step + 1}: training has diverged; lower the "
                    f"learning rate (now {recipe.learning_rate:g}) or the scale (now {recipe.scale:g})"
                )
            optimizer.update(plan, gradient)
            if on_step is not None and on_step(optimizer, loss):
                break


def _batches(
    data: TrainingData,
    all_bags: Bags,
    aim: Objective[Any],
    optimizer: SparseAdam,
    recipe: Recipe,
    until: int | None,
) -> Iterator[tuple[Any, Plan]]:
    """Targets and plan of each batch, from the current step of the optimizer to the last one."""
    schedule = Schedule(data, recipe)
    for step in range(optimizer.step, len(optimizer.rates) - 1 if until is None else until):
        texts, targets = aim.batch(schedule(step), step // schedule.steps, step)
        bags, texts = all_bags, texts.copy()
        if recipe.token_dropout > 0:
            bags = bags.dropped(texts, dropout_key(recipe.seed, step), recipe.token_dropout)
            texts = np.arange(len(texts))
        yield targets, optimizer.plan(bags, texts)
