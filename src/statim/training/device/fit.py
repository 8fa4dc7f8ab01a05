"""The training loop on a device: plan a block of steps, run them without waiting, look at their losses."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch

from statim.errors import InputError
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Schedule, dropout_key
from statim.training.datasets.sets import TrainingData
from statim.training.device.distributed import ALONE, Group
from statim.training.device.loss import contrastive
from statim.training.device.optimizer import DeviceAdam
from statim.training.device.plans import Batch, DeviceData
from statim.training.loop.trainer import DivergenceError, torch_threads
from statim.training.recipe import Recipe

DEVICES = ("auto", "cpu", "cuda")


def choose(name: str) -> torch.device:
    """The device of that name; of several processes on one machine, each takes a GPU of its own.

    Raises:
        InputError: There is no such device here.
    """
    if name not in DEVICES:
        raise InputError(f"device is {name!r}; it must be one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device is 'cuda', but torch sees no GPU here; install a torch built for CUDA and check "
            "nvidia-smi, or give --device cpu"
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK") or 0) % torch.cuda.device_count())


def fit(
    data: TrainingData,
    optimizer: DeviceAdam,
    recipe: Recipe,
    *,
    on_step: Callable[[DeviceAdam, float], bool | None] | None = None,
    needs_state: Callable[[int], bool] = lambda step: False,  # noqa: ARG005
    group: Group = ALONE,
    until: int | None = None,
) -> None:
    """Train from ``optimizer``'s step to the recipe's last or ``until``: ``trainer.fit`` on a device.

    Args:
        data: The pairs.
        optimizer: The table and its moments; its rates decide the number of steps.
        recipe: How.
        on_step: Called for each step, in order, with the step's loss, once a block of steps has been taken;
            says whether to stop, which it may do where the state is needed. The optimizer's ``step`` counts
            along; its table and moments are of that step only where ``needs_state`` said so.
        needs_state: The steps after which ``on_step`` uses more than the loss.
        group: The processes that share each batch.
        until: The step to train to.

    Raises:
        DivergenceError: The loss is no longer finite; the message says at which step.
        InputError: This cannot be trained on a device.
        StatimError: Another process was lost.
    """
    taught = recipe.distil_weight > 0 or recipe.asymmetric
    if not isinstance(data, TrainingSet) or recipe.loss != "contrastive" or recipe.row_wise or taught:
        other = "distillation" if taught else f"the loss {recipe.loss}"
        asked = "row-wise moments" if recipe.row_wise else other
        raise InputError(
            f"{asked} cannot be trained on a GPU or by several processes; give --device cpu and start "
            "one process"
        )
    schedule = Schedule(data, recipe)
    optimizer.check_equal(group)
    on_device = DeviceData(data, len(optimizer), optimizer.device, recipe.token_dropout)
    with _exact_products():
        if optimizer.device.type == "cpu":
            torch.set_num_threads(optimizer.threads)
        plans = _plans(on_device, optimizer, schedule, recipe.seed, needs_state, until)
        plan = next(plans, None)
        while plan is not None:
            losses = torch.stack([_step(one, optimizer, recipe, schedule.size, group) for one in plan])
            plan = next(plans, None)  # while the device is busy
            for loss in group.total(losses).tolist():
                optimizer.step += 1
                if not math.isfinite(loss):
                    raise DivergenceError(
                        f"the loss is {loss} at step {optimizer.step}: training has diverged; lower the "
                        f"learning rate (now {recipe.learning_rate:g}) or the scale (now {recipe.scale:g})"
                    )
                if on_step is not None and on_step(optimizer, loss):
                    plan = None
    optimizer.check_equal(group)


def _step(one: Batch, optimizer: DeviceAdam, recipe: Recipe, batch: int, group: Group) -> torch.Tensor:
    """Take one step; returns the loss of this process's share of the anchors."""
    vectors = optimizer.read(one, group)
    own = group.share(one.anchors)
    masked = one.masked_rows, one.masked_columns
    if group.size > 1:
        kept = torch.nonzero((masked[0] >= own.start) & (masked[0] < own.stop)).flatten()
        masked = masked[0][kept] - own.start, masked[1][kept]
    loss, da, dp = contrastive(
        vectors[own], vectors[one.anchors :], one.columns[own], masked,
        levels=recipe.levels, weights=recipe.weights, scale=recipe.scale,
        both_directions=recipe.both_directions,
        margin=recipe.false_negative_margin,
        half=recipe.precision != "fp32", group=group, batch=batch,
    )  # fmt: skip
    gradients = torch.zeros_like(vectors)
    gradients[own], gradients[one.anchors :] = da, dp
    optimizer.update(one, group.total(gradients))
    return loss


def _plans(
    data: DeviceData,
    optimizer: DeviceAdam,
    schedule: Schedule,
    seed: int,
    needs_state: Callable[[int], bool],
    until: int | None,
) -> Iterator[list[Batch]]:
    """Blocks of batches from this step on; a block ends with an epoch, or where the state is needed."""
    most = data.steps_at_once(schedule.size)
    step, last = optimizer.step, len(optimizer.rates) - 1 if until is None else until
    side = torch.cuda.Stream(data.device) if data.device.type == "cuda" else None  # type: ignore[no-untyped-call]
    while step < last:
        end = step + 1
        while end < min(last, step + most) and end % schedule.steps and not needs_state(end):
            end += 1
        chosen = torch.from_numpy(np.stack([schedule(one) for one in range(step, end)]))
        keys = [dropout_key(seed, one) for one in range(step, end)] if data.dropout > 0 else []
        if side is None:
            yield data.plan(chosen, keys)
        else:
            yield _beside(data, chosen, keys, side)
        step = end


def _beside(
    data: DeviceData, chosen: torch.Tensor, keys: list[int], side: "torch.cuda.Stream"
) -> list[Batch]:
    """Plan on a separate stream, so that waiting for sizes does not wait for the steps under way."""
    with torch.cuda.stream(side):
        planned = data.plan(chosen.to(data.device), keys)
    present = torch.cuda.current_stream(data.device)
    present.wait_stream(side)
    for tensor in {id(part): part for one in planned for part in one.tensors()}.values():
        tensor.record_stream(present)  # their memory is not reused before the steps are done with them
    return planned


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """float32 products stay float32: bfloat16 is asked for where it is wanted.

    torch's settings are restored afterwards.
    """
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with torch_threads():
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
