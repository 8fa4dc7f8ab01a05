"""What evaluation needs of a model, and how a path or name becomes one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.model import StaticModel
from statim.search.document_encoder import teacher_of
from statim.teacher.folder import MINILM, is_transformer
from statim.teacher.teacher import Teacher

Vectors = npt.NDArray[np.floating[Any]]


class Encoder(Protocol):
    """Turns n texts (a list or Arrow array) into vectors, (n, d); queries and documents may differ."""

    def encode(self, texts: Any, *, progress: bool = False) -> Vectors:
        """Vectors of texts that are neither queries nor documents."""

    def encode_query(self, texts: Any, *, progress: bool = False) -> Vectors:
        """Vectors of questions to documents."""

    def encode_document(self, texts: Any, *, progress: bool = False) -> Vectors:
        """Vectors of what is searched."""


@dataclass(frozen=True)
class QueriesOnly:
    """A static model for queries, beside the teacher whose vectors of documents it was trained against."""

    model: StaticModel
    teacher: Teacher

    @property
    def spared(self) -> float:
        """Seconds that the teacher's cache has saved."""
        return self.teacher.spared

    def encode(self, texts: Any, *, progress: bool = False) -> Vectors:
        """By the static model."""
        return self.model.encode(texts, progress=progress)

    def encode_query(self, texts: Any, *, progress: bool = False, prompt: str | None = None) -> Vectors:
        """By the static model."""
        return self.model.encode_query(texts, progress=progress, prompt=prompt)

    def encode_document(self, texts: Any, *, progress: bool = False, prompt: str | None = None) -> Vectors:
        """By the teacher."""
        return self.teacher.encode_document(texts, progress=progress, prompt=prompt)


def load_encoder(source: str | Path) -> Encoder:
    """A static model (perhaps for queries beside its teacher), else a sentence transformer.

    Args:
        source: A folder of statim, sentence-transformers or model2vec; a file of word vectors; or a name on
            the hub.

    Raises:
        ModelError: There is no model there, or not a whole one.
        DependencyError: It is a sentence transformer, and sentence-transformers is not installed.

    Examples:
        >>> load_encoder("model").encode(["sort a list"]).shape == (1, model.dim)
        True
    """
    if str(source) in MINILM:  # no need to ask the network whether that is a static model
        return Teacher.load(str(source))
    path = Path(source)
    try:
        model = StaticModel.load(source)
    except ModelError:
        if path.exists() and not is_transformer(path):
            raise
        return Teacher.load(str(source))
    named = model.settings.documents_by
    return model if named is None else QueriesOnly(model, teacher_of(model, named))
