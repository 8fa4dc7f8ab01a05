"""What rounding costs and gains: the precisions of training side by side. The last line is JSON.

    python benchmarks/precision.py DATA [--set NAME,NAME] [--precision bf16,int8] [--seeds 3] [--limit 40000]

DATA is a folder of sets with train.jsonl.gz each. Every set is trained as ``statim train`` does by default,
once for each precision and seed, interleaved; the seed decides what is held out, the order of the pairs and
all random numbers. NDCG@10 is of the held-out questions, whose answers no training saw. Seconds are those of
training alone, by the clock and, for both threads together, of the processor.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from statim import threads
from statim.data.pairs.reading import read_pairs
from statim.training.loop.trainer import fit
from statim.training.run import launch
from statim.training.train import train

SETS = "debian-descriptions,medquad,open-trivia,squad-sentences,wordset-examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default=SETS)
    parser.add_argument("--precision", default="bf16,int8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=40_000)
    asked = parser.parse_args()
    precisions = asked.precision.split(",")
    rows: list[dict[str, Any]] = []
    for name in asked.set.split(","):
        for seed in range(asked.seeds):
            order = precisions if seed % 2 == 0 else precisions[::-1]
            for precision in order:
                rows.append(run(asked.data / name / "train.jsonl.gz", precision, seed, asked.limit))
                print(json.dumps(rows[-1]), flush=True)
    print(table(rows, precisions))
    print(json.dumps({"benchmark": "precision", "threads": threads.count(), "rows": rows}))


class Clock:
    """The training loop, timed."""

    def __init__(self, fit: Callable[..., None]) -> None:
        self.fit, self.wall, self.processor = fit, 0.0, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Train, and count what it takes."""
        wall, processor = time.perf_counter(), time.process_time()
        self.fit(*args, **kwargs)
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor


def run(path: Path, precision: str, seed: int, limit: int) -> dict[str, Any]:
    """One training: its quality on held-out questions, and its seconds."""
    pairs = read_pairs(path)
    chosen = np.random.default_rng(0).permutation(len(pairs))[:limit]
    clock = Clock(fit)
    vars(launch)["fit"] = clock
    result = train(pairs.select(np.sort(chosen)), precision=precision, seed=seed, baselines=False)
    return {
        "set": path.parent.name, "precision": precision, "seed": seed, "pairs": result.pairs["train"],
        "ndcg": result.ndcg()["trained"], "seconds": round(clock.wall, 2),
        "processor_seconds": round(clock.processor, 2),
    }  # fmt: skip


def table(rows: list[dict[str, Any]], precisions: list[str]) -> str:
    """Medians of each set and precision, and how far each lies from the first precision, in Markdown."""
    lines = [
        "| set | precision | NDCG@10 of each seed | mean | seconds | processor seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["set"] for row in rows):
        for precision in precisions:
            own = [row for row in rows if row["set"] == name and row["precision"] == precision]
            scores = [row["ndcg"] for row in sorted(own, key=lambda row: row["seed"])]
            seconds, used = (
                statistics.median(row[key] for row in own) for key in ("seconds", "processor_seconds")
            )
            shown = ", ".join(f"{score:.4f}" for score in scores)
            lines.append(
                f"| {name} | {precision} | {shown} | {statistics.mean(scores):.4f} | {seconds:.1f} | "
                f"{used:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
