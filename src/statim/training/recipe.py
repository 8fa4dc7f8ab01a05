"""The recipe: every number that decides a training, in one frozen record that the checkpoint and the model card keep."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from statim.errors import InputError

PRECISIONS = ("int8", "bf16", "fp32")
MIXES = ("together", "proportional", "turn")
SCHEDULES = ("linear", "cosine", "constant")
# Of a row in one step: more would outweigh the decay of Adam's momentum, on which optimizer.SparseAdam counts
MOST_DECAY = 0.05
LEAST_SHARE = 1 / 32  # of ``int8``; benchmarks/RESULTS.md has the quality with and without
# Small data are trained on for at least so many steps, but not for more epochs; see benchmarks/RESULTS.md
LEAST_STEPS, MOST_EPOCHS = 300, 18
# Loss -> the kind of data it is for, one of data.detect_task.KINDS
LOSSES = {
    "contrastive": "pairs",
    "triplet": "pairs",
    "cosent": "scored pairs",
    "cosine": "scored pairs",
    "classes": "labelled texts",
    "margin-mse": "pairs",
    "kl": "pairs",
    "distillation": "plain texts",
}
TAUGHT = ("margin-mse", "kl", "distillation")  # losses that need a teacher


# Options of ``train`` that belong together, where they are not given; see benchmarks/general.py for how they were chosen
PRESETS: dict[str, dict[str, Any]] = {
    "general": {
        "batch": 2048,
        "epochs": 1,
        "learning_rate": 0.04,
        "distil": "sentences",
        "distil_weight": 300.0,
        "distil_epochs": 1,
        "length_power": 0.7,
    },
}


@dataclass(frozen=True)
class Recipe:
    """How a table is trained. ``Recipe.make`` derives what is not given from the size of the data.

    Attributes:
        dim: Dimensions of the table, d.
        levels: Matryoshka dimensions, ascending, the last is d; one level trains the full dimension alone.
        loss: One of LOSSES: ``contrastive`` (pairs, perhaps with negatives), ``triplet`` (pairs with negatives), ``cosent`` or
            ``cosine`` (pairs with scores), ``classes`` (contrastive, between texts of the same and of other labels);
            ``margin-mse`` or ``kl`` (pairs with negatives and a teacher's scores), ``distillation`` (texts and a teacher's vectors).
        weights: One weight a level; None weighs all alike.
        batch: Pairs (or labelled texts) per step, B.
        epochs: Passes over the data.
        learning_rate: Adam's peak rate. Tables start with entries of about 1 (root mean square), so it is a relative one.
        schedule: What the rate does after warm-up: ``linear`` falls to 0, ``cosine`` does in half a wave (Loshchilov and Hutter,
            2017), ``constant`` stays.
        warmup: Share of the steps in which the rate rises linearly from 0.
        scale: What cosines are multiplied by in the loss (1 / temperature).
        both_directions: Train candidate -> anchor as well as anchor -> candidate (contrastive and classes).
        triplet_margin: Of the triplet loss, in cosines.
        false_negative_margin: Candidates whose cosine exceeds the positive's by more than this are no negatives of that anchor
            (contrastive and classes); None takes all others for negatives.
        weight_decay: Decoupled from the gradient (AdamW; Loshchilov and Hutter, 2019): a step shrinks all rows by this times the
            rate, also those that do not occur.
        token_dropout: Probability with which each distinct token of a text is left out of its mean for a step.
        new_rows_rate: What the rate is multiplied by for rows that the start has none for.
        clip: The gradient of the whole table is scaled down to this norm where it is larger.
        precision: ``bf16`` pools rows, multiplies matrices and gathers gradients in bfloat16 with float32 sums, where the
            processor can; ``int8`` beyond that multiplies contrastive scores in 8 bits, likewise, and keeps Adam's moments in
            bfloat16; ``fp32`` rounds nothing. On a GPU ``int8`` is ``bf16``.
        row_wise: Adam keeps one second moment for each row instead of one for each entry.
        seed: Decides the order of the pairs and all random numbers.
        mix: How several data sets are mixed: ``together``, all pairs shuffled; or batches of one set each, as many as a set has
            pairs (``proportional``) or as many of each (``turn``). See batches.Schedule.
        set_weights: How many times the pairs of each set are taken per epoch, in the order of the sets; empty where all once.
        set_limits: How many pairs of each set are used at most, in the order of the sets, 0 for all; empty where all of all.
        hard_negatives: Negatives of each pair that the training mines for itself, see mined.py; 0 mines none.
        mine_every: Epochs from one mining to the next.
        distil_weight: Each step takes a batch of plain texts beside the pairs, and the distance of their vectors from a teacher's
            counts so many times in the loss; 0 takes none.
        distil_epochs: Passes over the plain texts alone before the first pair; 0 makes none.
        length_power: The table's rows end with their lengths to this power: below 1 long rows, which are those of rare words, count
            less beside others in a text's mean; 1 leaves them as they are.
        least_share: Softmax weights below this share of a row's negatives are rounded at random in the gradient, to it or to 0,
            right in the mean (contrastive and classes, not on a GPU); 0 rounds none. See kernels/training/sampled.py.
        asymmetric: Candidates are a teacher's vectors, which do not move: the model is for queries alone.
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
    row_wise: bool = False
    seed: int = 0
    mix: str = "together"
    set_weights: tuple[float, ...] = ()
    loss: str = "contrastive"
    weights: tuple[float, ...] | None = None
    triplet_margin: float = 0.2
    false_negative_margin: float | None = None
    weight_decay: float = 0.0
    token_dropout: float = 0.0
    new_rows_rate: float = 1.0
    set_limits: tuple[int, ...] = ()
    hard_negatives: int = 0
    mine_every: int = 1
    distil_weight: float = 0.0
    distil_epochs: int = 0
    length_power: float = 1.0
    asymmetric: bool = False
    least_share: float = 0.0

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
        values["levels"], values["weights"] = _levels(values.get("levels"), dim, values.get("weights"))
        if values.setdefault("loss", "contrastive") not in LOSSES:
            raise InputError(f"loss is {values['loss']!r}; it must be one of {', '.join(LOSSES)}")
        # losses over single pairs want smaller steps of fewer pairs, and softer comparisons
        contrastive, ranks = values["loss"] in ("contrastive", "classes"), values["loss"] == "kl"
        most = 128 if values["loss"] == "distillation" else 256
        size = min(1024, pairs // 16) if contrastive else min(most, pairs // 32)
        values.setdefault("batch", 2 ** int(math.log2(max(16, size))))
        values.setdefault("learning_rate", 0.05 if not contrastive else 0.1 if start_dim else 0.2)
        values.setdefault("scale", 20.0 if contrastive or ranks else 4.0)
        _check("batch", values["batch"], 2, 1 << 20, whole=True)
        least = (
            math.ceil(LEAST_STEPS * values["batch"] / max(1, pairs)) if values["loss"] == "contrastive" else 0
        )
        values.setdefault("epochs", min(MOST_EPOCHS, max(3, least)) if pairs < 1_000_000 else 1)
        _check("epochs", values["epochs"], 1, 100_000, whole=True)
        _check("learning rate", values["learning_rate"], 1e-9, 1e3)
        _check("scale", values["scale"], 1e-3, 1e4)
        _check("triplet margin", values.get("triplet_margin", 0.2), 0.0, 2.0)
        _check("weight decay", values.get("weight_decay", 0.0), 0.0, 1e6)
        _check("token dropout", values.get("token_dropout", 0.0), 0.0, 0.9)
        _check("the rate of new rows", values.get("new_rows_rate", 1.0), 0.0, 1e3)
        check_decay(
            values.get("weight_decay", 0.0),
            values["learning_rate"] * max(1.0, values.get("new_rows_rate", 1.0)),
        )
        if "false_negative_margin" in values:
            _check("false-negative margin", values["false_negative_margin"], -2.0, 2.0)
            if not contrastive:
                raise InputError(
                    f"a false-negative margin is given, but the loss {values['loss']} has no negatives of other pairs; leave it out"
                )
        if contrastive and values.get("precision") == "int8":
            values.setdefault("least_share", LEAST_SHARE)
        _check("least share", values.get("least_share", 0.0), 0.0, 1.0)
        _check("clip", values.get("clip", 1.0), 1e-9, 1e9)
        _check("warm-up", values.get("warmup", 0.1), 0.0, 1.0)
        _check("seed", values.get("seed", 0), 0, 2**63 - 1, whole=True)
        for name, known in (("precision", PRECISIONS), ("schedule", SCHEDULES), ("mix", MIXES)):
            if name in values and values[name] not in known:
                raise InputError(f"{name} is {values[name]!r}; it must be one of {', '.join(known)}")
        _check("hard negatives", values.get("hard_negatives", 0), 0, 100, whole=True)
        _check("distil weight", values.get("distil_weight", 0.0), 0.0, 1e6)
        _check("distil epochs", values.get("distil_epochs", 0), 0, 100_000, whole=True)
        _check("length power", values.get("length_power", 1.0), 0.0, 2.0)
        _check("mine every", values.get("mine_every", 1), 1, 100_000, whole=True)
        for weight in values.get("set_weights", ()):
            check_weight("a set", weight)
        for limit in values.get("set_limits", ()):
            check_limit("a set", limit or 1)
        return Recipe(**values)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values for JSON."""
        return dataclasses.asdict(self) | {
            "levels": list(self.levels),
            "weights": self.weights and list(self.weights),
            "set_weights": list(self.set_weights),
            "set_limits": list(self.set_limits),
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Recipe":
        """What ``to_dict`` gave."""
        tuples: dict[str, Any] = {
            name: tuple(values[name])
            for name in ("levels", "weights", "set_weights", "set_limits")
            if values.get(name) is not None
        }
        return Recipe(**(values | tuples))


def check_weight(name: str, weight: Any) -> None:
    """Refuse what is no weight of a data set.

    Raises:
        InputError: It is not a number from 0 to 1,000.
    """
    _check(f"the weight of {name}", weight, 0, 1000)


def check_decay(decay: float, rate: float) -> None:
    """Refuse a weight decay that shrinks rows by more than MOST_DECAY in a step.

    Raises:
        InputError: It does.
    """
    if decay * rate > MOST_DECAY:
        raise InputError(
            f"a weight decay of {decay:g} at a rate of {rate:g} shrinks rows by more than {MOST_DECAY:.0%} in a step; give a "
            "smaller one, or a smaller rate"
        )


def check_limit(name: str, limit: Any) -> None:
    """Refuse what is no limit of a data set.

    Raises:
        InputError: It is not a whole number of at least 1.
    """
    _check(f"the limit of {name}", limit, 1, 1e15, whole=True)


def _check(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high:  # NaN compares false
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name} is {value!r}; it must be {kind} from {low:g} to {high:g}")


def _levels(levels: Any, dim: int, weights: Any) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Matryoshka dimensions: those given and the full one; by default halves of the full one down to 32 or so. And weights."""
    if levels is None:
        levels = [dim]
        while levels[-1] >= 64:
            levels.append(levels[-1] // 2)
    found: tuple[int, ...] = tuple(sorted({*levels, dim}))
    for level in found:
        _check("Matryoshka level", level, 1, dim, whole=True)
    if weights is None:
        return found, None
    if len(weights) != len(levels) or len(found) != len(levels):
        raise InputError(
            f"there are {len(weights)} weights and {len(levels)} Matryoshka levels; give one weight for each level, "
            f"none of which may be there twice, and the full dimension, {dim}, must be one"
        )
    for weight in weights:
        _check("weight", weight, 0.0, 1e6)
    by_level = dict(zip(levels, weights, strict=True))
    return found, tuple(float(by_level[level]) for level in found)
