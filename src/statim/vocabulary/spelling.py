"""The spelling of tokens: which have letters, which begin a word, and the text they join to."""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import decoders

from statim.errors import InputError
from statim.kernels.text.counting import STARTS, WORDY
from statim.tokenizer.boundaries import boundaries, steps
from statim.tokenizer.tokenizer import Tokenizer


class Spelling:
    """The spelling of a tokenizer's tokens.

    Args:
        tokenizer: WordPiece, Unigram, or BPE, whose texts may be cut at spaces.

    Raises:
        InputError: It is of another kind.

    Attributes:
        tokenizer: The tokenizer.
        tokens: (V,) each id's token.
        description: The contents of its ``tokenizer.json``.
        flags: (V,) uint8 for each id, WORDY and STARTS of kernels.text.counting.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.description: dict[str, Any] = json.loads(tokenizer.to_json())
        self._kind, model = tokenizer.kind, self.description["model"]
        self._prefix, self._mark = "", ""
        kinds = {step["type"]: step for step in steps(self.description["pre_tokenizer"], "pretokenizers")}
        if self._kind == "WordPiece":
            self._prefix = model["continuing_subword_prefix"]
        elif self._kind in ("Unigram", "BPE") and not (
            model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("dropout")
        ):
            self._mark = "Ġ" if "ByteLevel" in kinds else kinds.get("Metaspace", {}).get("replacement", "")
        if not (self._prefix or self._mark) or boundaries(self.description | {"added_tokens": []}) is None:
            raise InputError(
                f"the tokenizer is {self._kind} of a kind whose vocabulary cannot be grown; give one of "
                "WordPiece, Unigram or BPE that cuts texts into words at spaces"
            )
        self._bytes = "ByteLevel" in kinds
        self._decoder = decoders.ByteLevel()
        self.tokens = [""] * tokenizer.vocabulary_size
        for token, identifier in tokenizer.vocabulary.items():
            self.tokens[identifier] = token
        self.flags = self._flags()
        if tokenizer.unknown_id is not None:
            self.flags[tokenizer.unknown_id] = 0

    def _flags(self) -> npt.NDArray[np.uint8]:
        flags = np.array([self._flag(token) for token in self.tokens], np.uint8)
        flags[[token["id"] for token in self.description["added_tokens"]]] = 0
        return flags

    def _flag(self, token: str) -> int:
        if self._prefix:
            starts = not token.startswith(self._prefix)
            body = token.removeprefix(self._prefix)
        else:
            starts = token.startswith(self._mark)
            body = token.removeprefix(self._mark)
            if self._bytes:
                body = self._decoder.decode([body])
                # part of a letter's bytes; whether they make a letter is seen when the word is whole
                body = body.replace("\ufffd", "a")
        wordy = is_word(body) or (bool(self._mark) and token == self._mark)
        return WORDY * wordy + STARTS * (wordy and starts)

    def entry(self, ids: Sequence[int]) -> str:
        """The vocabulary's name for the word that these tokens make."""
        first, *rest = (self.tokens[identifier] for identifier in ids)
        return first + "".join(token.removeprefix(self._prefix) for token in rest)

    def text(self, ids: Sequence[int]) -> str:
        """The word that these tokens make, as it stands in a normalized text."""
        word = self.entry(ids).removeprefix(self._mark)
        return str(self._decoder.decode([word])) if self._bytes else word


def is_word(text: str) -> bool:
    """Is it letters, digits and the marks on them?"""
    return text.isalnum() or (
        bool(text)
        and all(character.isalnum() or unicodedata.category(character)[0] == "M" for character in text)
    )
