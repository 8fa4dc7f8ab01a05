"""Vectors to two dimensions: PaCMAP, UMAP or principal components; and where further vectors go.

PaCMAP (Wang, Huang, Rudin and Shaposhnik, JMLR 2021) and UMAP (McInnes, Healy and Melville, 2018) come from
their authors' packages. Both are given the exact nearest neighbors that statim finds, and both begin with the
principal components, so the same vectors and seed give the same map.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import DependencyError, InputError
from statim.search.engines.exact_top_k import top_k

FEWEST = 50  # different vectors that PaCMAP and UMAP need
REDUCED = 100  # principal components that PaCMAP sees, as its authors advise
PACMAP_NEIGHBORS, UMAP_NEIGHBORS = 10, 15
PLACED_BY = 3  # nearest neighbors that a vector outside of the sample is placed by
SHARPNESS = 20.0  # how much more a closer neighbor counts: by e for each 0.05 of cosine

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


def project(
    vectors: Floats, method: str | None, *, sample: int, seed: int, threads: int | None
) -> tuple[Floats, str]:
    """Project n different vectors of length 1.

    Args:
        vectors: (n, d) float32.
        method: ``pacmap``, ``umap`` or ``pca``; None takes pca for fewer than 50 vectors, else pacmap.
        sample: At most this many are projected; the others are placed by their neighbors among these.
        seed: Of all random choices.
        threads: Threads to use.

    Returns:
        (n, 2) float32 around 0, within -1 and 1; and the method.

    Raises:
        InputError: The method needs more vectors.
        DependencyError: Its package is not installed.
    """
    n = len(vectors)
    if method is None:
        method = "pca" if n < FEWEST else "pacmap"
    components = _principal(vectors)
    if method == "pca":
        return _scaled(components(vectors, 2)), method
    if n < FEWEST:
        raise InputError(f"{method} needs at least {FEWEST} different texts, and there are {n}; take pca")
    if n <= sample:
        chosen, some = np.arange(n), vectors
    else:
        chosen = np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
        some = vectors[chosen]
    with _quiet(threads):
        reduced = components(some, REDUCED)
        found = (
            _pacmap(some, reduced, seed, threads)
            if method == "pacmap"
            else _umap(some, reduced, seed, threads)
        )
    if len(chosen) == n:
        return _scaled(found), method
    xy, rest = np.empty((n, 2), np.float32), np.ones(n, np.bool_)
    rest[chosen] = False
    xy[chosen], xy[rest] = found, _placed(vectors[rest], some, found, threads)
    return _scaled(xy), method


def turned(xy: Floats, onto: Floats) -> Floats:
    """A map turned or mirrored to lie as close as possible to another of the same n texts.

    Args:
        xy: (n, 2).
        onto: (n, 2).
    """
    left, _, right = np.linalg.svd(xy.astype(np.float64).T @ onto)
    found: Floats = (xy @ (left @ right)).astype(np.float32)
    return found


class _principal:  # noqa: N801  used like a function
    """Projects vectors onto the principal components of the vectors given, largest first."""

    def __init__(self, vectors: Floats) -> None:
        self._mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
        moments = (vectors.T @ vectors) / len(vectors) - np.outer(self._mean, self._mean)
        axes = np.linalg.eigh(moments.astype(np.float64))[1][:, ::-1]
        signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
        self._axes = (axes * signs).astype(np.float32)

    def __call__(self, vectors: Floats, count: int) -> Floats:
        found = np.zeros((len(vectors), max(2, min(count, self._axes.shape[1]))), np.float32)
        kept = self._axes[:, : found.shape[1]]
        found[:, : kept.shape[1]] = (vectors - self._mean) @ kept
        return found


def _pacmap(vectors: Floats, reduced: Floats, seed: int, threads: int | None) -> Floats:
    """PaCMAP's map of (n, d) vectors; ``reduced`` (n, c) are their principal components."""
    pacmap = _package("pacmap")
    _, others = _neighbors(vectors, PACMAP_NEIGHBORS, threads)
    pairs = np.stack(
        [np.repeat(np.arange(len(vectors)), PACMAP_NEIGHBORS), others.reshape(-1)], axis=1
    ).astype(np.int32)
    reducer = pacmap.PaCMAP(
        n_neighbors=PACMAP_NEIGHBORS, random_state=seed, apply_pca=False, pair_neighbors=pairs
    )
    found: Floats = reducer.fit_transform(reduced, init=reduced[:, :2])
    return found


def _umap(vectors: Floats, reduced: Floats, seed: int, threads: int | None) -> Floats:
    """UMAP's map of (n, d) vectors, begun at their first two principal components."""
    umap = _package("umap", "umap-learn")
    scores, others = _neighbors(vectors, UMAP_NEIGHBORS - 1, threads)
    own = np.arange(len(vectors))[:, None]
    distances = np.maximum(1 - scores, 0)
    near = (np.hstack([own, others]), np.hstack([np.zeros_like(distances[:, :1]), distances]), None)
    reducer = umap.UMAP(
        n_neighbors=UMAP_NEIGHBORS, metric="cosine", random_state=seed, n_jobs=1, precomputed_knn=near,
        force_approximation_algorithm=True, init=10 * _scaled(reduced[:, :2]),
    )  # fmt: skip
    found: Floats = reducer.fit_transform(vectors)
    return found


def _neighbors(vectors: Floats, k: int, threads: int | None) -> tuple[Floats, Longs]:
    """The k nearest others of each of n vectors: cosines and positions, (n, k)."""
    scores, found = top_k(vectors, vectors, k + 1, threads=threads, half=True)
    others = found != np.arange(len(vectors))[:, None]
    others[others.all(1), -1] = False  # more than k equal it but for rounding
    return scores[others].reshape(-1, k), found[others].reshape(-1, k)


def _placed(vectors: Floats, sample: Floats, xy: Floats, threads: int | None) -> Floats:
    """Where (m, d) further vectors go: at the mean of their nearest neighbors in the sample, (m, 2)."""
    scores, near = top_k(vectors, sample, PLACED_BY, threads=threads, half=True)
    weights = np.exp(SHARPNESS * (scores - scores[:, :1]))
    weights /= weights.sum(1, keepdims=True)
    found: Floats = np.einsum("mk,mkc->mc", weights, xy[near])
    return found


def _scaled(xy: Floats) -> Floats:
    """Points around 0 whose farthest coordinate is 1."""
    centred = xy - (xy.min(0) + xy.max(0)) / 2
    found: Floats = (centred / max(float(np.abs(centred).max()), 1e-12)).astype(np.float32)
    return found


def _package(name: str, distribution: str = "") -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise DependencyError(
            f'{name} needs the package {distribution or name}; pip install "statim[map]", or take pca'
        ) from None


@contextlib.contextmanager
def _quiet(threads: int | None) -> Iterator[None]:
    """Limit numba's threads, and silence what the packages tell."""
    import numba

    before, log = numba.get_num_threads(), logging.getLogger("pacmap")
    level = log.level
    numba.set_num_threads(min(pool.count(threads), numba.config.NUMBA_NUM_THREADS))
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        numba.set_num_threads(before)
        log.setLevel(level)
