"""Haystack: embedders of texts and of documents.

To read a pipeline from YAML, allow this module: ``Pipeline.loads(text, allowed_modules=["statim.*"])``.
"""

from dataclasses import replace
from typing import Any

from haystack import Document, component

from statim.model import StaticModel


@component
class StatimTextEmbedder:
    """The vector of a query.

    Args:
        model: Where the model is: a folder, word vectors, or a name on the hub.
        dim: Keep only the first dimensions.
    """

    def __init__(self, model: str, dim: int | None = None) -> None:
        self.model, self.dim = model, dim  # named as parameters, since Haystack stores them so
        self._loaded: StaticModel | None = None

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: There is none at ``model``.
        """
        self._loaded = self._loaded or StaticModel.load(self.model)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """The vector, as ``embedding``.

        Raises:
            TypeError: ``text`` is no text.
        """
        if not isinstance(text, str):
            raise TypeError("StatimTextEmbedder takes a text; for documents use StatimDocumentEmbedder")
        self._loaded = self._loaded or StaticModel.load(self.model)
        return {"embedding": self._loaded.encode_query(text, dim=self.dim).tolist()}


@component
class StatimDocumentEmbedder:
    """Documents with their vectors.

    Args:
        model: Where the model is: a folder, word vectors, or a name on the hub.
        dim: Keep only the first dimensions.
        meta_fields_to_embed: Metadata put before the content.
        embedding_separator: Put between metadata and content.
    """

    def __init__(
        self,
        model: str,
        dim: int | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        self.model, self.dim = model, dim
        self.meta_fields_to_embed = meta_fields_to_embed
        self.embedding_separator = embedding_separator
        self._loaded: StaticModel | None = None

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: There is none at ``model``.
        """
        self._loaded = self._loaded or StaticModel.load(self.model)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Copies of the documents with vectors, as ``documents``.

        Raises:
            TypeError: ``documents`` is no list of documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise TypeError(
                "StatimDocumentEmbedder takes a list of Documents; for a text use StatimTextEmbedder"
            )
        self._loaded = self._loaded or StaticModel.load(self.model)
        vectors = self._loaded.encode_document(list(map(self._text, documents)), dim=self.dim).tolist()
        return {
            "documents": [
                replace(document, embedding=vector)
                for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    def _text(self, document: Document) -> str:
        fields = (document.meta.get(name) for name in self.meta_fields_to_embed or ())
        parts = [str(value) for value in fields if value is not None]
        return self.embedding_separator.join([*parts, document.content or ""])
