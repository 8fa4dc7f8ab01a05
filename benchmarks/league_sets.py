"""The columns of the league: which sets there are, how each is measured, and what chance does to each figure.

Test sets are those that nothing is chosen by; development sets are for choosing. A figure is computed
again from items (queries, pairs, texts) drawn with replacement, by the same draws for every model, which
makes comparisons paired.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.data.labelled.labelled import LabelledTexts, read_judged_pairs, read_labelled, read_sts
from statim.data.labelled.retrieval import RetrievalSet, from_pairs, read_beir
from statim.data.pairs.reading import read_pairs
from statim.evaluation import Encoder
from statim.evaluation.classification import predict
from statim.evaluation.clustering import cluster
from statim.evaluation.metrics import NOWHERE, average_precision, ranking_metrics
from statim.evaluation.ranks import ranks_in_lists
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.evaluation.sts import cosines
from statim.search.engines.exact import Exact
from statim.search.hybrid import Candidates, candidates, fuse_scores
from statim.search.lexical.bm25 import BM25

SAMPLES = 2000  # times that items are drawn anew
LABELLED = 4000  # texts that a probe is fitted to, at most
C = 10.0  # of the probes: on vectors of length 1 scikit-learn's 1.0 is too strict for 77 or 150 labels
METRIC = "ndcg@10"
FAMILIES = {
    "STS": "Spearman", "classification": "accuracy", "retrieval": "NDCG@10", "pairs": "average precision",
    "clustering": "V-measure",
}  # fmt: skip

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Column:
    """A set.

    Attributes:
        name: In the table.
        family: One of FAMILIES.
        path: A file, or a BEIR folder.
        train: What a probe is fitted to; the same as ``path`` for a tenth of it against the rest.
        home: Is it of a kind that statim general has trained on?
        saturated: Is it for choosing, and shown among test sets only for completeness?
    """

    name: str
    family: str
    path: Path
    train: Path | None = None
    home: bool = False
    saturated: bool = False

    def measure(self, encoder: Encoder) -> Floats:
        """What a figure is made of, one number an item; see ``figure``."""
        return MEASURES[self.family](self, encoder)

    def figure(self, items: Floats) -> float:
        """The figure of these items."""
        return float(self._figures(items, np.arange(items.shape[-1])[None])[0])

    def draws(self, items: Floats) -> Floats:
        """The figure of as many items drawn with replacement, (SAMPLES,); the same draws for every model."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()))
        count = items.shape[-1]
        step = max(1, (1 << 22) // count)
        parts = [
            self._figures(items, random.integers(0, count, (min(step, SAMPLES - start), count), np.int32))
            for start in range(0, SAMPLES, step)
        ]
        return np.concatenate(parts)

    def _figures(self, items: Floats, drawn: npt.NDArray[np.integer]) -> Floats:
        """The figures of rows of drawn items."""
        if self.family in ("retrieval", "classification"):
            return np.asarray(items[drawn].mean(axis=1))
        one = {"STS": Spearman, "pairs": Precision, "clustering": VMeasure}[self.family](items)
        return np.array([one(row) for row in drawn])


class Spearman:
    """Spearman's correlation of drawn pairs; items are (2, n), cosines and scores."""

    def __init__(self, items: Floats) -> None:
        self._codes = [np.unique(values, return_inverse=True)[1] for values in items]

    def __call__(self, drawn: npt.NDArray[np.integer]) -> float:
        """The figure of the items drawn."""
        times = np.bincount(drawn, minlength=len(self._codes[0])).astype(np.float64)
        ranks = []
        for codes in self._codes:
            sizes = np.bincount(codes, times)
            mean = (np.cumsum(sizes) - (sizes - 1) / 2)[codes]
            ranks.append(mean - times @ mean / times.sum())
        a, b = ranks
        return float(times @ (a * b) / np.sqrt((times @ (a * a)) * (times @ (b * b))))


class Precision:
    """Average precision of drawn pairs; items are (2, n), cosines and labels."""

    def __init__(self, items: Floats) -> None:
        self._items = items

    def __call__(self, drawn: npt.NDArray[np.integer]) -> float:
        """The figure of the items drawn."""
        return average_precision(self._items[0][drawn], self._items[1][drawn] > 0)


class VMeasure:
    """V-measure of drawn texts; items are (2, n), numbers of clusters and of labels."""

    def __init__(self, items: Floats) -> None:
        self._clusters, self._labels = items.astype(np.int64)
        self._shape = (int(self._clusters.max()) + 1, int(self._labels.max()) + 1)

    def __call__(self, drawn: npt.NDArray[np.integer]) -> float:
        """The figure of the items drawn."""
        cells = self._clusters[drawn] * self._shape[1] + self._labels[drawn]
        table = np.bincount(cells, minlength=self._shape[0] * self._shape[1]).reshape(self._shape)
        rows, columns, both = (_entropy(x) for x in (table.sum(axis=1), table.sum(axis=0), table))
        shared = rows + columns - both
        return float(2 * shared / (rows + columns)) if rows + columns > 0 else 1.0


def _entropy(counts: npt.NDArray[np.integer]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _sts(column: Column, encoder: Encoder) -> Floats:
    data = read_sts(column.path)
    return np.stack([cosines(encoder, data), data.scores])


def _pairs(column: Column, encoder: Encoder) -> Floats:
    data = read_judged_pairs(column.path)
    return np.stack([cosines(encoder, data), data.labels.astype(np.float64)])


def _classification(column: Column, encoder: Encoder) -> Floats:
    train, test = probe_texts(column)
    return (predict(encoder, train, test, C=C) == np.array(test.labels.to_pylist())).astype(np.float64)


def probe_texts(column: Column) -> tuple[LabelledTexts, LabelledTexts]:
    """The texts to fit a probe to, LABELLED at most, and those to test it on; drawn by a fixed seed."""
    train, random = read_labelled(column.train), np.random.default_rng(0)
    order = random.permutation(len(train))
    if column.train == column.path:
        tenth = len(train) // 10
        return train.select(order[tenth:][:LABELLED]), train.select(order[:tenth])
    return train.select(order[:LABELLED]), read_labelled(column.path)


def _clustering(column: Column, encoder: Encoder) -> Floats:
    data = read_labelled(column.path)
    labels = np.unique(data.labels.to_pylist(), return_inverse=True)[1]
    return np.stack([cluster(encoder, data), labels]).astype(np.float64)


def _retrieval(column: Column, encoder: Encoder) -> Floats:
    return evaluate_retrieval(encoder, retrieval_set(column.path), metrics=(METRIC,)).per_query[METRIC]


MEASURES: dict[str, Callable[[Column, Encoder], Floats]] = {
    "STS": _sts, "classification": _classification, "retrieval": _retrieval, "pairs": _pairs,
    "clustering": _clustering,
}  # fmt: skip


@functools.lru_cache(2)
def retrieval_set(path: Path) -> RetrievalSet:
    return read_beir(path) if path.is_dir() else from_pairs(read_pairs(path), name=path.name)


@functools.lru_cache(2)
def lexical(path: Path) -> BM25:
    return BM25.build(retrieval_set(path).documents.to_pylist())


def by_bm25(column: Column) -> Floats:
    """NDCG@10 of BM25, one number a query."""
    return evaluate_bm25(retrieval_set(column.path), metrics=(METRIC,)).per_query[METRIC]


def hybrid(column: Column, encoder: Encoder, weights: Sequence[float]) -> list[Floats]:
    """NDCG@10 of statim's hybrid search with a model at each weight of the vectors, one number a query."""
    data = retrieval_set(column.path)
    queries, documents = encoder.encode_query(data.queries), encoder.encode_document(data.documents)
    engine = Exact(documents.shape[1])
    engine.add(_unit(documents))
    found = candidates(engine, lexical(column.path), _unit(queries), data.queries.to_pylist(), 10)
    return [_fused(found, weight, data) for weight in weights]


def _fused(found: Candidates, weight: float, data: RetrievalSet) -> Floats:
    scores, positions = fuse_scores(found, 10, weight=weight)
    j = data
    ranks = ranks_in_lists(
        scores, positions, len(j.documents), j.judged_queries, j.judged_documents, j.grades
    )
    ranks = np.where(ranks > 10, NOWHERE, ranks)
    return ranking_metrics(
        ranks, j.judged_queries, j.grades, count=len(j.queries), metrics=(METRIC,)
    ).per_query[METRIC]


def _unit(vectors: Any) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def test_columns(data: Path) -> list[Column]:
    """What nothing is chosen by; and two sets that saturate, for completeness."""
    probes = {
        name: _file(data / "classification", f"{name}_train")
        for name in ("banking77", "clinc150", "trec", "sst2")
    }
    return [
        *(Column(name, "STS", _file(data / "sts", f"{name}_test")) for name in ("stsb", "sickr")),
        *(Column(name, "classification", _file(data / "classification", f"{name}_test"), train) for name,
            train in probes.items()),
        *(Column(name, "retrieval", data / "retrieval" / name) for name in ("cacm", "nq-oracle", "scitldr")),
        *(Column(name, "retrieval", data / "retrieval" / name, saturated=True) for name in ("pubmedqa",
            "xquad-en")),
        *(Column(name, "retrieval", data / "retrieval" / name, home=True) for name in ("medquad",
            "arxiv-heldout")),
        Column("rqe", "pairs", _file(data / "pairclass", "rqe_test")),
        Column("arxiv-titles", "clustering", _file(data / "clustering", "arxiv_titles")),
    ]  # fmt: skip


def dev_columns(data: Path, heldout: Sequence[Path]) -> list[Column]:
    """What recipes may be chosen by; ``heldout`` are files of pairs that no model has trained on."""
    probes = {"banking77": "valid", "clinc150": "valid", "sst2": "dev", "trec": "train"}
    folder = data / "classification"
    return [
        *(Column(f"{name}-dev", "STS", _file(data / "sts", f"{name}_dev")) for name in ("stsb", "sickr")),
        *(Column(f"{name}-dev", "classification", _file(folder, f"{name}_{part}"),
            _file(folder, f"{name}_train"))
          for name, part in probes.items()),
        *(Column(f"{name}-dev", "retrieval", data / "retrieval" / name) for name in ("pubmedqa", "xquad-en")),
        *(Column(_named(path), "retrieval", path, home=True) for path in heldout),
        Column("rqe-dev", "pairs", _file(data / "pairclass", "rqe_train")),
    ]  # fmt: skip


def _named(path: Path) -> str:
    """The set: arxiv for heldout/arxiv.jsonl.gz and for arxiv/heldout.jsonl.gz."""
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem == "heldout" else stem


def _file(folder: Path, stem: str) -> Path:
    for suffix in (".jsonl", ".jsonl.gz"):
        if (folder / f"{stem}{suffix}").exists():
            return folder / f"{stem}{suffix}"
    raise SystemExit(
        f"{folder / stem}.jsonl is missing; the league needs every set, as the data's README lists them"
    )
