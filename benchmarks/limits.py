"""What static models cannot do: negation, word order, roles. Reported beside the league.

    python benchmarks/limits.py general=out/general --out out/league [--page docs/league.md]

Each item is three sentences: one, one that says something else with nearly the same words, and one that
says the same with other words. A model that reads them as people do puts the third closer to the first
than the second ("right", in per cent; chance is 50). A mean of word vectors is blind to order: two
sentences of the same words have a cosine of exactly 1. The sentences were made for this probe. Rows: the
models named, model2vec's distillation and all-MiniLM-L6-v2.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import league_models
from pages import write_between
from statim import StaticModel
from statim.evaluation import Encoder, table
from statim.teacher.folder import DEFAULT_TEACHER

MARKS = ("<!-- limits -->", "<!-- end of limits -->")
Item = tuple[str, str, str]  # one, another meaning, the same meaning

ANIMALS = ("dog", "horse", "goose", "cat", "bull", "wolf")
PEOPLE = ("Anna", "Mehmet", "Grace", "Pavel", "Noor", "Luis")
CITIES = ("Lisbon", "Warsaw", "Cairo", "Oslo", "Lyon", "Athens")
ADJECTIVES = (
    ("medicine", "safe", "harmless"), ("bridge", "strong", "sturdy"), ("soup", "hot", "warm"),
    ("exam", "hard", "difficult"),
    ("street", "quiet", "calm"), ("answer", "correct", "right"), ("phone", "cheap", "inexpensive"),
    ("film", "boring", "dull"),
    ("box", "big", "large"), ("server", "reachable", "online"),
)  # fmt: skip
DOINGS = (
    ("ate", "swam"), ("called the doctor", "took the pill"), ("paid", "signed the contract"),
    ("saved the file", "closed the window"),
    ("mixed the flour", "heated the oven"), ("locked the door", "turned off the light"),
)  # fmt: skip
AMOUNTS = (("pages", 20), ("guests", 50), ("tickets", 4), ("hours", 8), ("characters", 12), ("euros", 300))


def negation() -> Iterator[Item]:
    for thing, adjective, other in ADJECTIVES:
        yield (
            f"The {thing} is {adjective}.",
            f"The {thing} is not {adjective}.",
            f"This {thing} is quite {other}.",
        )
        yield (
            f"Customers say that the {thing} is {adjective}.",
            f"Customers never say that the {thing} is {adjective}.",
            f"According to buyers, the {thing} is {other}.",
        )


def word_order() -> Iterator[Item]:
    for a, b in itertools.permutations(ANIMALS, 2):
        yield f"The {a} chased the {b}.", f"The {b} chased the {a}.", f"The {b} was being chased by a {a}."


def roles() -> Iterator[Item]:
    for a, b in itertools.permutations(PEOPLE, 2):
        yield f"{a} sold the house to {b}.", f"{b} sold the house to {a}.", f"{b} bought the house from {a}."


def direction() -> Iterator[Item]:
    for a, b in itertools.permutations(CITIES, 2):
        yield (
            f"a flight from {a} to {b}",
            f"a flight from {b} to {a}",
            f"a plane that leaves {a} and lands in {b}",
        )


def time_order() -> Iterator[Item]:
    for (first, second), name in itertools.product(DOINGS, PEOPLE[:3]):
        yield (
            f"{name} {first} before she {second}.",
            f"{name} {second} before she {first}.",
            f"{name} {second} after she {first}.",
        )


def quantity() -> Iterator[Item]:
    for (things, number), verb in itertools.product(AMOUNTS, ("allowed", "needed", "expected")):
        yield (
            f"At least {number} {things} are {verb}.",
            f"At most {number} {things} are {verb}.",
            f"{number} or more {things} are {verb}.",
        )


KINDS = {
    "negation": negation, "word order": word_order, "roles": roles, "direction": direction,
    "order in time": time_order,
    "at least, at most": quantity,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--out", type=Path, required=True, help="where the league keeps its models")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    encoders: dict[str, Encoder] = {}
    for given in arguments.models:
        name, _, path = given.partition("=")
        encoders[name] = StaticModel.load(path or name)
    encoders[league_models.MODEL2VEC] = league_models.model2vec(arguments.out)
    encoders[DEFAULT_TEACHER] = league_models.teacher(arguments.out)
    rows, body = [], []
    for kind, items in KINDS.items():
        triples = list(items())
        cells = []
        for name, encoder in encoders.items():
            other, same = cosines(encoder, triples)
            right = float(np.mean(np.where(np.isclose(same, other, atol=1e-6), 0.5, same > other)))
            rows.append(
                {
                    "kind": kind,
                    "model": name,
                    "items": len(triples),
                    "another_meaning": round(float(other.mean()), 3),
                    "same_meaning": round(float(same.mean()), 3),
                    "right": round(100 * right, 1),
                }
            )
            cells += [f"{other.mean():.2f}", f"{same.mean():.2f}", f"{100 * right:.0f} %"]
        body.append([kind, str(len(triples)), *cells])
    header = ["", "items", *(f"{name}: {what}" for name in encoders for what in ("other", "same", "right"))]
    print(table.plain(header, body))
    if arguments.page:
        examples = [[kind, *next(items())] for kind, items in KINDS.items()]
        shown = table.markdown(["", "a sentence", "another meaning", "the same meaning"], examples, left=4)
        write_between(arguments.page, MARKS, f"{table.markdown(header, body)}\n\n{shown}")
    print(json.dumps({"benchmark": "limits", "rows": rows}))


def cosines(encoder: Encoder, triples: list[Item]) -> tuple[np.ndarray, np.ndarray]:
    """The cosine of each item's first sentence with its second and its third."""
    first, second, third = (
        np.asarray(encoder.encode(list(column)), np.float64) for column in zip(*triples, strict=True)
    )
    first, second, third = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second, third))
    return (first * second).sum(axis=1), (first * third).sum(axis=1)


if __name__ == "__main__":
    main()
