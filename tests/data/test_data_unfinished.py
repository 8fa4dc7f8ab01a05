import json
import os

import pytest

from statim.data.files import resumable as module
from statim.data.files.resumable import folder, unfinished
from statim.errors import DataError, InputError, ModelError, StorageError

RUN = {"the sources": ["a"], "--dim": 16}


class Killed(BaseException):
    pass


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.npy"


def write(out, parts=("one", "two", "three"), run=RUN, die_at=None, error=Killed, **options):
    """Write ``parts``, going on after those that are there; optionally stop after so many have been saved."""
    with unfinished(out, run, **options) as output:
        done = output.progress["parts"] if output.progress else 0
        assert output.file is not None
        for part in parts[done:]:
            if done == die_at:
                output.file.write(b"half")
                raise error("stopped")
            output.file.write(part.encode())
            done += 1
            output.save({"parts": done})
    return done


def test_it_appears_whole_and_leaves_nothing(out):
    write(out)
    assert out.read_text() == "onetwothree"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("die_at", [1, 2])
def test_it_goes_on(out, die_at):
    with pytest.raises(Killed):
        write(out, die_at=die_at)
    assert not out.exists()
    assert write(out, resume=True) == 3
    assert out.read_text() == "onetwothree"
    assert list(out.parent.iterdir()) == [out]


def test_nothing_is_left_where_there_is_nothing_to_resume(out):
    with pytest.raises(Killed):
        write(out, die_at=0)
    assert list(out.parent.iterdir()) == []
    assert write(out, resume=True) == 3  # there was nothing to go on with


def test_what_is_done_outlives_bad_data(out):
    with pytest.raises(DataError):
        write(out, die_at=2, error=DataError)
    assert (folder(out) / module.DATA).read_text() == "onetwohalf"
    assert write(out, resume=True) == 3
    assert out.read_text() == "onetwothree"


def test_without_resume_it_begins_anew(out, caplog):
    with pytest.raises(Killed):
        write(out, die_at=2)
    with caplog.at_level("INFO", "statim"):
        write(out, ("x", "y"), run={"another": 1})
    assert "--resume would have gone on" in caplog.text
    assert out.read_text() == "xy"


@pytest.mark.parametrize("run", [RUN | {"--dim": 8}, RUN | {"the sources": ["a", "b"]}])
def test_another_run_is_refused_and_keeps_what_is_there(out, run):
    with pytest.raises(Killed):
        write(out, die_at=2)
    name = next(name for name in RUN if run[name] != RUN[name])
    with pytest.raises(InputError, match=f"cannot resume .*: {name} changed since that run began"):
        write(out, run=run, resume=True)
    assert write(out, resume=True) == 3


def test_what_stands_is_kept(out):
    out.write_text("precious")
    with pytest.raises(InputError, match=r"exists; .*--overwrite"):
        write(out)
    with pytest.raises(Killed):
        write(out, die_at=1, overwrite=True)
    assert out.read_text() == "precious"
    with pytest.raises(InputError, match="exists"):
        write(out, resume=True)
    write(out, resume=True, overwrite=True)
    assert out.read_text() == "onetwothree"


def dead(out, die_at=2):
    with pytest.raises(Killed):
        write(out, die_at=die_at)
    return folder(out)


def test_deaths_between_two_steps(out, monkeypatch):
    place = dead(out)
    (place / ".progress.json.x.statim-partial").write_text("{")  # while saving
    assert write(out, resume=True) == 3
    out.unlink()
    place = dead(out)
    (place / module.RUN).unlink()  # while discarding, or before the run was written down
    assert write(out, resume=True) == 3
    assert out.read_text() == "onetwothree"
    monkeypatch.setattr(module, "_remove", lambda place: None)
    write(out, overwrite=True)  # after the rename
    monkeypatch.undo()
    with unfinished(out, RUN, resume=True) as output:
        assert output.file is None
        assert output.progress["parts"] == 3
    assert out.read_text() == "onetwothree"
    assert list(out.parent.iterdir()) == [out]


def test_one_at_a_time(out):
    pytest.importorskip("fcntl")
    with (
        unfinished(out, RUN),
        pytest.raises(InputError, match="another process is writing"),
        unfinished(out, RUN),
    ):
        pass


def test_damage(out):
    place = dead(out)
    (place / module.DATA).write_text("on")
    with pytest.raises(ModelError, match="data is too short"):
        write(out, resume=True)
    (place / module.PROGRESS).write_text(json.dumps([]))
    with pytest.raises(ModelError, match="damaged"):
        write(out, resume=True)


def test_strangers_are_left_alone(out):
    folder(out).mkdir()
    (folder(out) / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        write(out)
    assert (folder(out) / "thesis.txt").read_text() == "years of work"
    out.mkdir()
    with pytest.raises(StorageError, match="this is a folder"):
        write(out)


@pytest.mark.parametrize("kept", [0o600, 0o644, 0o400])
def test_it_keeps_the_permissions_of_what_it_replaces(out, kept):
    out.write_text("old")
    out.chmod(kept)
    with unfinished(out, RUN, overwrite=True) as output:
        assert folder(out).stat().st_mode & 0o777 == 0o700
        output.file.write(b"new")
    assert out.read_text() == "new"
    assert out.stat().st_mode & 0o777 == kept
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_one_has_the_permissions_of_any_other(out, mask):
    before = os.umask(mask)
    try:
        write(out)
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == 0o666 & ~mask


def test_one_that_another_process_finished_meanwhile_is_kept(out, monkeypatch):
    """The other one ends between the first look and the lock."""
    lock = module.locked

    def late(place, target):
        out.write_text("of the other")
        return lock(place, target)

    monkeypatch.setattr(module, "locked", late)
    with pytest.raises(InputError, match="exists; choose another name"):
        write(out)
    assert out.read_text() == "of the other"
    assert list(out.parent.iterdir()) == [out]
