"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``."""

from dataclasses import dataclass

import orjson

from statim.errors import BusyError, DependencyError, InputError, ModelError, StatimError, StorageError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


@dataclass
class ApiError(Exception):
    """A request that is refused.

    Attributes:
        status: The HTTP status.
        message: One sentence: what is wrong, and how to mend it.
        code: A word for programs.
        param: The field of the request that is wrong.
        retry_after: Seconds after which trying again may do.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        """The message."""
        return self.message

    def body(self) -> bytes:
        """The answer's body."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that go with the answer."""
        found = [] if self.retry_after is None else [(b"retry-after", b"%d" % self.retry_after)]
        return found + ([(b"www-authenticate", b"Bearer")] if self.status == 401 else [])


def refusal(error: BaseException) -> ApiError:
    """What a caller is told of an error of the library."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        return ApiError(503, str(error), "busy", retry_after=1)
    if isinstance(error, InputError):
        return ApiError(422, str(error), "invalid_value")
    if isinstance(error, DependencyError):
        return ApiError(501, str(error), "not_installed")
    if isinstance(error, (ModelError, StorageError)):
        return ApiError(503, str(error), "unavailable", retry_after=5)
    if isinstance(error, StatimError):
        return ApiError(500, str(error), "error")
    if isinstance(error, MemoryError):
        return ApiError(
            503, "there is not enough memory for this; send less at once", "memory", retry_after=5
        )
    return ApiError(500, "an error inside the server; its log names the place", "internal_error")
