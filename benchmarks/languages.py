"""NDCG@10 in several languages: BM25, trained vectors and both together. The last line is JSON.

    python benchmarks/languages.py FOLDER [--sets zh,ja,...] [--most 10000] [--arms default,random] [--test]

Makes the sets in the scratch folder FOLDER (see language_sets.py), holds pairs out so that no near-duplicate
is trained on, and prints for each:

    plain       BM25 of earlier versions: words of two letters or more, none stemmed
    language    BM25 by the documents' language
    fitting     a BM25 written for the set beside statim: bm25s over pairs of characters, Snowball's stems, or
                parts of identifiers
    default     training with default options        random    with --start random
    hybrid      search with default options, with the default training's model

Nothing is tuned to a language. The figures are those of the development part, by which choices are made; with
--test those of the test part.
"""

import argparse
import itertools
import json
import logging
import platform
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

import language_sets
import statim
from statim.data.labelled.retrieval import RetrievalSet, from_pairs
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.data.split import split
from statim.evaluation.metrics import ranking_metrics
from statim.evaluation.ranks import ranks_in_lists
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.search.lexical.analyzer import CLASSIC

NDCG = "ndcg@10"
HELD_OUT = 1000
STEMMED = {"ru": "russian", "de": "german", "fr": "french", "hi": "hindi"}
COLUMNS = ("plain", "language", "fitting", "default", "random", "hybrid")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=",".join(language_sets.NAMES))
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--arms", default="default,random")
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.INFO)
    print(f"| set | train | queries | documents | {' | '.join(COLUMNS)} |")
    print(f"|---|{'---:|' * (len(COLUMNS) + 3)}")
    found = {}
    for name in given.sets.split(","):
        pairs = read_pairs(language_sets.made(name, given.folder, given.most))
        found[name] = measured(name, pairs, given.arms.split(","), given.test)
        row = [f"{found[name][column]:.3f}" if column in found[name] else "–" for column in COLUMNS]
        sizes = [f"{found[name][size]:,}" for size in ("train", "queries", "documents")]
        print(f"| {' | '.join([name, *sizes, *row])} |", flush=True)
    print(json.dumps({"benchmark": "languages", "machine": platform.processor(), "sets": found}))


def measured(name: str, pairs: Pairs, arms: list[str], test: bool) -> dict[str, Any]:
    """All figures of one set."""
    count = min(HELD_OUT, len(pairs) // 10)
    parts = split(pairs, development=count, test=count)
    data = from_pairs(parts.test if test else parts.development)
    found: dict[str, Any] = {
        "train": len(parts.train),
        "queries": len(data.queries),
        "documents": len(data.documents),
        "plain": evaluate_bm25(data, language=CLASSIC, metrics=(NDCG,)).metrics[NDCG],
        "language": evaluate_bm25(data, metrics=(NDCG,)).metrics[NDCG],
        "fitting": fitting(data, terms_of(name)),
    }
    rows = [
        {"anchor": anchor, "positive": positive}
        for anchor, positive in zip(
            parts.train.anchors.to_pylist(), parts.train.positives.to_pylist(), strict=True
        )
    ]
    for arm in arms:
        begun = time.perf_counter()
        start = None if arm == "default" else arm
        development = min(count, len(rows) // 10)
        result = statim.train(rows, start=start, heldout=0, development=development, baselines=False)
        found[f"{arm} start"], found[f"{arm} seconds"] = result.start, round(time.perf_counter() - begun, 1)
        found[arm] = evaluate_retrieval(result.model, data, metrics=(NDCG,)).metrics[NDCG]
        if arm == "default":
            found["hybrid"] = hybrid(result.model, data)
    return found


def hybrid(model: statim.StaticModel, data: RetrievalSet) -> float:
    """NDCG@10 of an index with default options."""
    with tempfile.TemporaryDirectory() as folder:
        index = statim.Index.build(model, data.documents, Path(folder) / "index")
        return ndcg(data, *index.rank(data.queries.to_pylist(), k=10))


def ndcg(data: RetrievalSet, scores: Any, positions: Any) -> float:
    """NDCG@10 of ranked positions."""
    judged = (data.judged_queries, data.judged_documents, data.grades)
    ranks = ranks_in_lists(scores, positions, len(data.documents), *judged)
    count = len(data.queries)
    return ranking_metrics(ranks, judged[0], judged[2], count=count, metrics=(NDCG,)).metrics[NDCG]


def fitting(data: RetrievalSet, terms: Callable[[str], list[str]]) -> float:
    """NDCG@10 of bm25s over terms that fit the set."""
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([terms(text) for text in data.documents.to_pylist()], show_progress=False)
    known = index.vocab_dict
    queries = [[term for term in terms(text) if term in known] for text in data.queries.to_pylist()]
    some = next(iter(known))  # bm25s takes no query without a term
    positions, scores = index.retrieve(
        [query or [some] for query in queries], k=10, show_progress=False, n_threads=1
    )
    there = (scores > 0) & np.array([[bool(query)] for query in queries])
    return ndcg(data, np.where(there, scores, -np.inf), np.where(there, positions, -1))


def terms_of(name: str) -> Callable[[str], list[str]]:
    """How a set's texts are cut for its fitting BM25."""
    if name in ("zh", "ja", "th", "en-ja"):
        return _bigrams
    if name == "code":
        return _identifiers
    language = STEMMED.get(name.removeprefix("en-"))
    stem = Stemmer.Stemmer(language) if language else None

    def words(text: str) -> list[str]:
        found = re.findall(r"\w[\w\u0900-\u0963]*", unicodedata.normalize("NFKC", text).lower())
        return found if stem is None else list(stem.stemWords(found))

    return words


def _bigrams(text: str) -> list[str]:
    """Words in ASCII, and pairs of neighbouring characters of all other runs."""
    found: list[str] = []
    for word in re.findall(
        r"[a-z0-9]+|[^\W\x00-\x7f]+|[^\x00-\x7f\s]+", unicodedata.normalize("NFKC", text).lower()
    ):
        found += [word] if word.isascii() or len(word) == 1 else map("".join, itertools.pairwise(word))
    return found


def _identifiers(text: str) -> list[str]:
    """Words and the parts of identifiers."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)
    return [part.lower() for part in [*re.findall(r"\w+", text), *parts]]


if __name__ == "__main__":
    main()
