"""What a server is told when it starts."""

from dataclasses import dataclass

from statim.errors import InputError

KEY_VARIABLE = "STATIM_API_KEY"


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens, who may ask it, and how much.

    Attributes:
        host: The address to listen at.
        port: The port; 0 takes a free one.
        api_key: What callers must send; None lets everyone in.
        writable: Let callers add, update and delete documents.
        max_body: Bytes of a request's body.
        max_batch: Texts of a request.
        max_tokens: Tokens of a request.
        max_requests: Requests in flight.
        timeout: Seconds for a request.
        threads: Threads that encode and search; None takes STATIM_NUM_THREADS, else every processor at hand.
        allow_hosts: Names, besides addresses and names without dots, under which the server is reached.
        cors_origins: Origins of pages that may call the server from a browser.
        log: Write a line for each request to the standard error.

    Raises:
        InputError: A limit is not above 0, the port is not one, or the key is empty.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    writable: bool = False
    max_body: int = 8 << 20
    max_batch: int = 2048
    max_tokens: int = 500_000
    max_requests: int = 64
    timeout: float = 30.0
    threads: int | None = None
    allow_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    log: bool = True

    def __post_init__(self) -> None:
        for name in ("max_body", "max_batch", "max_tokens", "max_requests", "timeout"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} is {getattr(self, name)!r}; it must be above 0")
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"--port is {self.port}; it must be between 0 (any free port) and 65,535")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.strip()):
            raise InputError(
                f"the API key (--api-key or {KEY_VARIABLE}) is empty or not ASCII; give one of letters and "
                "digits, or none"
            )
