"""The texts of any data: judged sets, pairs, documents or plain texts; and a sample of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from statim.data.documents.texts import read_texts
from statim.data.labelled.labelled import read_judged_pairs, read_labelled, read_sts
from statim.data.labelled.retrieval import from_pairs, read_beir
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError
from statim.evaluation.tasks import Task, find_tasks


def read_any(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The paths of judged data, and the texts of all of them."""
    judged: list[Path] = []
    texts: list[str] = []
    for path in paths:
        try:
            tasks = find_tasks([path])
        except (DataError, InputError):
            tasks = []
        if tasks:
            judged.append(path)
            for task in tasks:
                texts += _texts(task)
        else:
            for block in read_texts(path):
                texts += block.to_pylist()
    return judged, texts


def _texts(task: Task) -> list[str]:
    """The texts of judged data; of a retrieval set its documents and queries."""
    if task.kind == "retrieval":
        whole = read_beir(task.path) if task.path.is_dir() else from_pairs(read_pairs(task.path))
        return _listed(whole.documents) + _listed(whole.queries)
    if task.kind in ("sts", "pairs"):
        pairs = read_sts(task.path) if task.kind == "sts" else read_judged_pairs(task.path)
        return _listed(pairs.text1) + _listed(pairs.text2)
    return _listed(read_labelled(task.path).texts)


def _listed(column: pa.LargeStringArray) -> list[str]:
    texts: list[str] = column.to_pylist()
    return texts


def drawn(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Different texts that are not empty, at most ``count``, drawn by the seed, in their order."""
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) <= count:
        return different
    chosen = np.random.default_rng(seed).choice(len(different), count, replace=False)
    return [different[i] for i in np.sort(chosen).tolist()]
