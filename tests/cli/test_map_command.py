"""statim map."""

import json

import pyarrow.parquet as pq
import pytest

from statim.model import StaticModel
from statim.search.index import Index


def test_documents(statim, model_folder, pairs, tmp_path):
    out = tmp_path / "map.parquet"
    code, said, err = statim(
        "map", model_folder, pairs, "--text", "answer", "-o", out, "--method", "pca", "-q"
    )
    assert (code, err) == (0, "")
    assert said.startswith("400 texts, 10 clusters (pca)\n")
    assert "written to" in said
    assert {"text", "x", "y", "question"} <= set(pq.read_table(out).column_names)
    code, _, err = statim("map", model_folder, pairs, "--text", "answer", "-o", out)
    assert code == 2
    assert "exists" in err


def test_an_index(statim, model_folder, tmp_path):
    texts = ["open the file", "close the window", "read the list", "close the list"]
    Index.build(StaticModel.load(model_folder), texts, tmp_path / "ix")
    code, said, err = statim("map", tmp_path / "ix", "--out", tmp_path / "map.csv", "--json")
    assert (code, err) == (0, "")
    found = json.loads(said)
    assert (found["texts"], found["left_out"], found["method"]) == (4, 0, "pca")
    assert found["bytes"] == (tmp_path / "map.csv").stat().st_size
    code, _, err = statim("map", tmp_path / "ix", "--model", model_folder, "--out", tmp_path / "m.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "is an index, which has its own model" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.txt", "-o", "m.csv"], "missing.txt cannot be read"),
        (["empty", "-o", "m.csv"], "empty holds no files of text"),
        (["one.txt", "-o", "m.csv"], "english knows (found: 1 of 1)"),
        (["one.txt", "-o", "m.doc"], "m.doc ends with .doc; name a page (.html)"),
        (
            ["three.csv", "--color", "nope", "-o", "m.csv"],
            "no column 'nope' to color by; there are cluster, kind",
        ),
    ],
)
def test_bad_input(statim, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.txt").write_text("a guitar\n")
    (tmp_path / "three.csv").write_text("text,kind\na guitar,x\nan oven,y\na wheel,x\n")
    code, out, err = statim("map", *arguments, "-q")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m.csv").exists()
