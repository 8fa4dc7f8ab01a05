"""What a training needs in seconds and memory as its data grow. The last line is JSON.

python benchmarks/train_memory.py FOLDER... [--sizes 10000,100000,all] [--grow 5000000] [--epoch]
    [--batch 512] [--dim 512]
    [--mix proportional] [--precision bf16]

FOLDERs hold files of pairs (train.jsonl.gz). Each size runs in a process of its own with an empty cache,
by the functions that statim train calls in their order. ``--grow`` adds sizes beyond the real data: copies
with their words in another order, so that they are no near-duplicates, and a number. At most so many steps
as give a rate are trained; ``--epoch`` trains a whole epoch of all files, each a set of its own, mixed as
``--mix`` says. Memory without the table and its moments: the largest that was resident, mapped files and
imports included; the same less what was resident after the imports; and the largest that was anonymous
(neither a mapped file nor a library's, the interpreter's own objects included), looked at every 20 ms.
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
import threading
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
    parser.add_argument("--epoch", action="store_true", help="only all pairs, in sets, and a whole epoch")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--mix", default="together", choices=("together", "proportional", "turn"))
    parser.add_argument("--precision", default="bf16", choices=("int8", "bf16", "fp32"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure([str(path) for path in arguments.folders], arguments)))
        return
    files = sorted(path for folder in arguments.folders for path in folder.rglob("train.jsonl*"))
    if not files:
        raise SystemExit(f"no train.jsonl or train.jsonl.gz in {', '.join(map(str, arguments.folders))}")
    found = []
    sizes = "all" if arguments.epoch else arguments.sizes
    disk = Path("out").resolve()  # the system's own folder may be memory
    disk.mkdir(exist_ok=True)
    for size in filter(None, sizes.split(",") + arguments.grow.split(",")):
        with tempfile.TemporaryDirectory(dir=disk) as folder:
            given = files if size == "all" else [written(files, int(size), Path(folder) / "pairs.jsonl")]
            recipe = ["--batch", str(arguments.batch), "--dim", str(arguments.dim), "--mix", arguments.mix]
            recipe += ["--precision", arguments.precision]
            recipe += ["--epoch"] if arguments.epoch else []
            command = [sys.executable, __file__, "--child", *recipe, *map(str, given)]
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


def measure(files: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """One training: seconds and peak memory of each part."""
    anonymous = Anonymous()
    started, busy_then = time.perf_counter(), time.process_time()
    from statim import threads
    from statim.data import read_pairs, split
    from statim.training.datasets.bags import TrainingSet
    from statim.training.datasets.batches import Schedule
    from statim.training.initial_tables import random_table
    from statim.training.loop.optimizer import SparseAdam
    from statim.training.loop.trainer import fit, learning_rates
    from statim.training.recipe import Recipe
    from statim.vocabulary import learn_wordpiece

    parts: dict[str, list[float]] = {}

    def lap(name: str) -> None:
        nonlocal started, busy_then
        now, busy_now = time.perf_counter(), time.process_time()
        parts[name] = [round(now - started, 2), round(busy_now - busy_then, 2), round(peak())]
        started, busy_then = now, busy_now

    lap("imports")
    imported, imported_anonymous = peak(), anonymous.now()
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
    recipe = Recipe.make(
        len(data), None, batch=asked.batch, dim=asked.dim, epochs=1, mix=asked.mix, precision=asked.precision
    )
    schedule = Schedule(data, recipe)
    steps = schedule.steps if asked.epoch else min(STEPS, schedule.steps)
    table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
    optimizer = SparseAdam(
        table, learning_rates(steps, recipe), workers, recipe.clip, precision=recipe.precision
    )
    wall, busy = [], []

    def on_step(*_: Any) -> None:
        wall.append(time.perf_counter())
        busy.append(time.process_time())

    fit(data, optimizer, recipe, on_step=on_step)
    lap("train")
    state = (optimizer.table.nbytes + optimizer.first.nbytes + optimizer.second.nbytes) / 2**20
    step, own = (statistics.median(np.diff(times)[len(times) // 4 :]) for times in (wall, busy))
    return {
        "pairs": len(pairs), "trained": len(kept), "sets": len(kept.names), "texts": len(data.bags.totals),
        "threads": workers,
        "batch": recipe.batch, "dim": recipe.dim, "levels": list(recipe.levels), "mix": recipe.mix,
        "steps": steps,
        "whole_epoch": steps == schedule.steps, "seconds, those of the processors, peak MB": parts,
        "seconds_of_the_steps": parts["train"][0],
        "pairs_per_second": round(schedule.size / step), "processor_ms_per_step": round(own * 1e3, 1),
        "pairs_per_second_of_all_steps": round(steps * schedule.size / parts["train"][0]),
        "table_and_moments_mb": round(state), "peak_mb": round(peak()), "imports_mb": round(imported),
        "peak_beyond_mb": round(peak() - state),
        "peak_beyond_imports_too_mb": round(peak() - state - imported),
        "peak_anonymous_beyond_mb": round(anonymous.peak() - state),
        "peak_anonymous_beyond_imports_too_mb": round(anonymous.peak() - state - imported_anonymous),
    }  # fmt: skip


class Anonymous:
    """Resident memory that is no file's, in MB; looked at by a thread."""

    def __init__(self) -> None:
        self._peak = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, self.now())
            time.sleep(0.02)

    def now(self) -> float:
        """At this moment."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    def peak(self) -> float:
        """The largest so far."""
        return max(self._peak, self.now())


def peak() -> float:
    """The largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(run: dict[str, Any]) -> None:
    """For a person."""
    laps = ", ".join(
        f"{name} {seconds:.1f} s ({busy:.1f} of the processors, {mb:,} MB)"
        for name, (seconds, busy, mb) in run["seconds, those of the processors, peak MB"].items()
    )
    steps = "a whole epoch" if run["whole_epoch"] else f"{run['steps']:,} steps"
    print(
        f"{run['pairs']:,} pairs of {run['sets']} sets: {laps}; {steps} of {run['batch']:,} pairs in "
        f"{run['seconds_of_the_steps']:.1f} s, {run['pairs_per_second']:,} pairs/s, "
        f"{run['processor_ms_per_step']} ms of processor a step; peak {run['peak_beyond_mb']:,} MB beyond "
        f"table and moments of {run['table_and_moments_mb']} MB, {run['peak_beyond_imports_too_mb']:,} MB "
        f"without imports, {run['peak_anonymous_beyond_mb']:,} and "
        f"{run['peak_anonymous_beyond_imports_too_mb']:,} MB of it anonymous",
        flush=True,
    )


if __name__ == "__main__":
    main()
