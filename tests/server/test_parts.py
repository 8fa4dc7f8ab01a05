"""Parts of the server that a request alone does not show."""

import asyncio
import threading
import time

import numpy as np
import orjson
import pytest

from statim.model import FEW
from statim.search.index import Index
from statim.search.marks import Marker
from statim.server import encoder as encoders
from statim.server.answers import Answer, Endpoint
from statim.server.catalog import Catalog
from statim.server.encoder import Encoder
from statim.server.gate import PIECE, Gate
from statim.server.metrics import Metrics
from statim.server.options import ServerOptions
from statim.server.refusals import refusal
from statim.server.routes import openai, tei
from statim.server.schemas import Asked


def test_vectors_stay_equal_when_compiled_code_takes_over(model):
    found = Encoder(model, 1000, 10_000)
    texts = ["sort a list", "open", ""]
    before = found.vectors(found.tokens(texts))
    assert not found._compiled
    for _ in range(FEW // 3 + 1):
        found.vectors(found.tokens(texts))
    found._loading.acquire(timeout=0)
    for _ in range(1000):
        if found._compiled:
            break
        encoders.threading.Event().wait(0.05)
    assert found._compiled
    np.testing.assert_array_equal(found.vectors(found.tokens(texts)), before)
    np.testing.assert_array_equal(before, model.encode(texts))


@pytest.mark.parametrize(
    ("language", "query", "text", "marked"),
    [
        ("en", "sorting lists", "Sorted list, listless", ["Sorted", "list"]),
        ("en", "the file", "The file of the day", ["file"]),
        ("en", "camel", "a camelCase name, snake_camel", ["camelCase", "camel"]),
        ("de", "Datei öffnen", "Dateien öffnet man", ["Dateien", "öffnet"]),
        ("ja", "東京都", "私は東京都に住む。京都", ["東京都", "京都"]),
        ("en", "", "nothing", []),
    ],
)
def test_marks(model, tmp_path, language, query, text, marked):
    index = Index.build(model, ["sort", "東京都"], tmp_path / "index", language=language)
    assert [text[start:end] for start, end in Marker(index.analyzer, query).marks(text)] == marked


@pytest.mark.parametrize(("name", "alone"), [("small", True), ("docs", False)])
def test_requests_to_indexes_leave_the_event_loop(model_folder, index_folder, name, alone, monkeypatch):
    """Those of a model are answered on it."""
    places = [str(model_folder), str(index_folder)]
    catalog, ran = Catalog(places, ServerOptions()), []
    entry = catalog.entries[name]
    given = entry.encoder
    monkeypatch.setattr(entry, "encoder", lambda: (ran.append(threading.current_thread()), given())[1])
    for endpoint in (*openai.endpoints(catalog), *tei.endpoints(catalog)):
        field = "input" if "embeddings" in endpoint.path else "inputs"
        texts = {"source_sentence": "a", "sentences": ["b"]} if endpoint.path == "/similarity" else "sort"
        gate = Gate(None, [endpoint], [endpoint.path], ServerOptions(log=False), Metrics())
        statuses = answers_of(gate, endpoint.path, orjson.dumps({field: texts, "model": name}))
        assert statuses == [200]
    assert [one is threading.main_thread() for one in ran] == [alone] * 5


def answers_of(gate, path, body):
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost")]}
    asyncio.run(gate(scope, receive, send))
    return [message["status"] for message in sent if "status" in message]


def test_errors_of_ours_say_nothing_of_what_was_sent():
    told = refusal(KeyError("a user's text"))
    assert told.status == 500
    assert "user" not in told.message
    assert refusal(MemoryError()).status == 503


def asked(run, send, **options):
    """Ask a gate of one endpoint; gives what it counts as being in flight afterwards."""
    metrics = Metrics()
    endpoint = Endpoint("/made", "", "", Asked, None, run)
    gate = Gate(None, [endpoint], ["/made"], ServerOptions(log=False, **options), metrics)
    scope = {"type": "http", "method": "POST", "path": "/made", "headers": [(b"host", b"localhost")]}

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def run_it():
        await gate(scope, receive, send)
        at_once = metrics.in_flight
        await asyncio.sleep(0.3)
        return at_once, metrics.in_flight

    return asyncio.run(run_it()), metrics.text()


def test_a_long_answer_comes_in_pieces():
    body, sent = bytes(range(256)) * (3 * PIECE // 256) + b"end", []

    async def send(message):
        sent.append(message)

    asked(lambda _: Answer(body), send)
    assert sent[0]["status"] == 200
    assert b"".join(message["body"] for message in sent[1:]) == body
    assert [message["more_body"] for message in sent[1:]] == [True, True, True, False]


def test_a_reader_that_stops_is_left():
    async def send(message):
        if message.get("more_body"):
            await asyncio.Event().wait()

    in_flight, _ = asked(lambda _: Answer(bytes(2 * PIECE)), send, timeout=0.1)
    assert in_flight == (0, 0)


def test_an_answer_that_takes_too_long():
    sent = []

    async def send(message):
        sent.append(message)

    in_flight, text = asked(lambda _: time.sleep(0.25) or Answer(b"late"), send, timeout=0.05)
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"5") in sent[0]["headers"]
    assert b"there was no answer within 0.05 s" in sent[1]["body"]
    assert in_flight == (1, 0)  # its thread is not free before it is done
    assert 'statim_requests_total{path="/made",status="503"} 1' in text


def test_an_error_of_ours(capsys):
    sent = []

    async def send(message):
        sent.append(message)

    asked(lambda _: {}["a user's text"], send)
    assert sent[0]["status"] == 500
    logged = capsys.readouterr().err
    assert '"error":"KeyError"' in logged
    assert "a user's text" not in logged + sent[1]["body"].decode()
