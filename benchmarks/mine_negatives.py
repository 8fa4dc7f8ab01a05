"""Mining hard negatives: statim, exact and indexed, beside sentence-transformers on the same vectors.

The last line is JSON.

python benchmarks/mine_negatives.py [PAIRS --model MODEL] [--limit 100000] [--dim 384]
    [--peer-queries 16384] [--json PATH]

PAIRS is a file of pairs, of which a model makes the vectors; by default vectors are made up: texts of
2,000 topics in 400 dimensions' worth of noise. sentence-transformers' search goes query by query, so it
may be given the first part of the queries and its time be multiplied; the negatives of that part are
compared. Product rates are of one large torch.mm in the same run.
"""

import argparse
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from statim import mine_hard_negatives, threads
from statim.data.pairs.pairs import Pairs

OPTIONS: dict[str, Any] = {"relative_margin": 0.05, "num_negatives": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pairs", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--peer-queries", type=int, default=16_384)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    queries, documents = vectors(arguments)
    n, d = documents.shape
    workers = threads.count()
    torch.set_num_threads(workers)
    pairs = Pairs([f"anchor {i}" for i in range(n)], [f"document {i}" for i in range(n)])
    mine(
        pairs.select(np.arange(3000)), queries[:3000], documents[:3000], "index"
    )  # compiles, loads libraries
    found: dict[str, Any] = {
        "benchmark": "mine_negatives", "machine": platform.processor() or platform.machine(),
        "threads": workers, "queries": n,
        "documents": n, "dim": d, "vectors_megabytes": round((queries.nbytes + documents.nbytes) / 2**20),
    }  # fmt: skip
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        found[f"gflops_{name}"] = round(product_rate(d, kind))
    exact = None
    for search in ("exact", "index"):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        mined = mine(pairs, queries, documents, search)
        seconds = time.perf_counter() - started
        megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        found[search] = {
            "seconds": round(seconds, 2),
            "search_seconds": round(mined.seconds["search"], 2),
            "peak_megabytes": round(megabytes),
            "negatives": mined.report.found,
            "how": mined.report.search,
        }
        if exact is None:
            exact = negatives(mined.table)
            rate = 2 * n * n * d / mined.seconds["search"] / 1e9
            found[search] |= {
                "gflops": round(rate), "of_float32_rate": round(rate / found["gflops_float32"], 2),
                "of_bfloat16_rate": round(rate / found["gflops_bfloat16"], 2),
            }  # fmt: skip
        else:
            ours = negatives(mined.table)
            found[search]["same_negatives"] = round(len(ours & exact) / len(exact), 4)
        print(search, found[search])
    assert exact is not None
    part = min(arguments.peer_queries, n)
    seconds, theirs = peer(queries[:part], documents)
    same = {pair for pair in exact if int(pair[0].split()[1]) < part}
    found["sentence_transformers"] = {
        "queries": part, "seconds": round(seconds, 2), "seconds_for_all": round(seconds * n / part, 1),
        "same_negatives": round(len(same & theirs) / max(1, len(same)), 5),
    }  # fmt: skip
    print("sentence-transformers", found["sentence_transformers"])
    for search in ("exact", "index"):
        found[search]["times_faster"] = round(seconds * n / part / found[search]["seconds"], 1)
    line = json.dumps(found)
    if arguments.json:
        arguments.json.write_text(line + "\n")
    print(line)


def vectors(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Anchors and documents of the same number, float32."""
    if arguments.pairs:
        from statim import StaticModel
        from statim.data.pairs.reading import read_pairs

        pairs = read_pairs(arguments.pairs)
        some = pairs.select(np.arange(min(arguments.limit, len(pairs))))
        model = StaticModel.load(arguments.model)
        return model.encode_query(some.anchors), model.encode_document(some.positives)
    random = np.random.default_rng(0)
    n, d = arguments.limit, arguments.dim
    spread = (np.arange(1, d + 1) ** -0.4).astype(np.float32)  # as the principal parts of texts fall off
    topics = random.standard_normal((2000, d), dtype=np.float32)
    documents = topics[random.integers(2000, size=n)]
    documents += 1.2 * random.standard_normal((n, d), dtype=np.float32)
    anchors = documents + 0.8 * random.standard_normal((n, d), dtype=np.float32)
    return anchors * spread, documents * spread


def mine(pairs: Pairs, queries: Any, documents: Any, search: str) -> Any:
    return mine_hard_negatives(pairs, vectors=(queries, documents), search=search, **OPTIONS)


def negatives(table: Any) -> set[tuple[str, str]]:
    return set(zip(table.column("anchor").to_pylist(), table.column("negative").to_pylist(), strict=True))


def product_rate(d: int, kind: torch.dtype) -> float:
    """GFLOP/s of one large product."""
    a, b = torch.randn(8192, d).to(kind), torch.randn(8192, d).to(kind)
    out = torch.empty(8192, 8192, dtype=kind)
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(a, b.T, out=out)
        best = max(best, 2 * 8192 * 8192 * d / (time.perf_counter() - started) / 1e9)
    return best


def peer(queries: Any, documents: Any) -> tuple[float, set[tuple[str, str]]]:
    """Seconds of sentence-transformers' function, and its negatives."""
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import cos_sim, mine_hard_negatives, pairwise_cos_sim

    class Given:
        device = torch.device("cpu")

        def encode_query(self, *_: Any, **__: Any) -> Any:
            return queries

        def encode_document(self, *_: Any, **__: Any) -> Any:
            return documents

        similarity = staticmethod(cos_sim)
        similarity_pairwise = staticmethod(pairwise_cos_sim)

    disable_progress_bars()
    rows = range(len(queries))
    data = Dataset.from_dict(
        {"anchor": [f"anchor {i}" for i in rows], "positive": [f"document {i}" for i in rows]}
    )
    corpus = [f"document {i}" for i in range(len(documents))]
    started = time.perf_counter()
    found = mine_hard_negatives(data, Given(), corpus=corpus, verbose=False, **OPTIONS)
    seconds = time.perf_counter() - started
    return seconds, set(zip(found["anchor"], found["negative"], strict=True))


if __name__ == "__main__":
    main()
