"""A general English model: distilled on plain sentences, then trained on pairs with the distillation kept on. The last line is JSON.

python benchmarks/general.py DATA --out out/general [--seed 0]

DATA has a folder for each set of pairs (train.jsonl.gz). Up to so many sentences of 4 to 40 words of each (SENTENCES) are drawn, 356,000 in all;
all-MiniLM-L6-v2 reads them once (43 minutes on two busy cores, then they are in the cache). Three epochs bring the distilled
start's vectors close to the teacher's, of frequent words and pairs of words that get rows of their own too; one epoch over the pairs, each with a share of the sentences beside it, teaches search. Chosen on
development sets: benchmarks/league.py --split dev.
"""

import argparse
import gzip
import json
import platform
import random
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import statim
from statim import threads

# Of each set: sentences drawn, and how many are taken of a text (None for all)
SENTENCES: dict[str, tuple[int, int | None]] = {
    "squad-sentences": (45_000, None), "wiki-simplification": (35_000, None), "wordset-examples": (40_000, None),
    "wiki-vital": (60_000, None), "open-trivia": (25_000, None), "sgd-dialogue": (30_000, None), "openstax-ccby": (20_000, None),
    "wordnet-glosses": (50_000, None), "medquad": (20_000, 3), "msdocs": (15_000, 2), "arxiv": (30_000, 3),
    "debian-descriptions": (20_000, 3), "gene-ontology": (10_000, 2),
}  # fmt: skip
DOCUMENTS_ALONE = ("wiki-vital",)  # whose anchors are titles
LIMITS = {"wordnet-glosses": 200_000, "gene-ontology": 50_000, "msdocs": 60_000}  # pairs
WORD_PAIRS = 20_000  # that get rows of their own: "how many", "at least"
BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(0-9])|\n+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/general"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    plain, distilled = asked.out / "plain.jsonl", asked.out / "distilled"
    texts = sentences(asked.data)
    with plain.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    common = {
        "learning_rate": 0.03,
        "heldout": 0,
        "development": 0,
        "baselines": False,
        "overwrite": True,
        "seed": asked.seed,
    }
    began = time.perf_counter()
    first = statim.train(distil=str(plain), out=distilled, epochs=3, grow_pairs=WORD_PAIRS, **common)
    second = statim.train(
        {name: str(asked.data / name / "train.jsonl.gz") for name in SENTENCES}, start=distilled, out=asked.out / "model",
        set_limits=LIMITS, batch=512, epochs=1, distil=str(plain), distil_weight=100.0, grow_words=0, **common,
    )  # fmt: skip
    whole = time.perf_counter() - began
    seconds = {
        "distil": first.seconds["train"],
        "pairs": second.seconds["train"],
        "whole": whole,
        "teach": first.seconds["teach"],
    }
    print(second)
    result = {
        "benchmark": "general", "machine": platform.processor() or platform.machine(), "threads": threads.count(), "sentences": len(texts),
        "pairs": second.pairs["train"], "seconds": {name: round(value, 1) for name, value in seconds.items()}, "out": str(asked.out / "model"),
    }  # fmt: skip
    print(json.dumps(result))


def sentences(data: Path) -> list[str]:
    """Distinct sentences of all sets, in an order of its own: any beginning of the list is a fair sample."""
    draw = random.Random(0)
    found: list[str] = []
    for name, (most, of_each) in SENTENCES.items():
        there = sorted(set(_of_set(data / name / "train.jsonl.gz", of_each, name in DOCUMENTS_ALONE)))
        draw.shuffle(there)
        found += there[:most]
    found = list(dict.fromkeys(found))
    draw.shuffle(found)
    return found


def _of_set(path: Path, of_each: int | None, documents_alone: bool) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            for column in ("positive",) if documents_alone else ("anchor", "positive"):
                yield from _sentences(row[column])[:of_each]


def _sentences(text: str) -> list[str]:
    parts: Iterable[str] = (part.strip() for part in BETWEEN.split(text))
    return [part for part in parts if 4 <= len(part.split()) <= 40 and len(part) <= 260]


if __name__ == "__main__":
    main()
