"""Classifier and statim classify: fitted, saved, opened, applied; and what they refuse."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statim import Classifier
from statim.cli import main
from statim.errors import DataError, InputError, ModelError
from statim.tasks.classify import inputs
from statim.tasks.classify.fitting import KINDS


@pytest.fixture
def statim(monkeypatch, capfd):
    """Run ``statim classify ARGUMENTS``; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["statim", "classify", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture
def files(tmp_path, model, other_model, labelled):
    model.save(tmp_path / "model")
    other_model.save(tmp_path / "other")
    rows = [{"text": text, "label": label} for text, label in zip(*labelled, strict=True)]
    for name, some in (("train", rows[:180]), ("test", rows[180:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (tmp_path / "texts.txt").write_text("".join(text + "\n" for text in labelled[0][180:]))
    return tmp_path


def refused(result, *words):
    code, out, err = result
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    for word in words:
        assert word in lines[-1], lines[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_opened_it_says_the_same(tmp_path, model, labelled, kind):
    texts, labels = labelled
    classifier = Classifier.fit(model, texts[:180], labels[:180], head=kind)
    judged = classifier.evaluate(texts[180:], labels[180:])
    assert judged.figures["accuracy"] > 0.7, kind
    assert judged.figures["log_loss"] < 0.8
    classifier.save(tmp_path / "head")
    again = Classifier.load(tmp_path / "head", model)
    np.testing.assert_array_equal(again.probabilities(texts), classifier.probabilities(texts))
    np.testing.assert_allclose(again.probabilities(texts).sum(axis=1), 1, rtol=1e-5)
    assert again.predict(texts[0]) == classifier.predict([texts[0]])
    assert again.probabilities([]).shape == (0, 3)
    assert (again.labels, again.kind, again.several) == (["files", "sorting", "threads"], kind, False)
    assert again.fitted.tried == classifier.fitted.tried
    model.save(tmp_path / "model")
    opened = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(
        Classifier.load(tmp_path / "head", opened).probabilities(texts), classifier.probabilities(texts)
    )


def test_blocks_change_nothing(model, labelled, monkeypatch):
    texts, labels = labelled
    whole = Classifier.fit(model, texts, labels)
    expected = whole.probabilities(texts)
    monkeypatch.setattr(inputs, "BLOCK", 7)
    np.testing.assert_allclose(whole.probabilities(iter(texts)), expected, atol=1e-6)
    np.testing.assert_allclose(Classifier.fit(model, texts, labels).probabilities(texts), expected, atol=1e-6)
    with pytest.raises(InputError, match="text 9 "):
        whole.predict([*texts[:9], None, *texts])


def test_ngrams_know_order(model):
    """The vectors of these two labels are the same."""
    texts = ["sort then open", "open then sort"] * 40
    labels = ["first", "second"] * 40
    blind = Classifier.fit(model, texts, labels, ngrams=False)
    assert blind.evaluate(texts, labels).figures["accuracy"] == 0.5
    assert Classifier.fit(model, texts, labels).evaluate(texts, labels).figures["accuracy"] == 1.0


def test_a_few_examples(model):
    classifier = Classifier.fit(
        model, ["sort the list", "open the file", "start the thread"], ["s", "f", "t"], head="centroid"
    )
    assert classifier.predict(["order a list", "now sort", "do open a file"]) == ["s", "s", "f"]
    assert not classifier.fitted.calibration.fitted


@pytest.mark.parametrize("kind", KINDS)
def test_several_labels(tmp_path, model, labelled, kind):
    texts, labels = labelled
    both = [
        [label] + (["has the"] if "the" in text.split() else [])
        for text, label in zip(texts, labels, strict=True)
    ]
    both[3] = []
    classifier = Classifier.fit(model, texts[:180], both[:180], head=kind, several=True)
    judged = classifier.evaluate(texts[180:], both[180:])
    assert judged.figures["micro_f1"] > (0.6 if kind == "centroid" else 0.7), kind
    assert set(classifier.labels) == {"files", "sorting", "threads", "has the"}
    classifier.save(tmp_path / "head")
    again = Classifier.load(tmp_path / "head", model)
    assert again.predict(texts) == classifier.predict(texts)
    told, p = again.predict(texts)[0], again.probabilities(texts)[0]
    assert told == sorted(
        (n for n, q in zip(again.labels, p, strict=True) if q >= 0.5), key=lambda n: -p[again.labels.index(n)]
    )


def test_nothing_but_numpy_applies_a_head(tmp_path, model, labelled):
    """No SciPy, no scikit-learn; and no statim, with the arrays of the folder."""
    texts, labels = labelled
    classifier = Classifier.fit(model, texts, labels)
    classifier.save(tmp_path / "head")
    model.save(tmp_path / "model")
    code = (
        "import sys; from statim import Classifier, StaticModel\n"
        "c = Classifier.load(sys.argv[1] + '/head', StaticModel.load(sys.argv[1] + '/model'))\n"
        "print(c.predict(['sort a list'])[0], *{'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.split() == classifier.predict(["sort a list"]), done.stderr


def test_the_command_line(files, statim):
    head = files / "head"
    code, out, err = statim(
        "fit",
        files / "model",
        files / "train.jsonl",
        "--out",
        head,
        "--development",
        files / "test.jsonl",
        "--json",
    )
    assert code == 0, err
    assert json.loads(out)["judged_on"] == "development"
    code, out, err = statim("evaluate", files / "model", head, files / "test.jsonl", "--json")
    assert code == 0, err
    figures = json.loads(out)
    assert figures["texts"] == 60
    assert figures["accuracy"] > 0.7
    code, out, err = statim("evaluate", files / "model", head, files / "test.jsonl")
    assert "accuracy" in out
    code, out, err = statim(
        "predict", files / "model", head, files / "texts.txt", "--out", files / "told.parquet", "--top", "2"
    )
    assert code == 0, err
    table = pq.read_table(files / "told.parquet")
    assert table.column_names == ["text", "label", "probability", "labels", "probabilities"]
    code, out, err = statim("predict", files / "model", head, files / "texts.txt", "--quiet")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] for row in rows] == table.column("label").to_pylist()
    assert rows[0].keys() == {"text", "label", "probability"}
    truth = [json.loads(line)["label"] for line in (files / "test.jsonl").read_text().splitlines()]
    right = np.mean([row["label"] == label for row, label in zip(rows, truth, strict=True)])
    assert right == pytest.approx(figures["accuracy"])


def test_several_labels_on_the_command_line(files, statim):
    (files / "tags.csv").write_text(
        "text,tags\n"
        + "".join(f"sort the list {i},order;all\nopen a file {i},all\n" for i in range(30))
        + "run,\n"
    )
    given = ["--several", "--separator", ";", "--out", files / "tags"]
    code, out, err = statim("fit", files / "model", files / "tags.csv", *given, "--head", "ridge", "--quiet")
    assert code == 0, err
    options = ["--separator", ";", "--json"]
    code, out, err = statim("evaluate", files / "model", files / "tags", files / "tags.csv", *options)
    assert json.loads(out)["micro_f1"] > 0.95, err
    code, out, err = statim("predict", files / "model", files / "tags", files / "texts.txt", "--quiet")
    assert code == 0, err
    row = json.loads(out.splitlines()[0])
    assert len(row["label"]) == len(row["probabilities"])


def test_what_the_command_line_refuses(files, statim):
    head, model = files / "head", files / "model"
    one = files / "one.jsonl"
    one.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n')
    refused(statim("fit", model, one, "--out", head), "'x'", "two labels")
    (files / "gap.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n')
    gaps = statim("fit", model, files / "gap.jsonl", "--out", head)
    refused(gaps, "two labels")
    assert "1 of 2 rows have no label" in gaps[2]
    (files / "gap.csv").write_text("text,label\na,\nb, \n")
    refused(statim("fit", model, files / "gap.csv", "--out", head), "'label' has no label in any row")
    (files / "lists.jsonl").write_text(
        '{"text": "a", "labels": ["x", "y"]}\n{"text": "b", "labels": ["x"]}\n'
    )
    refused(
        statim("fit", model, files / "lists.jsonl", "--out", head), "lists.jsonl", "'labels'", "--several"
    )
    refused(statim("fit", model, files / "train.jsonl", "--out", head, "--seed", "-1"), "--seed", "0")
    (files / "bare.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    refused(statim("fit", model, files / "bare.jsonl", "--out", head), "bare.jsonl", "label")
    refused(
        statim("fit", model, files / "train.jsonl", "--out", head, "--head", "forest"), "forest", "logistic"
    )
    refused(
        statim("fit", model, files / "train.jsonl", "--out", head, "--strength", "nan"), "strength", "nan"
    )
    refused(statim("fit", files / "none", files / "train.jsonl", "--out", head), "none")
    assert not head.exists()
    assert not list(files.glob(".*"))
    assert statim("fit", model, files / "train.jsonl", "--out", head, "--head", "ridge")[0] == 0
    held = (head / "head.json").read_bytes()
    refused(statim("fit", model, files / "train.jsonl", "--out", head), "not empty")
    refused(statim("predict", files / "other", head, files / "texts.txt"), "another model")
    refused(statim("evaluate", files / "other", head, files / "test.jsonl"), "another model")
    refused(statim("predict", model, model, files / "texts.txt"), "not a head")
    refused(statim("predict", model, head, files / "gone.txt"), "gone.txt")
    refused(statim("predict", model, head, files / "texts.txt", "--out", files / "x.tsv"), ".tsv")
    refused(statim("predict", model, head, files / "texts.txt", "--top", "0"), "--top")
    assert (head / "head.json").read_bytes() == held


def test_damaged_heads(tmp_path, model, labelled):
    Classifier.fit(model, *labelled).save(tmp_path / "head")
    manifest, arrays = tmp_path / "head" / "head.json", tmp_path / "head" / "head.safetensors"
    good, bytes_ = json.loads(manifest.read_text()), arrays.read_bytes()
    for name, value in {
        "format": "x", "format_version": 2, "head": "svm", "labels": ["a"], "several": 1, "ngrams": 3,
        "slope": None, "tried": [1],
        "strength": float("nan"),
    }.items():  # fmt: skip
        manifest.write_text(json.dumps(good | {name: value}))
        with pytest.raises(ModelError):
            Classifier.load(tmp_path / "head", model)
    manifest.write_text(json.dumps(good))
    for content in (bytes_[:100], b"", bytes_[:-4]):
        arrays.write_bytes(content)
        with pytest.raises(ModelError):
            Classifier.load(tmp_path / "head", model)
    arrays.unlink()
    with pytest.raises(ModelError, match="missing"):
        Classifier.load(tmp_path / "head", model)


def test_what_python_refuses(model):
    with pytest.raises(InputError, match="2 texts and 1 labels"):
        Classifier.fit(model, ["a", "b"], ["x"])
    with pytest.raises(InputError, match="label 1 is nan"):
        Classifier.fit(model, ["a", "b"], ["x", np.nan])
    for missing in (pa.array(["x", None]), pd.Series(["x", pd.NA])):
        with pytest.raises(InputError, match="label 1 is"):
            Classifier.fit(model, ["a", "b"], missing)
    with pytest.raises(InputError, match="text 1 is"):
        Classifier.fit(model, ["a", np.nan], ["x", "y"])
    with pytest.raises(DataError, match="no label at all"):
        Classifier.fit(model, [], [])
    with pytest.raises(InputError, match="'z'"):
        Classifier.fit(model, ["a", "b"] * 9, ["x", "y"] * 9, development=(["a"], ["z"]))
    classifier = Classifier.fit(model, ["sort", "open"] * 9, [1, 2] * 9, head="ridge")
    assert classifier.labels == ["1", "2"]
    with pytest.raises(InputError, match="no examples"):
        classifier.evaluate([], [])


def test_tables_of_lists(model):
    table = pa.table({"text": ["sort", "open"] * 9, "tags": [["a", "b"], ["b"]] * 9})
    classifier = Classifier.fit(model, table, several=True, head="ridge")
    assert classifier.labels == ["a", "b"]
    assert classifier.predict(["sort", "open"]) == [["b", "a"], ["b"]] or classifier.predict(["sort"]) == [
        ["a", "b"]
    ]
    bad = pa.table({"text": ["sort"], "tags": pa.array([None], pa.list_(pa.string()))})
    with pytest.raises(DataError, match="no label in any row"):
        Classifier.fit(model, bad, several=True)
