"""The options of a map: the one place of each default, bound and help line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from statim.model import StaticModel
from statim.option import option
from statim.search.stores.registry import TABLE

METHODS = ("pacmap", "umap", "pca")
SAMPLE = 50_000
PANELS = ("Data", "Projection", "Run")


@dataclass(frozen=True, repr=False, eq=False)
class MapOptions:
    """All that ``make_map`` is asked for, which documents each."""

    against: str | Path | StaticModel | None = option(
        "A second model: both maps side by side, with the same text linked in both."
    )
    color: str | None = option("Column to color by; by default clusters.")
    column: str | Sequence[str] | None = option(
        "Column of texts, or several that are joined: subject,body; guessed by default.", "Data", flag="text"
    )
    table: str = option("In a database: the name of the index's tables.", "Data", default=TABLE)
    method: str | None = option(
        "pacmap, umap or pca; by default pacmap, or pca for fewer than 50 different texts.",
        "Projection",
        choices=METHODS,
    )
    sample: int = option(
        "Project at most N different texts; place the others by their nearest neighbors among these",
        "Projection", default=SAMPLE, usual=SAMPLE, least=50, whole=True,
    )  # fmt: skip
    seed: int = option(
        "Seed of all random choices", "Projection", default=0, usual=0, least=0, most=2**31 - 1, whole=True
    )
    threads: int | None = option("Threads; by default STATIM_NUM_THREADS, else all processors.", "Run")
    progress: bool = option("", flag="", default=False)


class MapKeywords(TypedDict, total=False):
    """The keywords of ``make_map`` for type checkers; a test compares them with MapOptions."""

    against: str | Path | StaticModel | None
    color: str | None
    column: str | Sequence[str] | None
    table: str
    method: str | None
    sample: int
    seed: int
    threads: int | None
    progress: bool
