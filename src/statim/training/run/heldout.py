"""Held-out evaluation: the data held back, and how the model and others score on it."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from statim.counted import counted
from statim.data.detect_task import Supervision, read_supervision
from statim.data.documents.plain import PlainTexts
from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.data.labelled.retrieval import RetrievalSet, from_pairs
from statim.data.split import Split, split
from statim.errors import InputError
from statim.evaluation.classification import evaluate_classification, no_sklearn
from statim.evaluation.comparison import Clock, Comparison, Hybrid, compare
from statim.evaluation.encoders import Encoder, QueriesOnly
from statim.evaluation.report import Report, Row
from statim.evaluation.sts import evaluate_sts
from statim.model import StaticModel
from statim.teacher.teacher import Teacher

log = logging.getLogger("statim")

HELD_OUT = 2000  # pairs in the test split, where the data has enough
HELD_OUT_SHARE = 0.1  # of the pairs at most
PROBED = (
    1 << 20
)  # training texts times labels that a probe is fitted to; of more, it takes longer than the training
FEW = 1 << 13  # texts that it is fitted to in any case

Asked = int | str | Path | None


def hold_out(
    pairs: Any,
    heldout: Asked,
    development: Asked,
    *,
    seed: int,
    kind: str,
    names: Mapping[str, Any],
) -> Split[Any]:
    """Divide pairs, scored pairs or labelled texts.

    Args:
        pairs: All of them.
        heldout: How many to hold out as the test, or a file of them; by default HELD_OUT_SHARE of all, at
            most HELD_OUT.
        development: How many to hold out for development, or a file of them; by default half as many as are
            drawn for the test.
        seed: Of the draw.
        kind: What files hold, one of data.detect_task.KINDS.
        names: The columns in files, as for ``read_supervision``.

    Raises:
        DataError: A file cannot be read.
        InputError: A count is out of range.
    """
    files: dict[str, Any] = {}
    own = {role: name for role, name in names.items() if isinstance(name, str)}  # not those of single sets
    for name, value in (("test", heldout), ("development", development)):
        if isinstance(value, (str, Path)):
            files[name] = read_supervision(value, kind=kind, **own)
    test = min(HELD_OUT, int(len(pairs) * HELD_OUT_SHARE)) if heldout is None else heldout
    tests = 0 if isinstance(test, (str, Path)) else test
    less = tests // 2 if development is None else development
    counts = {"heldout": tests, "development": 0 if isinstance(less, (str, Path)) else less}
    for name, count in counts.items():
        if not 0 <= count <= len(pairs) // 2:
            raise InputError(
                f"{name} is {count}; it must be a file of {kind}, or a count from 0 to half of the "
                f"{len(pairs):,} {pairs.unit}"
            )
    nothing = pairs.select([])
    found = Split(pairs, nothing, nothing, moved=0, joined=0, returned=0, asked=(0, 0))
    if any(counts.values()):
        found = split(pairs, development=counts["development"], test=counts["heldout"], seed=seed)
    return replace(found, **files)


def check(test: Supervision) -> None:
    """Refuse before a training what cannot be measured after it.

    Raises:
        DependencyError: Texts with labels are held out, and scikit-learn is not installed.
    """
    if len(test) and isinstance(test, LabelledTexts) and find_spec("sklearn") is None:
        raise no_sklearn()


def measure(
    parts: Split[Any],
    encoders: Mapping[str, Encoder],
    *,
    task: RetrievalSet | None = None,
    bm25: bool = True,
    hybrid: Hybrid | None = None,
    beside: Comparison | Report | None = None,
    said: tuple[str, ...] = (),
    progress: bool = False,
) -> Comparison | Report | None:
    """How good models are on what was held out.

    Pairs: retrieval of the positives. Scored pairs: Spearman's correlation of the cosines with the scores.
    Labelled texts: accuracy of logistic regression on the vectors, fitted to the texts that were trained on,
    or to some of very many.

    Args:
        parts: What was trained on, and what was held out.
        encoders: Name -> model; ``trained`` is the one that the others are compared with.
        task: Of pairs: the retrieval set; by default of all that were held out.
        bm25: Put BM25 into the table, where it has a place.
        hybrid: Put hybrid search into the table, where BM25 is.
        beside: The table to which rows are added.
        said: What a reader of the table of pairs should know.
        progress: Show progress bars on a terminal.

    Returns:
        The table; None where all held-out scores are the same, which says nothing of any model.
    """
    test = parts.test
    if isinstance(test, ScoredPairs):
        if (test.scores == test.scores[0]).all():
            log.info("all %d held-out scores are the same, so there is nothing to correlate with", len(test))
            return None
        return _report(
            encoders, "sts", len(test), lambda one: evaluate_sts(one, test, progress=progress)
        ).joined(beside)
    if isinstance(test, LabelledTexts):
        known = probed(parts.train)
        remark: tuple[str, ...] = ()
        if len(known) < len(parts.train):
            remark = (f"The probes are fitted to {len(known):,} of the {len(parts.train):,} training texts.",)
        return _report(
            encoders, "classification", len(test),
            lambda one: evaluate_classification(one, known, test, progress=progress), remark,
        ).joined(beside)  # fmt: skip
    found = compare(
        encoders, from_pairs(test) if task is None else task, bm25=bm25, hybrid=hybrid, reference="trained",
        beside=beside if isinstance(beside, Comparison) else None, progress=progress,
    )  # fmt: skip
    return replace(found, said=(*said, *found.said))


def probed(train: LabelledTexts) -> LabelledTexts:
    """The texts that probes are fitted to: all, or a random sample with every label."""
    labels = np.asarray(train.labels.dictionary_encode().indices)
    count = max(FEW, PROBED // (int(labels.max(initial=0)) + 1))
    if len(train) <= count:
        return train
    order = np.random.default_rng(0).permutation(len(train))
    _, first = np.unique(labels[order], return_index=True)
    chosen = np.concatenate([order[first], np.delete(order, first)])[: max(count, len(first))]
    return train.select(np.sort(chosen))


def _report(
    encoders: Mapping[str, Encoder], task: str, size: int, score: Any, remarks: tuple[str, ...] = ()
) -> Report:
    rows = []
    for name, encoder in encoders.items():
        clock = Clock(encoder)
        metrics = score(encoder)
        rows.append(Row(name, "held out", task, metrics, clock.seconds()))
    unit = ScoredPairs.unit if task == "sts" else LabelledTexts.unit
    return Report(tuple(rows), (f"{size:,} {unit}.", *remarks))


def contestants(before: StaticModel, model: StaticModel, documents: Teacher | None) -> dict[str, Encoder]:
    """The static rows of the table: the start, the trained model, half of its dimensions.

    With ``documents`` a teacher encodes these for the start and the trained model too.
    """
    encoders: dict[str, Encoder] = {"start": before, "trained": model}
    if documents is not None:
        return {name: QueriesOnly(one, documents) for name, one in (("start", before), ("trained", model))}
    if model.dim >= 64:
        encoders[f"trained, {model.dim // 2} of {model.dim} dimensions"] = _Truncated(model, model.dim // 2)
    return encoders


@dataclass
class _Truncated:
    """A model used at its first dimensions only."""

    model: StaticModel
    dim: int

    def encode(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode(texts, dim=self.dim, progress=progress)

    def encode_query(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode_query(texts, dim=self.dim, progress=progress)

    def encode_document(self, texts: Any, *, progress: bool = False) -> Any:
        return self.model.encode_document(texts, dim=self.dim, progress=progress)


def closeness(test: PlainTexts, before: StaticModel, model: StaticModel, targets: Any) -> Report:
    """Mean cosine to the teacher on texts not trained on: start, trained, half the dimensions."""
    half = max(1, model.dim // 2)
    rows = []
    for name, one, dim in (
        ("start", before, model.dim), ("trained", model, model.dim),
        (f"trained, {half} of {model.dim} dimensions", model, half),
    ):  # fmt: skip
        started = time.perf_counter()
        vectors, aims = one.encode(test.texts, dim=dim, normalize=True), targets[:, :dim]
        lengths = np.maximum(np.linalg.norm(aims, axis=1), 1e-12)
        cosine = float(np.mean(np.einsum("nd,nd->n", vectors, aims) / lengths))
        rows.append(Row(name, "held out", "distillation", {"cosine": cosine}, time.perf_counter() - started))
    return Report(tuple(rows), (f"{counted(len(test), 'texts')}.",))
