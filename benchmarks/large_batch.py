"""One loss and gradient of a very large batch: seconds, and memory beyond the vectors. The last line is JSON.

python benchmarks/large_batch.py [--batch 65536] [--dim 512] [--precision bf16]
"""

import argparse
import json
import platform
import resource
import time

import numpy as np

from statim import threads
from statim.training.datasets.batches import Targets
from statim.training.losses.contrastive import contrastive
from statim.training.recipe import LEAST_SHARE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--precision", default="bf16", choices=("int8", "bf16", "fp32"))
    arguments = parser.parse_args()
    B, d, workers, precision = arguments.batch, arguments.dim, threads.count(), arguments.precision
    levels = [d // 32, d // 16, d // 8, d // 4, d // 2, d]
    random = np.random.default_rng(0)
    anchors = random.standard_normal((B, d), dtype=np.float32)
    positives = random.standard_normal((B, d), dtype=np.float32)
    positives += np.float32(0.3) * anchors

    def run(rows: int, tile_columns: int | None = None) -> float:
        return contrastive(
            anchors[:rows], positives[:rows], Targets.plain(rows), levels=levels, precision=precision,
            threads=workers,
            tile_columns=tile_columns, least_share=LEAST_SHARE if precision == "int8" else 0.0,
        )[0]  # fmt: skip

    run(600, 128)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    loss = run(B)
    seconds = time.perf_counter() - started
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{B:,} pairs, {d} dimensions: {seconds:.1f} s, {megabytes:,.0f} MB beyond the vectors, loss "
        f"{loss:.3f}"
    )
    result = {
        "benchmark": "large_batch", "machine": platform.processor() or platform.machine(), "threads": workers,
        "batch": B, "dim": d,
        "levels": levels, "precision": precision, "seconds": round(seconds, 2),
        "pairs_per_second": round(B / seconds), "megabytes": round(megabytes),
        "vectors_megabytes": round((anchors.nbytes + positives.nbytes) / 2**20),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
