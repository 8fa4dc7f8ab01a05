"""Tables to start from, as arrays: random numbers, or a teacher's view of each token."""

import contextlib
import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from statim import cache
from statim.errors import ModelError
from statim.teacher.teacher import Teacher
from statim.tensors import load_tensors, save_tensors

SIF = 1e-3  # tokens more frequent than this weigh less than half (Arora et al., 2017)
BLOCK = 4096  # vectors that are added to a covariance at a time
FILL = 0.1  # size of the random columns that widen a table, relative to its own

Floats = npt.NDArray[np.float32]


def random_table(vocabulary: int, dim: int, seed: int) -> Floats:
    """(V, d) float32 of independent normal numbers of variance 1."""
    return np.random.Generator(np.random.Philox(seed)).standard_normal((vocabulary, dim), np.float32)


def token_vectors(teacher: Teacher, *, progress: bool = False) -> Floats:
    """The teacher's vector of each token alone, (V, teacher's d) float32; computed once, then cached."""

    def compute() -> Floats:
        size = max(teacher.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        return teacher.embed_tokens(np.arange(size), progress=progress)

    return cached(teacher, "", compute)


def cached(teacher: Teacher, kind: str, compute: Callable[[], Floats]) -> Floats:
    """What is made of a teacher once: from the cache, memory-mapped, or computed and put there."""
    name = hashlib.sha256(f"{teacher.hash}{kind}".encode()).hexdigest()[:32]
    path = cache.folder("starts") / f"{name}.safetensors"
    with contextlib.suppress(ModelError, KeyError):  # it is not there, or damaged
        return np.asarray(load_tensors(path)[0]["vectors"], np.float32)
    vectors = compute()
    with cache.writing():
        save_tensors(path, {"vectors": vectors}, {"teacher": teacher.name}, sealed=True)
    return vectors


def principal_axes(moment: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The eigenvectors of a symmetric matrix (D, D) as columns, (D, D), those of the largest values first."""
    values, axes = np.linalg.eigh(moment)
    axes = axes[:, np.argsort(-values)]
    # an eigenvector's sign is arbitrary: fix it, so that machines agree
    signs = np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    return np.asarray(axes * signs)


def rotated(vectors: Floats) -> Floats:
    """Vectors (V, D), centred and rotated to their principal axes, those of the largest variance first."""
    centred = vectors - vectors.mean(axis=0)
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(centred), BLOCK):
        block = centred[start : start + BLOCK]
        covariance += block.T @ block
    return np.asarray(centred @ principal_axes(covariance / len(centred)).astype(np.float32))


def distilled_table(vectors: Floats, frequencies: npt.NDArray[np.float64], dim: int, seed: int) -> Floats:
    """A teacher's token vectors as a static table: centred, rotated to principal axes, weighted by frequency.

    The axes are ordered by variance, so prefixes are already good (Matryoshka). Frequent tokens weigh less: a
    / (a + p), smooth inverse frequency (Arora et al., 2017). Dimensions beyond the teacher's are small random
    numbers for training to use.

    Args:
        vectors: (V, D) from ``token_vectors``.
        frequencies: (V,) how often each token occurs in the corpus (counts).
        dim: Dimensions wanted, d.
        seed: For the random columns.

    Returns:
        (V, d) float32 with entries of root mean square 1.
    """
    return weighted(rotated(vectors), frequencies, dim, seed)


def weighted(turned: Floats, frequencies: npt.NDArray[np.float64], dim: int, seed: int) -> Floats:
    """``distilled_table`` of vectors that are rotated already."""
    probabilities = (frequencies + 0.5) / (frequencies + 0.5).sum()
    table = turned[:, :dim] * (SIF / (SIF + probabilities))[:, None].astype(np.float32)
    return widen(unit_scale(table), dim, seed)


def widen(table: Floats, dim: int, seed: int) -> Floats:
    """The first ``dim`` dimensions of a table, or all of them and small random ones behind."""
    if dim <= table.shape[1]:
        return np.ascontiguousarray(table[:, :dim])
    extra = random_table(len(table), dim - table.shape[1], seed) * np.float32(
        FILL * np.sqrt(np.mean(np.square(table)))
    )
    return np.concatenate([table, extra], axis=1)


def unit_scale(table: Floats) -> Floats:
    """The table scaled to entries of root mean square 1, which learning rates are relative to."""
    size = np.sqrt(np.einsum("ij,ij->i", table, table).sum(dtype=np.float64) / table.size)
    return table * np.float32(1 / size if size > 0 else 1)


def with_lengths(table: Floats, power: float) -> Floats:
    """The table (V, d) with row lengths raised to a power, the mean kept; zero rows stay zero."""
    if power == 1:
        return table
    lengths = np.linalg.norm(table, axis=1)
    there = lengths > 0
    wanted = np.where(there, lengths, 1) ** power
    wanted *= lengths[there].mean() / wanted[there].mean()
    return np.asarray(table * (wanted / np.where(there, lengths, 1))[:, None], np.float32)
