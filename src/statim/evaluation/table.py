"""Small tables in plain text and in Markdown."""

from collections.abc import Sequence

LABELS = {"average_precision": "average precision", "v_measure": "V-measure", "spearman": "Spearman"}


def label(metric: str) -> str:
    """A metric's name for a heading."""
    if metric.startswith(("ndcg", "mrr", "map")):
        return metric.upper()
    return LABELS.get(metric, metric)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns set apart by two spaces, the first ``left`` of them flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table, aligned in the same way."""
    marks = ["---" if column < left else "---:" for column in range(len(header))]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, marks, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def duration(seconds: float) -> str:
    """Seconds for a reader."""
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
