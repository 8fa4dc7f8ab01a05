"""Clusters of texts by their vectors: k-means, dense regions, or communities above a threshold.

kmeans       every text in one of k cells; spherical, by mini-batches (search/engines/kmeans.py)
density      regions denser than their surroundings (EVōC, McInnes 2024: HDBSCAN for embeddings), of layers
             that it finds the one with about as many as are asked for; texts outside of all are in none
communities  around the text with most others above a threshold, these; then the next among what is left (the
fast clustering of
             sentence-transformers); what is close to too few is in none

Vectors that are equal, or differ by rounding alone, share a label in every method; communities count all
texts that have them. A text without tokens has no direction and is in no cluster.

Dense regions, and communities where pairs are too many, are found on a sample; other texts then join the
cluster whose centre is closest, if they are as close to it as its own members are. Clusters that hardly occur
in a sample are not seen then.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from statim.counted import counted
from statim.errors import DependencyError, InputError
from statim.evaluation import table as tables
from statim.model import StaticModel
from statim.progress import Progress
from statim.search.engines.kmeans import kmeans, nearest
from statim.tasks.clusters.keywords import described
from statim.tasks.clusters.rounding import heads
from statim.tasks.similarity.similarity_join import Sample, large, pairs_above
from statim.tasks.similarity.thresholds import short
from statim.tasks.similarity.vector_set import Floats, Items, Longs, read_items

METHODS = ("kmeans", "density", "communities")
PASSES = 2  # of k-means' mini-batches over everything
SAMPLE = 100_000  # vectors that density looks at
PAIRS = 20_000_000  # that communities are made of
LOWEST = 10  # percent of a dense region's members that other texts are measured by
SHOWN = 20  # clusters in a text


def cluster(
    texts: Any = None,
    model: StaticModel | str | Path | None = None,
    *,
    vectors: Any = None,
    method: str = "kmeans",
    clusters: int | None = None,
    threshold: float = 0.75,
    min_size: int = 10,
    column: str | Sequence[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> "Clusters":
    """Put texts into clusters and say what each is about.

    Args:
        texts: r texts: an iterable of str; or a path, a table or a list of ``Path``. None for vectors alone.
        model: Makes the vectors: a model, or where one is. Not where vectors are given.
        vectors: (r, d) numbers, or the path of a .npy file of them.
        method: ``kmeans``, ``density`` or ``communities``.
        clusters: How many; with ``density`` about how many, of the layers that it finds. By default the root
            of half the number of texts, 100 at most. Not with ``communities``.
        threshold: The least cosine with a community's centre, above 0, at most 1.
        min_size: The least size of a community, in texts; of a dense region, in different texts, or in copies
            of one.
        column: The column of texts in files; guessed by default. Several are joined by line ends:
            ``("subject", "body")``, or ``"subject,body"``.
        seed: Of all random choices.
        threads: Threads to use.
        progress: Show progress bars on a terminal.

    Raises:
        InputError: A value is out of range, or vectors do not fit the texts; or density is asked for in a
            forked process that cannot do it.
        DataError: A file cannot be used as it is, or is empty.
        DependencyError: Density is asked for, and evoc is not installed.

    Examples:
        >>> texts = ["sort a list", "sort the list", "open a file", "open the file"]
        >>> found = cluster(texts, model, clusters=2)
        >>> [int(label) for label in found.labels]
        [0, 0, 1, 1]
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    for name, value, least in (("clusters", clusters, 1), ("min_size", min_size, 2)):
        if value is not None and (
            not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least
        ):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold!r}; it must be a number above 0 and at most 1 (a cosine)")
    if clusters is not None and method == "communities":
        raise InputError(
            "communities finds out itself how many clusters there are; leave clusters out, or take kmeans"
        )
    if method == "density":
        _evoc()
        _check_process()
    started = time.perf_counter()
    items = read_items(texts, model, vectors, column=column, threads=threads, progress=progress)
    read = time.perf_counter()
    known = np.flatnonzero(~items.zero)
    whole = _some(items, known) if len(known) < len(items) else items
    same = heads(whole.vectors, threads=threads)
    weights = np.bincount(same, np.bincount(items.items_of, minlength=len(items))[known], len(whole)).astype(
        np.int64
    )
    if method == "kmeans":
        labels, scores = _kmeans(whole, weights, clusters, seed, threads)
    elif method == "density":
        labels, scores = _density(whole, weights, clusters, min_size, seed, threads, progress)
    else:
        labels, scores = _communities(whole, weights, float(threshold), min_size, seed, threads, progress)
    all_labels, all_scores = np.full(len(items), -1, np.int64), np.zeros(len(items), np.float32)
    all_labels[known], all_scores[known] = labels[same], scores[same]
    found = Clusters(items, method, all_labels[items.items_of], all_scores[items.items_of])
    clustered = time.perf_counter()
    found.described = described(items, found.labels, found.scores)
    found.seconds = {
        "read and encode": read - started, "cluster": clustered - read,
        "describe": time.perf_counter() - clustered
    }  # fmt: skip
    return found


class Clusters:
    """Clusters, numbered from 0, the largest first.

    Attributes:
        items: The set, r rows.
        method: How they were found.
        labels: (r,) int64, each row's cluster; -1 for none.
        scores: (r,) float32, the cosine with its cluster's centre; 0 for none.
        without_tokens: How many rows have a vector of zeros (texts without a token that the model knows);
            they are in no cluster.
        described: For each cluster its number, size, mean score, typical words and central texts.
        seconds: Phase -> seconds.
    """

    def __init__(self, items: Items, method: str, labels: Longs, scores: Floats) -> None:
        numbers = labels[labels >= 0]
        sizes = np.bincount(numbers)
        order = np.lexsort((np.arange(len(sizes)), -sizes))
        order = order[sizes[order] > 0]
        places = np.full(len(sizes) + 1, -1, np.int64)  # the last is that of -1
        places[order] = np.arange(len(order))
        self.items, self.method = items, method
        self.labels: Longs = places[labels]
        self.scores: Floats = np.where(self.labels >= 0, scores, 0).astype(np.float32)
        self.without_tokens = int(items.zero[items.items_of].sum())
        self.described: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}

    def table(self) -> pa.Table:
        """Every row: row, cluster (-1 for none), score with the cluster's centre, text, other columns."""
        rows = np.arange(self.items.rows)
        columns: dict[str, Any] = {"row": rows, "cluster": self.labels, "score": self.scores}
        return self.items.described(pa.table(columns))

    def to_dict(self) -> dict[str, Any]:
        """Figures and descriptions: plain values for JSON."""
        return {
            "rows": self.items.rows, "method": self.method, "clusters": len(self.described),
            "in_none": int((self.labels < 0).sum()), "without_tokens": self.without_tokens,
            "described": self.described,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        """A table of the largest clusters for a person."""
        rows = [
            [
                str(found["cluster"]),
                f"{found['size']:,}",
                f"{found['score']:.3f}",
                ", ".join(found["words"]) if "words" in found else f"rows {found['central_rows']}",
            ]
            for found in self.described[:SHOWN]
        ]
        none = int((self.labels < 0).sum())
        first = (
            f"{counted(self.items.rows, 'rows')}, {counted(len(self.described), 'clusters')} "
            f"({self.method}), {counted(none, 'rows')} in none"
        )
        if self.without_tokens:
            first += (
                f"; {self.without_tokens:,} of these have no token that the model knows, or a vector of zeros"
            )
        parts = [
            first,
            tables.plain(["cluster", "rows", "score", "words"], rows, left=0) if rows else "",
        ]
        parts += [
            f"{found['cluster']:>4}  " + "\n      ".join(map(short, found["central"]))
            for found in self.described[:5]
            if "central" in found
        ]
        if len(self.described) > SHOWN:
            parts.insert(2, f"and {len(self.described) - SHOWN:,} smaller ones")
        return "\n\n".join(part for part in parts if part)


def _some(items: Items, which: Longs) -> Items:
    """Some of the items, vectors alone."""
    vectors = items.vectors[which]
    rough = vectors if items.rough is items.vectors else items.rough[which]
    return replace(
        items, texts=None, first=items.first[which], vectors=vectors, rough=rough, zero=items.zero[which]
    )


# Each method gives labels and scores of n items; ``weights`` (n,) says how many texts have an item, 0 where
# that is another one but for rounding, whose label it will have.


def _kmeans(
    items: Items, weights: Longs, clusters: int | None, seed: int, threads: int | None
) -> tuple[Longs, Floats]:
    different = int(np.count_nonzero(weights))
    clusters = clusters or _usual(different)
    if len(items) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    if clusters > different:
        raise InputError(f"{clusters:,} clusters of {different:,} different texts cannot be; ask for fewer")
    centres = kmeans(items.vectors, items.rough, clusters, seed=seed, passes=PASSES, threads=threads)
    places, _ = nearest(items.rough, centres, threads=threads)
    return places.astype(np.int64), _with_centres(items, centres, places)


def _usual(count: int) -> int:
    """The default number of clusters for n texts."""
    return max(1, min(100, round(math.sqrt(count / 2))))


def _density(
    items: Items,
    weights: Longs,
    clusters: int | None,
    min_size: int,
    seed: int,
    threads: int | None,
    progress: bool,
) -> tuple[Longs, Floats]:
    chosen = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(weights))[:SAMPLE])
    sample = items.vectors[chosen]
    if len(chosen) < max(50, 2 * min_size):
        raise InputError(
            f"{len(chosen):,} different texts are too few for density; take kmeans or communities"
        )
    with Progress("dense regions", total=None, unit="texts", show=progress) as bar, _quiet(threads):
        evoc = _evoc()(base_min_cluster_size=min_size, random_state=seed)
        found = evoc.fit_predict(sample)
        bar.advance(len(chosen))
    labels = np.full(len(items), -1, np.int64)
    labels[chosen] = _layer([found, *evoc.cluster_layers_], clusters or _usual(len(chosen)))
    labels, scores = _joined_by_the_rest(items, labels, chosen, None, threads)
    alone = np.flatnonzero((labels < 0) & (weights >= min_size))  # nothing is denser than copies of one text
    labels[alone], scores[alone] = labels.max(initial=-1) + 1 + np.arange(len(alone)), 1
    return labels, scores


def _layer(layers: list[Longs], clusters: int) -> Longs:
    """The layer whose number of clusters is closest to one asked for, as a ratio.

    EVōC itself takes the layer that lasts longest as the scale grows: with many subjects often that of a
    handful of regions.
    """

    def distance(labels: Longs) -> float:
        count = len(np.unique(labels[labels >= 0]))
        return float(abs(np.log(count / clusters))) if count else np.inf

    return min(layers, key=distance)


def _communities(
    items: Items,
    weights: Longs,
    threshold: float,
    min_size: int,
    seed: int,
    threads: int | None,
    progress: bool,
) -> tuple[Longs, Floats]:
    from statim.kernels.search import neighbors

    part, chosen, sample = items, np.arange(len(items)), None
    if large(items, None):
        sample = Sample(items, None, threshold, seed=seed, threads=threads, progress=progress)
        pairs = sample.count(threshold)
        if pairs > PAIRS:  # pairs grow with the square of the texts
            different = np.random.default_rng(seed).permutation(np.flatnonzero(weights))
            chosen = np.sort(different[: int(len(different) * (PAIRS / pairs) ** 0.5)])
            part = _some(items, chosen)
            sample = Sample(part, None, threshold, seed=seed, threads=threads, progress=progress)
    found = pairs_above(
        part, None, min(threshold, 1 - 1e-6), sample, seed=seed, threads=threads, progress=progress
    )
    own = weights[chosen]
    if not own.all():
        found = found.take((own[found.left] > 0) & (own[found.right] > 0))
    n = len(part)
    centres, closest = np.full(n, -1, np.int32), np.full(n, -np.inf, np.float32)
    least = max(2, round(min_size * int(own.sum()) / max(1, int(weights.sum()))))
    neighbors.communities(
        *found, *neighbors.neighbours(found.left, found.right, n), own, least, centres, closest
    )
    labels = np.full(len(items), -1, np.int64)
    labels[chosen] = np.where(centres >= 0, chosen[np.maximum(centres, 0)], -1)
    there = labels >= 0
    centre_items, labels[there] = np.unique(labels[there], return_inverse=True)
    if part is items:
        return labels, np.where(there, closest, 0).astype(np.float32)
    labels, scores = _joined_by_the_rest(
        items, labels, chosen, (items.vectors[centre_items], threshold), threads
    )
    there = labels >= 0
    sizes = np.bincount(labels[there], weights[there], len(centre_items))
    return np.where(there & (sizes[labels] < min_size), -1, labels), scores


def _joined_by_the_rest(
    items: Items, labels: Longs, chosen: Longs, given: tuple[Floats, float] | None, threads: int | None
) -> tuple[Longs, Floats]:
    """Let items that were not looked at join the clusters of those that were.

    Args:
        items: n items.
        labels: (n,) the clusters of the chosen; -1 for none.
        chosen: Which items were looked at.
        given: Centres, and the cosine to reach; None for the members' means, and what LOWEST percent of the
            members do not reach.
        threads: Threads to use.
    """
    count = int(labels.max(initial=-1)) + 1
    if count == 0:
        return labels, np.zeros(len(items), np.float32)
    members = chosen[labels[chosen] >= 0]
    if given is None:
        from statim.kernels.search.neighbors import add_rows

        sums, counts = np.zeros((count, items.vectors.shape[1])), np.zeros(count, np.int64)
        add_rows(items.vectors[members], labels[members].astype(np.int32), sums, counts)
        long = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = (sums / np.where(long > 0, long, 1)).astype(np.float32)
        own = _with_centres(items, centres, labels.astype(np.int32))
        order = members[np.lexsort((own[members], labels[members]))]
        sizes = np.bincount(labels[members], minlength=count)
        least = own[order][np.cumsum(sizes) - sizes + sizes * LOWEST // 100]
    else:
        centres, least = given[0], np.full(count, given[1], np.float32)
    rest = np.ones(len(items), np.bool_)
    rest[chosen] = False
    if rest.any():
        places, _ = nearest(items.rough, centres, threads=threads)
        close = _with_centres(items, centres, places) >= least[places]
        labels = np.where(rest & close, places, labels)
    return labels, _with_centres(items, centres, labels.astype(np.int32))


def _with_centres(items: Items, centres: Floats, labels: Any) -> Floats:
    """Each item's cosine with the centre of its label; 0 for label -1."""
    from statim.kernels.search.neighbors import cosines

    there = np.flatnonzero(labels >= 0).astype(np.int32)
    found, scores = np.empty(len(there), np.float32), np.zeros(len(items), np.float32)
    cosines(items.vectors, centres, there, labels[there].astype(np.int32), found)
    scores[there] = found
    return scores


def _evoc() -> Any:
    try:
        from evoc import EVoC
    except ImportError:
        raise DependencyError(
            'density needs evoc; pip install "statim[tasks]", or take kmeans or communities'
        ) from None
    return EVoC


_forked: list[str] = []  # numba's threading layer, where this process was forked while it ran


def _note_fork() -> None:
    numba = sys.modules.get("numba")
    with contextlib.suppress(AttributeError, ValueError):  # numba is not loaded, or has no threads
        _forked.append(numba.threading_layer())  # type: ignore[union-attr]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _check_process() -> None:
    """Refuse what numba would end this process for: EVōC's parallel OpenMP loops after a fork.

    Raises:
        InputError: This process was forked from one in which numba's threads were running on OpenMP.
    """
    if "omp" in _forked:
        raise InputError(
            "density cannot run in this process: it was forked from one that had used numba's OpenMP "
            "threads; "
            "start processes with the method spawn or forkserver, or take kmeans or communities"
        )


class _quiet:  # noqa: N801  a context, used like a function
    """Limit numba's threads inside the block, and silence warnings of EVōC's libraries."""

    def __init__(self, threads: int | None) -> None:
        from statim import threads as pool

        self._threads = pool.count(threads)

    def __enter__(self) -> None:
        import warnings

        import numba

        self._before = numba.get_num_threads()
        numba.set_num_threads(min(self._threads, numba.config.NUMBA_NUM_THREADS))
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        import numba

        self._warnings.__exit__(None, None, None)
        numba.set_num_threads(self._before)
