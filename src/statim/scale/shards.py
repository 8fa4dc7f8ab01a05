"""Shards: the files of folders, patterns and addresses, and what each one's output is called."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pyarrow import fs

from statim.data.files.file_types import COMPRESSIONS, FORMATS
from statim.errors import InputError
from statim.files import is_plain_name
from statim.scale.storage import Place, place

MAGIC = re.compile(r"[*?\[]")
OUTPUT = ".parquet"


class Shard(NamedTuple):
    """A file of texts.

    Attributes:
        name: Of its output, below the output's folder: that of the file, with ``.parquet`` behind it.
        address: Where it is.
        size: Its bytes.
        changed: When it was changed last, in nanoseconds; 0 where the file system does not say.
    """

    name: str
    address: str
    size: int
    changed: int

    @property
    def suffixes(self) -> str:
        """The end of its name that tells how it is read."""
        suffixes = PurePosixPath(self.address).suffixes
        return "".join(
            suffixes[-2:] if suffixes[-1:] and suffixes[-1].lower() in COMPRESSIONS else suffixes[-1:]
        )


def find(sources: Sequence[str | Path]) -> list[Shard]:
    """The shards of files, folders (at any depth), patterns (``data/**/*.jsonl``) and addresses.

    Args:
        sources: Any of these. In a folder, files of other kinds are passed over, and those whose name, or
            whose folder's name, begins with ``.`` or ``_``.

    Returns:
        The shards in the order of the sources, those of each by name.

    Raises:
        InputError: A source matches no file, or two shards would have the same name.
        DataError: A folder cannot be read.
    """
    found = [shard for source in sources for shard in _of(source)]
    names: dict[str, str] = {}
    for shard in found:
        if not is_plain_name(shard.name):
            raise InputError(f"{shard.address} cannot name an output file; rename it")
        if shard.name in names:
            raise InputError(
                f"{names[shard.name]} and {shard.address} would both be written to {shard.name}; give a "
                "folder that holds both, or encode them apart"
            )
        names[shard.name] = shard.address
    return found


def _of(source: str | Path) -> Iterator[Shard]:
    root = place(source)
    kind = root.info().type
    if kind == fs.FileType.File:
        yield from _shards(root.at(root.path.rpartition("/")[0]), [root.info()])
        return
    pattern = None
    if kind == fs.FileType.NotFound and MAGIC.search(root.path):
        fixed = root.path[: MAGIC.search(root.path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        pattern, root = _regex(root.path), root.at(fixed)
    infos = [
        info
        for info in root.list(recursive=True)
        if (pattern.fullmatch(info.path) if pattern else _is_shard(info.path[len(root.path) :]))
    ]
    if not infos:
        raise InputError(
            f"{source} matches no file; give files, folders that hold {', '.join(FORMATS)}, or another "
            "pattern"
        )
    yield from _shards(root, infos)


def _shards(root: Place, infos: Iterable[Any]) -> Iterator[Shard]:
    for info in infos:
        name = info.path[len(root.path) :].lstrip("/")
        changed = 0 if info.mtime_ns is None else int(info.mtime_ns)
        name = name if name.endswith(OUTPUT) else name + OUTPUT
        yield Shard(name, root.at(info.path).address, info.size, changed)


def _is_shard(path: str) -> bool:
    parts = PurePosixPath(path.lstrip("/"))
    suffixes = [suffix.lower() for suffix in parts.suffixes[-2:]]
    plain = suffixes[:-1] if suffixes and suffixes[-1] in COMPRESSIONS else suffixes
    return bool(plain) and plain[-1] in FORMATS and not any(part[0] in "._" for part in parts.parts)


def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern of the shell as a regular expression: ``**/`` is any number of folders."""
    kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    made = (
        kinds.get(part)
        or (part.replace("[!", "[^", 1) if part[:1] == "[" and part[-1:] == "]" else re.escape(part))
        for part in parts
    )
    return re.compile("".join(made), re.DOTALL)
