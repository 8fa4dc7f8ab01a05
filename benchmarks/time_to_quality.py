"""How much sooner statim reaches what sentence-transformers' recipe reaches after five epochs.

    python benchmarks/time_to_quality.py DATA ... [--out out/time-to-quality] [--only STEP,STEP]
        [--limit 20000]

DATA is a file of pairs, a folder with train.jsonl or train.jsonl.gz, or python-docs. Each is split once
into training, development and test pairs without near-duplicates between them, and written as JSON lines.
Every choice (rates, length of statim's training) is made on development pairs; test pairs are only
reported. Steps, each kept in OUT/NAME/state.json so that an interrupted run goes on:

    split             the files
    sweep_random      the rate for the reference: best of a small sweep on development pairs
    reference         sentence-transformers as documented: random start, 1,024 d, Matryoshka, rate 0.2
    sweep_distilled   the same from all-MiniLM-L6-v2 distilled (statim's start), 384 dimensions
    distilled         sentence-transformers from that start: when does it reach the reference?
    statim            whole short trainings of growing length, until their median reaches the reference
    epoch             statim's pairs per second over one epoch
    uncached          what distilling the start takes without a cache
    finetune          sentence-transformers fine-tuning all-MiniLM-L6-v2 itself: pairs per second

Clocks run from files on disk to the saved model; tokenizing, and one evaluation on the test pairs, are
included; imports and compilation are not. What the teacher makes of tokens, and of a recipe's new words
(about a thousand a second), is found in the cache; the step "uncached" says what the tokens take without.
A point on a curve of sentence-transformers is the time of its step, and what evaluating and saving took in
the end. Making the distilled start from the cached vectors counts in statim's time; sentence-transformers
is given it.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np

import peer
from from_disk import by_statim, ndcg, rounded, write_pairs, write_parts
from packages import PACKAGES
from statim import threads
from statim.data.pairs.pairs import PYTHON_DOCS, Pairs
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs.reading import read_pairs
from statim.settings import Settings
from statim.teacher.folder import resolve_teacher
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import TrainingSet
from statim.training.initial_tables import random_table, token_vectors
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.validation import Validation
from statim.training.start import Start, start_from, with_vocabulary

HELD_OUT = 2000  # pairs, for development and for the test each; a twentieth of small data
LEAST = 1024  # pairs that statim trains on at least
CURVE = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # epochs
WARM = 700  # pairs of the tiny training that loads and compiles everything
EXTENSIONS = 2  # a best rate at the edge of a sweep widens it so often

State = dict[str, Any]


def main() -> None:
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["STATIM_CACHE"] = str((asked.out / "cache").absolute())
    peer.set_up(asked.data_workers)
    only = asked.only.split(",") if asked.only else list(STEPS)
    unknown = set(only) - STEPS.keys()
    if unknown:
        raise SystemExit(f"there is no step {', '.join(unknown)}; the steps are {', '.join(STEPS)}")
    results = {}
    for data in asked.data:
        place = Place(data, asked)
        for name in STEPS:
            if name in only or name == "split":
                place.do(name, STEPS[name])
        results[place.name] = place.summary()
    print()
    for name, result in results.items():
        tell(name, result)
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {"benchmark": "time_to_quality", "machine": machine, "threads": threads.count(), "sets": results}
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", nargs="+", help="files or folders of pairs, or python-docs")
    parser.add_argument("--out", type=Path, default=Path("out/time-to-quality"))
    parser.add_argument("--only", default=None, help="some of the steps, with commas")
    parser.add_argument("--limit", type=int, default=None, help="use only so many pairs")
    parser.add_argument("--epochs", type=int, default=5, help="of the reference")
    parser.add_argument("--dim", type=int, default=1024, help="of the reference")
    parser.add_argument("--rates", default="0.05,0.1,0.2,0.4", help="of the sweeps from a random start")
    parser.add_argument("--distilled-rates", default="0.025,0.05,0.1,0.2", help="from the distilled start")
    parser.add_argument("--sweep-with", default="statim", choices=("statim", "sentence-transformers"))
    parser.add_argument(
        "--statim-recipe",
        default="default;learning_rate=0.2;batch=512;grow_words=10000",
        help="recipes that statim tries at each length: what differs from a plain one without new "
        "words, with ; between",
    )
    parser.add_argument(
        "--lengths",
        default="0.02,0.03,0.06,0.125,0.19,0.25,0.375,0.5,0.75,1,2,3,5",
        help="of statim's trainings, in epochs",
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each of statim's trainings")
    parser.add_argument("--finetune-seconds", type=float, default=60.0, help="in each precision")
    parser.add_argument(
        "--data-workers", type=int, default=0, help="sentence-transformers' dataloader workers"
    )
    return parser.parse_args()


class Place:
    """One data set: its files, and what has been found so far.

    Attributes:
        name: Of the data set.
        folder: With train.jsonl, development.jsonl and test.jsonl.
        asked: The options.
        state: What each step gave.
    """

    def __init__(self, data: str, asked: argparse.Namespace) -> None:
        self.data, self.asked = data, asked
        path = Path(data)
        self.name = path.name if path.is_dir() or data == PYTHON_DOCS else path.name.split(".")[0]
        self.folder = asked.out / self.name
        self.folder.mkdir(exist_ok=True)
        self._file = self.folder / "state.json"
        kept = (
            "limit",
            "epochs",
            "dim",
            "rates",
            "distilled_rates",
            "sweep_with",
            "statim_recipe",
            "repeats",
        )
        options = {name: getattr(asked, name) for name in kept} | {"data": data}
        self.state: State = (
            json.loads(self._file.read_text()) if self._file.exists() else {"options": options}
        )
        if self.state["options"] != options:
            raise SystemExit(
                f"{self._file} was made with other options; give another --out, or delete {self.folder}"
            )
        self.workers = threads.count()
        self._start: Start | None = None
        self._scores: list[Validation] = []
        self._warm = False

    def do(self, name: str, step: "Callable[[Place], State]") -> None:
        """A step, unless it has been done."""
        if name in self.state:
            return
        load, began = os.getloadavg()[0], time.perf_counter()
        found = step(self)
        found |= {"load_before": round(load, 2), "took_seconds": round(time.perf_counter() - began, 1)}
        self.state[name] = found
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.state, indent=1))
        new.replace(self._file)
        print(f"{self.name}, {name}: {json.dumps(found)}", flush=True)

    def found(self, name: str) -> State:
        """What a step gave."""
        if name not in self.state:
            raise SystemExit(f"the step {name} of {self.name} must be done first (--only {name},...)")
        return dict(self.state[name])

    def pairs(self, part: str) -> Pairs:
        """Those of a file."""
        return read_pairs(self.folder / f"{part}.jsonl")

    @property
    def count(self) -> int:
        """Training pairs."""
        return int(self.found("split")["train"])

    def start(self) -> Start:
        """all-MiniLM-L6-v2: its tokenizer and, from the cache, its tokens' vectors."""
        if self._start is None:
            self._start = start_from("all-MiniLM-L6-v2", None, self.pairs("test"), False)
        return self._start

    def scores(self, table: Any) -> dict[str, float]:
        """NDCG@10 on development and test pairs."""
        if not self._scores:
            tokenizer = self.start().tokenizer
            self._scores = [
                Validation(self.pairs(part), tokenizer, Settings(), self.workers)
                for part in ("development", "test")
            ]
        development, test = (one.score(table) for one in self._scores)
        return {"development": round(development, 5), "test": round(test, 5)}

    def warm(self) -> None:
        """Load and compile what both sides need."""
        if self._warm:
            return
        folder = self.folder / "warm"
        folder.mkdir(exist_ok=True)
        few = self.pairs("train").select(range(min(WARM, self.count)))
        for part in ("train", "test"):
            write_pairs(few, folder / f"{part}.jsonl")
        start = self.start()
        recipe = Recipe.make(len(few), start.dim, batch=64, epochs=1)
        with tempfile.TemporaryDirectory() as out:
            by_statim(folder, Path(out) / "ours", starting(recipe), recipe, self.workers)
            table = random_table(start.tokenizer.vocabulary_size, recipe.dim, 0)
            peer.by_sentence_transformers(
                folder,
                Path(out) / "theirs",
                start.tokenizer,
                table,
                recipe,
                data_workers=self.asked.data_workers,
            )
        self._warm = True

    def summary(self) -> State:
        """The figures that count, as far as the steps have been done."""
        s = self.state
        result: State = {"pairs": s["split"]["train"], "options": s["options"]}
        if "reference" in s:
            result["reference"] = s["reference"]
        if "distilled" in s:
            result["distilled"] = s["distilled"]
        if "statim" in s:
            result["statim"] = {name: value for name, value in s["statim"].items() if name != "trials"}
        if {"reference", "statim"} <= s.keys() and s["statim"]["reached"]:
            ours = s["statim"]["seconds"]
            result["times_sooner"] = round(s["reference"]["seconds"] / ours, 1)
            if "distilled" in s and s["distilled"]["reached"]:
                result["times_sooner_than_distilled"] = round(s["distilled"]["reached"]["seconds"] / ours, 1)
            if "uncached" in s:
                whole = ours + s["uncached"]["seconds"] - s["uncached"]["cached_seconds"]
                result["seconds_uncached"] = round(whole, 2)
                result["times_sooner_uncached"] = round(s["reference"]["seconds"] / whole, 1)
        if {"epoch", "finetune"} <= s.keys():
            theirs = s["finetune"]["pairs_per_second"]
            result["finetune"] = s["finetune"]
            result["epoch"] = s["epoch"]
            result["times_the_pairs_per_second"] = round(s["epoch"]["pairs_per_second"] / theirs)
            result["times_the_pairs_per_second_train"] = round(s["epoch"]["train_pairs_per_second"] / theirs)
        return result


def starting(recipe: Recipe, words: int = 0) -> Callable[[Pairs], Any]:
    """The distilled start, made as by ``statim train``: teacher loaded, vectors from the cache."""

    def start(pairs: Pairs) -> tuple[Tokenizer, Callable[[TrainingSet], Any]]:
        begun = start_from("all-MiniLM-L6-v2", None, pairs, False)
        begun = with_vocabulary(begun, pairs, words=words, pairs=0, prune=False, threads=threads.count())
        return begun.tokenizer, lambda data: begun.table(data, recipe)

    return start


def split(place: Place) -> State:
    data = place.data
    if data == PYTHON_DOCS:
        pairs = python_docs(PACKAGES)
    else:
        path = Path(data)
        files = sorted(path.glob("train.jsonl*")) if path.is_dir() else [path]
        if not files:
            raise SystemExit(f"there is no train.jsonl or train.jsonl.gz in {path}")
        pairs = read_pairs(files)
    if place.asked.limit is not None and place.asked.limit < len(pairs):
        pairs = pairs.select(
            np.sort(np.random.default_rng(0).choice(len(pairs), place.asked.limit, replace=False))
        )
    held = min(HELD_OUT, len(pairs) // 20)
    return dict(write_parts(pairs, place.folder, development=held, test=held, limit=None))


def reference_recipe(place: Place, rate: float) -> Recipe:
    """As documented for static models, with a batch of 2,048 where that leaves enough steps."""
    batch = min(2048, 2 ** int(np.log2(max(16, place.count // 16))))
    levels = [level for level in (32, 64, 128, 256, 512, 1024) if level < place.asked.dim]
    return Recipe.make(
        place.count, None, dim=place.asked.dim, levels=levels, batch=batch, epochs=place.asked.epochs,
        learning_rate=rate
    )  # fmt: skip


def distilled_recipe(place: Place, rate: float) -> Recipe:
    """The same, but for the start's own dimensions and halves of them."""
    batch = reference_recipe(place, rate).batch
    return Recipe.make(
        place.count, place.start().dim, batch=batch, epochs=place.asked.epochs, learning_rate=rate
    )


def random_start(place: Place, recipe: Recipe) -> Any:
    tokenizer = place.start().tokenizer
    table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
    if tokenizer.unknown_id is not None:
        table[tokenizer.unknown_id] = 0
    return table


def distilled_start(place: Place, recipe: Recipe) -> Any:
    data = TrainingSet.of(place.pairs("train"), place.start().tokenizer, threads=place.workers)
    return place.start().table(data, recipe)


def sweep(place: Place, rates: list[float], recipe_of: Any, table_of: Any) -> State:
    """Train with each rate and take the one that is best on development pairs."""
    scores: dict[float, float] = {}
    table = table_of(place, recipe_of(place, rates[0]))
    data = TrainingSet.of(place.pairs("train"), place.start().tokenizer, threads=place.workers)
    waiting, extended = list(rates), 0
    while waiting:
        rate = waiting.pop(0)
        recipe = recipe_of(place, rate)
        if place.asked.sweep_with == "statim":
            optimizer = begin(table.copy(), data, recipe, place.workers)
            fit(data, optimizer, recipe)
            trained = optimizer.current()
        else:
            trained, _, _ = peer.by_sentence_transformers(
                place.folder,
                None,
                place.start().tokenizer,
                table,
                recipe,
                data_workers=place.asked.data_workers,
            )
        scores[rate] = place.scores(trained)["development"]
        best = max(scores, key=scores.__getitem__)
        edges = {min(scores): 0.5, max(scores): 2.0}
        if not waiting and best in edges and extended < EXTENSIONS:
            waiting.append(best * edges[best])
            extended += 1
    return {"rate": best, "scores": scores, "with": place.asked.sweep_with}


def sweep_random(place: Place) -> State:
    return sweep(place, numbers(place.asked.rates), reference_recipe, random_start)


def sweep_distilled(place: Place) -> State:
    return sweep(place, numbers(place.asked.distilled_rates), distilled_recipe, distilled_start)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def by_peer(place: Place, recipe: Recipe, table: Any) -> State:
    """sentence-transformers' training, with the curve of its quality over its seconds."""
    place.warm()
    place.scores(table)  # so that what it needs is there
    steps = place.count // recipe.batch
    total = steps * recipe.epochs
    points = {min(total, max(1, round(part * steps))) for part in CURVE} | {total}
    with tempfile.TemporaryDirectory() as out:
        trained, clock, curve = peer.by_sentence_transformers(
            place.folder, Path(out) / "model", place.start().tokenizer, table, recipe,
            data_workers=place.asked.data_workers, points=points, measure=place.scores,
        )  # fmt: skip
    finish = clock.phases["evaluate"] + clock.phases["save"]
    return {
        "seconds": round(clock.now(), 2), "phases": rounded(clock.phases), "rate": recipe.learning_rate,
        "batch": recipe.batch, "dim": recipe.dim, "epochs": recipe.epochs, "steps": total,
        "start": place.scores(table), **place.scores(trained),
        "curve": [{"step": step, "seconds": round(seconds + finish, 2), **scores} for step, seconds,
            scores in curve],
    }  # fmt: skip


def reference(place: Place) -> State:
    recipe = reference_recipe(place, place.found("sweep_random")["rate"])
    return by_peer(place, recipe, random_start(place, recipe))


def distilled(place: Place) -> State:
    recipe = distilled_recipe(place, place.found("sweep_distilled")["rate"])
    found = by_peer(place, recipe, distilled_start(place, recipe))
    goal = place.found("reference")["development"]
    reached = next((point for point in found["curve"] if point["development"] >= goal), None)
    return found | {"reached": reached}


def statim(place: Place) -> State:
    """The shortest training whose median score on development pairs reaches the reference's."""
    place.warm()
    goal = place.found("reference")["development"]
    candidates = place.asked.statim_recipe.split(";")
    trials: list[State] = []
    for length in numbers(place.asked.lengths):
        take = round(place.count * min(1, length))
        if take < min(LEAST, place.count):
            continue
        # a part of the pairs has words of its own, which the teacher would have to read first
        fit_for = [words for words in candidates if length >= 1 or "grow_words" not in words]
        here = [trial(place, length, take, words) for words in fit_for]
        print(
            *[{name: one[name] for name in ("length", "recipe", "seconds", "development")} for one in here],
            flush=True,
        )
        trials += here
        good = [one for one in here if one["development"] >= goal]
        if good:
            return {
                "reached": True,
                **min(good, key=lambda one: one["seconds"]),
                "goal": goal,
                "trials": trials,
            }
    best = max(trials, key=lambda one: one["development"])
    return {"reached": False, **best, "goal": goal, "trials": trials}


def trial(place: Place, length: float, take: int, words: str) -> State:
    """Several whole trainings of one length by one recipe, each on other pairs; medians."""
    given = {} if words == "default" else dict(part.split("=") for part in words.split(","))
    changes = {name: changed(name, value) for name, value in given.items()}
    grown = int(changes.pop("grow_words", 0))
    if grown:  # what the teacher reads is then in the cache, as its tokens are
        pairs = place.pairs("train")
        tokenizer, make_table = starting(Recipe.make(take, place.start().dim), grown)(pairs)
        make_table(TrainingSet.of(pairs, tokenizer, threads=place.workers))
    runs = []
    for seed in range(place.asked.repeats):
        recipe = Recipe.make(take, place.start().dim, epochs=max(1, int(length)), seed=seed, **changes)
        with tempfile.TemporaryDirectory() as out:
            model, clock, test = by_statim(
                place.folder, Path(out) / "model", starting(recipe, grown), recipe, place.workers, take=take
            )
        development = ndcg(model, place.folder / "development.jsonl")
        runs.append((clock, development, test))
    middle = sorted(runs, key=lambda one: sum(one[0].phases.values()))[len(runs) // 2][0]
    return {
        "length": length, "pairs": take, "recipe": words, "batch": recipe.batch, "rate": recipe.learning_rate,
        "epochs": recipe.epochs, "dim": recipe.dim,
        "seconds": round(sum(middle.phases.values()), 3), "phases": rounded(middle.phases),
        "development": round(statistics.median(one[1] for one in runs), 5),
        "test": round(statistics.median(one[2] for one in runs), 5),
        "each": [
            {"seconds": round(sum(one[0].phases.values()), 3), "development": round(one[1], 5),
                "test": round(one[2], 5)} for one in runs
        ],
    }  # fmt: skip


def changed(name: str, value: str) -> Any:
    """A value of a recipe; levels have - between them."""
    if name == "levels":
        return [int(level) for level in value.split("-")]
    if name in ("precision", "schedule"):
        return value
    return float(value) if name in ("learning_rate", "warmup", "scale") else int(value)


def epoch(place: Place) -> State:
    """The pace of statim's default recipe over all pairs once."""
    place.warm()
    one = trial(place, 1, place.count, "default")
    busy = one["phases"]["tokenize"] + one["phases"]["train"]
    return one | {
        "pairs_per_second": round(place.count / one["seconds"]),
        "train_pairs_per_second": round(place.count / one["phases"]["train"]),
        "tokenize_and_train_pairs_per_second": round(place.count / busy),
    }


def uncached(place: Place) -> State:
    """What distilling takes with an empty cache, and with a full one."""
    place.warm()
    seconds = {}
    before = os.environ["STATIM_CACHE"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STATIM_CACHE"] = folder
        try:
            for name in ("seconds", "cached_seconds"):
                began = time.perf_counter()
                token_vectors(Teacher.load("all-MiniLM-L6-v2"))
                seconds[name] = round(time.perf_counter() - began, 2)
        finally:
            os.environ["STATIM_CACHE"] = before
    return seconds


def finetune(place: Place) -> State:
    """Fine-tuning the transformer itself, in the faster precision."""
    found = {}
    for precision in ("bf16", "fp32"):
        steps, seconds = peer.finetuning(
            place.folder / "train.jsonl",
            resolve_teacher("all-MiniLM-L6-v2"),
            place.asked.finetune_seconds,
            precision,
        )
        found[precision] = {
            "steps": steps,
            "seconds": round(seconds, 1),
            "pairs_per_second": round(64 * steps / seconds, 2),
        }
    precision = max(found, key=lambda name: found[name]["pairs_per_second"])
    return {
        "batch": 64,
        "precision": precision,
        "pairs_per_second": found[precision]["pairs_per_second"],
        **found,
    }


def tell(name: str, result: State) -> None:
    """For a person."""
    print(f"{name}: {result['pairs']:,} pairs")
    print(f"  {'':44} {'seconds':>9} {'NDCG@10: development':>22} {'test':>7} {'statim is':>16}")

    def line(words: str, seconds: float, scores: State, sooner: str) -> None:
        print(f"  {words:44} {seconds:9.2f} {scores['development']:22.4f} {scores['test']:7.4f} {sooner:>16}")

    def times(key: str) -> str:
        return f"{result[key]:.1f} times" if key in result else ""

    if one := result.get("reference"):
        words = f"sentence-transformers, random start, {one['epochs']} epochs"
        line(words, one["seconds"], one, times("times_sooner"))
    if one := result.get("distilled"):
        reached = one["reached"] or one["curve"][-1]
        words = "sentence-transformers, distilled start" + ("" if one["reached"] else " (not reached)")
        line(words, reached["seconds"], reached, times("times_sooner_than_distilled"))
    if one := result.get("statim"):
        line(
            f"statim, {one['pairs']:,} pairs" + ("" if one["reached"] else " (not reached)"),
            one["seconds"],
            one,
            "",
        )
        if "seconds_uncached" in result:
            line(
                "statim, distillation uncached",
                result["seconds_uncached"],
                one,
                times("times_sooner_uncached"),
            )
    if "finetune" in result:
        print(
            f"  fine-tuning all-MiniLM-L6-v2: {result['finetune']['pairs_per_second']:.1f} pairs/s; "
            f"statim, one epoch: {result['epoch']['pairs_per_second']:,} from disk to model "
            f"({result['times_the_pairs_per_second']:,} times), "
            f"{result['epoch']['train_pairs_per_second']:,} training "
            f"({result['times_the_pairs_per_second_train']:,} times)"
        )


STEPS: dict[str, Callable[[Place], State]] = {
    "split": split, "sweep_random": sweep_random, "reference": reference, "sweep_distilled": sweep_distilled,
    "distilled": distilled, "statim": statim, "epoch": epoch, "uncached": uncached, "finetune": finetune,
}  # fmt: skip


if __name__ == "__main__":
    main()
