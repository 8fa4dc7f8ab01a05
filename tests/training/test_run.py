import numpy as np
import pytest

from statim.errors import InputError, ModelError
from statim.training import run

GIVEN = {
    "data": None,
    "out": "model",
    "resume": False,
    "dim": 64,
    "start": "random",
    "negative": ["a", "b"],
    "seed": None,
}
GIVEN |= {
    "threads": None,
    "overwrite": False,
    "baselines": None,
    "learning_rate": 0.1,
    "matryoshka": [32, np.int64(64)],
}


def record(tmp_path, **options):
    file = tmp_path / "pairs.jsonl"
    file.write_text("{}")
    return run.begun({**GIVEN, "data": file, **options}, 2), file


def test_the_record_is_plain_and_paths_are_whole(tmp_path, monkeypatch):
    import json

    monkeypatch.chdir(tmp_path)
    made, file = record(tmp_path)
    assert json.loads(json.dumps(made)) == made
    assert made["options"]["data"] == str(file)
    assert made["options"]["start"] == "random"
    assert made["options"]["matryoshka"] == [32, 64]
    assert "out" not in made["options"]
    assert list(made["files"]) == [str(file)]
    several = run.begun(GIVEN | {"data": ["pairs.jsonl", "python-docs"]}, 2)
    assert several["options"]["data"] == [str(file), "python-docs"]


def test_nothing_need_be_given_again(tmp_path):
    made, file = record(tmp_path)
    empty = dict.fromkeys(GIVEN) | {"resume": True, "out": "model"}
    options = run.resumed(made, empty)
    assert options["data"] == str(file)
    assert options["dim"] == 64
    assert options["negative"] == ["a", "b"]
    assert options["resume"] is True


def test_the_same_may_be_given_and_other_things_not(tmp_path, monkeypatch):
    made, _ = record(tmp_path)
    monkeypatch.chdir(tmp_path)
    again = GIVEN | {"data": "pairs.jsonl", "threads": 1, "baselines": False}
    assert run.resumed(made, again)["threads"] == 1
    assert run.resumed(made, again)["baselines"] is False
    with pytest.raises(InputError, match="dim is 65, but the interrupted training began with 64"):
        run.resumed(made, GIVEN | {"dim": 65})
    with pytest.raises(InputError, match="data"):
        run.resumed(made, GIVEN | {"data": [("a", "b")]})


@pytest.mark.parametrize(
    "data", [[("a", "b"), ("c", "d")], [{"a": "b"}], {"a": ["x"]}, np.zeros(3), object()]
)
def test_objects_must_be_given_again(tmp_path, data):
    made, _ = record(tmp_path, data=data)
    assert made["in_memory"] == ["data"]
    with pytest.raises(InputError, match=r"data .* in memory"):
        run.resumed(made, GIVEN)
    assert run.resumed(made, GIVEN | {"data": data})["data"] is data


def test_the_file_that_changed_is_named(tmp_path):
    made, file = record(tmp_path)
    assert run.changed(made) == ""
    file.write_text("{} ")
    assert run.changed(made) == f" ({file} changed)"
    file.unlink()
    assert run.changed(made) == f" ({file} changed)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", None), ("options", []), ("in_memory", {}), ("files", []), ("threads", "2"), ("rates", None),
        ("rates", [3]), ("rates", [[3]]), ("rates", [[3, "fast"]]), ("found", []), ("found", {"recipe": {}}),
        ("found", {"recipe": [], "evaluate_every": 1, "pairs": "", "start": ""}),
    ],
)  # fmt: skip
def test_a_damaged_record_is_told(tmp_path, name, value):
    made, _ = record(tmp_path)
    with pytest.raises(
        ModelError, match=r"^run\.json of the interrupted training is damaged at .*start it again"
    ):
        run.resumed(made | {name: value}, GIVEN)
    if name != "found":
        with pytest.raises(ModelError, match=name):
            run.resumed({key: given for key, given in made.items() if key != name}, GIVEN)
