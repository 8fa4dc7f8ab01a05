"""Where a training step's time goes. The last line is JSON.

python benchmarks/training_step.py [FILE ...] [--batch 1024] [--dim 512] [--epochs 3] [--limit 100000]
    [--precision int8]

Without files, the pairs are the Python documentation of the packages in packages.py.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from packages import PACKAGES
from statim import threads
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs.reading import read_pairs
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Assembler, Schedule
from statim.training.initial_tables import random_table
from statim.training.loop import trainer
from statim.training.loop.optimizer import SparseAdam
from statim.training.losses import objectives
from statim.training.recipe import Recipe
from statim.vocabulary import learn_wordpiece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=None, help="use only so many pairs")
    parser.add_argument("--precision", default="int8")
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.files) if arguments.files else python_docs(PACKAGES)
    pairs = pairs.select(range(min(arguments.limit or len(pairs), len(pairs))))
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    workers = threads.count()
    data = TrainingSet.of(pairs, tokenizer, threads=workers)
    recipe = Recipe.make(
        len(data),
        None,
        dim=arguments.dim,
        batch=arguments.batch,
        epochs=arguments.epochs,
        precision=arguments.precision,
    )
    steps = Schedule(data, recipe).steps * recipe.epochs
    taken: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*positional: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*positional, **named)
            taken.setdefault(name, []).append(time.perf_counter() - started)
            return result

        return wrapped

    Assembler.__call__ = timed("assemble (ahead)", Assembler.__call__)  # type: ignore[method-assign]
    SparseAdam.plan = timed("plan: sort by row (ahead)", SparseAdam.plan)  # type: ignore[method-assign]
    SparseAdam.read = timed("read: catch up, pool", SparseAdam.read)  # type: ignore[method-assign]
    SparseAdam.update = timed("update: gather, Adam", SparseAdam.update)  # type: ignore[method-assign]
    objectives.contrastive = timed("loss and gradient", objectives.contrastive)
    for _ in range(2):  # the first time compiles
        taken.clear()
        table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
        adam = trainer.begin(table, data, recipe, workers)
        started = time.perf_counter()
        trainer.fit(data, adam, recipe)
        seconds = time.perf_counter() - started
    milliseconds = {name: round(statistics.median(values) * 1e3, 2) for name, values in taken.items()}
    for name, median in milliseconds.items():
        print(f"{name:28} {median:8.2f} ms")
    result = {
        "benchmark": "training_step", "machine": platform.processor() or platform.machine(),
        "threads": workers, "batch": recipe.batch,
        "dim": recipe.dim, "levels": list(recipe.levels), "precision": recipe.precision,
        "milliseconds": milliseconds,
        "step_milliseconds": round(seconds / steps * 1e3, 2),
        "pairs_per_second": round(steps * recipe.batch / seconds),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
