"""Distillation targets: teacher embeddings in PCA coordinates, so that prefixes hold as much as they can.

Turning changes no cosine. The axes are those of the vectors' second moments, ordered by size (PCA without
centring, since a centred vector has other cosines); so the first dimensions are the best reduction, and each
Matryoshka prefix has a target of its own.
"""

import numpy as np
import numpy.typing as npt

from statim.spilled_array import stacked
from statim.training.datasets.bags import Bags
from statim.training.datasets.views import Halves
from statim.training.initial_tables import principal_axes, unit_scale

ENOUGH = 100_000  # texts from which axes and the map of the start are learned
BLOCK = 8192  # texts looked at in one go
RIDGE = 1e-3  # of the mean of the start's squares

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


def axes_of(vectors: Halves, dim: int) -> Floats:
    """The first ``dim`` principal axes of a teacher's vectors (n, D), as columns: (D, dim) float32."""
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    some = _some(len(vectors))
    for start in range(0, len(some), BLOCK):
        block = vectors[some[start : start + BLOCK]].astype(np.float32)
        moment += block.T @ block
    return principal_axes(moment)[:, :dim].astype(np.float32)


def turned(vectors: Halves, axes: Floats) -> Halves:
    """Vectors (n, D) on axes (D, d): (n, d) float16, mapped from a file where they are many.

    With d = D all cosines are as before.
    """
    blocks = (
        (vectors[start : start + BLOCK].astype(np.float32) @ axes).astype(np.float16)
        for start in range(0, len(vectors), BLOCK)
    )
    return stacked(blocks, axes.shape[1])


def mapped(table: Floats, bags: Bags, texts: Positions, targets: Halves, threads: int) -> Floats:
    """A table whose pooled vectors lie as close to targets as a linear map brings them: ridge regression.

    Args:
        table: (V, d).
        bags: The texts' bags.
        texts: (n,) numbers of texts.
        targets: (n, k) the target vectors.
        threads: Threads to use.

    Returns:
        (V, k) float32 with entries of root mean square 1; a zero row stays zero.
    """
    squares, products = (
        np.zeros((table.shape[1], table.shape[1])),
        np.zeros((table.shape[1], targets.shape[1])),
    )
    some = _some(len(texts))
    for start in range(0, len(some), BLOCK):
        chosen = some[start : start + BLOCK]
        vectors = _unit(bags.pooled(table, texts[chosen], threads))
        squares += vectors.T @ vectors
        products += vectors.T @ _unit(targets[chosen].astype(np.float32))
    size = max(float(np.trace(squares)) / len(squares), 1e-12)
    found = np.linalg.solve(squares + RIDGE * size * np.eye(len(squares)), products)
    return unit_scale(np.ascontiguousarray(table @ found.astype(np.float32)))


def _some(count: int) -> Positions:
    """Positions of at most ENOUGH things, evenly apart."""
    return np.arange(0, count, -(-count // ENOUGH) or 1)


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
