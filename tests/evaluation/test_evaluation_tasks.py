"""What a path holds, each task against scikit-learn and SciPy by hand, and the tables."""

import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score

from statim import StaticModel
from statim.data.labelled.labelled import read_labelled
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, DependencyError, InputError, ModelError
from statim.evaluation import compare, evaluate
from statim.evaluation.classification import predict
from statim.evaluation.encoders import load_encoder
from statim.evaluation.report import Report
from statim.evaluation.retrieval import evaluate_bm25
from statim.evaluation.tasks import find_tasks


@pytest.fixture(scope="module")
def model(minilm):
    random = np.random.default_rng(0)
    return StaticModel(random.standard_normal((minilm.get_vocab_size(), 32)).astype(np.float32), minilm)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def labelled(docstrings):
    """Texts of three kinds that words can tell apart, each kind's texts all different."""
    openings = {"a": "Return the value", "b": "Open a file", "c": "Test whether it fails"}
    return [
        {"text": f"{openings['abc'[i % 3]]}. {text[:60]}", "label": "abc"[i % 3]}
        for i, text in enumerate(docstrings[:180])
    ]


@pytest.fixture
def sts(docstrings):
    random = np.random.default_rng(1)
    return [
        {"text1": text[:80], "text2": text[20:100], "score": float(random.integers(0, 6))}
        for text in docstrings[:120]
        if len(text) > 100
    ]


@pytest.fixture
def beir(tmp_path, docstrings):
    folder = tmp_path / "beir"
    write(
        folder / "corpus.jsonl",
        [{"_id": f"d{i}", "title": "", "text": t} for i, t in enumerate(docstrings[:80])],
    )
    write(folder / "queries.jsonl", [{"_id": f"q{i}", "text": t[:60]} for i, t in enumerate(docstrings[:20])])
    (folder / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(20))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def kinds(*paths, task=None):
    return [(found.kind, found.name) for found in find_tasks(paths, task)]


def test_columns_and_names_say_what_a_file_is(tmp_path, sts, labelled, beir):
    one = {"text1": "a", "text2": "b"}
    assert kinds(write(tmp_path / "x.jsonl", sts)) == [("sts", "x")]
    assert kinds(write(tmp_path / "p.jsonl", [{**one, "label": 1}])) == [("pairs", "p")]
    assert kinds(write(tmp_path / "p.jsonl", [{**one, "label": 1}]), task="sts") == [("sts", "p")]
    assert kinds(write(tmp_path / "q.v2.jsonl", [{"anchor": "a", "positive": "b"}])) == [
        ("retrieval", "q.v2")
    ]
    assert kinds(write(tmp_path / "texts.jsonl", labelled)) == [("clustering", "texts")]
    assert kinds(beir) == [("retrieval", "beir")]
    train, test = write(tmp_path / "c_train.jsonl", labelled), write(tmp_path / "c_test.jsonl", labelled)
    expected = [("classification", "c_test")]
    assert kinds(test) == kinds(train) == kinds(train, test, test) == expected
    assert find_tasks([test])[0].train == train
    assert kinds(train, task="clustering") == [("clustering", "c_train")]


def test_a_folder_is_all_that_is_in_it(tmp_path, sts, labelled, beir):
    for name in ("c_train", "c_test", "c_valid", "d_train", "d_dev"):
        write(beir.parent / f"{name}.jsonl", labelled)
    write(beir.parent / "more" / "sts.jsonl", sts)
    write(beir.parent / "other.jsonl", [{"x": 1}])
    (beir.parent / "README.md").write_text("hello")
    expected = [
        ("retrieval", "beir"), ("classification", "c_test"), ("classification", "d_dev"), ("sts", "sts"),
    ]  # fmt: skip
    assert kinds(beir.parent) == expected
    assert kinds(beir.parent, task="sts") == [("sts", "sts")]
    # a development file by itself is meant
    assert kinds(beir.parent / "c_valid.jsonl") == [("classification", "c_valid")]


def test_what_could_be_several_things_is_asked(tmp_path, labelled):
    both = write(tmp_path / "x.jsonl", [{"text1": "a", "text2": "b", "score": 1, "label": 0}])
    with pytest.raises(InputError, match="could be for sts or pairs; say which with --task"):
        find_tasks([both])
    assert kinds(both, task="pairs") == [("pairs", "x")]
    entailed = {"text1": "a", "text2": "b", "score": 4.5, "label": "ENTAILMENT"}
    assert kinds(write(tmp_path / "sick.jsonl", [entailed])) == [("sts", "sick")]
    alone = write(tmp_path / "y_test.jsonl", labelled)
    with pytest.raises(
        InputError, match=r"y_train with the same kind of suffix must lie beside it.*--task clustering"
    ):
        find_tasks([alone])
    assert kinds(alone, task="clustering") == [("clustering", "y_test")]


def test_what_cannot_be_evaluated_on_is_refused(tmp_path, sts, labelled):
    with pytest.raises(InputError, match="the task is 'sorting'; it must be one of sts"):
        find_tasks([tmp_path], "sorting")
    with pytest.raises(InputError, match="at least one file or folder"):
        find_tasks([])
    with pytest.raises(DataError, match="no data files"):
        find_tasks([tmp_path])
    with pytest.raises(DataError, match=r"nowhere.jsonl cannot be read"):
        find_tasks([tmp_path / "nowhere.jsonl"])
    odd = write(tmp_path / "odd.jsonl", [{"x": 1}])
    with pytest.raises(DataError, match="its columns are: x; what can be"):
        find_tasks([odd])
    with pytest.raises(DataError, match="holds nothing to evaluate on; what can be"):
        find_tasks([tmp_path])
    with pytest.raises(DataError, match="cannot be evaluated on as clustering; its columns are: text1"):
        find_tasks([write(tmp_path / "sts.jsonl", sts)], "clustering")
    with pytest.raises(InputError, match="needs two files side by side"):
        find_tasks([write(tmp_path / "l.jsonl", labelled)], "classification")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_every_task_equals_the_same_by_hand(tmp_path, model, sts, labelled):
    judged = [{"text1": r["text1"], "text2": r["text2"], "label": int(r["score"] > 2)} for r in sts]
    paths = [
        write(tmp_path / "s.jsonl", sts),
        write(tmp_path / "p.jsonl", judged),
        write(tmp_path / "c_test.jsonl", labelled[120:]),
        write(tmp_path / "k.jsonl", labelled),
    ]
    write(tmp_path / "c_train.jsonl", labelled[:120])
    report = evaluate(model, paths)
    found = {row.task: next(iter(row.metrics.values())) for row in report.rows}
    assert [row.model for row in report.rows] == ["model"] * 4
    left, right = (unit(model.encode([row[name] for row in sts])) for name in ("text1", "text2"))
    cosines = (left.astype(float) * right).sum(axis=1)
    assert found["sts"] == pytest.approx(
        spearmanr(cosines, [row["score"] for row in sts]).statistic, abs=1e-6
    )
    expected = average_precision_score([row["label"] for row in judged], cosines)
    assert found["pairs"] == pytest.approx(expected, abs=1e-6)
    vectors, labels = model.encode([row["text"] for row in labelled]), [row["label"] for row in labelled]
    probe = LogisticRegression(max_iter=2000).fit(vectors[:120], labels[:120])
    assert found["classification"] == pytest.approx(probe.score(vectors[120:], labels[120:]), abs=1e-9)
    assert found["classification"] > 0.8
    clusters = KMeans(3, n_init=3, random_state=0).fit_predict(vectors)
    assert found["clustering"] == pytest.approx(v_measure_score(labels, clusters), abs=1e-6)
    train, test = (read_labelled(tmp_path / f"c_{part}.jsonl") for part in ("train", "test"))
    looser = LogisticRegression(C=100, max_iter=2000).fit(vectors[:120], labels[:120]).predict(vectors[120:])
    assert (predict(model, train, test, C=100) == looser).all()
    assert (predict(model, train, test, C=1e-6) != looser).any()
    again = evaluate(model, paths)
    assert [row.metrics for row in again.rows] == [row.metrics for row in report.rows]


def test_retrieval_beside_bm25_and_another_model(tmp_path, model, beir):
    model.save(tmp_path / "saved")
    report = evaluate(model, beir, against=["BM25", str(tmp_path / "saved")])
    assert [row.model for row in report.rows] == ["model", str(tmp_path / "saved"), "bm25", "hybrid"]
    ours, saved, bm25, hybrid = report.rows
    assert hybrid.metrics["recall@100"] >= bm25.metrics["recall@100"]
    assert ours.metrics == saved.metrics
    assert set(ours.metrics) == {"ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "map"}
    assert ours.difference is None
    assert saved.difference == (0, 0, 0, 1)
    assert bm25.difference.difference == pytest.approx(bm25.metrics["ndcg@10"] - ours.metrics["ndcg@10"])
    assert len(report.remarks) == 2
    assert "whose weight is 0.5 (the default, since none was tuned)" in report.remarks[0]
    assert json.loads(json.dumps(report.to_dict()))["rows"][0]["set"] == "beir"
    alone = evaluate("bm25", beir)
    assert [(row.model, row.metrics) for row in alone.rows] == [("bm25", bm25.metrics)]


def test_bm25_has_no_place_outside_of_retrieval(tmp_path, model, sts):
    report = evaluate(model, write(tmp_path / "s.jsonl", sts), against="bm25")
    assert [row.model for row in report.rows] == ["model"]
    assert report.remarks == ("BM25 ranks documents for a query, so it stands in the retrieval table only.",)


def test_pairs_are_a_retrieval_set(tmp_path, model, docstrings):
    rows = [{"anchor": text[:40], "positive": text} for text in docstrings[:50] if len(text) > 60]
    path = write(tmp_path / "pairs.jsonl", rows)
    (row,) = evaluate(model, path).rows
    direct = compare({"m": model}, from_pairs(read_pairs(path)), bm25=False)
    assert row.metrics == direct["m"].metrics
    assert row.metrics["recall@10"] > 0.5


class Fixed:
    """An encoder that gives the same vectors for whatever is asked."""

    def __init__(self, value):
        self.value = value

    def encode(self, texts, *, progress=False):
        return np.full((len(texts), 4), self.value, np.float32)

    encode_query = encode_document = encode


@pytest.fixture
def heldout(docstrings):
    rows = [(text[:60], text) for text in docstrings[:60] if len(text) > 80]
    return from_pairs(read_pairs(rows), name="held-out")


def test_the_table_says_plainly_who_won(heldout, model):
    lost = compare({"start": Fixed(0.0), "trained": Fixed(math.nan)}, heldout, reference="trained")
    assert [row.name for row in lost.rows] == ["start", "trained", "bm25"]
    assert lost["bm25"].metrics == evaluate_bm25(heldout).metrics
    assert lost["trained"].metrics["ndcg@10"] == 0.0
    assert lost["trained"].difference is None
    assert "BM25 beats trained here (NDCG@10 0.000 against 1.000; p < 0.001)" in str(lost)
    level = compare({"a": Fixed(1.0), "b": Fixed(0.0)}, heldout, bm25=False, reference="a")
    assert "b" in level
    assert "bm25" not in level
    assert "BM25" not in str(level)
    with pytest.raises(KeyError):
        level["bm25"]
    lines = str(lost).splitlines()
    assert lines[0].split() == ["NDCG@10", "MRR@10", "recall@1", "recall@10", "recall@100", "MAP", "seconds"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lost.markdown().splitlines()[1].startswith("| --- | ---: |")
    assert f"{len(heldout.queries)} queries, {len(heldout.documents)} documents." in str(lost)
    assert json.loads(json.dumps(lost.to_dict()))["rows"][2]["model"] == "bm25"
    won = compare({"m": model}, heldout, reference="m")
    assert "m and BM25" in str(won) or "beats" in str(won)


def test_a_reference_must_be_there(heldout):
    with pytest.raises(InputError, match="the reference is 'x'; it must be one of the models: m, bm25"):
        compare({"m": Fixed(1.0)}, heldout, reference="x")


def test_vectors_that_nothing_can_be_fitted_to(tmp_path, labelled):
    path = write(tmp_path / "k.jsonl", labelled)
    with pytest.raises(ModelError, match="vector of text 0 holds NaN"):
        evaluate(Fixed(math.nan), path)
    assert evaluate(Fixed(1.0), path).rows[0].metrics["v_measure"] == pytest.approx(0, abs=1e-9)
    same = write(tmp_path / "one.jsonl", [{"text": "a", "label": "x"}, {"text": "b", "label": "x"}])
    with pytest.raises(DataError, match="1 different labels"):
        evaluate(Fixed(1.0), same)


def test_scikit_learn_is_asked_for(tmp_path, model, labelled, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    with pytest.raises(DependencyError, match=r'pip install "statim\[evaluate\]"'):
        evaluate(model, write(tmp_path / "k.jsonl", labelled))


def test_an_encoder_is_told_by_its_folder(tmp_path, model):
    model.save(tmp_path / "saved")
    assert isinstance(load_encoder(tmp_path / "saved"), StaticModel)
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="safetensors"):
        load_encoder(tmp_path / "saved")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        load_encoder("no-organisation/no-model")


def test_an_empty_report_is_no_trouble():
    assert Report(()).table() == ""
