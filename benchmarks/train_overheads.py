"""What share of a training's time checkpoints and evaluations take. The last line is JSON.

    python benchmarks/train_overheads.py [FILE ...] [--epochs 40] [--dim 512] [--batch 1024] [--rounds 3]

``statim train``'s own training, as by default: checkpoints by the clock (10 seconds apart or further),
evaluations a few times an epoch on 1,000 development pairs. Rounds are interleaved: without both, with
evaluations, with checkpoints, with both. Two shares are given: that of the seconds which the training
itself waited, counted in the run with both; and what the run takes longer than the one without, which
holds what a checkpoint's way to the disk costs behind it, and the noise of the machine. A training should
take well over ten seconds, or there is no checkpoint in it.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from from_disk import write_pairs
from packages import PACKAGES
from statim import threads
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs.reading import read_pairs
from statim.data.split import split
from statim.training.run import callbacks, checkpoint
from statim.training.train import train

HELD_OUT = 1000  # development pairs
KINDS = {  # evaluations, checkpoints
    "plain": (False, False),
    "evaluations": (True, False),
    "checkpoints": (False, True),
    "both": (True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", default=None)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=None)
    asked = parser.parse_args()
    os.environ["STATIM_CACHE"] = tempfile.mkdtemp()
    pairs = read_pairs(asked.files) if asked.files else python_docs(PACKAGES)
    if asked.limit is not None:
        pairs = pairs.select(range(min(asked.limit, len(pairs))))
    parts = split(pairs, development=HELD_OUT, test=0, seed=0)
    held = Path(tempfile.mkdtemp()) / "development.jsonl"
    write_pairs(parts.development, held)
    pairs, waited = parts.train, Waited()
    # loads, compiles, fills the cache
    run(pairs, held, asked, waited, "both", epochs=1, checkpoint_every=1_000_000)
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for number in range(asked.rounds):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            found[kind].append(run(pairs, held, asked, waited, kind))
            print(f"round {number + 1}, {kind}: {found[kind][-1]}", flush=True)
    seconds = {kind: [one["seconds"] for one in runs] for kind, runs in found.items()}
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    result: dict[str, Any] = {
        "benchmark": "train_overheads", "machine": platform.processor() or platform.machine(),
        "threads": threads.count(),
        "pairs": found["both"][0]["pairs"], "epochs": asked.epochs, "dim": asked.dim, "batch": asked.batch,
        "seconds": {kind: round(value, 2) for kind, value in medians.items()},
        "longer_than_plain": {kind: round(value / medians["plain"] - 1, 4) for kind,
            value in medians.items()},
    }  # fmt: skip
    for name in ("evaluations", "checkpoints"):
        both = found["both"]
        result[name] = {
            "count": statistics.median(one[name]["count"] for one in both),
            "waited_seconds": round(statistics.median(one[name]["seconds"] for one in both), 3),
            "waited_share": round(
                statistics.median(one[name]["seconds"] / one["seconds"] for one in both), 4
            ),
        }
        print(
            f"{name}: {result[name]['count']}, {100 * result[name]['waited_share']:.2f} % of the time "
            f"waited, {100 * result['longer_than_plain'][name]:.2f} % longer than without"
        )
    print(json.dumps(result))


class Waited:
    """Counts and times the calls by which a training waits."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._time(callbacks.Callbacks, "_evaluate", "evaluations")
        self._time(checkpoint.Checkpoints, "save", "checkpoints")

    def reset(self) -> None:
        """Begin anew."""
        self.found = {name: {"count": 0, "seconds": 0.0} for name in ("evaluations", "checkpoints")}

    def _time(self, owner: type, name: str, words: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self.found[words]["count"] += 1
                self.found[words]["seconds"] += time.perf_counter() - began

        setattr(owner, name, timed)


def run(
    pairs: Any,
    held: Path,
    asked: argparse.Namespace,
    waited: Waited,
    kind: str,
    *,
    epochs: int = 0,
    **given: Any,
) -> dict[str, Any]:
    """One training: its seconds, without reading, splitting and tokenizing; and what it waited for."""
    waited.reset()
    evaluate, keep = KINDS[kind]
    disk = Path("out")  # the system's own folder may be memory
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        result = train(
            pairs, out=Path(folder) / "model", start="random", dim=asked.dim, batch=asked.batch, heldout=0,
            development=held if evaluate else 0, keep_checkpoints=None if keep else 0, baselines=False,
            epochs=epochs or asked.epochs, **given,
        )  # fmt: skip
    parts = {
        name: {"count": int(one["count"]), "seconds": round(one["seconds"], 3)}
        for name, one in waited.found.items()
    }
    return {"seconds": round(result.seconds["train"], 3), "pairs": result.pairs["train"], **parts}


if __name__ == "__main__":
    main()
