"""The table: what was measured, for machines and for people."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.evaluation.bootstrap import paired_bootstrap

FIRST = {"retrieval": "ndcg@10", "sts": "spearman", "pairs": "ap", "classification": "accuracy", "clustering": "v_measure"}
SHOWN = {"retrieval": ("ndcg@10", "mrr@10", "recall@1", "recall@10")}
BM25_NAME = "BM25"


@dataclass(frozen=True)
class Row:
    """One model on one set; ``by_query`` holds each query's first metric, (m,), where there are queries."""

    model: str
    set: str
    task: str
    metrics: dict[str, float]
    seconds: float
    by_query: npt.NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, flat."""
        return {
            "model": self.model, "set": self.set, "task": self.task,
            **{name: round(value, 6) for name, value in self.metrics.items()}, "seconds": round(self.seconds, 3),
        }  # fmt: skip


@dataclass
class Report:
    """Rows of models on sets.

    Attributes:
        rows: In the order they were measured.
        reference: The model that the others are compared with.
    """

    rows: list[Row]
    reference: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"reference": self.reference, "rows": [row.to_dict() for row in self.rows], "notes": self.notes()}

    def value(self, model: str, set: str | None = None) -> float:  # noqa: A002
        """The first metric of a model on a set (or on the only one). NaN where it was not measured."""
        for row in self.rows:
            if row.model == model and set in (None, row.set):
                return row.metrics[FIRST[row.task]]
        return float("nan")

    def sets(self) -> list[tuple[str, str]]:
        """(task, set) in order."""
        return list(dict.fromkeys((row.task, row.set) for row in self.rows))

    def notes(self) -> list[str]:
        """What a reader should not overlook: where BM25 or another model is ahead, with paired bootstrap bounds."""
        notes = []
        for task, name in self.sets():
            rows = {row.model: row for row in self.rows if (row.task, row.set) == (task, name)}
            own = rows.get(self.reference)
            if own is None or own.by_query is None:
                continue
            for other in rows.values():
                if other is own or other.by_query is None or other.model.startswith(f"{self.reference},"):
                    continue
                gap = paired_bootstrap(other.by_query, own.by_query)
                sure = "" if gap.low > 0 or gap.high < 0 else "; the difference may be chance"
                verb = "is ahead of" if gap.difference > 0 else "is behind"
                wins = "BM25 wins: " if other.model == BM25_NAME and gap.difference <= 0 else ""
                notes.append(
                    f"{name}: {wins}{self.reference} {verb} {other.model} by {abs(gap.difference):.3f} {FIRST[task]} "
                    f"(95 %: {gap.low:+.3f} to {gap.high:+.3f}{sure})"
                )
        return notes

    def _tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, head, lines) of each set."""
        tables = []
        for task, name in self.sets():
            rows = [row for row in self.rows if (row.task, row.set) == (task, name)]
            metrics = [metric for metric in SHOWN.get(task, (FIRST[task],)) if metric in rows[0].metrics]
            lines = [
                [row.model, *(f"{row.metrics[metric]:.3f}" for metric in metrics), f"{row.seconds:.2f}"] for row in rows
            ]
            tables.append((f"{name} ({task})", ["model", *metrics, "seconds"], lines))
        return tables

    def __str__(self) -> str:
        """Aligned plain text."""
        blocks = []
        for title, head, lines in self._tables():
            widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
            text = [title]
            for line in [head, *lines]:
                cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
                text.append("  " + "  ".join(cells))
            blocks.append("\n".join(text))
        return "\n\n".join(blocks) + "".join(f"\n{note}" for note in ["", *self.notes()] if note or self.notes())

    def markdown(self) -> str:
        """Markdown tables, for model cards."""
        blocks = []
        for title, head, lines in self._tables():
            rows = ["| " + " | ".join(line) + " |" for line in [head, ["---", *["---:"] * (len(head) - 1)], *lines]]
            blocks.append(f"{title}\n\n" + "\n".join(rows))
        return "\n\n".join(blocks) + "".join(f"\n\n- {note}" if i == 0 else f"\n- {note}" for i, note in enumerate(self.notes()))
