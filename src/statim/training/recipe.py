"""The recipe: every number that decides a training, in one frozen record kept with the model."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from statim.errors import InputError
from statim.option import check_number, check_values, options_of
from statim.training.hyperparameters import RecipeOptions
from statim.training.keywords import RecipeKeywords

# Of a row in one step: more would outweigh the decay of Adam's momentum, on which optimizer.SparseAdam counts
MOST_DECAY = 0.05
LEAST_SHARE = 1 / 32  # of ``int8``; benchmarks/RESULTS.md has the quality with and without
# Minimum steps for small data, and maximum epochs; see benchmarks/RESULTS.md
LEAST_STEPS, MOST_EPOCHS = 300, 18
MILLION = 1_000_000  # pairs, from which on one epoch is enough

USUAL = {field.name: one.usual for field, one in options_of(RecipeOptions)}

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """How a table is trained. ``Recipe.make`` derives what is not given from the size of the data.

    Attributes:
        dim: Dimensions of the table, d.
        levels: Matryoshka dimensions, ascending, the last is d; one level trains the full dimension alone.
        loss: One of LOSSES: ``contrastive`` (pairs, perhaps with negatives), ``triplet`` (pairs with
            negatives), ``cosent`` or ``cosine`` (pairs with scores), ``classes`` (contrastive, between texts
            of the same and of other labels); ``margin-mse`` or ``kl`` (pairs with negatives and a teacher's
            scores), ``distillation`` (texts and a teacher's vectors).
        weights: One weight a level; None weighs all alike.
        batch: Pairs (or labelled texts) per step, B.
        epochs: Passes over the data.
        learning_rate: Adam's peak rate. Tables start with entries of about 1 (root mean square), so it is a
            relative one.
        schedule: What the rate does after warm-up: ``linear`` falls to 0, ``cosine`` does in half a wave
            (Loshchilov and Hutter, 2017), ``constant`` stays.
        warmup: Share of the steps in which the rate rises linearly from 0.
        scale: What cosines are multiplied by in the loss (1 / temperature).
        both_directions: Train candidate -> anchor as well as anchor -> candidate (contrastive and classes).
        triplet_margin: Of the triplet loss, in cosines.
        false_negative_margin: Candidates whose cosine exceeds the positive's by more than this are no
            negatives of that anchor (contrastive and classes); None takes all others for negatives.
        weight_decay: Decoupled from the gradient (AdamW; Loshchilov and Hutter, 2019): a step shrinks all
            rows by this times the rate, also those that do not occur.
        decay_to: What weights decay towards: ``zero``, or ``start``, the rows of before training (rows that
            the vocabulary grew by then do not decay).
        rare_rows: The rate of a row that n training texts have is multiplied by n / (n + this); 0 multiplies
            none.
        token_dropout: Probability with which each distinct token of a text is left out of its mean for a
            step.
        new_rows_rate: What the rate is multiplied by for rows that the start has none for.
        clip: The gradient of the whole table is scaled down to this norm where it is larger.
        precision: ``bf16`` pools rows, multiplies matrices and gathers gradients in bfloat16 with float32
            sums, where the processor can; ``int8`` beyond that multiplies contrastive scores in 8 bits,
            likewise, and keeps Adam's moments in bfloat16; ``fp32`` rounds nothing. On a GPU ``int8`` is
            ``bf16``.
        row_wise: Adam keeps one second moment for each row instead of one for each entry.
        seed: Decides the order of the pairs and all random numbers.
        mix: How several data sets are mixed: ``together``, all pairs shuffled; or batches of one set each, as
            many as a set has pairs (``proportional``) or as many of each (``turn``). See batches.Schedule.
        set_weights: How many times the pairs of each set are taken per epoch, in the order of the sets; empty
            where all once.
        set_limits: How many pairs of each set are used at most, in the order of the sets, 0 for all; empty
            where all of all.
        hard_negatives: Negatives of each pair that the training mines for itself, see loop/hard_negatives.py;
            0 mines none.
        mine_every: Epochs from one mining to the next.
        distil_weight: Each step takes a batch of plain texts beside the pairs, and the distance of their
            vectors from a teacher's has this weight in the loss; 0 takes none.
        distil_epochs: Passes over the plain texts alone before the first pair; 0 makes none.
        length_power: The table's rows end with their lengths to this power: below 1 long rows, which are
            those of rare words, count less beside others in a text's mean; 1 leaves them as they are.
        least_share: Softmax weights below this share of a row's negatives are rounded at random in the
            gradient, to it or to 0, right in the mean (contrastive and classes, not on a GPU); 0 rounds none.
            See kernels/training/sampled.py.
        asymmetric: Candidates are a teacher's vectors, which do not move: the model is for queries alone.
        teacher_weights: How much the cosines of each of several teachers count; empty where all alike.
    """

    dim: int
    levels: tuple[int, ...]
    batch: int
    epochs: int
    learning_rate: float
    schedule: str = USUAL["schedule"]
    warmup: float = USUAL["warmup"]
    scale: float = 20.0
    both_directions: bool = False
    clip: float = USUAL["clip"]
    precision: str = "bf16"
    row_wise: bool = False
    seed: int = USUAL["seed"]
    mix: str = USUAL["mix"]
    set_weights: tuple[float, ...] = ()
    loss: str = "contrastive"
    weights: tuple[float, ...] | None = None
    triplet_margin: float = USUAL["triplet_margin"]
    false_negative_margin: float | None = None
    weight_decay: float = USUAL["weight_decay"]
    decay_to: str = USUAL["decay_to"]
    rare_rows: float = USUAL["rare_rows"]
    token_dropout: float = USUAL["token_dropout"]
    new_rows_rate: float = USUAL["new_rows_rate"]
    set_limits: tuple[int, ...] = ()
    hard_negatives: int = USUAL["hard_negatives"]
    mine_every: int = USUAL["mine_every"]
    distil_weight: float = 0.0
    distil_epochs: int = USUAL["distil_epochs"]
    length_power: float = USUAL["length_power"]
    asymmetric: bool = False
    least_share: float = 0.0
    teacher_weights: tuple[float, ...] = ()

    @staticmethod
    def make(
        pairs: int,
        start_dim: int | None,
        *,
        levels: Sequence[int] | None = None,
        set_weights: tuple[float, ...] = (),
        set_limits: tuple[int, ...] = (),
        asymmetric: bool = False,
        least_share: float | None = None,
        **options: Unpack[RecipeKeywords],
    ) -> "Recipe":
        """A recipe from single options, the fields of RecipeOptions and ``levels``; see ``of``.

        Raises:
            InputError: A value is out of range; the message names it.
        """
        return Recipe.of(
            RecipeOptions(matryoshka=levels, **options), pairs, start_dim, set_weights=set_weights,
            set_limits=set_limits, asymmetric=asymmetric, least_share=least_share,
        )  # fmt: skip

    @staticmethod
    def of(
        options: RecipeOptions,
        pairs: int,
        start_dim: int | None,
        *,
        set_weights: tuple[float, ...] = (),
        set_limits: tuple[int, ...] = (),
        asymmetric: bool = False,
        least_share: float | None = None,
        teacher_weights: tuple[float, ...] = (),
    ) -> "Recipe":
        """The recipe for the options that were chosen; the others follow from the size of the data.

        Args:
            options: What was chosen.
            pairs: Training pairs.
            start_dim: Dimensions of the table that training starts from; None for a random start.
            set_weights: See Recipe.
            set_limits: See Recipe.
            asymmetric: See Recipe.
            least_share: See Recipe; by default LEAST_SHARE with ``int8``, else 0.
            teacher_weights: See Recipe.

        Raises:
            InputError: A value is out of range; the message names it.
        """
        check_values(options)
        dim = _given(options.dim, start_dim or (256 if pairs < 20_000 else 512))
        levels, weights = _levels(options.matryoshka, dim, options.weights)
        loss = _given(options.loss, "contrastive")
        # losses over single pairs want smaller steps of fewer pairs, and softer comparisons
        contrastive = loss in ("contrastive", "classes")
        rate = _given(options.learning_rate, 0.05 if not contrastive else 0.1 if start_dim else 0.2)
        decay = _given(options.weight_decay, Recipe.weight_decay)
        new_rows = _given(options.new_rows_rate, Recipe.new_rows_rate)
        check_decay(decay, rate * max(1.0, new_rows))
        if options.false_negative_margin is not None and not contrastive:
            raise InputError(
                f"a false-negative margin is given, but the loss {loss} has no negatives of other "
                "pairs; leave it out"
            )
        batch = _given(options.batch, usual_batch(pairs, loss))
        precision = _precision(options.precision, contrastive)
        sampled = contrastive and precision == "int8"
        share = _given(least_share, LEAST_SHARE if sampled else 0.0)
        check_number("least share", share, 0.0, 1.0)
        for weight in set_weights:
            check_weight("a set", weight)
        for limit in set_limits:
            check_limit("a set", limit or 1)
        return Recipe(
            dim=dim,
            levels=levels,
            batch=batch,
            epochs=_given(options.epochs, _usual_epochs(pairs, loss, batch)),
            learning_rate=rate,
            schedule=_given(options.schedule, Recipe.schedule),
            warmup=_given(options.warmup, Recipe.warmup),
            scale=_given(options.scale, 20.0 if contrastive or loss == "kl" else 4.0),
            both_directions=_given(options.both_directions, Recipe.both_directions),
            clip=_given(options.clip, Recipe.clip),
            precision=precision,
            row_wise=_given(options.row_wise, Recipe.row_wise),
            seed=_given(options.seed, Recipe.seed),
            mix=_given(options.mix, Recipe.mix),
            set_weights=set_weights,
            loss=loss,
            weights=weights,
            triplet_margin=_given(options.triplet_margin, Recipe.triplet_margin),
            false_negative_margin=options.false_negative_margin,
            weight_decay=decay,
            decay_to=_given(options.decay_to, Recipe.decay_to),
            rare_rows=_given(options.rare_rows, Recipe.rare_rows),
            token_dropout=_given(options.token_dropout, Recipe.token_dropout),
            new_rows_rate=new_rows,
            set_limits=set_limits,
            hard_negatives=_given(options.hard_negatives, Recipe.hard_negatives),
            mine_every=_given(options.mine_every, Recipe.mine_every),
            distil_weight=_given(options.distil_weight, Recipe.distil_weight),
            distil_epochs=_given(options.distil_epochs, Recipe.distil_epochs),
            length_power=_given(options.length_power, Recipe.length_power),
            asymmetric=asymmetric,
            least_share=share,
            teacher_weights=teacher_weights,
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values for JSON."""
        return dataclasses.asdict(self) | {
            "levels": list(self.levels),
            "weights": self.weights and list(self.weights),
            "set_weights": list(self.set_weights),
            "set_limits": list(self.set_limits),
            "teacher_weights": list(self.teacher_weights),
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Recipe":
        """What ``to_dict`` gave."""
        tuples: dict[str, Any] = {
            name: tuple(values[name])
            for name in ("levels", "weights", "set_weights", "set_limits", "teacher_weights")
            if values.get(name) is not None
        }
        return Recipe(**(values | tuples))


def check_weight(name: str, weight: Any) -> None:
    """Refuse what is no weight of a data set.

    Raises:
        InputError: It is not a number from 0 to 1,000.
    """
    check_number(f"the weight of {name}", weight, 0, 1000)


def check_decay(decay: float, rate: float) -> None:
    """Refuse a weight decay that shrinks rows by more than MOST_DECAY in a step.

    Raises:
        InputError: It does.
    """
    if decay * rate > MOST_DECAY:
        raise InputError(
            f"a weight decay of {decay:g} at a rate of {rate:g} shrinks rows by more than "
            f"{MOST_DECAY:.0%} in a step; give a "
            "smaller one, or a smaller rate"
        )


def check_limit(name: str, limit: Any) -> None:
    """Refuse what is no limit of a data set.

    Raises:
        InputError: It is not a whole number of at least 1.
    """
    check_number(f"the limit of {name}", limit, 1, 1e15, whole=True)


def _given(value: T | None, usual: T) -> T:
    """The value, or the usual one where none was given."""
    return usual if value is None else value


def _precision(asked: str | None, contrastive: bool) -> str:
    """The precision, the fastest of equal quality on this processor where ``auto`` is asked for.

    Contrastive scores in 8 bits are that wherever the processor multiplies bytes quickly;
    benchmarks/precision.py compares both. Other losses have no such scores.
    """
    from statim.kernels.int8_dot import FAST_BYTES

    if asked not in (None, "auto"):
        return str(asked)
    return "int8" if contrastive and FAST_BYTES else "bf16"


def usual_batch(pairs: int, loss: str) -> int:
    """The usual number of pairs or texts per step, for their number in all."""
    most = 128 if loss == "distillation" else 256
    size = min(1024, pairs // 16) if loss in ("contrastive", "classes") else min(most, pairs // 32)
    return int(2 ** int(math.log2(max(16, size))))


def _usual_epochs(pairs: int, loss: str, batch: int) -> int:
    least = math.ceil(LEAST_STEPS * batch / max(1, pairs)) if loss == "contrastive" else 0
    return min(MOST_EPOCHS, max(3, least)) if pairs < MILLION else 1


def _levels(
    levels: Sequence[int] | None, dim: int, weights: Sequence[float] | None
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Matryoshka levels and their weights: those given and the full one, by default halves down to 32."""
    if levels is None:
        levels = [dim]
        while levels[-1] >= 64:
            levels.append(levels[-1] // 2)
    found: tuple[int, ...] = tuple(sorted({*levels, dim}))
    for level in found:
        check_number("Matryoshka level", level, 1, dim, whole=True)
    if weights is None:
        return found, None
    if len(weights) != len(levels) or len(found) != len(levels):
        raise InputError(
            f"there are {len(weights)} weights and {len(levels)} Matryoshka levels; give one weight "
            "for each level, "
            f"none of which may be there twice, and the full dimension, {dim}, must be one"
        )
    for weight in weights:
        check_number("weight", weight, 0.0, 1e6)
    by_level = dict(zip(levels, weights, strict=True))
    return found, tuple(float(by_level[level]) for level in found)
