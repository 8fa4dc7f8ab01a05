"""Where the words of a query are in a text, as BM25 sees words."""

import re
from functools import cached_property

from statim.scripts import MARKS
from statim.search.lexical.analyzer import Analyzer

_LETTER = rf"(?:[^\W_]|[{MARKS}])"
_RUN = re.compile(rf"{_LETTER}+(?:['\u2019]{_LETTER}+)*")
_UNSPACED = "\u0e01"  # scripts without spaces between words, and Korean, begin here


class Marker:
    """Finds a query's words in texts.

    Args:
        analyzer: Says how words are cut and stemmed.
        query: The query.
    """

    def __init__(self, analyzer: Analyzer, query: str) -> None:
        self._analyzer, self._query = analyzer, query
        self._known: dict[str, bool] = {}

    def marks(self, text: str) -> list[tuple[int, int]]:
        """Where words of the query begin and end, in characters, ascending."""
        found: list[tuple[int, int]] = []
        for run in _RUN.finditer(text):
            word = run[0]
            if word[0] >= _UNSPACED and self._pairs:
                found += [(run.start() + start, run.start() + end) for start, end in self._covered(word)]
            elif self._is_wanted(word):
                found.append(run.span())
        return found

    def _is_wanted(self, word: str) -> bool:
        wanted = self._known.get(word)
        if wanted is None:
            wanted = self._known[word] = not self._terms.isdisjoint(self._analyzer.terms(word))
        return wanted

    @cached_property
    def _terms(self) -> frozenset[str]:
        return frozenset(self._analyzer.query_terms(self._query))

    @cached_property
    def _pairs(self) -> list[str]:
        return [term for term in self._terms if term[0] >= _UNSPACED]

    def _covered(self, run: str) -> list[tuple[int, int]]:
        """The parts of a run without spaces that pairs of the query cover."""
        places = {
            place
            for pair in self._pairs
            for found in re.finditer(f"(?={re.escape(pair)})", run)
            for place in range(found.start(), found.start() + len(pair))
        }
        starts = sorted(place for place in places if place - 1 not in places)
        ends = sorted(place + 1 for place in places if place + 1 not in places)
        return list(zip(starts, ends, strict=True))
