"""Texts or token ids to vectors, on the thread that asks."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.model import FEW, StaticModel
from statim.server.refusals import ApiError
from statim.tokenizer.tokens import Tokens

Floats = npt.NDArray[np.float32]

INVALID_TOKEN = "invalid_token"  # the code of a refusal


class Encoder:
    """A model, as requests use it.

    Plain numpy pools the first texts, since compiled code takes a while and some memory to load. It is loaded
    beside the requests once as many texts have come as it pays for.

    Args:
        model: Makes the vectors.
        max_batch: Texts of a request.
        max_tokens: Tokens of a request.
    """

    def __init__(self, model: StaticModel, max_batch: int, max_tokens: int) -> None:
        self.model = model
        self._max_batch, self._max_tokens = max_batch, max_tokens
        self._pooled, self._compiled = 0, False
        self._loading = threading.Lock()

    def tokens(self, given: Sequence[Any], prompt: str | None = None) -> Tokens:
        """The tokens of n texts, or of n lists of token ids.

        Raises:
            ApiError: There are too many texts or tokens, or an id is not the tokenizer's.
        """
        if len(given) > self._max_batch:
            raise ApiError(
                422,
                f"the request has {len(given):,} texts; send {self._max_batch:,} at most at once",
                "batch_too_large",
            )
        found = self._of_ids(given) if isinstance(given[0], list) else self._of_texts(given, prompt)
        if len(found.ids) > self._max_tokens:
            raise ApiError(
                422,
                f"the request has {len(found.ids):,} tokens; send {self._max_tokens:,} at most at once",
                "too_many_tokens",
            )
        return found

    def _of_texts(self, texts: Sequence[str], prompt: str | None) -> Tokens:
        ways = self.model.settings
        return self.model.tokenizer.chunk(
            [prompt + text for text in texts] if prompt else list(texts),
            max_tokens=ways.max_tokens,
            max_characters=ways.max_characters,
        )

    def _of_ids(self, given: Sequence[list[int]]) -> Tokens:
        cut = [ids[: self.model.settings.max_tokens] for ids in given]
        offsets = np.zeros(len(cut) + 1, np.int64)
        np.cumsum([len(ids) for ids in cut], out=offsets[1:])
        try:
            tokens = Tokens(np.array([i for ids in cut for i in ids], np.int32), offsets)
            tokens.check(self.model.tokenizer.vocabulary_size)
        except (InputError, OverflowError):
            raise ApiError(
                422,
                f"a token id is not from 0 to {self.model.tokenizer.vocabulary_size - 1:,}, so the ids are "
                "of another tokenizer; send texts, or ids that /tokenize gives",
                INVALID_TOKEN,
            ) from None
        return tokens

    def vectors(self, tokens: Tokens, dim: int | None = None, normalize: bool | None = None) -> Floats:
        """Their vectors, (n, dim) float32.

        Raises:
            InputError: ``dim`` is larger than the model's.
        """
        if not self._compiled:
            self._pooled += len(tokens)
            if self._pooled > FEW and self._loading.acquire(blocking=False):
                threading.Thread(target=self._load, name="statim-load", daemon=True).start()
        compiled = self._compiled or len(tokens) > FEW
        return self.model.pool(tokens, dim=dim, normalize=normalize, compiled=compiled)

    def _load(self) -> None:
        self.model.pool(self.model.tokenizer.chunk(["a"]))
        self._compiled = True

    def encode(self, texts: Sequence[str], prompt: str | None = None) -> tuple[Floats, int]:
        """Vectors of length 1 of n texts, and how many tokens they have."""
        tokens = self.tokens(texts, prompt)
        return self.vectors(tokens, normalize=True), len(tokens.ids)
