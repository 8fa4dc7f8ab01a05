"""LanceDB itself: opened in one process only, at a version, and its errors as one sentence."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statim.errors import DependencyError, InputError, ModelError, StatimError, StorageError
from statim.files import REFUSALS

TABLE = "documents"
VERSIONS = "_versions"
LAST = (1 << 64) - 1  # LanceDB names the file of version v by this number less v, or by v
_process: int | None = None  # the one that has used LanceDB


def _check_process() -> None:
    """Refuse a process forked from one that used LanceDB, whose threads it lacks: it would hang or die.

    Raises:
        InputError: This is one.
    """
    if _process not in (None, os.getpid()):
        raise InputError(
            "LanceDB cannot be used in a process that was forked after LanceDB was used; start processes "
            "with spawn or forkserver (multiprocessing.get_context('spawn')), or use the index only after "
            "the fork"
        )


def connect(path: Path) -> Any:
    """The database in a folder.

    Raises:
        DependencyError: LanceDB is not installed.
        InputError: The process was forked from one that has used it.
    """
    global _process
    _check_process()
    _process = os.getpid()
    try:
        import lancedb
    except ImportError:
        raise DependencyError(
            'this index needs LanceDB, which is not installed; pip install "statim[stores]"'
        ) from None
    return lancedb.connect(str(path))


@contextlib.contextmanager
def errors(place: str) -> Iterator[None]:
    """LanceDB's errors as one sentence."""
    _check_process()
    try:
        yield
    except (StatimError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _refusal(place, error) from None
    except BaseException as error:  # a panic of Rust is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise _refusal(place, error) from None


def _refusal(place: str, error: BaseException) -> StatimError:
    """LanceDB's error as the operating system's (it tells the number in words), or as damaged files."""
    said = " ".join(str(error).split())
    number = re.search(r"\(os error (\d+)\)", said)
    if number and int(number[1]) != errno.ENOENT:
        refused = REFUSALS.get(int(number[1]), os.strerror(int(number[1])))
        return StorageError(f"cannot read or write {place}: {refused}")
    said = re.sub(r"lance error: |LanceError\(\w+\): ", "", said)
    said, *_ = said.split(", /")  # less its source files' names
    return ModelError(f"{place} is damaged: LanceDB says {said[:160]}; build the index again")


def opened(path: Path, version: int, *, torn: bool = False) -> Any:
    """The table of the database in ``path`` as it was at one of LanceDB's versions.

    LanceDB opens the newest version first, whatever is asked for. Where a power failure has torn that one's
    file, the table is opened by way of a temporary folder, which holds the file of the wanted version and
    links to the others.

    Args:
        path: The folder.
        version: The version.
        torn: The newest version's file is known to be damaged.
    """
    file = next((file for number, file in versions(path) if number == version), None)
    if torn and file is not None:
        return _viewed(file)
    try:
        table = connect(path).open_table(TABLE)
        table.checkout(version)
        return table
    except StatimError:
        raise
    except Exception:
        if file is None:
            raise
        return _viewed(file)


def _viewed(file: Path) -> Any:
    """The table with the version of one file alone."""
    view = tempfile.mkdtemp(prefix="statim-")
    inside = Path(view, f"{TABLE}.lance")
    (inside / VERSIONS).mkdir(parents=True)
    for part in file.parent.parent.iterdir():
        if part.name != VERSIONS:
            (inside / part.name).symlink_to(part.resolve())
    shutil.copyfile(file, inside / VERSIONS / file.name)
    table = connect(Path(view)).open_table(TABLE)
    weakref.finalize(table, shutil.rmtree, view, ignore_errors=True)
    return table


def versions(path: Path) -> Iterator[tuple[int, Path]]:
    """The versions of the table of the database in ``path``, in no order, each with its file."""
    for file in (path / f"{TABLE}.lance" / VERSIONS).glob("*.manifest"):
        if file.stem.isdecimal():
            number = int(file.stem)
            yield (number if number <= LAST // 2 else LAST - number), file
