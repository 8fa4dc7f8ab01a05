"""What a training gave, for a person, for machines and for the model card."""

import datetime
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import __version__
from statim.data.detect_task import Supervision
from statim.evaluation.comparison import Comparison
from statim.evaluation.report import Report
from statim.model import StaticModel
from statim.settings import SearchSettings
from statim.training.recipe import Recipe


@dataclass
class TrainingResult:
    """What a training gave.

    Attributes:
        model: The trained model.
        recipe: How it was trained.
        comparison: The held-out table (the start, the model, the teacher, BM25, hybrid search), or None where
            nothing was held out.
        pairs: Counts of pairs (or labelled texts): read, trained on, development, test, moved because of
            near-duplicates.
        seconds: Wall time of each part: read, split, start, tokenize, train, evaluate, save,
            baselines.
        start: What training started from, in words.
        teacher: The teacher's name, if there was one.
        losses: (steps taken,) the loss of each step.
        steps: That were planned; fewer were taken if training stopped early.
        kept: The step after which the model's table was taken.
        development: (step, NDCG@10 on the development pairs) of each evaluation; step 0 is the start.
        references: NDCG@10 on the development pairs of BM25 and the teacher, where measured.
        changes: (step, peak rate): where a resumed training was given another rate.
        frozen: Rows of the table that were not to move.
    """

    model: StaticModel
    recipe: Recipe
    comparison: Comparison | Report | None
    pairs: dict[str, int]
    seconds: dict[str, float]
    start: str
    teacher: str | None
    losses: npt.NDArray[np.float64] = field(repr=False)
    steps: int = 0
    kept: int = 0
    development: list[tuple[int, float]] = field(default_factory=list)
    references: dict[str, float] = field(default_factory=dict)
    changes: list[tuple[int, float]] = field(default_factory=list)
    frozen: int = 0

    def ndcg(self) -> dict[str, float]:
        """NDCG@10 on held-out unscored pairs: start, trained, bm25 and teacher, as far as measured."""
        if not isinstance(self.comparison, Comparison):
            return {}
        found = {row.name: round(row.metrics["ndcg@10"], 6) for row in self.comparison.rows}
        return {name: found[name] for name in ("start", "trained", "bm25", "teacher") if name in found}

    def __str__(self) -> str:
        """For a person: what was trained on, the held-out table, the seconds."""
        spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        taken = max(self.seconds["train"], 1e-9)
        rate = len(self.losses) * min(self.recipe.batch, self.pairs["train"]) / taken
        unit = "texts" if self.recipe.loss in ("classes", "distillation") else "pairs"
        first = (
            f"trained on {self.pairs['train']:,} {unit} from {self.start} in {taken:.1f} s "
            f"({rate:,.0f} {unit}/s)"
        )
        lines = [first, f"seconds: {spent}"]
        if self.choice():
            lines.insert(1, self.choice())
        if self.model.settings.search is not None:
            lines.append(f"search: {self.searched()}")
        if self.comparison:
            lines += ["", str(self.comparison)]
        return "\n".join(lines)

    def searched(self) -> str:
        """How an index made with the model is searched by default."""
        search = self.model.settings.search or SearchSettings()
        reached = search.thresholds.get(search.mode, {}).get("95")
        said = "" if reached is None else f"; 95 % of the right answers score {reached:.3f} or more"
        return f"mode {search.mode}, weight of the vectors {search.weight:g}{said} (on the development pairs)"

    def choice(self) -> str:
        """Which step's table it is, if not the last planned one's."""
        taken, score = len(self.losses), dict(self.development).get(self.kept)
        stopped = f"stopped early, after step {taken:,} of {self.steps:,}" if taken < self.steps else ""
        best = f"kept the table of step {self.kept:,}" if self.kept < taken else ""
        found = "; ".join(filter(None, [stopped, best]))
        return f"{found} (NDCG@10 {score:.3f} on the development pairs)" if found and score else found

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, as plain values for JSON."""
        return {
            "start": self.start,
            "pairs": self.pairs,
            "recipe": self.recipe.to_dict(),
            "frozen": self.frozen,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "steps": {"planned": self.steps, "taken": len(self.losses), "kept": self.kept},
            "development": {"ndcg@10": self.development, "references": self.references},
            "heldout": self.comparison.to_dict() if self.comparison else None,
            "search": asdict(self.model.settings.search) if self.model.settings.search else None,
        }


def card(result: TrainingResult, pairs: Supervision) -> str:
    """The model card: what, from what, how, and how good."""
    recipe, counts = result.recipe, result.pairs
    text = f"""---
library_name: statim
pipeline_tag: sentence-similarity
tags:
- static-embeddings
- statim
- model2vec
- sentence-transformers
---

# A static embedding model

Trained with statim {__version__} on {datetime.date.today().isoformat()}: {len(result.model.table):,} tokens,
{recipe.dim} dimensions (Matryoshka prefixes {", ".join(map(str, recipe.levels))}), from {result.start}.

```python
import statim
vectors = statim.StaticModel.load("this folder").encode(["a text"])
```

`sentence_transformers.SentenceTransformer("this folder")` and
`model2vec.StaticModel.from_pretrained("this folder")` load it as it is and give the same vectors.
{_whose(result.model)}
## Data

{pairs.report}

Trained on {counts["train"]:,} {pairs.unit}. Held out were {counts["development"]:,} for development and
{counts["test"]:,} for the test, near-duplicates kept on one side
({counts["moved"]:,} of them changed sides for that).

## Recipe

"""
    text += "".join(f"- {name}: {value}\n" for name, value in recipe.to_dict().items())
    text += "".join(f"- learning rate after step {step}: {rate}\n" for step, rate in result.changes)
    text += f"- frozen rows: {result.frozen:,}\n" if result.frozen else ""
    if result.choice():
        text += f"\nTraining {result.choice()}.\n"
    if result.model.settings.search is not None:
        text += f"\nAn index made with it is searched so: {result.searched()}.\n"
    if result.comparison:
        text += f"\n## On held-out {pairs.unit}\n\n{result.comparison.markdown()}\n"
    return text


def _whose(model: StaticModel) -> str:
    """What a reader must know of a model for queries alone."""
    teacher = model.settings.documents_by
    if teacher is None:
        return ""
    return (
        f"\nIt is for queries alone: their vectors are to be compared with those that {teacher} makes "
        "of documents "
        "(`statim index build` does so).\n"
    )
