"""The embedded store: a folder with a LanceDB table, to which changes add; nothing of it is written again.

    index.json              the versions, of which the last is the index; written after all else
    documents.lance/        ids, texts, metadata, positions and vectors, in LanceDB's versions
    words/                  the words (see lexical/incremental_bm25.py)
    model/                  the model

Every change ends with a new ``index.json``, which names the versions that are kept, once all files are on the
disk and the new version can be read. What a killed process has put into the table or among the words before
is of no version that is named there, so it is never seen, and the next change takes it back. Where the files
of the newest version are damaged, the last whole one is opened, with a warning. BM25 is statim's own:
LanceDB's full text search weighs words by what its index knew when it was made, and cannot say what a given
document would score, which hybrid search asks.

A few queries are asked of LanceDB, in large tables of an index inside it (lance_index.py), and the scores are
worked out again from the vectors found; many queries read the vectors once, in blocks. Memory: 17 bytes for
each document, and a few blocks.
"""

import contextlib
import copy
import datetime
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.consistent import read_whole
from statim.digests import Verify, seal
from statim.errors import InputError, ModelError, StorageError
from statim.files import atomic_directory, locked, storage_errors, write_json
from statim.identity import Identities
from statim.model import StaticModel
from statim.partial import alone
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.matrices import matrix, unit
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.engines.tuning import Recall
from statim.search.filters.conditions import Among, Condition
from statim.search.filters.lance import to_sql
from statim.search.lexical import incremental_bm25
from statim.search.lexical.analyzer import Analyzer
from statim.search.lexical.incremental_bm25 import Words
from statim.search.stores import lance_files, lance_index
from statim.search.stores.columns import KEY, Columns, safe_names, told
from statim.search.stores.lance_connection import TABLE, connect, errors, opened
from statim.search.stores.lance_rows import BLOCK, POSITION, VECTOR, Rows, keys, takes, unpacked, vectors_of
from statim.search.stores.protocol import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    REMEDY,
    Block,
    Mask,
    NotRenewed,
    View,
    WordView,
    check_same,
    check_width,
    hold_model,
    load_model,
    model_hash,
    origin,
    read_manifest,
    searched,
)

log = logging.getLogger("statim")

FEW = 4  # queries up to which LanceDB searches for each
SCANNED = 10_000  # documents for each query that are read as quickly as the index is asked
SOME = 8  # documents that are read back, before a version is named, of all and of the last
KEPT, DAYS = 10, 7  # versions that are kept: this many, and all that were the last one within this many days
NAMES = 1 << 14  # ids named in one deletion


class Lance(NotRenewed):
    """A store in a folder with a LanceDB table (see store.Store); ``create`` makes one.

    Args:
        path: The folder.
        version: An older version to open; None opens the last, or the last whole one, with a warning.
        verify: How files are checked (see digests.verify); None reads them where they are small.

    Raises:
        ModelError: There is no index there, or it is not whole.
        InputError: There is no such version.
        DependencyError: LanceDB is not installed.
    """

    def __init__(self, path: Path, version: int | None = None, verify: Verify | None = None) -> None:
        self.path, self.place = path, str(path)
        read_whole(path, lambda: self._open_last(version, verify), MANIFEST)

    def _open_last(self, version: int | None, verify: Verify | None) -> None:
        """Open the version asked for, or the last whole one; files may be replaced at any time."""
        path = self.path
        manifest = read_manifest(path)
        versions = manifest.get("versions")
        if not isinstance(versions, list) or not versions or not all(_is_version(v) for v in versions):
            raise ModelError(f"{path / MANIFEST} is damaged at versions; build the index again")
        asked = [found for found in reversed(versions) if version in (None, found["version"])]
        if not asked:
            raise InputError(
                f"{path} has no version {version!r}; "
                f"it has {versions[0]['version']} to {versions[-1]['version']}"
            )
        damage: ModelError | None = None
        for found in asked:
            try:
                self._open(path, manifest, found, verify)
            except ModelError as error:
                if not _is_damage(error):
                    raise
                damage = damage or error
            else:
                break
        else:
            raise damage or AssertionError
        self._latest = version is None or found is versions[-1]
        if damage is not None:
            log.warning(
                "%s; so version %d of %s is opened, the last that is whole, of %s; what came later is "
                "lost, so add it again",
                str(damage).removesuffix(f"; {REMEDY}"),
                found["version"],
                path,
                found["time"],
            )

    def _open(
        self, path: Path, manifest: Mapping[str, Any], found: dict[str, Any], verify: Verify | None
    ) -> None:
        """Open a version; ``manifest`` may be one that is not written yet.

        Raises:
            ModelError: It is not whole.
        """
        self.path, self.place = path, str(path)
        self._manifest, self._version, self._latest = manifest, found, True
        self._built = lance_index.told(found)
        self.manifest: Mapping[str, Any] = {**manifest, "documents": found["documents"]}
        lance_files.check(path, manifest, found, verify)
        with errors(self.place):
            self._table = opened(path, found["lance"], torn=lance_files.newest_is_torn(path, manifest))
            schema = self._table.schema
            hidden = [name for name in (POSITION, VECTOR) if name in schema.names]
            stored = pa.schema([field for field in schema if field.name not in hidden])
            self.schema, names = told(manifest, str(path / MANIFEST)) or (stored, stored.names)
            self._columns = Columns(self.schema, takes if KEY in manifest else _all, names, "LanceDB")
            width = schema.field(VECTOR).type.list_size if VECTOR in hidden else 0
            some = self._table.search().select([POSITION]).with_row_id(True).to_arrow()
            positions, rows = (some.column(name).to_numpy().astype(np.int64) for name in (POSITION, "_rowid"))
        held = (len(positions), width, stored.names)
        if held != (found["documents"], self.manifest["dimensions"], self._columns.stored.names):
            raise ModelError(
                f"{path}: {MANIFEST} and the table belong to different indexes; build the index again"
            )
        order = np.argsort(positions)
        self._positions, self._rows = positions[order], rows[order]
        if len(order) and (self._positions[0] < 0 or (np.diff(self._positions) == 0).any()):
            raise ModelError(f"{path}: the table's positions are damaged; build the index again")
        living = np.zeros(self._positions[-1] + 1 if len(order) else 0, np.bool_)
        living[self._positions] = True
        self._words = Words(path / "words", living, self._manifest.get("generation"))
        self._model = hold_model(path / "model")
        if self._words.end < len(living):
            raise ModelError(f"{path}: words are missing; build the index again")

    @staticmethod
    def create(
        path: Path,
        schema: pa.Schema,
        blocks: Iterable[Block],
        model: StaticModel,
        about: Mapping[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        """Write a new index from a stream of documents; ``about`` has the weight and the vectors' source."""
        columns = Columns(schema, takes, safe_names(schema.names), "LanceDB")
        with atomic_directory(path, overwrite=overwrite) as folder:
            model.save(folder / "model")
            (folder / "words").mkdir()
            generation = os.urandom(8).hex()  # what tells its positions from those of any other index
            rows = Rows(
                blocks, columns, model.dim, folder / "words", 0, str(path), about["language"],
                generation=generation
            )  # fmt: skip
            with rows.errors(), errors(str(path)), storage_errors(path):
                table = connect(folder).create_table(TABLE, data=rows.reader(), schema=rows.schema)
                built = lance_index.kept_up(table, rows.count, model.dim, None)
                version = table.version
            manifest = {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "store": "lancedb",
                "documents": rows.count,
                "dimensions": model.dim,
                "columns": schema.names,
                **({} if columns.alike else columns.said()),
                **searched(about),
                "language": rows.analyzer.language,
                **origin(about),
                "model_hash": model_hash(folder / "model"),
                "generation": generation,
                "versions": [_told(1, version, rows.count, "build", built)],
                "stamps": lance_files.stamps(folder, lance_files.there(folder), {}),
            }
            _read_back(folder, manifest)
            write_json(folder / MANIFEST, seal(manifest))

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def exact(self) -> bool:
        """Does every search compare with all vectors?"""
        return self._built is None

    def model(self) -> StaticModel:
        """The model that made the vectors; see Store."""
        return load_model(self._model, self.manifest, self.place)

    def view(self, where: Condition | None) -> View:
        """The documents that satisfy a condition, or all; see Store."""
        now = copy.copy(self)  # a change on another thread gives the store another version
        sql = None if where is None else now._sql(where)
        words = WordView(now._words, None if sql is None else now._satisfying(sql))
        return View(_Vectors(now, sql), words, now._documents)

    def _sql(self, where: Condition) -> str:
        return to_sql(self._columns.condition(where))

    def _satisfying(self, sql: str) -> Mask:
        allowed = np.zeros(self._words.end, np.bool_)
        for part in self.parts([POSITION], sql):
            allowed[part.column(POSITION).to_numpy()] = True
        return allowed

    def scan(
        self, columns: Sequence[str] | None = None, where: Condition | None = None
    ) -> Iterator[pa.Table]:
        """The documents that satisfy a condition, or all; see Store."""
        names = self.schema.names if columns is None else columns
        stored = [self._columns.names[name] for name in names]
        for part in self.parts(stored, None if where is None else self._sql(where)):
            yield self._columns.from_store(part, names)

    def parts(self, columns: Sequence[str], sql: str | None = None) -> Iterator[pa.Table]:
        """Some columns of all rows, or of those that satisfy a condition, BLOCK rows at a time."""
        with self._reading():
            asked = self._table.search().select(list(columns))
            if sql is not None:
                asked = asked.where(sql)
            for batch in asked.to_batches(BLOCK):
                yield pa.Table.from_batches([batch])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """LanceDB's errors as one sentence, which says so where others have replaced the files.

        Raises:
            InputError: The index was built again, or its older versions were removed.
        """
        try:
            with errors(self.place):
                yield
        except ModelError:
            found = lance_files.replaced(self.path, self._manifest, self._version)
            if found is None:
                raise
            raise InputError(f"{self.place} {found} since it was opened; open it again") from None

    def nearest(self, query: Floats, k: int, sql: str | None) -> tuple[Positions, Floats]:
        """The k nearest rows of one query; see lance_index.nearest."""
        with self._reading():
            return lance_index.nearest(self._table, self._built, query, k, sql)

    def take(self, positions: Positions, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows at c different positions, ascending.

        Raises:
            ModelError: There is none at one of them.
        """
        places = np.searchsorted(self._positions, positions)
        if len(places) and (
            places[-1] >= len(self._positions) or (self._positions[places] != positions).any()
        ):
            raise ModelError(
                f"{self.place} is damaged: words and documents do not agree; build the index again"
            )
        with self._reading():
            found = (
                self._table.take_row_ids(self._rows[places].tolist()).select([*columns, POSITION]).to_arrow()
            )
        return found.take(pa.array(np.argsort(found.column(POSITION).to_numpy()))).select(list(columns))

    def _documents(self, positions: Positions) -> list[dict[str, Any]]:
        order, inverse = np.unique(positions, return_inverse=True)
        if len(order) == 0:
            return []
        found = self._columns.from_store(self.take(order, self._columns.stored.names)).to_pylist()
        return [dict(found[i]) for i in inverse]

    @property
    def analyzer(self) -> Analyzer:
        """How words are cut and stemmed; see Store."""
        return self._words.analyzer

    def documents_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these ids; see Store."""
        now = copy.copy(self)
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), NAMES):
            named = to_sql(Among("id", tuple(ids[start : start + NAMES])))
            for part in now.parts(now._columns.stored.names, named):
                found += now._columns.from_store(part).to_pylist()
        return found

    def write(self, blocks: Iterable[Block], *, replace: bool, drop: Sequence[str] = ()) -> None:
        """Add documents, or replace some; see Store."""
        with self._changed() as table:
            there = Identities()
            if not replace:
                for part in self.parts(["id"]):
                    there(keys(part.column("id")))
            rows = Rows(
                blocks, self._columns, self.manifest["dimensions"], self.path / "words", self._words.end,
                self.place,
                self._words.analyzer, there, self._manifest.get("generation"),
            )  # fmt: skip
            with rows.errors(), errors(self.place), storage_errors(self.path):
                if replace:
                    for batch in rows.batches():
                        merging = (
                            table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                        )
                        merging.execute(pa.Table.from_batches([batch]))
                else:
                    table.add(rows.reader())
                _delete(table, drop)
            incremental_bm25.merge(self.path / "words")
            self._commit(table, f"{'update' if replace else 'add'} {rows.count}")

    def delete(self, ids: Sequence[str], where: Condition | None = None) -> int:
        """Delete documents; see Store."""
        names = list(dict.fromkeys(ids))
        with self._changed() as table:
            with errors(self.place), storage_errors(self.path):
                if where is not None:
                    table.delete(self._sql(where))
                _delete(table, names)
                left = int(table.count_rows())
            if left == len(self):
                return 0
            if left == 0:
                raise InputError(
                    f"that would delete all {len(self):,} documents of {self.place}; an index has at "
                    "least one, so remove the folder instead"
                )
            count = len(self) - left
            self._commit(table, f"delete {count}")
        return count

    @contextlib.contextmanager
    def _changed(self) -> Iterator[Any]:
        """The table, for a change: the store is opened again, and what no version names is removed."""
        if not self._latest:
            raise InputError(
                f"version {self._version['version']} of {self.place} can be searched only; "
                "open the last one to change it"
            )
        with locked(self.path, self.path), alone(self.path.resolve(), wait=False):
            now = Lance(self.path, verify="size")
            check_same(self.manifest, now.manifest, self.place)
            self.__dict__ = now.__dict__
            if self._version is not self._manifest["versions"][-1]:  # later ones are damaged
                self._manifest = lance_files.without_later(self._manifest, self._version)
                write_json(self.path / MANIFEST, seal(self._manifest))
            lance_files.take_back(self.path, self._manifest)
            self._before = lance_files.there(self.path)
            with errors(self.place):
                table = connect(self.path).open_table(TABLE)
            yield table

    def _commit(self, table: Any, what: str, keep: int | None = None) -> None:
        """Name a new version, once it is on the disk and can be read; ``keep`` limits the older ones.

        Raises:
            StorageError: It cannot be written, or what was written cannot be read back.
        """
        before = self._manifest["versions"]
        with errors(self.place), storage_errors(self.path):
            count = table.count_rows()
            built = lance_index.kept_up(table, count, self.manifest["dimensions"], self._built, before[0])
            names, lance = lance_files.there(self.path), table.version
            lance_files.sync(self.path, names - self._before)
        stamps = lance_files.stamps(self.path, names, lance_files.said(self._manifest, self.path))
        new = _told(self._version["version"] + 1, lance, count, what, built)
        new["new"] = sorted(stamps.keys() - self._before)
        versions = lance_index.named([*before, new], KEPT, DAYS) if keep is None else [*before, new][-keep:]
        said = {"documents": count, "versions": versions, "stamps": stamps}
        manifest = {name: value for name, value in self._manifest.items() if name != "files"} | said
        fresh = _read_back(self.path, manifest)
        write_json(self.path / MANIFEST, seal(manifest))
        self.__dict__ = fresh.__dict__  # who still searches keeps what was open

    def describe(self, said: Mapping[str, Any]) -> None:
        """Store how the index is searched by default; see Store."""
        with self._changed():
            manifest = {**self._manifest, **said}
            write_json(self.path / MANIFEST, seal(manifest))
            self._manifest, self.manifest = manifest, {**self.manifest, **said}

    def texts(self) -> Iterator[tuple[Positions, pa.Array, pa.Array]]:
        """The documents, in parts; see Store."""
        for part in self.parts([POSITION, "id", "text"]):
            yield part.column(POSITION).to_numpy(), part.column("id"), part.column("text")

    def compact(self, keep: int) -> None:
        """Merge the table's files, complete its index, and remove what only versions before ``keep`` need.

        See Store.
        """
        with self._changed() as table:
            with errors(self.place), storage_errors(self.path):
                table.optimize(cleanup_older_than=lance_index.FOREVER)
            self._commit(table, "compact", keep)  # before the files go
            with errors(self.place), storage_errors(self.path):
                lance_index.cleaned(table, self._manifest["versions"][0])

    def info(self) -> dict[str, Any]:
        """What it holds; see Store."""
        size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        versions = [
            {name: v[name] for name in ("version", "documents", "time", "what")}
            for v in self._manifest["versions"]
        ]
        index = {} if self._built is None else {"index": self._built._asdict()}
        if index:
            index |= {name: index["index"].pop(name) for name in Recall._fields}
        hidden = ("files", "stamps", "digest", "generation", KEY)
        known = {name: value for name, value in self.manifest.items() if name not in hidden}
        return {
            "path": self.place,
            **known,
            **index,
            "bytes": size,
            "version": self._version["version"],
            "versions": versions,
        }


def _read_back(path: Path, manifest: Mapping[str, Any]) -> Lance:
    """Open the newest version of a manifest that is not written yet, and read some of it.

    LanceDB goes on after some writes that failed, and then the end of a file is missing.

    Raises:
        StorageError: It cannot be read.
    """
    fresh = Lance.__new__(Lance)
    try:
        fresh._open(path, manifest, manifest["versions"][-1], "never")
        places = fresh._positions
        places = np.union1d(places[:: len(places) // SOME + 1], places[-SOME:])
        found = fresh.take(places, [*fresh._columns.stored.names, VECTOR])
        vectors = vectors_of(found.column(VECTOR))
        if not np.isin(np.linalg.norm(vectors, axis=1).round(3), (0, 1)).all():
            raise ModelError(f"{path} is damaged: its vectors are not those that were written")
        if not fresh.exact:
            fresh.nearest(vectors[-1], 1, None)
    except ModelError as error:
        said = str(error).removesuffix(f"; {REMEDY}")
        raise StorageError(
            f"cannot write {path}: what was written cannot be read back ({said}); "
            "check the disk, then try again"
        ) from None
    return fresh


def _is_damage(error: ModelError) -> bool:
    """Is something damaged or missing, which an older version may lack, rather than refused or failing?"""
    cause = error.__context__
    return not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError)


class _Vectors:
    """The vectors of a table, or of its rows that satisfy a condition (see store.VectorSide)."""

    def __init__(self, store: Lance, sql: str | None) -> None:
        self._store, self._sql = store, sql

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        asked, zero = unit(self._matching(queries))
        k = min(check_k(k), len(self._store))
        scores = np.full((len(asked), k), -np.inf, np.float32)
        positions = np.full((len(asked), k), -1, np.int64)
        few = FEW if self._store.exact else max(FEW, len(self._store) // SCANNED)
        if len(asked) <= few:
            for query in np.flatnonzero(~zero):
                places, found = self._store.nearest(asked[query], k, self._sql)
                scores[query, : len(places)], positions[query, : len(places)] = found, places
            return scores, positions
        for part in self._store.parts([POSITION, VECTOR], self._sql):
            places, vectors = unpacked(part)
            there = vectors.any(axis=1)
            if there.any():
                found_scores, found_rows = top_k(asked, vectors[there], k, threads=threads)
                for query in np.flatnonzero(~zero):
                    _keep(
                        scores[query], positions[query], places[there][found_rows[query]], found_scores[query]
                    )
        return scores, positions

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        asked, _ = unit(self._matching(queries))
        scores = np.zeros(positions.shape, np.float32)
        wanted = np.unique(positions[positions >= 0])
        if len(wanted) == 0:
            return scores
        vectors = vectors_of(self._store.take(wanted, [VECTOR]).column(VECTOR))
        for query, row, out in zip(asked, positions, scores, strict=True):
            there = row >= 0
            some = vectors[np.searchsorted(wanted, row[there])]
            out[there] = (some * query.astype(np.float64)).sum(axis=1)
        return scores

    def _matching(self, queries: npt.ArrayLike) -> Floats:
        given = matrix(queries, "the queries")
        check_width(given, self._store.manifest["dimensions"], self._store.place)
        return given


def _keep(scores: Floats, positions: Positions, places: Positions, found: npt.NDArray[Any]) -> None:
    """Put more documents among the best of a query."""
    all_scores = np.concatenate([scores, found.astype(np.float32)])
    all_places = np.concatenate([positions, places])
    order = np.lexsort((all_places, -all_scores))[: len(scores)]
    scores[:], positions[:] = all_scores[order], all_places[order]


def _told(version: int, lance: int, count: int, what: str, built: lance_index.Built | None) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    index = {} if built is None else {"index": built._asdict()}
    return {"version": version, "documents": count, "time": now, "what": what, "lance": lance, **index}


def _is_version(value: Any) -> bool:
    kinds = {"version": int, "lance": int, "documents": int, "time": str, "what": str}
    return isinstance(value, dict) and all(type(value.get(name)) is kind for name, kind in kinds.items())


def _all(kind: pa.DataType) -> bool:
    """An index of an earlier statim has the documents' columns as they are."""
    del kind
    return True


def _delete(table: Any, names: Sequence[str]) -> None:
    """Delete the rows with these ids."""
    for start in range(0, len(names), NAMES):
        table.delete(to_sql(Among("id", tuple(names[start : start + NAMES]))))
