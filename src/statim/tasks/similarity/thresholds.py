"""Counts and examples of near-duplicates at several thresholds, so that a person can choose one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from statim.counted import counted
from statim.evaluation import table as tables
from statim.tasks.similarity.differences import differences
from statim.tasks.similarity.similarity_join import Sample
from statim.tasks.similarity.vector_set import Items

THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
EXAMPLES = 3
SHOWN = 100  # letters of a text


@dataclass(frozen=True, eq=False)
class Thresholds:
    """What a sample says.

    Attributes:
        rows: Rows of the set.
        repeated: Rows whose text (or vector) stands earlier in the set: duplicates at any threshold.
        without_tokens: Rows without a token that the model knows: duplicates of nothing.
        sampled: Different vectors that were compared with all others.
        levels: For each threshold: about how many pairs there are, the share of different vectors that are in
            one, and the sample's pairs that are closest above the threshold.
    """

    rows: int
    repeated: int
    without_tokens: int
    sampled: int
    levels: tuple[dict[str, Any], ...]

    @staticmethod
    def of(sample: Sample) -> "Thresholds":
        """Look at a sample whose floor is the lowest of THRESHOLDS or lower."""
        left, right = sample.left, sample.left if sample.right is None else sample.right
        pairs, levels = sample.pairs, []
        for place, threshold in enumerate(THRESHOLDS):
            above = THRESHOLDS[place + 1] if place + 1 < len(THRESHOLDS) else np.inf
            near = np.flatnonzero((pairs.scores >= threshold) & (pairs.scores < above))
            near = near[np.argsort(pairs.scores[near], kind="stable")]
            examples: list[dict[str, Any]] = []
            seen: set[int] = set()
            for p in near.tolist():
                a, b = int(pairs.left[p]), int(pairs.right[p])
                if len(examples) == EXAMPLES:
                    break
                if a in seen or (sample.right is None and b in seen):
                    continue  # examples of different texts tell more
                seen |= {a, b} if sample.right is None else {a}
                examples.append(example(left, a, right, b, float(pairs.scores[p])))
            levels.append(
                {
                    "threshold": threshold,
                    "pairs": sample.count(threshold),
                    "share": round(sample.partners(threshold), 5),
                    "examples": examples,
                }
            )
        counts = int(left.repeated.sum()), int(left.blank.sum())
        return Thresholds(left.rows, *counts, sample.size, tuple(levels))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "levels": list(self.levels)}

    def __str__(self) -> str:
        """A table and examples for a person."""
        rows = [
            [f"{level['threshold']:.2f}", f"{level['pairs']:,}", f"{level['share']:.2%}"]
            for level in self.levels
        ]
        parts = [
            (
                f"{counted(self.rows, 'rows')}, {self.repeated:,} of them repeat an earlier one; "
                f"of the others {self.sampled:,} were compared with all"
            ),
            *(
                [f"{counted(self.without_tokens, 'rows')} have no token that the model knows"]
                if self.without_tokens
                else []
            ),
            tables.plain(["threshold", "pairs, about", "texts in a pair"], rows, left=0),
        ]
        for level in self.levels:
            for found in level["examples"]:
                first, second = f"row {found['row']}", f"row {found['other']}"
                if "text" in found:
                    first, second = differences(found["text"], found["other_text"])
                parts.append(f"{found['score']:.3f}  {first}\n       {second}")
        return "\n\n".join(parts)


def example(left: Items, a: int, right: Items, b: int, score: float) -> dict[str, Any]:
    """A pair of items: rows, score, and texts where there are any."""
    found: dict[str, Any] = {
        "row": int(left.first[a]),
        "other": int(right.first[b]),
        "score": round(score, 4),
    }
    if left.texts is not None and right.texts is not None:
        found["text"] = left.text([found["row"]])[0].as_py()
        found["other_text"] = right.text([found["other"]])[0].as_py()
    return found


def short(text: str) -> str:
    """A text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
