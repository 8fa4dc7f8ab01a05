"""The folder of an interrupted fine-tuning: its options, its data and the trainer's checkpoints."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from statim.digests import check_seal, seal, stamp, verify
from statim.errors import InputError, ModelError
from statim.files import atomic_file, locked, read_json, storage_errors, write_json
from statim.partial import MARKER

log = logging.getLogger("statim")

RUN, PAIRS, MANIFEST, CHECKPOINT = "run.json", "pairs.parquet", "pairs.json", "checkpoint-"
VERSION = 1
# of the trainer's files in a checkpoint, the one that it writes last
LAST = "trainer_state.json"


class Run:
    """An open teaching.

    Attributes:
        folder: Its path, ``OUT.teaching``.
        done: Set when the model is saved; the folder is then removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, False

    def pairs(self, make: Callable[[], tuple[pa.Table, int]]) -> tuple[pa.Table, int]:
        """What is trained on, and a count that goes with it: made once, then kept."""
        path, manifest = self.folder / PAIRS, self.folder / MANIFEST
        if path.is_file():
            with contextlib.suppress(pa.ArrowException, OSError, KeyError, ValueError, TypeError, ModelError):
                if manifest.exists():  # an earlier statim wrote none
                    said = read_json(manifest)
                    check_seal(said, manifest, "delete it")
                    verify(self.folder, said["stamps"], "always", "delete it")
                table = pq.read_table(pa.OSFile(os.fsencode(path)))
                return table, int((table.schema.metadata or {})[b"mined"])
        table, count = make()
        with atomic_file(path) as file:
            pq.write_table(table.replace_schema_metadata({"mined": str(count)}), file)
        write_json(manifest, seal({"stamps": {PAIRS: stamp(path)}}))
        return table, count

    def checkpoints(self) -> list[Path]:
        """The whole checkpoints there are, the newest last."""
        found = [path for path in self.folder.glob(f"{CHECKPOINT}[0-9]*") if (path / LAST).is_file()]
        return sorted(found, key=lambda path: int(path.name.removeprefix(CHECKPOINT)))

    def checkpoint(self) -> str | None:
        """The newest checkpoint, for the trainer."""
        found = self.checkpoints()
        return str(found[-1]) if found else None


def folder(out: Path) -> Path:
    """The folder of the teaching into ``out``."""
    out = out.absolute()
    return out.with_name(out.name + ".teaching")


@contextlib.contextmanager
def opened(out: Path, about: Mapping[str, Any], *, resume: bool) -> Iterator[Run]:
    """Keep ``out.teaching`` for this process alone.

    It is removed in the end, unless there is something to go on with.

    Args:
        out: Where the model is saved.
        about: What decides the training; a resumed one must be about the same.
        resume: Resume from what is there.

    Raises:
        ModelError: There is nothing to go on with, or it is damaged.
        InputError: It was about something else, a folder of that name holds something else, or another
            process is at work there.
        StorageError: The disk is full, read-only, or not permitted.
    """
    place = folder(out)
    if resume and not (place / RUN).is_file():
        raise ModelError(
            f"there is no interrupted teaching into {out} ({place / RUN} does not exist); start it again"
        )
    with storage_errors(place):
        if place.exists() and not (place.is_dir() and all(map(_ours, place.iterdir()))):
            raise InputError(
                f"{place}, where checkpoints would go, holds something else; move it, or choose another --out"
            )
        place.mkdir(0o700, parents=True, exist_ok=True)
    with locked(place, out):
        if resume:
            _refuse_changed(place, about)
        else:
            with storage_errors(place):
                for path in place.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(place / RUN, seal({"version": VERSION, **about}))
        run = Run(place)
        try:
            with storage_errors(place):
                yield run
        except BaseException:
            if run.checkpoints():
                log.info("%s is kept; the same command with --resume goes on from there", run.checkpoint())
            elif not resume:
                shutil.rmtree(place, ignore_errors=True)
            raise
        if run.done:
            shutil.rmtree(place, ignore_errors=True)


def _ours(path: Path) -> bool:
    known = (RUN, PAIRS, MANIFEST, "README.md", "runs", "training_args.bin")
    return (
        path.name in known
        or path.name.startswith(CHECKPOINT)
        or path.name.endswith(MARKER)
        or path.name.startswith("tmp-")
    )


def _refuse_changed(place: Path, about: Mapping[str, Any]) -> None:
    found = read_json(place / RUN)
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise ModelError(f"{place} was written by another version of statim; start the teaching again")
    check_seal(found, place / RUN, "start the teaching again")
    for name, value in about.items():
        if found.get(name) == value:
            continue
        if name == "options" and isinstance(found.get(name), dict):
            name, before, now = next(
                (key, found[name].get(key), value.get(key))
                for key in (*value, *found[name])
                if key not in value or found[name].get(key) != value[key]
            )
            raise InputError(
                f"{name.replace('_', ' ')} is {now!r}, but the interrupted teaching began with "
                f"{before!r}; give the same, or start again"
            )
        raise InputError(
            f"the {name} changed since the interrupted teaching into {place} began; give the same, or "
            "start again"
        )
