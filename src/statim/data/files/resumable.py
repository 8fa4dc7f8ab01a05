"""A resumable output: it grows beside its place, survives a kill, and is put in place at once.

    OUT.encoding/
    ├── data             what will become OUT
    ├── run.json         what is being written: the model, the options
    └── progress.json    how much of data is safe on the disk, and what its writer needs to go on from there

``data`` is made first and renamed into its place last but for the other two, so any moment of death can be
told from any other: with a run but without data, OUT is finished; without a run, nothing has begun.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from statim.digests import check_seal, seal
from statim.errors import InputError, ModelError, StorageError
from statim.files import locked, read_json, storage_errors, sync_directory, write_json
from statim.partial import MARKER, kept_mode, plain_mode, set_mode

AGAIN = "start again without --resume"
SECONDS = 10.0  # between saves: each waits for the disk, and a kill loses no more than this
DATA, RUN, PROGRESS = "data", "run.json", "progress.json"

log = logging.getLogger("statim")


class Unfinished:
    """The file being written.

    Attributes:
        file: Open for reading and writing, at its end; None when there is nothing left to do.
        progress: What was last saved, None at the beginning.
    """

    def __init__(self, folder: Path, file: IO[bytes] | None, progress: dict[str, Any] | None) -> None:
        self.folder, self.file, self.progress = folder, file, progress
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Is it time to save?"""
        return time.monotonic() - self._saved >= SECONDS

    def save(self, progress: Mapping[str, Any]) -> None:
        """Make all that was written safe, then write down ``progress`` (JSON)."""
        assert self.file is not None
        self.file.flush()
        os.fsync(self.file.fileno())
        self.progress = {**progress, "bytes": self.file.tell()}
        write_json(self.folder / PROGRESS, seal(self.progress))
        self._saved = time.monotonic()


def folder(out: Path) -> Path:
    """Where the unfinished ``out`` stands."""
    return out.with_name(out.name + ".encoding")


@contextlib.contextmanager
def unfinished(
    out: Path, run: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[Unfinished]:
    """Write a file that appears at ``out`` when the block ends well.

    When it does not, what was saved stays for a later ``resume``; the caller must check that its data are the
    same up to there. What an earlier run left is discarded without ``resume``.

    Args:
        out: The file.
        run: All that decides its bytes (JSON), under names that a message can use.
        resume: Go on with what an earlier run left; from the beginning if that was nothing.
        overwrite: Replace a file that is there.

    Raises:
        InputError: The file is there and ``overwrite`` is off; the unfinished one is of another run, or
            another process is writing it; or a folder of its name holds something else.
        ModelError: The unfinished one is damaged.
        StorageError: The disk is full, read-only, or not permitted.
    """
    with storage_errors(out), contextlib.ExitStack() as stack:
        if out.is_dir():
            raise StorageError(f"cannot write {out}: this is a folder; name a file")
        out = out.resolve()  # a link stays, what it names is replaced
        place = folder(out)
        _refuse_foreign(place)
        _found(place, out, resume, overwrite)  # refuses before anything is made
        place.mkdir(0o700, parents=True, exist_ok=True)
        stack.enter_context(locked(place, out))
        try:
            begun, done = _found(place, out, resume, overwrite)  # another process may have finished meanwhile
        except InputError:
            with contextlib.suppress(OSError):
                place.rmdir()
            raise
        if begun:
            _refuse_changed(place, out, run)
            progress = _progress(place)
        else:
            _begin(place, run)
            progress = None
        plain = plain_mode(out, folder=False)
        try:
            if done:
                yield Unfinished(place, None, progress)
            else:
                with _opened(place, progress) as file:
                    current = Unfinished(place, file, progress)
                    yield current
                    set_mode(place / DATA, kept_mode(out, plain) & 0o777)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(place / DATA, out)
                sync_directory(out.parent)
            _remove(place)
        except BaseException:
            if not (place / PROGRESS).exists():
                _remove(place)
            else:
                log.info("what is finished of %s stands in %s; --resume goes on from there", out.name, place)
            raise


def _found(place: Path, out: Path, resume: bool, overwrite: bool) -> tuple[bool, bool]:
    """Whether there is something to go on with, and whether nothing is left of it to do.

    Raises:
        InputError: The output is there, of another run, and may not be replaced.
    """
    begun, written = (place / RUN).exists(), (place / DATA).exists()
    done = resume and begun and not written and out.exists()
    if out.exists() and not overwrite and not done:
        raise InputError(f"{out} exists; choose another name, or allow overwriting (--overwrite)")
    return resume and begun and (written or done), done


def _refuse_foreign(place: Path) -> None:
    if place.exists() and (
        not place.is_dir()
        or any(
            path.name not in (DATA, RUN, PROGRESS) and not path.name.endswith(MARKER)
            for path in place.iterdir()
        )
    ):
        raise InputError(
            f"{place}, where the unfinished output would go, holds something else; move it, or choose "
            "another --out"
        )


def _begin(place: Path, run: Mapping[str, Any]) -> None:
    if (place / PROGRESS).exists() and (place / DATA).exists():
        log.info("discarding what an interrupted run left in %s (--resume would have gone on with it)", place)
    _empty(place)
    (place / DATA).touch()
    write_json(place / RUN, seal(run))


def _refuse_changed(place: Path, out: Path, run: Mapping[str, Any]) -> None:
    old = read_json(place / RUN)
    if isinstance(old, dict):
        check_seal(old, place / RUN, AGAIN)
    changed = [name for name in run if not isinstance(old, dict) or old.get(name) != run[name]]
    if changed:
        raise InputError(
            f"cannot resume {out}: {', '.join(changed)} changed since that run began; give the same "
            "again, or start again "
            "without --resume"
        )


def _progress(place: Path) -> dict[str, Any] | None:
    if not (place / PROGRESS).exists():
        return None
    found = read_json(place / PROGRESS)
    if not isinstance(found, dict) or not isinstance(found.get("bytes"), int) or found["bytes"] < 0:
        raise ModelError(f"{place / PROGRESS} is damaged; {AGAIN}")
    check_seal(found, place / PROGRESS, AGAIN)
    return {name: value for name, value in found.items() if name != "digest"}


@contextlib.contextmanager
def _opened(place: Path, progress: Mapping[str, Any] | None) -> Iterator[IO[bytes]]:
    """The data, cut back to what is known to be safe."""
    size = 0 if progress is None else progress["bytes"]
    with (place / DATA).open("r+b") as file:
        if file.seek(0, os.SEEK_END) < size:
            raise ModelError(f"{place} is damaged (data is too short); {AGAIN}")
        file.seek(size)
        file.truncate()
        yield file


def _empty(place: Path) -> None:
    """Remove all files, the run first: without it the others say nothing."""
    for path in (place / RUN, place / PROGRESS, place / DATA, *place.glob(f".*{MARKER}")):
        path.unlink(missing_ok=True)


def _remove(place: Path) -> None:
    _empty(place)
    with contextlib.suppress(OSError):
        place.rmdir()
