"""Where a table starts: random numbers, a teacher's view of each token, or an earlier model."""

import hashlib

import numpy as np
import numpy.typing as npt

from statim import cache
from statim.errors import ModelError
from statim.teacher import Teacher
from statim.tensors import load_tensors, save_tensors

SIF = 1e-3  # tokens more frequent than this weigh less than half (Arora et al., 2017)
FILL = 0.1  # size of the random columns that widen a table, relative to its own

Floats = npt.NDArray[np.float32]


def random_table(vocabulary: int, dim: int, seed: int) -> Floats:
    """(V, d) float32 of independent normal numbers of variance 1."""
    return np.random.Generator(np.random.Philox(seed)).standard_normal((vocabulary, dim), np.float32)


def token_vectors(teacher: Teacher, *, progress: bool = False) -> Floats:
    """The teacher's vector of each token of its vocabulary by itself, (V, teacher's d) float32; computed once, then cached."""
    path = cache.folder("starts") / f"{hashlib.sha256(teacher.hash.encode()).hexdigest()[:32]}.safetensors"
    if path.exists():
        try:
            return np.asarray(load_tensors(path)[0]["vectors"], np.float32)
        except (ModelError, KeyError):  # a damaged cache is no error: compute anew
            path.unlink()
    size = max(teacher.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    vectors = teacher.embed_tokens(np.arange(size), progress=progress)
    save_tensors(path, {"vectors": vectors}, {"teacher": teacher.name})
    return vectors


def distilled_table(vectors: Floats, frequencies: npt.NDArray[np.float64], dim: int, seed: int) -> Floats:
    """A teacher's token vectors as a static table: centred, rotated to principal axes, weighted by frequency.

    The axes are ordered by variance, so prefixes are already good (Matryoshka). Frequent tokens weigh less: a / (a + p), smooth
    inverse frequency (Arora et al., 2017). Dimensions beyond the teacher's are small random numbers for training to use.

    Args:
        vectors: (V, D) from ``token_vectors``.
        frequencies: (V,) how often each token occurs in the corpus (counts).
        dim: Dimensions wanted, d.
        seed: For the random columns.

    Returns:
        (V, d) float32 with entries of root mean square 1.
    """
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh((centred.T.astype(np.float64) @ centred) / len(centred))
    axes = axes[:, np.argsort(-values)]
    # an eigenvector's sign is arbitrary: fix it, so that machines agree
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    table = centred @ axes[:, :dim].astype(np.float32)
    probabilities = (frequencies + 0.5) / (frequencies + 0.5).sum()
    table *= (SIF / (SIF + probabilities))[:, None].astype(np.float32)
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
    size = np.sqrt(np.mean(np.square(table, dtype=np.float64)))
    return table * np.float32(1 / size if size > 0 else 1)
