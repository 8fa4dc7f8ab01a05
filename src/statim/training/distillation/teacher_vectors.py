"""A teacher's vectors of any number of texts: computed once, and kept on disk in float16.

Texts go through the teacher in blocks, inside which ``Teacher`` batches them by length and multiplies in
bfloat16 where that is quick and gives the same vectors to a cosine of 0.9999 (all-MiniLM-L6-v2 on two cores
with bfloat16 instructions: 1.35 times as fast, cosines above 0.99996). A block is a file named after the
teacher, its prompt and length, and the block's texts; it takes its place whole. So a process that was killed
goes on with the first block that is missing, and texts that are appended to others cost only themselves.
"""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim import cache
from statim.data.pairs.pairs import hash_of
from statim.errors import ModelError
from statim.progress import Progress
from statim.spilled_array import Growing, release, stacked
from statim.teacher.teacher import Teacher
from statim.tensors import load_tensors, save_tensors
from statim.training.datasets.views import Halves

BLOCK = 4096  # texts; a kill loses less than one, half a minute for a small teacher on two cores

log = logging.getLogger("statim")

Floats = npt.NDArray[np.float32]


def teacher_vectors(
    teacher: Teacher,
    texts: pa.LargeStringArray,
    *,
    role: str = "text",
    threads: int | None = None,
    progress: bool = False,
) -> Halves:
    """What a teacher makes of texts.

    Args:
        teacher: Of D dimensions.
        texts: n texts, none missing; equal ones are computed each.
        role: ``text``, ``query`` or ``document``: which of its prompts the teacher puts before each.
        threads: Threads to use; vectors do not depend on it.
        progress: Show a progress bar on a terminal.

    Returns:
        (n, D) float16 of length 1 (to rounding), read-only, mapped from a file where they are many.

    Raises:
        StorageError: The disk is full. (A cache that cannot be written costs time, not the result.)
    """
    place, computed, started = cache.folder("teachers") / teacher.key(role)[:32], 0, time.perf_counter()
    found = Growing(np.float16)
    with Progress("encode with the teacher", total=len(texts), unit="texts", show=progress) as bar:
        for start in range(0, len(texts), BLOCK):
            some = texts.slice(start, BLOCK)
            path = place / f"{hash_of([some])[:32]}.safetensors"
            block = _cached(path, (len(some), teacher.dim))
            if block is None:
                block = _compute(teacher, some, role, threads)
                computed += len(some)
                with cache.writing():
                    save_tensors(path, {"vectors": block}, {"teacher": teacher.name}, sealed=True)
            found.append(block.reshape(-1))
            bar.advance(len(some))
            release()
    if computed:
        seconds = time.perf_counter() - started
        log.info(
            "%s read %s texts in %.1f s (%s a second); %s were cached", teacher.name, f"{computed:,}",
            seconds,
            f"{computed / seconds:,.0f}", f"{len(texts) - computed:,}",
        )  # fmt: skip
    return found.finish().reshape(len(texts), teacher.dim)


def vectors_among(
    teacher: Teacher, texts: pa.LargeStringArray, read: pa.LargeStringArray, **options: Any
) -> Halves:
    """A teacher's vectors of some of its texts; blocks cover all, so another split or seed reuses them.

    Args:
        teacher: Of D dimensions.
        texts: n texts.
        read: Different texts, in an order that does not depend on which of them are wanted. If one of
            ``texts`` is not among them, the teacher reads ``texts`` instead.
        options: As for ``teacher_vectors``.

    Returns:
        (n, D) float16, as ``teacher_vectors`` gives them.
    """
    places = pc.index_in(texts, value_set=read)
    if places.null_count:
        return teacher_vectors(teacher, texts, **options)
    vectors, rows = teacher_vectors(teacher, read, **options), np.asarray(places)
    if np.array_equal(rows, np.arange(len(vectors))):
        return vectors
    return stacked(
        (vectors[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK)), teacher.dim
    )


def _compute(teacher: Teacher, texts: pa.LargeStringArray, role: str, threads: int | None) -> Halves:
    encode: Any = {"text": teacher.encode, "query": teacher.encode_query, "document": teacher.encode_document}
    vectors = encode[role](texts.to_pylist(), cache=False, threads=threads)
    return np.asarray(vectors, np.float16)


def _cached(path: Path, shape: tuple[int, int]) -> Halves | None:
    """A block that is there; a damaged one is none."""
    try:
        block: Any = load_tensors(path)[0]["vectors"]
    except (ModelError, KeyError):
        return None
    return block if block.shape == shape and block.dtype == np.float16 else None
