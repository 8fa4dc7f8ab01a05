"""OpenAI's embeddings."""

from dataclasses import replace
from typing import Any

from statim.server import schemas
from statim.server.answers import Answer, Endpoint, embedding_list
from statim.server.catalog import Catalog
from statim.server.encoder import INVALID_TOKEN
from statim.server.refusals import ApiError


def as_list(given: Any) -> list[Any]:
    """The texts, or lists of ids, of an input of one or several."""
    return [given] if isinstance(given, str) or isinstance(given[0], int) else given


def endpoints(catalog: Catalog) -> list[Endpoint]:
    """The endpoints."""

    def embeddings(asked: schemas.Embeddings) -> Answer:
        entry = catalog.find(asked.model)
        encoder = entry.encoder()
        if asked.dimensions is not None and asked.dimensions > encoder.model.dim:
            raise ApiError(
                400,
                f"dimensions is {asked.dimensions:,}; {entry.name} has {encoder.model.dim}, "
                "so ask for 1 to that",
                "invalid_value",
                "dimensions",
            )
        try:
            tokens = encoder.tokens(as_list(asked.input))
        except ApiError as error:
            if error.code != INVALID_TOKEN:
                raise
            raise replace(error, status=400, param="input") from None  # a bad field
        vectors = encoder.vectors(tokens, asked.dimensions)
        count = len(tokens.ids)
        body = embedding_list(vectors, asked.encoding_format, entry.name, count)
        return Answer(body, entry.name, len(tokens), count)

    return [
        Endpoint(
            path, "Embeddings, as OpenAI's", "OpenAI", schemas.Embeddings, schemas.EmbeddingList, embeddings,
            quick=catalog.is_quick, invalid=400,
        )
        for path in ("/v1/embeddings", "/embeddings")
    ]  # fmt: skip


def models(catalog: Catalog, started: int) -> list[dict[str, Any]]:
    """OpenAI's list of models."""
    return [
        {
            "id": entry.name,
            "object": "model",
            "created": started,
            "owned_by": "statim",
            "dimensions": entry.model.dim,
            "index": entry.is_index,
        }
        for entry in catalog.entries.values()
    ]
