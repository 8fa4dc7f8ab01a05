"""The texts of any data: judged sets, pairs, documents or plain texts; and a sample of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statim.data.documents.files import SUFFIXES
from statim.data.documents.texts import read_texts
from statim.data.labelled.labelled import read_judged_pairs, read_labelled, read_sts
from statim.data.labelled.retrieval import from_pairs, read_beir
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError
from statim.evaluation.tasks import Task, find_tasks

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = ("readme", "license", "licence")  # names of files that describe a data set and are no part of it


def read_any(paths: Sequence[str | Path]) -> tuple[list[str | Path], list[str]]:
    """Read the texts of files and folders.

    A file that ``statim.evaluation.evaluate`` can tell the task of is judged data, and so is a BEIR folder.
    Any other folder is judged data if it holds judged files and no documents (.md, .txt, .pdf and others that
    an index reads from a folder), except a README or a licence. All else is read as documents or plain texts:
    of a folder with documents the documents alone.

    Args:
        paths: Files and folders; a ``TextFile`` is read with its encoding.

    Returns:
        The paths of judged data, and the texts of all paths.

    Raises:
        DataError: A path cannot be read, or holds no texts.
    """
    judged: list[str | Path] = []
    texts: list[str] = []
    for path in paths:
        tasks = _tasks(path if isinstance(path, Path) else Path(path))
        if tasks:
            judged.append(path)
            for task in tasks:
                texts += _texts(task)
        else:
            for block in read_texts(path):
                texts += block.to_pylist()
    return judged, texts


def _tasks(path: Path) -> list[Task]:
    """The judged sets at a path; none where it is to be read as texts."""
    try:
        tasks = find_tasks([path])
    except (DataError, InputError):
        return []
    if path.is_dir() and tasks[0].path != path and _has_documents(path):
        return []
    return tasks


def _has_documents(folder: Path) -> bool:
    """Does a folder hold documents, at any depth, hidden ones aside?"""
    return any(
        child.suffix.lower() in SUFFIXES
        and child.stem.lower() not in ABOUT
        and not any(part.startswith(".") for part in child.relative_to(folder).parts)
        for child in folder.rglob("*")
    )


def _texts(task: Task) -> list[str]:
    """The texts of judged data; of a retrieval set its documents and queries."""
    if task.kind == "retrieval":
        whole = read_beir(task.path) if task.path.is_dir() else from_pairs(read_pairs(task.path))
        return _listed(whole.documents) + _listed(whole.queries)
    if task.kind in ("sts", "pairs"):
        pairs = read_sts(task.path) if task.kind == "sts" else read_judged_pairs(task.path)
        return _listed(pairs.text1) + _listed(pairs.text2)
    return _listed(read_labelled(task.path).texts)


def _listed(column: "pa.LargeStringArray") -> list[str]:
    texts: list[str] = column.to_pylist()
    return texts


def sample_texts(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """A random sample of at most ``count`` different texts that are not empty, in their order."""
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) <= count:
        return different
    chosen = np.random.default_rng(seed).choice(len(different), count, replace=False)
    return [different[i] for i in np.sort(chosen).tolist()]
