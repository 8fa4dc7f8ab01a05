"""The store of an index in shards: a folder of ordinary indexes, which a search asks all at once.

    index.json     written last; the shards, and the digest of each one's own index.json
    0/  1/  2/     ordinary indexes (see ordinary.py)

A search asks the shards as shard_views.py says. BM25 weighs words
by how many documents of all shards hold them, so scores are those of one index. A change writes a new folder
beside the old one, into which the files of shards that stay the same are linked, and swaps the two: it takes
place in all shards or in none.
"""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from statim import digests, threads
from statim.consistent import read_whole
from statim.digests import Verify
from statim.errors import InputError, ModelError
from statim.files import atomic_directory, read_errors, write_json
from statim.model import StaticModel
from statim.partial import alone
from statim.search.engines.protocol import Positions
from statim.search.filters.conditions import Condition
from statim.search.lexical.analyzer import Analyzer, analyzer_of
from statim.search.stores import documents as documents_file
from statim.search.stores import ordinary
from statim.search.stores.folder import link
from statim.search.stores.protocol import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    REMEDY,
    Block,
    NotRenewed,
    Store,
    View,
    check_new,
    check_no_link,
    check_same,
    origin,
    read_manifest,
    searched,
)
from statim.search.stores.shard_views import BITS, Parts, Vectors, Words
from statim.search.stores.spool import spooling

log = logging.getLogger("statim")


class Shards(NotRenewed):
    """A store in shards (see protocol.Store); ``create`` makes one.

    Args:
        path: The folder.
        verify: How files are checked (see digests.verify).
        partial: Go on without shards that are missing or damaged.

    Attributes:
        missing: What is wrong with the shards that are gone without, by their names.

    Raises:
        ModelError: There is no index there, or a shard is not whole and ``partial`` is off.
    """

    def __init__(self, path: Path, verify: Verify | None = None, *, partial: bool = False) -> None:
        self.path, self.place, self.partial = path, str(path), partial
        self.missing: dict[str, str] = {}
        read_whole(path, lambda: self._open(verify))

    def _open(self, verify: Verify | None) -> None:
        self.manifest: Mapping[str, Any] = _manifest(self.path)
        self.stores: dict[int, Store] = {}
        self.missing = {}
        for name, stamp in self.manifest["shards"].items():
            try:
                self.stores[int(name)] = _opened(self.path / name, stamp, verify, self.manifest)
            except ModelError as error:
                if not self.partial:
                    raise ModelError(
                        f"the shard {name} of {self.place} cannot be used: {error}; to search the others, "
                        "allow answers without it (--allow-partial)"
                    ) from None
                self.lose(int(name), error)
        if not self.stores:
            raise ModelError(f"{self.path} has no shard that can be used; {REMEDY}")
        self.schema: pa.Schema = self._first.schema
        if any(not store.schema.equals(self.schema) for store in self.stores.values()):
            raise ModelError(f"{self.path}: the shards have different columns; {REMEDY}")

    def lose(self, number: int, error: Exception) -> None:
        """Go on without a shard, and say so."""
        if str(number) not in self.missing:
            self.missing[str(number)] = str(error)
            log.warning("answers are without the shard %s of %s: %s", number, self.place, error)

    @property
    def _first(self) -> Store:
        return next(iter(self.stores.values()))

    @staticmethod
    def create(
        path: Path,
        blocks: Iterable[Block],
        model: StaticModel,
        about: Mapping[str, Any],
        *,
        store: str | None,
        overwrite: bool,
    ) -> None:
        """Write a new index of ``about["shards"]`` shards, the documents in their order.

        Raises:
            InputError: There are fewer documents than shards.
            DataError: An id occurs twice.
        """
        many = about["shards"]
        with atomic_directory(path, overwrite=overwrite) as folder, spooling(folder) as spool:
            for block in blocks:
                spool.add(block)
            spool.check_ids()
            if spool.count < many:
                raise InputError(
                    f"there are {spool.count:,} documents for {many:,} shards; give fewer shards"
                )
            language = analyzer_of(about["language"], spool.first_texts)
            each = {name: value for name, value in about.items() if name != "shards"} | {"language": language}
            for number, (start, end) in enumerate(threads.ranges(spool.count, many)):
                large = end - start > ordinary.LARGE
                made = spool.blocks(end - start)
                ordinary.create(
                    folder / str(number), store, spool.schema, made, model, each, large=large, overwrite=False
                )
            finish(
                folder,
                {number: str(number) for number in range(many)},
                each | {"language": language.language},
            )

    def __len__(self) -> int:
        return sum(map(len, self.stores.values()))

    def model(self) -> StaticModel:
        """The model that made the vectors; see Store."""
        return self._first.model()

    @property
    def analyzer(self) -> Analyzer:
        """How words are cut and stemmed; see Store."""
        return self._first.analyzer

    def view(self, where: Condition | None) -> View:
        """The documents that satisfy a condition, or all; see Store."""
        parts = Parts(self.place, self.lose if self.partial else None)
        parts.views = dict(parts.each(lambda number: self.stores[number].view(where), list(self.stores)))
        return View(Vectors(parts), Words(parts, self.analyzer), parts.rows)

    def documents_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these ids; see Store."""
        return [row for store in self.stores.values() for row in store.documents_of(ids)]

    def scan(
        self, columns: Sequence[str] | None = None, where: Condition | None = None
    ) -> Iterator[pa.Table]:
        """The documents that satisfy a condition, or all; see Store."""
        return chain.from_iterable(store.scan(columns, where) for store in list(self.stores.values()))

    def texts(self) -> Iterator[tuple[Positions, pa.Array, pa.Array]]:
        """The documents, in parts; see Store."""
        for number, store in list(self.stores.items()):
            for positions, ids, texts in store.texts():
                yield positions + (number << BITS), ids, texts

    def write(self, blocks: Iterable[Block], *, replace: bool, drop: Sequence[str] = ()) -> None:
        """Add documents to the smallest shard, or replace some where they are; see Store."""
        blocks = list(blocks)  # encoded before others are kept out
        with self._changed() as (fresh, copies):
            given = [(documents_file.aligned(table, fresh.schema), vectors) for table, vectors in blocks]
            ids = [name for table, _ in given for name in table.column("id").to_pylist()]
            documents_file.check_unique(ids)
            owners = fresh._owners()
            if not replace:
                check_new(ids, owners)
            smallest = min(fresh.stores, key=lambda number: len(fresh.stores[number]))
            parts: dict[int, list[Block]] = {}
            for table, vectors in given:
                names = table.column("id").to_pylist()
                targets = np.array([owners.get(name, smallest) for name in names], np.int64)
                for number in np.unique(targets).tolist():
                    rows = np.flatnonzero(targets == number)
                    parts.setdefault(number, []).append((table.take(pa.array(rows)), vectors[rows]))
            gone: dict[int, list[str]] = {}
            for name in dict.fromkeys(drop):
                if name in owners:
                    gone.setdefault(owners[name], []).append(name)
            for number in sorted(parts.keys() | gone.keys()):
                if number in parts:
                    copies.of(number).write(parts[number], replace=True, drop=gone.get(number, ()))
                elif len(gone[number]) == len(fresh.stores[number]):
                    copies.remove(number)
                else:
                    copies.of(number).delete(gone[number])

    def extend(self, blocks: Iterable[Block], many: int) -> None:
        """Add documents in new shards.

        Raises:
            DataError: An id stands twice, or is in the index already.
            InputError: There are fewer documents than shards.
        """
        with tempfile.TemporaryDirectory() as aside, spooling(Path(aside)) as spool:
            for block in blocks:  # encoded before others are kept out
                spool.add(block)
            if spool.count < many:
                raise InputError(
                    f"there are {spool.count:,} documents for {many:,} shards; give fewer shards"
                )
            spool.check_ids()
            with self._changed() as (fresh, copies):
                check_new(spool.ids, fresh._owners())
                first, kind = max(fresh.stores) + 1, fresh._first.manifest["store"]
                about = {**fresh.manifest, "language": fresh.analyzer}
                schema, own = fresh.schema, fresh.model()
                for number, (start, end) in enumerate(threads.ranges(spool.count, many), first):
                    made = (
                        (documents_file.aligned(table, schema), some)
                        for table, some in spool.blocks(end - start)
                    )
                    place = copies.folder / str(number)
                    ordinary.create(place, kind, schema, made, own, about, large=False, overwrite=False)
                    copies.names[number] = str(number)

    def delete(self, ids: Sequence[str], where: Condition | None = None) -> int:
        """Delete documents; see Store."""
        if not self._dying(ids, where):
            return 0
        with self._changed() as (fresh, copies):
            dying = fresh._dying(ids, where)
            count = sum(map(len, dying.values()))
            if count == len(fresh):
                raise InputError(
                    f"that would delete all {count:,} documents of {self.place}; an index has at "
                    "least one, so remove the folder instead"
                )
            for number, names in dying.items():
                if len(names) == len(fresh.stores[number]):
                    copies.remove(number)
                else:
                    copies.of(number).delete(names)
        return count

    def _dying(self, ids: Sequence[str], where: Condition | None) -> dict[int, list[str]]:
        """The ids of documents to delete, by shard."""
        wanted = set(ids)
        found = {
            number: [
                name
                for table in store.scan(["id"], where)
                for name in table.column("id").to_pylist()
                if where is not None or name in wanted
            ]
            for number, store in self.stores.items()
        }
        return {number: names for number, names in found.items() if names}

    def _owners(self) -> dict[str, int]:
        """The shard of each id."""
        return {
            name: number
            for number, store in self.stores.items()
            for table in store.scan(["id"])
            for name in table.column("id").to_pylist()
        }

    @contextlib.contextmanager
    def _changed(self) -> "Iterator[tuple[Shards, _Copies]]":
        """The index as it is now, and copies of its shards that take their place when the block ends well."""
        if self.missing:
            raise InputError(
                f"{self.place} is without the shards {', '.join(self.missing)}; a change needs all of them, "
                "so restore these or build the index again"
            )
        with atomic_directory(self.path, overwrite=True) as folder:
            fresh = Shards(self.path, "size")  # now that nobody else can change it
            check_same(self.manifest, fresh.manifest, self.place)
            copies = _Copies(folder, {number: str(number) for number in fresh.stores})
            for number in fresh.stores:
                link(self.path / str(number), folder / str(number))
            yield fresh, copies
            finish(folder, copies.names, fresh.manifest)
        self._reopen()

    def _reopen(self) -> None:
        now = Shards(self.path, "never", partial=self.partial)
        if now.manifest["model_hash"] == self.manifest["model_hash"]:  # else this one keeps what it has
            self.__dict__ = now.__dict__

    def describe(self, said: Mapping[str, Any]) -> None:
        """Store how the index is searched by default; see Store."""
        with alone(self.path.resolve(), wait=False):
            fresh = _manifest(self.path)
            check_same(self.manifest, fresh, self.place)
            write_json(self.path / MANIFEST, digests.seal({**fresh, **said}))
        self.manifest = {**self.manifest, **said}

    def compact(self, keep: int) -> None:
        """Tidy the shards, and remove all but their last ``keep`` versions; see Store."""
        with self._changed() as (fresh, copies):
            for number in fresh.stores:
                copies.of(number).compact(keep)

    def info(self) -> dict[str, Any]:
        """What it holds; see Store."""
        hidden = ("digest", "shards", "documents")
        known = {name: value for name, value in self.manifest.items() if name not in hidden}
        told = {"path": self.place, "documents": len(self), "shards": len(self.manifest["shards"])}
        size = sum(store.info()["bytes"] for store in self.stores.values())
        return {**told, **known, **({"missing": self.missing} if self.missing else {}), "bytes": size}


class _Copies:
    """The shards of an index that is being changed: files linked to those of the old one.

    Attributes:
        folder: What will become the index.
        names: Of the folders of its shards, by number.
    """

    def __init__(self, folder: Path, names: dict[int, str]) -> None:
        self.folder, self.names = folder, names

    def of(self, number: int) -> Store:
        """A shard to change."""
        place = self.folder / self.names[number]
        return ordinary.opened(place, read_manifest(place)["store"], None, "never")

    def remove(self, number: int) -> None:
        """Leave a shard out."""
        shutil.rmtree(self.folder / self.names.pop(number))


def finish(folder: Path, names: Mapping[int, str], about: Mapping[str, Any]) -> None:
    """Write the manifest of an index in shards, the last of its files."""
    own = {name: read_manifest(folder / name) for _, name in sorted(names.items())}
    first = next(iter(own.values()))
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "store": "shards",
        "documents": sum(one["documents"] for one in own.values()),
        "dimensions": first["dimensions"],
        "columns": first["columns"],
        **searched(about),
        "language": about["language"],
        **origin(about),
        "model_hash": first["model_hash"],
        "shards": {name: digests.stamp(folder / name / MANIFEST) for name in own},
    }
    write_json(folder / MANIFEST, digests.seal(manifest))


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest of an index in shards.

    Raises:
        ModelError: It is damaged.
    """
    manifest = read_manifest(path)
    shards = manifest.get("shards")
    whole = isinstance(shards, dict) and bool(shards) and manifest["store"] == "shards"
    if not whole or not all(name.isdecimal() and name.isascii() and len(name) < 7 for name in shards):  # type: ignore[union-attr]
        raise ModelError(f"{path / MANIFEST} is damaged at store or shards; {REMEDY}")
    return manifest


def _opened(
    place: Path, stamp: Mapping[str, Any], verify: Verify | None, manifest: Mapping[str, Any]
) -> Store:
    """A shard.

    Raises:
        ModelError: It is not there, damaged, or not the one that the index was written with.
    """
    check_no_link(place)
    check_no_link(place / MANIFEST)
    own = read_manifest(place)
    digests.verify(place, {MANIFEST: stamp}, verify and "always", REMEDY)
    with read_errors(place):
        found = ordinary.opened(place, own["store"], None, verify)
    if any(found.manifest[name] != manifest[name] for name in ("model_hash", "dimensions")):
        raise ModelError(f"{place} is a shard of another index; {REMEDY}")
    return found
