"""Pages that are run: every command and every line of Python in a page does what it says, from top to bottom.

Of a page's fenced blocks,

- ``sh`` holds commands of statim, which are run, and ``export NAME=value``; one that ends with ``&`` is a
  server, which runs on until the page ends; ``curl`` is run where there is one;
- ``python`` is run in one scope for the whole page, and what it prints is kept; a block that begins with
  ``# pip install NAME`` is left out where that package is not installed;
- any kind with ``title="NAME"`` is a file, which is written;
- ``console`` holds commands for other programs (pip, make, git), each behind ``$``, which are not run;
- ``text`` shows what a command prints, or how a thing is laid out.

A comment ``<!-- needs: model pairs.jsonl -->`` names what must be there before (see ``Material``), and
``<!-- long -->`` says that the page takes longer than a quick test may.
"""

import ast
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import statim
from made_texts import THINGS, VERBS
from statim.cli import main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
KINDS = ("sh", "python", "console", "text")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'(\w+) title="([\w./-]+)"')


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Kind, file name or "", and content of each fenced block."""
    found = []
    for info, content in FENCE.findall(page.read_text(encoding="utf-8")):
        titled = TITLE.fullmatch(info)
        assert titled or info in KINDS, f"{page.name}: a block of the unknown kind {info!r}"
        found.append((titled[1], titled[2], content) if titled else (info, "", content))
    return found


def needs(page: Path) -> list[str]:
    found = re.search(r"<!-- needs: (.*?) -->", page.read_text(encoding="utf-8"))
    return found[1].split() if found else []


def is_long(page: Path) -> bool:
    return "<!-- long -->" in page.read_text(encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@dataclass
class Ran:
    """What a page did: its commands with their output, and what its Python left and printed."""

    commands: list[tuple[str, str, str]] = field(default_factory=list)
    scope: dict[str, Any] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)

    def out(self, beginning: str) -> str:
        """The output of the only command that begins so."""
        (found,) = [out for command, out, _ in self.commands if command.startswith(beginning)]
        return found


def run_command(
    line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Run a command of statim, which must succeed; its output and its messages."""
    monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capfd.readouterr()
    assert caught.value.code == 0, (line, err)
    assert "Traceback" not in err
    assert out.strip() or err.strip(), line
    return out, err


def is_installed(code: str) -> bool:
    """Whether the package is there that a block of Python says it needs."""
    needed = re.match(r"# pip install (\S+)\n", code)
    with contextlib.suppress(metadata.PackageNotFoundError):
        return not needed or bool(metadata.version(needed[1]))
    return False


def start(line: str) -> "subprocess.Popen[str]":
    """Start a server, and wait until it says where it is."""
    words = shlex.split(line.removesuffix("&"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("serving at "), line
    return process


def run_curl(line: str) -> None:
    """Ask a server; it must not refuse."""
    if shutil.which("curl"):
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout, line
        assert not done.stdout.startswith('{"error"'), (line, done.stdout)


def run_page(page: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    """Run all of a page in the present folder."""
    with contextlib.ExitStack() as servers:
        return _run_page(page, monkeypatch, capfd, servers)


def _run_page(
    page: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    servers: contextlib.ExitStack,
) -> Ran:
    ran = Ran()
    for kind, name, content in blocks(page):
        if name:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(content, encoding="utf-8")
        elif kind == "python" and is_installed(content):
            exec(compile(content, str(page), "exec"), ran.scope)
            ran.printed.append(capfd.readouterr().out)
        elif kind == "console":
            assert all(
                line.startswith(("$ pip ", "$ make ", "$ git ", "$ cd ", "$ python "))
                for line in content.splitlines()
            )
        elif kind == "sh":
            for line in content.replace("\\\n", " ").splitlines():
                export = re.fullmatch(r"export (\w+)=(\S+)", line)
                if export:
                    monkeypatch.setenv(export[1], export[2])
                elif line.endswith("&"):
                    process = start(line)
                    servers.enter_context(process)
                    servers.callback(process.kill)
                elif line.startswith("curl "):
                    run_curl(line)
                elif line and not line.startswith("#"):
                    assert line.startswith("statim "), f"{page.name}: {line}"
                    ran.commands.append((line, *run_command(line, monkeypatch, capfd)))
    return ran


def questions(verbs: list[str] = VERBS, things: list[str] = THINGS) -> list[dict[str, Any]]:
    """Made pairs of a question and its answer."""
    return [
        {
            "question": f"how do I {verb} a {thing}?",
            "answer": f"to {verb} the {thing} call {thing}.{verb} and check the result",
        }
        for verb in verbs
        for thing in things
    ]


class Material:
    """What pages need, made once for all of them when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def give(self, names: list[str], here: Path) -> None:
        """Put copies of these into a folder."""
        for name in names:
            if not (self.folder / name).exists():
                getattr(self, "make_" + re.sub(r"\W", "_", name))(self.folder / name)
            place = here / name
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, place)
            else:
                shutil.copy(self.folder / name, place)

    def make_model(self, path: Path) -> None:
        """Trained on the documentation of the standard library."""
        statim.train("python-docs", out=path, packages=["stdlib"], start="random", epochs=6, baselines=False)

    def make_teacher(self, path: Path) -> None:
        from transformers_made import tiny_bert

        tiny_bert(
            path, [*["how", "do", "i", "a", "to", "the", "call", "and", "check", "result"], *VERBS, *THINGS]
        )

    def make_pairs_jsonl(self, path: Path) -> None:
        write_rows(path, questions(VERBS[:14], THINGS[:13])[:150])

    def make_pairs_test_jsonl(self, path: Path) -> None:
        write_rows(path, questions(VERBS[:14], THINGS[:13])[150:])

    def make_faq_jsonl(self, path: Path) -> None:
        write_rows(path, questions(VERBS[14:], THINGS))

    def make_docs_jsonl(self, path: Path) -> None:
        write_rows(path, [{"id": f"d{i}", "text": row["answer"]} for i, row in enumerate(questions()[:182])])

    def make_texts_txt(self, path: Path) -> None:
        path.write_text("".join(row["question"] + "\n" for row in questions()[:182]), encoding="utf-8")

    def make_notes(self, path: Path) -> None:
        """A folder of Markdown files, of this Python's documentation."""
        path.mkdir()
        for i, text in enumerate(_module_docs()[:40]):
            (path / f"{i}.md").write_text(f"# Module {i}\n\n{text}\n", encoding="utf-8")

    def make_scifact(self, path: Path) -> None:
        """A retrieval set of one question, in BEIR's layout."""
        (path / "qrels").mkdir(parents=True)
        write_rows(path / "corpus.jsonl", [{"_id": "d1", "title": "", "text": "list.sort sorts"}])
        write_rows(path / "queries.jsonl", [{"_id": "q1", "text": "sort a list"}])
        (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")

    def make_articles_txt(self, path: Path) -> None:
        texts = [" ".join(text.split()) for text in _module_docs()[:40]]
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")

    def make_pages_jsonl(self, path: Path) -> None:
        rows = [{"title": text.split("\n")[0][:60], "text": text} for text in _module_docs()[:40]]
        write_rows(path, rows)


def _module_docs() -> list[str]:
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
        text = "\n\n".join(
            doc
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and (doc := ast.get_docstring(node))
        )
        if len(text) > 600:
            found.append(text[:1500])
    return found
