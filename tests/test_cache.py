import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from statim import cache
from statim.errors import InputError, ModelError
from statim.files import atomic_file, read_json, write_json


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(kind: str, name: str, size: int) -> Path:
    path = cache.folder(kind) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_the_variable_moves_it(root):
    assert cache.folder() == root
    assert cache.folder("tokens") == root / "tokens"
    assert not root.exists()


def test_the_platforms_folder(monkeypatch):
    monkeypatch.delenv("STATIM_CACHE")
    assert cache.folder().name == "statim"
    monkeypatch.setenv("STATIM_CACHE", "")
    assert cache.folder().name == "statim"


def test_an_empty_cache(root):
    assert {entry.kind for entry in cache.info()} == set(cache.KINDS)
    assert all(entry.files == entry.bytes == 0 for entry in cache.info())
    assert cache.clear() == 0
    assert not root.exists()


def test_info_counts(root):
    fill("tokens", "a", 10)
    fill("tokens", "deep/b", 20)
    fill("starts", "c", 5)
    found = {entry.kind: (entry.files, entry.bytes) for entry in cache.info()}
    assert found["tokens"] == (2, 30)
    assert found["starts"] == (1, 5)


def test_clear_one_kind():
    kept, gone = fill("starts", "a", 3), fill("tokens", "b", 4)
    assert cache.clear("tokens") == 4
    assert kept.exists()
    assert not gone.exists()


def test_clear_touches_nothing_else(root):
    fill("starts", "a", 3)
    fill("tokens", "b", 4)
    foreign = root / "thesis.txt"
    foreign.write_text("mine")
    assert cache.clear() == 7
    assert [path.name for path in root.iterdir()] == ["thesis.txt"]
    assert foreign.read_text() == "mine"


@contextlib.contextmanager
def failing(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that fails whenever something below ``place`` is to reach it."""
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(place)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        yield


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors have no names here")
def test_a_failing_cache_is_one_warning(root, caplog, monkeypatch):
    with failing(root, monkeypatch):
        for name in "ab":
            with cache.writing():
                write_json(cache.folder("teachers") / name, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(
        "the cache cannot be written, so later runs compute the same again: cannot"
    )
    assert "input/output error" in caplog.messages[0]
    assert list((root / "teachers").iterdir()) == []
    with cache.writing():
        write_json(cache.folder("teachers") / "c", 1)
    assert read_json(root / "teachers" / "c") == 1


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_cache_that_cannot_be(tmp_path, monkeypatch, caplog, kind):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "file" / ("deep" if kind != "file" else "")))
    with cache.writing():
        write_json(cache.folder("teachers") / "a", 1)
    assert len(caplog.records) == 1
    assert all(entry.files == 0 for entry in cache.info())


def test_what_another_process_caches_is_left_to_it(root, caplog):
    pytest.importorskip("fcntl")
    path = cache.folder("teachers") / "a"
    with atomic_file(path) as file:
        file.write(b"1")
        with cache.writing():
            write_json(path, 2)
    assert read_json(path) == 1
    assert caplog.records == []


def test_errors_of_others_are_not_hidden():
    for error in (RuntimeError("ours"), ModelError("ours"), InputError("ours")):
        with pytest.raises(type(error), match="ours"), cache.writing():
            raise error


def test_it_is_private_and_keeps_what_a_person_made_public(root):
    with cache.writing():
        write_json(cache.folder("teachers") / "a", 1)
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o755)
    with cache.writing():
        write_json(cache.folder("teachers") / "a", 2)
    assert root.stat().st_mode & 0o777 == 0o755
