import json

import pytest

from statim.training.run.history import History


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, steps):
    history = History(path)
    history.add(**{"step": 0, "ndcg@10": 0.25, "best": True})
    for step in range(1, steps + 1):
        history.add(step=step, epoch=1, loss=1 / step, rate=0.1, pairs=8 * step)
        if step % 2 == 0:
            history.add(**{"step": step, "ndcg@10": 0.25 + step / 100, "best": True})
    return history


def test_nothing_is_written_until_asked(tmp_path):
    path = tmp_path / "log"
    history = write(path, 4)
    assert path.read_bytes() == b""
    history.flush()
    assert [line["step"] for line in lines(path)] == [0, 1, 2, 2, 3, 4, 4]
    assert lines(path)[1].items() >= {"epoch": 1, "loss": 1.0, "rate": 0.1, "pairs": 8}.items()
    seconds = [line["seconds"] for line in lines(path)]
    assert seconds == sorted(seconds)
    history.close()


@pytest.mark.parametrize("step", range(1, 5))
def test_going_on_cuts_off_what_came_later(tmp_path, step):
    path = tmp_path / "log"
    whole = write(path, 4)
    whole.close()
    before = lines(path)
    history = History(path, step=step)
    assert list(history.losses) == [1 / i for i in range(1, step + 1)]
    assert history.evaluations == [(i, s) for i, s in whole.evaluations if i <= step]
    assert history.seconds >= before[-1]["seconds"] if step == 4 else True
    history.close()
    assert lines(path) == [line for line in before if line["step"] <= step]


def test_a_line_half_written_is_cut_off(tmp_path):
    path = tmp_path / "log"
    write(path, 3).close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "ndcg@10": 0.5')
    history = History(path, step=3)
    history.close()
    assert path.read_bytes() == whole


def test_a_log_that_was_lost_begins_where_it_can(tmp_path):
    history = History(tmp_path / "log", step=7)
    history.add(step=8, epoch=1, loss=0.5, rate=0.1, pairs=64)
    history.close()
    assert [line["step"] for line in lines(tmp_path / "log")] == [8]


def test_without_a_file_the_figures_are_kept():
    history = write(None, 2)
    assert list(history.losses) == [1.0, 0.5]
    assert history.evaluations == [(0, 0.25), (2, 0.27)]
    history.close()
