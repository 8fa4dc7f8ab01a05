"""The options of a training, in chapters: the one place of each default, bound and help line."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statim.errors import InputError
from statim.option import option
from statim.training.hyperparameters import RecipeOptions

if TYPE_CHECKING:
    from statim.model import StaticModel
    from statim.tokenizer.tokenizer import Tokenizer

PANELS = (
    "Data", "Vocabulary", "Loss", "Schedule", "Hard negatives", "Distillation", "Evaluation", "Run",
)  # fmt: skip
KEEPS = ("last", "best")
ACCENTS = ("keep", "strip")
KEEP_CHECKPOINTS = 2  # the newest


@dataclass(frozen=True, init=False, repr=False, eq=False)  # a chapter of TrainOptions
class DataOptions:
    """What is read, and how."""

    data: Any = option("", flag="")
    anchor: str | Mapping[str, str] | None = option(
        "Column of anchors, of first texts, of texts with labels, or of documents' titles; guessed by "
        "default.",
        "Data",
    )
    positive: str | Mapping[str, str] | None = option(
        "Column of positives, of second texts, or of documents; guessed by default.", "Data"
    )
    negative: str | list[str] | Mapping[str, str | list[str]] | None = option(
        "Column of explicit negatives (repeatable); guessed by default.", "Data"
    )
    score: str | None = option("Column of scores; guessed by default.", "Data")
    label: str | None = option("Column of labels; guessed by default.", "Data")
    delimiter: str | None = option(
        "Character between the fields of CSV files, such as ; or tab; detected by default.", "Data"
    )
    encoding: str | None = option(
        "Encoding of text files, such as windows-1252; by default UTF-8, or UTF-16 with a byte-order mark.",
        "Data",
    )
    packages: list[str] | None = option(
        "For python-docs: read only these packages, such as stdlib,numpy; by default all installed ones.",
        "Data",
    )
    make_pairs: str | Sequence[str] | None = option(
        "Read the files as documents and make pairs from their own parts: titles, sentences, "
        "neighbours, crops, "
        "separated by commas; by default titles,sentences,crops where there are only documents.",
        "Data",
    )
    set_weights: Mapping[str, float] | None = option(
        "Take the pairs of a file this many times per epoch, such as faq=2 or forum=0.5 (repeatable; "
        "default 1). NAME "
        "is the file's name without suffixes, or as much of its path as tells it from the others.",
        "Data",
        flag="weight",
    )
    set_limits: Mapping[str, int] | None = option(
        "Use at most COUNT pairs of a file, drawn with the seed, such as forum=10000 (repeatable).",
        "Data", flag="limit",
    )  # fmt: skip


@dataclass(frozen=True, init=False, repr=False, eq=False)  # a chapter of TrainOptions
class StartOptions:
    """What the table is initialized from."""

    start: "str | Path | StaticModel | None" = option(
        "Initialization: random, an earlier static model, or a sentence transformer to distil (path or "
        "hub name). By "
        "default all-MiniLM-L6-v2 if it is available, else random."
    )
    tokenizer: "str | Path | Tokenizer | None" = option(
        "For a random start: a tokenizer.json, or a model that has one; by default learned from the data.",
        "Vocabulary",
    )
    accents: str | None = option(
        "keep or strip accents and other marks on letters; by default kept where 1 % of the words have some.",
        "Vocabulary", choices=ACCENTS,
    )  # fmt: skip
    grow_words: int | None = option(
        "Add the N most frequent multi-token words to the vocabulary; by default 10000 where a teacher "
        "is distilled, "
        "else 0.",
        "Vocabulary",
    )
    grow_pairs: int | None = option(
        "Add the N most frequent word pairs to the vocabulary; by default 0, with --distil-epochs 20000.",
        "Vocabulary",
    )
    prune_vocabulary: bool | None = option(
        "Remove tokens that never occur in the training texts, except those needed to spell other texts.",
        "Vocabulary",
    )
    freeze: Sequence[str] | None = option(
        "A file of tokens whose embeddings stay fixed, one per line.", "Vocabulary"
    )


@dataclass(frozen=True, init=False, repr=False, eq=False)  # a chapter of TrainOptions
class DistillationOptions:
    """What is learned from a teacher."""

    distil: Any = option(
        "Distil on a file of plain texts (see statim encode), beside the pairs or alone (repeatable); "
        "or on the word "
        "pairs: the pairs' own texts; or sentences: 350,000 of their sentences and passages.",
        "Distillation",
    )
    teacher: str | Path | Sequence[str | Path] | Mapping[str, float] | None = option(
        "Teacher for --distil and the losses margin-mse and kl; by default the start's teacher, else "
        "all-MiniLM-L6-v2. "
        "For --distil repeatable: the cosines are averaged, with weights where these follow the names, "
        "such as NAME:0.5.",
        "Distillation",
    )
    documents_by: str | Path | None = option(
        "Train a model for queries only, against this teacher's document embeddings (see statim index build "
        "--documents-by).",
        "Distillation",
    )
    recipe: str | None = option(
        "Preset for options that are not given: general (many sets of pairs into one model).", "Distillation"
    )


@dataclass(frozen=True, init=False, repr=False, eq=False)  # a chapter of TrainOptions
class EvaluationOptions:
    """What the model is measured on, and when."""

    heldout: int | str | Path | None = option(
        "Examples to hold out for the final table, 0 for none; or a file of them."
    )
    development: int | str | Path | None = option(
        "Pairs to hold out for evaluation during training, 0 for none; or a file of them. By default "
        "half as many as "
        "--heldout.",
        "Evaluation",
    )
    evaluate_every: int | None = option(
        "Steps between evaluations; by default a few per epoch, within 5 % of the time.",
        "Evaluation", least=1, whole=True, says="evaluate-every",
    )  # fmt: skip
    keep: str | None = option(
        "Keep the table of the last step (default), or of the best evaluation (default with --patience).",
        "Evaluation", choices=KEEPS,
    )  # fmt: skip
    patience: int | None = option(
        "Stop after N evaluations without improvement; by default never.", "Evaluation", least=1, whole=True
    )
    baselines: bool | str | None = option(
        "Baselines of the final table, measured once the model is saved: bm25 (with hybrid search), teacher, "
        "both with a comma (default), or none.",
        "Evaluation",
    )


@dataclass(frozen=True, init=False, repr=False, eq=False)  # a chapter of TrainOptions
class RunOptions:
    """Where a run writes, and on what it runs."""

    out: str | Path | None = option("Folder to save the model into.")
    resume: bool = option(
        "Resume an interrupted training into this folder. It knows its data and options; "
        "--learning-rate, --threads "
        "and the options of checkpoints may change.",
        default=False,
    )
    overwrite: bool = option("Replace an existing output.", default=False)
    checkpoint_every: int | None = option(
        "Steps between checkpoints; by default at least 10 s apart, within 2 % of the time.",
        "Run", least=1, whole=True, says="checkpoint-every",
    )  # fmt: skip
    keep_checkpoints: int | None = option(
        "Keep the N newest checkpoints; 0 writes none",
        "Run", usual=KEEP_CHECKPOINTS, least=0, whole=True, says="keep-checkpoints",
    )  # fmt: skip
    tensorboard: str | Path | None = option("Write curves for TensorBoard into this folder.", "Run")
    threads: int | None = option("Threads; by default STATIM_NUM_THREADS, else all processors.", "Run")
    device: str | None = option(
        "cpu, cuda, or auto (default): a GPU if torch sees one. Several processes: torchrun -m statim train.",
        "Run",
    )
    progress: bool = option("", flag="", default=False)


# Fields come in the order of the bases, last to first. What is not needed is not generated: every verb pays
# for it
@dataclass(frozen=True, repr=False, eq=False)
class TrainOptions(
    RunOptions, EvaluationOptions, DistillationOptions, RecipeOptions, StartOptions, DataOptions
):
    """All that ``train`` is asked for, which documents each."""


# Options that belong together, where they are not given; see benchmarks/general.py for how they were chosen
PRESETS = {
    "general": TrainOptions(
        batch=2048, epochs=1, learning_rate=0.04, distil="sentences", distil_weight=300.0, distil_epochs=1,
        length_power=0.7,
    ),
}  # fmt: skip


def with_preset(options: TrainOptions) -> TrainOptions:
    """The options, and those of the preset they name that are not given.

    Raises:
        InputError: There is no preset of that name.
    """
    if options.recipe is None:
        return options
    if options.recipe not in PRESETS:
        raise InputError(f"recipe is {options.recipe!r}; it must be {', '.join(PRESETS)}, or left out")
    usual = values_of(PRESETS[options.recipe])
    return with_values(
        options, {name: usual[name] for name, value in values_of(options).items() if value is None}
    )


def values_of(options: TrainOptions) -> dict[str, object]:
    """Each option's value by its keyword."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def with_values(options: TrainOptions, values: Mapping[str, object]) -> TrainOptions:
    """The options with other values of some."""
    changed: Mapping[str, Any] = values
    return dataclasses.replace(options, **changed)
