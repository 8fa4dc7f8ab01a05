"""spaCy: a pipe that gives each document its vector.

nlp.add_pipe("statim", config={"model": "model"})
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from spacy.language import Language
from spacy.tokens import Doc

from statim.model import StaticModel


class StatimPipe:
    """Sets ``doc.vector``, by which ``doc.similarity`` compares.

    Args:
        model: Where the model is: a folder, word vectors, or a name on the hub.

    Raises:
        ModelError: There is no model there.
    """

    def __init__(self, model: str) -> None:
        self._model = StaticModel.load(model)

    def __call__(self, doc: Doc) -> Doc:
        """One document."""
        return _with_vector(doc, self._model.encode(doc.text))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 1024) -> Iterator[Doc]:
        """Many documents, ``batch_size`` encoded at a time."""
        documents = iter(stream)
        while some := list(islice(documents, batch_size)):
            for doc, vector in zip(some, self._model.encode([doc.text for doc in some]), strict=True):
                yield _with_vector(doc, vector)


def _with_vector(doc: Doc, vector: npt.NDArray[np.float32]) -> Doc:
    doc.vector = vector
    doc.user_hooks["similarity"] = _cosine  # spaCy's own looks for a table of word vectors
    return doc


def _cosine(doc: Doc, other: Any) -> float:
    lengths = float(np.linalg.norm(doc.vector) * np.linalg.norm(other.vector))
    return float(doc.vector @ other.vector) / lengths if lengths else 0.0


@Language.factory("statim")
def make(nlp: Language, name: str, model: str) -> StatimPipe:
    """The pipe that spaCy adds."""
    del nlp, name
    return StatimPipe(model)
