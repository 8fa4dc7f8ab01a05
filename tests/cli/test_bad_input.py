"""Whatever a person gets wrong: one clear sentence, exit code 2, nothing half-written, no traceback."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def refused(result, *words):
    """One sentence on standard error that holds ``words``; nothing on standard output; exit code 2."""
    code, out, err = result
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2, err
    assert "Traceback" not in err
    assert len([line for line in lines if line.startswith("error: ")]) == 1, err
    assert lines[-1].startswith("error: ")
    assert len(lines[-1]) < 500
    assert out == ""
    for word in words:
        assert word in lines[-1], lines[-1]


def train_options(tmp_path):
    return ["--out", tmp_path / "model", "--start", "random", "--quiet", "--no-baselines", "--epochs", 1]


def left_alone(tmp_path):
    """No model, and no partial file or folder of one."""
    return not (tmp_path / "model").exists() and not list(tmp_path.rglob("*.statim-partial"))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


BAD_FILES = {
    "missing.jsonl": (None, ["missing.jsonl"]),
    "empty.jsonl": (b"", ["empty.jsonl"]),
    "empty.csv": (b"", ["empty.csv"]),
    "binary.jsonl": (os.urandom(2000) + b"\x00\xff", ["binary.jsonl"]),
    "latin.csv": ("question,answer\ncaf\xe9,br\xfbl\xe9\n".encode("latin-1"), ["latin.csv", "UTF-8"]),
    "broken.jsonl": (b'{"question": "a", "answer": "b"}\n{"question": "a", \n', ["broken.jsonl", "line 2"]),
    "one.jsonl": (b'{"question": "how do I sort?", "answer": "call sort"}\n', ["1 "]),
    "columns.jsonl": (b'{"foo": "a b", "bar": "b c"}\n{"foo": "c d", "bar": "d e"}\n', ["foo", "bar"]),
    "ragged.csv": (b"question,answer\na,b\nc,d,e,f\n", ["ragged.csv", "line 3"]),
    "labels.csv": ("question,answer\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)), ["answer"]),
    "empty_rows.jsonl": (
        b'{"question": "", "answer": ""}\n{"question": null, "answer": "b"}\n',
        ["fewer than 2"],
    ),
    "fake.parquet": (b"PAR1 this is no parquet file at all", ["fake.parquet"]),
    "fake.jsonl.gz": (b"this is no gzip", ["fake.jsonl.gz"]),
    "what.xyz": (b"abc", ["what.xyz", ".jsonl"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_of_pairs(statim, tmp_path, name):
    content, words = BAD_FILES[name]
    path = tmp_path / name
    if content is not None:
        write(path, content)
    refused(statim("train", path, *train_options(tmp_path)), *words)
    assert left_alone(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--learning-rate", "nan"], ["learning rate", "nan"]),
        (["--learning-rate", "-1"], ["learning rate"]),
        (["--matryoshka", "0,32"], ["Matryoshka level", "0"]),
        (["--matryoshka", "a,b"], ["matryoshka"]),
        (["--dim", "64", "--matryoshka", "128"], ["128", "64"]),
        (["--dim", "0"], ["dim", "0"]),
        (["--batch", "1"], ["batch"]),
        (["--epochs", "0"], ["epochs"]),
        (["--epochs", "two"], ["--epochs"]),
        (["--precision", "fp8"], ["precision", "bf16"]),
        (["--heldout", "-5"], ["heldout"]),
        (["--heldout", "100000"], ["heldout", "100000"]),
        (["--heldout", "nowhere.jsonl"], ["nowhere.jsonl"]),
        (["--threads", "0"], ["threads"]),
        (["--anchor", "quesiton"], ["quesiton", "question", "answer"]),
        (["--start", "no/such-model-anywhere"], ["no/such-model-anywhere"]),
        (["--tokenizer", "nowhere.json"], ["nowhere.json"]),
        (["--checkpoint-every", "0"], ["checkpoint-every", "0"]),
        (["--keep-checkpoints", "-1"], ["keep-checkpoints", "-1"]),
        (["--schedule", "step"], ["schedule", "step", "linear, cosine, constant"]),
        (["--warmup", "2"], ["warm-up", "2"]),
        (["--evaluate-every", "0"], ["evaluate-every", "0"]),
        (["--patience", "0"], ["patience", "0"]),
        (["--keep", "first"], ["keep", "first", "last, best"]),
        (["--patience", "2", "--heldout", "0"], ["patience", "--development"]),
        (["--keep", "best", "--development", "0"], ["keep best", "--development"]),
        (["--development", "-5"], ["development", "-5"]),
        (["--development", "nowhere.jsonl"], ["nowhere.jsonl"]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
)
def test_options_of_train(statim, tmp_path, pairs, options, words):
    given = train_options(tmp_path)
    if "--start" in options:
        given[given.index("--start") : given.index("--start") + 2] = []
    if "--epochs" in options:
        given[given.index("--epochs") : given.index("--epochs") + 2] = []
    refused(statim("train", pairs, *given, *options), *words)
    assert left_alone(tmp_path)


def test_train_without_pairs_or_output(statim, pairs):
    refused(statim("train", "--out", "x"), "no pairs")
    refused(statim("train", pairs), "--out")


def test_output_that_is_not_empty_is_kept(statim, tmp_path, pairs):
    write((tmp_path / "model"), "a file")
    refused(statim("train", pairs, *train_options(tmp_path)), "model", "file")
    (tmp_path / "model").unlink()
    (tmp_path / "model").mkdir()
    write(tmp_path / "model" / "thesis.txt", "years of work")
    refused(statim("train", pairs, *train_options(tmp_path)), "not empty", "--overwrite")
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"


def test_a_folder_where_checkpoints_would_go_is_kept(statim, tmp_path, pairs):
    (tmp_path / "model.training").mkdir()
    write(tmp_path / "model.training" / "notes.txt", "precious")
    refused(statim("train", pairs, *train_options(tmp_path)), "model.training", "something else")
    assert (tmp_path / "model.training" / "notes.txt").read_text() == "precious"


def test_resume_without_an_interrupted_training(statim, tmp_path, pairs):
    refused(
        statim("train", pairs, "--resume", tmp_path / "model", "--start", "random", "--quiet"),
        "no interrupted training",
    )


def damage(folder, tmp_path, name):
    """A copy of a model, damaged in one way."""
    path = tmp_path / "damaged"
    shutil.copytree(folder, path)
    tensors, tokenizer = path / "model.safetensors", path / "tokenizer.json"
    if name == "truncated table":
        write(tensors, tensors.read_bytes()[:-100])
    elif name == "table without header":
        write(tensors, b"\xff" * 100)
    elif name == "empty table":
        write(tensors, b"")
    elif name == "missing table":
        tensors.unlink()
    elif name == "missing tokenizer":
        tokenizer.unlink()
    elif name == "foreign tokenizer":
        content = json.loads(tokenizer.read_text())
        content["model"]["vocab"]["zzz"] = 90_000
        write(tokenizer, json.dumps(content))
    elif name == "broken tokenizer":
        write(tokenizer, "{")
    elif name == "broken config":
        write(path / "config.json", "{ not json")
    elif name == "newer format":
        config = json.loads((path / "config.json").read_text())
        text = json.dumps(config).replace('"format_version": 1', '"format_version": 999')
        assert "999" in text
        write(path / "config.json", text)
    elif name == "empty folder":
        shutil.rmtree(path)
        path.mkdir()
    elif name == "transformer":
        write(
            path / "modules.json",
            json.dumps(
                [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
            ),
        )
        (path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    elif name == "pickle":
        tensors.unlink()
        write(path / "pytorch_model.bin", b"\x80\x04.")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "truncated table", "table without header", "empty table", "missing table", "missing tokenizer",
        "foreign tokenizer",
        "broken tokenizer", "broken config", "newer format", "empty folder", "transformer", "pickle",
    ],
)  # fmt: skip
def test_damaged_and_foreign_models(statim, tmp_path, model_folder, name):
    path = damage(model_folder, tmp_path, name)
    refused(statim("info", path), "damaged")
    texts = write(tmp_path / "texts.txt", "how do I sort a list?\n")
    refused(statim("encode", path, texts, "--out", tmp_path / "vectors.npy"), "damaged")
    assert not (tmp_path / "vectors.npy").exists()


def test_models_that_are_not_there(statim, tmp_path):
    refused(statim("info", tmp_path / "nowhere"), "nowhere")
    refused(statim("info", write(tmp_path / "notes.txt", "these are no vectors at all\n")), "notes.txt")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dim", "33"], ["33", "32"]),
        (["--dim", "0"], ["dim"]),
        (["--dtype", "float8"], ["float8", "float32"]),
        (["--out", "vectors.xlsx"], ["vectors.xlsx", ".npy"]),
        (["--column", "nope"], ["nope"]),
    ],
)
def test_options_of_encode(statim, tmp_path, model_folder, pairs, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in options else ["--out", "vectors.npy"]
    column = [] if "--column" in options else ["--column", "question"]
    refused(statim("encode", model_folder, pairs, *out, *column, *options), *words)
    assert not (tmp_path / "vectors.npy").exists()


def test_encode_keeps_what_is_there(statim, tmp_path, model_folder, pairs):
    out = write(tmp_path / "vectors.npy", "precious")
    refused(
        statim("encode", model_folder, pairs, "--column", "question", "--out", out), "exists", "--overwrite"
    )
    assert out.read_text() == "precious"


def test_search_in_what_is_no_index(statim, tmp_path, model_folder):
    refused(statim("search", tmp_path / "nowhere", "x"), "nowhere")
    refused(statim("search", model_folder, "x"), "model")
    refused(statim("index", "info", tmp_path), str(tmp_path))


@pytest.fixture
def index_folder(statim, tmp_path, model_folder, pairs):
    out = tmp_path / "index"
    code, _, err = statim("index", "build", model_folder, pairs, "--text", "answer", "--out", out, "--quiet")
    assert code == 0, err
    return out


def test_options_of_search(statim, index_folder):
    refused(statim("search", index_folder, "sort", "--mode", "magic"), "magic", "hybrid")
    refused(statim("search", index_folder, "sort", "--weight", "2"), "2")
    refused(statim("search", index_folder, "sort", "-k", "0"), "0")
    refused(statim("search", index_folder, "sort", "--fusion", "best"), "best", "rrf")


def test_a_damaged_index(statim, index_folder):
    documents = index_folder / "documents.arrow"
    write(documents, documents.read_bytes()[:-50])
    refused(statim("search", index_folder, "sort"), str(index_folder))


def test_evaluate_refuses_what_is_no_set(statim, tmp_path, model_folder):
    refused(statim("evaluate", model_folder, tmp_path / "nowhere"), "nowhere")
    refused(statim("evaluate", model_folder, write(tmp_path / "x.csv", "a,b\n1,2\n")), "x.csv")
    (tmp_path / "folder").mkdir()
    refused(statim("evaluate", model_folder, tmp_path / "folder"), "folder")


def command(*arguments, cache):
    environment = os.environ | {"STATIM_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    return [sys.executable, "-c", "from statim.cli import main; main()", *map(str, arguments)], environment


def no_large_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk(tmp_path, model_folder, pairs):
    """No file may grow over 4 KB: what a full disk does to a write, done by the system itself."""
    arguments, environment = command(
        "encode",
        model_folder,
        pairs,
        "--column",
        "question",
        "--out",
        tmp_path / "vectors.npy",
        cache=tmp_path / "cache",
    )
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, preexec_fn=no_large_files
    )
    refused((done.returncode, done.stdout, done.stderr), "vectors.npy")
    assert not (tmp_path / "vectors.npy").exists()
    assert not list(tmp_path.rglob("*.statim-partial"))


def test_no_permission(statim, tmp_path, model_folder, pairs):
    """/proc takes no files, not even from the superuser."""
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc on this system")
    refused(
        statim("encode", model_folder, pairs, "--column", "question", "--out", "/proc/vectors.npy"), "/proc"
    )


def test_an_interrupt_leaves_nothing(tmp_path, pair_rows):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    arguments, environment = command(
        "train",
        pairs,
        "--out",
        tmp_path / "model",
        "--start",
        "random",
        "--epochs",
        100_000,
        "--heldout",
        0,
        cache=tmp_path / "cache",
    )
    process = subprocess.Popen(
        arguments, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("training on"):
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.rglob("*.statim-partial"))


def test_training_without_torch(tmp_path, pair_rows):
    """A base install has no torch; what needs it says how to get it."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    program = "import sys; sys.modules['torch'] = None; from statim.cli import main; main()"
    arguments = ["train", str(pairs), "--out", str(tmp_path / "model"), "--start", "random"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    refused((done.returncode, done.stdout, done.stderr), "torch", "statim[train]")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, ["holds no files of text"]),
        ({"a.md": b"one document and no other"}, ["only 1 document"]),
        (
            {"a.md": b"\xff\xff", "b.bin": b"\0\1"},
            ["holds no files of text", "1 not UTF-8, 1 of other kinds"],
        ),
        ({"a.md": b"x", "b.md": b"y"}, ["too few to train on"]),
    ],
)
def test_folders_of_documents(statim, tmp_path, files, words):
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, content in files.items():
        write(folder / name, content)
    refused(statim("train", folder, *train_options(tmp_path)), *words)
    assert left_alone(tmp_path)


def test_pairs_to_make(statim, tmp_path, pairs):
    refused(statim("train", pairs, "--make-pairs", "title", *train_options(tmp_path)), "title", "sentences")


def test_a_teacher_that_is_not_there(statim, tmp_path, pairs):
    refused(statim("teach", pairs, "--teacher", tmp_path / "none", "--out", tmp_path / "model", "-q"), "none")
    assert left_alone(tmp_path)
    assert not (tmp_path / "model.teaching").exists()
