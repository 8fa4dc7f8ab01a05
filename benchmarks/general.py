"""A general English model: ``statim train --recipe general`` on a folder of sets.

The last line is JSON.

python benchmarks/general.py DATA --eval EVAL --out out/general [--seed 0] [--teacher NAME ...] [--dim 512]
python benchmarks/general.py DATA --eval EVAL --out out/bound --also EVAL/retrieval/pubmedqa
    EVAL/retrieval/xquad-en --without squad-sentences

DATA has a folder for each set of pairs (train.jsonl.gz). The recipe draws 350,000 sentences of 4 to 40
words and longer passages from their texts, of each set as many as of any other as long as it has some;
here those that EVAL, the folder of evaluation sets, has too are left out. The teachers (all-MiniLM-L6-v2,
or those named) read them once, then their vectors are in the cache. The recipe brings the distilled
start's vectors close to the teachers', of frequent words and pairs of words that get rows of their own
too, and then trains one epoch over the pairs, each with a share of the sentences beside it. Chosen on
development sets: benchmarks/league.py --split dev, without the pairs of some sets where pairs of these are
what is judged.

``--also`` measures a bound: how good a table would be on sets whose texts its teachers have read. No such
model is one to use or to compare.
"""

import argparse
import gzip
import json
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import statim
from statim import threads
from statim.data.documents.own_sentences import own_sentences
from statim.data.pairs.reading import read_pairs
from statim.training.run.load import MOST_SENTENCES

SETS = (  # in the order by which sentences are drawn
    "squad-sentences", "wiki-simplification", "wordset-examples", "wiki-vital", "open-trivia", "sgd-dialogue",
    "openstax-ccby",
    "wordnet-glosses", "medquad", "msdocs", "arxiv", "debian-descriptions", "gene-ontology",
)  # fmt: skip
LIMITS = {"wordnet-glosses": 200_000, "gene-ontology": 50_000, "msdocs": 60_000}  # pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--eval", type=Path, required=True, help="whose texts are left out")
    parser.add_argument("--out", type=Path, default=Path("out/general"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", action="append", help="by path or hub name, repeatable")
    parser.add_argument(
        "--dim",
        type=int,
        help="dimensions, by default the first teacher's; two teachers have some to fill more with",
    )
    parser.add_argument(
        "--without", nargs="+", choices=SETS, default=[], help="sets whose pairs are not trained on"
    )
    parser.add_argument(
        "--also", nargs="+", type=Path, default=[], help="files or folders whose texts the teachers read too"
    )
    asked = parser.parse_args()
    files = {name: str(asked.data / name / "train.jsonl.gz") for name in SETS}
    drawn = own_sentences(read_pairs(files), MOST_SENTENCES, seed=0).texts.to_pylist()
    judged = set(map(normalised, texts_of(asked.eval)))
    texts = [text for text in drawn if normalised(text) not in judged]
    left_out = len(drawn) - len(texts)
    texts += dict.fromkeys(text for path in asked.also for text in texts_of(path))
    pairs = {name: file for name, file in files.items() if name not in asked.without}
    limits = {name: limit for name, limit in LIMITS.items() if name in pairs}
    began = time.perf_counter()
    found = statim.train(
        pairs, recipe="general", out=asked.out / "model", distil={"text": texts}, set_limits=limits,
        seed=asked.seed,
        teacher=asked.teacher, dim=asked.dim, heldout=0, development=0, baselines=False, overwrite=True,
    )  # fmt: skip
    seconds = {name: round(value, 1) for name, value in found.seconds.items()}
    print(found)
    result = {
        "benchmark": "general", "machine": platform.processor() or platform.machine(),
        "threads": threads.count(), "sentences": len(texts),
        "left out": left_out, "pairs": found.pairs["train"],
        "seconds": seconds | {"whole": round(time.perf_counter() - began, 1)},
        "out": str(asked.out / "model"),
    }  # fmt: skip
    print(json.dumps(result))


def normalised(text: str) -> str:
    """A text's words alone: equal for texts that differ in case, punctuation or spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def texts_of(place: Path) -> Iterator[str]:
    """Every text in JSON lines: a file, or all those of a folder of evaluation sets; their ids are none."""
    for path in sorted(place.rglob("*.jsonl*")) if place.is_dir() else [place]:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                row: dict[str, Any] = json.loads(line)
                yield from (value for name, value in row.items() if isinstance(value, str) and name != "_id")


if __name__ == "__main__":
    main()
