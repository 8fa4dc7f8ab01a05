"""What a trained model is compared with, once it is saved: BM25, hybrid search and the teacher.

A teacher reads a hundred passages a second, so a table with it is of a sample of the held-out pairs.
"""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np

from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.data.labelled.retrieval import RetrievalSet, from_pairs
from statim.data.pairs.pairs import Pairs
from statim.data.split import Split
from statim.errors import InputError
from statim.evaluation.comparison import BM25, Comparison, Hybrid, judged_search
from statim.evaluation.encoders import Encoder
from statim.evaluation.report import Report
from statim.evaluation.retrieval import evaluate_retrieval
from statim.evaluation.search_modes import METRIC
from statim.search.lexical import bm25 as lexical
from statim.settings import SearchSettings
from statim.teacher.teacher import Teacher
from statim.training.run.heldout import measure

log = logging.getLogger("statim")

TEACHER, NONE = "teacher", "none"
ALL = (BM25, TEACHER)
QUERIES, DOCUMENTS = 2000, 2000  # of a sample at most; more documents only where all are answers
PATIENT = 10.0  # seconds that the teacher may take on the development pairs
TIMED = 24  # texts by which its time is estimated


def baselines_of(asked: bool | str | None) -> tuple[str, ...]:
    """Which baselines an option names; True and None are all, False is none.

    Raises:
        InputError: A name is none of them.
    """
    if not isinstance(asked, str):
        return () if asked is False else ALL
    names = [name for part in asked.split(",") if (name := part.strip())]
    if not names or not set(names) <= {*ALL, NONE} or (NONE in names and len(names) > 1):
        raise InputError(
            f"baselines is {asked!r}; it must be {BM25}, {TEACHER}, both with a comma, or {NONE}"
        )
    return tuple(name for name in ALL if name in names)


def sample(data: RetrievalSet, queries: int = QUERIES, documents: int = DOCUMENTS) -> RetrievalSet:
    """Some queries of a set, all of their answers, and other documents at random; a small set as it is."""
    if len(data.queries) <= queries and len(data.documents) <= documents:
        return data
    rng = np.random.default_rng(0)
    asked = np.sort(rng.permutation(len(data.queries))[:queries])
    kept = np.isin(data.judged_queries, asked)
    answers = np.unique(data.judged_documents[kept])
    others = rng.permutation(np.setdiff1d(np.arange(len(data.documents)), answers))
    there = np.sort(np.concatenate([answers, others[: max(0, documents - len(answers))]]))
    return replace(
        data,
        query_ids=data.query_ids.take(asked), queries=data.queries.take(asked),
        document_ids=data.document_ids.take(there), documents=data.documents.take(there),
        judged_queries=np.searchsorted(asked, data.judged_queries[kept]),
        judged_documents=np.searchsorted(there, data.judged_documents[kept]),
        grades=data.grades[kept],
    )  # fmt: skip


def test_set(test: Any, baselines: tuple[str, ...]) -> tuple[RetrievalSet | None, tuple[str, ...]]:
    """The retrieval set that all rows of the table are measured on, and what is to be said of it."""
    if not isinstance(test, Pairs) or not len(test):
        return None, ()
    whole = from_pairs(test)
    some = sample(whole) if baselines else whole
    if some is whole:
        return whole, ()
    said = (
        f"A sample of {len(whole.queries):,} held-out queries and {len(whole.documents):,} documents: "
        "the answers of the queries, and other documents at random."
    )
    return some, (said,)


def tuned(
    encoder: Encoder, development: RetrievalSet, *, progress: bool = False
) -> tuple[SearchSettings, float]:
    """How to search with a model, by development queries, and the NDCG@10 of BM25 on them."""
    some = sample(development)
    words = lexical.BM25.build(some.documents.to_pylist(), progress=progress)
    search = judged_search(encoder, some, words, progress=progress)
    return search.tuned(), search.scores(0.0, (METRIC,)).metrics[METRIC]


def compared(
    parts: Split[Any],
    table: Comparison | Report | None,
    task: RetrievalSet | None,
    hybrid: Hybrid,
    teacher: Teacher | None,
    baselines: tuple[str, ...],
    progress: bool,
) -> Comparison | Report | None:
    """The table with rows for the baselines."""
    if table is None or (
        isinstance(table, Report) and not isinstance(parts.test, (ScoredPairs, LabelledTexts))
    ):
        return table
    encoders: dict[str, Encoder] = {} if teacher is None or TEACHER not in baselines else {TEACHER: teacher}
    bm25 = BM25 in baselines and isinstance(table, Comparison)
    if not encoders and not bm25:
        return table
    if task is not None:
        _announce(task, encoders.get(TEACHER), bm25)
    return measure(
        parts,
        encoders,
        task=task,
        bm25=bm25,
        hybrid=hybrid if bm25 else None,
        beside=table,
        progress=progress,
    )


def _announce(task: RetrievalSet, teacher: Any, bm25: bool) -> None:
    names = " and ".join([*(["BM25"] if bm25 else []), *([teacher.name] if teacher is not None else [])])
    seconds = 0.0
    if teacher is not None:
        for texts in (task.queries, task.documents):
            places = np.linspace(0, len(texts) - 1, TIMED).astype(np.int64)
            teacher.encode(texts.take(places[:1]))
            started = time.perf_counter()
            teacher.encode(texts.take(places))
            seconds += (time.perf_counter() - started) * len(texts) / TIMED
    about = f", about {max(1, round(seconds))} s" if teacher is not None else ""
    log.info(
        "the model is ready; measuring %s beside it on %s queries and %s documents%s (--baselines %s leaves "
        "them out)",
        names, f"{len(task.queries):,}", f"{len(task.documents):,}", about, NONE,
    )  # fmt: skip


def teacher_on_development(
    development: RetrievalSet, table: Comparison | Report | None, teacher: Teacher | None, progress: bool
) -> dict[str, float]:
    """NDCG@10 of the teacher on development pairs, where the table has shown that it is quick."""
    if teacher is None or not isinstance(table, Comparison) or TEACHER not in table:
        return {}
    share = (len(development.queries) + len(development.documents)) / (table.queries + table.documents)
    if table[TEACHER].seconds * share > PATIENT:
        return {}
    scores = evaluate_retrieval(teacher, development, metrics=(METRIC,), progress=progress)
    return {TEACHER: scores.metrics[METRIC]}
