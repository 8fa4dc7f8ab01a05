"""Several models, and BM25, on the same retrieval set: an honest table."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statim.counted import counted
from statim.data.labelled.retrieval import RetrievalSet
from statim.errors import InputError
from statim.evaluation import table
from statim.evaluation.bootstrap import Difference, paired_bootstrap
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import RANKING, RankingScores
from statim.evaluation.retrieval import bm25_scores, evaluate_retrieval
from statim.evaluation.search_modes import JudgedSearch
from statim.search.engines.exact import Exact
from statim.search.lexical import bm25 as lexical
from statim.settings import WEIGHT

BM25, HYBRID = "bm25", "hybrid"


@dataclass(frozen=True)
class Hybrid:
    """Which model is searched together with BM25, in a row of its own, and with which weight.

    Attributes:
        encoder: The model.
        weight: The part of the vector score; it must not have been chosen on what is compared.
        tuned: Did development pairs choose it?
    """

    encoder: Encoder
    weight: float = WEIGHT
    tuned: bool = False

    def remark(self) -> str:
        """What a reader of the row should know."""
        chosen = "chosen on development pairs" if self.tuned else "the default, since none was tuned"
        return f"hybrid: BM25 and vectors, whose weight is {self.weight:g} ({chosen})."


@dataclass(frozen=True, eq=False)
class Standing:
    """How one model did.

    Attributes:
        name: The model.
        metrics: Metric -> its mean over the queries.
        seconds: What encoding and searching took (what a cache spared included).
        difference: By how much the model is better than the reference in the first metric; None for the
            reference itself.
        scores: The metrics of each query.
    """

    name: str
    metrics: dict[str, float]
    seconds: float
    difference: Difference | None
    scores: RankingScores = field(repr=False)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The standings of several models on one retrieval set.

    Attributes:
        rows: One entry a model.
        reference: The model that the others are compared with, if any.
        queries: How many queries counted.
        documents: How many documents were searched.
        left_out: How many queries have no relevant document.
        name: The retrieval set's.
        said: What else a reader should not overlook.
    """

    rows: tuple[Standing, ...]
    reference: str | None
    queries: int
    documents: int
    left_out: int = 0
    name: str = ""
    said: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Standing:
        """The standing of one model.

        Raises:
            KeyError: It was not compared.
        """
        return next((row for row in self.rows if row.name == name), None) or _unknown(name)

    def __contains__(self, name: object) -> bool:
        return any(row.name == name for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "queries": self.queries,
            "documents": self.documents,
            "left_out": self.left_out,
            "reference": self.reference,
            "remarks": list(self.said),
            "rows": [
                {
                    "model": row.name,
                    "metrics": row.metrics,
                    "seconds": round(row.seconds, 3),
                    "difference": row.difference._asdict() if row.difference else None,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        return "\n".join([table.plain(*self._cells()), *self.remarks()])

    def markdown(self) -> str:
        """The table and the remarks in Markdown."""
        return "\n\n".join([table.markdown(*self._cells()), *self.remarks()])

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        metrics = list(self.rows[0].metrics)
        header = ["", *map(table.label, metrics), "seconds"]
        rows = [
            [row.name, *(f"{row.metrics[metric]:.3f}" for metric in metrics), table.duration(row.seconds)]
            for row in self.rows
        ]
        return header, rows

    def remarks(self) -> list[str]:
        """Caveats for a reader, in sentences: size, queries left out, and the reference against BM25."""
        said = [f"{counted(self.queries, 'queries')}, {counted(self.documents, 'documents')}."]
        if self.left_out:
            said.append(f"{self.left_out:,} queries have no relevant document and are left out.")
        said += self.said
        if BM25 in self and self.reference is not None and self.reference != BM25:
            said.append(verdict(self.reference, self[self.reference].metrics, self[BM25]))
        return said


def _unknown(name: str) -> Standing:
    raise KeyError(name)


def verdict(name: str, metrics: Mapping[str, float], bm25: Standing) -> str:
    """One sentence on who won, the model or BM25, and whether that could be chance."""
    metric = next(iter(metrics))
    figures = f"{table.label(metric)} {metrics[metric]:.3f} against {bm25.metrics[metric]:.3f}"
    difference = bm25.difference
    if difference is None or difference.difference == 0:
        return f"{name} and BM25 are level ({figures})."
    chance = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    if difference.p >= 0.05:
        ahead = "BM25" if difference.difference > 0 else name
        return (
            f"{name} and BM25 cannot be told apart here ({figures}; {ahead} is ahead by no more than "
            f"chance, {chance})."
        )
    if difference.difference > 0:
        return f"BM25 beats {name} here ({figures}; {chance})."
    return f"{name} beats BM25 here ({figures}; {chance})."


def compare(
    encoders: Mapping[str, Encoder],
    data: RetrievalSet,
    *,
    bm25: bool = True,
    hybrid: Hybrid | None = None,
    reference: str | None = None,
    beside: Comparison | None = None,
    metrics: Sequence[str] = RANKING,
    progress: bool = False,
    threads: int | None = None,
) -> Comparison:
    """Evaluate several models, BM25 and hybrid search on the same queries and documents.

    Args:
        encoders: Name -> model.
        data: The retrieval set.
        bm25: Put BM25 into the table.
        hybrid: Put hybrid search with this model into the table; needs ``bm25``.
        reference: The model that the others are compared with by a paired bootstrap on the first metric.
        beside: A table of the same data, to which rows are added; the reference may be one of its rows.
        metrics: See ``ranking_metrics``.
        progress: Show progress bars on a terminal.
        threads: Threads to use.

    Raises:
        InputError: The reference is none of the models, or there is no model.

    Examples:
        >>> from statim.data import from_pairs, read_pairs
        >>> task = from_pairs(read_pairs("pairs.jsonl"))
        >>> comparison = compare({"mine": model}, task)
        >>> [row.name for row in comparison.rows]
        ['mine', 'bm25']
    """
    before = () if beside is None else beside.rows
    names = [*(row.name for row in before), *encoders, *([BM25] if bm25 else [])]
    if not names or reference not in (None, *names):
        raise InputError(
            f"the reference is {reference!r}; it must be one of the models: "
            f"{', '.join(names) or 'none is given'}"
        )
    timed = {row.name: (row.scores, row.seconds) for row in before}
    for name, encoder in encoders.items():
        clock = Clock(encoder)
        scores = evaluate_retrieval(encoder, data, metrics=metrics, progress=progress, threads=threads)
        timed[name] = scores, clock.seconds()
    if bm25:
        timed |= _lexical(data, hybrid, metrics, progress, threads)
    base = None if reference is None else timed[reference][0].per_query[metrics[0]]
    rows = tuple(
        Standing(
            name,
            scores.metrics,
            seconds,
            None
            if base is None or name == reference
            else paired_bootstrap(base, scores.per_query[metrics[0]]),
            scores,
        )
        for name, (scores, seconds) in timed.items()
    )
    first = rows[0].scores
    said = () if beside is None else beside.said
    said += (hybrid.remark(),) if bm25 and hybrid is not None else ()
    counts = len(first.queries), len(data.documents), first.left_out
    return Comparison(rows, reference, *counts, data.name, said)


def _lexical(
    data: RetrievalSet,
    hybrid: Hybrid | None,
    metrics: Sequence[str],
    progress: bool,
    threads: int | None,
) -> dict[str, tuple[RankingScores, float]]:
    """BM25, and hybrid search over the same BM25: metrics and seconds."""
    clock = Clock(None)
    index = lexical.BM25.build(data.documents.to_pylist(), progress=progress)
    found = {BM25: (bm25_scores(index, data, metrics=metrics, threads=threads), clock.seconds())}
    if hybrid is not None:
        clock = Clock(hybrid.encoder)
        search = judged_search(hybrid.encoder, data, index, progress=progress, threads=threads)
        scores = search.scores(hybrid.weight, metrics)
        found[HYBRID] = scores, found[BM25][1] + clock.seconds()
    return found


def judged_search(
    encoder: Encoder,
    data: RetrievalSet,
    words: lexical.BM25,
    *,
    progress: bool = False,
    threads: int | None = None,
) -> JudgedSearch:
    """The queries of a retrieval set, searched by the vectors of a model and by BM25."""
    documents = encoder.encode_document(data.documents, progress=progress)
    engine = Exact(documents.shape[1])
    engine.add(documents)
    queries = np.asarray(encoder.encode_query(data.queries, progress=progress), np.float32)
    return JudgedSearch(engine, words, data.queries.to_pylist(), queries, data, threads=threads)


class Clock:
    """Seconds since it was made, and those that an encoder's cache spared meanwhile."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._spared: float = getattr(encoder, "spared", 0.0)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """How long the work would have taken without a cache."""
        return time.perf_counter() - self._started + getattr(self._encoder, "spared", 0.0) - self._spared
