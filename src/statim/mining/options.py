"""The options of mining: the one place of each default, bound and help line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy.typing as npt

from statim.option import option

if TYPE_CHECKING:
    from statim.search.rerank import CrossEncoder

PANELS = ("Data", "Guards", "Prompts", "Run")


@dataclass(frozen=True, repr=False, eq=False)
class MiningOptions:
    """All that ``mine_hard_negatives`` is asked for, which documents each."""

    anchor: str | None = option("Column of anchors; guessed by default.", "Data")
    positive: str | None = option("Column of positives; guessed by default.", "Data")
    delimiter: str | None = option(
        "Character between the fields of CSV files, such as ; or tab; detected by default.", "Data"
    )
    encoding: str | None = option(
        "Encoding of text files, such as windows-1252; by default UTF-8, or UTF-16 with a byte-order mark.",
        "Data",
    )
    corpus: Any = option("A file of further texts that negatives may come from (repeatable).")
    corpus_column: str | None = option("Column of texts in the corpus; guessed by default.", "Data")
    vectors: Sequence[npt.ArrayLike] | None = option("", flag="")
    cross_encoder: "str | CrossEncoder | None" = option(
        "A CrossEncoder of sentence-transformers that scores candidates again."
    )
    range_min: int = option("Skip the N nearest candidates.", "Guards", default=0)
    range_max: int | None = option("Look at candidates up to this rank; by default enough.", "Guards")
    max_score: float | None = option("Highest score of a negative.", "Guards")
    min_score: float | None = option("Lowest score of a negative.", "Guards")
    absolute_margin: float | None = option(
        "Least difference between the scores of the worst positive and a negative.", "Guards"
    )
    relative_margin: float | None = option(
        "The same as a share of the positive's score, or none (default 0.05).", "Guards", default=0.05
    )
    num_negatives: int = option("Negatives of each anchor", default=3, usual=3, flag="negatives")
    sampling: str = option("top takes the closest, random any in the range", default="top", usual="top")
    seed: int = option(
        "Seed of random sampling", "Run", default=0, usual=0, least=0, most=2**63 - 1, whole=True
    )
    query_prompt: str | None = option(
        "Text to put before each anchor, instead of the model's own prompt.", "Prompts"
    )
    query_prompt_name: str | None = option("Name of one of the model's prompts for anchors.", "Prompts")
    corpus_prompt: str | None = option(
        "Text to put before each document, instead of the model's own prompt.", "Prompts"
    )
    corpus_prompt_name: str | None = option("Name of one of the model's prompts for documents.", "Prompts")
    include_positives: bool = option("Leave positives among the candidates (n-tuples).", default=False)
    output_format: str = option(
        "triplet, n-tuple, labelled-pair or labelled-list", default="triplet", usual="triplet", flag="format"
    )
    output_scores: bool = option("Write the scores too.", default=False, flag="scores")
    search: str | None = option("exact, or index (approximate); by default what suits the size.", "Run")
    batch_size: int = option("Batch size of the cross-encoder", "Run", default=32, usual=32)
    threads: int | None = option("Threads; by default STATIM_NUM_THREADS, else all processors.", "Run")
    progress: bool = option("", flag="", default=False)


class MiningKeywords(TypedDict, total=False):
    """The keywords of ``mine_hard_negatives`` for type checkers; a test compares them with MiningOptions."""

    anchor: str | None
    positive: str | None
    delimiter: str | None
    encoding: str | None
    corpus: Any
    corpus_column: str | None
    vectors: Sequence[npt.ArrayLike] | None
    cross_encoder: "str | CrossEncoder | None"
    range_min: int
    range_max: int | None
    max_score: float | None
    min_score: float | None
    absolute_margin: float | None
    relative_margin: float | None
    num_negatives: int
    sampling: str
    seed: int
    query_prompt: str | None
    query_prompt_name: str | None
    corpus_prompt: str | None
    corpus_prompt_name: str | None
    include_positives: bool
    output_format: str
    output_scores: bool
    search: str | None
    batch_size: int
    threads: int | None
    progress: bool
