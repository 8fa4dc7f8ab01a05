"""Folders and files, on this machine or in an object store, by their addresses.

An address is a path, or what ``pyarrow.fs`` or fsspec understand: ``s3://bucket/folder``, ``gs://…``,
``memory://…``. A file appears whole or not at all.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pyarrow import fs

from statim import addresses
from statim.errors import BusyError, DataError, DependencyError, InputError, StorageError
from statim.files import atomic_file
from statim.partial import MARKER

PIECE = 8 << 20  # bytes copied at a time
BUSY = 60.0  # seconds to wait for another process


@dataclass(frozen=True)
class Place:
    """A file or folder: the file system, the path in it, and the scheme of its address.

    Attributes:
        files: The file system.
        path: Absolute on this machine, else as the file system has it.
        scheme: ``s3://``, say; empty on this machine.
    """

    files: fs.FileSystem
    path: str
    scheme: str = ""

    @property
    def address(self) -> str:
        """What ``place`` reads."""
        return self.scheme + self.path

    def at(self, path: str) -> "Place":
        """Another path of the same file system."""
        return Place(self.files, path, self.scheme)

    def __truediv__(self, name: str) -> "Place":
        return self.at(f"{self.path.rstrip('/')}/{name}")

    def info(self) -> fs.FileInfo:
        """What is there.

        Raises:
            DataError: The file system refuses.
        """
        with _refusals(self.address):
            return self.files.get_file_info(self.path)

    def list(self, *, recursive: bool = False) -> list[fs.FileInfo]:
        """The files in this folder, by name, without what writers have not finished; none without a folder.

        Raises:
            DataError: The file system refuses.
        """
        with _refusals(self.address):
            chosen = fs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
            found = [info for info in self.files.get_file_info(chosen) if info.type == fs.FileType.File]
        return sorted((info for info in found if not info.path.endswith(MARKER)), key=lambda info: info.path)

    def read(self) -> bytes:
        """The bytes of a small file.

        Raises:
            DataError: It cannot be read.
        """
        with _refusals(self.address), self.files.open_input_stream(self.path) as stream:
            return bytes(stream.read())

    @contextlib.contextmanager
    def local(self, suffixes: str) -> Iterator[Path]:
        """The file on this machine: itself, or a copy with this end of its name while the block lasts.

        Raises:
            DataError: It cannot be read.
        """
        if not self.scheme:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"shard{suffixes}"
            with (
                _refusals(self.address),
                self.files.open_input_stream(self.path) as stream,
                open(copy, "wb") as file,
            ):
                shutil.copyfileobj(stream, file, PIECE)
            yield copy

    @contextlib.contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A file to write that is put in its place when the block ends well.

        Another process may be writing it still, the same bytes, if it has not heard that nobody waits for it.

        Raises:
            BusyError: It is, for a minute.
            StorageError: The place refuses.
        """
        if not self.scheme:
            with _waited_for(self.path) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with _refused_output(self.address):
                self.files.create_dir(self.path.rpartition("/")[0], recursive=True)
                with self.files.open_output_stream(self.path) as stream:
                    shutil.copyfileobj(file, stream, PIECE)

    def clear(self) -> None:
        """Remove what is in a folder.

        Raises:
            StorageError: The place refuses.
        """
        with _refused_output(self.address):
            self.files.delete_dir_contents(self.path)

    def remove(self) -> None:
        """Remove a file or folder, if there is one.

        Raises:
            StorageError: The place refuses.
        """
        kind = self.info().type
        with _refused_output(self.address):
            if kind == fs.FileType.Directory:
                self.files.delete_dir(self.path)
            elif kind == fs.FileType.File:
                self.files.delete_file(self.path)


@contextlib.contextmanager
def _waited_for(path: str) -> Iterator[IO[bytes]]:
    """As ``atomic_file``, once no other process is writing it."""
    until = time.monotonic() + BUSY
    with contextlib.ExitStack() as stack:
        while True:
            try:
                file = stack.enter_context(atomic_file(path))
                break
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield file


def place(given: str | Path) -> Place:
    """The place at an address.

    Raises:
        InputError: No file system has such addresses, or it is that of a database.
        DependencyError: The package for such addresses is not installed.
    """
    addresses.refuse(given, "a folder of shards")
    if not addresses.is_elsewhere(given):
        return Place(fs.LocalFileSystem(), os.path.abspath(given))
    address = str(given)
    scheme = address.partition("://")[0] + "://"
    try:
        files, path = fs.FileSystem.from_uri(address)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        files, path = _by_fsspec(address)
    if isinstance(files, fs.LocalFileSystem):
        return Place(files, os.path.abspath(path))
    return Place(files, path.rstrip("/"), scheme)


def _by_fsspec(address: str) -> tuple[fs.FileSystem, str]:
    try:
        import fsspec
    except ImportError:
        raise DependencyError(
            f'{address} needs the package fsspec; install it with: pip install "statim[scale]"'
        ) from None
    try:
        found, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise DependencyError(f"{address} needs a package that is not installed: {error}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{address} is no address that can be read or written: {error}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


@contextlib.contextmanager
def _refusals(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{address} cannot be read: {_said(error)}") from None


@contextlib.contextmanager
def _refused_output(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot write {address}: {_said(error)}") from None


def _said(error: Any) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:160] or type(error).__name__
