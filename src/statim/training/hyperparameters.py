"""The hyperparameters that a caller may choose; ``Recipe`` derives the rest from the data's size."""

from collections.abc import Sequence
from dataclasses import dataclass

from statim.option import option

PRECISIONS = ("auto", "int8", "bf16", "fp32")
MIXES = ("together", "proportional", "turn")
ZERO, START = "zero", "start"  # what embeddings decay towards
SCHEDULES = ("linear", "cosine", "constant")
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
DISTIL_WEIGHT = 20.0  # of a loss that is a mean over levels, beside one that is a sum of cosines times 20


@dataclass(frozen=True, repr=False, eq=False)
class RecipeOptions:
    """The chosen hyperparameters, None where none was chosen. ``train`` documents each."""

    loss: str | None = option(
        "For pairs: contrastive (default), triplet (pairs with negatives), or margin-mse or kl (scores "
        "by a teacher). "
        "For scored pairs: cosent (default) or cosine. For labelled texts: classes. For plain texts: "
        "distillation.",
        choices=tuple(LOSSES),
    )
    dim: int | None = option(
        "Embedding dimensions; by default those of the start.", least=1, most=65_536, whole=True
    )
    batch: int | None = option("Pairs (or texts) per step.", least=2, most=1 << 20, whole=True)
    epochs: int | None = option(
        "Passes over the data; by default 3, up to 18 for few pairs, 1 from a million on.",
        least=1, most=100_000, whole=True,
    )  # fmt: skip
    learning_rate: float | None = option(
        "Adam's peak learning rate, for embeddings whose entries are about 1.", least=1e-9, most=1e3
    )
    matryoshka: Sequence[int] | None = option(
        "Matryoshka dimensions, such as 32,64,128; by default halves of the full dimension.", "Loss"
    )
    weights: Sequence[float] | None = option(
        "One loss weight per Matryoshka dimension; by default equal.", "Loss", flag=""
    )
    scale: float | None = option(
        "Multiply cosines by this in the loss (default 20, for cosent 4).", "Loss", least=1e-3, most=1e4
    )
    both_directions: bool | None = option("Also train from positives to anchors.", "Loss")
    triplet_margin: float | None = option(
        "Margin of the triplet loss, in cosines", "Loss", usual=0.2, least=0.0, most=2.0
    )
    false_negative_margin: float | None = option(
        "Ignore candidates whose cosine exceeds the positive's by more than this, such as 0.1; by default "
        "all other candidates are negatives.",
        "Loss",
        least=-2.0,
        most=2.0,
        says="false-negative margin",
    )
    precision: str | None = option(
        "What to round where the processor can: int8 (most), bf16, fp32 (nothing), or auto, the fastest here",
        "Loss", usual="auto", choices=PRECISIONS,
    )  # fmt: skip
    schedule: str | None = option(
        "The learning rate after warm-up: linear or cosine, both to 0, or constant",
        "Schedule", usual="linear", choices=SCHEDULES,
    )  # fmt: skip
    warmup: float | None = option(
        "Share of the steps in which the learning rate rises",
        "Schedule", usual=0.1, least=0.0, most=1.0, says="warm-up",
    )  # fmt: skip
    weight_decay: float | None = option(
        "Decoupled weight decay (AdamW): each step shrinks all embeddings by this times the learning rate",
        "Schedule", usual=0.0, least=0.0, most=1e6,
    )  # fmt: skip
    decay_to: str | None = option(
        "What --weight-decay shrinks: the embeddings (zero), or their distance from the initial ones "
        "(start), new tokens left out",
        "Schedule", usual=ZERO, choices=(ZERO, START),
    )  # fmt: skip
    rare_rows: float | None = option(
        "Multiply each embedding's learning rate by n / (n + this), for n training texts that have the "
        "token; newly added ones aside",
        "Schedule", usual=0.0, least=0.0, most=1e6,
    )  # fmt: skip
    token_dropout: float | None = option(
        "Leave each token of a text out of a step with this probability",
        "Schedule", usual=0.0, least=0.0, most=0.9,
    )  # fmt: skip
    clip: float | None = option("Clip the gradient to this norm", "Schedule", usual=1.0, least=1e-9, most=1e9)
    row_wise: bool | None = option(
        "Keep one second moment per embedding, not one per entry, to save memory. Not on a GPU.", "Schedule"
    )
    new_rows_rate: float | None = option(
        "Learning-rate multiplier for newly added tokens",
        "Vocabulary", usual=1.0, least=0.0, most=1e3, says="the rate of new rows",
    )  # fmt: skip
    hard_negatives: int | None = option(
        "Mine N hard negatives per pair with the model in training",
        "Hard negatives", usual=0, least=0, most=100, whole=True,
    )  # fmt: skip
    mine_every: int | None = option(
        "Epochs from one mining to the next", "Hard negatives", usual=1, least=1, most=100_000, whole=True
    )
    distil_weight: float | None = option(
        f"Weight of the distillation loss beside the pairs' loss (default {DISTIL_WEIGHT:g}).",
        "Distillation", least=0.0, most=1e6,
    )  # fmt: skip
    distil_epochs: int | None = option(
        "Epochs over the distillation texts alone before the first pair",
        "Distillation", usual=0, least=0, most=100_000, whole=True,
    )  # fmt: skip
    length_power: float | None = option(
        "Raise the norms of the trained embeddings to this power, such as 0.7, so that rare words count less",
        "Distillation", usual=1.0, least=0.0, most=2.0,
    )  # fmt: skip
    mix: str | None = option(
        "How to mix several files: together (all pairs shuffled), proportional (each batch from one file, in "
        "proportion to its pairs) or turn (each batch from one file, in turn)",
        "Data", usual="together", choices=MIXES,
    )  # fmt: skip
    seed: int | None = option(
        "Seed of splits, order and random numbers",
        "Run", usual=0, least=0, most=2**63 - 1, whole=True,
    )  # fmt: skip
