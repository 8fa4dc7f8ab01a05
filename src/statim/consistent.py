"""Consistent reads of folders that others replace: everything comes from one state, old or new."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from statim.errors import BusyError, StatimError

T = TypeVar("T")

TRIES = 200  # how often a folder is read that is replaced each time

Stamp = tuple[int, int, int, int]


def read_whole(folder: Path, read: Callable[[], T], manifest: str | None = None) -> T:
    """What ``read`` makes of a folder's files, all of them from one state of it.

    If the folder was replaced while it was read, it is read again. So ``read`` must open all that it will
    ever need; files that are open or memory-mapped stay as they are when others take their places.

    Args:
        folder: The folder.
        read: Reads it; may be called several times.
        manifest: The name of a file in the folder that every change replaces, where files are changed in
            place.

    Raises:
        BusyError: The folder is replaced again and again.
        StatimError: What ``read`` raises of a folder that stays.
    """
    watched = [folder] if manifest is None else [folder, folder / manifest]
    for _ in range(TRIES):
        with _held(watched) as before:
            try:
                found = read()
            except (StatimError, OSError):
                if before == [_stamp(path) for path in watched]:
                    raise
            else:
                if before == [_stamp(path) for path in watched]:
                    return found
    raise BusyError(f"{folder} is replaced again and again by other processes; try again when they are done")


@contextlib.contextmanager
def _held(paths: list[Path]) -> Iterator[list[Stamp | None]]:
    """The files at these paths; inside the block nothing else gets the same stamps, if the system allows."""
    if os.name == "nt":  # there an open file cannot be replaced
        yield [_stamp(path) for path in paths]
        return
    descriptors: list[int] = []
    try:
        found: list[Stamp | None] = []
        for path in paths:
            try:
                descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
                found.append(_stamp(descriptors[-1]))
            except OSError:
                found.append(_stamp(path))  # missing, or not to be opened
        yield found
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _stamp(path: Path | int) -> Stamp | None:
    """What tells a file or folder from every other one that is there; None where nothing is."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    # a folder's time changes when something is put into it; on Windows numbers are given again
    changed = (0, 0) if os.path.isdir(path) else (found.st_size, found.st_mtime_ns)
    return found.st_dev, found.st_ino, *changed
