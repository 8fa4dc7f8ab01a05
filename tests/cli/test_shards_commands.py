"""Folders of vectors and indexes in shards on the command line."""

import json
import shutil

import pytest


@pytest.fixture
def docs(tmp_path, pair_rows):
    folder = tmp_path / "docs"
    folder.mkdir()
    for part in range(4):
        rows = ({"id": f"p{part}-{i}", "text": row["answer"]} for i, row in enumerate(pair_rows[part::4]))
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_vectors_of_many_files_become_an_index(statim, tmp_path, model_folder, docs):
    vectors, out = tmp_path / "vectors", tmp_path / "docs.index"
    code, printed, err = statim("encode", model_folder, docs, "--out", vectors)
    assert code == 0, err
    assert "400 texts of 4 shards in" in printed
    code, printed, err = statim("encode", model_folder, docs, "--out", vectors, "--resume", "--json")
    assert (code, json.loads(printed)["resumed"]) == (0, 4), err
    code, printed, err = statim("index", "build", model_folder, vectors, "--out", out, "--shards", 2)
    assert code == 0, err
    assert "400 documents in 2 shards indexed in" in printed
    assert json.loads(statim("index", "info", out, "--json")[1])["shards"] == 2
    code, printed, _ = statim("search", out, "sort a list", "-k", 3, "--json")
    assert (code, len(json.loads(printed)["hits"])) == (0, 3)
    assert "missing_shards" not in json.loads(printed)
    shutil.rmtree(out / "1")
    code, _, err = statim("search", out, "sort a list")
    assert (code, err.count("\n")) == (2, 1)
    assert "the shard 1 of" in err
    code, printed, err = statim("search", out, "sort a list", "--json", "--allow-partial")
    assert (code, json.loads(printed)["missing_shards"]) == (0, ["1"])
    assert "answers are without the shard 1" in err


def test_new_shards(statim, tmp_path, model_folder, docs):
    out = tmp_path / "docs.index"
    given = [docs / "0.jsonl", docs / "1.jsonl"]
    code, _, err = statim("index", "build", model_folder, *given, "--out", out, "--shards", 2)
    assert code == 0, err
    code, printed, err = statim("index", "add", out, docs / "2.jsonl", "--shards", 1)
    assert code == 0, err
    assert "100 documents added" in printed
    assert json.loads(statim("index", "info", out, "--json")[1])["shards"] == 3
    assert statim("check", out)[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["encode", "MODEL", "DOCS", "--out", "a.npy", "--ray", "local"], "--ray is for many files at once"),
        (["encode", "MODEL", "DOCS", "--out", "a.npy", "--id", "id"], "--id is for many files at once"),
        (["encode", "MODEL", "-", "--out", "folder"], "a folder of vectors needs files of texts"),
        (
            ["encode", "MODEL", "DOCS", "--out", "folder", "--skip-bad", "b.jsonl"],
            "--skip-bad is of one output",
        ),
        (["encode", "MODEL", "DOCS", "--out", "folder", "--encoding", "klingon"], "klingon"),
        (["encode", "MODEL", "nothing/*.csv", "--out", "folder"], "nothing/*.csv matches no file"),
        (
            ["index", "build", "MODEL", "DOCS", "--out", "index", "--ray", "local"],
            "--ray is for a folder of vectors",
        ),
    ],
)
def test_refusals(statim, tmp_path, model_folder, docs, given, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": model_folder, "DOCS": docs}
    code, _, err = statim(*(places.get(word, word) for word in given))
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err
    assert {path.name for path in tmp_path.iterdir()} <= {"docs", "cache"}
