"""An index as tools of the Model Context Protocol: search, get, similar, and add where it is allowed."""

import functools
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import Field

from statim import __version__
from statim.errors import InputError, StatimError
from statim.search.index import Hit
from statim.server.catalog import Catalog, Entry
from statim.server.guards import Guards
from statim.server.options import ServerOptions
from statim.server.refusals import ApiError
from statim.server.request import App, Receive, Scope, Send
from statim.strict_json import dumps

SHOWN = 1000  # characters of a hit's text; ``get`` gives all of it

Query = Annotated[str, Field(description="What to look for, in plain words")]
Count = Annotated[int, Field(ge=1, le=50, description="How many documents to return at most")]
Mode = Annotated[
    Literal["hybrid", "vector", "bm25"] | None,
    Field(description="hybrid, vector (by meaning) or bm25 (by words); the index's own by default"),
]
Filter = Annotated[
    str | None,
    Field(description="A condition on the columns, in the words of SQL: year > 2020 and source = 'faq'"),
]
Ids = Annotated[list[str], Field(min_length=1, max_length=50, description="Ids of documents")]
Documents = Annotated[
    list[dict[str, Any]],
    Field(min_length=1, max_length=1000, description="Each with id, text and any columns of the index"),
]


def make_server(place: str, options: ServerOptions) -> MCPServer[Any]:
    """A server of one index.

    Args:
        place: The index.
        options: Whether it may be changed.

    Raises:
        InputError: There is a model at ``place``, not an index.
        ModelError: There is neither.
    """
    (entry,) = Catalog([place], options).entries.values()
    if not entry.is_index:
        raise InputError(f"{place} is a model; give an index (statim index build)")
    index = entry.index()
    columns = ", ".join(f"{field.name} ({field.type})" for field in index.schema)
    server: MCPServer[Any] = MCPServer(
        "statim",
        version=__version__,
        instructions=f"Searches the index {entry.name} of {len(index):,} documents. Columns: {columns}.",
        log_level="ERROR",
    )
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (_search(entry), _get(entry), _similar(entry)):
        server.add_tool(_telling(tool), annotations=reads)
    if options.writable:
        adds = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
        server.add_tool(_telling(_add(entry)), annotations=adds)
    return server


def make_http_app(place: str, options: ServerOptions) -> App:
    """The server as an ASGI application, at ``/mcp``, behind the guards of ``statim serve``.

    Raises:
        InputError: As for ``make_server``.
        ModelError: As for ``make_server``.
    """
    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # by the guards
    app = make_server(place, options).streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=guarded,
        max_request_body_size=options.max_body,
    )
    guards = Guards(options)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            try:
                guards.check_host(headers)
                guards.check_key(headers)
            except ApiError as error:
                head = [(b"content-type", b"application/json"), *error.headers()]
                await send({"type": "http.response.start", "status": error.status, "headers": head})
                await send({"type": "http.response.body", "body": error.body()})
                return
        await app(scope, receive, send)

    return answer


def _telling(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The same tool, whose refusals reach the caller; mcp hides the messages of all other errors."""

    @functools.wraps(tool)
    def told(**arguments: Any) -> Any:
        try:
            return tool(**arguments)
        except (StatimError, ApiError) as error:
            raise ToolError(str(error)) from None

    return told


def _search(entry: Entry) -> Callable[..., Any]:
    def search(query: Query, k: Count = 5, mode: Mode = None, filter: Filter = None) -> dict[str, Any]:  # noqa: A002
        """Find the documents that answer a question best."""
        hits = entry.index().search(query, k, mode=mode, where=filter)
        return {"hits": [_shown(hit) for hit in hits]}

    return search


def _get(entry: Entry) -> Callable[..., Any]:
    def get(ids: Ids) -> dict[str, Any]:
        """Read whole documents by their ids."""
        found = entry.index().get(ids)
        missing = sorted({*ids} - {document["id"] for document in found})
        return {"documents": _plain(found)} | ({"missing": missing} if missing else {})

    return get


def _similar(entry: Entry) -> Callable[..., Any]:
    def similar(id: str, k: Count = 5, filter: Filter = None) -> dict[str, Any]:  # noqa: A002
        """Find the documents most similar to one of the index."""
        index = entry.index()
        found = index.get([id])
        if not found:
            raise InputError(f"the index has no document {id[:80]!r}; take an id that search gave")
        hits = index.search(found[0]["text"], k + 1, mode="vector", where=filter)
        return {"hits": [_shown(hit) for hit in hits if hit.id != id][:k]}

    return similar


def _add(entry: Entry) -> Callable[..., Any]:
    def add(documents: Documents, replace: bool = False) -> dict[str, Any]:
        """Add documents to the index; with replace, in the place of those with the same ids."""
        count = entry.change(lambda index: index.add(documents, replace=replace))
        return {"added": count, "documents": len(entry.index())}

    return add


def _shown(hit: Hit) -> dict[str, Any]:
    text = hit.text if len(hit.text) <= SHOWN else hit.text[: SHOWN - 1] + "…"
    return {"id": hit.id, "score": round(hit.score, 4), "text": text, "columns": _plain(hit.metadata)}


def _plain(value: Any) -> Any:
    """Dates and other things that JSON lacks, as texts."""
    return json.loads(dumps(value))
