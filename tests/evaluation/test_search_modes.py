"""Judged questions choose how an index is searched, in every store."""

import dataclasses
import json

import numpy as np
import pytest

from statim.data.pairs.reading import read_pairs
from statim.digests import seal
from statim.errors import DataError, ModelError
from statim.evaluation.search_modes import JudgedSearch, tune
from statim.model import StaticModel
from statim.search.engines.exact import Exact
from statim.search.index import Index
from statim.search.lexical.bm25 import BM25
from statim.settings import SearchSettings


class Judged:
    """Query i is answered by document ``answers[i]``."""

    def __init__(self, answers):
        self.judged_queries = np.arange(len(answers))
        self.judged_documents = np.array(answers)
        self.grades = np.ones(len(answers), np.int32)


WORDS = [f"word{i}" for i in range(40)]
DOCUMENTS = [f"{WORDS[i]} {WORDS[(7 * i + 3) % 40]} {WORDS[(11 * i + 5) % 40]}" for i in range(40)]


def judged(vectors_know, words_know):
    """Queries whose answers only the vectors find, or only the words."""
    answers = [(3 * i + 1) % 40 for i in range(30)]
    rng = np.random.default_rng(1)
    documents = rng.standard_normal((40, 16)).astype(np.float32)
    queries = documents[answers] if vectors_know else rng.standard_normal((30, 16)).astype(np.float32)
    texts = [DOCUMENTS[a] if words_know else "nothing of it" for a in answers]
    engine = Exact(16)
    engine.add(documents)
    return JudgedSearch(engine, BM25.build(DOCUMENTS), texts, queries, Judged(answers))


@pytest.mark.parametrize(
    ("vectors_know", "words_know", "modes", "weights"),
    [
        (True, False, {"vector", "hybrid"}, (0.5, 1.0)),
        (False, True, {"bm25", "hybrid"}, (0.0, 0.5)),
        (True, True, {"hybrid"}, (0.5, 0.5)),
    ],
)
def test_what_finds_the_answers_is_chosen(vectors_know, words_know, modes, weights):
    search = judged(vectors_know, words_know)
    tuned = search.tuned()
    assert tuned.mode in modes
    assert weights[0] <= tuned.weight <= weights[1]
    assert search.scores(tuned.weight).metrics["recall@1"] == 1.0
    assert search.scores(1.0).metrics["recall@1"] == (1.0 if vectors_know else pytest.approx(0, abs=0.2))
    assert search.scores(0.0).metrics["recall@1"] == (1.0 if words_know else 0.0)


def test_thresholds_are_reached_by_their_share():
    search = judged(vectors_know=True, words_know=True)
    reached = search.thresholds(0.5)
    assert set(reached) == {"hybrid", "vector", "bm25"}
    np.testing.assert_allclose(list(reached["vector"].values()), 1.0, atol=2e-4)
    ordered = [reached["bm25"][share] for share in ("50", "75", "90", "95", "99")]
    assert ordered == sorted(ordered, reverse=True)
    right = [BM25.build(DOCUMENTS).search([DOCUMENTS[(3 * i + 1) % 40]], 1)[0][0, 0] for i in range(30)]
    assert np.mean(np.array(right) >= reached["bm25"]["90"]) >= 0.9
    assert np.mean(np.array(right) >= reached["bm25"]["50"] + 1e-3) <= 0.55


@pytest.fixture(scope="module")
def model(minilm):
    table = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 16))
    return StaticModel(table, minilm)


@pytest.fixture
def index(model, tmp_path):
    texts = [*DOCUMENTS, DOCUMENTS[0]]
    return Index.build(model, texts, tmp_path / "i", ids=[f"id-{i}" for i in range(41)])


def questions(count=20):
    """Half are judged by the id of their document, half by its text."""
    return [(f"{DOCUMENTS[i]} ?", f"id-{i}" if i % 2 else DOCUMENTS[i]) for i in range(count)]


def test_an_index_is_tuned_and_keeps_it(index, tmp_path):
    before = {hit.id for hit in index.search("word3 word4", 40)}
    found = tune(index, read_pairs([*questions(), ("elsewhere", "not in it")]))
    assert (found.questions, found.left_out) == (20, 1)
    assert found.rows["bm25"]["recall@10"] == 1.0
    assert index.settings == found.settings == Index.load(tmp_path / "i").settings
    assert index.info()["thresholds"]["hybrid"]["95"] == found.settings.thresholds["hybrid"]["95"]
    assert {hit.id for hit in index.search("word3 word4", 40, mode="hybrid")} == before
    index.add(["word3 once more"], ids=["new"])
    index.delete("id-5")
    assert Index.load(tmp_path / "i").settings == found.settings
    kept = index.search([question for question, _ in questions()], 1, min_score="50%")
    assert 8 <= sum(map(len, kept)) <= 14


def test_a_document_that_stands_twice_answers_both_times(index):
    pairs = [(f"{DOCUMENTS[0]} ?", DOCUMENTS[0]), ("word1", "id-1"), ("word3", "id-3")]
    found = tune(index, read_pairs(pairs))
    assert found.questions == 3
    assert found.rows["bm25"]["recall@10"] == 1.0


def test_too_few_questions_leave_an_index_as_it_was(index):
    tuned = tune(index, read_pairs(questions())).settings
    with pytest.raises(DataError, match="1 of 2 questions have their documents in the index; at least 3"):
        tune(index, read_pairs([("word1", "id-1"), ("x", "nowhere")]))
    assert index.settings == tuned


def test_answers_that_are_nowhere(index):
    with pytest.raises(DataError, match="none of the 2 answers"):
        tune(index, read_pairs([("a", "b"), ("c", "d")]))
    assert index.settings == SearchSettings()


@pytest.mark.parametrize(
    "damage", [{"mode": "best"}, {"thresholds": []}, {"thresholds": {"bm25": {"x": 1.0}}}]
)
def test_damaged_settings_are_refused(index, tmp_path, damage):
    path = tmp_path / "i" / "index.json"
    manifest = json.loads(path.read_text())
    manifest.pop("digest")
    path.write_text(json.dumps(seal(manifest | damage)))
    with pytest.raises(ModelError, match="mode or thresholds"):
        Index.load(tmp_path / "i")


def test_a_model_keeps_what_was_tuned(model, tmp_path):

    tuned = SearchSettings(0.3, "hybrid", {"hybrid": {"95": 0.25}})
    StaticModel(model.table, model.tokenizer, dataclasses.replace(model.settings, search=tuned)).save(
        tmp_path / "m"
    )
    assert StaticModel.load(tmp_path / "m").settings.search == tuned
    assert StaticModel.load(tmp_path / "m").quantize("int8").settings.search == tuned
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["statim"]["search"]["weight"] = 7
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="search"):
        StaticModel.load(tmp_path / "m", verify="never")
