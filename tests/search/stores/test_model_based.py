"""Random operations on an index and on an oracle of plain Python: the same answers, the same counts."""

import itertools
import math
import random
import shutil
import time
from collections import Counter

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from statim.errors import DataError, InputError
from statim.model import StaticModel
from statim.search.index import Index

WORDS = [f"w{i:02d}" for i in range(12)]
IDS = [f"id {i}" for i in range(24)]
MODES = ("vector", "bm25", "hybrid")
K1, B = 1.5, 0.75
CLOSE = 1e-5
FILTERS = {
    None: lambda row: True,
    "year > 4": lambda row: row["year"] is not None and row["year"] > 4,
    "source = 'b'": lambda row: row["source"] == "b",
    "not (year < 3 or source = 'a')": lambda row: (
        (row["year"] or 0) >= 3 and row["source"] not in ("a", None)
    ),  # what is not known is neither true nor false
    "year is null": lambda row: row["year"] is None,
}  # fmt: skip


class Oracle:
    """What an index must answer: documents in the order of their positions, by their ids."""

    def __init__(self, table):
        self.rows = np.asarray(table, np.float64)
        self.held = {}

    def put(self, documents):
        for name in documents:
            self.held.pop(name, None)  # a changed document moves behind all others
        self.held |= documents

    def take(self, names):
        gone = [name for name in dict.fromkeys(names) if name in self.held]
        for name in gone:
            del self.held[name]
        return len(gone)

    def unit(self, text):
        vector = sum(
            (self.rows[1 + WORDS.index(word)] for word in text.split() if word in WORDS),
            np.zeros(self.rows.shape[1]),
        )
        return vector / (np.linalg.norm(vector) or 1)

    def weigh(self):
        """Prepare the answers about the documents of now."""
        self.vectors = {name: self.unit(row["text"]) for name, row in self.held.items()}
        self.counts = {name: Counter(row["text"].split()) for name, row in self.held.items()}
        lengths = {name: sum(found.values()) for name, found in self.counts.items()}
        mean = sum(lengths.values()) / len(lengths)
        self.worth, self.idf = {}, {}
        for word in {*WORDS, "zz"}:
            holders = [name for name, found in self.counts.items() if word in found]
            idf = math.log(1 + (len(lengths) - len(holders) + 0.5) / (len(holders) + 0.5))
            self.idf[word] = idf
            self.worth[word] = {
                name: idf
                * (tf := self.counts[name][word])
                / (tf + K1 * (1 - B + B * lengths[name] / (mean or 1)))
                for name in holders
            }

    def scores(self, query, mode, where, weight=0.5):
        """The score of every document that may be found, and by what hybrid search has divided cosines."""
        asked = self.unit(query)
        there = [name for name, row in self.held.items() if FILTERS[where](row)]
        cosines = {
            name: float(asked @ self.vectors[name])
            for name in there
            if asked.any() and self.vectors[name].any()
        }
        lexical = {}
        for word in query.split():
            for name, worth in self.worth.get(word, {}).items():
                lexical[name] = lexical.get(name, 0.0) + worth
        lexical = {name: lexical[name] for name in there if name in lexical}
        if mode != "hybrid":
            return (cosines if mode == "vector" else lexical), 1
        most = [max(side.values(), default=0) for side in (cosines, lexical)]
        full = sum(self.idf[word] for word in query.split()) / (1 + K1)
        reached = min(most[0], 1), min(most[1] / (full or 1), 1)
        sides = [(part, high) for part, high, best in zip((weight, 1 - weight), reached, most, strict=True)
                 if best > 0]  # fmt: skip
        strength = sum(part * high for part, high in sides) / (sum(part for part, _ in sides) or 1)
        fused = {
            name: strength
            * sum(
                part * (side.get(name, 0.0) / high if high > 0 else 0.0)
                for part, side, high in zip((weight, 1 - weight), (cosines, lexical), most, strict=True)
            )
            for name in there
            if name in cosines or name in lexical
        }
        return fused, most[0] if most[0] > 0 else 1


def model_of():
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{word: i + 1 for i, word in enumerate(WORDS)}}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(3).standard_normal((13, 8)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


MODEL = model_of()
text = st.lists(st.sampled_from([*WORDS, "zz"]), max_size=5).map(" ".join)
row = st.fixed_dictionaries(
    {
        "text": text,
        "year": st.one_of(st.none(), st.integers(0, 9)),
        "source": st.sampled_from(["a", "b", None]),
    }
)
some_ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True)
documents = st.dictionaries(st.sampled_from(IDS), row, min_size=1, max_size=6)
step = st.one_of(
    st.tuples(st.just("add"), documents),
    st.tuples(st.just("update"), documents),
    st.tuples(st.just("delete"), some_ids),
    st.tuples(st.just("delete where"), st.sampled_from([where for where in FILTERS if where])),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("overwrite"), documents),
)


class Machine:
    """An index and its oracle, to which the same is done."""

    def __init__(self, path, options, queries):
        self.path, self.options, self.queries = path, options, queries
        self.oracle, self.operations = Oracle(MODEL.table), 0
        self.random = random.Random(0)
        self.old = None  # another reader, and what it must go on answering

    def build(self, rows):
        self.oracle.held = {}
        self.oracle.put(rows)
        self.index = Index.build(
            MODEL, [r["text"] for r in rows.values()], self.path, ids=list(rows), metadata=_others(rows),
            overwrite=True,
            **self.options,
        )  # fmt: skip

    def do(self, what, given):
        held = self.oracle.held
        self.operations += 1
        if what == "reopen":
            self.index = Index.load(self.path)
        elif what == "overwrite":
            # typed columns: a column without any value would have no type
            self.build({"k": {"text": "w00 w01", "year": 5, "source": "a"}, **given})
        elif what == "compact":
            if self.options["store"] == "lancedb":
                self.index.compact(keep=2)
        elif what in ("delete", "delete where"):
            names = given if what == "delete" else [name for name, r in held.items() if FILTERS[given](r)]
            way = {"ids": given} if what == "delete" else {"where": given}
            if len([name for name in names if name in held]) == len(held):
                with pytest.raises(InputError, match="delete all"):
                    self.index.delete(**way)
            else:
                assert self.index.delete(**way) == self.oracle.take(names)
        else:
            rows = {name: dict(r) for name, r in given.items()}
            arguments = {"ids": list(rows), "metadata": _others(rows)}
            if what == "add" and held.keys() & rows.keys():
                with pytest.raises(DataError, match="in the index already"):
                    self.index.add([r["text"] for r in rows.values()], **arguments)
            else:
                assert getattr(self.index, what)([r["text"] for r in rows.values()], **arguments) == len(rows)
                self.oracle.put(rows)

    def search(self):
        """Random queries in every mode, with and without a filter; one and many may go different ways."""
        assert len(self.index) == len(self.oracle.held)
        self.oracle.weigh()
        for mode in MODES:
            for where in (None, self.random.choice([w for w in FILTERS if w])):
                k, count = self.random.choice([1, 3, 10, 100]), self.random.choice([1, 3, self.queries])
                queries = [
                    " ".join(self.random.choices([*WORDS, "zz"], k=self.random.randint(0, 3)))
                    for _ in range(count)
                ]
                found = self.index.search(queries, k, mode=mode, where=where)
                for query, hits in zip(queries, found, strict=True):
                    self.compare(query, hits, k, mode, where)
                self.operations += count

    def compare(self, query, hits, k, mode, where):
        (expected, spread), held = self.oracle.scores(query, mode, where), self.oracle.held
        close = CLOSE + 2e-7 / spread**2  # what rounding of cosines makes of a quotient by a small one
        about = f"{query!r}, {k}, {mode}, {where}: {[(hit.id, hit.score) for hit in hits]} for {expected}"
        best = sorted(expected.values(), reverse=True)[:k]
        assert len(hits) == len(best), about
        assert len({hit.id for hit in hits}) == len(hits), about
        for hit, score in zip(hits, best, strict=True):
            assert abs(hit.score - score) < close, about
            assert abs(hit.score - expected[hit.id]) < close, about
            assert {"text": hit.text, **hit.metadata} == held[hit.id], about
        # equal documents have equal scores, and come by their positions: none is passed over
        places = {name: place for place, name in enumerate(held)}
        twins = {}
        for hit in hits:
            twins.setdefault(hit.text, []).append(places[hit.id])
        for same, found in twins.items():
            first = [places[name] for name in expected if held[name]["text"] == same][: len(found)]
            assert found == first, about


def _others(rows):
    return [{"year": r["year"], "source": r["source"]} for r in rows.values()]


KINDS = {
    **{f"folder {engine}": {"store": "folder", "engine": engine}
       for engine in ("exact", "int8", "binary", "funnel", "faiss-flat", "faiss-hnsw", "usearch-f32")},
    "folder": {"store": "folder"},
    "lancedb": {"store": "lancedb"},
}  # fmt: skip
# plans, and queries asked at once after every change
QUICK = {"folder": (3, 20), "folder int8": (2, 20), "lancedb": (2, 20)}
LONG = {"lancedb": (50, 60), "folder": (40, 60)}


def run(kind, plans, queries, folder):
    """Carry out so many random plans; gives how many operations they had."""
    total, numbers = 0, itertools.count()

    @settings(max_examples=plans, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(step, min_size=3, max_size=14))
    def changed(plan):
        nonlocal total
        path = folder / str(next(numbers))
        machine = Machine(path, KINDS[kind], queries)
        machine.build(
            {
                "a": {"text": "w00 w01 w01", "year": 5, "source": "a"},
                "b": {"text": "w02", "year": 2, "source": "b"},
            }
        )
        machine.search()
        for what, given_ in plan:
            machine.do(what, given_)
            machine.search()
        machine.index = Index.load(path)
        machine.search()
        total += machine.operations
        shutil.rmtree(path)

    changed()
    return total


@pytest.mark.parametrize("kind", QUICK)
def test_an_index_answers_as_plain_python(kind, tmp_path):
    assert run(kind, *QUICK[kind], tmp_path) > 300


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_answers_as_plain_python_200_000_times(kind, tmp_path, record_property):
    started = time.monotonic()
    done = run(kind, *LONG.get(kind, (34, 60)), tmp_path)
    record_property(
        "figures",
        f"operations on an index in {kind}: {done:,}, {done / (time.monotonic() - started):,.0f} a second",
    )
    record_property("figures", {"kind": "operations on indexes, answered as by plain Python", "tried": done})
    assert done > 200_000 / len(KINDS)
