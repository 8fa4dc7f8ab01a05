"""A WordPiece vocabulary that keeps marks, and has tokens for the characters that this takes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from statim.errors import InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary.counts import LEAST
from statim.vocabulary.coverage import sampled
from statim.vocabulary.pruning import rebuilt


@dataclass(frozen=True)
class Marked:
    """A tokenizer that keeps marks.

    Attributes:
        tokenizer: The tokenizer; its old ids mean what they meant.
        new: The tokens it has more, in the order of their ids, without the prefix of continuations.
    """

    tokenizer: Tokenizer
    new: list[str]


def can_keep_marks(tokenizer: Tokenizer) -> bool:
    """Is this a tokenizer like BERT's, which strips accents?"""
    normalizer = json.loads(tokenizer.to_json())["normalizer"] or {}
    return tokenizer.kind == "WordPiece" and normalizer.get("type") == "BertNormalizer"


def with_marks(tokenizer: Tokenizer, columns: Sequence[pa.Array]) -> Marked:
    """Let a tokenizer keep marks and normalize by NFKC, with tokens for the letters that it then lacks.

    Args:
        tokenizer: One that ``can_keep_marks``.
        columns: Arrow string arrays: letters that occur five times or more in a sample get tokens, as words
            and inside words.

    Raises:
        InputError: It is another kind of tokenizer.
    """
    if not can_keep_marks(tokenizer):
        raise InputError(
            f"the start's tokenizer is {tokenizer.kind} and cannot be told to keep accents; leave accents out"
        )
    description: dict[str, Any] = json.loads(tokenizer.to_json())
    bert = description["normalizer"] | {"strip_accents": False}
    description["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, bert]}
    normalize = rebuilt(description).normalizer.normalize_str
    counts: Counter[str] = Counter()
    for column in columns:
        for text in sampled(column):
            counts.update(normalize(text))
    vocabulary = description["model"]["vocab"]
    prefix = description["model"]["continuing_subword_prefix"]
    letters = sorted(letter for letter, count in counts.items() if count >= LEAST and not letter.isspace())
    new = {
        token: letter for letter in letters for token in (letter, prefix + letter) if token not in vocabulary
    }
    size = tokenizer.vocabulary_size
    description["model"]["vocab"] = vocabulary | {token: size + at for at, token in enumerate(new)}
    return Marked(Tokenizer(rebuilt(description), copied=False), list(new.values()))
