"""The best documents of a search scored once more, by a model that is too slow to score all.

A cross-encoder reads question and document together (Nogueira and Cho, "Passage re-ranking with BERT", 2019);
any other model turns both into vectors, which are compared by cosine.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from statim.errors import DependencyError, InputError, ModelError
from statim.files import read_json
from statim.model import StaticModel
from statim.teacher.folder import MINILM, is_transformer, resolve_teacher
from statim.teacher.teacher import Teacher

DEPTH = 50  # documents scored once more

Found = list[tuple[float, dict[str, Any]]]


class CrossEncoder(Protocol):
    """Scores pairs of texts, such as sentence-transformers' class of this name."""

    def predict(self, pairs: list[tuple[str, str]], /) -> Any:
        """(n,) numbers, higher for pairs that belong together."""


class Reranker:
    """A model that ranks documents found.

    Args:
        model: The folder or name of a cross-encoder, a sentence transformer (a teacher) or a static model; or
            an object with ``predict``, or with ``encode_query`` and ``encode_document``.
        depth: How many documents of each query it scores.

    Raises:
        InputError: ``depth`` is below 1, or the object is no model.
        ModelError: There is no model there.
        DependencyError: sentence-transformers is not installed, and the model is no static one.
    """

    def __init__(self, model: Any, depth: int = DEPTH) -> None:
        if depth < 1:
            raise InputError(f"the depth of the reranking is {depth}; it must be at least 1")
        self.depth = depth
        self._model = _load(model) if isinstance(model, (str, Path)) else model
        if not hasattr(self._model, "predict") and not hasattr(self._model, "encode_query"):
            raise InputError(
                f"the reranker is a {type(model).__name__} without a method predict or encode_query"
            )

    def __call__(self, question: str, found: Found) -> Found:
        """Documents with new scores, in that order; those behind ``depth`` are left out.

        Args:
            question: The query.
            found: Scores and documents, best first.

        Raises:
            InputError: The model gives something else than a finite number for each document.
        """
        found = found[: self.depth]
        if not found:
            return []
        texts = [document["text"] for _, document in found]
        scores = np.asarray(self._scores(question, texts), np.float64)
        if scores.shape != (len(found),) or not np.isfinite(scores).all():
            raise InputError(
                f"the reranker gave scores of the shape {scores.shape} for {len(found):,} documents, or "
                "some that are not finite; it must give one finite number for each"
            )
        order = np.argsort(-scores, kind="stable")
        return [(float(scores[i]), found[i][1]) for i in order]

    def _scores(self, question: str, texts: list[str]) -> Any:
        if hasattr(self._model, "predict"):
            options = {}
            if type(self._model).__module__.startswith("sentence_transformers"):
                options = {"show_progress_bar": False}
            return self._model.predict([(question, text) for text in texts], **options)
        options = {"cache": False} if isinstance(self._model, Teacher) else {}
        query = np.asarray(self._model.encode_query([question], **options), np.float64)
        documents = np.asarray(self._model.encode_document(texts, **options), np.float64)
        lengths = np.linalg.norm(documents, axis=1) * np.linalg.norm(query)
        return (documents @ query[0]) / np.where(lengths > 0, lengths, 1)


def _load(source: str | Path) -> Any:
    if str(source) in MINILM:
        return Teacher.load(str(source))
    path = Path(source)
    if path.is_dir() and not is_transformer(path):
        return StaticModel.load(path)
    folder = resolve_teacher(source)
    return load_cross_encoder(str(folder)) if _is_cross_encoder(folder) else Teacher.load(str(source))


def _is_cross_encoder(folder: Path) -> bool:
    try:
        names = read_json(folder / "config.json").get("architectures")
    except (ModelError, AttributeError):
        return False
    return isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)


def load_cross_encoder(name: str) -> CrossEncoder:
    """A CrossEncoder of sentence-transformers.

    Raises:
        InputError: There is none of this name, or in this folder.
        DependencyError: sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import CrossEncoder as Loaded
    except ImportError:
        raise DependencyError(
            'a cross-encoder needs sentence-transformers; pip install "statim[train]"'
        ) from None
    try:
        loaded: CrossEncoder = Loaded(name, device="cpu")
    except Exception as error:  # of several libraries
        first = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot be loaded as a cross-encoder: {first}") from None
    return loaded
