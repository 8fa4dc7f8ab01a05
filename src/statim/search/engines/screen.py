"""Vectors in one byte a number, fast to multiply, and each query's documents worth rescoring.

Where v' is v rounded, |q'd' - qd| <= |q' - q| |d'| + |q| |d' - d| (Cauchy and Schwarz), of which all lengths
are known. Products of bytes themselves are whole numbers and exact.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.search.engines.protocol import Floats, Positions

DOCUMENTS = 1 << 10  # whose lengths are taken together
SAMPLE = 24  # one in this many documents tells where a query's best begin
RANK = 8  # the least rank in the sample that is relied on
HOPED = 1.6  # times what is kept in any case: the number that is hoped to be above where they begin
MOST = 1 << 29  # bytes of documents, of which all are held
SLACK = 1 + 1e-5  # for the rounding of lengths and scales
ROUGH = 2.0**-21  # of both lengths: what float32 rounds of a sum, its scale and a floor
LEAST = (
    1e-30  # error: which of equal scores are kept is left to chance, so an error of 0 would promise too much
)

Ints = npt.NDArray[np.int32]


def has_bytes() -> bool:
    """Are products of bytes possible here, and fast?"""
    from statim.kernels.int8_dot import FAST_BYTES

    return FAST_BYTES


class Rounded:
    """(n, d) float32 vectors in bytes.

    Attributes:
        rows: (n, w) int8, w being d rounded up.
        scales: (n,) float32; a vector is about its row times its scale.
        lost: (n,) float64, the lengths of what is lost.
    """

    def __init__(self, vectors: Floats, *, threads: int | None = None) -> None:
        from statim.kernels.search.bytes import STEP, to_bytes

        n, d = vectors.shape
        self.rows, self.scales = np.zeros((n, -(-d // STEP) * STEP), np.int8), np.empty(n, np.float32)
        self.lost = np.empty(n)
        workers = pool.count(threads)
        tasks = [
            partial(to_bytes, vectors[a:b], self.rows[a:b], self.scales[a:b], self.lost[a:b])
            for a, b in pool.ranges(n, workers)
        ]
        pool.run(tasks, workers)

    @property
    def words(self) -> Ints:
        """The rows, four numbers in one, (n, w / 4) int32."""
        return self.rows.view(np.int32)

    @property
    def begins(self) -> Ints:
        """What sums begin with, since documents have ``quads.SHIFT`` added, (n,) int32."""
        from statim.kernels.int8_dot import SHIFT

        begins: Ints = np.int32(-SHIFT) * self.rows.sum(axis=1, dtype=np.int32)
        return begins


class Panels:
    """Documents in bytes, laid out to be multiplied.

    Args:
        documents: n of them.
        order: (p,) int32, which of them where, p a multiple of PANEL; -1 for none.
        threads: Threads to use.

    Attributes:
        names: The order.
        data: (p * w,) uint8.
        scales: (p,) float32; NaN, which is above nothing, where there is no document.
    """

    def __init__(self, documents: Rounded, order: Ints, *, threads: int | None = None) -> None:
        from statim.kernels.search.bytes import PANEL, to_panels

        width = documents.rows.shape[1]
        self.names, self.data = order, np.empty(len(order) * width, np.uint8)
        self.scales = np.append(documents.scales, np.float32(np.nan))[order]
        workers = pool.count(threads)
        tasks = [
            partial(to_panels, documents.rows, order[a:b], self.data[a * width : b * width])
            for a, b in (
                (PANEL * a, PANEL * b) for a, b in pool.ranges(len(order) // PANEL, workers) if len(order)
            )
        ]
        pool.run(tasks, workers)


class Kept:
    """What m queries keep of the documents that go by.

    Args:
        queries: Of each.
        least: How many are kept in any case, of those above the floor.
        sample: Some of the documents, by which floors are foreseen; by default they begin with -inf.
    """

    def __init__(self, queries: Rounded, least: int, sample: Panels | None = None) -> None:
        m = len(queries.rows)
        self.least, self.queries, self.begins = least, queries.words, queries.begins
        self.scores, self.names = np.empty((m, 2 * least), np.float32), np.empty((m, 2 * least), np.int32)
        self.counts = np.zeros(m, np.int32)
        self.floors = np.full(m, -np.inf, np.float32) if sample is None else foreseen(queries, sample, least)

    def offer(self, documents: Panels, which: Ints, first: int, last: int) -> None:
        """Multiply queries ``which`` with the documents at [first, last), and keep the best."""
        self.offer_cells(documents, np.array([first, last]), which, np.array([0, len(which)]))

    def offer_cells(self, documents: Panels, starts: Positions, which: Ints, offsets: Positions) -> None:
        """The same for cell c, starts[c]:starts[c + 1], and queries which[offsets[c]:offsets[c + 1]]."""
        from statim.kernels.search.best_bytes import offer_cells

        offer_cells(
            self.queries, self.begins, which, offsets, documents.data, documents.scales, documents.names,
            starts, *self._kept
        )  # fmt: skip

    def tighten(self) -> None:
        """Leave only the best."""
        from statim.kernels.search.best_bytes import tighten

        tighten(*self._kept)

    @property
    def _kept(self) -> tuple[int, Floats, Ints, Ints, Floats]:
        return self.least, self.scores, self.names, self.counts, self.floors


def sampled(there: Ints, *, seed: int = 0) -> Ints:
    """Some of the documents, filled up for ``Panels``."""
    random = np.random.default_rng(seed)
    return filled(np.sort(random.choice(there, len(there) // SAMPLE, replace=False)))


def filled(order: Ints) -> Ints:
    """Filled up with -1 to whole panels."""
    from statim.kernels.search.bytes import PANEL

    return np.append(order, np.full(-len(order) % PANEL, -1, np.int32))


def foreseen(queries: Rounded, sample: Panels, least: int) -> Floats:
    """Scores that about HOPED times ``least`` documents reach, estimated from a sample, (m,) float32.

    What lies lower need not be kept, which takes as long as multiplying. For some queries they are too high:
    that shows.
    """
    kept = Kept(queries, max(RANK, round(HOPED * least / SAMPLE)))
    kept.offer(sample, np.arange(len(queries.rows), dtype=np.int32), 0, len(sample.names))
    kept.tighten()
    return np.nextafter(kept.floors, np.float32(-np.inf))  # copies of what lies there are kept, too


class Screen:
    """All documents, and those of them that may be among a query's best.

    Args:
        documents: (n, d) float32.
        excluded: Positions to leave out, ascending.
        rounded: The documents in bytes, if there are such already.
        threads: Threads to use.
    """

    def __init__(
        self,
        documents: Floats,
        excluded: Positions,
        rounded: Rounded | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        rounded = rounded or Rounded(documents, threads=threads)
        there = np.delete(np.arange(len(documents), dtype=np.int32), excluded)
        self._panels = Panels(rounded, filled(there), threads=threads)
        self._sample = Panels(rounded, sampled(there), threads=threads)
        self._most_lost, self._longest = float(rounded.lost.max(initial=0.0)) * SLACK, 0.0
        for start in range(0, len(documents), DOCUMENTS):
            part = slice(start, start + DOCUMENTS)
            long = np.linalg.norm(documents[part].astype(np.float64), axis=1) + rounded.lost[part]
            self._longest = max(self._longest, float(long.max()) * SLACK)

    def __call__(
        self, queries: Floats, k: int, spare: int
    ) -> tuple[Positions, Floats, npt.NDArray[np.float64]]:
        """The candidates for the k best documents of (b, d) queries, and ``spare`` more of each.

        Returns:
            (b, K) int64, positions, -1 for none; (b, 1) float32, a score that no other document that may
            belong to the best exceeds, but by the error; and (b,) float64, that error.
        """
        from statim.kernels.search.best_bytes import likely

        asked = Rounded(queries, threads=1)
        least = k + spare + k // 8
        kept = Kept(asked, least, self._sample)
        kept.offer(self._panels, np.arange(len(queries), dtype=np.int32), 0, len(self._panels.names))
        kept.tighten()
        long = np.linalg.norm(queries.astype(np.float64), axis=1)
        error = (asked.lost * self._longest + long * self._most_lost) * SLACK + LEAST
        error += ROUGH * long * self._longest
        scales = asked.scales.astype(np.float64)
        slack = np.where(scales > 0, 2 * error / np.where(scales > 0, scales, 1) * SLACK, 0).astype(
            np.float32
        )
        places = np.empty((len(queries), kept.least), np.int64)
        likely(k, slack, kept.scores, kept.names, kept.counts, places)
        full = kept.floors > -np.inf
        worst = np.where(full, np.where(full, kept.floors, 0) * scales, -np.inf)
        return places, worst.astype(np.float32)[:, None], error
