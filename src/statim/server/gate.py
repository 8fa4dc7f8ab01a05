"""Every request: an id, guards, limits, the answer, a line in the log, metrics.

JSON endpoints are answered here, without FastAPI's layers, which take longer than a text takes to encode;
FastAPI answers everything else, and describes all of it.
"""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import orjson
from pydantic import BaseModel, ValidationError

from statim import threads
from statim.server.answers import Answer, Endpoint
from statim.server.guards import Guards
from statim.server.metrics import Metrics
from statim.server.options import ServerOptions
from statim.server.refusals import ApiError, refusal
from statim.server.request import App, GoneError, Receive, Request, Scope, Send, log, log_error

QUICK = 16 << 10  # bytes of a body up to which quick endpoints are answered without another thread
PIECE = 256 << 10  # bytes that are sent at once, so that a slow reader is noticed
OPEN = frozenset(
    ("/", "/health", "/docs", "/docs.js", "/openapi.json", "/page.js", "/page.css")
)  # without a key
JSON = b"application/json"


class Gate:
    """An ASGI application around FastAPI's.

    Args:
        app: Answers what is no JSON endpoint.
        endpoints: The JSON endpoints.
        paths: All paths, as logs and metrics name them.
        options: Limits.
        metrics: Counts requests.
    """

    def __init__(
        self, app: App, endpoints: Iterable[Endpoint], paths: Iterable[str], options: ServerOptions,
        metrics: Metrics
    ) -> None:  # fmt: skip
        self._app, self._options, self._metrics = app, options, metrics
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._paths = frozenset(paths)
        self._guards = Guards(options)
        self._executor = ThreadPoolExecutor(
            threads.count(options.threads), "statim-server", initializer=threads.do_alone
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        metrics, started = self._metrics, time.perf_counter()
        metrics.in_flight += 1
        try:
            await self._answer(request)
        except GoneError:
            request.status = request.status or 499
        except Exception as error:
            await self._refuse(request, error)
        finally:
            metrics.in_flight -= request.held
            path = scope["path"] if scope["path"] in self._paths else "other"
            seconds, done = time.perf_counter() - started, request.answer
            metrics.count(path, request.status, seconds, done.model, done.texts, done.tokens)
            if self._options.log:
                log(request, path, seconds)

    async def _answer(self, request: "Request") -> None:
        """Guard, and hand on; every way to refuse raises."""
        path, limit = request.scope["path"], self._options.max_requests
        self._guards.check_host(request.headers)
        if path not in OPEN:
            self._guards.check_key(request.headers)
        if self._metrics.in_flight > limit and path not in OPEN:
            raise ApiError(
                429,
                f"{limit} requests are in flight, as many as are allowed; try again in a second",
                "too_many_requests",
                retry_after=1,
            )
        endpoint = self._endpoints.get(path) if request.scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(request.scope, request.receive, request.sent)
            return
        try:
            async with asyncio.timeout(self._options.timeout):
                body = await request.body(self._options.max_body)
        except TimeoutError:
            raise ApiError(
                408, f"the body did not come within {self._options.timeout:g} s; send it again", "timeout"
            ) from None
        request.answer = await self._run(request, endpoint, body)
        await self._send(request, request.answer.body)

    async def _run(self, request: "Request", endpoint: Endpoint, body: bytes) -> Answer:
        if endpoint.quick is not None and len(body) <= QUICK:
            asked = _read(endpoint, body)
            if endpoint.quick(asked):
                return endpoint.run(asked)
        work = self._executor.submit(_run, endpoint, body)
        future = asyncio.wrap_future(work)
        done, _ = await asyncio.wait((future,), timeout=self._options.timeout)
        if done:
            return future.result()
        if not work.cancel():  # a thread has begun with it, so its place is free when the thread is
            request.held = 0
            future.add_done_callback(self._let_go)
        raise ApiError(
            503,
            f"there was no answer within {self._options.timeout:g} s; send less at once, or try again later",
            "timeout",
            retry_after=5,
        )

    def _let_go(self, future: "asyncio.Future[Answer]") -> None:
        self._metrics.in_flight -= 1
        future.exception()  # nobody waits for it: say so to asyncio

    async def _send(self, request: "Request", body: bytes) -> None:
        """Send an answer; a reader that is too slow is left."""
        await request.start(200, [(b"content-type", JSON), (b"content-length", b"%d" % len(body))])
        if len(body) <= PIECE:
            await request.sent({"type": "http.response.body", "body": body})
            return
        view = memoryview(body)
        try:
            async with asyncio.timeout(self._options.timeout):
                for start in range(0, len(body), PIECE):
                    piece = bytes(view[start : start + PIECE])
                    more = start + PIECE < len(body)
                    await request.sent({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            raise GoneError from None

    async def _refuse(self, request: "Request", error: Exception) -> None:
        told = refusal(error)
        if told.status == 500:
            log_error(request.id, error)
        if request.status:  # the answer has begun
            return
        body = told.body()
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *told.headers()]
        if not request.whole:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await request.start(told.status, headers)
        await request.sent({"type": "http.response.body", "body": body})


def _run(endpoint: Endpoint, body: bytes) -> Answer:
    return endpoint.run(_read(endpoint, body))


def _read(endpoint: Endpoint, body: bytes) -> BaseModel:
    """What a body asks."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(
            400,
            f"the body is not JSON at character {error.pos:,} ({error.msg.split(':')[0]}); "
            "send JSON in UTF-8",
            "invalid_json",
        ) from None
    try:
        return endpoint.asked.model_validate(given)
    except ValidationError as error:
        raise _invalid(endpoint, error) from None


def _invalid(endpoint: Endpoint, error: ValidationError) -> ApiError:
    """What is wrong with the first field that is; nothing of what was sent is said."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else None
    if name is None:
        message = "the body is no JSON object; send one, like " + '{"' + _first(endpoint) + '": ...}'
    elif first["type"] == "missing" and len(first["loc"]) == 1:
        message = f"{name} is missing; give {_described(endpoint, name)}"
    else:
        message = f"{name} is not valid; give {_described(endpoint, name)}"
    return ApiError(endpoint.invalid, message, "invalid_value", name)


def _first(endpoint: Endpoint) -> str:
    return next(iter(endpoint.asked.model_fields))


def _described(endpoint: Endpoint, name: str) -> str:
    return endpoint.asked.model_fields[name].description or f"a {name} as /docs describes it"
