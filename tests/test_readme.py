"""README.md: its Python runs; its results, commands, extras and links are today's."""

import json
import re
import sys
import tomllib

import pytest
import typer

from doc_pages import ROOT, blocks, run_page
from statim.cli import app, main

README = (ROOT / "README.md").read_text(encoding="utf-8")


def without_figures(text):
    """The words of what is printed, which are the same on every machine."""
    return re.findall(r"[A-Za-z@][\w@().]*", re.sub(r"p [<=] [\d.]+", "p", re.sub(r"\d[\d.,]*", "0", text)))


def test_the_quickstart(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (shown,) = [content for kind, _, content in blocks(ROOT / "README.md") if kind == "text"]
    (printed,) = run_page(ROOT / "README.md", monkeypatch, capfd).printed
    assert [without_figures(line) for line in printed.splitlines()[:-1]] == [
        without_figures(line) for line in shown.splitlines()[:-1]
    ]
    assert printed.splitlines()[0].endswith("open(path) returns a file object")


def test_the_results_are_those_of_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import readme_table

    first, last = readme_table.MARKS
    shown = README.partition(first)[2].partition(last)[0].strip()
    assert shown == readme_table.made((ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"))
    assert "| statim, general model | **73" in shown


def test_the_commands():
    listed = re.findall(r"^\| \[`statim (\w+)`\]", README, re.MULTILINE)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)


def test_the_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    section = README.partition("## Install")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == set(extras) - {"dev", "peers"}


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md", "benchmarks/HISTORY.md"]
)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://github.com/statim/") or (page.parent / target).exists(), target


@pytest.mark.long
@pytest.mark.timeout(900)  # four minutes on two slow cores, beside another test twice that
def test_demo(monkeypatch, capfd, tmp_path):
    """The whole of `make demo`, with what the project promises of it."""
    monkeypatch.setattr(sys, "argv", ["statim", "demo", "--out", str(tmp_path / "demo"), "--json", "--quiet"])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capfd.readouterr()
    assert caught.value.code == 0, err
    figures = json.loads(out.splitlines()[-1])
    scores = figures["ndcg@10"]
    assert figures["pairs"] > 20_000
    assert scores["trained"] > scores["teacher"] + 0.02
    assert scores["trained"] > scores["bm25"]
    assert len(figures["examples"]) == 3
    assert all(len(example["answers"]) == 3 for example in figures["examples"])
