"""Chroma: an embedding function, which a reopened collection finds again by its name.

Chroma compares the names of embedding functions alone, so the model's hash is in the configuration that it
stores: a collection whose model has changed meanwhile is refused.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from chromadb.api.types import Documents, EmbeddingFunction, Space
from chromadb.utils.embedding_functions import register_embedding_function

from statim.errors import InputError
from statim.model import StaticModel


@register_embedding_function
class StatimEmbeddingFunction(EmbeddingFunction[Documents]):
    """A static model as Chroma's embedding function; documents and queries have the model's prompts.

    Args:
        model: Where the model is: a folder, word vectors, or a name on the hub.
        dim: Keep only the first dimensions.
        model_hash: The hash that the model must have; of a stored collection.

    Raises:
        ModelError: There is no model there.
        InputError: Its hash is another.
    """

    def __init__(self, model: str, dim: int | None = None, model_hash: str | None = None) -> None:
        self._place, self._dim = model, dim
        self._model = StaticModel.load(model)
        if model_hash is not None and not self._model.matches_hash(model_hash):
            raise InputError(
                f"the model at {model} (hash {self._model.hash[:12]}) is not the one that the collection was "
                f"made with ({model_hash[:12]}); put that one back, or make the collection again"
            )

    def __call__(self, input: Documents) -> list[npt.NDArray[np.float32]]:  # noqa: A002 (Chroma's name)
        """The vectors of documents."""
        return list(self._model.encode_document(input, dim=self._dim))

    def embed_query(self, input: Documents) -> list[npt.NDArray[np.float32]]:  # noqa: A002
        """The vectors of queries."""
        return list(self._model.encode_query(input, dim=self._dim))

    @staticmethod
    def name() -> str:
        """The name under which Chroma stores it."""
        return "statim"

    def default_space(self) -> Space:
        """Cosine, for vectors of length 1."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """All."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """What Chroma stores."""
        return {"model": self._place, "dim": self._dim, "model_hash": self._model.hash}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "StatimEmbeddingFunction":
        """The function of a stored configuration."""
        return StatimEmbeddingFunction(config["model"], config.get("dim"), config.get("model_hash"))

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse another model for vectors that are there.

        Raises:
            InputError: It is another.
        """
        if any(old_config.get(name) != new_config.get(name) for name in ("dim", "model_hash")):
            raise InputError("the collection was made with another model; make a new collection for this one")
