"""A general English model: ``statim train --recipe general`` on sentences of its own choice. The last line is JSON.

python benchmarks/general.py DATA --eval EVAL --out out/general [--seed 0]

DATA has a folder for each set of pairs (train.jsonl.gz). Up to so many sentences of 4 to 40 words of each (SENTENCES) are drawn, 356,000 in all, but for
those that EVAL, the folder of evaluation sets, has too; all-MiniLM-L6-v2 reads them once, then they are in the cache. The recipe brings the distilled
start's vectors close to the teacher's, of frequent words and pairs of words that get rows of their own too, and then trains one epoch over the pairs, each
with a share of the sentences beside it. Chosen on development sets: benchmarks/league.py --split dev.
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
from typing import Any

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
BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(0-9])|\n+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--eval", type=Path, required=True, help="whose texts are left out")
    parser.add_argument("--out", type=Path, default=Path("out/general"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    drawn = sentences(asked.data)
    judged = set(map(normalised, texts_of(asked.eval)))
    texts = [text for text in drawn if normalised(text) not in judged]
    began = time.perf_counter()
    found = statim.train(
        {name: str(asked.data / name / "train.jsonl.gz") for name in SENTENCES}, recipe="general", out=asked.out / "model",
        distil={"text": texts}, set_limits=LIMITS, seed=asked.seed, heldout=0, development=0, baselines=False, overwrite=True,
    )  # fmt: skip
    seconds = {name: round(value, 1) for name, value in found.seconds.items()}
    print(found)
    result = {
        "benchmark": "general", "machine": platform.processor() or platform.machine(), "threads": threads.count(), "sentences": len(texts),
        "left out": len(drawn) - len(texts), "pairs": found.pairs["train"],
        "seconds": seconds | {"whole": round(time.perf_counter() - began, 1)}, "out": str(asked.out / "model"),
    }  # fmt: skip
    print(json.dumps(result))


def normalised(text: str) -> str:
    """A text's words alone: equal for texts that differ in case, punctuation or spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def texts_of(folder: Path) -> Iterator[str]:
    """Every text in the JSON lines of a folder of evaluation sets."""
    for path in sorted(folder.rglob("*.jsonl*")):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                row: dict[str, Any] = json.loads(line)
                yield from (value for value in row.values() if isinstance(value, str))


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
