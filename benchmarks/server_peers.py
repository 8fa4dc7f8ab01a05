"""What benchmarks/server.py compares with: sentence-transformers behind FastAPI, and in statim's server.

python benchmarks/server_peers.py fastapi|same FOLDER PORT
"""

import base64
import sys
from typing import Any, Literal

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

from statim.server import catalog
from statim.server.app import make_app
from statim.server.encoder import Encoder
from statim.server.options import ServerOptions


class Embeddings(BaseModel):
    """What is asked."""

    input: str | list[str]
    model: str
    encoding_format: Literal["float", "base64"] = "float"


def usual(folder: str) -> FastAPI:
    """The endpoint that FastAPI's documentation leads to, encoding on its threads."""
    app, model = FastAPI(), SentenceTransformer(folder, device="cpu")

    @app.post("/v1/embeddings")
    def embeddings(asked: Embeddings) -> dict[str, Any]:
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors = model.encode(texts, batch_size=1024, show_progress_bar=False)
        if asked.encoding_format == "base64":
            rows: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in vectors]
        else:
            rows = vectors.tolist()
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        return {"object": "list", "data": data, "model": asked.model}

    return app


class Batch:
    """Texts, where statim's encoder has tokens."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.ids = texts, ()

    def __len__(self) -> int:
        return len(self.texts)


def same(folder: str) -> Any:
    """The server of statim, in which sentence-transformers makes the vectors."""
    model = SentenceTransformer(folder, device="cpu")

    class Other(Encoder):
        def tokens(self, given: Any, *_: Any) -> Any:
            return Batch(list(given))

        def vectors(self, tokens: Any, *_: Any) -> Any:
            found = model.encode(tokens.texts, batch_size=1024, show_progress_bar=False)
            return np.ascontiguousarray(found, np.float32)

    catalog.Encoder = Other  # type: ignore[misc]
    return make_app([f"model={folder}"], ServerOptions(log=False))


if __name__ == "__main__":
    kind, place, port = sys.argv[1:]
    served = usual(place) if kind == "fastapi" else same(place)
    uvicorn.run(
        served, port=int(port), lifespan="off", log_level="critical", access_log=False, server_header=False,
        date_header=False,
    )  # fmt: skip
