"""The traditional way: word vectors trained on a corpus and averaged, against statim trained on the same text.

    python benchmarks/traditional.py CORPUS EVAL [--out out/traditional] [--limit 20000]

CORPUS is a file of pairs, or python-docs; EVAL is a folder with sts/, of which the development sets are used. The pairs are split once
without near-duplicates. Word2Vec (skip-gram) and fastText by gensim and GloVe by glovpy are trained on the texts of the training pairs,
300 dimensions, words that occur twice or more, else their own defaults; a text's vector is the mean of its words' vectors, or that mean
weighted by smooth inverse frequency without its first principal component (SIF: Arora, Liang and Ma, 2017). fastText makes vectors
of words it has not seen. statim trains with its defaults on the same pairs: from a random start, which like the others knows the corpus
alone, and from all-MiniLM-L6-v2 distilled, the first time on a machine and again with the teacher's vectors cached.

Seconds are wall-clock, from the file of training pairs to a model that encodes; CPU seconds are of all threads and processes. The
traditional ways read texts alone and know nothing of pairs; that is their limit, and also their freedom.
"""

import argparse
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from from_disk import ndcg, write_parts
from packages import PACKAGES
from statim import StaticModel, threads, train
from statim.data.labelled import read_sts
from statim.data.pairs import PYTHON_DOCS
from statim.data.python_docs import python_docs
from statim.data.reading import read_pairs
from statim.data.retrieval import from_pairs
from statim.evaluation import table
from statim.evaluation.retrieval import evaluate_bm25
from statim.evaluation.sts import evaluate_sts

DIM = 300
LEAST = 2  # times that a word must occur
SIF = 1e-3
SOME = 20_000  # texts that the common direction is computed from
STS = ("stsb_dev", "sickr_dev")

Floats = npt.NDArray[np.float32]
Words = dict[str, Floats]

words_of = re.compile(r"[^\W_]+").findall  # as statim's reader of word vectors cuts them, without punctuation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("corpus")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/traditional"))
    parser.add_argument("--limit", type=int, help="train on so many pairs at most")
    arguments = parser.parse_args()
    pairs = python_docs(PACKAGES) if arguments.corpus == PYTHON_DOCS else read_pairs(arguments.corpus)
    name = PYTHON_DOCS if arguments.corpus == PYTHON_DOCS else Path(arguments.corpus).resolve().parent.name
    folder = arguments.out / name
    held = min(2000, len(pairs) // 10)
    sizes = write_parts(pairs, folder, development=0, test=held, limit=arguments.limit)
    bench = Bench(folder, arguments.data)
    bench.run()
    header = ["", "seconds", "CPU seconds", "NDCG@10, held-out pairs", *STS]
    body = [
        [row["model"], *(f"{row[key]:.1f}" if key in row else "" for key in ("seconds", "cpu_seconds")),
         *(f"{100 * row[key]:.1f}" if key in row else "" for key in ("ndcg@10", *STS))]
        for row in bench.rows
    ]  # fmt: skip
    print(f"{name}: {sizes['train']:,} training pairs, {sizes['test']:,} held out, {threads.count()} threads")
    print(table.plain(header, body))
    print(
        json.dumps(
            {
                "benchmark": "traditional",
                "corpus": name,
                "pairs": sizes,
                "threads": threads.count(),
                "rows": bench.rows,
            }
        )
    )


class Bench:
    """All ways on one corpus; rows gather the figures."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.rows = folder, list[dict[str, Any]]()
        self._sts = {name: read_sts(data / "sts" / f"{name}.jsonl") for name in STS}
        test = read_pairs(folder / "test.jsonl")
        sts = [
            text for scored in self._sts.values() for column in scored.columns for text in column.to_pylist()
        ]
        self._asked = {
            word
            for text in [*test.anchors.to_pylist(), *test.positives.to_pylist(), *sts]
            for word in words(text)
        }

    def run(self) -> None:
        """Train and measure each."""
        test = from_pairs(read_pairs(self.folder / "test.jsonl"))
        self.rows.append(
            {"model": "BM25", "ndcg@10": evaluate_bm25(test, metrics=("ndcg@10",)).metrics["ndcg@10"]}
        )
        for name, make in (("Word2Vec", word2vec), ("fastText", fasttext), ("GloVe", glove)):
            self._traditional(name, make)
        self._statim("statim, random start", start="random")
        with tempfile.TemporaryDirectory() as empty:
            before = os.environ.get("STATIM_CACHE")
            os.environ["STATIM_CACHE"] = empty
            self._statim("statim, distilled start, first time")
            self._statim("statim, distilled start, again")
            os.environ.pop("STATIM_CACHE")
            os.environ |= {} if before is None else {"STATIM_CACHE": before}

    def _traditional(self, name: str, make: Callable[[list[list[str]], Iterable[str]], Words | None]) -> None:
        clock = Clock()
        pairs = read_pairs(self.folder / "train.jsonl")
        texts = [*dict.fromkeys([*pairs.anchors.to_pylist(), *pairs.positives.to_pylist()])]
        cut = [words(text) for text in texts]
        vectors = make(cut, self._asked)
        if vectors is None:
            return
        model = averaged(vectors)
        took = clock.read()
        self._add(f"{name}, averaged", model, took)
        clock = Clock()
        weighted = sif(vectors, cut, texts)
        self._add(f"{name}, SIF", weighted, clock.read(took))

    def _statim(self, name: str, **options: Any) -> None:
        clock = Clock()
        result = train(self.folder / "train.jsonl", heldout=0, development=0, baselines=False, **options)
        self._add(name, result.model, clock.read())

    def _add(self, name: str, model: StaticModel, took: dict[str, float]) -> None:
        scores = {name: evaluate_sts(model, scored)["spearman"] for name, scored in self._sts.items()}
        self.rows.append(
            {"model": name, **took, "ndcg@10": ndcg(model, self.folder / "test.jsonl"), **scores}
        )
        print(self.rows[-1], file=sys.stderr, flush=True)


class Clock:
    """Wall-clock and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self, more: dict[str, float] | None = None) -> dict[str, float]:
        """Both, and what was read before of the same work."""
        found = {"seconds": time.perf_counter() - self._wall, "cpu_seconds": cpu_seconds() - self._cpu}
        return {key: round(value + (more or {}).get(key, 0.0), 2) for key, value in found.items()}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def words(text: str) -> list[str]:
    return list(words_of(text.lower()))


def word2vec(texts: list[list[str]], asked: Iterable[str]) -> Words:  # noqa: ARG001
    from gensim.models import Word2Vec

    vectors = Word2Vec(texts, vector_size=DIM, min_count=LEAST, sg=1, workers=threads.count(), seed=0).wv
    return dict(zip(vectors.index_to_key, vectors.vectors, strict=True))


def fasttext(texts: list[list[str]], asked: Iterable[str]) -> Words:
    """The words of the corpus, and from their parts those that are asked for and did not occur."""
    from gensim.models import FastText

    # 2,000,000 buckets, the default, are for Wikipedia; a tenth is plenty for a corpus of this size, and quicker
    model = FastText(
        texts, vector_size=DIM, min_count=LEAST, sg=1, workers=threads.count(), seed=0, bucket=200_000
    )
    known = dict(zip(model.wv.index_to_key, model.wv.vectors, strict=True))
    return known | {word: model.wv[word] for word in sorted(asked) if word not in known}


def glove(texts: list[list[str]], asked: Iterable[str]) -> Words | None:  # noqa: ARG001
    """Stanford's own program through glovpy, which builds it when it is first imported."""
    if not (Path.home() / ".glopy" / "build" / "glove").exists():
        print(
            "GloVe is left out: glovpy has not built it yet (python -c 'import glovpy' does, with a network)"
        )
        return None
    from glovpy import GloVe

    model = GloVe(vector_size=DIM, min_count=LEAST, threads=threads.count())
    with open(os.devnull, "w") as nothing:
        before, sys.stdout = sys.stdout, nothing
        try:
            model.train(texts)
        finally:
            sys.stdout = before
    return dict(zip(model.wv.index_to_key, model.wv.vectors, strict=True))


def averaged(vectors: Words) -> StaticModel:
    """A model whose vectors are means of word vectors, through the file that such vectors come in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{len(vectors)} {DIM}\n")
            for word, row in vectors.items():
                file.write(f"{word} {' '.join(f'{x:.6g}' for x in row.tolist())}\n")
        return StaticModel.load(path)


def sif(vectors: Words, cut: list[list[str]], texts: list[str]) -> StaticModel:
    """The same with each word weighted by SIF / (SIF + its share of the corpus), and without the texts' common direction.

    Both are linear in the words' vectors, so they can be done to these.
    """
    counts = Counter(word for words in cut for word in words)
    total = sum(counts.values())
    weighted = {word: row * (SIF / (SIF + counts[word] / total)) for word, row in vectors.items()}
    some = averaged(weighted).encode(texts[:: max(1, len(texts) // SOME)]).astype(np.float64)
    _, axes = np.linalg.eigh(some.T @ some)
    common = axes[:, -1].astype(np.float32)
    return averaged({word: row - (row @ common) * common for word, row in weighted.items()})


if __name__ == "__main__":
    main()
