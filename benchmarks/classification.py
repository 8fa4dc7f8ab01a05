"""Classifiers on static vectors beside TF-IDF, fastText and all-MiniLM-L6-v2, on four labelled sets.

The last line is JSON.

python benchmarks/classification.py DATA --model MODEL | --pairs FILE...
    [--sets banking77,clinc150,trec,sst2] [--no-teacher | --only-teacher]

DATA is a folder with NAME_train, NAME_test and NAME_valid or NAME_dev; where there is no development set,
a tenth of the training texts, drawn by a seed, is one. Every system may choose its strength on the
development set, by log loss (statim) or accuracy (its peers): C of logistic regression on TF-IDF of words
and pairs of words, sublinear, of 1, 10, 100; C on vectors of MiniLM of the same; epochs and rate of
fastText (pairs of words, 100 dimensions) of 25, 50 and 0.5, 1.0. Test files are read once, by what was
chosen.

With --pairs the model is all-MiniLM-L6-v2 distilled token by token (384 dimensions, not trained), weighted
by how often tokens occur in those anchors and positives. statim's rows: vectors alone; n-grams beside them
(the default of `statim classify fit`); the same with the table trained first on the labels of the training
texts, one epoch of the loss `classes`, at the default rate.

Every system has one thread, and seconds are those that it ran (CPU), since machines may be busy: choosing,
fitting, and predicting the test set. MiniLM's reading of the texts, which may come from a cache, is
counted as it was measured when it was made, on the clock.
"""

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "STATIM_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

import statim
from statim import Classifier, StaticModel
from statim.data.labelled.labelled import LabelledTexts, read_labelled

STRENGTHS = (1.0, 10.0, 100.0)
SETS = "banking77,clinc150,trec,sst2"
Parts = dict[str, tuple[list[str], list[str]]]
Found = tuple[list[str], Any]  # what was told of the test texts; what was chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model")
    source.add_argument("--pairs", nargs="+", type=Path)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--no-teacher", action="store_true")
    parser.add_argument("--only-teacher", action="store_true")
    arguments = parser.parse_args()
    model = StaticModel.load(arguments.model) if arguments.model else distilled(arguments.pairs)
    systems: dict[str, Callable[[Parts], Found]] = {
        "statim, vectors": lambda parts: heads(model, parts, ngrams=False),
        "statim, vectors and n-grams": lambda parts: heads(model, parts, ngrams=True),
        "statim, table trained on the labels": lambda parts: trained(model, parts),
        "TF-IDF, logistic regression": tf_idf,
        "fastText": fast_text,
    }
    if arguments.only_teacher:
        systems = {}
    else:
        warm(model)
    rows = []
    for name in arguments.sets.split(","):
        columns = read(arguments.data, name)
        parts = {part: (read.texts.to_pylist(), read.labels.to_pylist()) for part, read in columns.items()}
        for system, run in systems.items():
            rows.append({"set": name, "system": system, **measured(run, parts)})
            print(rows[-1], flush=True)
        if not arguments.no_teacher:
            rows.append(
                {"set": name, "system": "MiniLM, logistic regression", **teacher(arguments.data, name, parts)}
            )
            print(rows[-1], flush=True)
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {
                "benchmark": "classification",
                "machine": machine,
                "model": Path(arguments.model or "distilled").name,
                "rows": rows,
            }
        )
    )


def distilled(pairs: list[Path]) -> StaticModel:
    """The start of a training, as a model."""
    from statim.data.files.tables import tables
    from statim.settings import Settings
    from statim.teacher.teacher import Teacher
    from statim.tokenizer.tokenizer import Tokenizer
    from statim.training.initial_tables import distilled_table, token_vectors

    reader = Teacher.load()
    vectors, tokenizer = token_vectors(reader), Tokenizer(reader.tokenizer)
    counts = np.zeros(len(vectors))
    for path in pairs:
        for table in tables(path):
            for name in ("anchor", "positive"):
                counts += np.bincount(tokenizer(table.column(name).to_pylist()).ids, minlength=len(vectors))
    table = distilled_table(vectors, counts, vectors.shape[1], 0)
    table[tokenizer.unknown_id] = 0
    return StaticModel(table, tokenizer, Settings())


def files(data: Path, name: str) -> dict[str, Path]:
    """The files of a set."""
    found = {}
    for part, names in {"train": ["train"], "development": ["valid", "dev"], "test": ["test"]}.items():
        paths = [path for ending in names for path in sorted(data.glob(f"{name}_{ending}.*"))]
        if paths:
            found[part] = paths[0]
    return found


def read(data: Path, name: str) -> dict[str, LabelledTexts]:
    parts = {part: read_labelled(path) for part, path in files(data, name).items()}
    if "development" not in parts:
        rest, some = tenth(len(parts["train"]))
        whole = parts["train"]
        parts["train"], parts["development"] = whole.select(rest), whole.select(some)
    return parts


def tenth(count: int) -> tuple[Any, Any]:
    """Positions to train on, and a tenth to choose by."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[count // 10 :]), np.sort(order[: count // 10])


def measured(run: Callable[[Parts], Found], parts: Parts) -> dict[str, Any]:
    """Accuracy on the test set, and the seconds until it was told."""
    started, clock = time.process_time(), time.perf_counter()
    told, chosen = run(parts)
    seconds, wall = time.process_time() - started, time.perf_counter() - clock
    right = np.mean([a == b for a, b in zip(told, parts["test"][1], strict=True)])
    return {
        "accuracy": round(float(right), 4), "cpu_seconds": round(seconds, 2), "wall_seconds": round(wall, 2),
        "chosen": chosen,
    }  # fmt: skip


def warm(model: StaticModel) -> None:
    """Compile, and load libraries."""
    import fasttext
    import sklearn.linear_model  # noqa: F401

    del fasttext
    texts = [f"{a} and {b}" for a in "abcdefgh" for b in "abcdefghij"] * 5
    labels = [text[0] for text in texts]
    Classifier.fit(model, texts, labels).predict(texts)
    statim.train(
        {"text": texts, "label": labels}, start=model, loss="classes", heldout=0, epochs=1, baselines=False
    )


def heads(model: StaticModel, parts: Parts, *, ngrams: bool) -> Found:
    classifier = Classifier.fit(
        model, *parts["train"], ngrams=ngrams, development=(parts["development"][0], parts["development"][1])
    )
    return classifier.predict(parts["test"][0]), classifier.fitted.strength


def trained(start: StaticModel, parts: Parts) -> Found:
    texts, labels = parts["train"]
    result = statim.train(
        {"text": texts, "label": labels}, start=start, loss="classes", heldout=0, epochs=1, baselines=False
    )
    return heads(result.model, parts, ngrams=True)


def tf_idf(parts: Parts) -> Found:
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train = counter.fit_transform(parts["train"][0])
    others = [counter.transform(parts[part][0]) for part in ("development", "test")]
    return logistic(train, parts["train"][1], others[0], parts["development"][1], others[1])


def logistic(train: Any, labels: list[str], development: Any, truth: list[str], test: Any) -> Found:
    """scikit-learn's logistic regression, its C chosen on the development set."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = [LogisticRegression(C=strength, max_iter=300).fit(train, labels) for strength in STRENGTHS]
    best = max(fitted, key=lambda probe: probe.score(development, truth))
    return best.predict(test).tolist(), best.C


def fast_text(parts: Parts) -> Found:
    import tempfile

    import fasttext

    texts, labels = parts["train"]
    names = sorted(set(labels))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for text, label in zip(texts, labels, strict=True):
            file.write(f"__label__{names.index(label)} {' '.join(text.lower().split())}\n")
        file.flush()
        best: tuple[float, Any, Any] = (-1.0, None, None)
        for epochs in (25, 50):
            for rate in (0.5, 1.0):
                probe = fasttext.train_supervised(
                    file.name,
                    epoch=epochs,
                    lr=rate,
                    wordNgrams=2,
                    dim=100,
                    bucket=200_000,
                    thread=1,
                    verbose=0,
                )
                told = tell(probe, parts["development"][0], names)
                right = float(np.mean([a == b for a, b in zip(told, parts["development"][1], strict=True)]))
                if right > best[0]:
                    best = (right, probe, [epochs, rate])
    return tell(best[1], parts["test"][0], names), best[2]


def tell(probe: Any, texts: list[str], names: list[str]) -> list[str]:
    told, _ = probe.predict([" ".join(text.lower().split()) for text in texts])
    return [names[int(labels[0].removeprefix("__label__"))] for labels in told]


def teacher(data: Path, name: str, parts: Parts) -> dict[str, Any]:
    from statim.teacher.teacher import Teacher

    reader = Teacher.load()
    started = time.perf_counter()
    vectors = {part: reader.encode(read_labelled(path).texts) for part, path in files(data, name).items()}
    reading = time.perf_counter() - started + reader.spared
    if "development" not in vectors:
        rest, some = tenth(len(vectors["train"]))
        vectors["train"], vectors["development"] = vectors["train"][rest], vectors["train"][some]
    found = measured(
        lambda parts: logistic(
            vectors["train"],
            parts["train"][1],
            vectors["development"],
            parts["development"][1],
            vectors["test"],
        ),
        parts,
    )
    return found | {"reading_seconds": round(reading, 1)}


if __name__ == "__main__":
    main()
