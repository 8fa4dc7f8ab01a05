"""The result of an evaluation: one row for each model and data set."""

from dataclasses import dataclass
from typing import Any

from statim.evaluation import table
from statim.evaluation.bootstrap import Difference

HEADINGS = {
    "sts": "Similarity of texts",
    "pairs": "Pair classification",
    "classification": "Classification",
    "clustering": "Clustering",
    "retrieval": "Retrieval",
    "distillation": "Closeness to the teacher",
}


@dataclass(frozen=True)
class Row:
    """How one model did on one data set.

    Attributes:
        model: The model's path or name, as given.
        set: The data set's name.
        task: One of TASKS.
        metrics: Metric -> value, from 0 (Spearman: -1) to 1.
        seconds: What encoding and measuring took (what a cache spared included).
        difference: For retrieval, by how much the model is better than the first one in the first metric.
    """

    model: str
    set: str
    task: str
    metrics: dict[str, float]
    seconds: float
    difference: Difference | None = None


@dataclass(frozen=True)
class Report:
    """All rows, and what a reader should not overlook in them."""

    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()

    def joined(self, before: object) -> "Report":
        """This report behind the rows of another one of the same sets, if there is one."""
        return Report((*before.rows, *self.rows), self.remarks) if isinstance(before, Report) else self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {
                "model": row.model,
                "set": row.set,
                "task": row.task,
                "metrics": row.metrics,
                "seconds": round(row.seconds, 3),
                "difference": row.difference._asdict() if row.difference else None,
            }
            for row in self.rows
        ]
        return {"rows": rows, "remarks": list(self.remarks)}

    def table(self) -> str:
        """One table for each task, as plain text, and the remarks."""
        parts = [table.plain(*self._cells(task), left=2) for task in self._tasks()]
        if self.remarks:
            parts.append("\n".join(self.remarks))
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """The same tables in Markdown."""
        tables = [table.markdown(*self._cells(task), left=2) for task in self._tasks()]
        return "\n\n".join([*tables, *self.remarks])

    def _tasks(self) -> list[str]:
        return list(dict.fromkeys(row.task for row in self.rows))

    def _cells(self, task: str) -> tuple[list[str], list[list[str]]]:
        rows = [row for row in self.rows if row.task == task]
        metrics = list(rows[0].metrics)
        cells = [
            [
                row.set,
                row.model,
                *(f"{row.metrics[name]:.3f}" for name in metrics),
                table.duration(row.seconds),
            ]
            for row in rows
        ]
        return [HEADINGS[task], "model", *map(table.label, metrics), "seconds"], cells

    def __str__(self) -> str:
        return self.table()
