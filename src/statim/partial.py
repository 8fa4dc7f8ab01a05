"""What lies beside an output while it is written: names, permissions, a lock, and what dead writers left.

While ``NAME`` is written, two hidden files lie beside it (``H`` is a hash of the whole name):

    .NAME.H.lock.statim-partial     held by its one writer; a second one is told, or waits
    .NAME.H.RANDOM.statim-partial   what will become NAME, for its owner alone to read

The system takes the lock from a process that dies. The next writer of the same name removes what it left.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from statim.errors import BusyError

MARKER = ".statim-partial"
LOCK = "lock"
# seconds without a change after which a partial file is nobody's, where locks cannot tell
FORGOTTEN = 24 * 3600.0


def beside(path: Path, what: str = "") -> Path:
    """A hidden name beside ``path`` that no other file's has, unguessable unless it is for one thing."""
    mark = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".{path.name[:40]}.{mark}.{what or os.urandom(8).hex()}{MARKER}")


@contextlib.contextmanager
def alone(path: Path, *, wait: bool) -> Iterator[None]:
    """Be the only writer of ``path``, as far as the system has locks, and remove what dead ones left.

    Raises:
        BusyError: Another process or thread is writing it, and this one is not to wait.
    """
    lock = beside(path, LOCK)
    descriptor = _lock(lock, path, wait=wait)
    try:
        _sweep(path, 0.0 if descriptor is not None else FORGOTTEN)
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(lock)  # before it is released: a process that waits for it sees that it is gone
            release(descriptor)


def _lock(lock: Path, path: Path, *, wait: bool) -> int | None:
    """The descriptor of the lock, held; None where locks are not to be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None  # what refuses it will refuse the file itself, or it is another person's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                return descriptor
        except FileNotFoundError:
            pass  # its owner has just finished
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(
                f"another process is writing {path}; wait for it, or choose another name"
            ) from None
        except OSError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def release(descriptor: int) -> None:
    """Let a lock go, which a forked process would hold on to otherwise, and close it."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _sweep(path: Path, age: float) -> None:
    """Remove the partial files and folders of ``path`` that have not changed for ``age`` seconds."""
    lock = beside(path, LOCK).name
    stem = lock.removesuffix(LOCK + MARKER)
    with contextlib.suppress(OSError):
        names = os.listdir(path.parent)
        for found in (path.parent / name for name in names if name.startswith(stem) and name != lock):
            if (not age or time.time() - _changed(found) >= age) and not _last_copy(found, path):
                shutil.rmtree(found, ignore_errors=True) if found.is_dir() else found.unlink()
        for name in names if not age else ():
            if name.endswith(f".{LOCK}{MARKER}") and name != lock:
                _sweep_lock(path.parent / name)


def _sweep_lock(lock: Path) -> None:
    """Remove the lock of another name that its owner could not remove, if it is old and nobody holds it."""
    found = lock.lstat()
    old = (
        time.time() - found.st_mtime >= FORGOTTEN
    )  # one that was just made must not look as if somebody held it
    if not old or not stat.S_ISREG(found.st_mode) or found.st_size:
        return
    with contextlib.suppress(BusyError):
        descriptor = _lock(lock, lock, wait=False)
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(lock)
            release(descriptor)


def _changed(path: Path) -> float:
    """When something in it changed last."""
    return max(part.lstat().st_mtime for part in [path, *path.rglob("*")])


def _last_copy(found: Path, path: Path) -> bool:
    """Whether ``path`` was moved into ``found`` and a kill kept the new one from taking its place."""
    return (found / path.name).exists() and not path.exists()


def plain_mode(path: Path, *, folder: bool) -> int:
    """The permissions that a new file or folder at ``path`` would get, read from one.

    The process's mask cannot be read without changing it for other threads.
    """
    probe = beside(path)
    if folder:
        probe.mkdir()
    else:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.rmdir() if folder else probe.unlink()


def set_mode(path: Path, mode: int) -> None:
    """Set permissions, unless they are as they should be: a file system that has none refuses."""
    if stat.S_IMODE(path.stat().st_mode) != mode:
        os.chmod(path, mode)


def kept_mode(path: Path, plain: int) -> int:
    """The permissions of what is there; ``plain`` if nothing is."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return plain


def take_modes(new: Path, old: Path) -> None:
    """Give files in ``new`` the permissions of the same names in ``old``, others the most common ones."""
    modes = {part.relative_to(old): part.stat().st_mode for part in old.rglob("*") if not part.is_symlink()}
    files = Counter(stat.S_IMODE(mode) for mode in modes.values() if stat.S_ISREG(mode))
    usual = max(files, key=lambda mode: (files[mode], -mode), default=None)
    for part in new.rglob("*"):
        mode = modes.get(part.relative_to(new))
        if mode is not None and stat.S_IFMT(mode) == stat.S_IFMT(part.stat().st_mode):
            set_mode(part, stat.S_IMODE(mode))
        elif part.is_file() and usual is not None:
            set_mode(part, usual)
