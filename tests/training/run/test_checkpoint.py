import threading
import time

import numpy as np
import pytest

from statim.errors import InputError, ModelError, StorageError
from statim.training.loop.optimizer import SparseAdam
from statim.training.recipe import Recipe
from statim.training.run import checkpoint
from statim.training.run.checkpoint import Checkpoints
from statim.training.run.record import Run

SIZE = 3 * 50 * 8 * 4
RECIPE = Recipe.make(1000, 8, clip=0.5, precision="fp32", row_wise=True)


def optimizer(step: int = 0) -> SparseAdam:
    table = np.random.default_rng(step).standard_normal((50, 8)).astype(np.float32)
    moments = table * 2, np.square(table[:, :1]), np.arange(50, dtype=np.int32)
    first, second, last = moments
    rates = np.linspace(0, 1, 101)
    return SparseAdam(table, rates, step=step, row_wise=True, first=first, second=second, last=last)


@pytest.fixture
def out(tmp_path):
    with checkpoint.opened(tmp_path / "model", resume=False):
        checkpoint.write_run(tmp_path / "model", Run({}, [], {}, 1))
        yield tmp_path / "model"


def test_what_is_saved_is_loaded(out):
    state, best = optimizer(7), np.full((50, 8), 3, np.float32)
    checkpoints = Checkpoints(out, SIZE, every=7)
    assert checkpoints.due(7)
    checkpoints.save(state, {"best": {"step": 4, "score": 0.5}}, {"best": best})
    checkpoints.close()
    found = checkpoint.load(out, state.rates, 2, RECIPE)
    assert found is not None
    again, about, extra = found
    for name in ("table", "first", "second", "last"):
        np.testing.assert_array_equal(getattr(again, name), getattr(state, name))
    assert (again.step, again.threads, again.clip) == (7, 2, 0.5)
    assert (again.precision, again.row_wise) == ("fp32", True)
    assert about == {"step": 7, "best": {"step": 4, "score": 0.5}}
    np.testing.assert_array_equal(extra["best"], best)
    again.table[0] = 0  # a copy: not the file's


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_are_kept(out, keep):
    checkpoints = Checkpoints(out, SIZE, every=1, keep=keep)
    for step in range(1, 6):
        checkpoints.save(optimizer(step), {})
    checkpoints.close()
    names = [path.name for path in checkpoint.steps(out)]
    assert names == [f"step-{step:08d}" for step in range(6 - keep, 6)]
    assert checkpoint.newest_step(out) == 5


def test_by_the_clock(out, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(out, SIZE)
    assert not checkpoints.due(1)
    now[0] += checkpoint.SECONDS + 0.1
    assert checkpoints.due(2)
    monkeypatch.setattr(checkpoint, "write_tensors", lambda *arguments: now.__setitem__(0, now[0] + 3))
    checkpoints.save(optimizer(2), {})
    checkpoints.close()
    assert checkpoints.seconds == pytest.approx(3)
    now[0] += 3 / checkpoint.SHARE - 1  # it took three seconds, so the next has to wait long
    assert not checkpoints.due(3)
    now[0] += 2
    assert checkpoints.due(3)


def test_none_are_written_where_none_are_kept(out):
    checkpoints = Checkpoints(out, SIZE, every=1, keep=0)
    assert not any(checkpoints.due(step) for step in range(1, 5))


def test_a_disk_that_refuses(out, monkeypatch):
    """It is said, at the latest at the end; the earlier checkpoint stands and nothing is half-written."""
    checkpoints = Checkpoints(out, SIZE, every=1)
    checkpoints.save(optimizer(1), {})
    checkpoints.close()
    checkpoints = Checkpoints(out, SIZE, every=1)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    checkpoints.save(optimizer(2), {})
    with pytest.raises(StorageError, match="disk is full"):
        checkpoints.close()
    assert [path.name for path in checkpoint.folder(out).iterdir() if path.is_dir()] == ["step-00000001"]


def test_another_process_is_kept_out(out):
    caught = []

    def intrude():
        try:
            with checkpoint.opened(out, resume=False):
                pass
        except InputError as error:
            caught.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "another process" in caught[0]
    assert checkpoint.read_run(out) == Run({}, [], {}, 1)


def test_what_a_kill_left_is_swept_and_what_is_foreign_kept(tmp_path):
    out = tmp_path / "model"
    place = checkpoint.folder(out)
    (place / ".step-00000003.abc.statim-partial").mkdir(parents=True)
    (place / ".run.json.abc.statim-partial").write_text("{")
    (place / "step-00000002").mkdir()
    with pytest.raises(ModelError, match="no interrupted training"), checkpoint.opened(out, resume=True):
        pass
    with checkpoint.opened(out, resume=False):
        assert list(place.iterdir()) == []
        checkpoint.write_run(out, Run({}, [], {}, 1))
    (place / "thesis.txt").write_text("years of work")
    for resume in (True, False):
        with pytest.raises(InputError, match="something else"), checkpoint.opened(out, resume=resume):
            pass
    assert (place / "thesis.txt").exists()


def test_damage_is_named(out):
    with pytest.raises(ModelError, match=r"step-00000004.*missing"):
        (checkpoint.folder(out) / "step-00000004").mkdir()
        checkpoint.load(out, np.zeros(2), 1, RECIPE)
    (checkpoint.folder(out) / checkpoint.RUN).write_text('{"version": 1}')
    with pytest.raises(ModelError, match="another version"):
        checkpoint.read_run(out)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("first", (50, 4), np.float32),
        ("first", (50, 8), np.uint8),
        ("second", (50, 8), np.float32),  # that is for one number a row
        ("second", (1,), np.float32),
        ("last", (49,), np.int32),
        ("table", (50,), np.float32),
    ],
)
def test_arrays_that_do_not_fit_are_refused(out, name, shape, dtype):
    checkpoints, state = Checkpoints(out, SIZE, every=1), optimizer(3)
    setattr(state, name, np.zeros(shape, dtype))
    checkpoints.save(state, {})
    checkpoints.close()
    with pytest.raises(ModelError, match=r"step-00000003 is not a checkpoint of statim: its .*; delete it"):
        checkpoint.load(out, state.rates, 1, RECIPE)
