"""The options of updating a model: the one place of each default, bound and help line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from statim.option import option

PANELS = ("Data", "Training", "Run")
# Chosen on squad-sentences -> wordset-examples, wiki-vital -> sgd-dialogue and python-docs ->
# wordnet-glosses; see benchmarks/update.py for the sets that they are judged on
LEARNING_RATE, PULL, REPLAYED_PULL, RARE_ROWS, NEW_WORDS = 0.1, 0.5, 0.25, 3.0, 1000


@dataclass(frozen=True, repr=False, eq=False)
class UpdateOptions:
    """All that ``update`` is asked for, which documents each."""

    replay: Any = option(
        "Old pairs to mix in, at most as many as new ones, and to hold some out for the old scores."
    )
    index: str | Path | None = option(
        "Re-encode this index in place with the updated model: the folder of an index that MODEL made."
    )
    heldout: int | str | Path | None = option(
        "New pairs to hold out for the scores, 0 for none; or a file of them."
    )
    old_heldout: str | Path | None = option(
        "A file of old pairs for the old scores; by default some of --replay are held out."
    )
    anchor: str | None = option("Column of anchors, or of documents' titles; guessed by default.", "Data")
    positive: str | None = option("Column of positives, or of documents; guessed by default.", "Data")
    negative: str | list[str] | None = option(
        "Column of explicit negatives (repeatable); guessed by default.", "Data"
    )
    delimiter: str | None = option(
        "Character between the fields of CSV files, such as ; or tab; detected by default.", "Data"
    )
    encoding: str | None = option(
        "Encoding of text files, such as windows-1252; by default UTF-8, or UTF-16 with a byte-order mark.",
        "Data",
    )
    pull: float | None = option(
        f"Elastic pull to the old embeddings; by default {PULL:g}, with --replay {REPLAYED_PULL:g}; 0 pulls "
        "nothing.",
        "Training", least=0.0, most=1e6,
    )  # fmt: skip
    rare_rows: float = option(
        "Multiply each old embedding's learning rate by n / (n + this), for n texts that have the token",
        "Training", default=RARE_ROWS, usual=RARE_ROWS, least=0.0, most=1e6,
    )  # fmt: skip
    new_words: int = option(
        "Add at most N frequent words that the vocabulary cuts into pieces",
        "Training", default=NEW_WORDS, usual=NEW_WORDS, least=0, most=1_000_000, whole=True,
    )  # fmt: skip
    learning_rate: float = option(
        "Adam's peak learning rate, for embeddings whose entries are about 1",
        "Training", default=LEARNING_RATE, usual=LEARNING_RATE, least=1e-9, most=1e3,
    )  # fmt: skip
    batch: int | None = option("Pairs per step.", "Training", least=2, most=1 << 20, whole=True)
    epochs: int | None = option(
        "Passes over the pairs; by default as many as make about 90 steps, at most 18.",
        "Training", least=1, most=100_000, whole=True,
    )  # fmt: skip
    seed: int = option(
        "Seed of splits, order and random numbers",
        "Run", default=0, usual=0, least=0, most=2**63 - 1, whole=True,
    )  # fmt: skip
    checkpoint_every: int | None = option(
        "Steps between checkpoints; by default at least 10 s apart, within 2 % of the time.",
        "Run", least=1, whole=True, says="checkpoint-every",
    )  # fmt: skip
    resume: bool = option("Resume an interrupted update: give the same command again.", "Run", default=False)
    overwrite: bool = option("Replace an existing output.", "Run", default=False)
    threads: int | None = option("Threads; by default STATIM_NUM_THREADS, else all processors.", "Run")
    device: str | None = option("cpu, cuda, or auto (default): a GPU if torch sees one.", "Run")
    progress: bool = option("", flag="", default=False)


class UpdateKeywords(TypedDict, total=False):
    """The keywords of ``update`` for type checkers; a test compares them with UpdateOptions."""

    replay: Any
    index: str | Path | None
    heldout: int | str | Path | None
    old_heldout: str | Path | None
    anchor: str | None
    positive: str | None
    negative: str | list[str] | None
    delimiter: str | None
    encoding: str | None
    pull: float | None
    rare_rows: float
    new_words: int
    learning_rate: float
    batch: int | None
    epochs: int | None
    seed: int
    checkpoint_every: int | None
    resume: bool
    overwrite: bool
    threads: int | None
    device: str | None
    progress: bool
