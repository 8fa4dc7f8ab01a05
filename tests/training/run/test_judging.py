"""What a trained model is compared with, and how to search with it."""

import json
import logging

import numpy as np
import pytest

from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.reading import read_pairs
from statim.errors import InputError
from statim.model import StaticModel
from statim.search.index import Index
from statim.training.run import baselines, checkpoint
from statim.training.run.baselines import baselines_of, sample
from statim.training.train import train

QUICK = {
    "start": "random",
    "dim": 32,
    "batch": 16,
    "threads": 1,
    "heldout": 40,
    "development": 40,
    "epochs": 2,
}


def names(result):
    return [row.name for row in result.comparison.rows]


def test_hybrid_has_a_row_and_what_was_tuned_is_kept(pairs, tmp_path):
    result = train(pairs, out=tmp_path / "m", **QUICK)
    assert names(result) == ["start", "trained", "bm25", "hybrid"]
    tuned = result.model.settings.search
    assert StaticModel.load(tmp_path / "m").settings.search == tuned
    assert result.to_dict()["search"]["weight"] == tuned.weight
    assert f"whose weight is {tuned.weight:g} (chosen on development pairs)" in str(result)
    assert "| hybrid |" in (tmp_path / "m" / "README.md").read_text()
    assert set(result.references) == {"bm25"}
    index = Index.build(result.model, pairs.positives.to_pylist()[:50], tmp_path / "i")
    assert index.settings == tuned


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("none", ["start", "trained"]),
        (False, ["start", "trained"]),
        ("bm25", ["start", "trained", "bm25", "hybrid"]),
    ],
)
def test_baselines_are_named(pairs, asked, expected):
    assert names(train(pairs, baselines=asked, **QUICK)) == expected


def test_names_of_baselines():
    assert baselines_of(None) == baselines_of(True) == baselines_of("teacher, bm25") == ("bm25", "teacher")
    assert baselines_of("teacher") == ("teacher",)
    assert baselines_of("none") == baselines_of(False) == ()
    for wrong in ("", "bm26", "none,bm25"):
        with pytest.raises(InputError, match="baselines is"):
            baselines_of(wrong)


def test_without_development_pairs_the_default_stays(pairs):
    result = train(pairs, **QUICK | {"development": 0})
    assert result.model.settings.search is None
    assert "whose weight is 0.5 (the default, since none was tuned)" in str(result)


def test_an_interruption_while_baselines_are_measured_loses_nothing(pairs, tmp_path, monkeypatch, caplog):
    def stop(*given, **more):
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO, "statim")
    monkeypatch.setattr(baselines, "compared", stop)
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", **QUICK)
    assert not checkpoint.folder(tmp_path / "m").exists()
    assert StaticModel.load(tmp_path / "m", verify="always").settings.search is not None
    assert "| trained |" in (tmp_path / "m" / "README.md").read_text()
    assert caplog.messages[-1] == f"the model is saved in {tmp_path / 'm'}; its table is without baselines"


def test_a_sample_has_every_answer_of_its_queries():
    rows = [(f"question {i} {j}", f"document {i}") for i in range(60) for j in range(3)]
    whole = from_pairs(read_pairs(rows))
    assert sample(whole, 200, 100) is whole
    some = sample(whole, 20, 30)
    assert (len(some.queries), len(some.documents)) == (20, 30)
    texts = some.documents.to_pylist()
    answers = [texts[d] for d in some.judged_documents]
    asked = [some.queries[int(q)].as_py() for q in some.judged_queries]
    assert sorted(some.judged_queries.tolist()) == list(range(20))
    assert all(answer.split()[1] == query.split()[1] for query, answer in zip(asked, answers, strict=True))
    many = sample(whole, 50, 5)
    assert len(many.documents) == len(np.unique(many.judged_documents))


def test_a_table_of_a_sample_says_so(pairs, monkeypatch):
    monkeypatch.setattr(baselines.sample, "__defaults__", (10, 10))
    result = train(pairs, **QUICK)
    assert result.comparison.queries == 10
    assert result.comparison.said[0].startswith("A sample of ")
    assert json.dumps(result.to_dict())
    assert train(pairs, baselines="none", **QUICK).comparison.queries > 10
