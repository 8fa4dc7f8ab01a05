"""How a model turns tokens into a vector, beyond its tokenizer and its table."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """The ways of a model. Models made here have the defaults; models of other libraries keep their own ways.

    Attributes:
        normalize: Vectors have length 1 unless the caller says otherwise.
        drop_unknown: Unknown tokens do not count in the mean (model2vec); else they count (sentence-transformers).
        max_tokens: Texts are cut after this many tokens; None never cuts.
        max_characters: Texts are cut after this many characters before they are tokenized (model2vec); None never cuts.
        prompts: Text put before queries and documents, by the names ``query`` and ``document``.
        language: Language codes for the model card, e.g. ``("en",)``.
        base_model: What the model started from, for the model card.
    """

    normalize: bool = True
    drop_unknown: bool = False
    max_tokens: int | None = None
    max_characters: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    language: tuple[str, ...] = ()
    base_model: str | None = None
