"""Ablations: the gain of each ingredient of training on held-out pairs, three seeds.

Writes a table in Markdown.

    python benchmarks/ablation.py DATA ... [--only ROW,ROW] [--set NAME,NAME] [--out out/ablation]
        [--page docs/ablation.md]

DATA are folders with train.jsonl.gz, files of pairs, or the word python-docs. Sets of more than --limit
pairs are cut to as many, drawn at random. Each is split once, without near-duplicates across its parts. A
row is a training with one thing changed (see ablation_rows.py). Its rate is searched on the development
pairs with seed 0, by factors of two from the two rates that were best for the row it is compared with,
until it gets worse; then it is trained with SEEDS other seeds, which decide the order of the pairs and all
random numbers but the split. Test pairs are only reported. Every training is kept in OUT/NAME.json as soon
as it is done, so that an interrupted run goes on, and a row or a set can be done by itself; the page shows
what is there. BM25 and the teacher itself, untrained, are measured on the same test pairs. With
--page-only nothing is trained.

Times are those of the processor, both threads together, of training alone (mining included), relative to
the default's: on a machine that others use the clock says nothing.
"""

import argparse
import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import shaping
from ablation_page import page
from ablation_rows import ROWS, Arm
from statim import threads
from statim.data.detect_task import read_supervision
from statim.data.documents.own_sentences import own_sentences
from statim.data.documents.plain import PlainTexts
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import PYTHON_DOCS, Pairs
from statim.data.pairs.python_docs import python_docs
from statim.data.split import Split, split
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.files import atomic_file, read_json, write_json
from statim.mining.guards import Guards
from statim.mining.mine import mine_hard_negatives
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training import initial_tables
from statim.training import start as starts
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.sets import TextSet
from statim.training.distillation.teacher_targets import TeacherTargets, teacher_targets
from statim.training.hyperparameters import TAUGHT
from statim.training.loop import hard_negatives
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe
from statim.training.run.history import NDCG
from statim.training.run.load import Loaded
from statim.training.run.validation import Validation

EPOCHS = 3  # of every row that says no other
HELD_OUT = 2000  # pairs for development, and for the test
LIMIT = 20_000
OWN_RATES = ("default", "usual")  # rows that are measured at the default rate, too
SEEDS = range(1, 4)  # of the figures; the rate is chosen with another
RATES = [0.1 * 2.0**power for power in range(-4, 5)]

Floats = npt.NDArray[np.float32]
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", nargs="+", help="folders or files of pairs, or python-docs")
    parser.add_argument("--only", default=None, help="some of the rows, with commas; baselines, too, is one")
    parser.add_argument("--set", default=None, help="some of the sets, with commas")
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    parser.add_argument("--page", type=Path, default=Path("docs/ablation.md"))
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--page-only", action="store_true")
    asked = parser.parse_args()
    rows = [name for name, arm in ROWS.items() if not arm.slow]
    rows = asked.only.split(",") if asked.only else ["baselines", *rows]
    unknown = set(rows) - {"baselines", *ROWS}
    if unknown:
        raise SystemExit(f"there is no row {', '.join(sorted(unknown))}; the rows are {', '.join(ROWS)}")
    wanted = asked.set.split(",") if asked.set else None
    asked.out.mkdir(parents=True, exist_ok=True)
    places = [Place(source, asked.out, asked.limit) for source in asked.data]
    for row in [] if asked.page_only else rows:
        for place in places:
            if wanted is None or place.name in wanted:
                place.baselines() if row == "baselines" else place.row(row, ROWS[row])
                write_page(asked.out, asked.page)
    write_page(asked.out, asked.page)


def write_page(out: Path, to: Path) -> None:
    """The table of all that has been measured."""
    found = {path.stem: read_json(path) for path in sorted(out.glob("*.json"))}
    to.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(to) as file:
        file.write(page(found).encode())


class Place:
    """One data set, and what has been measured on it; it is read when it is first needed.

    Attributes:
        name: Of the set.
        state: ``pairs`` (how many), ``baselines``, and ``rows``: of each its ``arm``, ``runs`` ("rate
            seed" -> figures), ``rate``.
    """

    def __init__(self, source: str, out: Path, limit: int) -> None:
        path = Path(source)
        folder = path if path.is_dir() or source == PYTHON_DOCS else path.parent
        self.name, self._limit = folder.name, limit
        self._source = source if source == PYTHON_DOCS or path.is_file() else str(path / "train.jsonl.gz")
        self._file = out / f"{self.name}.json"
        self.state: Found = read_json(self._file) if self._file.exists() else {"rows": {}}
        self._parts: Any = None
        self._made: dict[str, Any] = {}
        self._tables: dict[str, tuple[Floats, float]] = {}
        self._data: tuple[str, TrainingSet] | None = None
        self._start: tuple[str, Floats] | None = None
        self._targets: tuple[tuple[str, int], TeacherTargets] | None = None

    def keep(self) -> None:
        """Write what has been found."""
        self.state["date"] = datetime.date.today().isoformat()
        write_json(self._file, self.state)

    @property
    def parts(self) -> Any:
        """The training, development and test pairs."""
        if self._parts is None:
            source = python_docs(None) if self._source == PYTHON_DOCS else self._source
            pairs = read_supervision(source, kind="pairs")
            read = len(pairs)
            if read > self._limit:
                chosen = np.random.default_rng(0).permutation(read)[: self._limit]
                pairs = pairs.select(np.sort(chosen))
            self._parts = split(pairs, development=HELD_OUT, test=HELD_OUT)
            counts = {part: len(getattr(self._parts, part)) for part in ("train", "development", "test")}
            found = {"read": read, "hash": pairs.hash} | counts
            if read > self._limit:
                found["limit"] = self._limit
            if self.state.setdefault("pairs", found) != found:
                raise SystemExit(
                    f"{self._file} was made from other pairs of {self.name}; give another --out, or delete it"
                )
        return self._parts

    def baselines(self) -> None:
        """BM25 and the teacher on the test pairs."""
        found = self.state.setdefault("baselines", {})
        if "bm25" not in found:
            found["bm25"] = evaluate_bm25(from_pairs(self.parts.test), metrics=(NDCG,)).metrics[NDCG]
            self.keep()
        if "teacher" not in found:
            test = from_pairs(self.parts.test)
            found["teacher"] = evaluate_retrieval(Teacher.load(), test, metrics=(NDCG,)).metrics[NDCG]
            self.keep()
        print(f"{self.name}: {json.dumps(found)}", flush=True)

    def row(self, name: str, arm: Arm) -> None:
        """All trainings of a row that have not been done."""
        row = self.state["rows"].get(name)
        if row is None or row["arm"] != arm.key():
            row = self.state["rows"][name] = {"arm": arm.key(), "runs": {}}
        if arm.time_of:
            row.setdefault("epochs", self.epochs_in_time(arm.time_of))
        beside = "usual" if arm.usual or arm.time_of else "default"
        rates = arm.rates or tuple(self.tried(beside)[:2])
        climb(lambda rate: self.run(name, arm, rate, 0)["development"], rates, arm.tries)
        row["rate"] = self.tried(name)[0]
        own = Recipe.make(len(self.parts.train), None if arm.start == "random" else 384).learning_rate
        for rate in {row["rate"], own} if name in OWN_RATES else {row["rate"]}:
            for seed in SEEDS:
                self.run(name, arm, rate, seed)
        row["own"] = own
        self.keep()

    def tried(self, name: str) -> list[float]:
        """The rates that a row was tried with, the best first."""
        runs = self.state["rows"][name]["runs"]
        keys = [key for key in runs if key.endswith(" 0")]
        keys.sort(key=lambda key: -runs[key]["development"])
        return [float(key.split()[0]) for key in keys]

    def epochs_in_time(self, name: str) -> int:
        """Epochs of a training without negatives that take as long as another row's trainings did."""
        both = (self.state["rows"][row]["runs"].values() for row in ("usual", name))
        usual, other = (float(np.median([run["seconds"] for run in runs])) for runs in both)
        return round(Recipe.make(len(self.parts.train), 384).epochs * other / usual)

    def run(self, name: str, arm: Arm, rate: float, seed: int) -> Found:
        """One training of a row, or what was found before."""
        runs = self.state["rows"][name]["runs"]
        key = f"{rate:g} {seed}"
        if key not in runs:
            start, development, test = self.start(arm)
            epochs = self.state["rows"][name].get("epochs")
            table, seconds = self.trained(arm, start, rate, seed, epochs)
            runs[key] = {
                "development": development.score(table),
                "test": test.score(table),
                "seconds": round(seconds, 2),
            }
            self.keep()
            print(f"{self.name}, {name}, rate and seed {key}: {json.dumps(runs[key])}", flush=True)
        return dict(runs[key])

    def start(self, arm: Arm) -> tuple[Any, Validation, Validation]:
        """Where an arm starts, and both tasks by its tokenizer; those of the last start are kept."""
        key = json.dumps([arm.start, arm.grow])
        if key not in self._made:
            begun = starts.start_from(
                None if arm.start == "distilled" else arm.start, None, self.parts.train, False
            )
            words, pairs = arm.grow
            begun = starts.with_vocabulary(
                begun, self.parts.train, words=words, pairs=pairs, prune=None, threads=threads.count()
            )
            tasks = [
                Validation(part, begun.tokenizer, begun.settings, threads.count())
                for part in (self.parts.development, self.parts.test)
            ]
            kept = {name: made for name, made in self._made.items() if name == self._default}
            self._made = kept | {key: (begun, *tasks)}
        found: tuple[Any, Validation, Validation] = self._made[key]
        return found

    @property
    def _default(self) -> str:
        return json.dumps([ROWS["default"].start, ROWS["default"].grow])

    def data(self, arm: Arm, begun: Any) -> TrainingSet:
        """The training pairs, tokenized; the last are kept."""
        recipe = arm.recipe
        key = json.dumps(
            [arm.start, arm.grow, arm.miner, arm.masked, recipe.get("hard_negatives"), recipe.get("loss")]
        )
        if self._data is not None and self._data[0] == key:
            return self._data[1]
        pairs = self.parts.train
        if arm.miner == "teacher":
            pairs = by_teacher(pairs, arm.recipe["hard_negatives"], begun.tokenizer)
        data = TrainingSet.of(pairs, begun.tokenizer, threads=threads.count())
        if not arm.masked:
            # of each text only itself is left
            texts = len(data.known_offsets) - 1
            data = dataclasses.replace(
                data, known=np.arange(texts, dtype=np.int32), known_offsets=np.arange(texts + 1)
            )
        if arm.recipe.get("loss") in TAUGHT:
            recipe = Recipe.make(len(data), 384, loss=arm.recipe["loss"])
            data = taught(data, pairs, None, begun.tokenizer, recipe).data  # type: ignore[assignment]
        self._data = key, data
        return data

    def beside(self, arm: Arm, begun: Any, data: TrainingSet, recipe: Recipe) -> TeacherTargets | None:
        """What a teacher gives beside the pairs; of the last arm it is kept."""
        kind, most = arm.distil
        if not kind:
            return None
        if self._targets is None or self._targets[0] != arm.distil:
            pairs = self.parts.train
            plain = own_sentences(pairs, most, 0) if kind == "sentences" else None
            self._targets = arm.distil, taught(data, pairs, plain, begun.tokenizer, recipe)
        return self._targets[1]

    def starting(self, arm: Arm, begun: Any, data: TrainingSet, recipe: Recipe) -> Floats:
        """The table that training starts from; of distilled ones, which no seed changes, the last is kept."""
        key = json.dumps([arm.start, arm.grow, arm.sif])
        if arm.start == "random":
            table: Floats = begun.table(data, recipe)
            return table
        if self._start is None or self._start[0] != key:
            with start_weights(arm.sif):
                self._start = key, begun.table(data, recipe)
        return self._start[1].copy()

    def trained(
        self, arm: Arm, begun: Any, rate: float, seed: int, epochs: int | None
    ) -> tuple[Floats, float]:
        """The table of an arm, and the processor's seconds it took."""
        data = self.data(arm, begun)
        options = {"epochs": epochs or (None if arm.usual else EPOCHS), "learning_rate": rate} | arm.recipe
        if arm.miner == "teacher":
            options["hard_negatives"] = 0
        done = []
        for number in range(several(arm)):
            recipe = Recipe.make(len(data), begun.dim, **options, seed=seed * several(arm) + number)
            if arm.whole:
                recipe = dataclasses.replace(recipe, levels=(recipe.dim,))
            done.append(self.training(arm, data, recipe, begun))
        seconds, began = sum(took for _, took in done), time.process_time()
        table = shaping.soup([table for table, _ in done]) if arm.shape == "soup" else done[0][0]
        if arm.shape == "common":
            unknown = begun.tokenizer.unknown_id
            table = shaping.without_common(
                table, data, int(arm.shape_with), unknown=unknown, threads=threads.count()
            )
        return table, seconds + time.process_time() - began

    def training(self, arm: Arm, data: TrainingSet, recipe: Recipe, begun: Any) -> tuple[Floats, float]:
        """One training, and its seconds; the default's are kept for the arms that only shape its tables."""
        plain = dataclasses.replace(arm, shape="", shape_with=0) if arm.shape in ("soup", "common") else arm
        key = json.dumps([plain.key(), recipe.to_dict()])
        if key in self._tables:
            return self._tables[key]
        table, lesson = self.starting(arm, begun, data, recipe), self.beside(arm, begun, data, recipe)
        if lesson is not None:
            table = lesson.start(table, threads.count())
        began = time.process_time()
        found = (
            train(arm, data, table, recipe, begun, lesson.taught if lesson else None),
            time.process_time() - began,
        )
        if plain.key() == ROWS["default"].key():
            self._tables[key] = found
        return found


def several(arm: Arm) -> int:
    """How many trainings an arm consists of."""
    return int(arm.shape_with) if arm.shape == "soup" else 1


def train(
    arm: Arm, data: TrainingSet, table: Floats, recipe: Recipe, begun: Any, beside: TextSet | None
) -> Floats:
    """One training of an arm."""
    workers = threads.count()
    optimizer = begin(table, data, recipe, workers)
    if arm.shape == "weights":
        shaping.weighted(optimizer, arm.shape_with)
    tail = shaping.Tail(arm.shape_with) if arm.shape == "tail" else None
    with guarded(arm.guard):
        miner = hard_negatives.Miner(data, recipe, begun.source is not None, workers)
        for stretch, until in miner.stretches(optimizer, lambda: False):
            fit(stretch, optimizer, recipe, until=until, on_step=tail, taught=beside)
    if tail is not None:
        return tail.table()
    return optimizer.current()


def climb(score: Callable[[float], float], rates: tuple[float, float], tries: int) -> None:
    """Try RATES, from two neighbours on by factors of two until it gets worse or ``tries`` are done."""
    low, high = (int(np.argmin([abs(rate - known) for known in RATES])) for rate in rates)
    at, other = (low, high) if score(RATES[low]) >= score(RATES[high]) else (high, low)
    step = at - other
    while (
        (tries := tries - 1) > 1
        and 0 <= at + step < len(RATES)
        and score(RATES[at + step]) > score(RATES[at])
    ):
        at += step


@contextmanager
def start_weights(constant: float | None) -> Iterator[None]:
    """Distilled starts weigh rows by another constant; 0 weighs all alike."""
    before = initial_tables.SIF
    if constant is not None:
        initial_tables.SIF = constant or 1e9
    yield
    initial_tables.SIF = before


@contextmanager
def guarded(guard: Found) -> Iterator[None]:
    """Trainings mine with other guards."""
    before = hard_negatives.Guards

    def make(negatives: int, first: int, last: int, relative_margin: float | None) -> Guards:
        given = {"relative_margin": guard.get("margin", relative_margin)}
        return before(negatives, first, last, sampling=guard.get("sampling", "top"), **given)  # type: ignore[arg-type]

    hard_negatives.Guards = make  # type: ignore[assignment,misc]
    yield
    hard_negatives.Guards = before  # type: ignore[misc]


def taught(
    data: TrainingSet, pairs: Pairs, plain: PlainTexts | None, tokenizer: Tokenizer, recipe: Recipe
) -> TeacherTargets:
    """What the usual teacher gives for pairs, and for plain texts beside them."""
    nothing = pairs.select([])
    parts = Split(pairs, nothing, nothing, moved=0, joined=0, returned=0, asked=(0, 0))
    loaded = Loaded(pairs, parts, plain, plain, len(pairs), (), (), recipe.loss)
    return teacher_targets(data, loaded, Teacher.load(), tokenizer, recipe, threads.count(), False)


def by_teacher(pairs: Pairs, count: int, tokenizer: Tokenizer) -> Pairs:
    """Pairs with negatives that the teacher mined; a pair for which it finds none has none."""
    data = TrainingSet.of(pairs, tokenizer, threads=threads.count())
    recipe = Recipe.make(len(data), 384, loss="kl", hard_negatives=count)
    views: Any = taught(data, pairs, None, tokenizer, recipe).data
    vectors = views.views.of_queries(data.anchors), views.views.of_documents(data.candidates[:, 0])
    table = pa.table({"anchor": pairs.anchors, "positive": pairs.positives})
    found = mine_hard_negatives(
        table, vectors=vectors, range_max=hard_negatives.RANKS, relative_margin=hard_negatives.MARGIN,
        num_negatives=count,
        output_format="triplet",
    ).table  # fmt: skip
    negatives: dict[tuple[str, str], list[str]] = {}
    for row in found.to_pylist():
        negatives.setdefault((row["anchor"], row["positive"]), []).append(row["negative"])
    rows = [
        negatives.get(pair, [])
        for pair in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True)
    ]
    columns = tuple(
        pa.array([row[place] if place < len(row) else None for row in rows], pa.large_string())
        for place in range(count)
    )
    return dataclasses.replace(pairs, negatives=columns)


if __name__ == "__main__":
    main()
