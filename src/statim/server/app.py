"""The application: FastAPI describes all of it, and answers what the gate does not."""

import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from statim import __version__
from statim.server import schemas
from statim.server.answers import Endpoint, dumps
from statim.server.catalog import Catalog
from statim.server.gate import Gate
from statim.server.metrics import Metrics
from statim.server.options import ServerOptions
from statim.server.refusals import ApiError, refusal
from statim.server.request import App
from statim.server.routes import openai, rerank, search, tei

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
# Pages run their own scripts alone, and are in nobody's frame
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
ABOUT = (
    "Embeddings as OpenAI's and text-embeddings-inference's clients ask for them, reranking, and search in "
    "indexes. Errors are in OpenAI's shape."
)
REFUSED = {
    400: "No JSON",
    401: "The API key is missing or wrong",
    404: "Nothing of this name is served",
    413: "The body is too large",
    422: "A field is not valid, or there are too many texts or tokens",
    429: "Too many requests are in flight; see Retry-After",
    503: "No answer in time, or the index cannot be read; see Retry-After",
}


def make_app(places: Iterable[str], options: ServerOptions | None = None) -> App:
    """An ASGI application that serves models and indexes.

    Args:
        places: As for ``Catalog``.
        options: Limits and keys.

    Raises:
        InputError: As for ``Catalog``.
        ModelError: As for ``Catalog``.
    """
    options = options or ServerOptions()
    catalog, metrics = Catalog(places, options), Metrics()
    threading.Thread(target=catalog.warm, name="statim-warm", daemon=True).start()
    app = FastAPI(
        title="statim", version=__version__, description=ABOUT, docs_url=None, redoc_url=None,
        exception_handlers={HTTPException: _unknown, ApiError: _refused, Exception: _refused},
    )  # fmt: skip
    endpoints = [found for module in (openai, tei, rerank, search) for found in module.endpoints(catalog)]
    for endpoint in endpoints:
        _describe(app, endpoint)
    _add_reports(app, catalog, metrics)
    for path, (name, kind) in FILES.items():
        content = (PAGE / name).read_bytes()
        answer = partial(Response, content, media_type=kind, headers=PAGE_HEADERS)
        app.add_api_route(path, _answering(answer), methods=["GET", "HEAD"], include_in_schema=False)
    paths = [*(endpoint.path for endpoint in endpoints), *FILES, *REPORTS, "/openapi.json"]
    gate: App = Gate(cast(App, app), endpoints, paths, options, metrics)
    if options.cors_origins:
        return cast(
            App,
            CORSMiddleware(
                gate,
                allow_origins=options.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "retry-after"],
            ),
        )
    return gate


def _describe(app: FastAPI, endpoint: Endpoint) -> None:
    """Let the API's page tell of an endpoint that the gate answers."""
    refused = {status: {"model": schemas.WrongAnswer, "description": why} for status, why in REFUSED.items()}
    app.add_api_route(
        endpoint.path, _documented(endpoint), methods=["POST"], response_model=endpoint.answered,
        summary=endpoint.summary, tags=[endpoint.tag], responses=cast(Any, refused),
    )  # fmt: skip


def _documented(endpoint: Endpoint) -> Any:
    def answered_by_the_gate(asked: Any) -> None:
        raise AssertionError(asked)

    answered_by_the_gate.__annotations__["asked"] = endpoint.asked
    answered_by_the_gate.__name__ = endpoint.path.strip("/").replace("/", "_")
    return answered_by_the_gate


def _answering(answer: Any) -> Any:
    async def page() -> Response:
        return cast(Response, answer())

    return page


REPORTS = ("/health", "/metrics", "/info", "/v1/models", "/models")


def _add_reports(app: FastAPI, catalog: Catalog, metrics: Metrics) -> None:
    """What the server says of itself."""
    started = int(time.time())

    def json(value: Any) -> Response:
        return Response(dumps(value), media_type="application/json")

    @app.get("/health", tags=["reports"], summary="Whether it answers")
    async def health() -> Response:
        return json({"status": "ok"})

    @app.get("/metrics", tags=["reports"], summary="Counts and times, for Prometheus")
    async def report() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/info", tags=["reports"], summary="What is served, and the limits")
    def info() -> Response:
        return json(tei.info(catalog))

    @app.get("/v1/models", tags=["OpenAI"], summary="What is served, as OpenAI's")
    @app.get("/models", include_in_schema=False)
    def models() -> Response:
        return json({"object": "list", "data": openai.models(catalog, started)})

    @app.get("/v1/models/{name}", tags=["OpenAI"], summary="One of what is served")
    def model(name: str) -> Response:
        catalog.find(name)
        return json(next(one for one in openai.models(catalog, started) if one["id"] == name))


async def _unknown(request: Any, error: Any) -> Response:
    """Unknown paths and methods."""
    del request
    if error.status_code == 405:
        return await _refused(
            None, ApiError(405, "this path takes another method; see /docs", "method_not_allowed")
        )
    return await _refused(
        None, ApiError(error.status_code, "there is nothing at this path; see /docs", "not_found")
    )


async def _refused(request: Any, error: Exception) -> Response:
    del request
    told = refusal(error)
    headers = {name.decode(): value.decode() for name, value in told.headers()}
    return Response(told.body(), told.status, headers, media_type="application/json")
