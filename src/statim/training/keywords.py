"""The keywords of ``train`` for type checkers; a test compares them with TrainOptions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from statim.model import StaticModel
    from statim.tokenizer.tokenizer import Tokenizer


class LoopKeywords(TypedDict, total=False):
    """What every training loop takes: the numbers of the loss and of the schedule."""

    batch: int | None
    epochs: int | None
    learning_rate: float | None
    weights: Sequence[float] | None
    scale: float | None
    both_directions: bool | None
    triplet_margin: float | None
    false_negative_margin: float | None
    precision: str | None
    schedule: str | None
    warmup: float | None
    weight_decay: float | None
    token_dropout: float | None
    clip: float | None


class RecipeKeywords(LoopKeywords, total=False):
    """The fields of RecipeOptions but for ``matryoshka``, which a recipe calls levels."""

    loss: str | None
    dim: int | None
    row_wise: bool | None
    decay_to: str | None
    rare_rows: float | None
    new_rows_rate: float | None
    hard_negatives: int | None
    mine_every: int | None
    distil_weight: float | None
    distil_epochs: int | None
    length_power: float | None
    mix: str | None
    seed: int | None


class TrainKeywords(RecipeKeywords, total=False):
    """The fields of TrainOptions but for ``data`` and ``out``."""

    anchor: str | Mapping[str, str] | None
    positive: str | Mapping[str, str] | None
    negative: str | list[str] | Mapping[str, str | list[str]] | None
    score: str | None
    label: str | None
    delimiter: str | None
    encoding: str | None
    packages: list[str] | None
    make_pairs: str | Sequence[str] | None
    set_weights: Mapping[str, float] | None
    set_limits: Mapping[str, int] | None
    start: "str | Path | StaticModel | None"
    tokenizer: "str | Path | Tokenizer | None"
    accents: str | None
    grow_words: int | None
    grow_pairs: int | None
    prune_vocabulary: bool | None
    freeze: Sequence[str] | None
    matryoshka: Sequence[int] | None
    distil: Any
    teacher: str | Path | Sequence[str | Path] | Mapping[str, float] | None
    documents_by: str | Path | None
    recipe: str | None
    heldout: int | str | Path | None
    development: int | str | Path | None
    evaluate_every: int | None
    keep: str | None
    patience: int | None
    baselines: bool | str | None
    checkpoint_every: int | None
    keep_checkpoints: int | None
    tensorboard: str | Path | None
    resume: bool
    overwrite: bool
    threads: int | None
    device: str | None
    progress: bool
