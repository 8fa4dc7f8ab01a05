"""Search over HTTP gives what the library gives; changes where they are allowed."""

import shutil
from dataclasses import replace

import httpx
import orjson
import pytest
from running import running

from statim import Index
from statim.server import schemas
from statim.server.catalog import Catalog
from statim.server.options import ServerOptions
from statim.server.routes import search as routes

QUESTION = "sorting lists"


def post(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "vector", "k": 3},
        {"mode": "bm25"},
        {"weight": 0.2},
        {"fusion": "rrf"},
        {"filter": "length > 4 and verb = 'sort'"},
    ],
)
def test_search(client, index_folder, options):
    found = post(client, "/search", query="sort a list", index="docs", **options)
    asked = {"where" if name == "filter" else name: value for name, value in options.items()}
    expected = Index.load(index_folder).search("sort a list", **asked)
    assert len(expected) > 0
    assert [(hit["rank"], hit["id"], hit["text"], hit["metadata"]) for hit in found["hits"]] == [
        (hit.rank, hit.id, hit.text, hit.metadata) for hit in expected
    ]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    assert found["index"] == "docs"
    assert "marks" not in found["hits"][0]


def test_the_mode_is_the_indexs_own(index_folder, tmp_path):
    place = tmp_path / "docs"
    shutil.copytree(index_folder, place)
    index = Index.load(place)
    index.settings = replace(index.settings, mode="bm25")
    endpoints = {one.path: one for one in routes.endpoints(Catalog([str(place)], ServerOptions()))}
    for asked, mode in (({}, "bm25"), ({"mode": "vector"}, "vector"), ({"weight": 0.2}, "hybrid")):
        body = orjson.loads(endpoints["/search"].run(schemas.Search(query="sort a list", **asked)).body)
        assert body["mode"] == mode
        expected = index.search("sort a list", **asked)
        assert [hit["id"] for hit in body["hits"]] == [hit.id for hit in expected]


def test_a_change_of_its_own_is_not_read_again(index_folder, tmp_path):
    place = tmp_path / "docs"
    shutil.copytree(index_folder, place)
    (entry,) = Catalog([str(place)], ServerOptions(writable=True)).entries.values()
    index = entry.index()
    entry.change(lambda one: one.add(["a made thing"], ids=["made"], metadata=[{"verb": "x", "length": 1}]))
    assert entry.index() is index
    assert index.search("made thing", 1, mode="bm25")[0].id == "made"
    Index.load(place).delete("made")
    assert entry.index() is not index
    assert entry.index().search("made thing", mode="bm25") == []


def test_marks_are_the_words_that_bm25_matches(client):
    hits = post(client, "/search", query=QUESTION, explain=True)["hits"]
    (hit,) = [hit for hit in hits if hit["id"] == "sort-list"]
    assert [hit["text"][start:end] for start, end in hit["marks"]] == ["sort", "list"]


def test_nothing_found(client):
    assert post(client, "/search", query="xyzzy", mode="bm25")["hits"] == []


def test_get(client):
    found = post(client, "/get", ids=["open-file", "missing", "sort-list", "open-file"])
    assert found["documents"] == [
        {"id": "open-file", "text": "how to open a file", "verb": "open", "length": 4},
        {"id": "sort-list", "text": "how to sort a list", "verb": "sort", "length": 4},
    ]


def test_changes_are_refused_by_default(client, index_folder):
    before = len(Index.load(index_folder))
    for path, body in (
        ("/add", {"documents": [{"id": "x", "text": "y"}]}),
        ("/update", {"documents": [{"id": "x", "text": "y"}]}),
        ("/delete", {"ids": ["sort-list"]}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 403
        assert "--writable" in answer.json()["error"]["message"]
    assert len(Index.load(index_folder)) == before


def test_changes(index_folder, tmp_path):
    place = tmp_path / "docs"
    shutil.copytree(index_folder, place)
    with (
        running(tmp_path / "log", place, "--writable") as found,
        httpx.Client(base_url=found.url, timeout=60) as client,
    ):
        new = {"id": "new", "text": "how to train a model", "verb": "train", "length": 5}
        assert post(client, "/add", documents=[new]) == {"index": "docs", "changed": 1, "documents": 21}
        assert post(client, "/search", query="train a model", k=1)["hits"][0]["id"] == "new"
        again = client.post("/add", json={"documents": [new]})
        assert again.status_code == 422
        assert "'new' is in the index already" in again.json()["error"]["message"]
        post(client, "/update", documents=[{**new, "text": "how to load a model"}])
        assert post(client, "/get", ids=["new"])["documents"][0]["text"] == "how to load a model"
        assert post(client, "/delete", ids=["new", "missing"])["changed"] == 1
        assert post(client, "/delete", filter="verb = 'open'") == {
            "index": "docs",
            "changed": 5,
            "documents": 15,
        }
        for body, message in (
            ({}, "give either ids or a condition"),
            ({"ids": ["a"], "filter": "length > 1"}, "give either ids or a condition"),
            ({"filter": "length > 0"}, "that would delete all 15 documents"),
        ):
            answer = client.post("/delete", json=body)
            assert answer.status_code == 422
            assert message in answer.json()["error"]["message"]
        for document, message in (
            ({"text": "a"}, "id"),
            ({"id": "a"}, "text"),
            ({"id": "a", "text": None}, "text"),
            ({"id": "a", "text": "b", "other": 1}, "'other', which the index does not have"),
            ({"id": "a", "text": "b", "length": "long"}, "length"),
        ):
            answer = client.post("/add", json={"documents": [document]})
            assert answer.status_code == 422, document
            assert message in answer.json()["error"]["message"]
    assert len(Index.load(place)) == 15
