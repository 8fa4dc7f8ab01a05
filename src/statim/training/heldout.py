"""What a training is judged by: the held-out part of its data, by the task that the data is for."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from statim.data.labelled import LabelledTexts, ScoredPairs
from statim.data.retrieval import from_pairs
from statim.data.split import Split
from statim.data.supervision import Supervision
from statim.evaluation.classification import evaluate_classification, no_sklearn
from statim.evaluation.comparison import Clock, Comparison, compare
from statim.evaluation.encoders import Encoder
from statim.evaluation.report import Report, Row
from statim.evaluation.sts import evaluate_sts

log = logging.getLogger("statim")


def check(test: Supervision) -> None:
    """Refuse before a training what cannot be measured after it.

    Raises:
        DependencyError: Texts with labels are held out, and scikit-learn is not installed.
    """
    if len(test) and isinstance(test, LabelledTexts) and find_spec("sklearn") is None:
        raise no_sklearn()


def measure(
    parts: Split[Any], encoders: Mapping[str, Encoder], *, bm25: bool = True, progress: bool = False
) -> Comparison | Report | None:
    """How good models are on what was held out.

    Pairs: retrieval of the positives. Scored pairs: Spearman's correlation of the cosines with the scores. Labelled texts:
    accuracy of logistic regression on the vectors, fitted to the texts that were trained on.

    Args:
        parts: What was trained on, and what was held out.
        encoders: Name -> model; ``trained`` is the one that the others are compared with.
        bm25: Put BM25 into the table, where it has a place.
        progress: Show progress bars on a terminal.

    Returns:
        The table; None where all held-out scores are the same, which says nothing of any model.
    """
    test = parts.test
    if isinstance(test, ScoredPairs):
        if (test.scores == test.scores[0]).all():
            log.info("all %d held-out scores are the same, so there is nothing to correlate with", len(test))
            return None
        return _report(encoders, "sts", len(test), lambda one: evaluate_sts(one, test, progress=progress))
    if isinstance(test, LabelledTexts):
        return _report(
            encoders, "classification", len(test),
            lambda one: evaluate_classification(one, parts.train, test, progress=progress),
        )  # fmt: skip
    return compare(encoders, from_pairs(test), bm25=bm25, reference="trained", progress=progress)


def _report(encoders: Mapping[str, Encoder], task: str, size: int, score: Any) -> Report:
    rows = []
    for name, encoder in encoders.items():
        clock = Clock(encoder)
        metrics = score(encoder)
        rows.append(Row(name, "held out", task, metrics, clock.seconds()))
    unit = ScoredPairs.unit if task == "sts" else LabelledTexts.unit
    return Report(tuple(rows), (f"{size:,} {unit}.",))
