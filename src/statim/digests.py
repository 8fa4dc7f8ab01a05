"""Digests of stored files: they tell a file that was damaged from one that is as it was written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from statim.errors import InputError, ModelError
from statim.files import is_plain_name, read_errors
from statim.partial import MARKER

BLOCK = 1 << 18  # bytes read at a time: fits into a core's own cache
SMALL = 64 << 20  # bytes that are always read to check them, in some ten milliseconds
Verify = Literal["always", "size", "never"]


def digest(path: str | Path) -> str:
    """The XXH3 of a file's bytes, 128 bits in hexadecimal.

    It tells damage, several gigabytes a second; it is no proof against forgery.

    Raises:
        ModelError: The file is missing or cannot be read.
    """
    from xxhash import xxh3_128

    found, block = xxh3_128(), memoryview(bytearray(BLOCK))
    # not mapped: where a disk fails, reading a mapped page ends the process
    with read_errors(path), open(path, "rb", buffering=0) as file:
        while size := file.readinto(block):
            found.update(block[:size])
    return found.hexdigest()


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, sorted by name, without what a writer that was killed or refused has left.

    Raises:
        ModelError: There is a symbolic link, or something that is no file.
    """
    found = []
    for path, folders, names in os.walk(folder, onerror=_refuse):
        for name in [*folders, *names]:
            part = Path(path, name)
            if part.is_symlink() or (name in names and not part.is_file()):
                raise ModelError(
                    f"{part} is a symbolic link or no file, which does not belong there; "
                    "put the file itself in its place"
                )
            if name in names and not name.endswith(MARKER):
                found.append(part)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise ModelError(f"{error.filename} cannot be read: {error.strerror}")


def stamps(folder: Path, known: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Size and digest of every file below a folder, by its name in there: what a manifest holds.

    Those of files that are ``known`` are taken as they are, so that damage since does not go into them.

    Raises:
        ModelError: There is a symbolic link, or a file cannot be read.
    """
    names = {file.relative_to(folder).as_posix(): file for file in files_in(folder)}
    return {name: (known or {}).get(name) or stamp(file) for name, file in names.items()}


def stamp(file: Path) -> dict[str, Any]:
    """Size and digest of a file.

    Raises:
        ModelError: It cannot be read.
    """
    with read_errors(file):
        return {"size": file.stat().st_size, "digest": digest(file)}


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with the digest of its own content, under ``digest``; what stands there is replaced."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return {**rest, "digest": _of_content(rest)}


def check_seal(manifest: Mapping[str, Any], path: Path, remedy: str) -> None:
    """Check a manifest against its own digest; those of older versions have none.

    Raises:
        ModelError: It says something else than was written.
    """
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    if "digest" in manifest and manifest["digest"] != _of_content(rest):
        raise ModelError(
            f'{path} is damaged: it does not say what was written; {remedy}, or take "digest" out of '
            "it to accept a change"
        )


def _of_content(value: Any) -> str:
    from xxhash import xxh3_128_hexdigest

    return xxh3_128_hexdigest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _level(said: Mapping[str, Any], level: Verify | None) -> Verify:
    """How to check files whose manifest says ``said``: as asked, else always if they are small."""
    if level not in (None, *get_args(Verify)):
        raise InputError(f"verify is {level!r}; it must be one of {', '.join(get_args(Verify))}")
    sizes = (stamp.get("size") for stamp in said.values() if isinstance(stamp, Mapping))
    small = sum(size for size in sizes if type(size) is int) <= SMALL
    return level or ("always" if small else "size")


def verify(folder: Path, said: Mapping[str, Any], level: Verify | None, remedy: str) -> None:
    """Check the files of a folder against what a manifest says of them.

    Args:
        folder: Where they lie.
        said: What ``stamps`` gave. Of an entry without a digest, from older versions, only the size is
            checked.
        level: ``always`` reads every byte, ``size`` compares lengths only, ``never`` does nothing;
            None is ``always`` for files that add up to little, else ``size``.
        remedy: How to get a damaged file back, for the message: "build the index again".

    Raises:
        InputError: There is no such level.
        ModelError: A file is missing or has another size or other bytes, or ``said`` is damaged.
    """
    level = _level(said, level)
    for name, stamp in said.items() if level != "never" else ():
        whole = isinstance(stamp, Mapping) and type(stamp.get("size")) is int
        if not whole or type(stamp.get("digest", "")) is not str or not is_plain_name(name):
            raise ModelError(f"what is said of {name[:80]!r} in {folder} is damaged; {remedy}")
        file = folder / name
        with read_errors(file):
            size = file.stat().st_size
        if size != stamp["size"]:
            raise ModelError(
                f"{file} has {size:,} bytes, not the {stamp['size']:,} it was written with; {remedy}"
            )
        if level == "always" and "digest" in stamp and digest(file) != stamp["digest"]:
            raise ModelError(f"{file} is damaged: its bytes are not those that were written; {remedy}")
