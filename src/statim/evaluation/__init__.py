"""Evaluation: how good a model is, beside BM25 and any other model, on judged data.

>>> from statim.evaluation import evaluate
>>> print(evaluate("model", ["stsb_test.jsonl", "scifact/"], against=["bm25", "all-MiniLM-L6-v2"]))
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from statim.data.labelled.labelled import read_judged_pairs, read_labelled, read_sts
from statim.data.labelled.retrieval import RetrievalSet, from_pairs, read_beir
from statim.data.pairs.reading import read_pairs
from statim.evaluation.classification import evaluate_classification
from statim.evaluation.clustering import evaluate_clustering
from statim.evaluation.comparison import BM25, Clock, Comparison, Hybrid, compare
from statim.evaluation.encoders import Encoder, load_encoder
from statim.evaluation.pairs import evaluate_pairs
from statim.evaluation.report import Report, Row
from statim.evaluation.search_modes import Tuning, tune
from statim.evaluation.sts import evaluate_sts
from statim.evaluation.tasks import TASKS, Task, find_tasks, stem
from statim.model import StaticModel

__all__ = [
    "TASKS", "Comparison", "Encoder", "Hybrid", "Report", "Row", "Tuning", "compare", "evaluate",
    "load_encoder", "tune",
]  # fmt: skip


def evaluate(
    model: str | Path | Encoder,
    paths: str | Path | Sequence[str | Path],
    *,
    against: str | Path | Sequence[str | Path] = (),
    task: str | None = None,
    progress: bool = False,
    threads: int | None = None,
) -> Report:
    """Measure a model, and others beside it, on judged data.

    What a path holds is told from its layout, columns and name:

    - a BEIR folder (corpus, queries, qrels): retrieval, by NDCG, MRR, recall and MAP;
    - text1, text2, score: similarity, by Spearman's correlation;
    - text1, text2, label: pairs, by average precision;
    - text, label: classification by logistic regression, where NAME_train and NAME_test (or _valid, _dev) lie
    side by side, by
      accuracy; clustering where there is one file without such a name, by V-measure;
    - anchor, positive (or another pair of usual names): retrieval of the positives among all of them;
    - a folder of such files and folders: all of them.

    Args:
        model: A model, or the path or name of one: static, or a sentence transformer.
        paths: One or several files or folders.
        against: Paths or names of models to put into the same table; ``bm25`` is the lexical search, for
            retrieval only, and brings a row ``hybrid`` with it: the model together with BM25.
        task: One of TASKS, where a file could mean several things.
        progress: Show progress bars on a terminal.
        threads: Threads to search with; see statim.threads.

    Raises:
        DataError: A path cannot be read, or holds nothing to evaluate on.
        InputError: A file could mean several things, and ``task`` does not say which.
        ModelError: A model cannot be loaded, or gives NaN where something must be fitted to its vectors.
        DependencyError: A package is missing that a model or a task needs.

    Examples:
        >>> report = evaluate("model", "pairs.jsonl", task="retrieval", against="bm25")
        >>> [row.model for row in report.rows]
        ['model', 'bm25', 'hybrid']
    """
    tasks = find_tasks([paths] if isinstance(paths, (str, Path)) else paths, task)
    others = [against] if isinstance(against, (str, Path)) else list(against)
    models = {_name(given): given for given in [*others, model]}
    first, bm25 = _name(model), models.pop(BM25, None) is not None
    order = [first, *(name for name in models if name != first)]
    encoders = {name: _encoder(models[name]) for name in order if name in models}
    rows: list[Row] = []
    remarks: list[str] = []
    for one in tasks:
        if one.kind == "retrieval":
            data = _retrieval_set(one)
            compared = compare(
                encoders, data, bm25=bm25, hybrid=_hybrid(encoders.get(first)),
                reference=first, progress=progress, threads=threads,
            )  # fmt: skip
            rows += [
                Row(r.name, one.name, one.kind, r.metrics, r.seconds, r.difference) for r in compared.rows
            ]
            remarks += [f"{one.name}: {remark}" for remark in compared.remarks()[1:]]
        else:
            rows += _rows(one, encoders, progress)
    if bm25 and any(one.kind != "retrieval" for one in tasks):
        remarks.append("BM25 ranks documents for a query, so it stands in the retrieval table only.")
    return Report(tuple(rows), tuple(remarks))


def _name(model: str | Path | Encoder) -> str:
    if not isinstance(model, (str, Path)):
        return "model"
    return BM25 if str(model).lower() == BM25 else str(model)


def _encoder(model: str | Path | Encoder) -> Encoder:
    return load_encoder(model) if isinstance(model, (str, Path)) else model


def _hybrid(encoder: Encoder | None) -> Hybrid | None:
    """Hybrid search with a model, with the weight that its training chose."""
    if encoder is None:
        return None
    tuned = encoder.settings.search if isinstance(encoder, StaticModel) else None
    return Hybrid(encoder) if tuned is None else Hybrid(encoder, tuned.weight, tuned=True)


def _retrieval_set(task: Task) -> RetrievalSet:
    return (
        read_beir(task.path)
        if task.path.is_dir()
        else from_pairs(read_pairs(task.path), name=stem(task.path))
    )


def _rows(task: Task, encoders: dict[str, Encoder], progress: bool) -> Iterator[Row]:
    score = _scorer(task, progress)
    for name, encoder in encoders.items():
        clock = Clock(encoder)
        metrics = score(encoder)
        yield Row(name, task.name, task.kind, metrics, clock.seconds())


def _scorer(task: Task, progress: bool) -> Callable[[Encoder], dict[str, float]]:
    """Read a task's data; what remains is to be told the model."""
    if task.kind == "sts":
        scored = read_sts(task.path)
        return lambda encoder: evaluate_sts(encoder, scored, progress=progress)
    if task.kind == "pairs":
        judged = read_judged_pairs(task.path)
        return lambda encoder: evaluate_pairs(encoder, judged, progress=progress)
    labelled = read_labelled(task.path)
    if task.kind == "clustering":
        return lambda encoder: evaluate_clustering(encoder, labelled, progress=progress)
    train = read_labelled(task.train)
    return lambda encoder: evaluate_classification(encoder, train, labelled, progress=progress)
