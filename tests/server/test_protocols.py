"""text-embeddings-inference's endpoints, rerankings, and what the server says of itself."""

import httpx
import numpy as np
import pytest


def post(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_embed(client, model):
    texts = ["sort a list", "open"]
    np.testing.assert_array_equal(
        np.array(post(client, "/embed", inputs=texts), np.float32), model.encode(texts)
    )
    raw = post(client, "/embed", inputs="sort a list", normalize=False, dimensions=5)
    np.testing.assert_array_equal(np.array(raw, np.float32), model.encode(texts[:1], normalize=False, dim=5))
    asked = post(client, "/embed", inputs="sort", prompt_name="query")
    np.testing.assert_array_equal(np.array(asked, np.float32), model.encode_query(["sort"]))


def test_similarity(client, model):
    inputs = {"source_sentence": "sort", "sentences": ["sort a list", "sort", ""]}
    expected = model.similarity("sort", inputs["sentences"])[0]
    np.testing.assert_allclose(post(client, "/similarity", inputs=inputs), expected, atol=1e-6)


def test_tokenize(client, model):
    (tokens,) = post(client, "/tokenize", inputs="Sort the list")
    assert [token["id"] for token in tokens] == list(map(int, model.tokenize("Sort the list").ids))
    assert [(token["text"], token["start"], token["stop"]) for token in tokens] == [
        ("sort", 0, 4),
        ("the", 5, 8),
        ("list", 9, 13),
    ]


def test_info(client, model):
    found = client.get("/info").json()
    assert found["model_id"] == "small"
    assert found["model_sha"] == model.hash
    assert found["max_client_batch_size"] == 100
    assert found["served"][1] == {
        "name": "docs",
        "kind": "index",
        "dimensions": 32,
        "documents": 20,
        "columns": {"id": "string", "text": "large_string", "verb": "string", "length": "int64"},
        "mode": "hybrid",
    }


def test_health_and_metrics(client):
    assert client.get("/health").json() == {"status": "ok"}
    before = requests_of(client.get("/metrics").text)
    post(client, "/embed", inputs="sort")
    client.post("/embed", content=b"{")
    client.get("/a/private/path")
    after = requests_of(client.get("/metrics").text)
    assert after["/embed", 200] == before.get(("/embed", 200), 0) + 1
    assert after["/embed", 400] == before.get(("/embed", 400), 0) + 1
    assert {path for path, _ in after} <= {"/embed", "/health", "/metrics", "/info", "other", *PATHS}


PATHS = (
    "/v1/embeddings", "/v1/models", "/similarity", "/tokenize", "/rerank", "/v1/rerank", "/v2/rerank",
    "/search", "/get", "/add", "/update", "/delete", "/", "/page.css", "/page.js", "/docs", "/docs.js",
    "/openapi.json",
)  # fmt: skip


def requests_of(text):
    found = {}
    for line in text.splitlines():
        if line.startswith("statim_requests_total{"):
            labels, count = line.split("} ")
            _, path, _, status, _ = labels.split('"')
            found[path, int(status)] = int(count)
    return found


def test_the_histogram_adds_up(client):
    post(client, "/embed", inputs="sort")
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    count = lines['statim_request_seconds_count{path="/embed"}']
    assert lines['statim_request_seconds_bucket{path="/embed",le="+Inf"}'] == count


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rerank(client, model, path):
    texts = ["open the file", "sort a list", "sort"]
    found = post(client, path, query="sort", documents=texts, top_n=2, return_documents=True)
    assert [one["document"]["text"] for one in found["results"]] == ["sort", "sort a list"]
    assert [one["index"] for one in found["results"]] == [2, 1]
    query = model.encode_query("sort")
    expected = [float(model.encode(text) @ query) for text in ("sort", "sort a list")]
    np.testing.assert_allclose([one["relevance_score"] for one in found["results"]], expected, atol=1e-6)
    assert found["usage"]["total_tokens"] > 4
    assert found["meta"]["billed_units"]["search_units"] == 1


def test_rerank_of_objects_and_without_texts(client):
    found = post(client, "/v2/rerank", query="sort", documents=[{"text": "open"}, {"text": "sort"}])
    assert [one["index"] for one in found["results"]] == [1, 0]
    assert "document" not in found["results"][0]


def test_rerank_by_both(client):
    texts = ["open xyzzy", "sort a list"]  # a word that the model does not know
    by_cosine = post(client, "/rerank", query="sort xyzzy", documents=texts)
    both = post(client, "/rerank", query="xyzzy", documents=texts, mode="hybrid")
    assert [one["index"] for one in by_cosine["results"]] == [1, 0]
    assert [one["index"] for one in both["results"]] == [0, 1]


def test_rerank_as_text_embeddings_inference(client):
    found = post(client, "/rerank", query="sort", texts=["open", "sort a list"], return_text=True)
    assert [(one["index"], one["text"]) for one in found] == [(1, "sort a list"), (0, "open")]
    assert found[0]["score"] > found[1]["score"]


BAD = [
    ("/embed", {}, "inputs is missing; give a text"),
    ("/embed", {"inputs": None}, "inputs is not valid"),
    ("/embed", {"inputs": "a", "normalize": "yes"}, "normalize is not valid; give true or false"),
    ("/embed", {"inputs": "a", "prompt_name": "x"}, "has no prompt 'x'; it has query"),
    ("/embed", {"inputs": "a", "dimensions": 33}, "1 to 32 dimensions"),
    ("/embed", {"inputs": ["a"] * 101}, "send 100 at most"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, "at least one"),
    ("/similarity", {"inputs": "a"}, "source_sentence"),
    ("/tokenize", {"inputs": []}, "at least one"),
    ("/tokenize", {"inputs": ["a "] * 101}, "send 100 at most"),
    ("/rerank", {"query": "a"}, "give either documents or texts"),
    ("/rerank", {"query": "a", "documents": []}, "at least one text"),
    ("/rerank", {"query": 5, "documents": ["a"]}, "query is not valid; give a text"),
    ("/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "at least 1"),
    ("/rerank", {"query": "a", "documents": ["a"], "texts": ["a"]}, "either"),
    ("/rerank", {"query": "a", "documents": ["a"], "mode": "bm25"}, "hybrid"),
    ("/rerank", {"query": "a", "documents": ["a"] * 101}, "send 100 at most"),
    ("/search", {"query": "a", "k": 0}, "1 to 1000"),
    ("/search", {"query": "a", "k": 1001}, "1 to 1000"),
    ("/search", {"query": "a", "k": 1.5}, "1 to 1000"),
    ("/search", {"query": ["a"]}, "query is not valid; give a text"),
    ("/search", {"query": "a", "mode": "best"}, "hybrid"),
    ("/search", {"query": "a", "weight": 2}, "0 to 1"),
    ("/search", {"query": "a", "filter": "length > nan"}, "a number, a 'text', true or false is expected"),
    ("/search", {"query": "a", "filter": "year > 1"}, "'year', which the documents do not have"),
    ("/search", {"query": "a", "filter": ""}, "the name of a column is expected"),
    ("/search", {"query": "a", "index": "small"}, "small is a model, not an index"),
    ("/get", {"ids": []}, "at least one"),
    ("/get", {"ids": [1]}, "at least one text"),
    ("/add", {"documents": []}, "at least one"),
    ("/add", {"documents": ["a"]}, "documents is not valid"),
    ("/delete", {"ids": "a"}, "ids is not valid"),
]


@pytest.mark.parametrize(("path", "body", "message"), BAD)
def test_bad_input(client, path, body, message):
    answer = client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/embed", "/similarity", "/rerank", "/search", "/add", "/delete"]
)
@pytest.mark.parametrize("body", [b"", b"{", b"[" * 5000, b"\xff", b'{"a": NaN}', b'"a"', b"[1]", b"null"])
def test_no_json_object(client, path, body):
    answer = client.post(path, content=body)
    assert answer.status_code in (400, 422)
    assert "the body is no" in answer.json()["error"]["message"]


def test_unknown_names_are_told(client):
    for path, body, code in (
        ("/embed", {"inputs": "a", "model": "x"}, "model_not_found"),
        ("/search", {"query": "a", "index": "x"}, "index_not_found"),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == code


def test_unknown_paths_and_methods(client):
    assert client.get("/nothing").json()["error"]["message"] == "there is nothing at this path; see /docs"
    assert client.get("/nothing").status_code == 404
    assert client.get("/search").status_code == 405
    assert client.delete("/delete").status_code == 405


def test_the_api_is_described(client):
    found = client.get("/openapi.json").json()
    described = {
        "/v1/embeddings", "/embed", "/similarity", "/tokenize", "/rerank", "/search", "/get", "/add",
        "/update", "/delete", "/info", "/health", "/metrics", "/v1/models",
    }  # fmt: skip
    assert described <= found["paths"].keys()
    asked = found["components"]["schemas"]["Embeddings"]
    assert set(asked["properties"]) == {"input", "model", "dimensions", "encoding_format"}
    assert asked["required"] == ["input"]
    refused = found["paths"]["/search"]["post"]["responses"]
    assert {"413", "422", "429", "503"} <= refused.keys()


def test_nothing_of_a_page_comes_from_elsewhere(client):
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "http:" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https:" not in answer.text


def test_bodies_in_chunks(client):
    def parts():
        yield b'{"inputs":'
        yield b' "sort"}'

    assert client.post("/embed", content=parts()).status_code == 200


def test_chunks_without_end_are_refused(server):
    def parts():
        while True:
            yield b" " * 1000

    with httpx.Client(base_url=server.url, timeout=30) as client:
        try:
            answer = client.post("/embed", content=parts())
        except httpx.WriteError:  # it was told, and did not listen
            return
    assert answer.status_code == 413
