"""The pairs held out of training: choosing them, and how the trained model and others do on them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from statim.data.pairs import Pairs
from statim.data.reading import read_pairs
from statim.data.retrieval import from_pairs
from statim.data.split import Split, split
from statim.errors import InputError
from statim.evaluation import comparison
from statim.evaluation.comparison import BM25, Comparison
from statim.evaluation.encoders import Encoder
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.model import StaticModel
from statim.teacher import Teacher
from statim.training.development import Development
from statim.training.history import NDCG

HELD_OUT = 2000  # pairs in the test split, where the data has enough
HELD_OUT_SHARE = 0.1  # of the pairs at most
PATIENT = 10.0  # seconds that the teacher may take on the development pairs

Asked = int | str | Path | None


def hold_out(
    pairs: Pairs, heldout: Asked, development: Asked, *, seed: int, anchor: str | None, positive: str | None
) -> Split:
    """Divide the pairs.

    Args:
        pairs: All.
        heldout: How many shall be the test, or a file of them; by default HELD_OUT_SHARE of all, at most HELD_OUT.
        development: How many shall be for development, or a file of them; by default half as many as are drawn for the test.
        seed: Of the draw.
        anchor: The column of anchors in files.
        positive: The column of positives in files.

    Raises:
        DataError: A file cannot be read.
        InputError: A count is out of range.
    """
    files: dict[str, Any] = {}
    for name, value in (("test", heldout), ("development", development)):
        if isinstance(value, (str, Path)):
            files[name] = read_pairs(value, anchor=anchor, positive=positive)
    test = min(HELD_OUT, int(len(pairs) * HELD_OUT_SHARE)) if heldout is None else heldout
    tests = 0 if isinstance(test, (str, Path)) else test
    less = tests // 2 if development is None else development
    counts = {"heldout": tests, "development": 0 if isinstance(less, (str, Path)) else less}
    for name, count in counts.items():
        if not 0 <= count <= len(pairs) // 2:
            raise InputError(
                f"{name} is {count}; it must be a file of pairs, or a count from 0 to half of the {len(pairs):,} pairs"
            )
    nothing = pairs.select([])
    found = Split(pairs, nothing, nothing, moved=0, joined=0, returned=0, asked=(0, 0))
    if any(counts.values()):
        found = split(pairs, development=counts["development"], test=counts["heldout"], seed=seed)
    return replace(found, **files)


def compare(
    parts: Split, before: StaticModel, model: StaticModel, teacher: Teacher | None, bm25: bool, progress: bool
) -> Comparison:
    """The table on the test pairs: the start, the trained model, half of its dimensions, the teacher and BM25."""
    encoders: dict[str, Encoder] = {"start": before, "trained": model}
    if model.dim >= 64:
        encoders[f"trained, {model.dim // 2} of {model.dim} dimensions"] = _Truncated(model, model.dim // 2)
    if teacher is not None:
        encoders["teacher"] = teacher
    return comparison.compare(
        encoders, from_pairs(parts.test), bm25=bm25, reference="trained", progress=progress
    )


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


def references(
    development: Development, table: Comparison | None, teacher: Teacher | None, progress: bool
) -> dict[str, float]:
    """NDCG@10 of others on the development pairs: BM25, and the teacher where the test has shown that it does not take long."""
    found = {BM25: evaluate_bm25(development.task, metrics=(NDCG,)).metrics[NDCG]}
    if teacher is not None and table is not None:
        share = (len(development.task.queries) + len(development.task.documents)) / (
            table.queries + table.documents
        )
        if table["teacher"].seconds * share <= PATIENT:
            scores = evaluate_retrieval(teacher, development.task, metrics=(NDCG,), progress=progress)
            found["teacher"] = scores.metrics[NDCG]
    return found
