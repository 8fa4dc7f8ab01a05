"""Questions to indexes, and changes of them."""

import time
from typing import Any

from statim.search.index import Hit
from statim.search.marks import Marker
from statim.server import schemas
from statim.server.answers import Answer, Endpoint, dumps
from statim.server.catalog import Catalog
from statim.server.refusals import ApiError


def endpoints(catalog: Catalog) -> list[Endpoint]:
    """The endpoints."""
    tag = "indexes"
    changes = [
        Endpoint("/add", "Add documents; known ids are refused", tag, schemas.Add, schemas.Changed,
                 lambda asked: _add(catalog, asked, replace=False)),
        Endpoint("/update", "Add documents, in the place of those with the same ids", tag, schemas.Add,
                 schemas.Changed, lambda asked: _add(catalog, asked, replace=True)),
        Endpoint("/delete", "Delete documents by ids or by a condition", tag, schemas.Delete,
                 schemas.Changed, lambda asked: _delete(catalog, asked)),
    ]  # fmt: skip
    return [
        Endpoint("/search", "Search an index", tag, schemas.Search, schemas.Hits,
                 lambda asked: _search(catalog, asked)),
        Endpoint("/get", "Documents by their ids", tag, schemas.Get, schemas.Documents,
                 lambda asked: _get(catalog, asked)),
        *changes,
    ]  # fmt: skip


def _search(catalog: Catalog, asked: schemas.Search) -> Answer:
    entry = catalog.find(asked.index, index=True)
    index, started = entry.index(), time.perf_counter()
    hits = index.search(
        asked.query, asked.k, mode=asked.mode, weight=asked.weight, fusion=asked.fusion, where=asked.filter
    )
    marker = Marker(index.analyzer, asked.query) if asked.explain else None
    weighed = asked.weight is not None or asked.fusion != "scores"
    body = {
        "index": entry.name,
        "mode": asked.mode or ("hybrid" if weighed else index.settings.mode),
        "hits": [_hit(hit, marker) for hit in hits],
        "milliseconds": round((time.perf_counter() - started) * 1000, 3),
    }
    return Answer(dumps(body), entry.name, 1)


def _hit(hit: Hit, marker: Marker | None) -> dict[str, Any]:
    said = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "id": hit.id,
        "text": hit.text,
        "metadata": hit.metadata,
    }
    return said if marker is None else said | {"marks": marker.marks(hit.text)}


def _get(catalog: Catalog, asked: schemas.Get) -> Answer:
    entry = catalog.find(asked.index, index=True)
    found = entry.index().get(asked.ids)
    return Answer(dumps({"index": entry.name, "documents": found}), entry.name)


def _add(catalog: Catalog, asked: schemas.Add, *, replace: bool) -> Answer:
    entry = catalog.find(asked.index, index=True)
    if len(asked.documents) > catalog.options.max_batch:
        raise ApiError(
            422,
            f"the request has {len(asked.documents):,} documents; send {catalog.options.max_batch:,} at most "
            "at once",
            "batch_too_large",
            "documents",
        )
    documents = [document.model_dump() for document in asked.documents]
    count = entry.change(lambda index: index.add(documents, replace=replace))
    return _changed(catalog, entry.name, count)


def _delete(catalog: Catalog, asked: schemas.Delete) -> Answer:
    entry = catalog.find(asked.index, index=True)
    count = entry.change(lambda index: index.delete(asked.ids, where=asked.filter))
    return _changed(catalog, entry.name, count)


def _changed(catalog: Catalog, name: str, count: int) -> Answer:
    left = len(catalog.entries[name].index())
    return Answer(dumps({"index": name, "changed": count, "documents": left}), name, count)
