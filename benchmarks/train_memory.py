"""What a training needs in seconds and memory as its data grow. The last line is JSON.

python benchmarks/train_memory.py FOLDER... [--sizes 10000,100000,all] [--grow 5000000]

FOLDERs hold files of pairs (train.jsonl.gz). Each size runs in a process of its own with an empty cache, by the functions that
statim train calls in their order. ``--grow`` adds sizes beyond the real data: copies with their words in another order, so that
they are no near-duplicates, and a number. Memory is the largest that was resident, mapped files and imports included, without
the table and its moments.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

STEPS = 400  # of training at most: enough for a rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sizes", default="10000,100000,all")
    parser.add_argument("--grow", default="", help="numbers of pairs, like 5000000,20000000")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure([str(path) for path in arguments.folders])))
        return
    files = sorted(path for folder in arguments.folders for path in folder.rglob("train.jsonl*"))
    if not files:
        raise SystemExit(f"no train.jsonl or train.jsonl.gz in {', '.join(map(str, arguments.folders))}")
    found = []
    for size in filter(None, arguments.sizes.split(",") + arguments.grow.split(",")):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            given = files if size == "all" else [written(files, int(size), Path(folder) / "pairs.jsonl")]
            command = [sys.executable, __file__, "--child", *map(str, given)]
            environment = os.environ | {"STATIM_CACHE": f"{folder}/cache"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        show(found[-1])
    machine = platform.processor() or platform.machine()
    print(json.dumps({"benchmark": "train_memory", "machine": machine, "runs": found}))


def written(files: list[Path], size: int, path: Path) -> Path:
    """A file of so many pairs: evenly taken from the real ones, or those and altered copies of them."""
    from statim.data import read_pairs

    pairs = read_pairs(files)
    step = max(1, len(pairs) // size)
    count = 0
    with path.open("w") as file:
        for copy in range(1, 1000):
            for start, stop in pairs.bounds():
                chosen = pa.array(range(start + -start % step, stop, step), pa.int64())
                for anchor, positive in zip(
                    pairs.anchors.take(chosen).to_pylist(),
                    pairs.positives.take(chosen).to_pylist(),
                    strict=True,
                ):
                    row = {"anchor": strided(anchor, copy), "positive": strided(positive, copy)}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
                    if count == size:
                        return path
    raise SystemExit(f"{len(pairs):,} pairs are too few to grow to {size:,}")


def strided(text: str, copy: int) -> str:
    """Every ``copy``-th word, then those after them …: the same words, other neighbours."""
    if copy == 1:
        return text
    words = text.split()
    return " ".join([*(word for first in range(copy) for word in words[first::copy]), str(copy)])


def measure(files: list[str]) -> dict[str, Any]:
    """One training: seconds and peak memory of each part."""
    from statim import threads
    from statim.data import read_pairs, split
    from statim.training.bags import TrainingSet
    from statim.training.batches import Schedule
    from statim.training.optimizer import SparseAdam
    from statim.training.recipe import Recipe
    from statim.training.start import random_table
    from statim.training.trainer import fit, learning_rates
    from statim.vocabulary import learn_wordpiece

    parts: dict[str, list[float]] = {}
    started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        parts[name] = [round(time.perf_counter() - started, 2), round(peak())]
        started = time.perf_counter()

    lap("imports")
    pairs = read_pairs(files)
    lap("read")
    hash(pairs.hash)
    lap("hash")
    wanted = min(2000, len(pairs) // 10)
    kept = split(pairs, development=wanted // 2, test=wanted).train
    lap("split")
    tokenizer = learn_wordpiece([kept.anchors, kept.positives])
    lap("vocabulary")
    workers = threads.count()
    data = TrainingSet.of(kept, tokenizer, threads=workers)
    lap("tokenize")
    recipe = Recipe.make(len(data), None, batch=1024, dim=512, epochs=1)
    schedule = Schedule(data, recipe)
    table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
    optimizer = SparseAdam(table, learning_rates(min(STEPS, schedule.steps), recipe), workers, recipe.clip)
    wall, busy = [], []

    def on_step(*_: Any) -> None:
        wall.append(time.perf_counter())
        busy.append(time.process_time())

    fit(data, optimizer, recipe, on_step=on_step)
    lap("train")
    state = 3 * table.nbytes / 2**20
    step, own = (statistics.median(np.diff(times)[len(times) // 4 :]) for times in (wall, busy))
    return {
        "pairs": len(pairs), "texts": len(data.bags.totals), "threads": workers, "seconds and peak MB": parts,
        "pairs_per_second": round(recipe.batch / step), "processor_ms_per_step": round(own * 1e3, 1),
        "table_and_moments_mb": round(state), "peak_mb": round(peak()), "peak_beyond_mb": round(peak() - state),
    }  # fmt: skip


def peak() -> float:
    """The largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(run: dict[str, Any]) -> None:
    """For a person."""
    laps = ", ".join(
        f"{name} {seconds:.1f} s ({mb:,} MB)" for name, (seconds, mb) in run["seconds and peak MB"].items()
    )
    print(f"{run['pairs']:,} pairs: {laps}; {run['pairs_per_second']:,} pairs/s, {run['processor_ms_per_step']} ms of processor a step; "
          f"peak {run['peak_beyond_mb']:,} MB beyond table and moments of {run['table_and_moments_mb']} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
