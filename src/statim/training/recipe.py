"""The recipe: every number that decides a training, in one frozen record that the checkpoint and the model card keep."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from statim.errors import InputError

PRECISIONS = ("bf16", "fp32")
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True)
class Recipe:
    """How a table is trained. ``Recipe.make`` derives what is not given from the size of the data.

    Attributes:
        dim: Dimensions of the table, d.
        levels: Matryoshka dimensions, ascending, the last is d; one level trains the full dimension alone.
        batch: Pairs per step, B.
        epochs: Passes over the data.
        learning_rate: Adam's peak rate. Tables start with entries of about 1 (root mean square), so it is a relative one.
        schedule: What the rate does after warm-up: ``linear`` falls to 0, ``cosine`` does in half a wave (Loshchilov and Hutter,
            2017), ``constant`` stays.
        warmup: Share of the steps in which the rate rises linearly from 0.
        scale: What cosines are multiplied by in the loss (1 / temperature).
        both_directions: Train candidate -> anchor as well as anchor -> candidate.
        clip: The gradient of the whole table is scaled down to this norm where it is larger.
        precision: ``bf16`` multiplies matrices in bfloat16 with float32 sums, where the processor can; ``fp32`` never does.
        seed: Decides the order of the pairs and all random numbers.
    """

    dim: int
    levels: tuple[int, ...]
    batch: int
    epochs: int
    learning_rate: float
    schedule: str = "linear"
    warmup: float = 0.1
    scale: float = 20.0
    both_directions: bool = False
    clip: float = 1.0
    precision: str = "bf16"
    seed: int = 0

    @staticmethod
    def make(pairs: int, start_dim: int | None, **given: Any) -> "Recipe":
        """A recipe for so many training pairs; ``given`` overrides what is not None.

        Args:
            pairs: Training pairs.
            start_dim: Dimensions of the table that training starts from; None for a random start.
            given: Attributes of Recipe.

        Raises:
            InputError: A value is out of range; the message names it.
        """
        values = {name: value for name, value in given.items() if value is not None}
        dim = values.setdefault("dim", start_dim or (256 if pairs < 20_000 else 512))
        _check("dim", dim, 1, 65_536, whole=True)
        values["levels"] = _levels(values.get("levels"), dim)
        values.setdefault("batch", max(16, min(1024, 2 ** int(math.log2(max(16, pairs // 16))))))
        values.setdefault("epochs", 3 if pairs < 1_000_000 else 1)
        values.setdefault("learning_rate", 0.1 if start_dim else 0.2)
        _check("batch", values["batch"], 2, 1 << 20, whole=True)
        _check("epochs", values["epochs"], 1, 100_000, whole=True)
        _check("learning rate", values["learning_rate"], 1e-9, 1e3)
        _check("scale", values.get("scale", 20.0), 1e-3, 1e4)
        _check("clip", values.get("clip", 1.0), 1e-9, 1e9)
        _check("warm-up", values.get("warmup", 0.1), 0.0, 1.0)
        _check("seed", values.get("seed", 0), 0, 2**63 - 1, whole=True)
        for name, known in (("precision", PRECISIONS), ("schedule", SCHEDULES)):
            if name in values and values[name] not in known:
                raise InputError(f"{name} is {values[name]!r}; it must be one of {', '.join(known)}")
        return Recipe(**values)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values for JSON."""
        return dataclasses.asdict(self) | {"levels": list(self.levels)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Recipe":
        """What ``to_dict`` gave."""
        return Recipe(**(values | {"levels": tuple(values["levels"])}))


def _check(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high:  # NaN compares false
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name} is {value!r}; it must be {kind} from {low:g} to {high:g}")


def _levels(levels: Any, dim: int) -> tuple[int, ...]:
    """Matryoshka dimensions: those given and the full one; by default halves of the full one down to 32 or so."""
    if levels is None:
        levels = [dim]
        while levels[-1] >= 64:
            levels.append(levels[-1] // 2)
    found: tuple[int, ...] = tuple(sorted({*levels, dim}))
    for level in found:
        _check("Matryoshka level", level, 1, dim, whole=True)
    return found
