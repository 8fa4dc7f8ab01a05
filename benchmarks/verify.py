"""What it costs to check digests when an index or a model is opened. The last line is JSON.

python benchmarks/verify.py [--gigabytes 1.5] [--rounds 7]
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import tokenizers
from tokenizers import models, pre_tokenizers

from statim import Index, StaticModel
from statim.digests import Verify

LEVELS = get_args(Verify)
DIM = 1024
WORDS = [
    f"w{number}" for number in range(30_000)
]  # a table as large as that of a usual model of 1,024 dimensions


def model() -> StaticModel:
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(WORDS) + 1, DIM)).astype(np.float32)
    return StaticModel(table, backend)


def build(path: Path, gigabytes: float) -> int:
    """An index of about so many bytes; gives how many they are."""
    count = max(1, round((gigabytes * 1e9 - len(WORDS) * DIM * 4) / (DIM * 4)))
    chosen = np.random.default_rng(1).choice(WORDS, (count, 3))
    texts = [" ".join(row) for row in chosen.tolist()]
    documents = pa.table({"id": [str(number) for number in range(count)], "text": texts})
    Index.build(model(), documents, path, engine="exact")
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def median(act: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def cold(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    opened, starts = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        size = build(path, arguments.gigabytes)
        Index.load(path, verify="always")  # from the disk, once
        for level in LEVELS:
            opened[level] = median(lambda level=level: Index.load(path, verify=level), arguments.rounds)
        where = str(path / "model")
        for level in LEVELS:
            program = f"import statim; statim.StaticModel.load({where!r}, verify={level!r}).encode('w1 w2')"
            starts[level] = median(lambda program=program: cold(program), arguments.rounds)
        table = (path / "model" / "model.safetensors").stat().st_size
    speed = size / (opened["always"] - opened["never"]) / 1e9
    for level in LEVELS:
        print(
            f"verify={level:8} an index of {size / 1e9:.2f} GB opens in {1000 * opened[level]:8.1f} ms, "
            f"a model of {table / 1e6:.0f} MB gives its first vector in {starts[level]:.3f} s"
        )
    print(f"every byte is read at {speed:.1f} GB/s")
    print(
        json.dumps({
            "benchmark": "verify", "machine": platform.processor() or platform.machine(), "bytes": size,
            "milliseconds_to_open": {level: round(1000 * seconds, 2) for level, seconds in opened.items()},
            "gigabytes_a_second": round(speed, 2), "model_bytes": table,
            "seconds_to_first_vector": {level: round(seconds, 3) for level, seconds in starts.items()},
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
