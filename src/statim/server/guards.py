"""Who may ask: the names that a server answers to, keys, and pages of other origins."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from statim.server.options import KEY_VARIABLE, ServerOptions
from statim.server.refusals import ApiError

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?")


class Guards:
    """Refuses requests that a server must not answer.

    Args:
        options: The key, and names and origins that are allowed.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._key = None if options.api_key is None else _digest(options.api_key.encode())
        self._names = {name.lower() for name in (options.host, *options.allow_hosts)}

    def check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse names that anyone may have pointed here (DNS rebinding), and pages of other origins.

        Raises:
            ApiError: It is one.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            raise ApiError(
                403,
                f"the server does not answer to the name {host[:80]!r}; start it with --allow-host and that "
                "name to allow it",
                "unknown_host",
            )
        origin = headers.get(b"origin")
        if origin is not None:
            said = origin.decode("latin-1")
            allowed = self._options.cors_origins
            if urlsplit(said).netloc != host and said not in allowed and "*" not in allowed:
                raise ApiError(
                    403,
                    f"pages of {said[:80]!r} may not ask this server; start it with --cors and that origin "
                    "to allow it",
                    "unknown_origin",
                )

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].lower().rstrip(".")
        if name in self._names or "*" in self._names or "." not in name.strip("[]"):
            return True  # a name without dots is one of the machine or its network
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.endswith(".localhost")
        return True

    def check_key(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse requests without the key.

        Raises:
            ApiError: There is a key, and the request has another or none.
        """
        if self._key is None:
            return
        given = headers.get(b"x-api-key")
        if given is None:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            given = given.strip() if scheme.lower() == b"bearer" else b""
        if not hmac.compare_digest(_digest(given), self._key):
            what = "wrong" if given else "missing"
            raise ApiError(
                401,
                f"the API key is {what}; send the one that the server was started with (--api-key or "
                f"{KEY_VARIABLE}) as Authorization: Bearer KEY",
                "invalid_api_key",
            )


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
