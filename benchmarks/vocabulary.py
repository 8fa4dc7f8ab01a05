"""What a grown vocabulary gains on development pairs, with the rate tuned in each arm. The last line is JSON.

python benchmarks/vocabulary.py [PAIRS...] [--rows 0,2000,10000,30000] [--kinds words,pairs,both]
    [--rates 0.1,0.2,0.3] [--seeds 1]

So many rows are asked for words, for pairs of words, or for each of both; there may be fewer that occur
five times. PAIRS are files of pairs or the word python-docs. Each set is split without near-duplicates;
the test part is not looked at. An arm is trained with the default recipe at every rate, and the best
rate's NDCG@10 on the development pairs is its figure (the mean of the seeds, which change the order of the
pairs and not the split). Tokens are those of the training pairs' distinct texts.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from statim import threads
from statim.data.detect_task import read_supervision
from statim.data.pairs.python_docs import python_docs
from statim.data.split import split
from statim.training.datasets.sets import training_data
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.validation import Validation
from statim.training.start import grow_start, start_from

DEVELOPMENT, TEST = 2000, 2000  # pairs held out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sources", nargs="*", default=["python-docs"])
    parser.add_argument("--rows", default="0,2000,10000,30000")
    parser.add_argument("--kinds", default="words,pairs,both")
    parser.add_argument("--rates", default="0.1,0.2,0.3")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]
    found = []
    for source in arguments.sources:
        parts = split(pairs(source), development=DEVELOPMENT, test=TEST)
        print(f"{source}: {parts}")
        for rows in map(int, arguments.rows.split(",")):
            for kind in arguments.kinds.split(",") if rows else ["none"]:
                arm = measure(parts, rows, kind, rates, range(arguments.seeds))
                found.append({"set": Path(source).parent.name or source, "rows": rows, "kind": kind, **arm})
                show(found[-1])
    machine = platform.processor() or platform.machine()
    print(json.dumps({"benchmark": "vocabulary", "machine": machine, "arms": found}))


def pairs(source: str) -> Any:
    """The pairs of a file, or of this machine's Python documentation."""
    return read_supervision(python_docs(None) if source == "python-docs" else source, kind="pairs")


def measure(parts: Any, rows: int, kind: str, rates: list[float], seeds: range) -> dict[str, Any]:
    """One arm: NDCG@10 by rate, tokens and seconds."""
    workers = threads.count()
    start = start_from(None, None, parts.train, False)
    began = time.perf_counter()
    if rows:
        more = {"words": 0 if kind == "pairs" else rows, "pairs": 0 if kind == "words" else rows}
        start = grow_start(start, parts.train, threads=workers, **more)
    grown = time.perf_counter() - began
    data = training_data(parts.train, start.tokenizer, threads=workers)
    development = Validation(parts.development, start.tokenizer, start.settings, workers)
    scores, seconds, untrained = {}, [], None
    for rate in rates:
        each = []
        for seed in seeds:
            recipe = Recipe.make(len(parts.train), start.dim, learning_rate=rate, seed=seed)
            table = start.table(data, recipe)
            untrained = untrained or development.score(table)
            optimizer = begin(table, data, recipe, workers)
            began = time.perf_counter()
            fit(data, optimizer, recipe)
            seconds.append(time.perf_counter() - began)
            each.append(development.score(optimizer.current()))
        scores[rate] = sum(each) / len(each)
    best = max(scores, key=lambda rate: scores[rate])
    return {
        "words": start.grown.words if start.grown else 0,
        "pairs": len(start.grown) - start.grown.words if start.grown else 0,
        "start": untrained,
        "ndcg@10": scores[best],
        "rate": best,
        "by_rate": scores,
        "tokens": int(data.bags.totals.sum()),
        "entries": len(data.bags.ids),
        "seconds": {"grow": round(grown, 2), "train": round(sorted(seconds)[len(seconds) // 2], 2)},
    }


def show(arm: dict[str, Any]) -> None:
    """A line of the table."""
    rates = " ".join(f"{rate:g}:{score:.4f}" for rate, score in arm["by_rate"].items())
    print(
        f"{arm['set']:20} {arm['kind']:6} {arm['rows']:7,} (words {arm['words']:6,}, pairs "
        f"{arm['pairs']:6,})  start {arm['start']:.4f}  NDCG@10 {arm['ndcg@10']:.4f}  {rates}  tokens "
        f"{arm['tokens']:,} entries {arm['entries']:,}  grow {arm['seconds']['grow']:.1f} s  train "
        f"{arm['seconds']['train']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
