"""An engine in two passes: something quick proposes candidates, and the stored vectors score them, exactly.

So a score means the same whatever proposed: results are those of exact search, less what was not proposed.
What was added since the last ``prepare`` is searched exactly beside. What was deleted is passed over; a query
that is left with too few candidates is given more, and where that is not enough it is searched exactly.
"""

import json
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.digests import files_in
from statim.errors import ModelError
from statim.files import hash_file, read_json, write_json
from statim.search.engines.array_files import read_array, write_array
from statim.search.engines.exact import LONGEST, Exact
from statim.search.engines.exact_scores import settled
from statim.search.engines.exact_top_k import search_vectors
from statim.search.engines.matrices import among, unit
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.engines.stored_vectors import Vectors, from_on
from statim.search.engines.tuning import AIM, ALL, DEPTH, Recall, least_effort, measured

FORMAT, FORMAT_VERSION, MANIFEST = "statim-engine", 1, "engine.json"
LATER = (("tuned", 0), ("more", 1))  # keys that older manifests lack, and their least values
SAMPLE = 256  # vectors that tuning asks for
DEAD = 0.25  # of what the first pass holds; when more is deleted, it is built again
MOST = 512  # candidates for each result
GROWN = 2.0  # when it holds this many times what its effort was chosen for, that is chosen again
# of the candidates that are wanted; a query that deletions leave with fewer is given WIDER times as many
ENOUGH = 0.75
WIDER = 4


class Picked:
    """Some of the stored vectors, in float32 when they are looked at.

    Args:
        vectors: (n, d).
        positions: (c,) int64, ascending; which.
    """

    def __init__(self, vectors: Vectors, positions: Positions) -> None:
        self._vectors, self._positions = vectors, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, part: slice) -> Floats:
        some = self._positions[part]
        if len(some) and some[-1] - some[0] == len(some) - 1:  # nothing between is left out: a view
            return self._vectors[int(some[0]) : int(some[-1]) + 1]
        return self._vectors[some]


class First(Protocol):
    """A first pass: vectors in the order they were given, and a quick guess at those that are close.

    Attributes:
        effort: How hard it looks; more finds more.
        over: How many candidates it is asked for, for each result.
        least: Fewer vectors are searched exactly.
        growth: When it holds this many times what it was built from, it is built again.
        foreign: Its files are read by a package, to which no damaged one must come, so they are hashed.
    """

    effort: int
    least: int
    growth: float
    foreign: bool

    @property
    def over(self) -> float:
        """See the class."""

    def __len__(self) -> int:
        """How many vectors it holds."""

    def build(self, vectors: Picked, threads: int) -> None:
        """Hold these vectors, of length 1, and no others."""

    def extend(self, vectors: Picked, threads: int) -> bool:
        """Hold these, too; False if that cannot be done."""

    def efforts(self) -> tuple[int, int]:
        """An effort to begin with and the greatest; the same twice where there is nothing to choose."""

    def propose(self, queries: Floats, count: int, threads: int) -> Positions:
        """Up to ``count`` candidates of each query of (m, d): (m, c) int64, none twice, -1 for none."""

    def save(self, folder: Path) -> None:
        """Write files into ``folder``, which is there."""

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote.

        Raises:
            ModelError: It is something else.
        """


class Rescored:
    """An engine (see protocol.py) of a first pass and stored vectors.

    Args:
        name: Under which it is saved.
        store: The vectors, empty.
        first: The first pass, empty.

    Attributes:
        store: The vectors.
        found: What is found of the stored vectors closest to a sample of them, as last measured.
    """

    def __init__(self, name: str, store: Exact, first: First) -> None:
        self.name, self.dim, self.found = name, store.dim, ALL
        self.store, self._first = store, first
        self._positions = np.zeros(0, np.int64)  # of what the first pass holds, ascending
        self._built = self._tuned = 0  # vectors that it was built from, and tuned for
        self._more = 1  # times the candidates that the first pass asks for

    def __len__(self) -> int:
        return len(self.store)

    @property
    def vectors(self) -> Vectors:
        """The stored vectors; see Engine."""
        return self.store.vectors

    @property
    def recall(self) -> Recall | None:
        """``found``, where the vectors are not rounded; see Engine."""
        return self.found if self.store.storage == "float32" else None

    @property
    def held(self) -> int:
        """How many vectors the first pass holds; others are searched exactly."""
        return len(self._positions)

    def add(self, vectors: npt.ArrayLike) -> None:
        """Add vectors, searched exactly until ``prepare``; see Engine."""
        self.store.add(vectors)

    def delete(self, positions: npt.ArrayLike) -> None:
        """Leave positions empty; see Engine."""
        self.store.delete(positions)

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of some documents with each query; see Engine."""
        return self.store.score(queries, positions)

    def prepare(self, *, threads: int | None = None) -> None:
        """Bring the first pass up to date; see Engine.

        It is built again when it has grown out of what it was built from, or when a quarter of it was
        deleted.
        """
        workers, vectors = pool.count(threads), self.store.vectors
        left = np.setdiff1d(np.arange(len(self), dtype=np.int64), self.store.excluded, assume_unique=True)
        if len(left) < self._first.least:
            return
        fresh = left[np.searchsorted(left, self._end) :]
        dead = int(among(self.store.excluded, self._positions).sum())
        if (
            not self._built
            or dead > DEAD * self.held
            or self.held + len(fresh) > self._first.growth * self._built
        ):
            self._first.build(Picked(vectors, left), workers)
            self._positions, self._built = left, len(left)
            self._tune(threads)
        elif len(fresh) and self._first.extend(Picked(vectors, fresh), workers):
            self._positions = np.concatenate([self._positions, fresh])
            if self.held > GROWN * self._tuned:
                self._tune(threads)

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest vectors that are found; see Engine."""
        asked, zero = unit(self.store.matching(queries, "the queries"))
        k = min(check_k(k), len(self))
        workers, vectors, excluded = pool.count(threads), self.store.vectors, self.store.excluded
        if k == 0 or len(asked) == 0:
            return np.empty((len(asked), k), np.float32), np.empty((len(asked), k), np.int64)
        kept, short = self._proposed(asked, k, workers)
        if self._end < len(self):
            after = excluded[np.searchsorted(excluded, self._end) :] - self._end
            _, found = search_vectors(asked, from_on(vectors, self._end), k, LONGEST, after, threads)
            kept = np.concatenate([kept, np.where(found < 0, -1, found + self._end)], axis=1)
        scores, positions = settled(asked, vectors, kept, k, threads)
        if short.any():
            scores[short], positions[short] = search_vectors(
                asked[short], vectors, k, LONGEST, excluded, threads
            )
        scores[zero] = -np.inf
        positions[scores == -np.inf] = -1
        return scores, positions

    def save(self, folder: Path) -> None:
        """Prepare, and write into ``folder``, the manifest last; see Engine.

        Raises:
            DependencyError: A package that the engine needs is not installed.
        """
        self.prepare()
        (folder / MANIFEST).unlink(missing_ok=True)
        self.store.save(folder / "store")
        write_array(folder / "positions.npy", "<i8", self._positions.shape, [self._positions])
        first = folder / "first"
        first.mkdir(parents=True, exist_ok=True)
        for old in first.iterdir():
            old.unlink()
        if self._built:
            self._first.save(first)
        manifest = {
            "format": FORMAT, "format_version": FORMAT_VERSION, "engine": self.name, "dimensions": self.dim,
            "vectors": len(self), "built": self._built, "tuned": self._tuned, "effort": self._first.effort,
            "more": self._more, **self.found._asdict(),
            "files": {file.name: _seal(file, self._first.foreign) for file in files_in(first)},
        }  # fmt: skip
        write_json(folder / MANIFEST, manifest)

    @staticmethod
    def load(folder: Path, empty: "Rescored") -> "Rescored":
        """Open what ``save`` wrote.

        Every file that a package will read is compared with its size and hash first: damaged files never
        reach it. A folder that was made to do harm, hashes and all, is not told from others: open only what
        you trust. Of arrays that are mapped here, shapes and sizes are checked, not every number.

        Args:
            folder: The folder.
            empty: An engine of the same kind, with nothing in it; of any number of dimensions.

        Raises:
            ModelError: A file is missing, truncated, or holds something else.
            DependencyError: A package that the engine needs is not installed.
        """
        manifest = _read_manifest(folder, empty.name, empty._first.foreign)
        store = Exact.load(folder / "store")
        positions = read_array(folder / "positions.npy", ["<i8"], 1)
        fits = (len(store), store.dim, store.storage) == (
            manifest["vectors"],
            empty.dim,
            empty.store.storage,
        )
        if len(positions):
            fits &= bool(positions[0] >= 0 and positions[-1] < len(store) and (np.diff(positions) > 0).all())
        if not fits or bool(len(positions)) != bool(manifest["built"]):
            raise ModelError(f"{folder}: {MANIFEST} and the other files do not fit; build the index again")
        if manifest["built"]:
            empty._first.load(folder / "first")
            if len(empty._first) != len(positions):
                raise ModelError(
                    f"{folder / 'first'} holds {len(empty._first):,} vectors, not {len(positions):,}; "
                    "build the index again"
                )
        empty.store, empty._positions, empty._built = store, np.array(positions), manifest["built"]
        empty._first.effort, empty._tuned = manifest["effort"], manifest.get("tuned", manifest["built"])
        empty._more = manifest.get("more", 1)
        empty.found = Recall(
            float(manifest["recall"]), float(manifest.get("recall_at_1", manifest["recall"]))
        )
        return empty

    @property
    def _end(self) -> int:
        """The position after the last that the first pass holds."""
        return int(self._positions[-1]) + 1 if self.held else 0

    @property
    def _over(self) -> float:
        """Candidates for each result."""
        return self._first.over * self._more

    def _proposed(self, asked: Floats, k: int, workers: int) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Candidates that are not deleted, (m, c), and which queries have fewer than they should."""
        gone = self.store.excluded
        alive = self.held - int(among(gone, self._positions).sum())
        if alive == 0:
            return np.zeros((len(asked), 0), np.int64), np.zeros(len(asked), np.bool_)
        # of k below DEPTH as many as for DEPTH, for which the effort was chosen
        wanted = min(alive, math.ceil(max(k, DEPTH) * self._over))
        count = min(self.held, math.ceil(wanted * self.held / alive))
        kept, living, lacking = self._living(asked, count, wanted, workers)
        while lacking.any() and WIDER * count < self.held:
            which, count = np.flatnonzero(lacking), WIDER * count
            some, living[which], lacking[which] = self._living(asked[which], count, wanted, workers)
            kept = np.pad(kept, ((0, 0), (0, some.shape[1] - kept.shape[1])), constant_values=-1)
            kept[which] = some
        return kept, lacking | (living < min(k, alive))

    def _living(
        self, asked: Floats, count: int, wanted: int, workers: int
    ) -> tuple[Positions, Positions, npt.NDArray[np.bool_]]:
        """Candidates not deleted, (m, count); each query's number; those with too few after deletions."""
        found = self._first.propose(asked, count, workers)
        kept = np.where(found < 0, -1, self._positions[found])
        if not len(self.store.excluded):
            return kept, (kept >= 0).sum(axis=1), np.zeros(len(kept), np.bool_)
        dead = among(kept, self.store.excluded)
        kept[dead] = -1
        living = (kept >= 0).sum(axis=1)
        return kept, living, dead.any(axis=1) & (living < ENOUGH * wanted)

    def _tune(self, threads: int | None) -> None:
        """The least search that finds enough of the nearest to a sample of vectors, themselves excluded."""
        some = self._positions[np.linspace(0, self.held - 1, min(SAMPLE, self.held)).astype(np.int64)]
        sample = self.store.vectors[some]
        recalls: dict[int, Recall] = {}

        def others(scores: Floats, positions: Positions) -> list[Floats]:
            kept = (positions != some[:, None]) & (positions >= 0)
            return [row[which][:DEPTH] for row, which in zip(scores, kept, strict=True)]

        def recall(effort: int) -> float:
            self._first.effort = effort
            recalls[effort] = measured(truth, others(*self.search(sample, DEPTH + 1, threads=threads)))
            return recalls[effort].recall

        truth = others(*self.store.search(sample, DEPTH + 1, threads=threads))
        self._more = 1
        self._first.effort, reached = least_effort(recall, AIM, *self._first.efforts())
        while reached < AIM and 2 * self._over <= MOST:
            self._more *= 2
            self._first.effort, reached = least_effort(recall, AIM, *self._first.efforts())
        self.found, self._tuned = recalls[self._first.effort], self.held


def _seal(file: Path, hashed: bool) -> dict[str, Any]:
    return {"size": file.stat().st_size} | ({"sha256": hash_file(file)} if hashed else {})


def _read_manifest(folder: Path, name: str, hashed: bool) -> dict[str, Any]:
    """The manifest, checked with the files that it names.

    Raises:
        ModelError: Something is missing, or is not what was written.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError(f"{folder / MANIFEST} does not describe an engine of statim; build the index again")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{folder} has format version {version}, newer than the {FORMAT_VERSION} that this statim "
            "reads; update statim"
        )
    kinds = {
        "format_version": int,
        "engine": str,
        "dimensions": int,
        "vectors": int,
        "built": int,
        "effort": int,
    }
    wrong = [key for key, kind in kinds.items() if type(manifest.get(key)) is not kind]
    shares = [manifest.get("recall"), manifest.get("recall_at_1", 1.0)]
    sound = all(isinstance(share, (int, float)) and 0 <= share <= 1 for share in shares)
    sound &= all(type(manifest.get(key, 1)) is int and manifest.get(key, 1) >= least for key, least in LATER)
    files = manifest.get("files")
    if wrong or not sound or not isinstance(files, dict):
        raise ModelError(
            f"{folder / MANIFEST} is damaged: {json.dumps(manifest)[:100]}; build the index again"
        )
    if manifest["engine"] != name or not 1 <= manifest["effort"] < 1 << 40 or manifest["built"] < 0:
        raise ModelError(f"{folder} was made by {manifest['engine']!r:.40}, not by {name!r}, or is damaged")
    there = files_in(folder / "first") if (folder / "first").is_dir() else []
    if [file.name for file in there] != sorted(files) or not all(file.is_file() for file in there):
        raise ModelError(
            f"{folder / 'first'} does not hold the files that were written; build the index again"
        )
    for file in there:
        if _seal(file, hashed) != files[file.name]:
            raise ModelError(f"{file} is not the file that was written; build the index again")
    return manifest
