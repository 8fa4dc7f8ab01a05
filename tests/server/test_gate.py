"""Limits, keys, names, logs, and the end of a server."""

import http.client
import json
import re
import signal
import socket
import threading
import time

import httpx
import pytest
from running import running

from statim import Index
from statim.cli import main
from statim.server.guards import Guards
from statim.server.options import ServerOptions
from statim.server.refusals import ApiError

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded(model_folder, index_folder, tmp_path_factory):
    """A server with a key, one place for a request and little patience."""
    log = tmp_path_factory.mktemp("log") / "log"
    limits = ("--max-requests", 1, "--timeout", 1, "--cors", "http://friend.example")
    with running(log, model_folder, index_folder, *limits, STATIM_API_KEY=KEY) as found:
        yield found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": "ä".encode()},
    ],
)
def test_without_the_key(guarded, headers):
    answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert KEY not in answer.text
    for path in ("/metrics", "/info", "/v1/models"):
        assert httpx.get(guarded.url + path, headers=headers).status_code == 401
    for path in ("/health", "/", "/docs", "/openapi.json"):
        assert httpx.get(guarded.url + path, headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}])
def test_with_the_key(guarded, headers):
    answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers=headers)
    assert answer.status_code == 200
    assert KEY not in guarded.log_path.read_text()


def test_pages_of_allowed_origins(guarded):
    headers = {"x-api-key": KEY, "origin": "http://friend.example"}
    answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "http://friend.example"
    headers["origin"] = "http://foe.example"
    answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_no_page_of_elsewhere_by_default(client):
    answer = client.post("/embed", json={"inputs": "a"}, headers={"origin": "http://foe.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "unknown_origin"
    own = client.post("/embed", json={"inputs": "a"}, headers={"origin": str(client.base_url).rstrip("/")})
    assert own.status_code == 200


OURS = [
    "127.0.0.1",
    "127.0.0.1:80",
    "localhost:8000",
    "[::1]:5",
    "a.localhost",
    "embedder",
    "10.0.0.5",
    "My.Host",
]
OTHERS = [
    "",
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "a b",
    "x@y",
]


@pytest.mark.parametrize("host", [*OURS, *OTHERS])
def test_names_that_a_server_answers_to(host):
    guards = Guards(ServerOptions(allow_hosts=("my.host",)))
    if host in OURS:
        guards.check_host({b"host": host.encode()})
    else:
        with pytest.raises(ApiError, match="does not answer to the name"):
            guards.check_host({b"host": host.encode()})


def test_a_name_that_is_not_ours(client):
    answer = client.get("/health", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["error"]["message"]


def test_slow_bodies_and_too_many_requests(guarded):
    """A caller that sends half of its body holds the only place until it is told that time is up."""
    host, port = guarded.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        head = f"POST /embed HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\ncontent-length: 99\r\n\r\n{{"
        slow.sendall(head.encode())
        time.sleep(0.2)
        answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers={"x-api-key": KEY})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "too_many_requests"
        assert httpx.get(f"{guarded.url}/health").status_code == 200
        slow.settimeout(10)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    answer = httpx.post(f"{guarded.url}/embed", json={"inputs": "a"}, headers={"x-api-key": KEY})
    assert answer.status_code == 200


def test_callers_that_leave(server, client):
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{")
    assert client.get("/health").status_code == 200
    for _ in range(100):
        text = client.get("/metrics").text
        if "\nstatim_requests_in_flight 1\n" in text:
            break
        time.sleep(0.05)
    assert "\nstatim_requests_in_flight 1\n" in text


def test_one_line_a_request_and_no_text(server, client):
    answer = client.post(
        "/embed?secret-query",
        json={"inputs": "secret-text", "model": "small"},
        headers={"x-request-id": "abc-1"},
    )
    assert answer.headers["x-request-id"] == "abc-1"
    client.get("/secret-path")
    client.post("/search", json={"query": "secret-question", "filter": "secret = 'x'"})
    made = client.post("/embed", json={"inputs": "a"}, headers={"x-request-id": "a b\tc"}).headers[
        "x-request-id"
    ]
    assert re.fullmatch("[0-9a-f]{32}", made)
    (line,) = [line for line in server.log() if line["id"] == "abc-1"]
    assert {**line, "time": 0, "ms": 0} == {
        "time": 0, "id": "abc-1", "method": "POST", "path": "/embed", "status": 200, "ms": 0,
        "bytes_in": len(json.dumps({"inputs": "secret-text", "model": "small"}, separators=(",", ":"))),
        "bytes_out": len(answer.content), "model": "small", "texts": 1, "tokens": 3,
    }  # fmt: skip
    assert "secret" not in server.log_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_requests_end(model_folder, tmp_path, number):
    with running(tmp_path / "log", model_folder) as found:
        host, port = found.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as caller:
            body = b'{"inputs": "sort"}'
            head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            caller.sendall(head + body[:5])
            time.sleep(0.2)
            stopping = threading.Thread(target=found.process.send_signal, args=(number,))
            stopping.start()
            time.sleep(0.3)
            caller.sendall(body[5:])
            caller.settimeout(10)
            assert caller.recv(1000).startswith(b"HTTP/1.1 200 ")
            stopping.join()
        assert found.process.wait(10) == 0


def refused(monkeypatch, capfd, *arguments):
    monkeypatch.setattr("sys.argv", ["statim", "serve", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capfd.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_bad_starts(monkeypatch, capfd, server, model_folder, tmp_path):
    port = server.url.rsplit(":", 1)[1]
    ask = [monkeypatch, capfd]
    assert f"port {port} of 127.0.0.1 is in use" in refused(*ask, model_folder, "--port", port)
    assert "--port is 70000" in refused(*ask, model_folder, "--port", 70000)
    assert "no address of this machine" in refused(*ask, model_folder, "--host", "203.0.113.7", "--port", 0)
    assert "two of the given are called small" in refused(*ask, model_folder, model_folder, "--port", 0)
    assert "missing" in refused(*ask, tmp_path / "missing", "--port", 0)
    assert "--max-batch is 0; it must be above 0" in refused(*ask, model_folder, "--max-batch", 0)
    monkeypatch.setenv("STATIM_API_KEY", " ")
    assert "the API key (--api-key or STATIM_API_KEY) is empty" in refused(*ask, model_folder)


def test_names_of_places(model_folder, index_folder, tmp_path):
    with running(tmp_path / "log", f"m={model_folder}", f"faq={index_folder}") as found:
        names = [one["id"] for one in httpx.get(f"{found.url}/v1/models").json()["data"]]
        assert names == ["m", "faq"]


def test_memory_stays_flat(model_folder, tmp_path):
    """Answers, refusals and unknown paths leave nothing behind."""
    with running(tmp_path / "log", model_folder, "--quiet") as found:
        connection = http.client.HTTPConnection(found.url.removeprefix("http://"), timeout=60)

        def ask(path, body=None):
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body))
            return connection.getresponse().read().decode()

        def resident():
            return int(re.search(r"^process_resident_memory_bytes (\d+)$", ask("/metrics"), re.M)[1])

        def work(rounds):
            for number in range(rounds):
                ask("/v1/embeddings", {"input": f"sort {number}"})
                ask("/embed", {"inputs": number})
                ask(f"/{number}")

        ask("/embed", {"inputs": ["sort"] * 300})  # loads compiled code
        work(100)
        before = resident()
        work(300)
        assert resident() < before * 1.05
        connection.close()


def test_an_index_that_has_gone(model, tmp_path):
    place = tmp_path / "gone"
    Index.build(model, ["sort a list", "open a file"], place)
    with running(tmp_path / "log", place) as found, httpx.Client(base_url=found.url, timeout=60) as client:
        assert client.post("/search", json={"query": "sort"}).status_code == 200
        place.rename(tmp_path / "elsewhere")
        answer = client.post("/search", json={"query": "sort"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "the index gone is not at its place any more" in answer.json()["error"]["message"]
        assert "not at its place" in client.get("/info").json()["served"][0]["error"]
        assert client.get("/health").status_code == 200
        (tmp_path / "elsewhere").rename(place)
        assert client.post("/search", json={"query": "sort"}).status_code == 200
        Index.load(place).add(["sort a table"], ids=["new"])
        found_ids = {hit["id"] for hit in client.post("/search", json={"query": "sort"}).json()["hits"]}
        assert "new" in found_ids
        Index.build(model, ["a whole other index: sort"], place, ids=["only"], overwrite=True)
        hits = client.post("/search", json={"query": "sort"}).json()["hits"]
        assert [hit["id"] for hit in hits] == ["only"]
