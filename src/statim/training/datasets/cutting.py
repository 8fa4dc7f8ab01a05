"""A tokenizer with a model's limits: a training sees of a text what the model will see."""

import hashlib
from typing import Any

from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens


class Cutting(Tokenizer):
    """A tokenizer that reads at most ``max_characters`` of a text and returns at most ``max_tokens``.

    Args:
        tokenizer: What it is in all else.
        max_tokens: Tokens of a text at most; None for no limit.
        max_characters: Characters of a text at most, before it is tokenized; None for no limit.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_tokens: int | None, max_characters: int | None = None
    ) -> None:
        self.__dict__.update(tokenizer.__dict__)
        self._limits = {"max_tokens": max_tokens, "max_characters": max_characters}

    def chunk(self, texts: list[str], **options: Any) -> Tokens:
        """As any tokenizer, but with both limits; lower ones may be asked for."""
        for name, limit in self._limits.items():
            limits = [value for value in (limit, options.get(name)) if value is not None]
            options[name] = min(limits, default=None)
        return super().chunk(texts, **options)

    @property
    def hash(self) -> str:
        """A hash of everything that decides the ids, hexadecimal."""
        return hashlib.sha256(f"{super().hash} {sorted(self._limits.items())}".encode()).hexdigest()


def as_cut_by(settings: Settings, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the limits of a model's settings; itself where there are none."""
    if settings.max_tokens is None and settings.max_characters is None:
        return tokenizer
    return Cutting(tokenizer, settings.max_tokens, settings.max_characters)
