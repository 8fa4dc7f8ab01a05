"""The endpoints of text-embeddings-inference."""

from typing import Any

from statim import __version__
from statim.errors import StatimError
from statim.server import schemas
from statim.server.answers import Answer, Endpoint, dumps
from statim.server.catalog import Catalog
from statim.server.refusals import ApiError
from statim.server.routes.openai import as_list


def endpoints(catalog: Catalog) -> list[Endpoint]:
    """The endpoints."""

    def embed(asked: schemas.Embed) -> Answer:
        entry = catalog.find(asked.model)
        encoder = entry.encoder()
        prompts = encoder.model.settings.prompts
        if asked.prompt_name is not None and asked.prompt_name not in prompts:
            raise ApiError(
                422,
                f"{entry.name} has no prompt {asked.prompt_name[:80]!r}; "
                f"it has {', '.join(prompts) or 'none'}",
                "invalid_value",
                "prompt_name",
            )
        prompt = None if asked.prompt_name is None else prompts[asked.prompt_name]
        tokens = encoder.tokens(as_list(asked.inputs), prompt)
        vectors = encoder.vectors(tokens, asked.dimensions, asked.normalize)
        return Answer(dumps(vectors), entry.name, len(tokens), len(tokens.ids))

    def similarity(asked: schemas.Similarity) -> Answer:
        entry = catalog.find(asked.model)
        vectors, tokens = entry.encoder().encode([asked.inputs.source_sentence, *asked.inputs.sentences])
        return Answer(dumps(vectors[1:] @ vectors[0]), entry.name, len(vectors), tokens)

    def tokenize(asked: schemas.Tokenize) -> Answer:
        entry = catalog.find(asked.model)
        encoder = entry.encoder()
        texts = as_list(asked.inputs)
        counted = encoder.tokens(texts)  # refuses too much
        backend = encoder.model.tokenizer.backend
        cut = [_tokens(backend.encode(text, add_special_tokens=False)) for text in texts]
        return Answer(dumps(cut), entry.name, len(texts), len(counted.ids))

    vectors_of, token_lists = list[list[float]], list[list[schemas.Token]]
    tag = "text-embeddings-inference"
    return [
        Endpoint("/embed", "Vectors", tag, schemas.Embed, vectors_of, embed, quick=catalog.is_quick),
        Endpoint(
            "/similarity", "Cosines of a sentence with others", tag, schemas.Similarity, list[float],
            similarity, quick=catalog.is_quick,
        ),
        Endpoint(
            "/tokenize", "Tokens", tag, schemas.Tokenize, token_lists, tokenize, quick=catalog.is_quick
        ),
    ]  # fmt: skip


def _tokens(encoding: Any) -> list[dict[str, Any]]:
    return [
        {"id": number, "text": text, "special": False, "start": start, "stop": stop}
        for number, text, (start, stop) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
    ]


def info(catalog: Catalog) -> dict[str, Any]:
    """What text-embeddings-inference says of its model, of the first one here; and all that is served."""
    options = catalog.options
    model = next(iter(catalog.entries.values())).model
    return {
        "model_id": next(iter(catalog.entries)),
        "model_sha": model.hash,
        "model_dtype": model.dtype,
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": options.max_requests,
        "max_input_length": model.settings.max_tokens or options.max_tokens,
        "max_batch_tokens": options.max_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": options.max_batch,
        "auto_truncate": model.settings.max_tokens is not None,
        "tokenization_workers": 1,
        "version": __version__,
        "writable": options.writable,
        "served": [_said(catalog, name) for name in catalog.entries],
    }


def _said(catalog: Catalog, name: str) -> dict[str, Any]:
    entry = catalog.entries[name]
    said: dict[str, Any] = {"name": name, "kind": "index" if entry.is_index else "model"}
    said["dimensions"] = entry.model.dim
    if not entry.is_index:
        return said
    try:
        index = entry.index()
    except StatimError as error:
        return said | {"error": str(error)}
    columns = {field.name: str(field.type) for field in index.schema}
    return said | {"documents": len(index), "columns": columns, "mode": index.settings.mode}
