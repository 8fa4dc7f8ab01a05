"""A vocabulary without the tokens that never occur in a corpus."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers

from statim import threads as pool
from statim.errors import DataError, InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary.counts import blocks

KINDS = ("WordPiece", "Unigram", "BPE")


@dataclass(frozen=True, eq=False)
class Pruned:
    """A tokenizer with fewer tokens.

    Attributes:
        tokenizer: It cuts the texts that it was pruned for as before; other texts into more pieces.
        kept: (k,) int64, ascending: the old id of each new one; so ``table[kept]`` is the table for it.
        before: Rows before.
    """

    tokenizer: Tokenizer
    kept: npt.NDArray[np.int64]
    before: int

    def __str__(self) -> str:
        return f"{len(self.kept):,} of {self.before:,} rows are kept; the others never occur in the texts"


def prune(tokenizer: Tokenizer, columns: Sequence[pa.Array], *, threads: int | None = None) -> Pruned:
    """Leave out the tokens that no text has, but for those that spell other texts.

    Kept are added tokens (special ones, word pairs); tokens of a single character or byte; those that hold a
    character without a token of its own; and of BPE those that kept ones are merged from. So no character
    becomes unknown. The texts themselves keep their tokens.

    Args:
        tokenizer: WordPiece, Unigram or BPE.
        columns: Arrow string arrays: all their texts are read.
        threads: Threads to tokenize on.

    Raises:
        InputError: The tokenizer is of another kind.
        DataError: The texts have no tokens.
    """
    description = _prunable(tokenizer)
    used = np.zeros(tokenizer.vocabulary_size, np.bool_)
    for texts in blocks(columns, every=True):
        used[tokenizer(texts, threads=pool.count(threads)).ids] = True
    tokenizer.forget()
    if not used.any():
        raise DataError("the texts have no tokens, so nothing says which rows to keep; give texts")
    # pairs too: one that is nearly found keeps others that overlap with it from being found
    used[[token["id"] for token in description["added_tokens"]]] = True
    return _kept(tokenizer, description, used)


def prune_to(tokenizer: Tokenizer, wanted: npt.NDArray[np.integer]) -> Pruned:
    """Leave out all tokens but those wanted, and those that spell other texts (see ``prune``).

    Texts that have others are cut into more pieces.

    Args:
        tokenizer: WordPiece, Unigram or BPE.
        wanted: Ids of tokens.

    Raises:
        InputError: The tokenizer is of another kind.
    """
    description = _prunable(tokenizer)
    used = np.zeros(tokenizer.vocabulary_size, np.bool_)
    used[wanted] = True
    used[[token["id"] for token in description["added_tokens"] if token["special"]]] = True
    return _kept(tokenizer, description, used)


def _prunable(tokenizer: Tokenizer) -> dict[str, Any]:
    """The description of a tokenizer that can be pruned."""
    if tokenizer.kind not in KINDS:
        raise InputError(
            f"the tokenizer is {tokenizer.kind}, whose vocabulary cannot be pruned; give one of "
            f"{', '.join(KINDS)}"
        )
    description: dict[str, Any] = json.loads(tokenizer.to_json())
    return description


def _kept(tokenizer: Tokenizer, description: dict[str, Any], used: npt.NDArray[np.bool_]) -> Pruned:
    """The tokenizer with the tokens that are used or needed."""
    used[_needed(description, tokenizer)] = True
    if tokenizer.kind == "BPE":
        used = _with_parents(used, description["model"].get("merges", ()), tokenizer.vocabulary)
    kept = np.flatnonzero(used)
    made = Tokenizer(rebuilt(_renumbered(description, kept)), copied=False)
    return Pruned(made, kept, tokenizer.vocabulary_size)


def rebuilt(description: dict[str, Any]) -> tokenizers.Tokenizer:
    """A tokenizer from its description, whose ids are those of the description.

    Raises:
        InputError: They are not: tokenizers itself numbers added tokens that the model does not hold.
    """
    made = tokenizers.Tokenizer.from_str(json.dumps(description))
    if any(made.token_to_id(token["content"]) != token["id"] for token in description["added_tokens"]):
        raise InputError(
            "the tokenizer has added tokens whose ids do not follow its vocabulary, so that it cannot "
            "be changed; save it again"
        )
    return made


def _needed(description: dict[str, Any], tokenizer: Tokenizer) -> list[int]:
    """The ids that are kept whether they occur or not, but for added tokens."""
    model, vocabulary = description["model"], tokenizer.vocabulary
    prefix = model.get("continuing_subword_prefix") or ""
    added = {token["content"] for token in description["added_tokens"]}
    needed: list[int] = []
    if tokenizer.unknown_id is not None:
        needed.append(tokenizer.unknown_id)
    if isinstance(model["vocab"], list):  # unknown characters are scored by the least probable token
        needed.append(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
    for token, number in vocabulary.items():
        if token in added:
            continue
        body = token.removeprefix(prefix) if prefix else token
        spelled = [
            body[:1] if body == token else prefix + body[:1],
            *(prefix + letter for letter in body[1:]),
        ]
        if len(body) <= 1 or is_byte(token) or not all(letter in vocabulary for letter in spelled):
            needed.append(number)
    return needed


def is_byte(token: str) -> bool:
    """Does it stand for a byte, as in <0x0A>?"""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _with_parents(
    used: npt.NDArray[np.bool_], merges: Sequence[Any], vocabulary: dict[str, int]
) -> npt.NDArray[np.bool_]:
    """Also the tokens that used ones are merged from; a merge's parts are merged before it."""
    used = used.copy()
    for first, second in reversed([_pair(merge) for merge in merges]):
        made = vocabulary.get(first + second)
        if made is not None and used[made]:
            used[[vocabulary[first], vocabulary[second]]] = True
    return used


def _pair(merge: Any) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _renumbered(description: dict[str, Any], kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The description with the kept ids alone, numbered from 0."""
    new = {int(number): at for at, number in enumerate(kept)}
    model = dict(description["model"])
    if isinstance(model["vocab"], list):
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new]
    else:
        model["vocab"] = {token: new[number] for token, number in model["vocab"].items() if number in new}
    if "merges" in model:
        vocabulary = model["vocab"]
        model["merges"] = [
            [first, second]
            for first, second in map(_pair, model["merges"])
            if first in vocabulary and second in vocabulary and first + second in vocabulary
        ]
    added = [token | {"id": new[token["id"]]} for token in description["added_tokens"] if token["id"] in new]
    # what it says of special tokens holds old ids; static models add none
    return description | {"model": model, "added_tokens": added, "post_processor": None}
