"""`statim encode`: killed and resumed, refused, and what is left behind."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statim.model import StaticModel
from statim.quantize import VECTORS

# Small blocks, all saved; the process kills itself once it has saved so many texts
KILLED = """
import os
from statim.cli import encode, main
from statim.data.files import resumable
encode.VECTOR_BYTES, resumable.SECONDS = {bytes}, 0
save = resumable.Unfinished.save
def die(self, progress):
    save(self, progress)
    if progress["texts"] >= {texts}: os.kill(os.getpid(), 9)
resumable.Unfinished.save = die
main()
"""


@pytest.fixture
def corpus(tmp_path, pair_rows):
    path = tmp_path / "corpus.jsonl.gz"
    rows = ({"text": f"{i} {row['question']} ☕"} for i, row in enumerate(pair_rows))
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def kill(arguments, texts=150, block=16 * 4 * 50):
    code = KILLED.format(texts=texts, bytes=block)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
def test_a_killed_run_is_resumed_to_the_same_bytes(
    statim, tmp_path, model_folder, corpus, suffix, monkeypatch
):
    monkeypatch.setattr("statim.cli.encode.VECTOR_BYTES", 16 * 4 * 50)
    options = [model_folder, corpus, "--dim", 16, "--json"]
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    code, printed, err = statim("encode", *options, "--out", whole)
    assert code == 0, err
    assert json.loads(printed)["texts_per_second"] > 0
    kill(["encode", *options, "--out", out])
    assert not out.exists()
    code, printed, err = statim("encode", *options, "--out", out, "--resume")
    assert code == 0, err
    assert (json.loads(printed)["texts"], json.loads(printed)["resumed_at"]) == (400, 150)
    assert out.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} >= {out.name, whole.name}
    assert not list(tmp_path.glob("*.encoding"))


def test_resume_refuses_another_run(statim, tmp_path, model_folder, corpus, pair_rows):
    out = tmp_path / "out.npy"
    kill(["encode", model_folder, corpus, "--dim", 16, "--out", out])
    resume = ["--out", out, "--resume", "--quiet"]
    code, _, err = statim("encode", model_folder, corpus, "--dim", 8, *resume)
    assert (code, "--dim changed" in err) == (2, True)
    model = StaticModel.load(model_folder)
    StaticModel(model.table * 2, model.tokenizer).save(tmp_path / "other")
    code, _, err = statim("encode", tmp_path / "other", corpus, "--dim", 16, *resume)
    assert (code, "the model changed" in err) == (2, True)
    content = corpus.read_bytes()
    corpus.write_bytes(gzip.compress(b'{"text": "x"}\n'))
    code, _, err = statim("encode", model_folder, corpus, "--dim", 16, *resume)
    assert (code, "the sources changed" in err) == (2, True)
    assert (tmp_path / "out.npy.encoding" / "data").exists()
    corpus.write_bytes(content)
    code, _, err = statim("encode", model_folder, corpus, "--dim", 16, "--out", out)  # again
    assert code == 0, err
    assert "discarding" in err
    assert np.load(out).shape == (400, 16)


def test_the_standard_input_cannot_be_resumed(statim, tmp_path, model_folder):
    code, _, err = statim("encode", model_folder, "--out", tmp_path / "out.npy", "--resume")
    assert (code, "standard input" in err) == (2, True)
    code, _, err = statim("encode", model_folder, tmp_path / "x.txt", "--resume")
    assert (code, "--out" in err) == (2, True)


@pytest.mark.parametrize("dtype", VECTORS)
@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
def test_every_dtype(statim, tmp_path, model_folder, corpus, dtype, suffix):
    out = tmp_path / f"out{suffix}"
    code, _, err = statim("encode", model_folder, corpus, "--dtype", dtype, "--out", out, "--quiet")
    assert code == 0, err
    texts = [json.loads(line)["text"] for line in gzip.decompress(corpus.read_bytes()).splitlines()]
    expected = StaticModel.load(model_folder).encode(texts, dtype=dtype)
    if suffix == ".npy":
        found = np.load(out)
        assert found.dtype == expected.dtype
    else:
        rows = (
            pq.read_table(out).to_pylist()
            if suffix == ".parquet"
            else [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
        )
        assert [row["text"] for row in rows] == texts
        found = np.array([list(row["vector"]) for row in rows], expected.dtype)
    np.testing.assert_array_equal(found, expected)


def many(last):
    return b"".join(b'{"text": "text %d"}\n' % i for i in range(1, 5001)) + last


BAD = {
    "bytes.jsonl": (many(b'{"text": "\xff"}\n'), ["bytes.jsonl", "line 5001", "UTF-8"]),
    "bytes.txt": (b"one\ntwo\n\xff\n", ["bytes.txt", "line 3", "UTF-8"]),
    "cut.jsonl.gz": (gzip.compress(many(b""))[:-20], ["cut.jsonl.gz", "cannot be read"]),
    "number.jsonl": (many(b'{"text": 7}\n'), ["number.jsonl", "line 5001", "'text' is 7, not a text"]),
    "null.jsonl": (many(b'\n{"text": null}\n'), ["null.jsonl", "line 5002", "'text' is missing"]),
    "without.jsonl": (many(b'{"other": "x"}\n'), ["without.jsonl", "line 5001", "'text' is missing"]),
    "list.jsonl": (many(b'{"text": ["a", ["b"]]}\n'),
        ["list.jsonl", "line 5001", '["a", ["b"]], not a text']),
    "half.jsonl": (many(b'{"text": "a"'), ["half.jsonl", "line 5001", "not valid JSON"]),
    "array.json": (b'[{"text": "a"}, {"text": 5}]', ["array.json", "item 2", "5, not a text"]),
    "columns.jsonl": (b'{"a": "x", "b": "y"}\n', ["columns.jsonl", "a, b"]),
    "ragged.csv": (b"text,n\na,1\nb\n", ["ragged.csv", "line 3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_sources_leave_nothing(statim, tmp_path, model_folder, name, monkeypatch):
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    code, printed, err = statim("encode", model_folder, tmp_path / name, "--out", tmp_path / "out.npy")
    assert (code, printed) == (2, "")
    assert err.count("error: ") == len(err.splitlines()) == 1, err
    for word in words:
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_text_in_a_table(statim, tmp_path, model_folder):
    pq.write_table(pa.table({"text": ["a", "b", None]}), tmp_path / "a.parquet")
    code, _, err = statim("encode", model_folder, tmp_path / "a.parquet", "--out", tmp_path / "out.npy")
    assert (code, "a.parquet, row 3: 'text' is missing" in err) == (2, True)


BLOCK = 16 * 4 * 50  # 50 texts


def ruined(corpus, kind, line=230):
    """The corpus with one unreadable line, all behind it as it was; and with that line mended."""
    rows = gzip.decompress(corpus.read_bytes()).splitlines(keepends=True)
    bad = {
        "zero": rows[line - 1].replace(b" ", b"\0", 1),
        "bytes": rows[line - 1].replace(b"how", b"\xff"),
        "json": rows[line - 1][:-3] + b"\n",
        "missing": b'{"text": null}\n',
    }[kind]
    return b"".join([*rows[: line - 1], bad, *rows[line:]]), b"".join(
        [*rows[: line - 1], b'{"text": "mended, and longer than before"}\n', *rows[line:]]
    )


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
@pytest.mark.parametrize("kind", ["zero", "bytes", "json", "missing"])
def test_a_mended_file_is_gone_on_with(statim, tmp_path, model_folder, corpus, kind, suffix, monkeypatch):
    monkeypatch.setattr("statim.cli.encode.VECTOR_BYTES", BLOCK)
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    bad, mended = ruined(corpus, kind)
    path, out = tmp_path / "texts.jsonl", tmp_path / f"out{suffix}"
    path.write_bytes(bad)
    code, _, err = statim("encode", model_folder, path, "--dim", 16, "--out", out)
    assert code == 2
    assert "texts.jsonl, line 230: " in err
    assert "--skip-bad" in err
    assert "--resume goes on from there" in err
    assert not out.exists()
    path.write_bytes(mended)
    code, printed, err = statim("encode", model_folder, path, "--dim", 16, "--out", out, "--resume", "--json")
    assert code == 0, err
    assert (json.loads(printed)["texts"], json.loads(printed)["resumed_at"]) == (400, 200)
    whole = tmp_path / f"whole{suffix}"
    assert statim("encode", model_folder, path, "--dim", 16, "--out", whole)[0] == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.encoding"))


@pytest.mark.parametrize("line", [1, 100, 200])
def test_a_change_before_the_bad_row_is_refused(statim, tmp_path, model_folder, corpus, line, monkeypatch):
    monkeypatch.setattr("statim.cli.encode.VECTOR_BYTES", BLOCK)
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    bad, mended = ruined(corpus, "json")
    path, out = tmp_path / "texts.jsonl", tmp_path / "out.npy"
    path.write_bytes(bad)
    assert statim("encode", model_folder, path, "--dim", 16, "--out", out)[0] == 2
    rows = mended.splitlines(keepends=True)
    rows[line - 1] = b'{"text": "another"}\n'
    path.write_bytes(b"".join(rows))
    resume = ("encode", model_folder, path, "--dim", 16, "--out", out, "--resume")
    code, _, err = statim(*resume)
    assert (code, "the sources changed since that run began: their first 200 texts" in err) == (2, True)
    path.write_bytes(b"".join(rows[:150]))
    code, _, err = statim(*resume)
    assert (code, "they hold 150 texts, and 200 are done" in err) == (2, True)
    path.write_bytes(mended)
    code, _, err = statim(*resume)
    assert code == 0, err
    assert np.load(out).shape == (400, 16)


def test_a_run_that_ended_is_not_gone_on_with_for_more_texts(
    statim, tmp_path, model_folder, corpus, monkeypatch
):
    path, out = tmp_path / "texts.jsonl", tmp_path / "out.npy"
    path.write_bytes(gzip.decompress(corpus.read_bytes()))
    monkeypatch.setattr(
        "statim.data.files.resumable._remove", lambda place: None
    )  # killed after the last rename
    assert statim("encode", model_folder, path, "--out", out)[0] == 0
    monkeypatch.undo()
    with path.open("ab") as file:
        file.write(b'{"text": "one more"}\n')
    code, _, err = statim("encode", model_folder, path, "--out", out, "--resume")
    assert (code, "the sources hold more texts" in err) == (2, True)
    path.write_bytes(gzip.decompress(corpus.read_bytes()))
    code, _, err = statim("encode", model_folder, path, "--out", out, "--resume")
    assert code == 0, err


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
def test_bad_rows_are_written_aside(statim, tmp_path, model_folder, corpus, suffix, monkeypatch):
    monkeypatch.setattr("statim.cli.encode.VECTOR_BYTES", BLOCK)
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    bad, _ = ruined(corpus, "zero")
    rows = bad.splitlines(keepends=True)
    rows[300] = b'{"text": 5}\n'
    path, out, aside = tmp_path / "texts.jsonl", tmp_path / f"out{suffix}", tmp_path / "bad.jsonl"
    path.write_bytes(b"".join(rows))
    arguments = ("encode", model_folder, path, "--dim", 16, "--out", out, "--skip-bad", aside)
    kill(arguments)
    assert not aside.exists()
    code, printed, err = statim(*arguments, "--resume", "--json")
    assert code == 0, err
    figures = json.loads(printed)
    assert (figures["texts"], figures["resumed_at"]) == (398, 150)
    assert (figures["skipped"], figures["skip_bad"]) == (2, str(aside))
    found = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in found] == [(str(path), 230), (str(path), 301)]
    assert [row["text"] for row in found] == [rows[229].decode().removesuffix("\n"), '{"text": 5}']
    assert "zero byte" in found[0]["reason"]
    good = tmp_path / "good.jsonl"
    good.write_bytes(b"".join(row for line, row in enumerate(rows, 1) if line not in (230, 301)))
    whole = tmp_path / f"whole{suffix}"
    assert statim("encode", model_folder, good, "--dim", 16, "--out", whole)[0] == 0
    if suffix != ".parquet":  # whose row groups need not end at the same texts
        assert out.read_bytes() == whole.read_bytes()
    else:
        assert pq.read_table(out).equals(pq.read_table(whole))
    code, printed, err = statim(*arguments, "--overwrite")
    assert code == 0, err
    assert f"2 bad rows skipped, written to {aside}" in printed
    code, _, err = statim("encode", model_folder, path, "--skip-bad", aside)
    assert (code, "--skip-bad" in err) == (2, True)
    aside.unlink()
    code, printed, err = statim("encode", model_folder, path, "--skip-bad", aside)
    assert (code, len(printed.splitlines())) == (0, 398)
    assert "2 bad rows skipped" in err
    assert len(aside.read_text().splitlines()) == 2
