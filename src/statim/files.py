"""Durable writes and bounded reads.

A reader never sees half a file or half a directory: everything is written beside its place, flushed to the
disk, and renamed into it. What a rename replaces is kept until the new one stands, and so are its
permissions.
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

from statim import addresses
from statim.errors import BusyError, InputError, ModelError, StorageError
from statim.partial import MARKER, alone, beside, kept_mode, plain_mode, release, set_mode, take_modes
from statim.strict_json import loads

_FAILED = "the disk or the connection to it failed; check it, then try again or choose another place"
# what an operating system says to a writer, as a person understands it
REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EACCES: "permission denied; choose a place you may write to",
    errno.EPERM: "permission denied; choose a place you may write to",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EEXIST: "a part of this path is a file, not a folder; choose another place",
    errno.ENOTEMPTY: "something was put there meanwhile; choose another place, or --overwrite",
    errno.ENOENT: "the folder is gone or cannot be made; choose another place",
    errno.EISDIR: "this is a folder; name a file",
    errno.ELOOP: "the path is a loop of symbolic links; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EFBIG: "the file grew over the limit on a file's size; raise the limit or write less",
    errno.EMFILE: "too many files are open; close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close some",
    errno.ENOMEM: "there is not enough memory; write less, or use a machine with more",
    errno.EBUSY: "another program uses it; close that, or choose another place",
    errno.ETXTBSY: "another program uses it; close that, or choose another place",
    errno.EIO: f"input/output error: {_FAILED}",
    errno.ENXIO: f"no such device: {_FAILED}",
    errno.ENODEV: f"no such device: {_FAILED}",
    errno.ESTALE: f"stale file handle: {_FAILED}",
    errno.ENOLINK: f"the link was severed: {_FAILED}",
    errno.ETIMEDOUT: f"it timed out: {_FAILED}",
    errno.EHOSTDOWN: f"the host is down: {_FAILED}",
}

# a folder that the system or the file system does not let be flushed
UNFLUSHED = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one sentence about ``path``.

    Errors about other files pass, and those of connections.

    Raises:
        StorageError: In place of an OSError: the disk is full, read-only, not permitted, broken ...
    """
    try:
        yield
    except (StorageError, ConnectionError):
        raise
    except OSError as error:
        # without a number, only a plain OSError is about storage (Arrow's); the hub's are subclasses
        if not (error.errno or type(error) is OSError) or not _concerns(error, path):
            raise
        raise StorageError(f"cannot write {path}: {refusal(error)}") from error


def refusal(error: OSError) -> str:
    """What the operating system said, as a person understands it."""
    said = error.strerror or " ".join(str(error).split())[:160] or type(error).__name__
    return REFUSALS.get(error.errno or 0, said[0].lower() + said[1:])


def _concerns(error: OSError, path: Path) -> bool:
    """Whether ``path`` was refused, or what lies around it; not, say, a file that was to be copied to it."""
    if not isinstance(error.filename, (str, bytes)):
        return True
    refused, whole = os.path.realpath(os.fsdecode(error.filename)), os.path.realpath(path)
    around = _within(whole, refused) or _within(refused, whole)
    return around or refused.startswith(f"{whole}.") or MARKER in refused


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def sync_file(path: Path) -> None:
    """Bring a file to the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` durable, where the platform lets a folder be flushed."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in UNFLUSHED:
            raise


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that takes its place at ``path`` only when the block ends well.

    Until then only its owner can read it. It takes the permissions of a file that it replaces; a new one has
    those of any other.

    Raises:
        BusyError: Another process or thread is writing ``path``.
        StorageError: The disk is full, read-only, not permitted, or failing. Nothing is left behind.
    """
    addresses.refuse(path, "the output")
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise StorageError(f"cannot write {path}: this is a folder; name a file")
        if path.exists() and not path.is_file():
            raise StorageError(f"cannot write {path}: this is a device or a pipe; name a file")
        path = path.resolve()  # a link stays, what it names is replaced
        with alone(path, wait=False):
            plain, temporary = plain_mode(path, folder=False), beside(path)
            try:
                with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    yield file
                    set_mode(temporary, kept_mode(path, plain) & 0o777)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            sync_directory(path.parent)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Names of files that are not UTF-8 hold lone surrogates; they are written as JSON's escapes, and read back
    as they were.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def is_plain_name(name: str) -> bool:
    """Whether a name from a manifest or a table is that of a file below a folder, on every system."""
    parts = name.split("/")
    inside = all(part not in ("", ".", "..") for part in parts)
    return inside and len(name) <= 200 and name.isprintable() and not set(name) & set("\\:")


def check_output(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse an output directory that is not writable or would destroy something, before any work.

    Raises:
        InputError: ``path`` is a file, the address of a database, or a folder with something in it while
            ``overwrite`` is off.
        StorageError: ``path`` cannot be made.
    """
    addresses.refuse(path, "the output")
    path = Path(path)
    with storage_errors(path):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder to write into")
        if path.is_dir() and any(path.iterdir()) and not overwrite:
            raise InputError(
                f"{path} exists and is not empty; choose another place, or allow overwriting (--overwrite)"
            )
        if path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
            raise InputError(f"{path} is the folder you are in, which cannot be replaced; name a new one")
        parent = path.absolute().parent
        while not parent.exists():
            parent = parent.parent
        try:
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            raise StorageError(f"cannot write {path}: {refusal(error)}") from error
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
def atomic_directory(path: str | Path, *, overwrite: bool = False, wait: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` when the block ends well.

    A folder already at ``path`` is replaced only with ``overwrite`` (an empty one always is) and is whole
    until the instant the new one takes its place. (Where the system cannot swap folders, a kill in between
    the two renames leaves the old one in a hidden folder beside ``path``.) The new one takes its permissions,
    and its files those of the files of the same names; other files take the permissions that most of the old
    ones have. Until then only its owner can read it.

    Args:
        path: The folder.
        overwrite: Replace what is there.
        wait: Wait for another process or thread that is writing ``path``.

    Raises:
        BusyError: Another process or thread is writing ``path``, and ``wait`` is off.
        InputError: ``path`` is a file, or a folder with something in it while ``overwrite`` is off.
        StorageError: The disk is full, read-only, not permitted, or failing. Nothing is left behind.
    """
    path = check_output(path, overwrite=overwrite).resolve()  # a link stays, what it names is replaced
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path, wait=wait):
            check_output(path, overwrite=overwrite)  # it may have come while this one waited
            plain, temporary = plain_mode(path, folder=True), beside(path)
            temporary.mkdir(0o700)
            try:
                yield temporary
                for left in list(temporary.rglob(f".*{MARKER}")):
                    left.unlink()  # the lock of a file in there that could not be removed
                take_modes(temporary, path)
                for part in [*temporary.rglob("*"), temporary]:
                    sync_directory(part) if part.is_dir() else sync_file(part)
                set_mode(temporary, kept_mode(path, plain))
                _put(temporary, path, overwrite)
            except BaseException as error:
                shutil.rmtree(temporary, ignore_errors=True)
                if isinstance(error, StorageError):
                    # a reader knows the folder's name, not the temporary one
                    raise StorageError(str(error).replace(str(temporary), str(path))) from None
                raise


def _put(new: Path, path: Path, overwrite: bool) -> None:
    """Move a folder into its place durably; what is there is removed after the new one is on disk."""
    if not path.exists():
        os.replace(new, path)
        sync_directory(path.parent)
    elif not overwrite:
        path.rmdir()  # nothing is lost: it is empty, or refuses
        os.replace(new, path)
        sync_directory(path.parent)
    elif _exchange(new, path):
        sync_directory(path.parent)
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = beside(path)
        aside.mkdir(0o700)
        try:
            os.replace(path, aside / path.name)
            try:
                os.replace(new, path)
            except BaseException:
                os.replace(aside / path.name, path)
                raise
            sync_directory(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, out: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``, in which ``out`` is being made, where the system can.

    Raises:
        BusyError: Another process is in there, or has just replaced it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with storage_errors(out):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another process is writing {out}; wait for it, or choose another name"
            ) from None
        except OSError:
            pass  # a file system without locks
        if not folder.exists() or not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise BusyError(f"another process has just written {out}; try again")
        yield
    finally:
        release(descriptor)


@contextlib.contextmanager
def read_errors(path: str | Path) -> Iterator[None]:
    """Turn what the operating system says about a file that is read, or one in a folder, into one sentence.

    Raises:
        ModelError: In place of any OSError.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        file = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
        if isinstance(error, FileNotFoundError):
            raise ModelError(f"{file} is missing; the folder is not a whole model or index") from None
        raise ModelError(f"{file} cannot be read: {error.strerror or error}") from None


def read_json(path: str | Path, *, limit: int = 64 << 20) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises:
        ModelError: The file is missing, too large, or not JSON.
    """
    path = Path(path)
    with read_errors(path), path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ModelError(
            f"{path} has more than the {limit:,} bytes such a file may have; restore it or make the "
            "folder again"
        )
    try:
        return loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not valid JSON ({str(error)[:100]}); restore it or make the folder again"
        ) from None


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal: what a model is known by.

    Raises:
        ModelError: The file is missing or cannot be read.
    """
    with read_errors(path), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
