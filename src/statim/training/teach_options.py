"""The options of adapting a teacher: the one place of each default, bound and help line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from statim.option import option

PRECISIONS = ("bf16", "fp16", "fp32")
PANELS = ("Data", "Run")
NUMBERS = (
    "batch", "epochs", "learning_rate", "scale", "precision", "seed", "hard_negatives",
)  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class TeachOptions:
    """All that ``teach`` is asked for, which documents each."""

    anchor: str | None = option("Column of anchors; guessed by default.", "Data")
    positive: str | None = option("Column of positives; guessed by default.", "Data")
    delimiter: str | None = option(
        "Character between the fields of CSV files, such as ; or tab; detected by default.", "Data"
    )
    encoding: str | None = option(
        "Encoding of text files, such as windows-1252; by default UTF-8, or UTF-16 with a byte-order mark.",
        "Data",
    )
    negative: str | list[str] | None = option(
        "Column of explicit negatives (repeatable); guessed by default.", "Data"
    )
    hard_negatives: int | None = option(
        "Mine N negatives for each pair; by default 1, or 0 where there are explicit ones.",
        least=0, most=20, whole=True,
    )  # fmt: skip
    batch: int = option("Pairs per step", default=64, usual=64, least=2, most=1 << 16, whole=True)
    epochs: int = option("Passes over the pairs", default=1, usual=1, least=1, most=1000, whole=True)
    learning_rate: float = option(
        "AdamW's peak learning rate", default=2e-5, usual=2e-5, least=1e-9, most=1.0
    )
    scale: float = option(
        "Multiply cosines by this in the loss", default=20.0, usual=20.0, least=1e-3, most=1e4
    )
    precision: str | None = option(
        "bf16, fp16 (on a GPU) or fp32; by default what the device is fast at.", choices=PRECISIONS
    )
    seed: int = option(
        "Seed of splits, order and mining", "Run", default=0, usual=0, least=0, most=2**32 - 1, whole=True
    )
    heldout: int | str | Path | None = option(
        "Pairs to hold out for the table, 0 for none; or a file of pairs."
    )
    distil: str | Path | None = option(
        "Also save the static model distilled from the result into this folder, and put it into the table."
    )
    checkpoint_every: int | None = option(
        "Steps between checkpoints; by default ten in all, at most 100 apart.",
        "Run", least=1, most=1e9, whole=True,
    )  # fmt: skip
    resume: bool = option("Resume an interrupted run: give the same command again.", default=False)
    overwrite: bool = option("Replace an existing output.", default=False)
    threads: int | None = option("Threads; by default STATIM_NUM_THREADS, else all processors.", "Run")
    device: str | None = option("cpu, cuda, or auto (default): a GPU if torch sees one.", "Run")
    progress: bool = option("", flag="", default=False)

    def numbers(self, teacher: str | Path) -> dict[str, Any]:
        """What decides the result, for JSON: the teacher and the numbers."""
        return {"teacher": str(teacher)} | {name: getattr(self, name) for name in NUMBERS}


class TeachKeywords(TypedDict, total=False):
    """The keywords of ``teach`` for type checkers; a test compares them with TeachOptions."""

    anchor: str | None
    positive: str | None
    delimiter: str | None
    encoding: str | None
    negative: str | list[str] | None
    hard_negatives: int | None
    batch: int
    epochs: int
    learning_rate: float
    scale: float
    precision: str | None
    seed: int
    heldout: int | str | Path | None
    distil: str | Path | None
    checkpoint_every: int | None
    resume: bool
    overwrite: bool
    threads: int | None
    device: str | None
    progress: bool
