"""The cosine of two texts as an exact sum over pairs of their tokens.

A text's vector points along the sum of its tokens' rows, each times its count. So the cosine of two texts is
the sum, over all pairs of a token of the one and a token of the other, of the dot product of both rows times
both counts, over the lengths of both sums. Nothing is estimated: the parts add up to the score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.model import StaticModel
from statim.tokenizer.tokenizer import mend

PAIRS = 20

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Token:
    """A distinct token of a text.

    Attributes:
        text: As the vocabulary spells it.
        id: Its row.
        count: How often it occurs.
        contribution: Its part of the score, over all tokens of the other text.
        spans: Where in ``Explanation.a`` or ``b`` it occurs: (start, end) in characters.
    """

    text: str
    id: int
    count: int
    contribution: float
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pair:
    """A token of the first text, one of the second, and what they add to the score."""

    a: str
    b: str
    contribution: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the similarity of two texts is made of.

    Attributes:
        score: The cosine of their vectors; 0 where a text has no token that counts.
        a: The first text, with the prompt before it; lone surrogates are U+FFFD, as in ``encode``.
        b: The second text, likewise.
        tokens_a: The tokens of the first text that count, in the order of their first occurrence.
        tokens_b: The tokens of the second text.
        contributions: (len(tokens_a), len(tokens_b)) float64; its sum is ``score``.
    """

    score: float
    a: str
    b: str
    tokens_a: tuple[Token, ...]
    tokens_b: tuple[Token, ...]
    contributions: Doubles

    def pairs(self, count: int = PAIRS) -> list[Pair]:
        """The pairs of tokens that add or subtract the most, the strongest first."""
        flat = self.contributions.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:count]
        rows, columns = np.unravel_index(order, self.contributions.shape)
        return [
            Pair(self.tokens_a[i].text, self.tokens_b[j].text, float(self.contributions[i, j]))
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        ]

    def to_dict(self, count: int = PAIRS) -> dict[str, Any]:
        """Plain values for JSON; ``rest`` is what all pairs but the ``count`` strongest add up to."""
        pairs = self.pairs(count)
        return {
            "score": self.score,
            "a": self.a,
            "b": self.b,
            "tokens_a": [_plain(token) for token in self.tokens_a],
            "tokens_b": [_plain(token) for token in self.tokens_b],
            "pairs": [{"a": p.a, "b": p.b, "contribution": p.contribution} for p in pairs],
            "rest": self.score - sum(pair.contribution for pair in pairs),
        }


def explain(
    model: StaticModel,
    a: str,
    b: str,
    *,
    dim: int | None = None,
    prompts: tuple[str | None, str | None] = (None, None),
) -> Explanation:
    """Divide the cosine of two texts among the pairs of their tokens.

    It is the cosine of the vectors that ``StaticModel.encode`` gives, in float64, with the model's own rules:
    unknown tokens count or do not, and texts are cut where the model cuts them.

    Args:
        model: The model.
        a: The first text; in a search, the query.
        b: The second text.
        dim: Use only the first ``dim`` dimensions.
        prompts: Text put before each of them.

    Raises:
        InputError: A text is not a str, or ``dim`` is larger than the model's.

    Examples:
        >>> found = explain(model, "sort a list", "order of items")
        >>> round(float(found.contributions.sum()) - found.score, 9)
        0.0
    """
    for name, text in (("a", a), ("b", b)):
        if not isinstance(text, str):
            raise InputError(f"{name} is of type {type(text).__name__}; give a text (str)")
    whole = [(prompt or "") + text for prompt, text in zip(prompts, (a, b), strict=True)]
    left, right = (model.weighted_rows(text, dim=dim) for text in whole)
    lengths = float(np.linalg.norm(left.rows.sum(0)) * np.linalg.norm(right.rows.sum(0)))
    products = left.rows @ right.rows.T
    parts = products / lengths if lengths > 0 else np.zeros_like(products)
    (read_a, rest_a), (read_b, rest_b) = (_read(model, text) for text in whole)
    return Explanation(
        score=float(parts.sum()),
        a=read_a + rest_a,
        b=read_b + rest_b,
        tokens_a=_tokens(model, read_a, left.ids, left.counts, parts.sum(1)),
        tokens_b=_tokens(model, read_b, right.ids, right.counts, parts.sum(0)),
        contributions=parts,
    )


def marked(text: str, tokens: Sequence[Token]) -> Iterator[tuple[str, Token | None, float]]:
    """A text in parts, to colour them by what their tokens add.

    Args:
        text: The text.
        tokens: Its tokens; of several at one place, as of the bytes of a letter, the first one is taken.

    Yields:
        A part, its token (None between tokens), and what one occurrence adds over the most that one does,
        from -1 to 1.
    """
    places = sorted(((span, token) for token in tokens for span in token.spans), key=lambda place: place[0])
    most = max((abs(token.contribution) / token.count for token in tokens), default=0.0) or 1.0
    end = 0
    for (start, stop), token in places:
        if start < end or stop <= start:
            continue
        yield text[end:start], None, 0.0
        yield text[start:stop], token, token.contribution / token.count / most
        end = stop
    yield text[end:], None, 0.0


def _read(model: StaticModel, text: str) -> tuple[str, str]:
    """The part of a text that the model reads, and the rest, without lone surrogates."""
    limit = model.settings.max_characters
    return (mend(text), "") if limit is None else (mend(text[:limit]), mend(text[limit:]))


def _tokens(
    model: StaticModel,
    text: str,
    ids: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
    contributions: Doubles,
) -> tuple[Token, ...]:
    """The tokens of a text, with where they occur in it."""
    backend = model.tokenizer.backend
    cut = backend.encode(text, add_special_tokens=False)
    spans: dict[int, list[tuple[int, int]]] = {}
    for identifier, span in list(zip(cut.ids, cut.offsets, strict=True))[: model.settings.max_tokens]:
        spans.setdefault(identifier, []).append(span)
    return tuple(
        Token(backend.id_to_token(i) or "", i, count, part, tuple(spans.get(i, ())))
        for i, count, part in zip(ids.tolist(), counts.tolist(), contributions.tolist(), strict=True)
    )


def _plain(token: Token) -> dict[str, Any]:
    return {
        "token": token.text,
        "id": token.id,
        "count": token.count,
        "contribution": token.contribution,
        "spans": [list(span) for span in token.spans],
    }
