"""A folder that a job over shards fills: which shards are written, and of which run they are.

    OUT/
    ├── a.parquet            the output of the shard a.parquet, put there whole
    ├── _manifest.json       written last: the run, and every shard with its size and digest
    ├── _run.json            until then: the run
    └── _shards/             until then: a record for each shard that is written

Names that begin with ``_`` are passed over by what reads folders of Parquet files.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from statim.digests import check_seal, seal
from statim.errors import InputError, ModelError
from statim.files import locked, storage_errors
from statim.scale.shards import Shard
from statim.scale.storage import Place
from statim.strict_json import loads

MANIFEST, RUN, RECORDS = "_manifest.json", "_run.json", "_shards"
FORMAT, FORMAT_VERSION = "statim-shards", 1
AGAIN = "start again with --overwrite"


@dataclass(frozen=True)
class Written:
    """A shard's output.

    Attributes:
        name: Of the file, below the folder.
        source: Where the shard was read.
        source_bytes: Its bytes then.
        changed: When it was changed last, in nanoseconds.
        texts: Rows written.
        size: Bytes written.
        digest: Their XXH3, 128 bits in hexadecimal.
        own_ids: Whether the ids are the shard's, not numbers of its rows.
    """

    name: str
    source: str
    source_bytes: int
    changed: int
    texts: int
    size: int
    digest: str
    own_ids: bool

    def is_of(self, shard: Shard) -> bool:
        """Is this the output of the shard as it is now?"""
        return (self.source_bytes, self.changed) == (shard.size, shard.changed)


class Output:
    """The folder at a place."""

    def __init__(self, out: Place) -> None:
        self.out = out

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out, where the file system can.

        Raises:
            BusyError: Another process is writing here.
        """
        if self.out.scheme:
            yield
            return
        path = Path(self.out.path)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder for the shards")
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        with locked(path, path):
            yield

    def begin(self, run: Mapping[str, Any], *, resume: bool, overwrite: bool) -> dict[str, Written]:
        """Take the folder for a run.

        Args:
            run: All that decides the bytes of a shard (JSON), under names that a message can use.
            resume: Go on with what an earlier run left.
            overwrite: Remove it.

        Returns:
            The shards that are written and whole, by name.

        Raises:
            InputError: The folder holds something else; or an earlier run's shards, and neither is given, or
                the run was another one.
            ModelError: What is known of an earlier run is damaged.
        """
        old = self._run()
        if old is None and self.out.list(recursive=True):
            raise InputError(
                f"{self.out.address} is not empty and holds no shards that statim wrote; name another folder"
            )
        if old is not None and overwrite:
            self.out.clear()
            old = None
        if old is not None and not resume and self.written():
            raise InputError(
                f"{self.out.address} holds shards of an earlier run; go on with it (--resume), replace it "
                "(--overwrite), or name another folder"
            )
        if not resume:
            old = None
        changed = [name for name in run if old is not None and old.get(name) != run[name]]
        if changed:
            raise InputError(
                f"{self.out.address} holds shards of another run: {', '.join(changed)} differ; give the same "
                f"again, name another folder, or {AGAIN}"
            )
        if old is None:
            _write_json(self.out / RUN, seal(run))
        return self.written()

    def written(self) -> dict[str, Written]:
        """The shards whose records or manifest say that they are written, and that have their size.

        Raises:
            ModelError: A record or the manifest is damaged.
        """
        folder = self.out / RECORDS
        read = list((self._manifest() or {}).get("shards", ()))
        read += [_json(self.out.at(info.path))["shard"] for info in folder.list(recursive=True)]
        try:
            entries = [Written(**one) for one in read]
        except (KeyError, TypeError):
            raise ModelError(f"{folder.address} holds a record that is damaged; {AGAIN}") from None
        there = {info.path: info.size for info in self.out.list(recursive=True)}
        return {one.name: one for one in entries if there.get((self.out / one.name).path) == one.size}

    def record(self, one: Written) -> None:
        """Write down that a shard is written."""
        _write_json(self.out / RECORDS / f"{one.name}.json", seal({"shard": dataclasses.asdict(one)}))

    def finish(self, run: Mapping[str, Any], entries: Iterable[Written], **more: Any) -> None:
        """Write the manifest, and remove what it replaces."""
        shards = [dataclasses.asdict(one) for one in sorted(entries, key=lambda one: one.name)]
        whole = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "run": dict(run),
            "texts": sum(shard["texts"] for shard in shards),
            **more,
            "shards": shards,
        }
        _write_json(self.out / MANIFEST, seal(whole))
        for name in (RECORDS, RUN):
            (self.out / name).remove()

    def _run(self) -> dict[str, Any] | None:
        """What the folder's shards are of; None if there are none."""
        manifest = self._manifest()
        if manifest is not None:
            return dict(manifest["run"])
        if (self.out / RUN).info().type != fs.FileType.File:
            return None
        return _json(self.out / RUN)

    def _manifest(self) -> dict[str, Any] | None:
        if (self.out / MANIFEST).info().type != fs.FileType.File:
            return None
        return read_manifest(self.out)


def read_manifest(out: Place) -> dict[str, Any]:
    """The manifest of a folder of shards.

    Raises:
        DataError: There is none.
        ModelError: It is damaged, or a newer version of statim wrote it.
    """
    found, path = _json(out / MANIFEST), (out / MANIFEST).address
    if found.get("format") != FORMAT or not isinstance(found.get("run"), dict):
        raise ModelError(f"{path} does not describe shards of statim")
    version = found.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(f"{path} has format version {version}, newer than this statim reads; update statim")
    return found


def missing(done: Iterable[str], shards: Sequence[Shard]) -> list[str]:
    """The names of shards that are done and not among those that are given."""
    return sorted(set(done) - {shard.name for shard in shards})


def _json(at: Place) -> dict[str, Any]:
    content = at.read()
    try:
        found = loads(content.decode())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{at.address} is damaged; {AGAIN}")
    check_seal(found, Path(at.address), AGAIN)
    return found


def _write_json(at: Place, value: Mapping[str, Any]) -> None:
    with at.writing() as file:
        file.write(
            (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        )
