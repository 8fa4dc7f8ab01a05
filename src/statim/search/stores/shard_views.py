"""A search in many shards: all are asked at once, and their answers merged.

A document's position is its position in its shard, plus 2^40 times the number of the shard.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import ModelError
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.lexical.analyzer import Analyzer
from statim.search.lexical.bm25 import BM25
from statim.search.lexical.incremental_bm25 import Totals
from statim.search.stores.protocol import View, WordView

BITS = 40  # of a position in its shard
R = TypeVar("R")
Found = tuple[Floats, Positions]


class Parts:
    """The views of shards, asked in parallel.

    Args:
        place: What messages call the index.
        lose: Told of a shard that fails, which is then left out; by default that is an error.

    Attributes:
        views: By the number of the shard.
    """

    def __init__(self, place: str, lose: "Callable[[int, ModelError], None] | None") -> None:
        self._place, self._lose = place, lose
        self.views: dict[int, View] = {}

    def each(
        self, ask: Callable[[int], R], numbers: Sequence[int], workers: int | None = None
    ) -> list[tuple[int, R]]:
        """What shards answer; one that fails is left out where that is allowed.

        Raises:
            ModelError: A shard is damaged.
        """

        def one(number: int) -> R | ModelError:
            try:
                return ask(number)
            except ModelError as error:
                return error

        answers = pool.run([partial(one, number) for number in numbers], pool.count(workers))
        kept: list[tuple[int, R]] = []
        for number, answer in zip(numbers, answers, strict=True):
            if not isinstance(answer, ModelError):
                kept.append((number, answer))
            elif self._lose is not None:
                self._lose(number, answer)
                self.views.pop(number, None)
            else:
                raise ModelError(f"the shard {number} of {self._place} cannot be used: {answer}")
        return kept

    def ask(self, question: Callable[[View], R], workers: int | None = None) -> list[tuple[int, R]]:
        """What the shards that are there answer."""
        return self.each(lambda number: question(self.views[number]), list(self.views), workers)

    def rows(self, positions: Positions) -> list[dict[str, Any]]:
        """The documents at c positions; see View."""
        found: dict[int, dict[str, Any]] = {}
        for number in np.unique(positions >> BITS).tolist():
            some = positions[positions >> BITS == number]
            documents = self.views[number].rows(some & ((1 << BITS) - 1))
            found |= dict(zip(some.tolist(), documents, strict=True))
        return [found[position] for position in positions.tolist()]


class Vectors:
    """Documents of all shards, found by vectors; see VectorSide."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def search(self, queries: npt.ArrayLike, k: int, *, threads: int | None = None) -> Found:
        """The k nearest documents of all shards."""
        asked = np.asarray(queries, np.float32)
        return _merged(
            self._parts.ask(lambda view: view.vectors.search(asked, k, threads=threads), threads),
            k,
            len(asked),
        )

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of given positions."""
        asked = np.asarray(queries, np.float32)
        return _scored(
            self._parts, positions, lambda number, own: self._parts.views[number].vectors.score(asked, own)
        )


class Words:
    """Documents of all shards, found by words; see WordSide."""

    def __init__(self, parts: Parts, analyzer: Analyzer) -> None:
        self._parts, self._analyzer = parts, analyzer

    def asked(self, queries: Sequence[str]) -> "_WordsAsked":
        """The same for these queries alone, weighed by how rare their words are in all shards."""

        def postings(view: View) -> Any:
            assert isinstance(view.words, WordView)
            return view.words.postings(queries)

        found = dict(self._parts.ask(postings))
        totals = Totals.of([words.totals for words, _ in found.values()])
        whole = {number: words.bm25(totals) for number, (words, _) in found.items()}
        some = {
            number: whole[number] if allowed is None else words.bm25(totals, allowed)
            for number, (words, allowed) in found.items()
        }
        return _WordsAsked(self._parts, self._analyzer, totals, whole, some)

    def search(self, queries: Sequence[str], k: int, *, threads: int | None = None) -> Found:
        """The k best documents of all shards."""
        return self.asked(queries).search(queries, k, threads=threads)

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        """The scores of given positions."""
        return self.asked(queries).score(queries, positions)

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of a document that holds each word of a query."""
        return self.asked(queries).full_match(queries)


class _WordsAsked:
    """The words of some queries in all shards; those of all documents weigh, those of some are found."""

    def __init__(
        self, parts: Parts, analyzer: Analyzer, totals: Totals, whole: dict[int, BM25], some: dict[int, BM25]
    ) -> None:
        self._parts, self._analyzer, self._totals, self._whole, self._some = (
            parts,
            analyzer,
            totals,
            whole,
            some,
        )

    def asked(self, queries: Sequence[str]) -> "_WordsAsked":
        del queries
        return self

    def search(self, queries: Sequence[str], k: int, *, threads: int | None = None) -> Found:
        def one(number: int) -> Found:
            return self._some[number].search(queries, k, threads=threads)

        return _merged(self._parts.each(one, list(self._some), threads), k, len(queries))

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        return _scored(self._parts, positions, lambda number, own: self._whole[number].score(queries, own))

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.array([self._totals.full_match(self._analyzer.query_terms(query)) for query in queries])


def _merged(found: list[tuple[int, Found]], k: int, queries: int) -> Found:
    """The best of all shards; equal scores in the order of the positions."""
    scores = [np.zeros((queries, 0), np.float32), *(one for _, (one, _) in found)]
    positions = [np.zeros((queries, 0), np.int64)]
    positions += [np.where(own < 0, -1, own + (number << BITS)) for number, (_, own) in found]
    every, places = np.concatenate(scores, axis=1), np.concatenate(positions, axis=1)
    order = np.argsort(-every, axis=1, kind="stable")[:, : check_k(k)]
    return np.take_along_axis(every, order, 1), np.take_along_axis(places, order, 1)


def _scored(parts: Parts, positions: Positions, score: Callable[[int, Positions], Floats]) -> Floats:
    """The scores of positions (m, c), each from its shard; 0 where -1."""
    owners = np.where(positions < 0, -1, positions >> BITS)
    local = positions & ((1 << BITS) - 1)
    asked = [number for number in np.unique(owners).tolist() if number in parts.views]
    found = parts.each(lambda number: score(number, np.where(owners == number, local, -1)), asked)
    return sum((one for _, one in found), np.zeros(positions.shape, np.float32))
