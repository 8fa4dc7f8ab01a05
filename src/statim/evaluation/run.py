"""statim evaluate: find out what each path is, and measure every model on it."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statim.data import columns, raw, tables
from statim.data.labelled import LabelledTexts, read_judged_pairs, read_labelled, read_sts
from statim.data.pairs import read_pairs
from statim.data.retrieval import RetrievalSet, from_pairs, read_beir
from statim.errors import DataError, InputError
from statim.evaluation import tasks
from statim.evaluation.encoders import Encoder, load_encoder
from statim.evaluation.report import BM25_NAME, FIRST, Report, Row
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.model import StaticModel
from statim.progress import Progress

TASKS = ("sts", "pairs", "classification", "clustering", "retrieval")
PARTS = re.compile(r"^(?P<name>.+)_(?P<part>train|test|valid|dev)$")


@dataclass(frozen=True)
class EvaluationSet:
    """A named set: its task and data (classification: training and test texts)."""

    name: str
    task: str
    data: Any


def evaluate(
    model: str | Path | StaticModel,
    paths: Any,
    *,
    against: Sequence[str] = (),
    task: str | None = None,
    progress: bool = False,
) -> Report:
    """Measure a model on sets, beside others.

    Args:
        model: A static model, or the path or name of one, or of a sentence transformer.
        paths: Files and folders: BEIR folders (NDCG@10, MRR@10, recall@k, MAP); files with text1, text2 and score (Spearman); with
            text1, text2 and label (average precision); ``NAME_train.*`` and ``NAME_test.*`` with text and label (accuracy of a
            logistic regression); a file with text and label, as ``task="clustering"`` (V-measure); pairs, as
            ``task="retrieval"``. Of a folder, every set in it.
        against: Other models, by path or name; ``bm25`` for retrieval.
        task: What the files are, where it cannot be told.
        progress: Show a progress bar on a terminal.

    Returns:
        One row for each model and set.

    Raises:
        DataError: A path is not a set.
        InputError: ``task`` is none of those above, or is needed.
        ModelError: A model cannot be loaded.
    """
    if task is not None and task not in TASKS:
        raise InputError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise InputError("no sets were given; name files or folders to evaluate on")
    sets = [found for path in listed for found in read_sets(Path(path), task)]
    encoders: dict[str, Encoder | None] = {}
    for name in [model, *against]:
        if isinstance(name, str) and name.lower() == BM25_NAME.lower():
            encoders[BM25_NAME] = None
        elif isinstance(name, StaticModel):
            encoders["model"] = name
        else:
            encoders[str(name)] = load_encoder(name)
    rows = []
    with Progress("evaluate", total=len(sets) * len(encoders), unit="sets", show=progress) as bar:
        for found in sets:
            for name, encoder in encoders.items():
                rows += measure(name, encoder, found)
                bar.advance(1)
    return Report(rows, reference=next(iter(encoders)))


def compare(encoders: dict[str, Encoder], data: RetrievalSet, *, bm25: bool, reference: str) -> Report:
    """Encoders, and BM25, on one retrieval set."""
    found = EvaluationSet(data.name or "held-out pairs", "retrieval", data)
    rows = [row for name, encoder in encoders.items() for row in measure(name, encoder, found)]
    if bm25:
        rows += measure(BM25_NAME, None, found)
    return Report(rows, reference)


def measure(name: str, encoder: Encoder | None, found: EvaluationSet) -> list[Row]:
    """One model on one set; no encoder is BM25, which has no rows but in retrieval."""
    started = time.perf_counter()
    if found.task == "retrieval":
        scores = evaluate_bm25(found.data) if encoder is None else evaluate_retrieval(encoder, found.data)
        seconds = time.perf_counter() - started
        return [Row(name, found.name, found.task, scores.metrics, seconds, scores.per_query[FIRST["retrieval"]])]
    if encoder is None:
        return []
    if found.task == "sts":
        metrics = tasks.similarity(encoder, found.data)
    elif found.task == "pairs":
        metrics = tasks.pairs(encoder, found.data)
    elif found.task == "classification":
        metrics = tasks.classification(encoder, *found.data)
    else:
        metrics = tasks.clustering(encoder, found.data)
    return [Row(name, found.name, found.task, metrics, time.perf_counter() - started)]


def read_sets(path: Path, task: str | None = None) -> list[EvaluationSet]:
    """The sets at a path.

    Raises:
        DataError: There are none, or one is malformed.
        InputError: It cannot be told what a file is.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name a file or folder to evaluate on")
    if not path.is_dir():
        return [_file(path, task)]
    if any(path.glob("corpus.*")) or (path / "qrels").is_dir():
        return [EvaluationSet(path.name, "retrieval", read_beir(path))]
    found: list[EvaluationSet] = []
    for item in sorted(path.iterdir()):
        if item.is_dir() and (any(item.glob("corpus.*")) or (item / "qrels").is_dir()):
            found += read_sets(item, task)
        elif item.is_file() and _suffix(item) and not _serves_another(item):
            found.append(_file(item, task))
    if not found:
        raise DataError(f"{path} holds no set; name a BEIR folder, or files with text1,text2,score or text,label columns")
    return found


def _suffix(path: Path) -> bool:
    try:
        raw.identify(path)
    except DataError:
        return False
    return True


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _sibling(path: Path, part: str) -> Path | None:
    """NAME_part.* beside NAME_*.*, if it is there."""
    match = PARTS.match(_stem(path))
    if match is None:
        return None
    found = [other for other in sorted(path.parent.glob(f"{match['name']}_{part}.*")) if _stem(other) == f"{match['name']}_{part}"]
    return found[0] if found else None


def _serves_another(path: Path) -> bool:
    """In a folder: training and development texts of a classification set are no sets of their own."""
    match = PARTS.match(_stem(path))
    if match is None or match["part"] == "test" or _sibling(path, "test") is None:
        return False
    return _guess(path) in ("labelled", "pairs")


def _guess(path: Path) -> str | None:
    """``sts``, ``pairs`` or ``labelled`` by the columns of the first rows."""
    first = next(tables.tables(path), None)
    names = first.column_names if first is not None else []
    two = columns.usual(names, ["text1", "sentence1"]) and columns.usual(names, ["text2", "sentence2"])
    if two and columns.usual(names, ["score", "similarity"]):
        return "sts"
    if two and columns.usual(names, ["label"]):
        return "pairs"
    if columns.usual(names, columns.TEXT) and columns.usual(names, ["label", "labels", "class", "category", "intent"]):
        return "labelled"
    return None


def _file(path: Path, task: str | None) -> EvaluationSet:
    name = _stem(path)
    if task is None:
        guessed = _guess(path)
        if guessed == "labelled":
            task = "classification" if _sibling(path, "train") and _sibling(path, "test") else None
            if task is None:
                raise InputError(
                    f"{path} holds labelled texts, which could be clustered or classified; say --task clustering, "
                    "or put NAME_train and NAME_test files side by side"
                )
        task = task or guessed
    if task == "sts":
        return EvaluationSet(name, task, read_sts(path))
    if task == "pairs":
        return EvaluationSet(name, task, read_judged_pairs(path))
    if task == "clustering":
        return EvaluationSet(name, task, read_labelled(path))
    if task == "retrieval":
        return EvaluationSet(name, task, from_pairs(read_pairs(path), name=name))
    if task == "classification":
        return EvaluationSet(re.sub(r"_(train|test)$", "", name), task, _train_and_test(path))
    raise InputError(
        f"it cannot be told what {path} is; it needs columns text1,text2,score or text1,text2,label or text,label, "
        f"or say --task ({', '.join(TASKS)})"
    )


def _train_and_test(path: Path) -> tuple[LabelledTexts, LabelledTexts]:
    train, test = _sibling(path, "train"), _sibling(path, "test")
    if train is None or test is None:
        raise DataError(f"{path} needs NAME_train and NAME_test files side by side for classification; one of them is missing")
    return read_labelled(train), read_labelled(test)
