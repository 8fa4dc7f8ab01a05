"""Searches a second of one index that several threads search at once, in a process that is cold or warm.

    python benchmarks/clients.py [--vectors 100000] [--dim 256] [--seconds 5] [--mode vector]
        [--threads 1,2,4,8]

For each number of threads, two processes of their own: a cold one opens the index and searches; a warm one
has encoded and searched a batch before, which loads the compiled code. Prints searches a second, and the
median and the 95th percentile of the time of one search in milliseconds, over all searches; the first one
is printed apart.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.model import StaticModel
from statim.search.index import Index

WORDS = [f"word{number}" for number in range(30_000)]


def build(path: Path, vectors: int, dim: int) -> None:
    """An index of random texts of 12 words."""
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    random = np.random.default_rng(0)
    model = StaticModel(random.standard_normal((len(WORDS) + 1, dim)).astype(np.float32), backend)
    Index.build(model, queries(vectors, 12, 1), path, store="folder", engine="exact")


def queries(count: int, length: int, seed: int) -> list[str]:
    """Texts of random words."""
    random = np.random.default_rng(seed)
    return [" ".join(row) for row in np.array(WORDS)[random.integers(0, len(WORDS), (count, length))]]


def measure(path: Path, clients: int, seconds: float, mode: str, *, warm: bool) -> dict[str, float]:
    """Search from ``clients`` threads for some seconds."""
    asked, taken = queries(4096, 4, 2), []
    start = time.perf_counter()
    index = Index.load(path)
    if warm:
        index.model.encode(asked)
        index.search(asked, mode=mode)
    index.search(asked[0], mode=mode)
    first = time.perf_counter() - start
    stop = time.perf_counter() + seconds

    def client(number: int) -> None:
        place = number * 31
        while (now := time.perf_counter()) < stop:
            index.search(asked[place % len(asked)], mode=mode)
            taken.append(time.perf_counter() - now)
            place += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p95 = np.percentile(taken, [50, 95]) * 1000
    return {"first": first * 1000, "searches": len(taken) / seconds, "p50": p50, "p95": p95}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mode", default="vector")
    parser.add_argument("--threads", default="1,2,4,8")
    parser.add_argument("--index", type=Path, help="an index that this built before, or where to build one")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        clients, warm = options.one.split(",")
        found = measure(options.index, int(clients), options.seconds, options.mode, warm=warm == "warm")
        sys.stdout.write(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        index = options.index or Path(folder) / "index"
        if not index.exists():
            build(index, options.vectors, options.dim)
        sys.stdout.write("process  threads  searches/s   p50 ms   p95 ms  load and first, ms\n")
        for kind in ("cold", "warm"):
            for clients in options.threads.split(","):
                command = [sys.executable, __file__, "--index", str(index), "--one", f"{clients},{kind}",
                           "--seconds", str(options.seconds), "--mode", options.mode]  # fmt: skip
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                row = json.loads(done.stdout)
                sys.stdout.write(
                    f"{kind:7}  {clients:>7}  {row['searches']:10.1f}  {row['p50']:7.2f}  "
                    f"{row['p95']:7.2f}  {row['first']:18.0f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
