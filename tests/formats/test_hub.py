"""Names on the hub: the cache first, then a hub (a small local server), and every way to fail."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from statim import StaticModel
from statim.errors import InputError, ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import sys, statim, statim.errors
try:
    print(statim.StaticModel.load(sys.argv[1]))
except statim.errors.ModelError as error:
    print("refused:", error)
"""


def load(name, tmp_path, **environment):
    """Load in a process of its own: huggingface_hub reads its environment once."""
    cleared = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, name],
        env={**cleared, "HF_HOME": str(tmp_path / "home"), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout


@pytest.fixture
def model(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "made")
    return tmp_path / "made"


def cache(model, tmp_path, name):
    home = tmp_path / "home" / "hub" / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (home / "snapshots").mkdir()
    model.rename(home / "snapshots" / COMMIT)
    return home / "snapshots" / COMMIT


@pytest.mark.parametrize("name", ["org/model", "bare-name"])
def test_the_cache_is_enough(name, model, tmp_path):
    cache(model, tmp_path, name if "/" in name else f"sentence-transformers/{name}")
    assert load(name, tmp_path, HF_HUB_OFFLINE="1").startswith("StaticModel(1,500 tokens")
    # not even an unreachable hub is asked
    assert load(name, tmp_path, HF_ENDPOINT="http://127.0.0.1:9").startswith("StaticModel(1,500 tokens")


def test_half_a_cached_model_is_not_taken(model, tmp_path):
    (cache(model, tmp_path, "org/model") / "tokenizer.json").unlink()
    assert "HF_HUB_OFFLINE forbids" in load("org/model", tmp_path, HF_HUB_OFFLINE="1")


def test_offline(tmp_path):
    said = load("org/model", tmp_path, HF_HUB_OFFLINE="1")
    assert said.startswith("refused: 'org/model' is neither a folder nor a file here")
    assert "HF_HUB_OFFLINE" in said


def test_no_network(tmp_path):
    start = time.perf_counter()
    said = load("org/model", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "is neither a folder nor a file here, and the hub cannot be reached to look for org/model" in said
    assert time.perf_counter() - start < 20


def test_a_hub_that_never_answers_is_given_up_soon(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.perf_counter()
        said = load("org/model", tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "the hub cannot be reached" in said
    assert time.perf_counter() - start < 20


def test_huggingface_hub_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        ModelError, match=r"neither a folder nor a file here.*not installed; pip install 'statim\[hub\]'"
    ):
        StaticModel.load("org/model")


@pytest.mark.parametrize(
    "name", ["a/b/c", "./model", "../model", "/no/such/model", "a b", "a\0b", "model/", "a--b", "-x", "☃"]
)
def test_what_can_only_be_a_path(name):
    with pytest.raises(
        ModelError, match="neither a folder nor a file here, nor can it be a name on the Hugging Face hub"
    ):
        StaticModel.load(name)


def test_what_cannot_be_a_model():
    with pytest.raises(ModelError, match="cannot be read"):
        StaticModel.load("x" * 5000)
    for wrong in ("", None, 7, b"model"):
        with pytest.raises(InputError, match="give a folder, a file of word vectors, or a name"):
            StaticModel.load(wrong)


@pytest.fixture
def hub():
    """A server that speaks as much of the hub's protocol as a download needs; files by repository; requests
    are noted.
    """
    repositories, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def send(self, status, body, **headers):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            for name, files in repositories.items():
                api = f"/api/models/{name}"
                if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                    siblings = [{"rfilename": file} for file in files]
                    return self.send(
                        200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
                    )
                if path.startswith(f"{api}/tree/"):
                    tree = [
                        {
                            "type": "file",
                            "path": file,
                            "size": len(data),
                            "oid": f"{abs(hash(data)):040x}"[:40],
                        }
                        for file, data in files.items()
                    ]
                    return self.send(200, json.dumps(tree).encode())
                for revision in ("main", COMMIT):
                    prefix = f"/{name}/resolve/{revision}/"
                    if path.startswith(prefix) and path[len(prefix) :] in files:
                        data = files[path[len(prefix) :]]
                        return self.send(200, data, ETag=f'"{abs(hash(data)):x}"', X_Repo_Commit=COMMIT)
            if "/broken/" in path:
                return self.send(500, b"")
            return self.send(404, b'{"error": "Repository not found"}', X_Error_Code="RepoNotFound")

        def do_HEAD(self):
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", repositories, asked
    server.shutdown()
    server.server_close()


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_download_takes_what_is_needed_and_then_stays(hub, model, tmp_path):
    endpoint, repositories, asked = hub
    repositories["org/model"] = {
        **files_of(model),
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"onnx",
        "x.npz": b"x",
    }
    assert load("org/model", tmp_path, HF_ENDPOINT=endpoint).startswith("StaticModel(1,500 tokens")
    taken = {path.rpartition(f"{COMMIT}/")[2] for path in asked if "/resolve/" in path}
    assert taken == files_of(model).keys()
    assert load("org/model", tmp_path, HF_HUB_OFFLINE="1").startswith("StaticModel(1,500 tokens")


def test_the_weights_of_a_transformer_are_not_downloaded(hub, tmp_path):
    endpoint, repositories, asked = hub
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    repositories["org/model"] = {
        "modules.json": json.dumps(modules).encode(),
        "config.json": b"{}",
        "model.safetensors": b"x" * 99,
    }
    assert "its module is Transformer; it can serve as a teacher" in load(
        "org/model", tmp_path, HF_ENDPOINT=endpoint
    )
    assert not any("safetensors" in path for path in asked)


def test_a_repository_that_does_not_exist_and_a_hub_that_fails(hub, tmp_path):
    said = load("no-such-model", tmp_path, HF_ENDPOINT=hub[0])
    assert "the hub has no model sentence-transformers/no-such-model, or it is private" in said
    assert "the hub answered 500 for broken/model" in load("broken/model", tmp_path, HF_ENDPOINT=hub[0])
