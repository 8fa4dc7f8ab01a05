"""Folders that model2vec wrote: its own ways are kept, so that vectors equal its own."""

from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import ModelError
from statim.files import read_json
from statim.formats import card
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer

MODEL_TYPE = "model2vec"
MAX_LENGTH = 512  # what model2vec takes when config.json does not say
NORMALIZE = False
LONGEST = (1 << 63) - 1  # characters; no text has as many


def is_written_here(config: dict[str, Any]) -> bool:
    """Whether a config.json says outright that model2vec wrote it."""
    return config.get("model_type") == MODEL_TYPE or config.get("architectures") == ["StaticModel"]


def read_settings(folder: Path, tokenizer: Tokenizer) -> Settings:
    """The settings that give model2vec's vectors.

    model2vec drops unknown tokens, keeps ``max_length`` tokens, and before that cuts each text after
    ``max_length`` times the median length of the vocabulary's tokens in characters.

    Raises:
        ModelError: config.json holds values that model2vec does not write.
    """
    path = folder / "config.json"
    config = read_json(path)
    normalize, length = config.get("normalize", NORMALIZE), config.get("max_length", MAX_LENGTH)
    if not isinstance(normalize, bool):
        raise ModelError(f"{path}: normalize is {str(normalize)[:80]!r}; it must be true or false")
    if length is not None and (
        isinstance(length, bool) or not isinstance(length, int) or not 0 < length < 1 << 63
    ):
        raise ModelError(
            f"{path}: max_length is {str(length)[:80]!r}; it must be a whole number of at least 1, or null"
        )
    characters = None
    if length is not None:
        median = int(np.median([len(token) for token in tokenizer.vocabulary])) if tokenizer.vocabulary else 0
        if median == 0:
            raise ModelError(
                f"{folder / 'tokenizer.json'} has a vocabulary of empty tokens; restore the file"
            )
        characters = min(length * median, LONGEST)
    base_model, language = card.facts(folder)
    return Settings(
        normalize=normalize,
        drop_unknown=True,
        max_tokens=length,
        max_characters=characters,
        language=language,
        base_model=base_model,
    )
