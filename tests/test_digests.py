import os
from pathlib import Path

import pytest

from statim.digests import BLOCK, digest, files_in, stamps, verify
from statim.errors import InputError, ModelError

REMEDY = "build it again"


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "model"
    (place / "deep").mkdir(parents=True)
    for name, size in {"a": 0, "b": 1, "deep/c": BLOCK, "deep/d": 3 * BLOCK + 7}.items():
        (place / name).write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    return place


def test_known_digests(tmp_path):
    """As the reference implementation gives them: those of no bytes, and of what it reads block by block."""
    (tmp_path / "empty").write_bytes(b"")
    assert digest(tmp_path / "empty") == "99aa06d3014798d86001c324468d497f"
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == "06b05ab6733a618578af5f94892f3950"


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_make_no_difference(tmp_path, size):
    from xxhash import xxh3_128_hexdigest

    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    assert digest(tmp_path / "a") == xxh3_128_hexdigest(content)


@pytest.mark.parametrize("level", ["always", "size", "never"])
def test_what_was_written_passes(folder, level):
    said = stamps(folder)
    assert list(said) == ["a", "b", "deep/c", "deep/d"]
    verify(folder, said, level, REMEDY)


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 3 * BLOCK + 6])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_named(folder, place, bit):
    said, path = stamps(folder), folder / "deep" / "d"
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"^{path} is damaged: .*; {REMEDY}$"):
        verify(folder, said, "always", REMEDY)
    verify(folder, said, "size", REMEDY)
    verify(folder, said, "never", REMEDY)


@pytest.mark.parametrize("level", ["always", "size"])
def test_missing_longer_and_shorter_files_are_named(folder, level):
    said, path = stamps(folder), folder / "b"
    for content in (b"", b"xx"):
        path.write_bytes(content)
        with pytest.raises(
            ModelError, match=rf"^{path} has {len(content)} bytes, not the 1 it was .*; {REMEDY}$"
        ):
            verify(folder, said, level, REMEDY)
    path.unlink()
    with pytest.raises(ModelError, match=f"^{path} is missing"):
        verify(folder, said, level, REMEDY)
    verify(folder, said, "never", REMEDY)


def test_older_manifests_have_no_digests(folder):
    said = {name: {"size": stamp["size"]} for name, stamp in stamps(folder).items()}
    verify(folder, said, "always", REMEDY)
    (folder / "b").write_bytes(b"")
    with pytest.raises(ModelError, match="has 0 bytes"):
        verify(folder, said, "always", REMEDY)


@pytest.mark.parametrize(
    "said",
    [
        {"a": None}, {"a": 0}, {"a": {}}, {"a": {"size": "0"}}, {"a": {"size": True}},
        {"a": {"size": 0, "digest": 7}},
        {"../model/a": {"size": 0}}, {"/etc/hostname": {"size": 0}}, {"deep/../../x": {"size": 0}},
        {"": {"size": 0}},
        {"a\0": {"size": 0}},
    ],
)  # fmt: skip
def test_damaged_manifests_are_told(folder, said):
    with pytest.raises(ModelError, match=rf"^what is said of .* is damaged; {REMEDY}$"):
        verify(folder, said, "size", REMEDY)


def test_an_unknown_level(folder):
    with pytest.raises(InputError, match=r"^verify is 'some'; it must be one of always, size, never$"):
        verify(folder, {}, "some", REMEDY)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ModelError, match="is missing"):
        digest(tmp_path / "a")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        digest(tmp_path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        files_in(tmp_path / "missing")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that gives EIO")
def test_a_failing_disk_is_told():
    with pytest.raises(ModelError, match=r"^/proc/self/mem cannot be read: Input/output error$"):
        digest("/proc/self/mem")


@pytest.mark.parametrize("kind", ["loop", "folder", "file", "broken", "fifo"])
def test_links_are_told(folder, kind):
    targets = {"loop": folder, "folder": folder.parent, "file": "/etc/hostname", "broken": "nothing"}
    path = folder / "deep" / "link"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(targets[kind])
    with pytest.raises(ModelError, match=f"^{path} is a symbolic link or no file"):
        files_in(folder)
    with pytest.raises(ModelError, match=f"^{path} is"):
        stamps(folder)


def test_what_a_writer_has_left_is_none_of_the_files(folder):
    """Else it would be missing once it is swept."""
    said = stamps(folder)
    for name in (".a.0123.lock.statim-partial", "deep/.c.4567.statim-partial"):
        (folder / name).write_text("left")
    assert stamps(folder) == said
    assert [path.name for path in files_in(folder)] == ["a", "b", "c", "d"]
