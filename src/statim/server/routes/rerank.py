"""Rerankings, as Cohere's, Jina's and text-embeddings-inference's."""

import uuid
from typing import Any

import numpy as np

from statim.search.hybrid import Candidates, fuse_scores
from statim.search.lexical.bm25 import BM25
from statim.server import schemas
from statim.server.answers import Answer, Endpoint, dumps
from statim.server.catalog import Catalog
from statim.server.encoder import Encoder, Floats
from statim.server.refusals import ApiError


def endpoints(catalog: Catalog) -> list[Endpoint]:
    """The endpoints."""

    def rerank(asked: schemas.Rerank) -> Answer:
        given = asked.documents if asked.texts is None else asked.texts
        if given is None or (asked.documents is not None and asked.texts is not None):
            raise ApiError(
                422, "give either documents or texts, the texts to be ranked", "invalid_value", "documents"
            )
        texts = [one if isinstance(one, str) else one.text for one in given]
        entry = catalog.find(asked.model)
        scores, tokens = _scores(entry.encoder(), asked.query, texts, asked.mode)
        order = np.argsort(-scores, kind="stable")[: asked.top_n].tolist()
        ranked = [(index, float(scores[index])) for index in order]
        body = _short(asked, ranked, texts) if asked.documents is None else {
            "id": uuid.uuid4().hex,
            "object": "list",
            "model": entry.name,
            "results": [_result(asked, index, score, texts) for index, score in ranked],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        }  # fmt: skip
        return Answer(dumps(body), entry.name, len(texts) + 1, tokens)

    return [
        Endpoint(path, "Texts by their nearness to a query", "rerank", schemas.Rerank, dict[str, Any], rerank)
        for path in ("/rerank", "/v1/rerank", "/v2/rerank")
    ]


def _scores(encoder: Encoder, query: str, texts: list[str], mode: str) -> tuple[Floats, int]:
    """The cosine of each text with the query, or the fused scores of both sides of hybrid search."""
    prompts = encoder.model.settings.prompts
    question, first = encoder.encode([query], prompts.get("query"))
    vectors, second = encoder.encode(texts, prompts.get("document"))
    cosines = vectors @ question[0]
    if mode == "cosine":
        return cosines, first + second
    places = np.arange(len(texts))[None]
    words = BM25.build(texts)
    scored, full = words.score([query], places), words.full_match([query])
    fused, order = fuse_scores(Candidates(places, cosines[None], places, scored, places, full), len(texts))
    scores = np.empty(len(texts), np.float32)
    scores[order[0]] = fused[0]
    return scores, first + second


def _result(asked: schemas.Rerank, index: int, score: float, texts: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {"index": index, "relevance_score": score}
    return said | {"document": {"text": texts[index]}} if asked.return_documents else said


def _short(asked: schemas.Rerank, ranked: list[tuple[int, float]], texts: list[str]) -> list[dict[str, Any]]:
    """As text-embeddings-inference's."""
    return [
        {"index": index, "score": score} | ({"text": texts[index]} if asked.return_text else {})
        for index, score in ranked
    ]
