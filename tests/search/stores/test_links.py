"""Symbolic links in an index: told, not followed."""

import shutil

import pytest

from statim.errors import ModelError
from statim.search.index import Index


@pytest.fixture
def place(built, tmp_path):
    return shutil.copytree(built, tmp_path / "docs.index")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("words/loop", "."), ("words/loop", ".."), ("model/loop", "."), ("words/secret", "../../secret"),
        ("model/1_Normalize/more", "/"), ("words/broken", "nothing"), ("words/outside", "../.."),
    ],
)  # fmt: skip
def test_a_change_refuses_them_and_leaves_the_index_as_it_was(place, tmp_path, link, target):
    (tmp_path / "secret").write_text("of somebody")
    (place / link).symlink_to(target)
    before, index = sorted(place.rglob("*")), Index.load(place)
    with pytest.raises(
        ModelError, match=rf"^{place / link} is a symbolic link .*; put the file itself in its place$"
    ):
        index.add(["a text"], ids=["new"])
    assert sorted(place.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs.index", "secret"]
    (place / link).unlink()
    index = Index.load(place)
    index.add(["a text"], ids=["new"])
    assert "new" in [hit.id for hit in index.search("a text", 3)]


@pytest.mark.parametrize(
    "link",
    [
        "documents.lance", "documents.lance/data", "documents.lance/_versions/x.manifest",
        "documents.lance/data/more", "words", "model",
    ],
)  # fmt: skip
def test_links_in_lancedb_are_refused(model, tmp_path, link):
    pytest.importorskip("lancedb")
    place = tmp_path / "docs.index"
    index = Index.build(model, ["a text", "another"], place, store="lancedb")
    outside, inside = tmp_path / "outside", place / link
    if inside.exists():
        inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(
        ModelError, match=rf"^{inside} is a symbolic link, .*; put the file itself in its place$"
    ):
        Index.load(place)
    if inside.parent.name != "docs.index" or link == "documents.lance":
        with pytest.raises(ModelError, match="is a symbolic link"):
            index.add(["a third"], ids=["new"])
    inside.unlink()
    if outside.exists():
        outside.rename(inside)
    assert len(Index.load(place)) == 2


def test_an_index_keeps_its_permissions(place):
    for part in place.rglob("*"):
        part.chmod(0o700 if part.is_dir() else 0o600)
    place.chmod(0o700)
    index = Index.load(place)
    index.add(["a text", "another"], ids=["new", "newer"])
    index.delete(["doc-3"])
    assert place.stat().st_mode & 0o777 == 0o700
    files = [part for part in place.rglob("*") if part.is_file()]
    assert (place / "dead.npy") in files
    assert {part.stat().st_mode & 0o777 for part in files} == {0o600}
    assert {part.stat().st_mode & 0o777 for part in place.rglob("*") if part.is_dir()} == {0o700}
