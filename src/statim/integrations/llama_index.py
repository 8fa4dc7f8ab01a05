"""LlamaIndex: an embedding model."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from statim.model import StaticModel


class StatimEmbedding(BaseEmbedding):
    """A static model as LlamaIndex's embedding; queries and texts have the model's prompts.

    LlamaIndex keys its ``embeddings_cache`` by the text alone, so give each model its own cache, or none.

    Args:
        model_name: Where the model is: a folder, word vectors, or a name on the hub.
        dim: Keep only the first dimensions.
        embed_batch_size: Texts encoded at a time.
        options: As for ``BaseEmbedding``.

    Raises:
        ModelError: There is no model there.
    """

    dim: int | None = Field(default=None, description="Keep only the first dimensions.")
    _model: StaticModel = PrivateAttr()

    def __init__(
        self, model_name: str, dim: int | None = None, embed_batch_size: int = 1024, **options: Any
    ) -> None:
        super().__init__(model_name=model_name, dim=dim, embed_batch_size=embed_batch_size, **options)
        self._model = StaticModel.load(model_name)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores it."""
        return "StatimEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        found: list[float] = self._model.encode_query(query, dim=self.dim).tolist()
        return found

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._model.encode_document(texts, dim=self.dim).tolist()
        return found

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._get_text_embeddings(texts)
