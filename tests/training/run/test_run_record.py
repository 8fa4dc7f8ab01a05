from dataclasses import replace

import numpy as np
import pytest

from statim.errors import InputError, ModelError
from statim.training.options import TrainOptions, values_of, with_values
from statim.training.run.record import Run

GIVEN = TrainOptions(
    out="model", dim=64, start="random", negative=["a", "b"], learning_rate=0.1, matryoshka=[32, np.int64(64)]
)


def record(tmp_path, **options):
    file = tmp_path / "pairs.jsonl"
    file.write_text("{}")
    return Run.begun(with_values(GIVEN, {"data": file, **options}), 2), file


def test_the_record_is_plain_and_paths_are_whole(tmp_path, monkeypatch):
    import json

    monkeypatch.chdir(tmp_path)
    made, file = record(tmp_path)
    written = made.to_dict()
    assert json.loads(json.dumps(written)) == written
    assert Run.from_dict(written) == made
    assert list(written) == ["options", "in_memory", "files", "threads", "rates"]
    options = written["options"]
    assert set(values_of(GIVEN)) - set(options) == {"out", "resume", "progress"}
    assert {name: value for name, value in options.items() if value is not None} == {
        "data": str(file), "start": "random", "negative": ["a", "b"], "dim": 64, "matryoshka": [32, 64],
        "learning_rate": 0.1, "overwrite": False,
    }  # fmt: skip
    assert list(written["files"]) == [str(file)]
    several = Run.begun(replace(GIVEN, data=["pairs.jsonl", "python-docs"]), 2)
    assert several.options["data"] == [str(file), "python-docs"]


def test_nothing_need_be_given_again(tmp_path):
    made, file = record(tmp_path)
    options = made.resumed(TrainOptions(resume=True, out="model"))
    assert options.data == str(file)
    assert options.dim == 64
    assert options.negative == ["a", "b"]
    assert options.resume is True


def test_the_same_may_be_given_and_other_things_not(tmp_path, monkeypatch):
    made, _ = record(tmp_path)
    monkeypatch.chdir(tmp_path)
    again = replace(GIVEN, data="pairs.jsonl", threads=1, baselines=False)
    assert made.resumed(again).threads == 1
    assert made.resumed(again).baselines is False
    with pytest.raises(InputError, match="dim is 65, but the interrupted training began with 64"):
        made.resumed(replace(GIVEN, dim=65))
    with pytest.raises(InputError, match="data"):
        made.resumed(replace(GIVEN, data=[("a", "b")]))


@pytest.mark.parametrize(
    "data", [[("a", "b"), ("c", "d")], [{"a": "b"}], {"a": ["x"]}, np.zeros(3), object()]
)
def test_objects_must_be_given_again(tmp_path, data):
    made, _ = record(tmp_path, data=data)
    assert list(made.in_memory) == ["data"]
    with pytest.raises(InputError, match=r"data .* in memory"):
        made.resumed(GIVEN)
    assert made.resumed(replace(GIVEN, data=data)).data is data


def test_the_file_that_changed_is_named(tmp_path):
    made, file = record(tmp_path)
    assert made.changed() == ""
    file.write_text("{} ")
    assert made.changed() == f" ({file} changed)"
    file.unlink()
    assert made.changed() == f" ({file} changed)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", None), ("options", []), ("in_memory", {}), ("files", []), ("threads", "2"),
        ("rates", None),
        ("rates", [3]), ("rates", [[3]]), ("rates", [[3, "fast"]]), ("found", []), ("found", {"recipe": {}}),
        ("found", {"recipe": [], "evaluate_every": 1, "pairs": "", "start": ""}),
        ("found", {"recipe": {"dim": 64}, "evaluate_every": 1, "pairs": "", "start": ""}),
    ],
)  # fmt: skip
def test_a_damaged_record_is_told(tmp_path, name, value):
    made, _ = record(tmp_path)
    with pytest.raises(
        ModelError, match=r"^run\.json of the interrupted training is damaged at .*start it again"
    ):
        Run.from_dict(made.to_dict() | {name: value})
    if name != "found":
        with pytest.raises(ModelError, match=name):
            Run.from_dict({key: given for key, given in made.to_dict().items() if key != name})
