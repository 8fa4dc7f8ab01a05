"""The store for an index that is not large: a folder of plain files, replaced as a whole by every change.

    index.json              written last; what the folder holds, and the size of every file
    documents.arrow         ids, texts and metadata, in the order of their positions
    dead.npy                the positions of documents that were deleted or replaced
    vectors/                the engine's files
    words/                  the words (see lexical/incremental_bm25.py)
    model/                  the model

What is large is memory-mapped: opening an index reads a few pages of it. A change writes a new folder beside
the old one, into which files that stay the same are linked, and swaps the two. Whoever has the old one open
goes on reading it; a process killed in between leaves it as it was. When most positions are dead, the
documents that live are written again.
"""

import contextlib
import copy
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import digests
from statim.consistent import read_whole
from statim.digests import Verify, files_in
from statim.errors import InputError, ModelError
from statim.files import atomic_directory, write_json
from statim.model import StaticModel
from statim.partial import alone
from statim.search.engines import registry
from statim.search.engines.array_files import read_array, write_array
from statim.search.engines.exact import Exact
from statim.search.engines.protocol import Engine, Floats, Positions, check_k
from statim.search.filters.arrow import expression
from statim.search.filters.conditions import Condition
from statim.search.lexical import incremental_bm25
from statim.search.lexical.analyzer import Analyzer, analyzer_of
from statim.search.lexical.bm25 import BM25
from statim.search.lexical.incremental_bm25 import Words
from statim.search.stores import documents as documents_file
from statim.search.stores.documents import Documents
from statim.search.stores.protocol import (
    FORMAT_VERSION,
    MANIFEST,
    REMEDY,
    Block,
    Mask,
    Renewing,
    View,
    WordView,
    check_inside,
    check_new,
    check_same,
    check_width,
    hold_model,
    load_model,
    model_hash,
    no_renewal,
    origin,
    read_manifest,
    searched,
)

SPARE = 1000  # dead positions that never matter
RENEWED = 1 << 14  # texts encoded at a time by another model
CELLS = 1 << 22  # scores that a filtered search asks for at once
FEW, FEW_OF = 2048, 64  # documents, or a share of them, that a filtered search compares one by one


class Folder:
    """A store in a folder (see store.Store); ``create`` makes one.

    Args:
        path: The folder.
        verify: How files are checked (see digests.verify).

    Raises:
        ModelError: There is no index there, it is not whole or damaged, or a newer version of statim made it.
    """

    def __init__(self, path: Path, verify: Verify | None = None) -> None:
        self.path, self.place = path, str(path)
        read_whole(path, lambda: self._open(verify))

    def _open(self, verify: Verify | None) -> None:
        """Open every file that will ever be needed: the folder may be replaced at any time."""
        path = self.path
        self.manifest: Mapping[str, Any] = _manifest(path, verify)
        self.engine: Engine = registry.load(
            self.manifest["engine"], path / "vectors", self.manifest["dimensions"]
        )
        self.documents = Documents(path / "documents.arrow")
        self.schema: pa.Schema = self.documents.schema
        dead = _read_dead(path) if (path / "dead.npy").is_file() else np.zeros(0, np.int64)
        self.living: Mask = np.ones(len(self.documents), np.bool_)
        if len(dead) and not (dead[0] >= 0 and dead[-1] < len(self.documents) and (np.diff(dead) > 0).all()):
            raise ModelError(f"{path / 'dead.npy'} is damaged; build the index again")
        self.living[dead] = False
        generation = self.manifest.get("generation")
        held = (len(self.engine), self.engine.dim, self.schema.names, len(self), self.documents.generation)
        said = (
            len(self.living),
            self.manifest["dimensions"],
            self.manifest["columns"],
            self.manifest["documents"],
            generation if self.documents.generation else None,
        )
        if held != said:  # fmt: skip
            raise ModelError(
                f"{path}: {MANIFEST} and the other files belong to different indexes; build it again"
            )
        self._words = self._open_words()
        self._model = hold_model(path / "model")

    @staticmethod
    def create(
        path: Path,
        blocks: Iterable[Block],
        model: StaticModel,
        about: Mapping[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        """Write a new index; ``about`` has the weight, the engine's name and where the vectors come from."""
        with atomic_directory(path, overwrite=overwrite) as folder:
            given = list(blocks)
            tables = [table for table, _ in given]
            everything = pa.concat_tables(tables)
            if "engine" not in about:
                choice = registry.choose(len(everything), model.dim)
                about = {**about, "engine": choice.name, "trades": choice.why}  # nobody asked for it
            engine = registry.make(about["engine"], model.dim)
            while given:
                engine.add(given.pop(0)[1])
            model.save(folder / "model")
            analyzer = analyzer_of(about["language"], _texts(tables))
            (folder / "words").mkdir()
            about = {
                **about,
                "language": analyzer.language,
                "dimensions": model.dim,
                "model_hash": model_hash(folder / "model"),
            }
            about["generation"] = documents_file.fingerprint(tables, about["model_hash"])
            incremental_bm25.write(folder / "words", 0, _texts(tables), analyzer, about["generation"])
            _finish(folder, engine, [everything], np.zeros(0, np.int64), about, {})

    def __len__(self) -> int:
        return int(np.count_nonzero(self.living))

    def model(self) -> StaticModel:
        """The model that made the vectors; see Store."""
        return load_model(self._model, self.manifest, self.place)

    def _open_words(self) -> "Words | _OldWords":
        if self.manifest["format_version"] == 1:
            return _OldWords(self.path / "bm25.safetensors", len(self.living), self.place)
        found = Words(self.path / "words", self.living, self.manifest.get("generation"))
        if found.end != len(self.living):
            raise ModelError(
                f"{self.path}: there are words of {found.end:,} documents, not of "
                f"{len(self.living):,}; build it again"
            )
        return found

    def view(self, where: Condition | None) -> View:
        """The documents that satisfy a condition, or all; see Store."""
        now = copy.copy(self)  # a change on another thread gives the store other files
        allowed = None if where is None else now._satisfying(where)
        vectors = now.engine if allowed is None else _Some(now.engine, allowed)
        return View(vectors, WordView(now._words, allowed), now._rows)

    def _satisfying(self, where: Condition) -> Mask:
        condition = expression(where)
        found, start = self.living.copy(), 0
        for table in self.documents.tables():
            row = max(table.column_names, key=len) + "_"  # a name that no column has
            kept = table.append_column(row, pa.array(np.arange(len(table)))).filter(condition)
            some = np.zeros(len(table), np.bool_)
            some[kept.column(row).to_numpy()] = True
            found[start : start + len(table)] &= some
            start += len(table)
        return found

    def _rows(self, positions: Positions) -> list[dict[str, Any]]:
        return [self.documents.row(int(position)) for position in positions]

    def _positions(self) -> dict[str, int]:
        ids = [name for table in self.documents.tables(["id"]) for name in table.column("id").to_pylist()]
        return {name: position for position, name in enumerate(ids) if self.living[position]}

    @property
    def analyzer(self) -> Analyzer:
        """How words are cut and stemmed; see Store."""
        return self._words.analyzer

    def documents_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these ids; see Store."""
        now = copy.copy(self)
        positions = now._positions()
        return [now.documents.row(positions[name]) for name in ids if name in positions]

    def scan(
        self, columns: Sequence[str] | None = None, where: Condition | None = None
    ) -> Iterator[pa.Table]:
        """The documents that satisfy a condition, or all; see Store."""
        now = copy.copy(self)
        wanted = now.living if where is None else now._satisfying(where)
        return _living(now.documents.tables(columns), wanted)

    def write(self, blocks: Iterable[Block], *, replace: bool, drop: Sequence[str] = ()) -> None:
        """Add documents, or replace some; see Store."""
        blocks = list(blocks)  # encoded before others are kept out
        with self._changed() as (folder, fresh):
            given = [(documents_file.aligned(table, fresh.schema), vectors) for table, vectors in blocks]
            ids = [name for table, _ in given for name in table.column("id").to_pylist()]
            for _, vectors in given:
                check_width(vectors, fresh.engine.dim, self.place)
            documents_file.check_unique(ids)
            positions = fresh._positions()
            if not replace:
                check_new(ids, positions)
            dead = [positions[name] for name in (*ids, *dict.fromkeys(drop)) if name in positions]
            fresh._rewrite(folder, given, dead)

    def delete(self, ids: Sequence[str], where: Condition | None = None) -> int:
        """Delete documents; see Store."""
        if not self._dying(ids, where):
            return 0
        with self._changed() as (folder, fresh):
            dead = fresh._dying(ids, where)
            if len(dead) == len(fresh):
                raise InputError(
                    f"that would delete all {len(dead):,} documents of {self.place}; an index has at "
                    "least one, so remove the folder instead"
                )
            fresh._rewrite(folder, [], dead)
        return len(dead)

    def _dying(self, ids: Sequence[str], where: Condition | None) -> list[int]:
        """The positions of documents to delete."""
        if where is not None:
            return np.flatnonzero(self._satisfying(where)).tolist()
        positions = self._positions()
        return [positions[name] for name in dict.fromkeys(ids) if name in positions]

    @contextlib.contextmanager
    def _changed(self) -> Iterator[tuple[Path, "Folder"]]:
        """A folder that becomes the index when the block ends well, and the index as it is now."""
        with atomic_directory(self.path, overwrite=True) as folder:
            fresh = Folder(self.path, "size")  # now that nobody else can change it
            check_same(self.manifest, fresh.manifest, self.place)
            yield folder, fresh
        now = Folder(self.path, "never")
        if now.manifest["model_hash"] == self.manifest["model_hash"]:  # else this one keeps what it has
            self.__dict__ = now.__dict__

    def _rewrite(self, folder: Path, given: list[Block], dying: Sequence[int]) -> None:
        """Write the index into ``folder`` with documents added behind, and some positions dead."""
        known = self.manifest.get("stamps", {})
        link(self.path / "model", folder / "model")
        linked = {name: known[name] for name in known if name.startswith("model/")}
        living = self.living.copy()
        living[list(dying)] = False
        old: Iterable[pa.Table] = self.documents.tables()
        engine = self.engine
        dense = len(living) - np.count_nonzero(living) > SPARE + np.count_nonzero(living)
        if dense:
            engine = registry.make(self.manifest["engine"], engine.dim)
            engine.add(self.engine.vectors[np.flatnonzero(living)])
            old, living = list(_living(old, living)), np.ones(int(np.count_nonzero(living)), np.bool_)
        else:
            engine.delete(np.array(dying, np.int64))
        for _, some in given:
            engine.add(some)
        (folder / "words").mkdir()
        generation = self.manifest.get("generation")
        if dense or self.manifest["format_version"] == 1:
            old = list(old)
            generation = documents_file.fingerprint(old, self.manifest["model_hash"])
            incremental_bm25.write(folder / "words", 0, _texts(old), self._words.analyzer, generation)
        else:
            link(self.path / "words", folder / "words")
            linked |= {name: known[name] for name in known if name.startswith("words/")}
        if given:
            texts = _texts(table for table, _ in given)
            incremental_bm25.write(folder / "words", len(living), texts, self._words.analyzer, generation)
            incremental_bm25.merge(folder / "words")
        tables = (table for part in (old, (table for table, _ in given)) for table in part)
        about = {**self.manifest, "generation": generation}
        _finish(folder, engine, tables, np.flatnonzero(~living), about, linked)

    def check_renewal(self) -> None:
        """Refuse an index without words of its own; see Store."""
        if self.manifest["format_version"] == 1:
            raise no_renewal(f"{self.place}, which an older version of statim made,")

    def renew(self, model: StaticModel, vectors_of: Renewing) -> None:
        """Let another model have made the vectors; see Store."""
        with self._changed() as (folder, fresh):
            model.save(folder / "model")
            (folder / "words").mkdir()
            link(self.path / "words", folder / "words")
            known = fresh.manifest.get("stamps", {})
            linked = {name: known[name] for name in known if name.startswith("words/")}
            engine = registry.make(fresh.manifest["engine"], model.dim)
            start = 0
            for table in fresh.documents.tables(["text"]):
                for part in table.to_batches(RENEWED):
                    old = np.asarray(fresh.engine.vectors[start : start + len(part)], np.float32)
                    engine.add(vectors_of(part.column("text").to_pylist(), old))
                    start += len(part)
            dead = np.flatnonzero(~fresh.living)
            engine.delete(dead)
            about = {**fresh.manifest, "dimensions": model.dim, "model_hash": model_hash(folder / "model")}
            _finish(folder, engine, fresh.documents.tables(), dead, about, linked)

    def describe(self, said: Mapping[str, Any]) -> None:
        """Store how the index is searched by default; see Store."""
        with alone(self.path.resolve(), wait=False):
            fresh = read_manifest(self.path)
            check_same(self.manifest, fresh, self.place)
            write_json(self.path / MANIFEST, digests.seal({**fresh, **said}))
        self.manifest = {**self.manifest, **said}

    def texts(self) -> Iterator[tuple[Positions, pa.Array, pa.Array]]:
        """The documents, in parts; see Store."""
        start = 0
        for table in self.documents.tables(["id", "text"]):
            there = np.flatnonzero(self.living[start : start + len(table)])
            kept = table.take(pa.array(there))
            yield there + start, kept.column("id"), kept.column("text")
            start += len(table)

    def compact(self, keep: int) -> None:
        """It has no versions; see Store."""
        del keep
        raise InputError(
            f"{self.place} keeps no older versions, so there is nothing to compact; only LanceDB does"
        )

    def info(self) -> dict[str, Any]:
        """What it holds; see Store."""
        hidden = ("files", "stamps", "digest", "generation")
        known = {name: value for name, value in self.manifest.items() if name not in hidden}
        if "trades" in known:  # older versions of statim wrote another sentence
            known["trades"] = registry.WHY[known["engine"]]
        found = {} if self.engine.recall is None else self.engine.recall._asdict()
        found = {name: round(share, 6) for name, share in found.items()}
        return {"path": self.place, **known, **found, "bytes": sum(self.manifest["files"].values())}


class _Some:
    """An engine of which only some positions are found: it is asked for more until there are enough of those.

    Few of an engine that does not look at every vector are all compared, since it may pass over most of them.
    """

    def __init__(self, engine: Engine, allowed: Mask) -> None:
        self._engine, self._allowed = engine, allowed

    @cached_property
    def _few(self) -> tuple[Exact, Positions] | None:
        positions = np.flatnonzero(self._allowed)
        if isinstance(self._engine, Exact) or len(positions) > max(FEW, len(self._allowed) // FEW_OF):
            return None
        return Exact.of(self._engine.vectors[positions]), positions

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        if self._few is not None:
            some, where = self._few
            scores, places = some.search(queries, k, threads=threads)
            return scores, np.where(places < 0, -1, where[places]) if len(where) else places
        n, count = len(self._allowed), int(np.count_nonzero(self._allowed))
        asked = np.asarray(queries, np.float32)
        k = min(check_k(k), count)
        if k == 0:
            self._engine.search(asked, 1, threads=threads)  # refuses what is no query
            return np.zeros((len(asked), 0), np.float32), np.zeros((len(asked), 0), np.int64)
        scores = np.full((len(asked), k), -np.inf, np.float32)
        positions = np.full((len(asked), k), -1, np.int64)
        wide = min(n, 16 + k * n // count * 5 // 4)
        left = np.arange(len(asked))
        while len(left):
            step = max(1, CELLS // wide)
            unsettled = []
            for start in range(0, len(left), step):
                which = left[start : start + step]
                found_scores, found = self._engine.search(asked[which], wide, threads=threads)
                kept = (found >= 0) & self._allowed[found]
                for row, i in enumerate(which):
                    best = np.flatnonzero(kept[row])[:k]
                    scores[i, : len(best)] = found_scores[row, best]
                    positions[i, : len(best)] = found[row, best]
                    if len(best) < k and found[row, -1] >= 0 and wide < n:
                        unsettled.append(i)
            left, wide = np.array(unsettled, np.int64), min(n, 4 * wide)
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        return self._engine.score(queries, positions)


class _OldWords:
    """The words of an index of format 1, which nothing was ever deleted from."""

    def __init__(self, path: Path, count: int, place: str) -> None:
        self._bm25 = BM25.load(path)
        if len(self._bm25) != count:
            raise ModelError(
                f"{place}: BM25 has {len(self._bm25):,} documents, the index {count:,}; build it again"
            )

    @property
    def analyzer(self) -> Analyzer:
        return self._bm25.analyzer

    def bm25(self, queries: Sequence[str], allowed: Mask | None = None) -> BM25:
        return self._bm25 if allowed is None else self._bm25.among(queries, allowed)


def _texts(tables: Iterable[pa.Table]) -> Iterator[str]:
    for table in tables:
        yield from table.column("text").to_pylist()


def _finish(
    folder: Path,
    engine: Engine,
    tables: Iterable[pa.Table],
    dead: Positions,
    about: Mapping[str, Any],
    linked: Mapping[str, Any],
) -> None:
    """Write what every change writes, the manifest last; files in ``linked`` keep their stamps."""
    asked = "trades" not in about
    name, engine = registry.prepared(about["engine"], engine, asked=asked)
    engine.save(folder / "vectors")
    generation = about["generation"]
    documents_file.write(folder / "documents.arrow", tables, generation)
    if len(dead):
        write_array(folder / "dead.npy", "<i8", dead.shape, [dead])
    schema = Documents(folder / "documents.arrow").schema
    stamps = digests.stamps(folder, linked)
    manifest = {
        "format": "statim-index",
        "format_version": FORMAT_VERSION,
        "store": "folder",
        "engine": name,
        **({} if asked else {"trades": registry.WHY[name]}),
        "documents": len(engine) - len(dead),
        "dimensions": about["dimensions"],
        "columns": schema.names,
        **searched(about),
        **({"language": about["language"]} if "language" in about else {}),
        **origin(about),
        "model_hash": about["model_hash"],
        **({} if generation is None else {"generation": generation}),
        "files": {name: stamp["size"] for name, stamp in stamps.items()},  # for earlier versions of statim
        "stamps": stamps,
    }
    write_json(folder / MANIFEST, digests.seal(manifest))


def _living(tables: Iterable[pa.Table], living: Mask) -> Iterator[pa.Table]:
    start = 0
    for table in tables:
        yield table.filter(pa.array(living[start : start + len(table)]))
        start += len(table)


def link(old: Path, new: Path) -> None:
    """The same files in another folder: linked where the file system can, else copied.

    Raises:
        ModelError: There is a symbolic link, which could bring in what lies outside.
    """
    new.mkdir(exist_ok=True)
    for file in files_in(old):
        target = new / file.relative_to(old)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)


def _manifest(path: Path, verify: Verify | None) -> dict[str, Any]:
    manifest = read_manifest(path)
    if manifest["store"] != "folder" or type(manifest.get("engine")) is not str:
        raise ModelError(f"{path / MANIFEST} is damaged at store or engine; build the index again")
    if manifest["engine"] not in registry.NAMES:
        raise ModelError(
            f"{path} was made with the engine {manifest['engine']!r}, which this statim does not have"
        )
    stamps = stamps_of(path, manifest)
    check_inside(path, stamps)
    digests.verify(path, stamps, verify, REMEDY)
    return manifest


def stamps_of(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of the index's files; in those of earlier versions of statim are sizes only.

    Raises:
        ModelError: It is damaged, or does not name what every index has.
    """
    sizes = manifest.get("files")
    found = manifest.get("stamps")
    if found is None and isinstance(sizes, dict):
        found = {name: {"size": size} for name, size in sizes.items()}
    known = isinstance(sizes, dict) and all(type(size) is int for size in sizes.values())
    if not isinstance(found, dict) or not isinstance(sizes, dict) or not known:
        raise ModelError(f"{path / MANIFEST} is damaged at files or stamps; {REMEDY}")
    words = "bm25.safetensors" if manifest["format_version"] == 1 else "words/"
    needed = ("documents.arrow", "model/model.safetensors", "model/tokenizer.json", "vectors/", words)
    for said in (sizes, found):
        lacking = next((part for part in needed if not any(name.startswith(part) for name in said)), None)
        if lacking is not None:
            raise ModelError(f"{path / MANIFEST} is damaged: it does not name {lacking}; {REMEDY}")
    return found


def _read_dead(path: Path) -> Positions:
    return read_array(path / "dead.npy", ["<i8"], 1)
