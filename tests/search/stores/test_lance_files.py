"""LanceDB's files: what happens to an index of which some are damaged, and to what no version names."""

import json
import logging
import shutil

import pytest
from store_places import Place, model_of, texts_of

from statim.errors import ModelError, StorageError
from statim.search.index import Index
from statim.search.stores import lance, lance_connection, lance_files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index of three versions, in which an old one has files of each kind."""
    place = Place("lancedb", tmp_path_factory.mktemp("made") / "index", None)
    index = place.build(model_of(0), texts_of(20))
    index.delete(["3"])
    index.add(["w07 w08"], ids=["new"])
    return place.path


@pytest.fixture
def path(made, tmp_path):
    return shutil.copytree(made, tmp_path / "index")


def said(path):
    return json.loads((path / "index.json").read_text())


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def of_version(path, number):
    """The files of the table that a version has written."""
    new = next(found for found in said(path)["versions"] if found["version"] == number).get("new", [])
    return [path / name for name in new if name.startswith("documents.lance")]


DAMAGES = {
    "flipped": flip,
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "text": lambda file: file.write_bytes(b"a text\n"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_last_whole_version_is_opened_with_a_warning(path, damage, caplog):
    expected = [Index.load(path, version=number).search("w01 w02", 30) for number in (1, 2, 3)]
    files = of_version(path, 3)
    assert {file.parent.name for file in files} == {"data", "_versions"}
    for file in files:
        whole = file.read_bytes()
        DAMAGES[damage](file)
        caplog.clear()
        index = Index.load(path)
        assert index.search("w01 w02", 30) == expected[1] != expected[2]
        (warning,) = caplog.records
        assert warning.levelno == logging.WARNING
        assert str(file) in warning.message
        assert "so version 2 of" in warning.message
        with pytest.raises(ModelError, match=file.name):
            Index.load(path, version=3)
        file.write_bytes(whole)


def test_a_change_goes_on_from_the_last_whole_version(path, caplog):
    for file in of_version(path, 3):
        file.write_bytes(b"")
    index = Index.load(path)
    assert len(index) == 19
    index.add(["w09 w09"], ids=["later"])
    caplog.clear()
    again = Index.load(path)
    assert not caplog.records
    assert len(again) == 20
    assert again.search("w09", 1)[0].id == "later"
    assert [found["version"] for found in said(path)["versions"]] == [1, 2, 3]
    assert not [file for file in path.rglob("*") if file.is_file() and file.stat().st_size == 0]


def test_versions_are_whole_whatever_later_ones_wrote(path, caplog):
    """The file of the newest version is read first by LanceDB itself, whichever is asked for."""
    for file in (path / "documents.lance" / "_versions").glob("*.manifest"):
        if file not in of_version(path, 2):
            file.write_bytes(b"")
    assert len(Index.load(path, version=2)) == 19
    assert len(Index.load(path)) == 19


def test_a_damaged_newest_version_is_not_read_by_lancedb(path, monkeypatch):
    """Of some damage it would write a report of its own to the standard error."""
    (newest,) = [file for file in of_version(path, 3) if file.suffix == ".manifest"]
    content = bytearray(newest.read_bytes())
    content[100] ^= 4
    newest.write_bytes(content)
    connect, asked = lance_connection.connect, []
    monkeypatch.setattr(lance_connection, "connect", lambda place: asked.append(place) or connect(place))
    assert len(Index.load(path)) == 19
    assert asked
    assert path not in asked


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_what_all_versions_need_names_the_file(path, damage):
    later = {file for number in (2, 3) for file in of_version(path, number)}
    needed = [
        path / name for name in said(path)["stamps"] if path / name not in later and "/_versions/" not in name
    ]
    assert {file.relative_to(path).parts[0] for file in needed} == {"documents.lance", "words", "model"}
    for file in needed:
        whole = file.read_bytes()
        DAMAGES[damage](file)
        with pytest.raises(ModelError, match=rf"{file}.*; build the index again$"):
            Index.load(path)
        file.write_bytes(whole)
    assert len(Index.load(path)) == 20


def test_sizes_are_compared_before_lancedb_reads_a_file(path, monkeypatch):
    (data,) = [file for file in of_version(path, 1) or (path / "documents.lance" / "data").iterdir()
               if file not in of_version(path, 3)]  # fmt: skip
    data.write_bytes(data.read_bytes()[:-1])
    monkeypatch.setattr(lance_connection, "connect", None)
    for level in ("size", "always"):
        with pytest.raises(ModelError, match="bytes, not the"):
            lance.Lance(path, verify=level)


def test_a_manifest_of_earlier_versions_has_sizes_only(path):
    manifest = said(path)
    stamps = manifest.pop("stamps")
    manifest.pop("digest")
    root = f"{lance_files.ROOT}/"
    manifest["files"] = {
        name.removeprefix(root): stamp["size"]
        for name, stamp in stamps.items()
        if name.startswith(root) and "/_versions/" not in name
    }
    for version in manifest["versions"]:
        version.pop("new", None)
    (path / "index.json").write_text(json.dumps(manifest))
    index = Index.load(path)
    index.add(["w01"], ids=["later"])
    assert len(Index.load(path)) == 21
    now = said(path)
    assert "files" not in now
    assert all(
        stamp["size"] == stamps[name]["size"] for name, stamp in now["stamps"].items() if name in stamps
    )
    first = next(name for name in sorted(stamps) if name.startswith(f"{root}data/"))
    (path / first).write_bytes(b"")
    with pytest.raises(ModelError, match="has 0 bytes"):
        Index.load(path, version=1)


def test_what_no_version_names_is_removed_by_the_next_change(path, monkeypatch):
    before = {file for file in path.rglob("*") if file.is_file()}

    def refused(*_):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(lance, "write_json", refused)
        with pytest.raises(StorageError):
            Index.load(path).add(["w01 w03"], ids=["lost"])
    left = {file for file in path.rglob("*") if file.is_file()} - before
    assert {file.parent.name for file in left} == {"data", "_versions", "_transactions", "words"}
    assert len(Index.load(path)) == 20
    index = Index.load(path)
    index.add(["w01 w04"], ids=["kept"])
    assert not [file for file in left if file.parent.name == "data" and file.exists()]
    assert len(Index.load(path)) == 21
    assert {hit.id for hit in index.search("w04", 30, mode="bm25")} >= {"kept"}
    assert "lost" not in {hit.id for hit in index.search("w03", 30)}


@pytest.mark.parametrize("change", ["add", "delete", "compact"])
def test_a_version_that_cannot_be_read_back_is_not_named(path, change, monkeypatch):
    """As when LanceDB goes on after a write that failed: the end of what it wrote last is missing."""
    before = (path / "index.json").read_bytes()
    index, count = Index.load(path), lance_files.there

    def truncated(place):
        found = count(place)
        if hasattr(index._store, "_before"):
            for name in found - index._store._before:
                if "/_versions/" not in name and name.startswith("documents.lance"):
                    content = (place / name).read_bytes()
                    (place / name).write_bytes(content[: len(content) // 2])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(lance_files, "there", truncated)
        with pytest.raises(StorageError, match=r"cannot be read back \(.*check the disk, then try again$"):
            {"add": lambda: index.add(["w05"], ids=["x"]), "delete": lambda: index.delete("5"),
             "compact": index.compact}[change]()  # fmt: skip
    assert (path / "index.json").read_bytes() == before
    assert len(Index.load(path)) == len(index) == 20
    index.add(["w05"], ids=["x"])
    assert len(Index.load(path)) == 21


def test_words_with_a_gap_are_told(path):
    manifest = said(path)
    (path / "words" / "0-20.safetensors").unlink()
    del manifest["stamps"]["words/0-20.safetensors"], manifest["digest"]
    (path / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="words are missing; build the index again"):
        Index.load(path)
