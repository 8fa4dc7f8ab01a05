"""Clusters of a map's texts on up to three scales, and the typical words that name them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.search.engines.kmeans import kmeans, nearest
from statim.tasks.clusters.keywords import typical_words
from statim.tasks.similarity.vector_set import Ints, Items

SCALES = (10, 50, 250)  # clusters at most
MEMBERS = 10  # texts of a cluster at least, on average
WORDS = 3
TEXTS = 20_000  # whose words name the clusters of a scale
LETTERS = 1000  # of each
PASSES = 2  # of k-means' mini-batches

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Label:
    """The name of a cluster, and where it goes.

    Attributes:
        scale: 0 for the coarsest clusters.
        cluster: Its number on this scale; 0 is the largest.
        words: Its typical words.
        x: The place of its middlemost text.
        y: The same.
        size: How many texts it has.
    """

    scale: int
    cluster: int
    words: str
    x: float
    y: float
    size: int


def clusters(items: Items, items_of: Ints, seed: int, threads: int | None) -> list[Longs]:
    """The clusters of rows, coarse to fine: of each scale (r,) numbers from 0, the largest first.

    Args:
        items: A set.
        items_of: (r,) the item of each row; it has a vector.
        seed: Of all random choices.
        threads: Threads to use.
    """
    known = np.flatnonzero(~items.zero)
    vectors = items.vectors if len(known) == len(items) else items.vectors[known]
    rough = vectors if items.rough is items.vectors else items.rough[known]
    places = np.full(len(items), -1, np.int64)
    found: list[Longs] = []
    for count in SCALES:
        count = min(count, max(1, len(known) // MEMBERS))
        if found and count <= found[-1].max() + 1:
            break
        centres = kmeans(vectors, rough, count, seed=seed, passes=PASSES, threads=threads)
        places[known] = nearest(rough, centres, threads=threads)[0]
        found.append(_by_size(places[items_of]))
    return found


def _by_size(labels: Longs) -> Longs:
    """Numbers of clusters such that the largest is 0."""
    sizes = np.bincount(labels)
    numbers = np.empty(len(sizes), np.int64)
    numbers[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return numbers[labels]


def named(texts: Any, xy: npt.NDArray[np.float32], scales: list[Longs]) -> tuple[Label, ...]:
    """The labels of all clusters.

    Args:
        texts: n texts, a pyarrow array.
        xy: (n, 2) their places.
        scales: What ``clusters`` gave for them.
    """
    found = []
    for scale, labels in enumerate(scales):
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(labels))[:-1])
        groups = [group for group in groups if len(group)]
        each = TEXTS // len(groups)
        words = typical_words([_texts(texts, group, each) for group in groups], WORDS)
        for number, (group, some) in enumerate(zip(groups, words, strict=True)):
            here = xy[group]
            middle = here[((here - np.median(here, 0)) ** 2).sum(1).argmin()]
            found.append(
                Label(scale, number, ", ".join(some), float(middle[0]), float(middle[1]), len(group))
            )
    return tuple(found)


def _texts(texts: Any, rows: Longs, count: int) -> list[str]:
    """The beginnings of at most ``count`` texts from all over these rows."""
    some = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]
    cut: list[str] = pc.utf8_slice_codeunits(texts.take(pa.array(some)), 0, LETTERS).to_pylist()
    return cut
