"""Texts, ids, labels and names of files that a terminal would obey: it is shown escapes, and files and JSON
keep what they were.
"""

import ast
import io
import json
import logging
import sys
import warnings
from pathlib import Path

import pytest

from statim.cli import options, terminal
from statim.search.index import Index
from statim.tasks.classify.classify import Classifier

EVIL = "\x1b]0;title\x07\x1b[2J\x9b2J\x7f\r\b"


def assert_harmless(*printed):
    for text in printed:
        assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160], text


@pytest.fixture
def texts(tmp_path):
    """A table of documents that stand twice each, with evil in each of its columns."""
    rows = [
        {"id": f"{EVIL}{i}{j}", "text": f"how to {verb} a list {EVIL}", "title": f"{verb}{EVIL}",
            "label": f"{verb}{EVIL}"}
        for i, verb in enumerate(["sort", "open", "read", "write"])
        for j in range(5)
    ]  # fmt: skip
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def evil_index(static_model, tmp_path):
    texts = [f"how to sort {EVIL} a list", "open"]
    Index.build(static_model, texts, tmp_path / "odd", ids=[f"a{EVIL}", "b"], metadata=[{"title": EVIL}] * 2)
    return tmp_path / "odd"


def test_search(evil_index, statim):
    code, out, err = statim("search", evil_index, "sort")
    assert code == 0
    assert_harmless(out, err)
    assert "\\u001b]0;title\\u0007" in out
    assert_harmless(*statim("search", evil_index, EVIL)[1:])


def test_json_holds_what_was_there(evil_index, statim):
    code, out, _ = statim("search", evil_index, "sort", "--json")
    assert code == 0
    assert_harmless(out)
    assert json.loads(out)["hits"][0]["id"] == f"a{EVIL}"
    assert json.loads(out)["hits"][0]["text"] == f"how to sort {EVIL} a list"


def test_every_verb_that_shows_texts(texts, model, static_model, tmp_path, statim):
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    Classifier.fit(static_model, [row["text"] for row in rows], [row["label"] for row in rows],
        head="centroid").save(
        tmp_path / "head"
    )  # fmt: skip
    for arguments in (
        ("duplicates", texts, "--model", model),
        ("duplicates", texts, "--model", model, "--report"),
        ("cluster", texts, "--model", model, "-n", 2),
        ("recommend", "like", model, texts, rows[0]["id"]),
        ("classify", "evaluate", model, tmp_path / "head", texts),
        ("classify", "fit", model, texts, "--out", tmp_path / f"head{EVIL}"),
        ("classify", "predict", model, tmp_path / f"head{EVIL}", texts, "--out", tmp_path / f"{EVIL}.jsonl"),
        ("index", "build", model, texts, "--out", tmp_path / f"new{EVIL}"),
        ("index", "info", tmp_path / f"new{EVIL}"),
        ("index", "delete", tmp_path / f"new{EVIL}", rows[0]["id"]),
        ("info", model),
    ):
        code, out, err = statim(*arguments)
        assert code == 0, err
        assert_harmless(out, err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", f"nowhere{EVIL}", "sort"),
        ("search", "{index}", "sort", "--where", f"year = {EVIL}"),
        ("search", "{index}", "sort", "--mode", EVIL),
        ("recommend", "like", "{model}", "{texts}", f"none{EVIL}"),
        ("encode", "{model}", f"{EVIL}.txt"),
        ("encode", "{model}", "{texts}", "--column", EVIL),
        (EVIL,),
    ],
)
def test_what_is_refused(arguments, index, model, texts, statim):
    code, out, err = statim(*(a.format(index=index, model=model, texts=texts) for a in arguments))
    assert code == 2
    *notes, error = err.splitlines()
    assert error.startswith("error: ")
    assert all(note.startswith(f"{texts}: ") for note in notes)
    assert_harmless(out, err)


def test_what_a_program_reads_is_not_changed(evil_index, texts, model, tmp_path, statim):
    """Tables and JSON lines on the standard output of a pipe, and every file."""
    (tmp_path / "queries.txt").write_text("sort\n")
    out = statim("search", evil_index, "--queries", tmp_path / "queries.txt", "--format", "table")[1]
    assert "\x1b]0;title\x07" in out
    statim("search", evil_index, "--queries", tmp_path / "queries.txt", "--out", tmp_path / "a.tsv")
    assert f"how to sort {EVIL} a list".encode() in (tmp_path / "a.tsv").read_bytes()
    assert json.loads(statim("encode", model, texts)[1].splitlines()[0])["text"].endswith(EVIL)


class Terminal(io.TextIOWrapper):
    """A standard output that says it is a terminal."""

    def isatty(self):
        return True


def test_tables_on_a_terminal(monkeypatch):
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(seen, "utf-8", "backslashreplace"))
    file = terminal.output()
    for part in (f"ä{EVIL}\t\n".encode(), memoryview(b"\xff\x1b"), bytearray(b"")):
        assert file.write(part) == len(part)
    sys.stdout.flush()
    assert_harmless(seen.getvalue().decode())
    assert seen.getvalue().decode() == "ä" + terminal.shown(EVIL) + "\t\n\\xff\\u001b"


def test_notes_and_warnings(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = terminal.say_warning
        warnings.warn(f"beware of {EVIL}", stacklevel=1)
    log = logging.getLogger("statim")
    before = log.handlers, log.level, log.propagate
    try:
        options.begin(quiet=False)
        log.warning("the file %s", EVIL)
    finally:
        log.handlers, log.level, log.propagate = before[0], before[1], before[2]
    out, err = capsys.readouterr()
    assert out == ""
    assert_harmless(err)
    assert err.count("title") == 2


def test_one_place_prints():
    for path in sorted(Path(terminal.__file__).parent.glob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = [ast.unparse(node.func) for node in calls]
        assert path.name == "terminal.py" or not {"print", "typer.echo", "sys.stdout.write"} & set(names), (
            path
        )
