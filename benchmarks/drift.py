"""How often ``statim drift`` errs: halves of one corpus it calls moved, other domains it calls fine.

python benchmarks/drift.py DATA --model MODEL [--splits 40] [--samples 50,200,1000]

DATA is a folder of sets of pairs (NAME/train.jsonl.gz); their anchors and positives are the texts. False
alarms are counted over random halves of five corpora, misses over all ordered pairs of different sets, each
for several sizes of the sample. The sets of CHOSEN, on which the thresholds were chosen, are reported apart.
The last line is JSON.
"""

import argparse
import gzip
import json
import platform
from itertools import permutations
from pathlib import Path

import numpy as np

from statim import StaticModel
from statim.insight.any_texts import sample_texts
from statim.insight.drift import FINE, drift

CHOSEN = ("debian-descriptions", "squad-sentences", "open-trivia", "medquad")
HALVED = ("arxiv", "msdocs", "wiki-vital", "wordset-examples", "gene-ontology")
MOST = 20_000  # rows of a set


def texts_of(path: Path) -> list[str]:
    found: dict[str, None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for _, line in zip(range(MOST), file, strict=False):
            row = json.loads(line)
            found.update(dict.fromkeys((row["anchor"], row["positive"])))
    return [text for text in found if text.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--samples", default="50,200,1000")
    asked = parser.parse_args()
    model = StaticModel.load(asked.model)
    sets = {path.parent.name: texts_of(path) for path in sorted(asked.data.glob("*/train.jsonl.gz"))}
    result = {"benchmark": "drift", "machine": platform.processor() or platform.machine(), "rows": []}
    for size in map(int, asked.samples.split(",")):
        for kind, halved, pairs in (
            ("chosen on", CHOSEN, list(permutations(CHOSEN, 2))),
            ("not chosen on", HALVED, [p for p in permutations(sets, 2) if not set(p) & set(CHOSEN)]),
        ):
            alarms = [
                drift(model, *halves(sets[name], size, seed), sample=size, seed=seed).verdict
                for name in halved
                for seed in range(asked.splits)
            ]
            misses = [
                (old, new, drift(model, sets[old], sets[new], sample=size, seed=1).verdict)
                for old, new in pairs
            ]
            row = {
                "texts": size,
                "sets": kind,
                "splits": len(alarms),
                "false_alarms": sum(verdict != FINE for verdict in alarms),
                "pairs": len(misses),
                "missed": sum(verdict == FINE for _, _, verdict in misses),
                "missed_pairs": [f"{old} -> {new}" for old, new, verdict in misses if verdict == FINE],
            }
            result["rows"].append(row)
            print(
                f"{size:,} texts a side, sets {kind}: {row['false_alarms']} of {row['splits']} halves are "
                f"called moved, {row['missed']} of {row['pairs']} other domains fine {row['missed_pairs']}",
                flush=True,
            )
    print(json.dumps(result))


def halves(texts: list[str], size: int, seed: int) -> tuple[list[str], list[str]]:
    some = sample_texts(texts, 2 * size, seed)
    order = np.random.default_rng(seed).permutation(len(some))
    return [some[i] for i in order[: len(some) // 2]], [some[i] for i in order[len(some) // 2 :]]


if __name__ == "__main__":
    main()
