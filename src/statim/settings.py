"""How a model turns tokens into a vector, beyond its tokenizer and its table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from statim.errors import InputError

MODES = ("hybrid", "vector", "bm25")  # ways to search an index
WEIGHT = 0.5  # of the vectors in hybrid search, where nothing was tuned
SHARES = (50, 75, 90, 95, 99)  # percent of the right answers that a threshold keeps


@dataclass(frozen=True)
class SearchSettings:
    """How an index is searched unless a search says otherwise, as development queries decided.

    Attributes:
        weight: The part of the vector score in hybrid search, from 0 (BM25 alone) to 1 (vectors alone).
        mode: The default, one of MODES.
        thresholds: Mode -> percent (of SHARES, as text) -> the score that this share of the right answers
            reached. Modes that were not measured are left out.

    Raises:
        InputError: The weight or the mode is none of those.
    """

    weight: float = WEIGHT
    mode: str = MODES[0]
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @staticmethod
    def read(told: object) -> "SearchSettings | None":
        """The settings in a mapping with the names of the attributes; None for anything that is not that."""
        if not isinstance(told, Mapping) or not {"weight", "mode", "thresholds"} <= told.keys():
            return None
        weight, mode, thresholds = told["weight"], told["mode"], told["thresholds"]
        whole = (
            type(weight) is float and 0 <= weight <= 1 and mode in MODES
            and isinstance(thresholds, Mapping) and all(map(_are_thresholds, thresholds.values()))
        )  # fmt: skip
        return SearchSettings(weight, mode, thresholds) if whole else None

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(
                f"weight is {self.weight!r}; it must be between 0 (BM25 alone) and 1 (vectors alone)"
            )
        if self.mode not in MODES:
            raise InputError(f"mode is {self.mode!r}; it must be one of {', '.join(MODES)}")


def _are_thresholds(told: object) -> bool:
    return isinstance(told, Mapping) and all(
        str(share).isdecimal() and type(score) is float and math.isfinite(score)
        for share, score in told.items()
    )


@dataclass(frozen=True)
class Settings:
    """The ways of a model. Models made here have the defaults; models of other libraries keep their own ways.

    Attributes:
        normalize: Vectors have length 1 unless the caller says otherwise.
        drop_unknown: Unknown tokens do not count in the mean (model2vec); else they count
            (sentence-transformers).
        max_tokens: Texts are cut after this many tokens; None never cuts.
        max_characters: Texts are cut after this many characters before they are tokenized (model2vec); None
            never cuts.
        prompts: Text put before queries and documents, by the names ``query`` and ``document``.
        language: Language codes for the model card, e.g. ``("en",)``.
        base_model: What the model started from, for the model card.
        documents_by: The teacher whose vectors of documents this model's vectors of queries are to be
            compared with, by path or name; None where the model makes both.
        documents_hash: The hash of that teacher's content (see ``statim.teacher.teacher.Teacher.hash``).
        search: How an index made with this model is searched by default; None where nothing was tuned.

    Raises:
        InputError: A limit is not a whole number of at least 1.

    Examples:
        >>> Settings(normalize=False, max_tokens=128).max_tokens
        128
    """

    normalize: bool = True
    drop_unknown: bool = False
    max_tokens: int | None = None
    max_characters: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    language: tuple[str, ...] = ()
    base_model: str | None = None
    documents_by: str | None = None
    documents_hash: str | None = None
    search: SearchSettings | None = None

    def __post_init__(self) -> None:
        for name, limit in (("max_tokens", self.max_tokens), ("max_characters", self.max_characters)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
                raise InputError(
                    f"{name} is {limit!r}; it must be a whole number of at least 1, or None for no limit"
                )
