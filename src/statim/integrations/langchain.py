"""LangChain: embeddings, and an index as a retriever."""

from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from statim.integrations.loading import loaded
from statim.model import StaticModel
from statim.search.index import Index


class StatimEmbeddings(Embeddings):
    """A static model as LangChain's embeddings; documents and queries have the model's prompts.

    Args:
        model: A model, or where it is.
        dim: Keep only the first dimensions.

    Raises:
        ModelError: There is no model there.
    """

    def __init__(self, model: StaticModel | str | Path, dim: int | None = None) -> None:
        self.model, self.dim = loaded(model), dim

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of n texts, as lists of numbers."""
        found: list[list[float]] = self.model.encode_document(texts, dim=self.dim).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, as a list of numbers."""
        found: list[float] = self.model.encode_query(text, dim=self.dim).tolist()
        return found


class StatimRetriever(BaseRetriever):
    """An index as LangChain's retriever.

    Attributes:
        index: The index.
        k: How many documents to return.
        mode: ``hybrid``, ``vector`` or ``bm25``.
        filter: A condition on the columns (see ``Index.search``).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    k: int = Field(default=4, ge=1)
    mode: Literal["hybrid", "vector", "bm25"] = "hybrid"
    filter: str | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        del run_manager
        asked = {"k": self.k, "mode": self.mode, "where": self.filter} | options
        return [
            Document(id=hit.id, page_content=hit.text, metadata=hit.metadata | {"score": hit.score})
            for hit in self.index.search(query, **asked)
        ]
