"""A request under way: its body, its answer as it is sent, and its line in the log."""

import re
import sys
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from statim.server.answers import Answer
from statim.server.refusals import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID = re.compile(rb"[\w.-]{1,64}")


class GoneError(Exception):
    """The caller has left."""


class Request:
    """A request under way, and what is known of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.headers = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"")
        self.id = given if _ID.fullmatch(given) else uuid.uuid4().hex.encode()
        self.status = self.bytes_in = self.bytes_out = 0
        self.held = 1  # places in flight
        self.whole = b"content-length" not in self.headers and b"transfer-encoding" not in self.headers
        self.answer = Answer(b"")

    async def body(self, limit: int) -> bytes:
        """The body.

        Raises:
            ApiError: It is longer than ``limit``, or compressed.
            GoneError: The caller has left.
        """
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise ApiError(415, "the body is compressed; send plain JSON", "unsupported_encoding")
        parts: list[bytes] = []
        while not self.whole or not parts:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            parts.append(message.get("body", b""))
            self.bytes_in += len(parts[-1])
            if self.bytes_in > limit:
                raise _too_large(limit)
            self.whole = not message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin the answer."""
        await self.sent({"type": "http.response.start", "status": status, "headers": headers})

    async def sent(self, message: Message) -> None:
        """Send on what the application says, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id)]
        else:
            self.bytes_out += len(message.get("body", b""))
        await self._send(message)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body has more than {limit:,} bytes; send less at once", "body_too_large")


def log(request: Request, path: str, seconds: float) -> None:
    """One line of JSON; nothing that a caller wrote is in it."""
    done = request.answer
    line = {
        "time": round(time.time(), 3),
        "id": request.id.decode(),
        "method": request.scope["method"] if request.scope["method"] in ("GET", "POST", "HEAD") else "other",
        "path": path,
        "status": request.status,
        "ms": round(seconds * 1000, 3),
        "bytes_in": request.bytes_in,
        "bytes_out": request.bytes_out,
    }
    if done.model:
        line |= {"model": done.model, "texts": done.texts, "tokens": done.tokens}
    sys.stderr.write(orjson.dumps(line).decode() + "\n")


def log_error(request_id: bytes, error: Exception) -> None:
    """Where an error of ours was raised, and of what kind; its message may hold what a caller wrote."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    line = {"id": request_id.decode(), "error": type(error).__name__, "at": places[-8:]}
    sys.stderr.write(orjson.dumps(line).decode() + "\n")
