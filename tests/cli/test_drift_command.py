"""statim drift: what it prints, and its exit codes."""

import json

import numpy as np
import pytest

from made_texts import THINGS, VERBS


@pytest.fixture
def sides(tmp_path):
    random = np.random.default_rng(0)

    def write(name, words):
        lines = [" ".join(random.choice(words, 6)) for _ in range(200)]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return write("old.txt", VERBS), write("same.txt", VERBS), write("other.txt", THINGS)


def test_the_verdict_is_the_exit_code(statim, model_folder, sides):
    old, same, other = sides
    code, out, err = statim("drift", model_folder, old, same)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "fine: the new texts are like the old ones"
    code, out, err = statim("drift", model_folder, old, other, "--json")
    assert (code, err) == (3, "")
    found = json.loads(out)
    assert found["verdict"] == "retrain"
    assert (found["old_texts"], found["new_texts"]) == (200, 200)


def test_too_few_texts(statim, model_folder, sides, tmp_path):
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    code, out, err = statim("drift", model_folder, sides[0], tmp_path / "few.txt")
    assert (code, out) == (2, "")
    assert "the new side has 2 different texts" in err
