"""Durable writes and bounded reads.

A reader never sees half a file or half a directory: everything is written beside its place, flushed to the disk, and
renamed into it. What a rename replaces is kept until the new one stands.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from statim.errors import InputError, ModelError, StorageError

MARKER = ".statim-partial"
# what an operating system says to a writer, as a person understands it
REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EACCES: "permission denied; choose a place you may write to",
    errno.EPERM: "permission denied; choose a place you may write to",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EEXIST: "a part of this path is a file, not a folder; choose another place",
    errno.ENOENT: "the folder is gone or cannot be made; choose another place",
    errno.EISDIR: "this is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EFBIG: "the file grew over the limit on a file's size; raise the limit or write less",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one sentence about ``path``.

    Raises:
        StorageError: In place of any OSError that says the disk is full, read-only or not permitted.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in REFUSALS or not _concerns(error, path):
            raise
        raise StorageError(f"cannot write {path}: {REFUSALS[error.errno]}") from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether it was ``path`` that was refused, or what lies around it; not, say, a file that was to be copied to it."""
    if not isinstance(error.filename, (str, bytes)):
        return True
    refused, whole = os.path.realpath(os.fsdecode(error.filename)), os.path.realpath(path)
    return whole.startswith(refused) or refused.startswith(os.path.dirname(whole))


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` durable, where the platform lets a folder be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _default_mode(base: int) -> int:
    """The permissions a plain ``open`` or ``mkdir`` would have given (temporary files are private)."""
    mask = os.umask(0)
    os.umask(mask)
    return base & ~mask


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that takes its place at ``path`` only when the block ends well.

    Raises:
        StorageError: The disk is full, read-only, or not permitted. Nothing is left behind.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise StorageError(f"cannot write {path}: this is a folder; name a file")
        path = path.resolve()
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=MARKER)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, _default_mode(0o666))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(path.parent)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def check_output(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse an output directory that could not be written or would destroy something, before any work is done.

    Raises:
        InputError: ``path`` is a file, or a folder with something in it while ``overwrite`` is off.
        StorageError: ``path`` cannot be made.
    """
    path = Path(path)
    with storage_errors(path):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder to write into")
        if path.is_dir() and any(path.iterdir()) and not overwrite:
            raise InputError(
                f"{path} exists and is not empty; choose another place, or allow overwriting (--overwrite)"
            )
        if path.is_dir() and path.samefile(os.curdir):
            raise InputError(f"{path} is the folder you are in, which cannot be replaced; name a new one")
        parent = path.absolute().parent
        while not parent.exists():
            parent = parent.parent
        with tempfile.TemporaryFile(dir=parent):
            pass
    return path


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can (Linux: renameat2); says whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_working_directory, exchange = -100, 2
    names = os.fsencode(a), os.fsencode(b)
    return bool(renameat2(at_working_directory, names[0], at_working_directory, names[1], exchange) == 0)


@contextlib.contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` when the block ends well.

    A folder already at ``path`` is replaced only with ``overwrite`` (an empty one always is) and is whole until the
    instant the new one takes its place. (Where the system cannot swap folders, a kill in between the two renames leaves
    the old one in a hidden folder beside ``path``.)

    Raises:
        InputError: ``path`` is a file, or a folder with something in it while ``overwrite`` is off.
        StorageError: The disk is full, read-only, or not permitted. Nothing is left behind.
    """
    path = check_output(path, overwrite=overwrite).resolve()  # a link stays, what it names is replaced
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=MARKER))
        try:
            yield temporary
            for part in [temporary, *sorted(temporary.rglob("*"))]:
                if part.is_dir():
                    sync_directory(part)
                else:
                    with part.open("r+b") as opened:
                        os.fsync(opened.fileno())
            os.chmod(temporary, _default_mode(0o777))
            if path.exists() and _exchange(temporary, path):
                shutil.rmtree(temporary, ignore_errors=True)
            elif path.exists():
                aside = Path(
                    tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.old.", suffix=MARKER)
                )
                try:
                    os.replace(path, aside / path.name)
                    try:
                        os.replace(temporary, path)
                    except BaseException:
                        os.replace(aside / path.name, path)
                        raise
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
            else:
                os.replace(temporary, path)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, StorageError):
                # whoever reads it knows the folder's name, not the temporary one
                raise StorageError(str(error).replace(str(temporary), str(path))) from None
            raise
        sync_directory(path.parent)


@contextlib.contextmanager
def locked(folder: Path, out: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``, in which ``out`` is being made, where the system can.

    Raises:
        InputError: Another process is in there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is writing {out}; wait for it, or choose another name"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def read_json(path: str | Path, *, limit: int = 64 << 20) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises:
        ModelError: The file is missing, too large, or not JSON.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) <= limit:
            return json.loads(content)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the folder is not a whole model or index") from None
    except (IsADirectoryError, PermissionError, NotADirectoryError) as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not valid JSON ({str(error)[:100]}); restore it or make the folder anew"
        ) from None
    raise ModelError(
        f"{path} has more than the {limit:,} bytes such a file may have; restore it or make the folder anew"
    )


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
