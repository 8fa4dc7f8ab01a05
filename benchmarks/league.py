"""The league table: statim's general model beside static models, BM25, hybrid search and MiniLM.

    python benchmarks/league.py EVAL --models general=out/general --out out/league
    python benchmarks/league.py EVAL --models a=out/a b=out/b --out out/league --split dev --heldout
        held.jsonl

EVAL is a folder with sts/, classification/, retrieval/, pairclass/ and clustering/. One row a model, one
column a set, averages per family; sets of a kind that the model has trained on are marked (home) and
averaged apart, and so are two that saturate (they are also for choosing). ``--split dev`` prints the sets
that recipes may be chosen by instead, and looks at no other.

The first of --models is compared with every static peer, and its hybrid search with BM25 and MiniLM, by a
paired bootstrap: queries, pairs or texts are drawn with replacement 2,000 times, for each set of a family,
and the family's average is taken each time.

Scores are kept in --out by the contents of a model, so the table is made again in seconds; so are the
vectors of MiniLM, which take half an hour on two cores. With ``--kept-only`` MiniLM is shown only where
its vectors are there. ``--page FILE`` puts the tables between the two marks of that Markdown page.
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import league_models
from league_models import PEERS, MissingError
from league_sets import FAMILIES, Column, by_bm25, dev_columns, hybrid, test_columns
from pages import write_between
from statim import StaticModel
from statim.evaluation import Encoder, table
from statim.files import atomic_file
from statim.search.hybrid import WEIGHT
from statim.teacher.folder import DEFAULT_TEACHER

BM25 = "BM25"
SHARES = {"STS": 0.94, "classification": 0.95, "retrieval": 0.92}  # of MiniLM's average, that are aimed at
MARKS = ("<!-- league -->", "<!-- end of league -->")
HOME, WHOLE = "home", "retrieval, with two that saturate"

Floats = npt.NDArray[np.float64]


@dataclass
class Row:
    """A model of the league.

    Attributes:
        name: In the table.
        key: The folder of its scores; of the model's contents where it can change.
        load: Gives its encoder.
        weight: Of the vectors in hybrid search with BM25; None for vectors alone.
    """

    name: str
    key: str
    load: Callable[[], Encoder] | None
    weight: float | None = None
    encoder: Encoder | None = None

    def measure(self, column: Column) -> Floats | None:
        """The items of a set; None where the row is for retrieval only, or the vectors are not there."""
        if (self.load is None or self.weight is not None) and column.family != "retrieval":
            return None
        if self.load is None:
            return by_bm25(column)
        self.encoder = self.encoder or self.load()
        try:
            if self.weight is not None:
                return hybrid(column, self.encoder, [self.weight])[0]
            return column.measure(self.encoder)
        except MissingError:
            return None


@dataclass
class Score:
    """A model's figure on a set, and what it would be on sets drawn from it, (SAMPLES,)."""

    figure: float
    draws: Floats


Scores = dict[tuple[str, str], Score]  # by the names of row and column


def main() -> None:
    arguments = parse()
    columns = (
        test_columns(arguments.data)
        if arguments.split == "test"
        else dev_columns(arguments.data, heldout_of(arguments))
    )
    rows = rows_of(arguments)
    scores = measure(rows, columns, arguments.out)
    ours = next((row.name for row in rows if row.key.startswith("own ")), None)
    groups = groups_of(columns)
    tables = [sets_table(rows, columns, scores), families_table(rows, groups, scores)]
    found = differences(ours, rows, groups, scores) if ours else []
    if found:
        tables.append(differences_table(found))
    print("\n\n".join(table.plain(*one) for one in tables))
    if arguments.page:
        # models are columns there, since there are fewer of them than sets
        turned = [*(turn(*one) for one in tables[:2]), *tables[2:]]
        write_between(arguments.page, MARKS, "\n\n".join(table.markdown(*one) for one in turned))
    print(json.dumps(summary(arguments, rows, columns, groups, scores, found, ours)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="NAME=PATH", help="static models; the first is compared"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument(
        "--heldout", nargs="*", type=Path, default=[], help="files of pairs no model has seen, for dev"
    )
    parser.add_argument(
        "--corpora", nargs="*", type=Path, default=[], help="pairs, whose tokens the start is weighted by"
    )
    parser.add_argument("--weight", type=float, default=WEIGHT, help="of the vectors in hybrid search")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="static models of others; by default all"
    )
    parser.add_argument("--kept-only", action="store_true", help="compute no vectors with MiniLM")
    parser.add_argument("--page", type=Path)
    return parser.parse_args()  # fmt: skip


def heldout_of(arguments: argparse.Namespace) -> list[Path]:
    """The files given, and those that lie beside the data as TRAIN/heldout.jsonl.gz."""
    beside = sorted((arguments.data.parent / "train").glob("*/heldout.jsonl*"))
    return [*beside, *arguments.heldout]


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    out, rows = arguments.out, []
    corpora = arguments.corpora or sorted((arguments.data.parent / "train").glob("*/train.jsonl*"))
    for given in arguments.models:
        name, _, path = given.partition("=")
        if not path or not Path(path).exists():
            raise SystemExit(f"--models {given} names no model that is there; give NAME=PATH")
        key = f"own {league_models.version(Path(path))}"
        rows.append(Row(name, key, lambda path=path: StaticModel.load(path)))
    own = list(rows)
    rows += [
        Row(name, name, lambda name=name: league_models.peer(name, out, corpora)) for name in arguments.peers
    ]
    teacher = Row(
        DEFAULT_TEACHER, DEFAULT_TEACHER, lambda: league_models.teacher(out, compute=not arguments.kept_only)
    )
    rows += [Row(BM25, BM25, None), teacher]
    weight = arguments.weight
    return rows + [
        Row(hybrid_name(row.name), f"{row.key} hybrid {weight:g}", row.load, weight) for row in [*own,
            teacher]
    ]  # fmt: skip


def hybrid_name(name: str) -> str:
    return f"{name} + {BM25}"


def measure(rows: Sequence[Row], columns: Sequence[Column], out: Path) -> Scores:
    """Every row's score on every set; from the files in ``out`` where they are there."""
    scores: Scores = {}
    for column in columns:
        for row in rows:
            path = out / "scores" / row.key / f"{column.name}.npz"
            if not path.exists():
                started = time.perf_counter()
                items = row.measure(column)
                if items is None:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(path) as file:
                    np.savez(file, figure=column.figure(items), draws=column.draws(items))
                seconds = time.perf_counter() - started
                print(f"{column.name}, {row.name}: {seconds:.1f} s", file=sys.stderr, flush=True)
            with np.load(path) as kept:
                scores[row.name, column.name] = Score(float(kept["figure"]), kept["draws"])
    return scores


def groups_of(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Which sets are averaged: each family, without those at home and those that saturate; and these."""
    groups = {
        family: [c for c in columns if c.family == family and not c.home and not c.saturated]
        for family in FAMILIES
    }
    saturated = [c for c in columns if c.family == "retrieval" and not c.home]
    if saturated != groups["retrieval"]:
        groups[WHOLE] = saturated
    groups[HOME] = [c for c in columns if c.home]
    return {name: members for name, members in groups.items() if members}


def average(name: str, members: Sequence[Column], scores: Scores) -> Score | None:
    """A row's average over sets; None where one is missing."""
    found = [scores.get((name, column.name)) for column in members]
    if any(score is None for score in found):
        return None
    known = [score for score in found if score is not None]
    return Score(
        float(np.mean([s.figure for s in known])), np.asarray(np.mean([s.draws for s in known], axis=0))
    )


def sets_table(
    rows: Sequence[Row], columns: Sequence[Column], scores: Scores
) -> tuple[list[str], list[list[str]]]:
    header = [
        "",
        *(c.name + (" (home)" if c.home else " (saturates)" if c.saturated else "") for c in columns),
    ]
    body = [[row.name, *(cell(scores.get((row.name, c.name))) for c in columns)] for row in rows]
    return header, body  # fmt: skip


def families_table(
    rows: Sequence[Row], groups: dict[str, list[Column]], scores: Scores
) -> tuple[list[str], list[list[str]]]:
    """Averages, and what share of MiniLM's they are."""
    body = []
    for row in rows:
        cells = []
        for members in groups.values():
            mine, its = average(row.name, members, scores), average(DEFAULT_TEACHER, members, scores)
            share = (
                f" ({100 * mine.figure / its.figure:.0f} %)"
                if mine and its and row.name != DEFAULT_TEACHER
                else ""
            )
            cells.append(cell(mine) + share)
        body.append([row.name, *cells])
    return ["average (of MiniLM's)", *groups], body  # fmt: skip


def cell(score: Score | None) -> str:
    return "" if score is None else f"{100 * score.figure:.1f}"


def differences(
    ours: str, rows: Sequence[Row], groups: dict[str, list[Column]], scores: Scores
) -> list[dict[str, Any]]:
    """Our model against each peer in each group, and hybrid search against BM25 and MiniLM.

    With the middle 95 % of the bootstrap.
    """
    names = [row.name for row in rows if row.weight is None and row.name not in (ours, BM25)]
    pairs = [(ours, other, group) for group in groups for other in names]
    retrieval = [group for group in groups if groups[group][0].family == "retrieval"]
    both = hybrid_name(ours)
    pairs += [(both, other, group) for group in retrieval for other in (BM25, DEFAULT_TEACHER, ours)]
    pairs += [(ours, BM25, group) for group in retrieval]
    found = []
    for mine, other, group in pairs:
        a, b = average(mine, groups[group], scores), average(other, groups[group], scores)
        if a is None or b is None:
            continue
        gaps = a.draws - b.draws
        low, high = np.quantile(gaps, [0.025, 0.975])
        tail = min(int((gaps <= 0).sum()), int((gaps >= 0).sum())) + 1
        found.append({
            "model": mine, "against": other, "group": group, "difference": a.figure - b.figure,
            "low": float(low),
            "high": float(high), "p": min(1.0, 2 * tail / (len(gaps) + 1)), "share": a.figure / b.figure,
            "share_low": float(np.quantile(a.draws / b.draws, 0.025)),
            "share_high": float(np.quantile(a.draws / b.draws, 0.975)),
        })  # fmt: skip
    return found


def differences_table(found: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    header = ["paired", "against", "family", "difference", "95 %", "p", "share"]
    body = [
        [
            d["model"],
            d["against"],
            d["group"],
            f"{100 * d['difference']:+.1f}",
            (f"{100 * d['low']:+.1f} to {100 * d['high']:+.1f}"),
            f"{d['p']:.3f}",
            (f"{100 * d['share']:.1f} % ({100 * d['share_low']:.1f} to {100 * d['share_high']:.1f})"),
        ]
        for d in found
    ]
    return header, body


def turn(header: list[str], body: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The table with rows for columns."""
    turned = [list(cells) for cells in zip(header, *body, strict=True)]
    return turned[0], turned[1:]


def summary(
    arguments: argparse.Namespace,
    rows: Sequence[Row],
    columns: Sequence[Column],
    groups: dict[str, list[Column]],
    scores: Scores,
    found: Sequence[dict[str, Any]],
    ours: str | None,
) -> dict[str, Any]:
    """All figures as JSON; ``goals`` says whether each aim is reached, None if a figure is missing."""
    figures = {
        row.name: {c.name: round(100 * s.figure, 2) for c in columns if (s := scores.get((row.name, c.name)))}
        for row in rows
    }
    averages = {
        row.name: {g: round(100 * s.figure, 2) for g,
            m in groups.items() if (s := average(row.name, m, scores))} for row in rows
    }  # fmt: skip
    goals: dict[str, Any] = {}
    if ours:
        for group in groups:
            peers = [d for d in found if d["model"] == ours and d["group"] == group and d["against"] in PEERS]
            goals[f"{group}: above every static peer"] = all(d["low"] > 0 for d in peers) if peers else None
        for family, least in SHARES.items():
            share = [
                d["share"]
                for d in found
                if d["model"] == ours and d["group"] == family and d["against"] == DEFAULT_TEACHER
            ]
            goals[f"{family}: {100 * least:.0f} % of MiniLM"] = share[0] >= least if share else None
        for other in (BM25, DEFAULT_TEACHER):
            gaps = [
                d["low"]
                for d in found
                if d["model"] == hybrid_name(ours) and d["group"] == "retrieval" and d["against"] == other
            ]
            goals[f"hybrid above {other}"] = gaps[0] > 0 if gaps else None
    return {
        "benchmark": "league", "date": datetime.date.today().isoformat(), "split": arguments.split,
        "weight": arguments.weight,
        "figures": figures, "averages": averages,
        "differences": [{k: round(v, 4) if isinstance(v, float) else v for k, v in d.items()} for d in found],
        "goals": goals,
    }  # fmt: skip


if __name__ == "__main__":
    main()
