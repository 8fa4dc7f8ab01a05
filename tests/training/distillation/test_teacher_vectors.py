"""A teacher's vectors on disk: as the teacher gives them, computed once, resumed after a kill."""

import os
import signal

import numpy as np
import pyarrow as pa
import pytest

from statim import cache
from statim.teacher.teacher import Teacher
from statim.training.distillation import teacher_vectors as module
from statim.training.distillation.teacher_vectors import teacher_vectors, vectors_among


@pytest.fixture(scope="module")
def teacher():
    return Teacher.load()


@pytest.fixture
def texts(docstrings, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    return pa.array([text[:60] for text in docstrings[:28]], pa.large_string())


def blocks():
    return sorted(cache.folder("teachers").rglob("*.safetensors"))


def counted(teacher, monkeypatch):
    """The numbers of texts that the teacher is asked for."""
    asked, encode = [], Teacher.encode

    def counting(self, texts, **options):
        asked.append(len(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(Teacher, "encode", counting)
    return asked


def test_they_are_the_teachers_in_float16(teacher, texts):
    found = teacher_vectors(teacher, texts)
    assert found.dtype == np.float16
    assert found.shape == (28, teacher.dim)
    expected = teacher.encode(texts.to_pylist(), cache=False)
    # a block pads its texts otherwise than all at once does, which bfloat16 shows
    assert (found.astype(np.float32) * expected).sum(axis=1).min() > 0.9995
    first = teacher.encode(texts[:8].to_pylist(), cache=False)
    np.testing.assert_array_equal(found[:8], first.astype(np.float16))
    assert len(blocks()) == 4


def test_they_are_computed_once_and_appended_texts_cost_only_themselves(teacher, texts, monkeypatch):
    asked = counted(teacher, monkeypatch)
    short = teacher_vectors(teacher, texts[:16])
    assert asked == [8, 8]
    whole = teacher_vectors(teacher, texts)
    assert asked == [8, 8, 8, 4]
    np.testing.assert_array_equal(whole[:16], short)
    np.testing.assert_array_equal(teacher_vectors(teacher, texts), whole)
    assert len(asked) == 4


def test_another_choice_of_the_same_texts_finds_them_read(teacher, texts, monkeypatch):
    asked = counted(teacher, monkeypatch)
    whole = teacher_vectors(teacher, pa.array(dict.fromkeys(texts.to_pylist()), pa.large_string()))
    read, before = pa.array(dict.fromkeys(texts.to_pylist()), pa.large_string()), len(asked)
    for chosen in ([0, 2, 3, 5, 8, 13, 21], [21, 1, 20], [], list(range(len(read)))):
        found = vectors_among(teacher, read.take(pa.array(chosen, pa.int64())), read)
        np.testing.assert_array_equal(found, whole[chosen])
        assert found.dtype == np.float16
    assert len(asked) == before
    other = pa.array(["a text of another file", read[0].as_py()], pa.large_string())
    np.testing.assert_array_equal(vectors_among(teacher, other, read), teacher_vectors(teacher, other))
    assert len(asked) == before + 1


def test_a_killed_process_goes_on_with_the_first_missing_block(teacher, texts, monkeypatch):
    process = os.fork()
    if process == 0:
        save, done = module.save_tensors, []

        def dying(path, *rest, **options):
            if len(done) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(path)
            save(path, *rest, **options)

        module.save_tensors = dying
        module._compute = lambda teacher, some, *_: np.full((len(some), teacher.dim), 0.25, np.float16)
        teacher_vectors(teacher, texts)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert len(blocks()) == 2
    asked = counted(teacher, monkeypatch)
    found = teacher_vectors(teacher, texts)
    assert asked == [8, 4]
    assert (found[:16] == 0.25).all()
    assert np.abs(np.linalg.norm(found[16:].astype(np.float32), axis=1) - 1).max() < 1e-3


def test_a_damaged_block_is_computed_anew(teacher, texts, monkeypatch):
    first = teacher_vectors(teacher, texts)
    path = blocks()[1]
    path.write_bytes(path.read_bytes()[:-4])
    asked = counted(teacher, monkeypatch)
    np.testing.assert_array_equal(teacher_vectors(teacher, texts), first)
    assert len(asked) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(teacher, texts, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "file"))
    assert teacher_vectors(teacher, texts[:3]).shape == (3, teacher.dim)
    assert teacher_vectors(teacher, texts[:0]).shape == (0, teacher.dim)
