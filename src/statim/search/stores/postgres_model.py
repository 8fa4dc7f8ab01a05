"""The model of an index in a database: its files in rows, and back into a folder.

Somebody else may write to the tables. So names stay inside of the folder, sizes have limits, and a copy is
used only if its hash is the manifest's. The hash is that of the table and the tokenizer; a folder in the
cache is named after the content of the other files too, so no database decides how the model of another one
reads its settings.
"""

import contextlib
import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from statim.errors import ModelError
from statim.files import is_plain_name
from statim.search.stores.postgres_server import Names
from statim.search.stores.protocol import HASH, model_hash

PART = 16 << 20  # bytes of a file in one row
FILES = 100
LARGEST = 16 << 30  # bytes of all files
HASHED = ["model/model.safetensors", "model/tokenizer.json"]

Rows = Generator[tuple[Any, ...], None, None]
Parts = Callable[[str, Sequence[Any]], Rows]  # the parts of files that satisfy a condition


def write(connection: Any, names: Names, folder: Path) -> None:
    """Write the files of a model into rows."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            part = 0
            while (content := file.read(PART)) or part == 0:
                values = [f"model/{path.relative_to(folder).as_posix()}", part, content]
                connection.execute(names.fill("INSERT INTO {parts} VALUES (%s, %s, %s)"), values)
                part += 1


def key(parts: Parts, manifest: Mapping[str, Any], place: str) -> str:
    """The name of a folder for a model, 64 hexadecimal digits, after all that decides what it does.

    Raises:
        ModelError: The manifest or the table is damaged.
    """
    if not HASH.fullmatch(manifest["model_hash"]):
        raise ModelError(f"{place} is damaged at model_hash, which is no SHA-256; build the index again")
    found = hashlib.sha256(manifest["model_hash"].encode())
    with contextlib.closing(_checked(parts("NOT name = ANY(%s)", [HASHED]), PART, place)) as files:
        for name, content in files:
            found.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return found.hexdigest()


def copy(parts: Parts, folder: Path, manifest: Mapping[str, Any], place: str) -> None:
    """Write the files of a model into a folder.

    Raises:
        ModelError: The table is damaged, or the model is not the one that made the vectors.
    """
    with contextlib.closing(_checked(parts("true", []), LARGEST, place)) as files:
        for name, content in files:
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(content)
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                raise _damaged(place, f"the model has {name!r} as a file and as a folder") from None
    if model_hash(folder) != manifest["model_hash"]:
        raise ModelError(
            f"{place}: the model is not the one that made the vectors (its rows were changed); build "
            "the index again"
        )


def _checked(found: Rows, largest: int, place: str) -> Generator[tuple[str, bytes], None, None]:
    """Names of files, and parts of their content, within limits."""
    names: set[str] = set()
    total = 0
    with contextlib.closing(found) as rows:
        for stored, content in rows:
            name = stored.removeprefix("model/")
            if not is_plain_name(name):
                raise _damaged(place, f"the model has a file {name[:80]!r}")
            names.add(name)
            total += len(content or b"")
            if content is None or total > largest or len(names) > FILES:
                raise _damaged(place, f"the model is larger than a model can be, at its file {name!r}")
            yield name, content


def _damaged(place: str, why: str) -> ModelError:
    return ModelError(f"{place} is damaged: {why}; build the index again")
