from pathlib import Path

import pytest

from statim import cache


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
