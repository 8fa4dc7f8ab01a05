"""What lies beside an output while it is written: permissions, locks, leftovers."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from statim.errors import BusyError, InputError, StorageError
from statim.files import atomic_directory, atomic_file, locked
from statim.partial import FORGOTTEN, MARKER, beside

WAYS = {
    "file": atomic_file,
    "folder": lambda path, **options: atomic_directory(path, overwrite=True, **options),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fill(target) -> None:
    """Write something, into either an open file or a folder."""
    if isinstance(target, Path):
        (target / "a").write_text("new")
    else:
        target.write(b"new")


def writing(path: Path, way: str) -> subprocess.Popen[str]:
    """Another process in the middle of writing ``path``."""
    code = """
        import sys, time
        from statim.files import atomic_directory, atomic_file
        file = sys.argv[2] == "file"
        made = atomic_file(sys.argv[1]) if file else atomic_directory(sys.argv[1], overwrite=True)
        with made as target:
            target.write(b"half") if sys.argv[2] == "file" else (target / "a").write_text("half")
            print("half", flush=True)
            sys.stdin.readline()
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path), way],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def killed(path: Path, way: str) -> None:
    """Leave what a process leaves that was killed while it wrote ``path``."""
    with writing(path, way) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(params=[0o022, 0o077, 0o002])
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# permissions


def test_new_ones_are_as_any_others(tmp_path, mask):
    with atomic_file(tmp_path / "file") as file:
        assert [mode(path) for path in tmp_path.iterdir()] == [
            0o600
        ] * 2  # it and its lock, while it is written
        file.write(b"x")
    with atomic_directory(tmp_path / "folder") as folder:
        assert mode(folder) == 0o700
        (folder / "inner").write_text("x")
    assert mode(tmp_path / "file") == mode(tmp_path / "folder" / "inner") == 0o666 & ~mask
    assert mode(tmp_path / "folder") == 0o777 & ~mask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644, 0o666, 0o400])
def test_a_file_keeps_its_permissions(tmp_path, mask, kept):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(kept)
    with atomic_file(tmp_path / "file") as file:
        file.write(b"new")
    assert mode(tmp_path / "file") == kept
    assert names(tmp_path) == ["file"]


def test_a_file_is_never_given_the_rights_of_its_owner(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o4755)
    with atomic_file(tmp_path / "file"):
        pass
    assert mode(tmp_path / "file") == 0o755


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_keeps_its_permissions_and_those_of_its_files(tmp_path, mask, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr("statim.files._exchange", lambda a, b: False)
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    for name, kept in {"a": 0o600, "b": 0o640, "deep/c": 0o600, "kind": 0o644}.items():
        (model / name).write_text("old")
        (model / name).chmod(kept)
    (model / "deep").chmod(0o750)
    model.chmod(0o700)
    with atomic_directory(model, overwrite=True) as folder:
        (folder / "deep").mkdir()
        (folder / "kind").mkdir()  # was a file
        for name in ("a", "b", "deep/c", "new"):
            (folder / name).write_text("new")
    found = {path.relative_to(tmp_path).as_posix(): mode(path) for path in tmp_path.rglob("*")}
    assert found == {
        "model": 0o700, "model/a": 0o600, "model/b": 0o640, "model/deep": 0o750, "model/deep/c": 0o600,
        "model/kind": 0o777 & ~mask,
        "model/new": 0o600,  # as most files were
    }  # fmt: skip


def test_an_empty_folder_keeps_its_permissions(tmp_path):
    (tmp_path / "model").mkdir(0o700)
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "a").write_text("x")
    assert mode(tmp_path / "model") == 0o700


def test_files_that_may_not_be_written_are_replaced_too():
    """A person may; root always could."""
    code = """
        import os, sys
        from pathlib import Path
        from statim.files import atomic_directory
        if os.geteuid() == 0:
            os.setuid(65534)
        with atomic_directory(Path(sys.argv[1]) / "model") as folder:
            (folder / "a").write_text("x")
            (folder / "a").chmod(0o400)
        with atomic_directory(Path(sys.argv[1]) / "model", overwrite=True) as folder:
            os.link(Path(sys.argv[1]) / "model" / "a", folder / "a")
        print(oct((Path(sys.argv[1]) / "model" / "a").stat().st_mode))
        """
    with tempfile.TemporaryDirectory() as place:  # pytest's own is closed to others
        os.chmod(place, 0o777)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), place], capture_output=True, text=True
        )
    assert done.stdout == "0o100400\n", done.stderr


def test_the_mask_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("another thread would write with this mask"))
    for name, way in WAYS.items():
        with way(tmp_path / name) as target:
            fill(target)


# one writer


@pytest.mark.parametrize("way", WAYS)
def test_a_second_process_is_told(tmp_path, way):
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    with writing(out, way) as first:
        with (
            pytest.raises(BusyError, match=rf"^another process is writing {out}; wait for it"),
            WAYS[way](out),
        ):
            pass
        first.communicate("go on\n")
    assert first.returncode == 0
    assert (out if way == "file" else out / "a").read_text() == "half"
    with WAYS[way](out) as target:
        fill(target)
    assert (out if way == "file" else out / "a").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("way", WAYS)
def test_a_second_thread_is_told(tmp_path, way):
    pytest.importorskip("fcntl")
    out, told = tmp_path / "out", []

    def write() -> None:
        try:
            with WAYS[way](out):
                pass
        except BusyError as error:
            told.append(str(error))

    with WAYS[way](out) as target:
        fill(target)
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert told == [f"another process is writing {out}; wait for it, or choose another name"]
    assert names(tmp_path) == ["out"]


def test_waiting_writers_come_one_after_another(tmp_path):
    pytest.importorskip("fcntl")
    out, inside, most = tmp_path / "out", [], []

    def write(number: int) -> None:
        with atomic_directory(out, overwrite=True, wait=True) as folder:
            inside.append(number)
            most.append(len(inside))
            (folder / "a").write_text(str(number))
            time.sleep(0.002)
            inside.remove(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 16
    assert names(tmp_path) == ["out"]
    assert names(out) == ["a"]


def test_who_waited_is_told_that_it_stands(tmp_path):
    pytest.importorskip("fcntl")
    out, told = tmp_path / "out", []

    def write() -> None:
        try:
            with atomic_directory(out, wait=True) as folder:
                (folder / "b").write_text("second")
        except InputError as error:
            told.append(str(error))

    with atomic_directory(out) as folder:
        thread = threading.Thread(target=write)
        thread.start()
        while not thread.is_alive():
            time.sleep(0.001)
        (folder / "a").write_text("first")
    thread.join()
    assert told == [
        f"{out} exists and is not empty; choose another place, or allow overwriting (--overwrite)"
    ]
    assert names(out) == ["a"]


def test_what_another_program_puts_there_is_kept(tmp_path):
    out = tmp_path / "out"
    for empty in (True, False):
        if empty:
            out.mkdir()
        with pytest.raises(StorageError, match="put there meanwhile"), atomic_directory(out):
            out.mkdir(exist_ok=True)
            (out / "precious").write_text("x")
        assert (out / "precious").read_text() == "x"
        assert names(tmp_path) == ["out"]
        (out / "precious").unlink()
        out.rmdir()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    pytest.importorskip("fcntl")
    with atomic_file(tmp_path / "out"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with atomic_file(tmp_path / "out") as file:
            file.write(b"new")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (tmp_path / "out").read_text() == "new"


def test_a_folder_replaced_meanwhile_is_told(tmp_path):
    pytest.importorskip("fcntl")
    place = tmp_path / "place"
    place.mkdir()
    import fcntl

    def replaced(descriptor: int, how: int) -> None:
        place.rename(tmp_path / "old")
        place.mkdir()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", replaced)
        with pytest.raises(BusyError, match="has just written out; try again"), locked(place, Path("out")):
            pass


# leftovers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("old", [True, False])
def test_the_next_write_removes_what_a_kill_left(tmp_path, way, old):
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    if old:
        with WAYS[way](out) as target:
            fill(target)
    for _ in range(2):
        killed(out, way)
    assert len(names(tmp_path)) == 2 + old  # the lock and one copy: the second had removed the first's
    with WAYS[way](out) as target:
        fill(target)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("way", WAYS)
def test_what_others_write_or_left_is_kept(tmp_path, way):
    pytest.importorskip("fcntl")
    long = "x" * 40
    alive, dead = tmp_path / f"{long}-alive", tmp_path / f"{long}-dead"
    (tmp_path / f".{long}.thesis{MARKER}").write_text("of somebody")
    killed(dead, way)
    left = set(names(tmp_path))
    with writing(alive, way) as other:
        for name in (long, f"{long}-", f"{long}-alive.npy"):
            with WAYS[way](tmp_path / name) as target:
                fill(target)
        other.communicate("go on\n")
    assert other.returncode == 0
    assert (alive if way == "file" else alive / "a").read_text() == "half"
    assert left <= set(names(tmp_path))


def test_names_beside_do_not_collide():
    same = [Path("x" * 40 + end) for end in ("", "a", "b", ".npy", "\udcff", "\udcfe", "字", "." + "x" * 40)]
    stems = [beside(path, "lock").name for path in same]
    assert len(set(stems)) == len(same)
    assert all(len(os.fsencode(beside(Path(name * 255)).name)) <= 255 for name in ("x", "字", "👩", "\udcff"))
    assert beside(Path("out")) != beside(Path("out"))


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EBADF, errno.ENOSYS])
def test_without_locks_only_old_ones_are_removed(tmp_path, monkeypatch, reason):
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    for way in WAYS:
        killed(out, way)
        place = next(path for path in tmp_path.iterdir() if path != beside(out, "lock"))
        beside(out, "lock").unlink()
        monkeypatch.setattr(
            fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(reason, os.strerror(reason)))
        )
        with WAYS[way](out) as target:
            fill(target)
        assert place.exists()
        long_ago = time.time() - FORGOTTEN - 10
        for part in [*place.rglob("*"), place]:
            os.utime(part, (long_ago, long_ago))
        with WAYS[way](out) as target:
            fill(target)
        assert not place.exists()
        monkeypatch.undo()
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_only_copy_is_kept(tmp_path, monkeypatch):
    """Killed between two renames, where the system cannot swap folders."""
    out = tmp_path / "out"
    aside = beside(out)
    (aside / "out").mkdir(parents=True)
    (aside / "out" / "a").write_text("precious")
    with pytest.raises(RuntimeError), atomic_directory(out):
        raise RuntimeError
    assert (aside / "out" / "a").read_text() == "precious"
    with atomic_directory(out) as folder:
        fill(folder)
    with atomic_directory(out, overwrite=True) as folder:
        fill(folder)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("planted", ["symlink", "fifo", "folder"])
def test_a_planted_lock_is_not_followed(tmp_path, planted):
    lock, victim = beside(tmp_path / "out", "lock"), tmp_path / "victim"
    victim.write_text("precious")
    if planted == "symlink":
        lock.symlink_to(victim)
    elif planted == "fifo":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with atomic_file(tmp_path / "out") as file:
        file.write(b"new")
    assert (tmp_path / "out").read_text() == "new"
    assert victim.read_text() == "precious"


def test_a_lock_that_cannot_be_removed_does_not_get_into_a_folder(tmp_path, monkeypatch):
    unlink, refused = os.unlink, []

    def fail_once(path, **options):
        if os.fspath(path).endswith(f".lock{MARKER}") and not refused:
            refused.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", fail_once)
    with atomic_directory(tmp_path / "out") as folder, atomic_file(folder / "a") as file:
        file.write(b"new")
    assert len(refused) == 1
    assert names(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("way", WAYS)
def test_locks_that_could_not_be_removed_are_swept_by_any_writer_beside(tmp_path, way):
    fcntl = pytest.importorskip("fcntl")
    long_ago = time.time() - FORGOTTEN - 10
    left, held, young, full = (beside(tmp_path / name, "lock") for name in ("left", "held", "young", "full"))
    for lock in (left, held, young, full):
        lock.touch()
    full.write_text("of somebody")
    for lock in (left, held, full):
        os.utime(lock, (long_ago, long_ago))
    with held.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with WAYS[way](tmp_path / "out") as target:
            fill(target)
    assert set(names(tmp_path)) == {"out", held.name, young.name, full.name}


@pytest.mark.parametrize("exchange", [True, False])
def test_the_old_folder_goes_only_when_the_new_one_is_on_the_disk(tmp_path, monkeypatch, exchange):
    out, seen = tmp_path / "out", []
    for text in ("old", "new"):
        with atomic_directory(out, overwrite=True) as folder:
            (folder / "a").write_text(text)
            if text == "old":
                continue
            if not exchange:
                monkeypatch.setattr("statim.files._exchange", lambda a, b: False)

            def synced(path):
                if path == tmp_path:
                    seen.append((len(list(tmp_path.rglob("a"))), (out / "a").read_text()))

            monkeypatch.setattr("statim.files.sync_directory", synced)
    assert seen == [(2, "new")]
    assert names(tmp_path) == ["out"]
