"""The three stores on the same real texts: building, changes, searches, recall@10 and disk.

The last line is JSON.

python benchmarks/stores.py FOLDERS... --model MODEL [--texts 100000] [--stores folder,lancedb,postgresql]

The texts have a column ``year`` of twenty values. Building goes from texts to an index that answers
(encoding and words included); then single queries by vectors alone, without a filter, with one that lets
half through and one that lets a twentieth through, and all queries at once; then 1,000 documents are
added, replaced, and deleted, each in one change, and recall is measured again. Queries are texts that are
not in the index. Truth is every vector compared in float32. Each store has a process of its own;
PostgreSQL is the one of the package pgserver, on the same machine, with its own settings, so processor
seconds leave out what it takes.
"""

import argparse
import contextlib
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from duplicates import alone
from texts import write_texts

CHANGED, QUERIES, YEARS, K = 1000, 200, 20, 10
FILTERS = {"none": (None, YEARS), "half": ("year < 10", 10), "twentieth": ("year < 1", 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--stores", default="folder,lancedb,postgresql")
    asked = parser.parse_args()
    found: dict[str, Any] = {"benchmark": "stores", "machine": platform.processor() or platform.machine()}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "texts.parquet"
        write_texts(asked.folders, 2 * (asked.texts + CHANGED + QUERIES), path)
        found["texts"] = asked.texts
        for store in asked.stores.split(","):
            found[store] = alone(measure, store, path, asked.model, asked.texts, Path(temporary) / store)
            print(f"{store}: {found[store]}", flush=True)
    print(json.dumps(found), flush=True)


def measure(store: str, path: Path, model_path: str, count: int, out: Path) -> dict[str, Any]:
    """Everything of one store."""
    from statim import Index, StaticModel

    model = StaticModel.load(model_path)
    texts = list(dict.fromkeys(pq.read_table(path).column("text").to_pylist()))
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: count + CHANGED + QUERIES]]
    documents, more, queries = np.split(np.array(texts, object), [-CHANGED - QUERIES, -QUERIES])
    years = np.random.default_rng(1).integers(0, YEARS, len(documents))
    table = pa.table({"id": list(map(str, range(len(documents)))), "text": list(documents), "year": years})
    vectors, asked = (model.encode(list(some), normalize=True) for some in (documents, queries))
    found: dict[str, Any] = {}
    with place(store, out) as where:
        model.encode(["a"])
        Index.build(
            model,
            table.slice(0, 300),
            where,
            table="warm",
            store=None if store == "postgresql" else store,
            overwrite=True,
        )
        with clock(found, "build"):
            index = Index.build(
                model, table, where, store=None if store == "postgresql" else store, overwrite=True
            )
        found["megabytes"] = round(index.info()["bytes"] / 1e6)
        for name, (condition, least) in FILTERS.items():
            found[name] = search(index, list(queries), asked, vectors, condition, years < least)
        with clock(found, "all_at_once"):
            index.search(list(queries), K, mode="vector")
        ids, new = [f"new {i}" for i in range(CHANGED)], list(more)
        with clock(found, "add"):
            index.add(new, ids=ids, metadata=[{"year": 0}] * CHANGED)
        with clock(found, "update"):
            index.update(new, ids=table.column("id").to_pylist()[:CHANGED], metadata=[{"year": 0}] * CHANGED)
        with clock(found, "delete"):
            index.delete(ids)
        vectors[:CHANGED] = model.encode(new, normalize=True)
        years[:CHANGED] = 0
        found["after_changes"] = search(index, list(queries), asked, vectors, None, years >= 0)
        found["megabytes_after_changes"] = round(index.info()["bytes"] / 1e6)
        found |= {key: value for key, value in index.info().items() if key in ("engine", "index", "hnsw")}
    return found


def search(
    index: Any, queries: list[str], asked: Any, vectors: Any, condition: str | None, allowed: Any
) -> dict[str, float]:
    """Recall@10 and the median time of single queries."""
    from statim.search.engines.exact_top_k import top_k

    which = np.flatnonzero(allowed & vectors.any(axis=1))
    truth = which[top_k(asked, vectors[which], K)[1]]
    index.search(queries[0], K, mode="vector", where=condition)
    hits, times, used = 0, [], time.process_time()
    for query, best in zip(queries, truth, strict=True):
        started = time.perf_counter()
        rows = index.search(query, K, mode="vector", where=condition)
        times.append(time.perf_counter() - started)
        hits += len({int(row.id) for row in rows if row.id.isdigit()} & set(best.tolist()))
    used = (time.process_time() - used) / len(queries)
    return {
        "recall": round(hits / truth.size, 4), "milliseconds": round(1000 * float(np.median(times)), 2),
        "cpu_milliseconds": round(1000 * used, 2),
    }  # fmt: skip


@contextlib.contextmanager
def place(store: str, out: Path) -> Iterator[str]:
    """Where the index goes."""
    if store != "postgresql":
        yield str(out)
        return
    import pgserver

    with tempfile.TemporaryDirectory(prefix="statim-postgres-", ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()


@contextlib.contextmanager
def clock(into: dict[str, Any], name: str) -> Iterator[None]:
    """Write down what a block takes."""
    wall, used = time.perf_counter(), time.process_time()
    yield
    into[f"{name}_seconds"] = round(time.perf_counter() - wall, 2)
    into[f"{name}_cpu_seconds"] = round(time.process_time() - used, 2)


if __name__ == "__main__":
    main()
