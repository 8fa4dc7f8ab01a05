"""Every verb does its work, prints what it should, and gives machines the same figures."""

import json
import subprocess
import sys

import numpy as np
import pytest

from statim import __version__
from statim.cli import app
from statim.model import StaticModel

COMMANDS = [one.name for one in [*app.registered_commands, *app.registered_groups]]


def test_version_and_help(statim):
    assert statim("--version") == (0, f"statim {__version__}\n", "")
    code, out, _ = statim("--help")
    assert code == 0
    assert len(COMMANDS) >= 15
    for verb in COMMANDS:
        assert verb in out
        assert statim(verb, "--help")[0] == 0


@pytest.mark.parametrize("verb", [[], ["cache"], ["index"]])
def test_without_a_verb_the_help_is_shown_and_no_error(statim, verb):
    code, out, err = statim(*verb)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert "see statim --help" not in err


def test_train_from_a_random_start(statim, tmp_path, pairs):
    out = tmp_path / "model"
    code, printed, err = statim(
        "train",
        pairs,
        "--out",
        out,
        "--start",
        "random",
        "--dim",
        64,
        "--epochs",
        5,
        "--heldout",
        40,
        "--json",
    )
    assert code == 0, err
    figures = json.loads(printed)
    assert figures["pairs"]["read"] == 400
    assert figures["pairs"]["train"] + figures["pairs"]["development"] + figures["pairs"]["test"] == 400
    assert figures["recipe"]["dim"] == 64
    model = StaticModel.load(out)
    assert model.dim == 64
    assert not model.table[model.tokenizer.unknown_id].any()
    assert "## Recipe" in (out / "README.md").read_text()
    assert "bm25" in (out / "README.md").read_text()
    assert not list(tmp_path.glob("*.training"))
    code, printed, err = statim("info", out, "--json")
    assert code == 0, err
    assert json.loads(printed)["max_tokens"] is None


def test_the_same_seed_gives_the_same_bits_and_a_resumed_run_too(statim, tmp_path, pairs):
    options = ["--start", "random", "--dim", 32, "--epochs", 4, "--heldout", 0, "--quiet", "--threads", 2]
    tables = []
    for name in ("a", "b"):
        code, _, err = statim("train", pairs, "--out", tmp_path / name, *options)
        assert code == 0, err
        tables.append((tmp_path / name / "model.safetensors").read_bytes())
    assert tables[0] == tables[1]
    # stop a third run at a checkpoint, by the process's own death
    script = (
        "import os\n"
        "from statim.training.run.checkpoint import Checkpoints\n"
        "save = Checkpoints.save\n"
        "def die(self, optimizer, *rest):\n"
        "    save(self, optimizer, *rest)\n"
        "    if optimizer.step >= 20:\n"
        "        self.close()\n"
        "        os.kill(os.getpid(), 9)\n"
        "Checkpoints.save = die\n"
        "from statim.cli import main\n"
        "main()\n"
    )
    arguments = ["train", pairs, "--out", tmp_path / "c", *options, "--checkpoint-every", 10]
    killed = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "c").exists()
    content = pairs.read_text()
    pairs.write_text(content.replace("queue", "deque"))
    code, _, err = statim("train", "--resume", tmp_path / "c")
    assert code == 2
    assert "pairs" in err
    assert f"{pairs} changed" in err
    pairs.write_text(content)
    code, _, err = statim("train", "--resume", tmp_path / "c", "--epochs", 5)
    assert code == 2
    assert "epochs is 5" in err
    code, _, err = statim("train", "--resume", tmp_path / "c", "--json")
    assert code == 0, err
    assert (tmp_path / "c" / "model.safetensors").read_bytes() == tables[0]
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "c" / "training.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, len(steps) + 1))
    assert not (tmp_path / "c.training").exists()


def test_early_stopping_says_so(statim, tmp_path, pairs, model_folder):
    """A rate that ruins a good start: the start is kept."""
    options = [
        "--start",
        model_folder,
        "--epochs",
        50,
        "--evaluate-every",
        2,
        "--patience",
        3,
        "--heldout",
        0,
    ]
    ruin = ["--learning-rate", 1000, "--schedule", "constant", "--warmup", 0, "--development", 40]
    out = tmp_path / "model"
    code, printed, err = statim("train", pairs, "--out", out, *options, *ruin)
    assert code == 0, err
    assert "stopped early, after step 6 of " in printed
    assert "kept the table of step 0" in printed
    start, kept = StaticModel.load(model_folder), StaticModel.load(out)
    cosine = (start.table * kept.table).sum() / np.linalg.norm(start.table) / np.linalg.norm(kept.table)
    assert cosine == pytest.approx(1, abs=1e-5)
    assert "stopped early" in (out / "README.md").read_text()
    assert "Stopped early" in (out / "training.html").read_text()


def test_a_level_decides_the_least_dimensions(statim, tmp_path, pairs, model_folder):
    """The teacher's or start's own dimensions are not known before it is loaded, so a level is not refused
    too soon.
    """
    options = ["--start", model_folder, "--matryoshka", "8,32", "--heldout", 0, "--epochs", 1, "--json"]
    code, printed, err = statim("train", pairs, "--out", tmp_path / "model", *options)
    assert code == 0, err
    assert json.loads(printed)["recipe"]["levels"] == [8, 32]
    code, _, err = statim("train", pairs, "--out", tmp_path / "other", *options, "--matryoshka", "64")
    assert code == 2
    assert "64" in err


def test_train_on_from_an_earlier_model(statim, tmp_path, pairs, model_folder):
    code, printed, err = statim(
        "train",
        pairs,
        "--out",
        tmp_path / "model",
        "--start",
        model_folder,
        "--heldout",
        40,
        "--json",
        "--epochs",
        10,
    )
    assert code == 0, err
    figures = json.loads(printed)
    scores = {row["model"]: row["metrics"]["ndcg@10"] for row in figures["heldout"]["rows"]}
    assert scores["trained"] > scores["start"]
    assert "bm25" in scores


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
def test_encode_writes_what_encode_gives(statim, tmp_path, model_folder, pairs, pair_rows, suffix):
    out = tmp_path / f"vectors{suffix}"
    code, printed, err = statim(
        "encode", model_folder, pairs, "--column", "question", "--out", out, "--dim", 16, "--json"
    )
    assert code == 0, err
    assert json.loads(printed)["texts"] == len(pair_rows)
    expected = StaticModel.load(model_folder).encode([row["question"] for row in pair_rows], dim=16)
    if suffix == ".npy":
        found = np.load(out)
    elif suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(out)
        assert table.column("text").to_pylist() == [row["question"] for row in pair_rows]
        found = np.array(table.column("vector").to_pylist(), np.float32)
    else:
        found = np.array([json.loads(line)["vector"] for line in out.read_text().splitlines()], np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_encode_reads_the_standard_input(model_folder):
    done = subprocess.run(
        [sys.executable, "-c", "from statim.cli import main; main()", "encode", str(model_folder), "--quiet"],
        input="sort a list\n\nopen the file\n", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["sort a list", "", "open the file"]
    assert not any(rows[1]["vector"])


@pytest.mark.parametrize(("dtype", "share"), [("int8", 3), ("float16", 1.9)])
def test_quantize(statim, tmp_path, model_folder, dtype, share):
    code, out, err = statim("quantize", model_folder, "--out", tmp_path / "small", "--dtype", dtype, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["table"] == dtype
    assert found["before_bytes"] / found["table_bytes"] > share
    before, after = StaticModel.load(model_folder), StaticModel.load(tmp_path / "small")
    texts = ["sort the list", "how do I open a socket?"]
    assert after.dtype == dtype
    assert (before.encode(texts) * after.encode(texts)).sum(axis=1).min() > 0.999
    code, out, err = statim("quantize", model_folder, "--out", tmp_path / "small")
    assert (code, out) == (2, "")
    assert "is not empty" in err
    code, out, err = statim("quantize", model_folder, "--out", tmp_path / "other", "--dtype", "int4")
    assert (code, err) == (2, "error: dtype is 'int4'; it must be one of float32, float16, int8\n")
    assert not (tmp_path / "other").exists()


def test_index_and_search(statim, tmp_path, model_folder, pairs):
    out = tmp_path / "index"
    code, printed, err = statim(
        "index", "build", model_folder, pairs, "--text", "answer", "--out", out, "--json"
    )
    assert code == 0, err
    assert json.loads(printed)["documents"] == 400
    text = "to merge the queue call queue.merge and check what it gives"
    for mode in ("hybrid", "vector", "bm25"):
        code, printed, err = statim("search", out, *text.split(), "--mode", mode, "--json", "-k", 3)
        assert code == 0, err
        hits = json.loads(printed)["hits"]
        assert hits[0]["text"] == text
        assert hits[0]["metadata"]["question"] == "how do I merge a queue?"
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
    code, printed, _ = statim("search", out, "merge a queue")
    assert code == 0
    assert "merge the queue" in printed
    assert statim("index", "info", out)[0] == 0


def test_search_reads_questions_from_the_standard_input(statim, tmp_path, model_folder, pairs):
    out = tmp_path / "index"
    assert statim("index", "build", model_folder, pairs, "--text", "answer", "--out", out, "--quiet")[0] == 0
    done = subprocess.run(
        [sys.executable, "-c", "from statim.cli import main; main()", "search", str(out), "--json"],
        input="merge a queue\nsort a tree\n", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["hits"][0]["text"].startswith("to merge the queue")
    assert second["hits"][0]["text"].startswith("to sort the tree")


def test_evaluate_on_scored_pairs(statim, tmp_path, model_folder):
    path = tmp_path / "sts.jsonl"
    rows = [
        ("sort a list", "sort the list", 5.0),
        ("open a file", "sort the list", 1.0),
        ("merge a queue", "merge a stack", 3.0),
    ]
    path.write_text("".join(json.dumps({"text1": a, "text2": b, "score": s}) + "\n" for a, b, s in rows))
    code, printed, err = statim("evaluate", model_folder, path, "--json")
    assert code == 0, err
    assert "spearman" in printed
    code, printed, err = statim("evaluate", model_folder, path, "--against", model_folder)
    assert code == 0, err


def test_cache(statim, tmp_path):
    (tmp_path / "cache" / "tokens").mkdir(parents=True)
    (tmp_path / "cache" / "tokens" / "x").write_bytes(b"12345")
    code, printed, _ = statim("cache", "info", "--json")
    assert code == 0
    assert json.loads(printed)["kinds"]["tokens"] == {
        "files": 1,
        "bytes": 5,
        "holds": "tokenized training pairs",
    }
    assert json.loads(statim("cache", "clear", "--json")[1]) == {"freed_bytes": 5}
    assert statim("cache", "clear", "nonsense")[0] == 2
