"""The encoder of an index's documents: its model, or the teacher of a query-only model.

Static queries against a transformer's documents: a query costs microseconds, and only building the index
needs the teacher, as with NIFE (nearly inference-free embeddings; Tulkens, 2025).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.model import StaticModel
from statim.teacher.teacher import Teacher

log = logging.getLogger("statim")

Encode = Callable[[list[str]], npt.NDArray[np.float32]]


def encoder(
    model: StaticModel,
    documents_by: str | Path | Teacher | None,
    threads: int | None,
    *,
    known: str | None = None,
) -> tuple[Encode, dict[str, str]]:
    """What makes vectors (n, d) of length 1 of documents, and what the index's manifest says of it.

    Args:
        model: The index's.
        documents_by: A teacher; None for the one that the model remembers, or the model itself.
        threads: Threads to use.
        known: The hash of the teacher that made the vectors which are there already.

    Raises:
        ModelError: There is no such teacher.
        DependencyError: sentence-transformers is not installed.
        InputError: The teacher has other dimensions than the model, or is not the one it was trained against.
    """
    named = documents_by or model.settings.documents_by
    if named is None:
        return lambda texts: model.encode_document(texts, normalize=True, threads=threads), {}
    teacher = teacher_of(model, named, known)
    about = {"documents_by": str(teacher.name), "documents_hash": teacher.hash}
    return lambda texts: teacher.encode_document(texts, threads=threads), about


def teacher_of(model: StaticModel, named: str | Path | Teacher, known: str | None = None) -> Teacher:
    """The teacher, if it is the one that the model was trained against, as far as the model knows.

    Raises:
        ModelError: There is no such teacher.
        DependencyError: sentence-transformers is not installed.
        InputError: It has other dimensions than the model, or is another.
    """
    teacher = named if isinstance(named, Teacher) else Teacher.load(named)
    if teacher.dim != model.dim:
        raise InputError(
            f"the teacher {teacher.name} has {teacher.dim} dimensions and the model's queries have "
            f"{model.dim}; name the teacher that it was trained against (statim train --documents-by)"
        )
    known = known or model.settings.documents_hash
    if known is not None and known != teacher.hash:
        raise InputError(
            f"the teacher {teacher.name} is not the one that the model's queries were trained against "
            f"({model.settings.documents_by}), or has changed since; name that one, unchanged, or train "
            "again"
        )
    if known is None:
        log.info(
            "nothing says that the model was trained against %s; its queries may not find anything",
            teacher.name,
        )
    return teacher
