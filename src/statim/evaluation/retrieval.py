"""Retrieval: does the model put the relevant documents first? Exact search over all of them."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from statim.data.labelled.retrieval import RetrievalSet
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import NOWHERE, RANKING, Positions, RankingScores, ranking_metrics
from statim.evaluation.ranks import ranks_by_vectors, ranks_in_lists
from statim.search.lexical.analyzer import AUTO
from statim.search.lexical.bm25 import BM25

DEPTH = (
    1000  # what stands below that rank was not found: as far as MAP looks by custom (trec_eval's runs, BEIR)
)


class Judgements(Protocol):
    """Which documents are relevant to which queries; a RetrievalSet has these."""

    @property
    def judged_queries(self) -> Positions:
        """(k,) the position of each judgement's query."""

    @property
    def judged_documents(self) -> Positions:
        """(k,) the position of its document."""

    @property
    def grades(self) -> npt.NDArray[np.int32]:
        """(k,) how relevant the document is; 0 or less is not at all."""


def ranking_scores(
    queries: npt.ArrayLike,
    documents: npt.ArrayLike,
    judgements: Judgements,
    *,
    metrics: Sequence[str] = RANKING,
    threads: int | None = None,
) -> RankingScores:
    """Ranking metrics of vectors, by cosine; quick enough to be asked during training.

    Args:
        queries: (m, d).
        documents: (n, d).
        judgements: A RetrievalSet, or anything with its three arrays of judgements.
        metrics: See ``ranking_metrics``.
        threads: Threads to use.

    Raises:
        InputError: The dimensions differ, nothing is relevant, or a metric is unknown.
    """
    j = judgements
    ranks = ranks_by_vectors(
        queries, documents, j.judged_queries, j.judged_documents, j.grades, threads=threads
    )
    return _scores(ranks, len(np.asarray(queries)), j, metrics)


def evaluate_retrieval(
    encoder: Encoder,
    data: RetrievalSet,
    *,
    metrics: Sequence[str] = RANKING,
    progress: bool = False,
    threads: int | None = None,
) -> RankingScores:
    """Ranking metrics of a model on a retrieval set."""
    queries = encoder.encode_query(data.queries, progress=progress)
    documents = encoder.encode_document(data.documents, progress=progress)
    return ranking_scores(queries, documents, data, metrics=metrics, threads=threads)


def evaluate_bm25(
    data: RetrievalSet,
    *,
    language: str = AUTO,
    metrics: Sequence[str] = RANKING,
    progress: bool = False,
    threads: int | None = None,
) -> RankingScores:
    """Ranking metrics of BM25, its words those of the documents' language.

    Documents without any of a query's words are not found.
    """
    index = BM25.build(data.documents.to_pylist(), language=language, progress=progress)
    return bm25_scores(index, data, metrics=metrics, threads=threads)


def bm25_scores(
    index: BM25, data: RetrievalSet, *, metrics: Sequence[str] = RANKING, threads: int | None = None
) -> RankingScores:
    """Ranking metrics of a BM25 index of a retrieval set's documents."""
    scores, positions = index.search(data.queries.to_pylist(), DEPTH, threads=threads)
    ranks = ranks_in_lists(
        scores, positions, len(data.documents), data.judged_queries, data.judged_documents, data.grades
    )
    return _scores(ranks, len(data.queries), data, metrics)


def _scores(ranks: Positions, count: int, judgements: Any, metrics: Sequence[str]) -> RankingScores:
    ranks = np.where(ranks > DEPTH, NOWHERE, ranks)
    return ranking_metrics(ranks, judgements.judged_queries, judgements.grades, count=count, metrics=metrics)
