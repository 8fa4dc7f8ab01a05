"""How a model turns tokens into a vector, beyond its tokenizer and its table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from statim.errors import InputError


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
        documents_hash: The hash of that teacher's content (see ``statim.teacher.Teacher.hash``).

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

    def __post_init__(self) -> None:
        for name, limit in (("max_tokens", self.max_tokens), ("max_characters", self.max_characters)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
                raise InputError(
                    f"{name} is {limit!r}; it must be a whole number of at least 1, or None for no limit"
                )
