"""Judging a trained model: how to search with it, and its held-out table beside baselines."""

from dataclasses import dataclass, field

from statim.data.documents.plain import PlainTexts
from statim.evaluation.comparison import BM25, Comparison, Hybrid
from statim.evaluation.encoders import Encoder, QueriesOnly
from statim.evaluation.report import Report
from statim.model import StaticModel
from statim.settings import SearchSettings
from statim.teacher.teacher import Teacher
from statim.training.device import distributed
from statim.training.distillation.teacher_targets import TeacherTargets
from statim.training.run import baselines, heldout
from statim.training.run.load import Loaded
from statim.training.run.validation import Validation


@dataclass
class Judge:
    """Judges one training; only the first of several processes does.

    Attributes:
        loaded: What was read.
        before: The model that training began with.
        model: The trained one.
        development: The development pairs, if any.
        teacher: The start's teacher, if there is one.
        guides: The teachers that are learned from.
        asymmetric: Does the first of them make the documents' vectors?
        names: The baselines that are asked for.
        progress: Show progress bars on a terminal.
        references: NDCG@10 of others on the development pairs, as far as it was measured.
    """

    loaded: Loaded
    before: StaticModel
    model: StaticModel
    development: Validation | None
    teacher: Teacher | None
    guides: tuple[Teacher, ...]
    asymmetric: bool
    names: tuple[str, ...]
    progress: bool
    references: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._task, self._said = baselines.test_set(self.loaded.parts.test, self.names)
        self._search: SearchSettings | None = None

    def search_settings(self) -> SearchSettings | None:
        """How to search with the model, as the development pairs choose; None where there are none."""
        if self.development is None or not distributed.is_first():
            return None
        encoder: Encoder = QueriesOnly(self.model, self.guides[0]) if self.asymmetric else self.model
        found = baselines.tuned(encoder, self.development.task, progress=self.progress)
        self._search, score = found
        if BM25 in self.names:
            self.references[BM25] = score
        return self._search

    def static_rows(self, taught: TeacherTargets | None) -> Comparison | Report | None:
        """The table without baselines; None where nothing was held out, or where a teacher is needed."""
        test, whole = self.loaded.parts.test, self.loaded.whole
        if not len(test) or not distributed.is_first():
            return None
        if isinstance(test, PlainTexts) and isinstance(whole, PlainTexts) and taught and self.guides:
            role = "query" if self.asymmetric else "text"
            aims = taught.targets(self.guides, test.texts, whole.texts, role=role, progress=self.progress)
            return heldout.closeness(test, self.before, self.model, aims)
        return None if self.asymmetric else self._static_rows()

    def _static_rows(self) -> Comparison | Report | None:
        documents = self.guides[0] if self.asymmetric else None
        return heldout.measure(
            self.loaded.parts, heldout.contestants(self.before, self.model, documents), task=self._task,
            bm25=False, said=self._said, progress=self.progress,
        )  # fmt: skip

    def whole_table(self, table: Comparison | Report | None) -> Comparison | Report | None:
        """The table with the rows of the baselines, and their figures on the development pairs."""
        parts = self.loaded.parts
        if not len(parts.test) or not distributed.is_first():
            return table
        if table is None and self.asymmetric:
            table = self._static_rows()
        encoder: Encoder = QueriesOnly(self.model, self.guides[0]) if self.asymmetric else self.model
        teacher = self.guides[0] if self.asymmetric else self.teacher
        found = baselines.compared(
            parts, table, self._task, self._hybrid(encoder), teacher, self.names, self.progress
        )
        if self.development is not None and baselines.TEACHER in self.names:
            self.references |= baselines.teacher_on_development(
                self.development.task, found, self.teacher, self.progress
            )
        return found

    def _hybrid(self, encoder: Encoder) -> Hybrid:
        return Hybrid(encoder) if self._search is None else Hybrid(encoder, self._search.weight, tuned=True)
