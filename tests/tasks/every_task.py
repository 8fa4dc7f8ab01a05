"""Every task once, on small data; as a program: here, then in children of one start method, which must find
the same.

    python every_task.py METHOD TASK ...

Prints a JSON object: task -> "same", "different", "hangs", how the child died, or what it says that is wrong.
STATIM_NUM_THREADS says how many threads each task has.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import tokenizers
from tokenizers import models, pre_tokenizers

import statim
from statim import threads
from statim.errors import InputError
from statim.search.engines import exact_top_k
from statim.search.engines.products import HalfProducts, has_half
from statim.tasks.duplicates.duplicates import compare_thresholds
from statim.tasks.features import add_vectors
from statim.tasks.similarity import similarity_join
from statim.tasks.similarity.similarity_join import Sample, pairs_above
from statim.tasks.similarity.vector_set import read_items

SECONDS = 60  # for a child that does one task, imports included
THREADS = int(os.environ.get("STATIM_NUM_THREADS", "2"))

WORDS = [f"w{i}" for i in range(400)]


def _model():
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0} | {word: i + 1 for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return statim.StaticModel(np.random.default_rng(0).standard_normal((401, 48)).astype(np.float32), backend)


def _texts(n, seed=1):
    random = np.random.default_rng(seed)
    return [f"{a} {b} {c}" for a, b, c in random.choice(WORDS, (n, 3))]


MODEL, TEXTS = _model(), _texts(3000)
LABELS = ["even" if int(text.split()[0][1:]) % 2 == 0 else "odd" for text in TEXTS]
VECTORS = np.repeat(np.random.default_rng(2).standard_normal((30, 48)), 100, axis=0) + (
    0.2 * np.random.default_rng(3).standard_normal((3000, 48))
)


def _encode():
    return [MODEL.encode(TEXTS, threads=THREADS)]


def _exact():
    return exact_top_k.top_k(VECTORS[:500], VECTORS, 10, threads=THREADS)


def _exact_half():
    queries = np.ascontiguousarray(VECTORS, np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = np.empty((len(queries), 10), np.float32), np.empty((len(queries), 10), np.int64)
    search = exact_top_k._Search(
        queries, queries, np.full(len(queries), 1e-5), 2.0, np.zeros(0, np.int64), THREADS, *found
    )
    multiply = HalfProducts(queries, THREADS) if has_half() else exact_top_k.Products()
    with threads.one_torch_thread():
        sure = search.in_blocks(multiply, np.arange(len(queries)))
    return [np.delete(found[0], sure, axis=0)]


def _duplicates(**options):
    found = statim.find_duplicates(TEXTS, MODEL, threshold=0.7, threads=THREADS, **options)
    return [found.representatives, found.scores]


def _join():
    items = read_items(vectors=VECTORS, threads=THREADS)
    few, similarity_join.FEW = similarity_join.FEW, 100  # cell by cell
    try:
        sample = Sample(items, None, 0.8, threads=THREADS)
        return pairs_above(items, None, 0.8, sample, threads=THREADS)
    finally:
        similarity_join.FEW = few


def _cluster(method):
    found = statim.cluster(vectors=VECTORS, method=method, threads=THREADS)
    return [found.labels, found.scores]


def _classify(head):
    fitted = statim.Classifier.fit(MODEL, TEXTS, LABELS, head=head, threads=THREADS)
    judged = fitted.evaluate(TEXTS[:500], LABELS[:500], threads=THREADS)
    return [fitted.probabilities(TEXTS[:300], threads=THREADS), np.array(list(judged.figures.values()))]


def _recommend():
    shop = statim.Recommender(MODEL, dict(enumerate(TEXTS[:1000])), threads=THREADS)
    return [np.array([hit.score for hit in shop.recommend(["3", "5"], 20)])]


def _mine(search):
    pairs = list(zip(TEXTS[:2900], TEXTS[100:], strict=True))
    found = statim.mine_hard_negatives(pairs, MODEL, search=search, threads=THREADS)
    return [np.array([sum(map(ord, str(row))) for row in found.table.to_pylist()[:50]])]


def _evaluate():
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"anchor": a, "positive": b} for a, b in zip(TEXTS[:300], TEXTS[300:600], strict=True)]
        Path(folder, "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
        rows = [{"text": text, "label": label} for text, label in zip(TEXTS[:400], LABELS[:400], strict=True)]
        for name in ("news_train.jsonl", "news_test.jsonl"):
            Path(folder, name).write_text("\n".join(map(json.dumps, rows)))
        report = statim.evaluate(MODEL, folder)
    return [np.array([value for row in report.rows for value in row.metrics.values()])]


def _train():
    pairs = list(zip(TEXTS[:600], TEXTS[600:1200], strict=True))
    trained = statim.train(pairs, start=MODEL, epochs=1, batch=128, threads=THREADS, heldout=50)
    return [trained.model.table]


def _index():
    with tempfile.TemporaryDirectory() as folder:
        index = statim.Index.build(MODEL, TEXTS[:1000], Path(folder, "index"), threads=THREADS)
        found = index.search(TEXTS[:50], 5)
    return [np.array([[hit.score for hit in hits] for hits in found])]


TASKS = {
    "encode": _encode,
    "exact": _exact,
    "exact, half": _exact_half,
    "duplicates": _duplicates,
    "duplicates, linked": lambda: _duplicates(linked=True),
    "duplicates, against": lambda: _duplicates(against=TEXTS[:2000]),
    "thresholds": lambda: [
        np.array([level["pairs"] for level in compare_thresholds(TEXTS, MODEL, threads=THREADS).levels])
    ],
    "join": _join,
    "kmeans": lambda: _cluster("kmeans"),
    "communities": lambda: _cluster("communities"),
    "density": lambda: _cluster("density"),
    "logistic": lambda: _classify("logistic"),
    "ridge": lambda: _classify("ridge"),
    "centroid": lambda: _classify("centroid"),
    "neighbours": lambda: _classify("neighbours"),
    "recommend": _recommend,
    "mine": lambda: _mine("exact"),
    "mine, index": lambda: _mine("index"),
    "features": lambda: [
        np.stack(add_vectors(pa.table({"text": TEXTS[:500]}), MODEL).column(-1).to_pylist())
    ],
    "evaluate": _evaluate,
    "train": _train,
    "index": _index,
}


def _in_a_child(names, results):
    for name in names:
        try:
            results.send([np.asarray(array) for array in TASKS[name]()])
        except InputError as error:
            results.send(str(error))


def _alike(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def compare(method, names):
    """What becomes of tasks in children, after this process has done all of them."""
    expected = {name: [np.asarray(array) for array in TASKS[name]()] for name in names}
    context = multiprocessing.get_context(method)
    outcome = {}
    # a child for each, so that all that hang are named; a new interpreter inherits nothing, and takes seconds
    # to begin
    for some in [[name] for name in names] if method == "fork" else [names]:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_in_a_child, args=(some, there), daemon=True)
        child.start()
        there.close()
        for name in some:
            try:
                if not here.poll(SECONDS):
                    outcome[name] = "hangs"
                    break
                found = here.recv()
                alike = not isinstance(found, str) and _alike(found, expected[name])
                outcome[name] = "same" if alike else found if isinstance(found, str) else "different"
            except EOFError:
                child.join(SECONDS)
                outcome[name] = f"ends with {child.exitcode}"
                break
        child.kill()
        child.join()
    return outcome


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later: fork while threads run
    sys.stdout.write(json.dumps(compare(sys.argv[1], sys.argv[2:])))
