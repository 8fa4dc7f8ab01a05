"""The tokens nearest to a word, and what training changed about them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.model import StaticModel

BLOCK = 1 << 16  # rows compared at a time


@dataclass(frozen=True)
class Neighbor:
    """A token near a word.

    Attributes:
        token: As the vocabulary spells it.
        score: The cosine of its row with the word's vector.
        before: The same in the earlier model; None without one, or where it does not know the word or has no
            such token (or a row of zeros for it).
    """

    token: str
    score: float
    before: float | None = None


def neighbors(
    model: StaticModel, word: str, k: int = 10, *, before: StaticModel | None = None
) -> list[Neighbor]:
    """The k tokens whose rows are nearest to a word's vector, by cosine.

    Args:
        model: The model.
        word: A word, or any text; its own tokens are left out.
        k: How many.
        before: An earlier model, such as the one that training started from.

    Raises:
        InputError: k is below 1, or the word has no known token.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"k is {k!r}; it must be a whole number of at least 1")
    scores = _cosines(model, word)
    if scores is None:
        raise InputError(f"the model knows no token of {word!r}; give another word")
    scores[model.tokenize(word).ids] = -np.inf
    order = np.argsort(-scores, kind="stable")[:k]
    order = order[scores[order] > -np.inf]
    tokens = [model.tokenizer.backend.id_to_token(i) or "" for i in order.tolist()]
    earlier = {} if before is None else _by_token(before, word, tokens)
    return [
        Neighbor(token, score, earlier.get(token))
        for token, score in zip(tokens, scores[order].tolist(), strict=True)
    ]


def _by_token(model: StaticModel, word: str, tokens: list[str]) -> dict[str, float]:
    """The cosine of some tokens with the word, where a model has one."""
    scores, known = _cosines(model, word), model.tokenizer.vocabulary
    if scores is None:
        return {}
    found = {token: float(scores[known[token]]) for token in tokens if token in known}
    return {token: score for token, score in found.items() if score > -np.inf}


def _cosines(model: StaticModel, word: str) -> npt.NDArray[np.float64] | None:
    """The cosine of every token's row with the word's vector, (V,); -inf for rows of zeros.

    None where the model knows no token of the word.
    """
    vector = model.weighted_rows(word).rows.sum(0)
    length = np.linalg.norm(vector)
    if length == 0:
        return None
    table = model.table
    found = np.full(model.tokenizer.vocabulary_size, -np.inf)
    for start in range(0, len(found), BLOCK):
        rows = table[start : min(start + BLOCK, len(found))].astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1)
        there = lengths > 0
        found[start : start + len(rows)][there] = (rows @ vector)[there] / (lengths[there] * length)
    return found
