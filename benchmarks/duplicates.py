"""Near-duplicates of a million real texts: statim, and semhash on a part. The last line is JSON.

python benchmarks/duplicates.py FOLDERS... --model MODEL [--texts 1000000] [--threshold 0.9] [--subset 100000] [--peer semhash]

Each run is a process of its own. Its seconds go from texts in a Parquet file to groups (reading, encoding, comparing, grouping);
loading of libraries and compiled code is left out by a first run on few texts. Processor seconds are given too: on a machine that is
shared, half of them is what two free cores would take at best. Recall: of 4,096 texts that were drawn anew and compared with all
others exhaustively, the share of pairs that was found; and on the subset, of all pairs, against exhaustive comparison. Every pair that
is found is truly above the threshold.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from texts import write_texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--subset", type=int, default=100_000)
    parser.add_argument("--peer", choices=["semhash", "none"], default="semhash")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "benchmark": "duplicates", "machine": platform.processor() or platform.machine(), "threshold": asked.threshold,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        path, subset = Path(temporary) / "texts.parquet", Path(temporary) / "subset.parquet"
        found["texts"] = write_texts(asked.folders, asked.texts, path)
        write_texts(asked.folders, asked.subset, subset, seed=1)
        for name, function, file in (
            ("statim", statim, path),
            ("subset", compare_exactly, subset),
            *([("semhash", semhash, subset)] if asked.peer == "semhash" else []),
        ):
            found[name] = alone(function, file, asked.model, asked.threshold)
            print(f"{name}: {found[name]}", flush=True)
    print(json.dumps(found), flush=True)


def alone(function: Any, *given: Any) -> Any:
    """Run a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, given)


class Clock:
    """Seconds of the wall and of the processors, and the peak of memory so far."""

    def __init__(self) -> None:
        self.wall, self.processors = time.perf_counter(), time.process_time()

    def read(self, count: int) -> dict[str, Any]:
        """Figures of a run over so many texts."""
        seconds, processors = time.perf_counter() - self.wall, time.process_time() - self.processors
        return {
            "seconds": round(seconds, 1),
            "processor_seconds": round(processors, 1),
            "texts_per_second": round(count / seconds),
            "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }


def statim(path: Path, model: str, threshold: float) -> dict[str, Any]:
    """Everything, cell by cell."""
    from statim.tasks import join
    from statim.tasks.duplicates import _recall, find_duplicates
    from statim.tasks.join import Sample

    join.FEW, few = 0, join.FEW
    find_duplicates([f"a text of number {i} and word {i % 7}" for i in range(200)], model)  # compiles, loads
    join.FEW = few
    clock = Clock()
    result = find_duplicates(path, model, threshold=threshold)
    found = clock.read(result.items.rows)
    figures = result.to_dict()
    found |= {
        name: figures[name]
        for name in ("rows", "different_vectors", "pairs", "groups", "kept", "recall_on_sample", "seconds")
        if name != "seconds"
    }
    found["phases"] = figures["seconds"]
    fresh = Sample(result.items, None, threshold, seed=12345)
    found["recall"] = round(_recall(fresh, result.pairs, threshold) or 0.0, 5)
    found["recall_pairs"] = len(fresh.pairs.left)
    return found


def compare_exactly(path: Path, model: str, threshold: float) -> dict[str, Any]:
    """A part by cells and exhaustively."""
    from statim.tasks.duplicates import find_duplicates

    found = {}
    for name, exact in (("cells", False), ("exhaustive", True)):
        clock = Clock()
        result = find_duplicates(path, model, threshold=threshold, exact=exact)
        found[name] = clock.read(result.items.rows) | {
            "kept": len(result.stays),
            "pairs": len(result.pairs.left),
        }
    found["recall"] = round(found["cells"]["pairs"] / max(1, found["exhaustive"]["pairs"]), 5)  # all are true
    return found


def semhash(path: Path, model: str, threshold: float) -> dict[str, Any]:
    """The same part by semhash, on the same model."""
    import pyarrow.parquet as pq

    try:
        from model2vec import StaticModel
        from semhash import SemHash
    except ImportError as error:
        return {"missing": str(error)}
    texts = pq.read_table(path).column("text").to_pylist()
    encoder = StaticModel.from_pretrained(model)
    SemHash.from_records(texts[:100], model=encoder).self_deduplicate(threshold=threshold)
    clock = Clock()
    result = SemHash.from_records(texts, model=encoder).self_deduplicate(threshold=threshold)
    return clock.read(len(texts)) | {"kept": len(result.selected)}


if __name__ == "__main__":
    main()
