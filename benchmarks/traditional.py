"""Word vectors trained on a corpus and averaged, beside statim trained on the same text.

    python benchmarks/traditional.py CORPUS EVAL [--out out/traditional] [--limit 20000] [--rows "BM25;GloVe"]

CORPUS is a file of pairs, or python-docs; EVAL is a folder with sts/, of which the development sets are
used. The pairs are split once without near-duplicates. Each row is trained by a process of its own, and
its figures stay in the folder --out, so an interrupted run goes on with the row that is missing.

*Without pairs*, from the distinct texts of the training pairs in an order that tells no pairs: Word2Vec
(skip-gram) and fastText by gensim and GloVe by glovpy (Stanford's program), 300 dimensions, words that
occur twice or more, else their own defaults (5 epochs, 5 epochs and 25), the first two also with as many
epochs as GloVe; a text's vector is the mean of its words' vectors, or that mean weighted by smooth inverse
frequency without its first principal component (SIF: Arora, Liang and Ma, 2017); and statim with the pairs
that it makes of the texts themselves. *With pairs*: statim with its defaults. statim starts at random,
when it knows the corpus alone as the others do, or from all-MiniLM-L6-v2 distilled: the first time on a
machine, and again with the teacher's vectors cached.

Seconds go from the file of texts or pairs to vectors of words, or to a model, with the import of the
packages and without what this script does to judge them; CPU seconds are of all threads and child
processes. statim's kernels were compiled before. EVAL's sets and the held-out pairs are only looked at to
judge; no setting was chosen by them. gensim with several threads and GloVe are not deterministic, and
there is one run of each.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import models, pre_tokenizers

from from_disk import ndcg, write_parts
from packages import PACKAGES
from statim import Settings, StaticModel, threads, train
from statim.data.labelled.labelled import read_sts
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import PYTHON_DOCS
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs.reading import read_pairs
from statim.evaluation import table
from statim.evaluation.retrieval import evaluate_bm25
from statim.evaluation.sts import evaluate_sts
from statim.files import atomic_file
from statim.training.datasets.sets import training_data
from statim.training.recipe import Recipe
from statim.training.start import start_from

DIM = 300
LEAST = 2  # times that a word must occur
MORE_EPOCHS = 25  # GloVe's default
SIF = 1e-3
SOME = 20_000  # texts that the common direction is computed from
STS = ("stsb_dev", "sickr_dev")

Floats = npt.NDArray[np.float32]
Words = dict[str, Floats]
Row = dict[str, Any]

CUT = pre_tokenizers.Split(tokenizers.Regex(r"[^\W_]+"), "removed", invert=True)  # letters and digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("corpus")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/traditional"))
    parser.add_argument("--limit", type=int, help="train on so many pairs at most")
    parser.add_argument("--rows", help=f"only some, with ; between: {'; '.join(ROWS)}")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a process of its own is told
    arguments = parser.parse_args()
    name = PYTHON_DOCS if arguments.corpus == PYTHON_DOCS else Path(arguments.corpus).resolve().parent.name
    folder = arguments.out / name
    if arguments.one:
        write(folder / f"{arguments.one}.json", ROWS[arguments.one](folder, arguments.data))
        return
    sizes = prepare(arguments.corpus, folder, arguments.limit)
    asked = arguments.rows.split(";") if arguments.rows else list(ROWS)
    for row in asked:
        if not (folder / f"{row}.json").exists():
            subprocess.run([sys.executable, *sys.argv, "--one", row], check=False)
    rows = [row for name in ROWS for row in read(folder / f"{name}.json", [])]
    print(f"{name}: {sizes}, {threads.count()} threads")
    header = ["", "dimensions", "seconds", "CPU seconds", "NDCG@10, held-out pairs", *STS]
    print(table.plain(header, [shown(row) for row in rows]))
    print(
        json.dumps(
            {
                "benchmark": "traditional", "corpus": name, "sizes": sizes, "threads": threads.count(),
                "rows": rows,
            }
        )
    )  # fmt: skip


def shown(row: Row) -> list[str]:
    numbers = [f"{row[key]:.1f}" if key in row else "" for key in ("seconds", "cpu_seconds")]
    scores = [f"{100 * row[key]:.1f}" if key in row else "" for key in ("ndcg@10", *STS)]
    return [row["model"], str(row.get("dim", "")), *numbers, *scores]


def read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else otherwise


def write(path: Path, value: Any) -> None:
    with atomic_file(path) as file:
        file.write(json.dumps(value).encode())


def prepare(corpus: str, folder: Path, limit: int | None) -> dict[str, int]:
    """Split the pairs and write train.jsonl, test.jsonl and texts.jsonl if absent; return their sizes."""
    known = read(folder / "sizes.json", None)
    if known:
        return dict(known)
    pairs = python_docs(PACKAGES) if corpus == PYTHON_DOCS else read_pairs(corpus)
    sizes = write_parts(pairs, folder, development=0, test=min(2000, len(pairs) // 10), limit=limit)
    train = read_pairs(folder / "train.jsonl")
    texts = [*dict.fromkeys([*train.anchors.to_pylist(), *train.positives.to_pylist()])]
    random.Random(0).shuffle(texts)
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    sizes |= {"texts": len(texts), "words": sum(len(words(text)) for text in texts)}
    write(folder / "sizes.json", sizes)
    return sizes


def texts_of(folder: Path) -> list[str]:
    with (folder / "texts.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def words(text: str) -> list[str]:
    return [word for word, _ in CUT.pre_tokenize_str(text.lower())]


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


def judged(name: str, model: StaticModel, took: dict[str, float], folder: Path, data: Path) -> Row:
    sts = {one: evaluate_sts(model, read_sts(data / "sts" / f"{one}.jsonl"))["spearman"] for one in STS}
    found = {"model": name, "dim": model.dim, **took, "ndcg@10": ndcg(model, folder / "test.jsonl"), **sts}
    print(found, file=sys.stderr, flush=True)
    return found


# The traditional ways


def traditional(name: str, make: Callable[[list[list[str]]], "Trained"]) -> Callable[[Path, Path], list[Row]]:
    """Two rows: the words' vectors averaged, and weighted."""

    def run(folder: Path, data: Path) -> list[Row]:
        clock = Clock()
        texts = texts_of(folder)
        cut = [words(text) for text in texts]
        vectors, of_other = make(cut)
        took = clock.read()
        if of_other is not None:
            asked = sorted(asked_words(folder, data) - vectors.keys())
            vectors |= {word: of_other(word) for word in asked}
        plain = judged(f"{name}, averaged", averaged(vectors), took, folder, data)
        clock = Clock()
        weighted = sif(vectors, cut, texts)
        took = clock.read(took)
        return [plain, judged(f"{name}, SIF", weighted, took, folder, data)]

    return run


Trained = tuple[Words, Callable[[str], Floats] | None]  # vectors, and what makes one of a word not seen


def asked_words(folder: Path, data: Path) -> set[str]:
    """The words of the texts that models are judged by."""
    test = read_pairs(folder / "test.jsonl")
    columns = [test.anchors, test.positives]
    for name in STS:
        columns += read_sts(data / "sts" / f"{name}.jsonl").columns
    return {word for column in columns for text in column.to_pylist() for word in words(text)}


def word2vec(epochs: int) -> Callable[[list[list[str]]], Trained]:
    def make(texts: list[list[str]]) -> Trained:
        from gensim.models import Word2Vec

        vectors = Word2Vec(
            texts, vector_size=DIM, min_count=LEAST, sg=1, workers=threads.count(), seed=0, epochs=epochs
        ).wv
        return by_word(vectors), None

    return make


def fasttext(epochs: int) -> Callable[[list[list[str]]], Trained]:
    def make(texts: list[list[str]]) -> Trained:
        from gensim.models import FastText

        # 2,000,000 buckets, the default, are for Wikipedia; a tenth is plenty for a corpus of this size, and
        # quicker
        vectors = FastText(
            texts, vector_size=DIM, min_count=LEAST, sg=1, workers=threads.count(), seed=0, bucket=200_000,
            epochs=epochs,
        ).wv  # fmt: skip
        return by_word(vectors), vectors.get_vector

    return make


def glove(texts: list[list[str]]) -> Trained:
    """Stanford's own program through glovpy, which builds it when it is first imported."""
    if not (Path.home() / ".glopy" / "build" / "glove").exists():
        sys.exit(
            "GloVe is left out: glovpy has not built it (python -c 'import glovpy' does, with a network)"
        )
    from glovpy import GloVe

    model = GloVe(vector_size=DIM, min_count=LEAST, threads=threads.count())
    with open(os.devnull, "w") as nothing:
        before, sys.stdout = sys.stdout, nothing
        try:
            model.train(texts)
        finally:
            sys.stdout = before
    return by_word(model.wv), None


def by_word(vectors: Any) -> Words:
    return dict(zip(vectors.index_to_key, vectors.vectors, strict=True))


def averaged(vectors: Words) -> StaticModel:
    """A model of mean word vectors; texts are cut as for the words, unknown words are left out."""
    unknown = "<unk>"  # no word, since it is cut
    ids = {word: number for number, word in enumerate([*vectors, unknown])}
    cutter = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=unknown))
    cutter.normalizer = tokenizers.normalizers.Lowercase()
    cutter.pre_tokenizer = CUT
    rows = np.stack([*vectors.values(), np.zeros(DIM, np.float32)]).astype(np.float32)
    return StaticModel(rows, cutter, Settings(normalize=False, drop_unknown=True))


def sif(vectors: Words, cut: list[list[str]], texts: list[str]) -> StaticModel:
    """Each word weighted by SIF / (SIF + its share of the corpus), the common direction removed.

    Both are linear in the words' vectors, so they can be done to these.
    """
    counts = Counter(word for words in cut for word in words)
    total = sum(counts.values())
    weighted = {word: row * (SIF / (SIF + counts[word] / total)) for word, row in vectors.items()}
    some = averaged(weighted).encode(texts[:: -(-len(texts) // SOME)]).astype(np.float64)
    _, axes = np.linalg.eigh(some.T @ some)
    common = axes[:, -1].astype(np.float32)
    return averaged({word: row - (row @ common) * common for word, row in weighted.items()})


# The others


def bm25(folder: Path, data: Path) -> list[Row]:  # noqa: ARG001
    test = from_pairs(read_pairs(folder / "test.jsonl"))
    return [{"model": "BM25", "ndcg@10": evaluate_bm25(test, metrics=("ndcg@10",)).metrics["ndcg@10"]}]


def untrained(name: str, start: str | None) -> Callable[[Path, Path], list[Row]]:
    """What a start knows of itself; a random one is a bag of words in few dimensions."""

    def run(folder: Path, data: Path) -> list[Row]:
        clock = Clock()
        pairs = read_pairs(folder / "train.jsonl")
        with empty_cache():
            begun = start_from(start, None, pairs, False)
            given = training_data(pairs, begun.tokenizer, threads=threads.count())
            rows = begun.table(given, Recipe.make(len(pairs), begun.dim))
            took = clock.read()
        return [judged(name, StaticModel(rows, begun.tokenizer, begun.settings), took, folder, data)]

    return run


def statim(name: str, file: str, *, again: bool = False, **options: Any) -> Callable[[Path, Path], list[Row]]:
    """A row of statim, and with ``again`` one more of the same with the teacher's vectors cached."""

    def run(folder: Path, data: Path) -> list[Row]:
        rows = []
        with empty_cache():
            for more in ("", ", again")[: 1 + again]:
                clock = Clock()
                result = train(folder / file, heldout=0, development=0, baselines=False, **options)
                rows.append(judged(name + more, result.model, clock.read(), folder, data))
        return rows

    return run


class empty_cache(tempfile.TemporaryDirectory):  # type: ignore[type-arg]  # noqa: N801
    """statim's cache is an empty folder in this process."""

    def __enter__(self) -> str:
        os.environ["STATIM_CACHE"] = self.name
        return self.name


ROWS: dict[str, Callable[[Path, Path], list[Row]]] = {
    "BM25": bm25,
    "Word2Vec": traditional("Word2Vec, 5 epochs", word2vec(5)),
    "Word2Vec longer": traditional(f"Word2Vec, {MORE_EPOCHS} epochs", word2vec(MORE_EPOCHS)),
    "fastText": traditional("fastText, 5 epochs", fasttext(5)),
    "fastText longer": traditional(f"fastText, {MORE_EPOCHS} epochs", fasttext(MORE_EPOCHS)),
    "GloVe": traditional("GloVe, 25 iterations", glove),
    "statim random texts": statim("statim, random start, without pairs", "texts.jsonl", start="random"),
    "statim texts": statim("statim, distilled start, without pairs", "texts.jsonl", again=True),
    "statim random": statim("statim, random start, pairs", "train.jsonl", start="random"),
    "statim": statim("statim, distilled start, pairs", "train.jsonl", again=True),
    "random": untrained("random start, not trained", "random"),
    "start": untrained("distilled start, not trained", None),
}


if __name__ == "__main__":
    main()
