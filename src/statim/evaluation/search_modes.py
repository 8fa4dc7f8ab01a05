"""Vector, BM25 and hybrid search judged side by side, and tuned by development queries.

Queries are searched once; every weight is measured on the same candidates.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from statim.data.pairs.pairs import Pairs
from statim.errors import DataError
from statim.evaluation import table
from statim.evaluation.metrics import RANKING, Doubles, Positions, RankingScores, ranking_metrics
from statim.evaluation.ranks import ranks_in_lists
from statim.evaluation.retrieval import Judgements
from statim.search import hybrid
from statim.search.engines.protocol import Floats
from statim.search.hybrid import Candidates
from statim.search.index import Index
from statim.search.stores.protocol import VectorSide, WordSide
from statim.settings import MODES, SHARES, SearchSettings

WEIGHTS = {"vector": 1.0, "bm25": 0.0}  # of the vectors, in a hybrid search that is this mode
METRIC = RANKING[0]  # by which weights and modes are chosen
FEW = 50  # questions below which chance decides much
FEWEST = 3  # below which nothing is chosen


class JudgedSearch:
    """What judged queries find, ready to be ranked by any mode and weight.

    Args:
        vectors: The documents by vectors.
        words: The same documents by words.
        queries: m texts.
        encoded: (m, d), their vectors.
        judgements: Which documents answer them.
        threads: Threads to use.

    Raises:
        InputError: The vectors are not such as the documents have, or no document is relevant.
    """

    def __init__(
        self,
        vectors: VectorSide,
        words: WordSide,
        queries: Sequence[str],
        encoded: Floats,
        judgements: Judgements,
        *,
        threads: int | None = None,
    ) -> None:
        self._judged, self._count = judgements, len(queries)
        self._found = hybrid.candidates(vectors, words, encoded, queries, hybrid.DEPTH, threads=threads)
        right = np.flatnonzero(np.asarray(judgements.grades) > 0)
        self._owners = judgements.judged_queries[right]
        answers = judgements.judged_documents[right][:, None]
        asked = [queries[owner] for owner in self._owners]
        self._scores = vectors.score(encoded[self._owners], answers), words.score(asked, answers)

    def scores(self, weight: float, metrics: Sequence[str] = RANKING) -> RankingScores:
        """Ranking metrics of hybrid search with a weight: 1 is vector search and 0 is BM25.

        A document that neither side has among its best 100 is not found.
        """
        j = self._judged
        scores, positions = hybrid.fuse_scores(self._found, self._found.positions.shape[1], weight=weight)
        everything = np.iinfo(np.int64).max  # lists of candidates go on
        ranks = ranks_in_lists(scores, positions, everything, j.judged_queries, j.judged_documents, j.grades)
        return ranking_metrics(ranks, j.judged_queries, j.grades, count=self._count, metrics=metrics)

    def tuned(self) -> SearchSettings:
        """The weight and the mode that find best, and the scores that shares of the right answers reach."""
        worth = [self.scores(weight, (METRIC,)).metrics[METRIC] for weight in hybrid.GRID]
        weight = hybrid.best_weight(hybrid.GRID, worth)
        by_mode = {"hybrid": worth[hybrid.GRID.index(weight)], "vector": worth[-1], "bm25": worth[0]}
        alone = {1.0: "vector", 0.0: "bm25"}.get(weight)  # hybrid search would give the same more slowly
        mode = alone or max(MODES, key=lambda mode: by_mode[mode])  # the first of equals is hybrid
        return SearchSettings(weight, mode, self.thresholds(weight))

    def thresholds(self, weight: float) -> dict[str, dict[str, float]]:
        """Mode -> percent -> the score that the best answers of that share of the queries reach."""
        cosines, bm25 = self._scores
        found: dict[str, Floats | Doubles] = {"vector": cosines, "bm25": bm25, "hybrid": self._fused(weight)}
        return {mode: _reached(self._best(found[mode][:, 0])) for mode in MODES}

    def _fused(self, weight: float) -> Doubles:
        """The hybrid scores of the right answers, (k, 1)."""
        rows = _rows(self._found, self._owners)
        return hybrid.fused(rows, self._scores[0], self._scores[1], weight)

    def _best(self, scores: Floats | Doubles) -> Doubles:
        """The score of each query's best right answer."""
        asked, places = np.unique(self._owners, return_inverse=True)
        best = np.full(len(asked), -np.inf)
        np.maximum.at(best, places, scores)
        return best


def _rows(found: Candidates, rows: Positions) -> Candidates:
    names = [field.name for field in dataclasses.fields(Candidates)]
    return Candidates(*(getattr(found, name)[rows] for name in names))


def _reached(scores: Doubles) -> dict[str, float]:
    levels = np.quantile(scores, [1 - share / 100 for share in SHARES], method="lower")
    return {
        str(share): float(np.floor(level * 10_000) / 10_000)
        for share, level in zip(SHARES, levels, strict=True)
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Tuning:
    """What judged questions chose for an index.

    Attributes:
        settings: The weight, the default mode and the thresholds.
        rows: Mode -> metric -> value on the questions.
        questions: How many there were, whose documents are in the index.
        left_out: How many were not used, since their document is not.
    """

    settings: SearchSettings
    rows: Mapping[str, Mapping[str, float]]
    questions: int
    left_out: int

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return dataclasses.asdict(self.settings) | {
            "modes": {mode: dict(metrics) for mode, metrics in self.rows.items()},
            "questions": self.questions,
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        names = list(next(iter(self.rows.values())))
        cells = [[mode, *(f"{row[name]:.3f}" for name in names)] for mode, row in self.rows.items()]
        said = [table.plain(["", *map(table.label, names)], cells)]
        said.append(f"{self.questions:,} questions; weight of the vectors {self.settings.weight:g}.")
        if self.left_out:
            said.append(f"{self.left_out:,} questions are left out: their documents are not in the index.")
        if self.questions < FEW:
            said.append(f"With fewer than {FEW} questions, chance decides much of this.")
        reached = self.settings.thresholds[self.settings.mode]["95"]
        said.append(
            f"Default mode: {self.settings.mode}. 95 % of the right answers score {reached:.3f} or more."
        )
        return "\n".join(said)


def tune(index: Index, questions: Pairs, *, threads: int | None = None) -> Tuning:
    """Choose an index's weight and default mode by judged questions, and store them in it.

    Never measure the result on the same questions.

    Args:
        index: The index; it is changed atomically, its documents are not.
        questions: Each anchor is a question, each positive the id or the text of a document that answers it.
        threads: Threads to use.

    Raises:
        DataError: Fewer than FEWEST questions have their documents in the index.
        InputError: An older version of the index is open.
        StorageError: The disk is full, read-only, or not permitted.

    Examples:
        >>> from statim.data import read_pairs
        >>> pairs = read_pairs("pairs.jsonl")
        >>> index = statim.Index.build(model, pairs.positives, "answers.index")
        >>> tune(index, pairs).questions == len(pairs)
        True
    """
    judged = _judged(index, questions)
    asked = questions.anchors.dictionary_encode().dictionary.to_pylist()
    kept = sorted(set(judged.judged_queries.tolist()))
    texts = [asked[query] for query in kept]
    if len(texts) < FEWEST:
        raise DataError(
            f"{len(texts)} of {len(asked)} questions have their documents in the index; at least {FEWEST} "
            "are needed to choose by, so the index is unchanged"
        )
    judged = dataclasses.replace(judged, judged_queries=np.searchsorted(kept, judged.judged_queries))
    view = index.view()
    encoded = index.model.encode_query(texts, normalize=True, threads=threads)
    search = JudgedSearch(view.vectors, view.words, texts, encoded, judged, threads=threads)
    settings = search.tuned()
    rows = {mode: search.scores(WEIGHTS.get(mode, settings.weight)).metrics for mode in MODES}
    index.settings = settings
    return Tuning(settings, rows, len(texts), len(asked) - len(texts))


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """Judgements (see retrieval.Judgements) whose documents are positions of an index."""

    judged_queries: Positions
    judged_documents: Positions
    grades: np.ndarray[tuple[int, ...], np.dtype[np.int32]]


def _judged(index: Index, questions: Pairs) -> _Answers:
    """The positions of each question's documents, by id or by text."""
    import pyarrow.compute as pc

    queries = np.asarray(questions.anchors.dictionary_encode().indices, np.int64)
    named = questions.positives.dictionary_encode()
    codes = np.asarray(named.indices, np.int64)
    order = np.argsort(codes, kind="stable")  # the questions of each answer beside each other
    starts = np.searchsorted(codes[order], np.arange(len(named.dictionary) + 1))
    judgements: set[tuple[int, int]] = set()
    for positions, ids, texts in index.texts():
        for column in (ids, texts):
            code = pc.index_in(column.cast(named.dictionary.type), named.dictionary)
            there = np.flatnonzero(np.asarray(code.is_valid()))
            found = np.asarray(code.drop_null(), np.int64)
            for position, name in zip(positions[there].tolist(), found.tolist(), strict=True):
                asked = queries[order[starts[name] : starts[name + 1]]]
                judgements |= {(query, position) for query in asked.tolist()}
    if not judgements:
        raise DataError(
            f"none of the {len(questions):,} answers is the id or the text of a document in this index; "
            "give questions with the ids or the texts of its documents"
        )
    pairs = np.array(sorted(judgements), np.int64)
    return _Answers(pairs[:, 0], pairs[:, 1], np.ones(len(pairs), np.int32))
