"""Results that are expensive to compute and safe to delete: teachers' starts, tokens, parsed documentation.

The folder is the platform's own cache folder, or ``STATIM_CACHE``. Each kind of content has a sub-folder;
names hold the hash of everything the content depends on, so an entry is never stale, only unused. A cache
that cannot be read or written costs time, not the result.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from statim.errors import BusyError, StorageError
from statim.files import storage_errors

log = logging.getLogger("statim")

KINDS = {
    "starts": "tables distilled from teachers",
    "teachers": "vectors computed by teachers",
    "tokens": "tokenized training pairs",
    "models": "models of indexes in databases",
    "python-docs": "pairs read from Python documentation",
}

_warned: set[Path] = set()


@dataclass(frozen=True)
class CacheEntry:
    """One kind of cached content: how many files it has and their size in bytes."""

    kind: str
    holds: str
    files: int
    bytes: int


def folder(kind: str | None = None) -> Path:
    """The cache folder, or the part of it that holds one kind of content (not created)."""
    root = Path(os.environ.get("STATIM_CACHE") or platformdirs.user_cache_dir("statim", appauthor=False))
    return root / kind if kind else root


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Go on after a failed write to the cache, with one warning a process.

    What another process is writing there is left to it.
    """
    with contextlib.suppress(OSError):  # what refuses it, refuses the file too
        folder().mkdir(0o700, parents=True, exist_ok=True)  # it may hold what private files said
    try:
        with storage_errors(folder()):
            yield
    except BusyError:
        pass
    except StorageError as error:
        if folder() not in _warned:
            _warned.add(folder())
            log.warning("the cache cannot be written, so later runs compute the same again: %s", error)


def info() -> list[CacheEntry]:
    """What the cache holds, one entry a kind."""
    return [CacheEntry(kind, holds, *_counted(folder(kind))) for kind, holds in KINDS.items()]


def _counted(place: Path) -> tuple[int, int]:
    """How many files there are, and their bytes; others may come and go meanwhile."""
    files = total = 0
    for path, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
                files += 1
    return files, total


def clear(kind: str | None = None) -> int:
    """Delete one kind of content, or all; returns the bytes freed. Nothing else in the folder is touched."""
    freed = 0
    for entry in info():
        if kind in (None, entry.kind) and folder(entry.kind).exists():
            with storage_errors(folder(entry.kind)):
                shutil.rmtree(folder(entry.kind))
            freed += entry.bytes
    return freed
