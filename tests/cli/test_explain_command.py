"""statim explain and statim neighbors."""

import json

import pytest

from statim.model import StaticModel
from statim.search.index import Index
from statim.settings import SearchSettings


@pytest.fixture
def index(tmp_path, model_folder):
    texts = ["open the file", "close the window", "read the list"]
    Index.build(StaticModel.load(model_folder), texts, tmp_path / "ix", ids=["a", "b\x1b[2J", "c"])
    return tmp_path / "ix"


def test_two_texts(statim, model_folder, tmp_path):
    a, b = "how do I open a file?", "open the file"
    code, out, err = statim("explain", model_folder, a, b, "--pairs", 3, "--html", tmp_path / "page.html")
    assert (code, err) == (0, "")
    assert out.startswith("cosine ")
    assert out.count(" · ") == 3
    assert "all other pairs" in out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    found = json.loads(statim("explain", model_folder, a, b, "--json")[1])
    left, right = StaticModel.load(model_folder).encode([a, b], normalize=True)
    assert found["score"] == pytest.approx(float(left @ right), abs=1e-6)
    assert sum(pair["contribution"] for pair in found["pairs"]) + found["rest"] == pytest.approx(
        found["score"]
    )
    assert statim("explain", model_folder, a, b, "--html", tmp_path / "page.html")[0] == 2


def test_two_texts_by_the_bundled_model(statim):
    code, out, err = statim("explain", "a cat sleeps", "the cat is asleep", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["score"] > 0.5


def test_an_answer(statim, index):
    code, out, err = statim("explain", index, "how to open a file", "--against", "c")
    assert (code, err) == (0, "")
    assert out.startswith("a: rank 1 (hybrid, ")
    assert "words of BM25: open" in out
    assert "why not c" in out
    found = json.loads(statim("explain", index, "open", "--hit", "c", "--json")[1])
    assert (found["id"], found["lexical"]["score"]) == ("c", 0.0)


def test_the_mode_is_the_index_s_own(statim, index):
    Index.load(index).settings = SearchSettings(0.5, "bm25")
    assert statim("explain", index, "open the file")[1].startswith("a: rank 1 (bm25, ")
    assert statim("explain", index, "open the file", "--mode", "vector")[1].startswith("a: rank 1 (vector, ")


def test_a_name_does_not_reach_the_terminal(statim, index):
    assert "\x1b" not in statim("explain", index, "close the window")[1]


REFUSED = {
    "one text": (["MODEL", "one"], "give two texts"),
    "four texts": (["one", "two", "three", "four"], "an argument too many"),
    "two questions": (["INDEX", "one", "two"], "give one question"),
    "hit of a model": (["MODEL", "one", "two", "--hit", "a"], "--hit and --against are for an index"),
    "no such document": (["INDEX", "open", "--hit", "zz"], "no document with the id 'zz'"),
    "no such rank": (["INDEX", "open", "--rank", "50"], "none of rank 50"),
    "nothing there": (["nowhere", "a", "b"], "nowhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(statim, index, model_folder, name):
    words, said = REFUSED[name]
    words = [{"MODEL": model_folder, "INDEX": index}.get(word, word) for word in words]
    code, out, err = statim("explain", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err


def test_neighbors(statim, model_folder):
    code, out, err = statim("neighbors", model_folder, "open", "-k", 4)
    assert (code, err, len(out.splitlines())) == (0, "", 4)
    code, out, err = statim("neighbors", model_folder, "open", "-k", 4, "--before", model_folder, "--json")
    rows = json.loads(out)["neighbors"]
    assert [row["score"] for row in rows] == [row["before"] for row in rows]
    code, out, err = statim("neighbors", model_folder, "")
    assert (code, out) == (2, "")
