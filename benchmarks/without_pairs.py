"""The gain of training without pairs: a set's positives as a corpus, judged by its true pairs.

The last line is JSON.

python benchmarks/without_pairs.py PAIRS... [--arms "titles;crops;sentences,crops"] [--rounds 2]
    [--rates 0.05,0.1] [--limit 8000] [--seeds 1]

Of each set so many pairs are drawn and split without near-duplicates; the test part is not looked at. The
positives of the training part are the corpus (its anchors are not seen, but for "titles": there they are
taken for titles), from which each arm makes its pairs and trains the distilled start with the default
recipe, at every rate. The figure is NDCG@10 on the development part's true pairs, whose documents were not
in the corpus; the best rate's, and the mean of the seeds. Beside it: the start, BM25, the teacher, and the
same training on the true pairs. The vocabulary is not grown.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from statim import threads
from statim.data.documents.corpus import Corpus
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.data.pairs_from_documents import Parts, self_pairs
from statim.data.split import split
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.training.datasets.per_set import limited
from statim.training.datasets.sets import training_data
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.validation import Validation
from statim.training.start import Start, start_from

ARMS = "sentences;neighbours;crops;sentences,crops;sentences,neighbours,crops;titles;titles,sentences,crops"
NDCG = "ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--arms", default=ARMS)
    parser.add_argument("--rounds", default="2")
    parser.add_argument("--rates", default="0.05,0.1")
    parser.add_argument("--limit", type=int, default=8000)
    parser.add_argument("--development", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]
    rounds = [int(number) for number in arguments.rounds.split(",")]
    arms = [tuple(arm.split(",")) for arm in arguments.arms.split(";")]
    found = {
        Path(source).parent.name: measure(source, arguments, arms, rounds, rates)
        for source in arguments.sources
    }
    print(
        json.dumps(
            {
                "benchmark": "without_pairs",
                "machine": platform.processor() or platform.machine(),
                "sets": found,
            }
        )
    )


def measure(
    source: str, arguments: Any, arms: list[tuple[str, ...]], rounds: list[int], rates: list[float]
) -> dict[str, Any]:
    """All arms on one set."""
    pairs = limited(read_pairs(source), [arguments.limit], 0)
    assert isinstance(pairs, Pairs)
    parts = split(pairs, development=arguments.development, test=arguments.development)
    start = start_from(None, None, parts.train, False)
    development = Validation(parts.development, start.tokenizer, start.settings, threads.count())
    corpus = _corpus(parts.train)
    cut = Parts.of(corpus)
    print(
        f"{source}: {len(corpus):,} documents, {len(cut.passages):,} passages, "
        f"{len(parts.development):,} pairs to judge by"
    )
    found: dict[str, Any] = {
        "documents": len(corpus),
        "passages": len(cut.passages),
        "bm25": round(evaluate_bm25(development.task, metrics=(NDCG,)).metrics[NDCG], 4),
        "teacher": round(
            evaluate_retrieval(start.teacher, development.task, metrics=(NDCG,)).metrics[NDCG], 4
        ),
    }
    _show("bm25", found["bm25"])
    _show("teacher", found["teacher"])
    found |= trained(parts.train, start, development, rates, arguments.seeds)
    _show("start", found["start"])
    _show("true pairs", found["trained"], found["by_rate"])
    found["true pairs"] = found.pop("trained")
    found["arms"] = []
    for kinds in arms:
        for number in rounds if {"sentences", "crops"} & set(kinds) else rounds[:1]:
            made = self_pairs(cut, kinds, seed=0, rounds=number)
            if len(made) < 100:
                continue
            arm = {"kinds": kinds, "rounds": number, "pairs": len(made)}
            arm |= trained(made, start, development, rates, arguments.seeds)
            found["arms"].append(arm)
            _show(f"{','.join(kinds)} x{number}", arm["trained"], arm["by_rate"], len(made), arm["seconds"])
    return found


def _corpus(pairs: Pairs) -> Corpus:
    """The positives, each once; their first anchors as titles, which only the kind ``titles`` looks at."""
    firsts = np.unique(np.asarray(pairs.positives.dictionary_encode().indices), return_index=True)[1]
    chosen = pa.array(np.sort(firsts))
    return Corpus(pairs.anchors.take(chosen), pairs.positives.take(chosen))


def trained(
    pairs: Pairs, start: Start, development: Validation, rates: list[float], seeds: int
) -> dict[str, Any]:
    """NDCG@10 on the development pairs before and after a training."""
    data = training_data(pairs, start.tokenizer, threads=threads.count())
    by_rate, seconds, untrained = {}, 0.0, 0.0
    for rate in rates:
        each = []
        for seed in range(seeds):
            recipe = Recipe.make(len(pairs), start.dim, learning_rate=rate, seed=seed)
            table = start.table(data, recipe)
            untrained = development.score(table)
            optimizer = begin(table, data, recipe, threads.count())
            began = time.perf_counter()
            fit(data, optimizer, recipe)
            seconds = time.perf_counter() - began
            each.append(development.score(optimizer.current()))
        by_rate[f"{rate:g}"] = round(statistics.mean(each), 4)
    best = max(by_rate.values())
    return {"start": round(untrained, 4), "trained": best, "by_rate": by_rate, "seconds": round(seconds, 2)}


def _show(name: str, score: float, *more: Any) -> None:
    print(f"  {name:34} {score:.4f}  ", *more, flush=True)


if __name__ == "__main__":
    main()
