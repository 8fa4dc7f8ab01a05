"""The same training by statim and by sentence-transformers' own trainer: time, and quality on held-out pairs.

Both start from the same table and tokenizer, take the same pairs, loss (multiple negatives ranking inside
Matryoshka), batch size, epochs, peak rate, warm-up, decay and clipping. The clock runs from pairs on disk
(JSON lines) to the saved model, tokenizing and evaluation on the test pairs included; imports and
compilation are not counted: each run is a process of its own, which first does a tiny training. "train" is
tokenizing and training alone. Rounds are interleaved; medians are printed; the last line is JSON.

    python benchmarks/train_against_sentence_transformers.py [FILE ...]
        [--configs 512x384,1024x512,2048x1024] [--epochs 5] [--rounds 3] [--whole]

Without files, the pairs are the Python documentation of the packages in packages.py, so that machines
agree. ``--whole`` times fresh processes too, from their start to their end, imports included. Each side's
NDCG@10 is by statim's evaluation, outside the clock.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

SIDES = ("statim", "sentence-transformers")
WARM = 700  # pairs of the tiny training: enough that evaluation, too, takes the way of many texts
WORKERS = (0, 1, 2)
LIMIT = 7200  # seconds that a run may take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", default=None)
    parser.add_argument("--configs", default="1024x512", help="BATCHxDIM, several with commas")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=None, help="use only so many training pairs")
    parser.add_argument("--test", type=int, default=2000, help="pairs held out")
    parser.add_argument("--whole", action="store_true", help="time fresh processes too, imports included")
    parser.add_argument(
        "--data-workers",
        default="auto",
        help="sentence-transformers' dataloader workers: a count, or the fastest of 0, 1 and 2",
    )
    parser.add_argument("--data-context", default="fork", choices=("fork", "forkserver", "spawn"))
    parser.add_argument("--precision", default="int8", choices=("int8", "bf16", "fp32"), help="of statim")
    parser.add_argument("--peer-precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(json.loads(arguments.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STATIM_CACHE"] = f"{folder}/cache"
        compare(arguments, Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    counts = write_data(arguments, folder)
    print(f"{counts['train']:,} pairs to train on, {counts['test']:,} for the test", flush=True)
    configs = [tuple(map(int, config.split("x"))) for config in arguments.configs.split(",")]
    specs = [
        {
            "folder": str(folder), "batch": batch, "dim": dim, "epochs": arguments.epochs,
            "pairs": counts["train"],
            "learning_rate": arguments.learning_rate, "data_context": arguments.data_context,
            "precision": arguments.precision, "peer_precision": arguments.peer_precision, "cold": False,
        }
        for batch, dim in configs
    ]  # fmt: skip
    for spec in specs:
        choose_workers(spec, arguments.data_workers)
    found: list[dict[str, list[Any]]] = [{side: [] for side in SIDES} for _ in specs]
    for number in range(arguments.rounds):
        for spec, runs in zip(specs, found, strict=True):
            for side in SIDES[:: 1 if number % 2 == 0 else -1]:
                runs[side].append(run(spec | {"side": side, "seed": number}))
                show(number + 1, spec, side, runs[side][-1])
    results = [summary(spec, runs) for spec, runs in zip(specs, found, strict=True)]
    if arguments.whole:
        for spec, result in zip(specs, results, strict=True):
            whole = {side: run(spec | {"side": side, "seed": 0, "cold": True})["process"] for side in SIDES}
            result["whole_process_seconds"] = whole
            result["whole_process_ratio"] = round(whole[SIDES[1]] / whole[SIDES[0]], 2)
    for result in results:
        tell(result)
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {"benchmark": "train_against_sentence_transformers", "machine": machine, "configs": results}
        )
    )


def write_data(arguments: argparse.Namespace, folder: Path) -> dict[str, int]:
    """Files of pairs, and what both sides start from but the table; nothing of it is timed."""
    from from_disk import write_pairs, write_parts
    from packages import PACKAGES
    from statim.data.pairs.python_docs import python_docs
    from statim.data.pairs.reading import read_pairs
    from statim.vocabulary import learn_wordpiece

    pairs = read_pairs(arguments.files) if arguments.files else python_docs(PACKAGES)
    counts = write_parts(pairs, folder, development=500, test=arguments.test, limit=arguments.limit)
    kept = read_pairs(folder / "train.jsonl")
    (folder / "tokenizer.json").write_text(learn_wordpiece([kept.anchors, kept.positives]).to_json())
    (folder / "warm").mkdir()
    for name in ("train", "test"):
        write_pairs(kept.select(range(min(WARM, len(kept)))), folder / "warm" / f"{name}.jsonl")
    return counts


def choose_workers(spec: dict[str, Any], asked: str) -> None:
    """The dataloader workers asked for, or those with which sentence-transformers is fastest."""
    if asked != "auto":
        spec["data_workers"] = int(asked)
        return
    trials: dict[int, float] = {}
    limit: float = LIMIT
    for workers in WORKERS:
        one = spec | {"side": SIDES[1], "seed": 0, "epochs": 1, "data_workers": workers}
        began = time.perf_counter()
        try:
            trials[workers] = round(total(run(one, limit)), 2)
        except subprocess.TimeoutExpired:
            trials[workers] = math.inf  # it hangs
        if workers == 0:
            limit = 5 * (time.perf_counter() - began) + 30
    spec["data_workers"] = min(trials, key=trials.__getitem__)
    spec["data_worker_trials"] = {
        str(workers): seconds for workers, seconds in trials.items() if seconds < math.inf
    }
    print(f"batch {spec['batch']:,}: seconds of an epoch by dataloader workers: {trials}", flush=True)


def run(spec: dict[str, Any], limit: float = LIMIT) -> dict[str, Any]:
    """One training in a process of its own."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(spec)],
        capture_output=True, text=True, check=False, timeout=limit,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{done.stderr}\nthe run of {spec['side']} failed (exit code {done.returncode})")
    return json.loads(done.stdout.splitlines()[-1]) | {"process": round(seconds, 2)}


def child(spec: dict[str, Any]) -> None:
    """A tiny training, unless ``cold``; then the one that counts."""
    folder, theirs = Path(spec["folder"]), spec["side"] != SIDES[0]
    if theirs:
        from peer import set_up

        set_up(spec["data_workers"], spec["data_context"])
    from statim.training.recipe import Recipe

    dim = spec["dim"]
    recipe = Recipe.make(
        spec["pairs"], None, dim=dim, levels=[level for level in (16, 32, 64, 128, 256, 512,
            1024) if level < dim][-5:],
        batch=spec["batch"], epochs=spec["epochs"], learning_rate=spec["learning_rate"], seed=spec["seed"],
        precision=spec["peer_precision"] if theirs else spec["precision"],
    )  # fmt: skip
    if not spec["cold"]:
        tiny = dataclasses.replace(recipe, batch=64, epochs=1)
        once(theirs, folder / "warm", folder, tiny, spec["data_workers"], score=False)
    print(json.dumps(once(theirs, folder, folder, recipe, spec["data_workers"], score=not spec["cold"])))


def once(
    theirs: bool, data: Path, folder: Path, recipe: Any, data_workers: int, *, score: bool
) -> dict[str, Any]:
    """One training from the files in ``data``: seconds of each phase, and NDCG@10 by statim's evaluation."""
    from from_disk import by_statim, ndcg, rounded
    from statim import threads
    from statim.model import StaticModel
    from statim.tokenizer.tokenizer import Tokenizer
    from statim.training.initial_tables import random_table

    tokenizer = Tokenizer.from_json((folder / "tokenizer.json").read_bytes())
    table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
    table[tokenizer.unknown_id] = 0
    with tempfile.TemporaryDirectory() as out:
        if theirs:
            from peer import by_sentence_transformers

            trained, clock, _ = by_sentence_transformers(
                data, Path(out) / "model", tokenizer, table, recipe, data_workers=data_workers
            )
        else:
            model, clock, _ = by_statim(
                data,
                Path(out) / "model",
                lambda _: (tokenizer, lambda _: table.copy()),
                recipe,
                threads.count(),
            )
            trained = model.table
    found: dict[str, Any] = {"phases": rounded(clock.phases), "threads": threads.count()}
    if score:
        found["ndcg@10"] = round(ndcg(StaticModel(trained, tokenizer), data / "test.jsonl"), 4)
        found["start_ndcg@10"] = round(ndcg(StaticModel(table, tokenizer), data / "test.jsonl"), 4)
    return found


def total(one: dict[str, Any]) -> float:
    return float(sum(one["phases"].values()))


def training(one: dict[str, Any]) -> float:
    """From texts in memory to the trained table."""
    names = ("start", "tokenize", "prepare", "train")
    return float(sum(one["phases"].get(name, 0.0) for name in names))


def summary(spec: dict[str, Any], runs: dict[str, list[Any]]) -> dict[str, Any]:
    """Medians; ratios are those of each round."""
    ours, theirs = (runs[side] for side in SIDES)
    steps = spec["epochs"] * max(1, spec["pairs"] // spec["batch"])
    result: dict[str, Any] = {
        "batch": spec["batch"], "dim": spec["dim"], "epochs": spec["epochs"], "pairs": spec["pairs"],
        "threads": ours[0]["threads"], "data_workers": spec["data_workers"],
        "data_worker_trials": spec.get("data_worker_trials"), "precision": spec["precision"],
        "peer_precision": spec["peer_precision"],
        "ratio": round(statistics.median(total(b) / total(a) for a, b in zip(ours, theirs, strict=True)), 2),
        "train_ratio": round(statistics.median(training(b) / training(a) for a,
            b in zip(ours, theirs, strict=True)), 2),
        "start_ndcg@10": ours[0]["start_ndcg@10"],
    }  # fmt: skip
    for side in SIDES:
        own = runs[side]
        names = own[0]["phases"]
        result[side] = {
            "seconds": round(statistics.median(map(total, own)), 2),
            "train_seconds": round(statistics.median(map(training, own)), 2),
            "pairs_per_second": round(steps * spec["batch"] / statistics.median(map(total, own))),
            "train_pairs_per_second": round(steps * spec["batch"] / statistics.median(map(training, own))),
            "phases": {
                name: round(statistics.median(one["phases"][name] for one in own), 3) for name in names
            },
            "ndcg@10": round(statistics.median(one["ndcg@10"] for one in own), 4),
        }
    return result


def show(number: int, spec: dict[str, Any], side: str, one: dict[str, Any]) -> None:
    """A line as soon as there is something."""
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in one["phases"].items())
    print(
        f"round {number}, batch {spec['batch']:,}, {spec['dim']:,} dimensions: {side} {total(one):.2f} s "
        f"({phases}), NDCG@10 {one['ndcg@10']:.4f}",
        flush=True,
    )


def tell(result: dict[str, Any]) -> None:
    """For a person."""
    print(
        f"\nbatch {result['batch']:,}, {result['dim']:,} dimensions: {result['ratio']:.2f} times as "
        "fast from disk to model, "
        f"{result['train_ratio']:.2f} times tokenizing and training alone"
    )
    for side in SIDES:
        own = result[side]
        phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in own["phases"].items())
        print(f"  {side:22} {own['seconds']:9.2f} s  NDCG@10 {own['ndcg@10']:.4f}  ({phases})")
    if "whole_process_seconds" in result:
        whole = result["whole_process_seconds"]
        print(
            f"  whole processes: {whole[SIDES[0]]:.1f} and {whole[SIDES[1]]:.1f} s, "
            f"{result['whole_process_ratio']:.2f} times"
        )


if __name__ == "__main__":
    main()
