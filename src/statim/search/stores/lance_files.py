"""The files of an index in LanceDB: on the disk before a version is named, checked when one is opened.

``stamps`` in ``index.json`` has the size and digest of the files that a search reads, and ``new`` of each
version the files that it added. So a version does not depend on what later ones have written.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from statim.digests import Verify, files_in, stamp, verify
from statim.errors import ModelError
from statim.files import storage_errors, sync_directory, sync_file
from statim.search.stores.lance_connection import TABLE, VERSIONS, versions
from statim.search.stores.protocol import MANIFEST, REMEDY, check_inside, check_no_link, read_manifest

ROOT = f"{TABLE}.lance"
READ = ("data", "_deletions", "_indices", VERSIONS)  # the table's folders of files that are written once

Manifest = Mapping[str, Any]


def there(path: Path) -> set[str]:
    """The files of the table, the words and the model, by their names in the index's folder."""
    found = (file for part in (ROOT, "words", "model") for file in files_in(path / part))
    return {file.relative_to(path).as_posix() for file in found}


def sync(path: Path, names: Iterable[str]) -> None:
    """Bring files and the folders that name them to the disk."""
    folders: set[Path] = set()
    for name in names:
        sync_file(path / name)
        folders.update(path / parent for parent in Path(name).parents)
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        sync_directory(folder)


def stamps(path: Path, names: Iterable[str], before: Manifest) -> dict[str, Any]:
    """Size and digest of the files a search reads; unchanged files keep those in ``before``."""
    return {name: before.get(name) or stamp(path / name) for name in sorted(names) if _is_read(name)}


def _is_read(name: str) -> bool:
    root, part, *_ = name.split("/")
    if root == ROOT:
        return part in READ and not name.endswith(
            ".json"
        )  # a hint of the newest version, which comes and goes
    return not name.rsplit("/", 1)[-1].startswith(".")


def said(manifest: Manifest, where: Path) -> dict[str, Any]:
    """What a manifest says of the files; those of earlier versions of statim knew the table's sizes only.

    Raises:
        ModelError: It is damaged.
    """
    found, sizes = manifest.get("stamps"), manifest.get("files", {})
    if found is None and isinstance(sizes, dict):
        found = {f"{ROOT}/{name}": {"size": size} for name, size in sizes.items()}
    if not isinstance(found, dict):
        raise ModelError(f"{where} is damaged at stamps or files; {REMEDY}")
    return found


def kept(path: Path, manifest: Manifest) -> dict[str, Any]:
    """What a manifest says of the files that must be there, or still are.

    A file of the table that is missing may have been of older versions; LanceDB says so where it needs it.
    Words are merged, which removes files; a gap between them is found when they are read.

    Raises:
        ModelError: It is damaged.
    """
    found = said(manifest, path / MANIFEST)
    return {
        name: value for name, value in found.items() if name.startswith("model/") or (path / name).exists()
    }


def check(path: Path, manifest: Manifest, version: Manifest, level: Verify | None) -> None:
    """Refuse a version of which files are not as they were written, before LanceDB reads them.

    Raises:
        ModelError: One is not whole, or a symbolic link; the message names it.
    """
    check_no_link(path / ROOT)
    for folder, folders, names in os.walk(path / ROOT):
        for name in (*folders, *names):
            check_no_link(Path(folder, name))
    check_inside(path, said(manifest, path / MANIFEST))
    later = (other for other in manifest["versions"] if other["version"] > version["version"])
    unneeded = {name for other in later for name in _new(other) if _in_table(name)}
    unneeded |= {
        file.relative_to(path).as_posix() for number, file in versions(path) if number != version["lance"]
    }
    asked = {name: value for name, value in kept(path, manifest).items() if name not in unneeded}
    verify(path, asked, level, REMEDY)


def newest_is_torn(path: Path, manifest: Manifest) -> bool:
    """Is the file of the newest version damaged, which LanceDB would read first, and may not survive?"""
    _, file = max(versions(path), default=(0, None))
    known = None if file is None else said(manifest, path).get(file.relative_to(path).as_posix())
    if file is None or not isinstance(known, dict) or "digest" not in known:
        return False
    with contextlib.suppress(ModelError):
        return stamp(file) != known
    return True


def replaced(path: Path, manifest: Manifest, version: Manifest) -> str | None:
    """What became of a version since its manifest was read, for a message; None where it is still there."""
    try:
        now = read_manifest(path)
    except ModelError:
        return None
    if now.get("generation") != manifest.get("generation"):
        return "was built again"
    numbers = [other.get("version") for other in now.get("versions", ())]
    return None if version["version"] in numbers else "was compacted, which removed the version that is open,"


def _new(version: Manifest) -> list[str]:
    found = version.get("new", [])
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _in_table(name: str) -> bool:
    return name.startswith(f"{ROOT}/")


def without_later(manifest: Manifest, version: Manifest) -> dict[str, Any]:
    """A manifest of which ``version`` is the last."""
    kept = [other for other in manifest["versions"] if other["version"] <= version["version"]]
    later = {name for other in manifest["versions"] if other not in kept for name in _new(other)}
    found = {**manifest, "versions": kept, "documents": version["documents"]}
    if "stamps" in manifest:
        found["stamps"] = {
            name: value
            for name, value in manifest["stamps"].items()
            if name not in later or not _in_table(name)
        }
    return found


def take_back(path: Path, manifest: Manifest) -> None:
    """Remove what no named version has written: what changes left that were killed or refused.

    To be called by the only writer.
    """
    with storage_errors(path):
        for number, file in versions(path):
            if number > manifest["versions"][-1]["lance"]:
                file.unlink()
        if "stamps" in manifest:
            for name in there(path) - manifest["stamps"].keys():
                if _in_table(name) and _is_read(name):
                    (path / name).unlink()
