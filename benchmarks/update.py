"""What ``statim update`` learns of new pairs and keeps of old ones, beside training again on both.

python benchmarks/update.py DATA [--seeds 0,1,2] [--old 20000] [--new 5000] [--pairs NAME,NAME]

DATA is a folder of sets of pairs (NAME/train.jsonl.gz). A model is trained on old pairs; then new ones come,
of another set or, of arXiv, of another field (astronomy, told by its words). Compared on held-out pairs of
both kinds: training again on both; the same steps as the update's without its guards; ``statim train
--start``; the update; and the update with replayed old pairs. New scores are shares of what training again on
both gives, old scores of what the old model had; times are processor seconds. The last line is JSON.
"""

import argparse
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from statim import StaticModel, train
from statim.data import Pairs, read_pairs, split
from statim.data.labelled.retrieval import from_pairs
from statim.evaluation.retrieval import evaluate_retrieval
from statim.training.update import update

PAIRS = {
    "debian-descriptions -> msdocs": ("debian-descriptions", "msdocs"),
    "medquad -> open-trivia": ("medquad", "open-trivia"),
    "arxiv -> its astronomy": ("arxiv", None),
}
ASTRONOMY = re.compile(r"\b(galax(y|ies)|stars?|stellar|telescopes?|supernova|redshifts?)\b", re.IGNORECASE)
HELD_OUT = 1000
QUIET = {"heldout": 0, "development": 0, "baselines": "none", "overwrite": True}
NO_GUARD = {"pull": 0.0, "rare_rows": 0.0, "new_words": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--old", type=int, default=20_000)
    parser.add_argument("--new", type=int, default=5_000)
    parser.add_argument("--pairs", help="which of the three, by the beginnings of their names")
    asked = parser.parse_args()
    result = {"benchmark": "update", "machine": platform.processor() or platform.machine(), "rows": []}
    chosen = {
        name: sides(asked.data, *pair)
        for name, pair in PAIRS.items()
        if not asked.pairs or name.startswith(tuple(asked.pairs.split(",")))
    }
    for seed in map(int, asked.seeds.split(",")):
        for name, whole in chosen.items():
            parts = [
                split(some(side, count, seed), development=0, test=HELD_OUT, seed=seed)
                for side, count in zip(whole, (asked.old, asked.new), strict=True)
            ]
            for row in rows(parts[0], parts[1], seed):
                row = {"pair": name, "seed": seed, **row}
                result["rows"].append(row)
                print(
                    f"{name:32} seed {seed}  {row['how']:24} old {row['old']:.3f} ({row['old_share']:.1%})  "
                    f"new {row['new']:.3f} ({row['new_share']:.1%})  {row['seconds']:.1f} s "
                    f"({row['time_share']:.1%})",
                    flush=True,
                )
    print(json.dumps(result))


def sides(data: Path, old: str, new: str | None) -> tuple[Pairs, Pairs]:
    first = read_pairs(data / old / "train.jsonl.gz")
    if new is not None:
        return first, read_pairs(data / new / "train.jsonl.gz")
    found = np.array([ASTRONOMY.search(text) is not None for text in first.positives.to_pylist()])
    return first.select(np.flatnonzero(~found)), first.select(np.flatnonzero(found))


def some(pairs: Pairs, count: int, seed: int) -> Pairs:
    order = np.random.default_rng(seed).permutation(len(pairs))
    return pairs.select(np.sort(order[:count]))


def rows(old: object, new: object, seed: int) -> list[dict[str, object]]:
    both = {"old": old.train, "new": new.train}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = QUIET | {"seed": seed}
        base, _ = timed(lambda: train(old.train, out=place / "base", **options).model)
        full, whole = timed(lambda: train(both, out=place / "full", **options).model)
        best = score(full, new.test)
        before = score(base, old.test)
        found = [("before", base, 0.0), ("trained again on both", full, whole)]
        ways: dict[str, Callable[[], StaticModel]] = {
            "same steps, no guard": lambda: updated(base, new.train, place, seed, **NO_GUARD),
            "train --start": lambda: train(new.train, out=place / "on", start=base, **options).model,
            "update": lambda: updated(base, new.train, place, seed),
            "update --replay": lambda: updated(base, new.train, place, seed, replay=old.train),
        }
        found += [(how, *timed(make)) for how, make in ways.items()]
        told = []
        for how, model, seconds in found:
            scores = score(model, old.test), score(model, new.test)
            told.append({
                "how": how, "old": scores[0], "new": scores[1], "old_share": scores[0] / before,
                "new_share": scores[1] / best, "seconds": seconds, "time_share": seconds / whole,
            })  # fmt: skip
        return told


def updated(base: StaticModel, new: Pairs, place: Path, seed: int, **options: object) -> StaticModel:
    return update(base, new, out=place / "updated", heldout=0, seed=seed, overwrite=True, **options).model


def timed(make: Callable[[], StaticModel]) -> tuple[StaticModel, float]:
    begun = os.times()
    model = make()
    done = os.times()
    return model, done.user + done.system - begun.user - begun.system


def score(model: StaticModel, test: Pairs) -> float:
    return float(evaluate_retrieval(model, from_pairs(test), metrics=("ndcg@10",)).metrics["ndcg@10"])


if __name__ == "__main__":
    main()
