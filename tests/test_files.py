import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import IO

import pytest

from statim.errors import InputError, ModelError, StorageError
from statim.files import (
    atomic_directory,
    atomic_file,
    check_output,
    hash_file,
    read_json,
    storage_errors,
    write_json,
)
from statim.partial import MARKER


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def kill_when_writing(code: str, *arguments: object) -> None:
    """Run ``code`` until it prints a line, then end it with SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL


def test_file_appears_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


def test_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_file(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain folder").mkdir()
    with atomic_directory(tmp_path / "our folder"):
        pass
    assert (tmp_path / "our folder").stat().st_mode == (tmp_path / "plain folder").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_failed_file_leaves_the_old_one(tmp_path, error):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(error), atomic_file(tmp_path / "file") as file:
        file.write(b"new")
        raise error
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_killed_file_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    kill_when_writing(
        """
        import sys, time
        from statim.files import atomic_file
        with atomic_file(sys.argv[1]) as file:
            file.write(b"new" * 100_000)
            file.flush()
            print("half", flush=True)
            time.sleep(60)
        """,
        tmp_path / "file",
    )
    assert (tmp_path / "file").read_bytes() == b"old"
    left = [name for name in names(tmp_path) if name != "file"]
    assert all(name.startswith(".") and name.endswith(MARKER) for name in left)


@pytest.mark.parametrize("old", [True, False])
def test_killed_directory_leaves_the_old_one(tmp_path, old):
    if old:
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "a").write_text("old")
    kill_when_writing(
        """
        import sys, time
        from statim.files import atomic_directory
        with atomic_directory(sys.argv[1], overwrite=True) as folder:
            (folder / "a").write_text("new")
            print("half", flush=True)
            time.sleep(60)
        """,
        tmp_path / "model",
    )
    assert (tmp_path / "model").exists() is old
    if old:
        assert (tmp_path / "model" / "a").read_text() == "old"
    with atomic_directory(tmp_path / "model", overwrite=True) as folder:  # what was left is in nobody's way
        (folder / "a").write_text("newer")
    assert (tmp_path / "model" / "a").read_text() == "newer"


def test_killed_at_any_instant_the_directory_is_whole(tmp_path):
    """A process that writes one version after the other is killed at twenty different times."""
    code = """
        import itertools, sys
        from statim.files import atomic_directory
        for version in itertools.count():
            with atomic_directory(sys.argv[1], overwrite=True) as folder:
                for name in "abc":
                    (folder / name).write_text(str(version))
            print("whole", flush=True)
        """
    path = tmp_path / "model"
    for attempt in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + 0.0037 * attempt)
        process.kill()
        process.wait()
        process.stdout.close()
        folders = [path] if path.exists() else sorted(tmp_path.glob(f".model.old.*{MARKER}/model"))
        assert folders, "neither the old nor the new version stands"
        versions = {(folders[-1] / name).read_text() for name in "abc"}
        assert len(versions) == 1


def test_old_directory_stands_until_the_new_one_does(tmp_path):
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "a").write_text("old")
        (folder / "gone").write_text("old")
    with atomic_directory(tmp_path / "model", overwrite=True) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("new")
        assert names(tmp_path / "model") == ["a", "gone"]
    assert names(tmp_path / "model") == ["deep"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_directory_leaves_the_old_one(tmp_path, error):
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(error), atomic_directory(tmp_path / "model", overwrite=True) as folder:
        (folder / "a").write_text("new")
        raise error
    assert (tmp_path / "model" / "a").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_the_old_directory_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "a").write_text("old")
    replace, calls = os.replace, []

    def refuse_the_second(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    # as where the system cannot swap folders
    monkeypatch.setattr("statim.files._exchange", lambda a, b: False)
    monkeypatch.setattr(os, "replace", refuse_the_second)
    with (
        pytest.raises(StorageError, match="the disk is full"),
        atomic_directory(tmp_path / "model", overwrite=True),
    ):
        pass
    assert (tmp_path / "model" / "a").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_full_disk(tmp_path):
    """A real refusal by the kernel: the largest file this process may write is 64 KiB."""
    pytest.importorskip("resource")
    (tmp_path / "file").write_bytes(b"old")
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "a").write_text("old")
    done = run(
        """
        import resource, signal, sys
        from pathlib import Path
        from statim.errors import StorageError
        from statim.files import atomic_directory, atomic_file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            with atomic_file(Path(sys.argv[1]) / "file") as file:
                file.write(bytes(1_000_000))
        except StorageError as error:
            print(error)
        try:
            with atomic_directory(Path(sys.argv[1]) / "model", overwrite=True) as folder:
                (folder / "a").write_bytes(bytes(1_000_000))
        except StorageError as error:
            print(error)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        (
            f"cannot write {tmp_path / name}: the file grew over the limit on a file's size; raise the "
            "limit or write less"
        )
        for name in ("file", "model")
    ]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert (tmp_path / "model" / "a").read_text() == "old"
    assert names(tmp_path) == ["file", "model"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_left():
    sentence = "^cannot write out: the disk is full; free some space or choose another place$"
    with pytest.raises(StorageError, match=sentence), storage_errors(Path("out")), _open_full() as full:
        full.write(b"x")


def _open_full() -> IO[bytes]:
    return open("/dev/full", "wb", buffering=0)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission"),
        (errno.EPERM, "permission"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "not a folder"),
        (errno.EISDIR, "name a file"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EEXIST, "not a folder"),
        (errno.ENOENT, "gone"),
    ],
)
def test_every_refusal_has_a_sentence(number, words):
    with pytest.raises(StorageError, match=rf"^cannot write x: .*{words}"), storage_errors(Path("x")):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.EIO, "Input/output error"),
            "input/output error: the disk or the connection to it failed; ",
        ),
        (OSError(errno.ESTALE, "Stale file handle"), "stale file handle: the disk or the connection"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "it timed out: the disk or the connection"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open; close some"),
        (OSError(errno.ENOSYS, "Function not implemented"), "function not implemented$"),
        (OSError("Arrow could not\nwrite"), "arrow could not write$"),
    ],
)
def test_errors_of_failing_disks_have_a_sentence(error, sentence):
    with pytest.raises(StorageError, match=f"^cannot write x: {sentence}"), storage_errors(Path("x")):
        raise error


class HubError(OSError):
    """As of a library that downloads."""


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ConnectionResetError(),
        HubError("404"),
        TimeoutError("slow"),
    ],
)
def test_errors_of_connections_pass(error):
    with pytest.raises(type(error)), storage_errors(Path("x")):
        raise error


def test_errors_about_other_files_pass(tmp_path):
    """What is read while a folder is written may fail too, and is not the folder's fault."""
    for missing in (tmp_path / "input" / "missing", tmp_path / "output" / "missing"):
        with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "output" / "model"):
            missing.read_bytes()
    with pytest.raises(FileNotFoundError) as caught, atomic_directory(tmp_path / "output" / "model"):
        missing.read_bytes()
    assert caught.value.filename == str(missing)
    assert names(tmp_path / "output") == []


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="no folder here that not even root may write into"
)
@pytest.mark.parametrize("way", [atomic_file, atomic_directory])
def test_no_permission(way):
    with pytest.raises(StorageError, match=r"^cannot write /proc/self/statim: "), way("/proc/self/statim"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such permissions here")
def test_no_permission_for_a_person(tmp_path):
    tmp_path.chmod(0o500)
    done = run(
        """
        import os, sys
        from statim.errors import StorageError
        from statim.files import atomic_directory, atomic_file, check_output
        if os.geteuid() == 0:  # may write everywhere: become somebody who may not
            os.setuid(65534)
        for way in (atomic_file, atomic_directory):
            try:
                with way(sys.argv[1]):
                    pass
            except StorageError as error:
                print(error)
        """,
        tmp_path / "x",
    )
    tmp_path.chmod(0o700)
    sentence = f"cannot write {tmp_path / 'x'}: permission denied; choose a place you may write to"
    assert done.stdout.splitlines() == [sentence, sentence], done.stderr


def test_places_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match="not a folder"), atomic_file(tmp_path / "file" / "below"):
        pass
    with pytest.raises(StorageError, match="this is a folder; name a file"), atomic_file(tmp_path):
        pass
    with pytest.raises(StorageError, match="the name is too long"), atomic_file(tmp_path / ("x" * 300)):
        pass
    with pytest.raises(InputError, match="is a file; name a folder"), atomic_directory(tmp_path / "file"):
        pass
    with pytest.raises(StorageError, match="not a folder"), atomic_directory(tmp_path / "file" / "below"):
        pass
    with pytest.raises(StorageError, match="the name is too long"), atomic_directory(tmp_path / ("x" * 300)):
        pass
    assert names(tmp_path) == ["file"]


def test_nothing_is_overwritten_unasked(tmp_path):
    (tmp_path / "model").mkdir()
    assert check_output(tmp_path / "model", overwrite=False) == tmp_path / "model"
    with atomic_directory(tmp_path / "model") as folder:  # an empty one is nobody's
        (folder / "a").write_text("1")
    with pytest.raises(
        InputError, match=r"not empty; choose another place, or allow overwriting \(--overwrite\)"
    ):
        check_output(tmp_path / "model", overwrite=False)
    assert check_output(tmp_path / "model", overwrite=True)
    assert check_output(tmp_path / "a" / "b" / "c", overwrite=False)
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("name", ["x" * 255, "字" * 85, "👩" * 60, "a b\nc"])
def test_odd_names(name, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with atomic_directory(name) as folder:
        (folder / "a").write_text("1")
    assert (Path(name) / "a").read_text() == "1"
    assert len(names(tmp_path)) == 1


def test_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the folder you are in"), atomic_directory("."):
        pass
    assert names(tmp_path) == []


def test_links_stay(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "model").symlink_to(tmp_path / "b" / "model")
    (tmp_path / "a" / "file").symlink_to(tmp_path / "b" / "file")
    for content in "12":
        with atomic_directory(tmp_path / "a" / "model", overwrite=True) as folder:
            (folder / "x").write_text(content)
        with atomic_file(tmp_path / "a" / "file") as file:
            file.write(content.encode())
        assert (tmp_path / "b" / "model" / "x").read_text() == content
        assert (tmp_path / "b" / "file").read_text() == content
    assert names(tmp_path / "a") == names(tmp_path / "b") == ["file", "model"]


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_directory("model") as folder:
        (folder / "a").write_text("1")
    with atomic_file("file") as file:
        file.write(b"1")
    assert names(tmp_path) == ["file", "model"]


def test_json_round_trip(tmp_path):
    value = {"ä": [1, 2.5, None, "☃"], "nested": {"x": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "☃" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5_000, "not valid JSON"),
    ],
)
def test_json_that_is_none(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_json(tmp_path / "a.json")


def test_json_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match="is missing"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "file").write_bytes(b"{}")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path / "file" / "below")
    (tmp_path / "big").write_text(json.dumps("x" * 1000))
    with pytest.raises(ModelError, match=r"has more than the 1,000 bytes"):
        read_json(tmp_path / "big", limit=1000)


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
