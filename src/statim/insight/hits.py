"""Why an index found a document: what the tokens of both texts, and the words of BM25, add to the scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from statim.errors import InputError
from statim.insight.contributions import PAIRS, Explanation, explain
from statim.search.index import Hit, Index
from statim.search.passages import PARENT


@dataclass(frozen=True)
class Word:
    """A word of the query, and what it adds to the BM25 score of a document."""

    word: str
    contribution: float


@dataclass(frozen=True)
class HitExplanation:
    """Why a document was found.

    Attributes:
        query: The query.
        hit: The document, or its best passage, with its rank and score in ``mode``; rank 0 and score 0.0
            where it is not among the ``depth`` best.
        mode: The mode of the search.
        vector: What its cosine with the query is made of.
        bm25: Its BM25 score; of a document in passages, the best that one of them has.
        words: What each word of the query adds to it; stop words are left out, as in the search.
        against: The same of another document, to compare it with.
    """

    query: str
    hit: Hit
    mode: str
    vector: Explanation
    bm25: float
    words: tuple[Word, ...]
    against: "HitExplanation | None" = None

    def contrast(self) -> list[tuple[str, float]]:
        """Each token of the query and how much more it adds to this document's cosine than to the other's.

        Raises:
            InputError: There is no other document.
        """
        if self.against is None:
            raise InputError("there is no other document to compare with; give its id (against)")
        others = {token.id: token.contribution for token in self.against.vector.tokens_a}
        parts = [
            (token.text, token.contribution - others.get(token.id, 0.0)) for token in self.vector.tokens_a
        ]
        return sorted(parts, key=lambda part: -abs(part[1]))

    def to_dict(self, count: int = PAIRS) -> dict[str, Any]:
        """Plain values for JSON."""
        found: dict[str, Any] = {
            "query": self.query,
            "id": self.hit.id,
            "mode": self.mode,
            "rank": self.hit.rank or None,
            "rank_score": self.hit.score if self.hit.rank else None,
            **self.vector.to_dict(count),
            "lexical": {
                "score": self.bm25,
                "words": [{"word": one.word, "contribution": one.contribution} for one in self.words],
            },
        }
        if self.against is not None:
            found["against"] = self.against.to_dict(count)
            found["contrast"] = [{"token": text, "difference": part} for text, part in self.contrast()]
        return found


def explain_hit(
    index: Index,
    query: str,
    *,
    hit: str | int | None = None,
    rank: int = 1,
    against: str | int | None = None,
    mode: str | None = None,
    where: str | None = None,
    depth: int = 100,
) -> HitExplanation:
    """Explain why an index finds a document for a query.

    Args:
        index: An index whose own model made the documents' vectors.
        query: The query.
        hit: The id of the document; by default the one of ``rank``.
        rank: Which of the answers to explain; 1 is the best.
        against: The id of another document, to compare with.
        mode: ``hybrid``, ``vector`` or ``bm25``: the search whose rank and score are shown; by default the
            index's. Both the cosine and BM25 are always explained.
        where: Search only documents that satisfy this condition; see ``Index.search``.
        depth: How many answers to look for the document in.

    Raises:
        InputError: There is no such document or no answer of that rank, an argument is out of range, or
            another model made the documents' vectors.
        ModelError: The index is damaged.
    """
    if index.info().get("documents_by") is not None:
        raise InputError(
            "a teacher made the documents' vectors of this index, and they cannot be divided among words; "
            "explain an index whose own model made them"
        )
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise InputError(f"rank is {rank!r}; it must be a whole number of at least 1")
    mode = index.settings.mode if mode is None else mode
    answers = index.search(query, max(rank, depth), mode=mode, where=where)
    if hit is None:
        if rank > len(answers):
            raise InputError(
                f"there are {len(answers)} answers and none of rank {rank}; ask for a lower rank"
            )
        chosen = answers[rank - 1]
    else:
        chosen = _named(index, query, str(hit), answers)
    if against is None:
        return _explained(index, query, chosen, mode)
    other = _explained(index, query, _named(index, query, str(against), answers), mode)
    return _explained(index, query, chosen, mode, other)


def _named(index: Index, query: str, name: str, answers: list[Hit]) -> Hit:
    """The document of this id; of one in passages the one found, else the one nearest to the query.

    Raises:
        InputError: There is none.
    """
    for hit in answers:
        if hit.id == name:
            return hit
    found = index.get([name])
    if not found:
        raise InputError(f"the index has no document with the id {name!r}; see the ids in its answers")
    texts = [one["text"] for one in found]
    vectors = index.model.encode_document(texts, normalize=True)
    best = int(np.argmax(vectors @ index.model.encode_query(query, normalize=True)))
    rest = {key: value for key, value in found[best].items() if key not in ("id", "text", PARENT)}
    return Hit(0, 0.0, name, texts[best], rest)


def _explained(
    index: Index, query: str, hit: Hit, mode: str, against: HitExplanation | None = None
) -> HitExplanation:
    prompts = index.model.settings.prompts
    vector = explain(index.model, query, hit.text, prompts=(prompts.get("query"), prompts.get("document")))
    parts = index.word_scores(query, hit.id)
    words = tuple(Word(word, part) for word, part in parts if part != 0.0)
    return HitExplanation(query, hit, mode, vector, sum(one.contribution for one in words), words, against)
