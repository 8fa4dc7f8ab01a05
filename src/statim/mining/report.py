"""What the guards removed, how many anchors got fewer negatives than asked, and examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.counted import counted
from statim.errors import DataError
from statim.evaluation import table as tables
from statim.mining.guards import Chosen, Guards
from statim.mining.pool import Pool

EXAMPLES = 3
SHOWN = 90  # letters of a text in an example

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Report:
    """What was mined.

    Attributes:
        anchors: Different anchors.
        positives: Their positives in all.
        documents: Different documents that negatives were looked for in.
        wanted: Negatives of each anchor that were asked for.
        found: Negatives found in all.
        fewer: Anchors that got fewer than asked, but some.
        none: Anchors that got none.
        candidates: Documents that were looked at.
        removed: Guard -> how many candidates it removed, in the order in which the guards looked.
        positive_score: Mean score of the positives.
        negative_score: Mean score of the negatives.
        search: How the nearest documents were found, in words.
        examples: A few anchors with their first positive and their negatives: text and score.
    """

    anchors: int
    positives: int
    documents: int
    wanted: int
    found: int
    fewer: int
    none: int
    candidates: int
    removed: dict[str, int]
    positive_score: float
    negative_score: float
    search: str
    examples: tuple[dict[str, Any], ...]

    @staticmethod
    def of(pool: Pool, chosen: Chosen, guards: Guards, positive_scores: Floats, search: str) -> "Report":
        """Count."""
        removed = dict(chosen.removed)
        counts = chosen.counts
        there = chosen.scores[chosen.positions >= 0]
        return Report(
            anchors=len(pool.anchors), positives=len(pool.positives), documents=len(pool.documents),
            wanted=guards.num_negatives, found=int(counts.sum()),
            fewer=int(((counts > 0) & (counts < guards.num_negatives)).sum()), none=int((counts == 0).sum()),
            candidates=removed.pop("candidates", 0), removed=removed,
            positive_score=float(positive_scores.mean(dtype=np.float64)) if len(positive_scores) else 0.0,
            negative_score=float(there.mean(dtype=np.float64)) if len(there) else 0.0,
            search=search, examples=_examples(pool, chosen, positive_scores),
        )  # fmt: skip

    def check(self) -> None:
        """Refuse a result without negatives.

        Raises:
            DataError: The guards left nothing; the message says what they removed.
        """
        if self.found:
            return
        removed = ", ".join(f"{name} {count:,}" for name, count in self.removed.items() if count)
        raise DataError(
            f"the guards left no negative of {self.candidates:,} candidates (removed: {removed}); "
            "widen the range or the margins"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dict(vars(self))
        values["examples"] = list(self.examples)
        return values

    def __str__(self) -> str:
        """Tables for a person."""
        rows = [["looked at", f"{self.candidates:,}", ""]]
        for name, count in self.removed.items():
            rows.append([f"removed: {name}", f"{count:,}", f"{count / max(1, self.candidates):.1%}"])
        rows.append(["negatives found", f"{self.found:,}", f"{self.found / max(1, self.candidates):.1%}"])
        parts = [
            (
                f"{counted(self.anchors, 'anchors')}, {counted(self.positives, 'positives')}, "
                f"{counted(self.documents, 'documents')} ({self.search})"
            ),
            tables.plain(["candidates", "number", "share"], rows),
            f"mean score: positives {self.positive_score:.3f}, negatives {self.negative_score:.3f}",
            (
                f"{counted(self.fewer, 'anchors')} got fewer than the {self.wanted} negatives asked for, "
                f"{self.none:,} got none"
            ),
        ]
        for example in self.examples:
            lines = [example["anchor"], example["positive"], *example["negatives"]]
            marks = ["anchor", "positive", *["negative"] * len(example["negatives"])]
            cells = [
                [mark, f"{line['score']:.3f}" if "score" in line else "", _short(line["text"])]
                for mark, line in zip(marks, lines, strict=True)
            ]
            parts.append("\n".join(f"{mark:9} {score:>6}  {text}" for mark, score, text in cells))
        return "\n\n".join(parts)


def _examples(pool: Pool, chosen: Chosen, positive_scores: Floats) -> tuple[dict[str, Any], ...]:
    """A few anchors from all over the data, the same every time."""
    some = np.flatnonzero(chosen.counts)
    picked = some[np.linspace(0, len(some) - 1, min(EXAMPLES, len(some))).astype(np.int64)]

    def line(texts: pa.LargeStringArray, place: int, score: float | None = None) -> dict[str, Any]:
        return {"text": texts[int(place)].as_py()} | (
            {} if score is None else {"score": round(float(score), 4)}
        )

    found = []
    for anchor in picked.tolist():
        first = int(pool.offsets[anchor])
        count = int(chosen.counts[anchor])
        found.append(
            {
                "anchor": line(pool.anchors, anchor),
                "positive": line(pool.documents, int(pool.positives[first]), float(positive_scores[first])),
                "negatives": [
                    line(pool.documents, place, score)
                    for place, score in zip(
                        chosen.positions[anchor, :count].tolist(),
                        chosen.scores[anchor, :count].tolist(),
                        strict=True,
                    )
                ],
            }
        )
    return tuple(found)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
