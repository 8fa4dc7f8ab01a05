"""How good a classifier's probabilities are on examples that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.counted import counted
from statim.tasks.classify.calibration import calibration_error, log_loss
from statim.tasks.classify.heads import Floats, Targets
from statim.tasks.classify.labels import Examples

WORST = 5  # labels that are shown


@dataclass(frozen=True)
class Judged:
    """What ``Classifier.evaluate`` finds.

    Attributes:
        figures: ``accuracy`` (of several labels: all of a text's right), ``macro_f1``, with several labels
            ``micro_f1`` too; ``log_loss`` and ``calibration_error`` of the probabilities. Labels that the
            head does not know count as wrong.
        per_label: Label -> precision, recall, F1 and how many texts have it.
        texts: How many were judged.
        unknown: How many of them have a label that the head does not know.
    """

    figures: dict[str, float]
    per_label: dict[str, dict[str, float]]
    texts: int
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"texts": self.texts, "unknown": self.unknown, **self.figures, "labels": self.per_label}

    def __str__(self) -> str:
        lines = [f"{counted(self.texts, 'texts')}"]
        lines += [f"{name.replace('_', ' '):<18} {value:.4f}" for name, value in self.figures.items()]
        if self.unknown:
            lines.append(
                f"{self.unknown:,} texts have a label that the head does not know; they count as wrong"
            )
        worst = sorted(self.per_label.items(), key=lambda item: (item[1]["f1"], item[0]))[:WORST]
        lines.append("hardest labels (F1): " + ", ".join(f"{name} {row['f1']:.2f}" for name, row in worst))
        return "\n".join(lines)


def judge(probabilities: Floats, examples: Examples, labels: Sequence[str]) -> Judged:
    """Figures of probabilities (n, c) of ``labels`` for n examples.

    F1 of a label that neither occurs nor was told is 0; the macro mean is over labels that occur or were
    told.
    """
    known = list(labels)
    names = known + sorted(set(examples.names()) - set(known))
    truth = examples.targets(names)
    told = np.zeros_like(truth)
    if examples.several:
        told[:, : len(known)] = probabilities >= 0.5
    else:
        told[np.arange(len(truth)), probabilities.argmax(axis=1)] = True
    right = (truth & told).sum(axis=0)
    given, found = truth.sum(axis=0), told.sum(axis=0)
    f1 = _f1(right, given, found)
    seen = (given + found) > 0
    figures = {
        "accuracy": float((truth == told).all(axis=1).mean()),
        "macro_f1": float(f1[seen].mean()) if seen.any() else 0.0,
    }
    if examples.several:
        figures["micro_f1"] = float(_f1(right.sum(), given.sum(), found.sum()))
    own: Targets = truth[:, : len(known)]
    figures["log_loss"] = log_loss(probabilities, own, examples.several)
    if examples.several:
        figures["calibration_error"] = calibration_error(
            np.maximum(probabilities, 1 - probabilities).ravel(), ((probabilities >= 0.5) == own).ravel()
        )
    else:
        hits = own[np.arange(len(own)), probabilities.argmax(axis=1)]
        figures["calibration_error"] = calibration_error(probabilities.max(axis=1), hits)
    per_label = {
        name: {
            "precision": float(right[i] / max(1, found[i])), "recall": float(right[i] / max(1, given[i])),
            "f1": float(f1[i]),
            "texts": int(given[i]),
        }
        for i, name in enumerate(names)
        if seen[i]
    }  # fmt: skip
    unknown = int(truth[:, len(known) :].any(axis=1).sum())
    return Judged(figures, per_label, len(truth), unknown)


def _f1(right: Any, given: Any, found: Any) -> npt.NDArray[np.float64]:
    return np.asarray(2 * right / np.maximum(1, given + found), np.float64)
