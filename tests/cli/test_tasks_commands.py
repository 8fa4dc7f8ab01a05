"""statim duplicates and statim cluster: what they write, and what they refuse."""

import json
import sys

import numpy as np
import pytest
from pyarrow import csv
from pyarrow import parquet as pq

from statim.tasks.duplicates.duplicates import find_duplicates


@pytest.fixture
def texts(tmp_path, pair_rows):
    path = tmp_path / "texts.jsonl"
    lines = [row["question"] for row in pair_rows] + [
        pair_rows[0]["question"],
        pair_rows[5]["question"].upper(),
    ]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return (csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)).to_pylist()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_duplicates_are_written(statim, tmp_path, model_folder, texts, suffix):
    out = tmp_path / f"out{suffix}"
    rows = {}
    for write in ("groups", "pairs", "kept"):
        code, printed, err = statim(
            "duplicates", texts, "--model", model_folder, "--threshold", 0.999, "--out", out, "--write",
            write, "--json", "--overwrite"
        )  # fmt: skip
        assert code == 0, err
        figures = json.loads(printed)
        assert (figures["rows"], figures["groups"], figures["kept"]) == (402, 2, 400)
        rows[write] = read(out)
        assert figures["written"] == len(rows[write])
    assert [row["row"] for row in rows["groups"]] == [0, 400, 5, 401]
    assert [(row["row"], row["other"]) for row in rows["pairs"]] == [(0, 400), (5, 401)]
    assert [row["row"] for row in rows["kept"]] == list(range(400))


def test_duplicates_for_a_person_and_between_two_sets(statim, tmp_path, model_folder, texts):
    code, printed, err = statim("duplicates", texts, "--model", model_folder, "--report")
    assert code == 0, err
    assert "0.90" in printed
    code, printed, err = statim(
        "duplicates", texts, "--model", model_folder, "--against", texts, "--threshold", 0.999, "--out",
        tmp_path / "pairs.jsonl"
    )  # fmt: skip
    assert code == 0, err
    assert "402 rows (100.0%) have a duplicate" in printed
    assert len(read(tmp_path / "pairs.jsonl")) == 402


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_clusters_are_written(statim, tmp_path, model_folder, texts, suffix):
    out = tmp_path / f"clusters{suffix}"
    code, printed, err = statim("cluster", texts, "--model", model_folder, "-n", 5, "--out", out, "--json")
    assert code == 0, err
    figures = json.loads(printed)
    assert figures["clusters"] == 5
    assert all(entry["words"] and entry["central"] for entry in figures["described"])
    rows = read(out)
    assert [row["row"] for row in rows] == list(range(402))
    assert np.bincount([row["cluster"] for row in rows]).tolist() == [
        entry["size"] for entry in figures["described"]
    ]
    code, printed, err = statim(
        "cluster", texts, "--model", model_folder, "--method", "communities", "-t", 0.9
    )
    assert code == 0, err
    assert "communities" in printed


def test_vectors_in_place_of_a_model(statim, tmp_path, model_folder, texts):
    vectors = tmp_path / "vectors.npy"
    assert statim("encode", model_folder, texts, "--out", vectors)[0] == 0
    options = ["--threshold", 0.999, "--json"]
    answers = [
        json.loads(statim("duplicates", *given, *options)[1])
        for given in ([texts, "--model", model_folder], [texts, "--vectors", vectors], ["--vectors", vectors])
    ]
    assert [answer["kept"] for answer in answers] == [400, 400, 400]
    code, printed, err = statim("cluster", "--vectors", vectors, "-n", 3)
    assert code == 0, err
    assert "rows [" in printed


@pytest.mark.parametrize("verb", ["duplicates", "cluster"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["{texts}", "--model", "{model}", "--threshold", "1.5"], ["threshold", "1.5"]),
        (["{texts}", "--model", "{model}", "--threshold", "x"], ["threshold"]),
        (["{texts}", "--vectors", "{three}"], ["3 vectors", "texts"]),
        (["{texts}", "--vectors", "{object}"], ["object.npy"]),
        (["{texts}", "--vectors", "{texts}"], ["texts.jsonl", ".npy"]),
        (["--vectors", "{yes}"], ["yes.npy holds bool of the shape (3, 4)", "numbers"]),
        (["{texts}", "--model", "{model}", "--seed", "-1"], ["--seed", "0"]),
        (["{texts}", "--vectors", "{gone}"], ["gone.npy"]),
        (["{texts}", "--model", "{model}", "--vectors", "{three}"], ["--model", "--vectors"]),
        ([], ["give texts, or vectors"]),
        (["{empty}", "--model", "{model}"], ["empty.txt", "empty"]),
        (["{texts}", "--model", "{gone}"], ["gone.npy"]),
        (["{texts}", "--model", "{model}", "--out", "{wrong}"], ["wrong.xyz", ".csv"]),
        (["{texts}", "--model", "{model}", "--out", "{there}"], ["there.csv", "exists"]),
        (["{texts}", "--model", "{model}", "--column", "nothing"], ["nothing"]),
    ],
)
def test_what_is_refused(statim, tmp_path, model_folder, texts, verb, given, words):
    np.save(tmp_path / "three.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "yes.npy", np.ones((3, 4), np.bool_))
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "there.csv").write_text("here")
    names = {
        name.split(".")[0]: tmp_path / name
        for name in ("three.npy", "object.npy", "yes.npy", "gone.npy", "empty.txt", "wrong.xyz", "there.csv")
    }
    code, out, err = statim(
        verb, *(str(part).format(texts=texts, model=model_folder, **names) for part in given)
    )
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0], lines[0]
    assert (tmp_path / "there.csv").read_text() == "here"
    assert not (tmp_path / "wrong.xyz").exists()
    assert not list(tmp_path.glob("*.statim-partial"))


def test_the_standard_input_is_read(statim, model_folder, monkeypatch, tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("sort a list\nopen a file\nsort a list\n")
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, printed, err = statim("duplicates", "-", "--model", model_folder, "--json")
    assert code == 0, err
    assert json.loads(printed)["kept"] == 2


@pytest.fixture
def spoilt(tmp_path, pair_rows):
    """402 rows, of which two cannot be read."""
    path = tmp_path / "spoilt.csv"
    rows = [f'{i},"{row["question"]}"\n'.encode() for i, row in enumerate(pair_rows)]
    rows[100:100] = [b'x,"open a file\0"\n', b"y,\xff\n"]
    path.write_bytes(b"n,text\n" + b"".join(rows))
    return path


def test_bad_rows_are_left_out_of_duplicates(statim, tmp_path, model_folder, spoilt):
    out, aside = tmp_path / "kept.csv", tmp_path / "bad.jsonl"
    arguments = (
        "duplicates",
        spoilt,
        "--model",
        model_folder,
        "--threshold",
        0.9999,
        "--write",
        "kept",
        "--out",
        out,
    )
    code, _, err = statim(*arguments)
    assert (code, "spoilt.csv, line 102: holds a zero byte" in err) == (2, True)
    assert "--skip-bad" in err
    code, printed, err = statim(*arguments, "--skip-bad", aside)
    assert code == 0, err
    assert f"2 bad rows skipped, written to {aside}" in printed
    assert [json.loads(line)["line"] for line in aside.read_text().splitlines()] == [102, 103]
    assert [row["row"] for row in read(out)] == list(range(400))
    code, printed, err = statim(
        *arguments[:6], "--report", "--against", spoilt, "--skip-bad", aside, "--overwrite", "--json"
    )
    assert code == 0, err
    assert json.loads(printed)["skipped"] == 2  # of the same file, read twice
    assert find_duplicates(spoilt, model_folder, skip_bad=tmp_path / "python.jsonl").items.rows == 400
    assert (tmp_path / "python.jsonl").read_bytes() == aside.read_bytes()


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_bad_rows_are_left_out_of_features(statim, tmp_path, model_folder, spoilt, suffix):
    out, aside = tmp_path / f"out{suffix}", tmp_path / "bad.jsonl"
    code, _, err = statim("features", model_folder, spoilt, "--out", out)
    assert (code, "spoilt.csv, line 102: holds a zero byte" in err) == (2, True)
    assert not out.exists()
    code, _, err = statim("features", model_folder, spoilt, "--out", out, "--skip-bad", aside)
    assert code == 0, err
    assert f"2 bad rows skipped, written to {aside}" in err
    assert [row["n"] for row in read(out)] == [str(i) for i in range(400)]
    assert [json.loads(line)["text"] for line in aside.read_text().splitlines()] == [
        'x,"open a file\0"',
        "y,\\xff",
    ]
