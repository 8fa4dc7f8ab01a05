"""Explaining: two texts of 1,000 tokens in a process that runs, and two short ones as a cold process.

python benchmarks/explain.py MODEL [--rounds 9]

The parts are checked: they sum to the cosine of the vectors. Medians are printed; the last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from statim import StaticModel
from statim.insight.contributions import explain

TOKENS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    model = StaticModel.load(asked.model)
    words = [word for word in model.tokenizer.vocabulary if word.isalpha()]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 2 * TOKENS)) for _ in range(2)]
    texts = [text[: text.rfind(" ", 0, _length(model, text))] for text in texts]
    warm, cold = [], []
    for _ in range(asked.rounds):
        start = time.perf_counter()
        found = explain(model, *texts)
        warm.append(time.perf_counter() - start)
        start = time.perf_counter()
        command = [sys.executable, "-m", "statim", "explain", asked.model, "sort a list", "order of items"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        cold.append(time.perf_counter() - start)
    left, right = model.encode(texts, normalize=True).astype(np.float64)
    assert abs(float(left @ right) - found.score) < 1e-6
    assert abs(float(found.contributions.sum()) - found.score) < 1e-9
    result = {
        "benchmark": "explain",
        "tokens": [sum(token.count for token in side) for side in (found.tokens_a, found.tokens_b)],
        "milliseconds": round(1000 * statistics.median(warm), 2),
        "cold_seconds": round(statistics.median(cold), 3),
    }
    print(
        f"two texts of {result['tokens']} tokens in {result['milliseconds']} ms; "
        f"cold {result['cold_seconds']} s"
    )
    print(json.dumps(result))


def _length(model: StaticModel, text: str) -> int:
    """How many characters hold TOKENS tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(model.tokenize(text[:middle]).ids) <= TOKENS else (low, middle - 1)
    return low


if __name__ == "__main__":
    main()
