"""Where statim keeps what is dear to compute and cheap to lose: teachers' starts, tokens, parsed documentation.

The folder is the platform's own cache folder, or ``STATIM_CACHE``. Each kind of content has a sub-folder; names hold the
hash of everything the content depends on, so an entry is never stale, only unused.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from statim.files import storage_errors

KINDS = {
    "starts": "tables distilled from teachers",
    "teachers": "vectors computed by teachers",
    "tokens": "tokenized training pairs",
    "models": "models of indexes in databases",
    "python-docs": "pairs read from Python documentation",
}


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


def info() -> list[CacheEntry]:
    """What the cache holds, one entry a kind."""
    entries = []
    for kind, holds in KINDS.items():
        sizes = [file.stat().st_size for file in folder(kind).rglob("*") if file.is_file()]
        entries.append(CacheEntry(kind, holds, len(sizes), sum(sizes)))
    return entries


def clear(kind: str | None = None) -> int:
    """Delete one kind of content, or all; returns the bytes freed. Nothing else in the folder is touched."""
    freed = 0
    for entry in info():
        if kind in (None, entry.kind) and folder(entry.kind).exists():
            with storage_errors(folder(entry.kind)):
                shutil.rmtree(folder(entry.kind))
            freed += entry.bytes
    return freed
