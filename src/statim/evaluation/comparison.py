"""Several models, and BM25, on the same retrieval set: an honest table."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from statim.data.labelled.retrieval import RetrievalSet
from statim.errors import InputError
from statim.evaluation import table
from statim.evaluation.bootstrap import Difference, paired_bootstrap
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import RANKING, RankingScores
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval

BM25 = "bm25"


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
    """

    rows: tuple[Standing, ...]
    reference: str | None
    queries: int
    documents: int
    left_out: int = 0
    name: str = ""

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
        said = [f"{self.queries:,} queries, {self.documents:,} documents."]
        if self.left_out:
            said.append(f"{self.left_out:,} queries have no relevant document and are left out.")
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
    reference: str | None = None,
    metrics: Sequence[str] = RANKING,
    progress: bool = False,
    threads: int | None = None,
) -> Comparison:
    """Evaluate several models, and BM25, on the same queries and documents.

    Args:
        encoders: Name -> model.
        data: The retrieval set.
        bm25: Put BM25 into the table.
        reference: The model that the others are compared with by a paired bootstrap on the first metric.
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
    names = [*encoders, *([BM25] if bm25 else [])]
    if not names or reference not in (None, *names):
        raise InputError(
            f"the reference is {reference!r}; it must be one of the models: "
            f"{', '.join(names) or 'none is given'}"
        )
    timed: list[tuple[str, RankingScores, float]] = []
    for name, encoder in encoders.items():
        clock = Clock(encoder)
        scores = evaluate_retrieval(encoder, data, metrics=metrics, progress=progress, threads=threads)
        timed.append((name, scores, clock.seconds()))
    if bm25:
        clock = Clock(None)
        scores = evaluate_bm25(data, metrics=metrics, progress=progress, threads=threads)
        timed.append((BM25, scores, clock.seconds()))
    base = next((scores.per_query[metrics[0]] for name, scores, _ in timed if name == reference), None)
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
        for name, scores, seconds in timed
    )
    first = timed[0][1]
    return Comparison(rows, reference, len(first.queries), len(data.documents), first.left_out, data.name)


class Clock:
    """Seconds since it was made, and those that an encoder's cache spared meanwhile."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._spared: float = getattr(encoder, "spared", 0.0)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """How long the work would have taken without a cache."""
        return time.perf_counter() - self._started + getattr(self._encoder, "spared", 0.0) - self._spared
