"""Near-duplicates of a million real texts; on a part, semhash and exhaustive comparison beside them.

The last line is JSON.

python benchmarks/duplicates.py FOLDERS... --model MODEL [--texts 1000000] [--threshold 0.9]
    [--subset 100000] [--rounds 2] [--peer semhash]

Each run is a process of its own, and statim and semhash take turns. Seconds go from texts in a Parquet
file to groups (reading, encoding, comparing, grouping); loading of libraries and compiled code is left out
by a first run on few texts. Processor seconds are given too: on a machine that is shared, half of them is
what two free cores would take at best. semhash (as it is by default: usearch's graph) has the same model,
read by model2vec; how long that encodes is given by itself.

Recall: of 4,096 texts that were drawn anew and compared with all others exhaustively, the share of pairs
that was found; and on the part, of all pairs of different vectors, against exhaustive comparison. Left:
pairs at or above the threshold among the texts that stay, which should be none.
"""

import argparse
import json
import multiprocessing
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from texts import write_texts

PART = 200_000  # texts of which everything is compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--subset", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", action="store_true", help="let semhash have all texts, too")
    parser.add_argument("--peer", choices=["semhash", "none"], default="semhash")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "benchmark": "duplicates", "machine": platform.processor() or platform.machine(),
        "threshold": asked.threshold,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        path, subset = Path(temporary) / "texts.parquet", Path(temporary) / "subset.parquet"
        truth = Path(temporary) / "pairs.npz"
        if asked.texts:
            found["texts"] = write_texts(asked.folders, asked.texts, path)
            for function in (statim, *([semhash] if asked.peer == "semhash" and asked.large else [])):
                run = alone(function, path, asked.model, asked.threshold, truth)
                found[f"{function.__name__}, all"] = run
                print(f"{function.__name__}, all: {run}", flush=True)
        if asked.subset:
            found["subset"] = write_texts(asked.folders, asked.subset, subset, seed=1)
            found["exhaustive"] = alone(exhaustive, subset, asked.model, asked.threshold, truth)
            print(f"exhaustive: {found['exhaustive']}", flush=True)
        for _ in range(asked.rounds if asked.subset else 0):
            for function in (cells, *([semhash] if asked.peer == "semhash" else [])):
                run = alone(function, subset, asked.model, asked.threshold, truth)
                found.setdefault(function.__name__, []).append(run)
                print(f"{function.__name__}: {run}", flush=True)
    print(json.dumps(found), flush=True)


def alone(function: Any, *given: Any) -> Any:
    """Run a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, given)


def peak_memory() -> int:
    """The most bytes that this process had in memory, libraries and mapped files included.

    ``getrusage`` would count what its parent had when it was forked.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


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
            "peak_megabytes": peak_memory() >> 20,
        }


def deduplicated(
    path: Path, model: str, threshold: float, *, exact: bool = False
) -> tuple[Any, dict[str, Any]]:
    """What statim finds, by cells or by comparing everything, and its cost; a first run compiles."""
    from statim.tasks.duplicates.duplicates import find_duplicates
    from statim.tasks.similarity import similarity_join

    few = similarity_join.FEW
    similarity_join.FEW = few if exact else 0
    find_duplicates([f"a text of number {i} and word {i % 7}" for i in range(200)], model, exact=exact)
    similarity_join.FEW = few
    clock = Clock()
    result = find_duplicates(path, model, threshold=threshold, exact=exact)
    return result, clock.read(result.items.rows)


def statim(path: Path, model: str, threshold: float, out: Path) -> dict[str, Any]:
    """Everything, cell by cell; the pairs of a fresh sample are written into ``out``."""
    from statim.tasks.duplicates.duplicates import _recall
    from statim.tasks.similarity.similarity_join import Sample

    result, found = deduplicated(path, model, threshold)
    told = result.to_dict()
    names = ("rows", "different_vectors", "pairs", "groups", "kept", "recall_on_sample")
    found |= {name: told[name] for name in names} | {"phases": told["seconds"]}
    fresh = Sample(result.items, None, threshold, seed=12345)
    found["recall"] = round(_recall(fresh, result.pairs, threshold) or 0.0, 5)
    found["recall_pairs"] = len(fresh.pairs.left)
    np.savez(out, items=result.items.items_of, left=fresh.pairs.left, right=fresh.pairs.right)
    return found


def exhaustive(path: Path, model: str, threshold: float, out: Path) -> dict[str, Any]:
    """A part with everything compared; its pairs are written into ``out``."""
    result, found = deduplicated(path, model, threshold, exact=True)
    np.savez(out, items=result.items.items_of, left=result.pairs.left, right=result.pairs.right)
    return found | figures(result)


def cells(path: Path, model: str, threshold: float, truth: Path) -> dict[str, Any]:
    """The same part by statim, as it does it by itself: cell by cell."""
    result, found = deduplicated(path, model, threshold)
    left = left_over(result.items.text(result.stays).to_pylist(), model, threshold)
    with np.load(truth) as true:  # all pairs that are found are true
        recall = round(len(result.pairs.left) / len(true["left"]), 5)
    return found | figures(result) | {"recall": recall, "left": left}


def figures(result: Any) -> dict[str, Any]:
    """What was found, and where the seconds went."""
    phases = {name: round(value, 2) for name, value in result.seconds.items()}
    return {"kept": len(result.stays), "pairs": len(result.pairs.left), "phases": phases}


def semhash(path: Path, model: str, threshold: float, truth: Path) -> dict[str, Any]:
    """The same part by semhash, on the same model."""
    import pyarrow.parquet as pq

    try:
        from model2vec import StaticModel
        from semhash import SemHash
    except ImportError as error:
        return {"missing": str(error)}
    encoder = StaticModel.from_pretrained(model)
    SemHash.from_records([f"a text of number {i}" for i in range(100)], model=encoder).self_deduplicate(
        threshold=threshold
    )
    clock, encoding, proposed = Clock(), 0.0, []

    class Timed:
        def encode(self, *given: Any, **options: Any) -> Any:
            nonlocal encoding
            started = time.perf_counter()
            vectors = encoder.encode(*given, **options)
            encoding += time.perf_counter() - started
            return vectors

    texts = pq.read_table(path).column("text").to_pylist()
    index = SemHash.from_records(texts, model=Timed())
    query = index.index.query_threshold
    index.index.query_threshold = lambda *given, **options: (  # type: ignore[method-assign]
        proposed.append(query(*given, **options)) or proposed[-1]
    )
    result = index.self_deduplicate(threshold=threshold)
    found = clock.read(len(texts)) | {"kept": len(result.selected), "encoding_seconds": round(encoding, 2)}
    seen: dict[str, int] = {}
    for row, text in enumerate(texts):
        seen.setdefault(text, row)
    first = np.fromiter(seen.values(), np.int64)
    with np.load(truth) as true:
        items = true["items"]
        left = np.concatenate([np.full(len(near), i) for i, (near, _) in enumerate(proposed[0])])
        right = np.concatenate([near for near, _ in proposed[0]]).astype(np.int64)
        pairs = keys(items[first[left]], items[first[right]])
        recall = float(np.isin(keys(true["left"], true["right"]), pairs).mean())
    found["recall"] = round(recall, 5)
    if len(texts) <= PART:
        found["left"] = left_over(result.selected, model, threshold)
    return found


def keys(left: Any, right: Any) -> Any:
    """One number for each pair, whichever way round."""
    return np.minimum(left, right).astype(np.int64) << 32 | np.maximum(left, right)


def left_over(texts: list[str], model: str, threshold: float) -> int:
    """How many pairs are at or above the threshold, everything compared."""
    from statim.tasks.duplicates.duplicates import find_duplicates

    return len(find_duplicates(texts, model, threshold=threshold, exact=True).pairs.left)


if __name__ == "__main__":
    main()
