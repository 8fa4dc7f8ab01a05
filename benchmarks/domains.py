"""Training on a domain with the defaults: is it above BM25 and the untrained teacher?

The last line is JSON.

    python benchmarks/domains.py python-docs DATA/debian-descriptions DATA/medquad DATA/msdocs DATA/arxiv
        [--seeds 3]

Each is what ``statim train`` does: 2,000 pairs (a tenth of few) are held out with their near-duplicates,
the start is all-MiniLM-L6-v2 distilled, new words and epochs are the defaults'. Figures are NDCG@10 on the
held-out pairs; a seed decides what is held out, too.
"""

import argparse
import json
import platform
import statistics
from pathlib import Path

import statim
from statim import threads
from statim.data.pairs.pairs import PYTHON_DOCS

MODELS = ("start", "trained", "bm25", "teacher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", nargs="+", help="folders with train.jsonl.gz, files of pairs, or python-docs")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    found = {}
    print(f"{'':24}{'pairs':>9}{'epochs':>8}{'seconds':>9}" + "".join(f"{name:>10}" for name in MODELS))
    for data in arguments.data:
        path = Path(data)
        source = str(next(path.glob("train.jsonl*"))) if path.is_dir() else data
        runs = [statim.train(source, seed=seed) for seed in range(arguments.seeds)]
        each = [run.ndcg() for run in runs]
        scores = {name: statistics.mean(one[name] for one in each) for name in MODELS}
        trained = [one["trained"] for one in each]
        name = PYTHON_DOCS if data == PYTHON_DOCS else path.name
        one = runs[0]
        seconds = statistics.median(run.seconds["train"] for run in runs)
        found[name] = {
            "pairs": one.pairs["train"], "epochs": one.recipe.epochs, "seconds": round(seconds, 1),
            "spread": round(max(trained) - min(trained), 4),
            **{model: round(score, 4) for model, score in scores.items()},
        }  # fmt: skip
        print(
            f"{name:24}{one.pairs['train']:9,}{one.recipe.epochs:8}{seconds:9.1f}"
            + "".join(f"{scores[model]:10.4f}" for model in MODELS), flush=True,
        )  # fmt: skip
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {
                "benchmark": "domains",
                "machine": machine,
                "threads": threads.count(),
                "seeds": arguments.seeds,
                "sets": found,
            }
        )
    )


if __name__ == "__main__":
    main()
