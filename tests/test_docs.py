"""The documentation: every page runs and is in the navigation; every public name and command has a page."""

import doctest
import importlib
import json
import re
from pathlib import Path

import pytest
import typer

import statim
from doc_pages import DOCS, ROOT, Material, blocks, is_long, needs, run_page
from statim import data, evaluation, scale
from statim.cli import app

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
HERE = [
    page for page in PAGES if page != "search.md" and blocks(DOCS / page)
]  # tests/search has a database for that one
PROSE = [DOCS / page for page in PAGES if page != "ablation.md"]  # which is laid out by a script


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return Material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def _no_teacher(monkeypatch):
    """No teacher is at hand, so that a start by default is random and quick."""
    monkeypatch.setattr("statim.teacher.folder._packaged", lambda: None)


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=[pytest.mark.long] * is_long(DOCS / p)) for p in HERE]
)
@pytest.mark.usefixtures("_no_teacher")
def test_page(page, material, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    material.give(needs(DOCS / page), tmp_path)
    capfd.readouterr()
    ran = run_page(DOCS / page, monkeypatch, capfd)
    check = CHECKS.get(page)
    if check:
        check(ran)


def duplicates(ran):
    assert ran.scope["clean"] == ["How do I sort a list?", "Open a file"]
    assert {"groups.csv", "pairs.jsonl", "clean.parquet", "leaked.jsonl"} <= {
        path.name for path in Path().iterdir()
    }


def clusters(ran):
    assert sorted(set(ran.scope["labels"].tolist())) == [0, 1, 2]


def classify(ran):
    assert float(re.search(r"accuracy +([\d.]+)", ran.out("statim classify evaluate"))[1]) > 0.6


def without_pairs(ran):
    assert len(ran.commands) == 3
    for command, out, err in ran.commands:
        assert "held out" in err
        assert "NDCG@10" in out
        assert "documents" in Path(command.split()[-1], "README.md").read_text()


def teach(ran):
    assert "taught, distilled" in ran.out("statim teach")
    assert not Path("adapted.teaching").exists()
    assert "adapted, distilled" in ran.commands[1][2]


def update(ran):
    assert re.search(r"^new +[\d.]+ +[\d.]+ +\d+$", ran.out("statim update"), re.MULTILINE)
    assert re.search(r"^index: \d+ of \d+ texts encoded again$", ran.out("statim update"), re.MULTILINE)
    assert ran.printed[0].endswith("texts encoded again\n")


def quickstart(ran):
    assert "trained and BM25" in ran.printed[0]
    assert "open(path) returns a file object" in ran.printed[0]


def encode(ran):
    assert json.loads(Path("bad.jsonl").read_text())["line"] == 2


def help_desk(ran):
    found = [json.loads(line) for line in Path("routed.jsonl").read_text().splitlines()]
    assert [row["label"] for row in found] == ["network", "files"]


def another_language(ran):
    assert ran.printed == ["Eine Datei öffnen\nde 0.0\n", "Eine Datei öffnen\n"]


def check(ran):
    (_, lines, _), (_, as_json, _) = ran.commands[1:]
    places = lines.splitlines()
    assert [line.split(", ")[0] for line in places] == ["model: model", "docs.index: index"]
    assert all("GB/s: whole" in line for line in places)
    assert {place["kind"]: place["undigested"] for place in json.loads(as_json)} == {"model": 0, "index": 0}


def scale_page(ran):
    assert "4 texts of 2 shards" in ran.out("statim encode")
    assert "open a file" in ran.out("statim search")
    assert "shards         3" in ran.out("statim index info")
    assert ran.printed == ["1 2\n3 {} a2\n"]


CHECKS = {
    "scale.md": scale_page,
    "check.md": check,
    "classify.md": classify, "clusters.md": clusters, "duplicates.md": duplicates, "encode.md": encode,
    "quickstart.md": quickstart,
    "teach.md": teach, "tutorials/another_language.md": another_language, "tutorials/help_desk.md": help_desk,
    "update.md": update, "without_pairs.md": without_pairs,
}  # fmt: skip


def navigation():
    return re.findall(
        r"^ +- .*: (\S+\.md)$|^  - \w+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
    )


def test_every_page_is_in_the_navigation():
    listed = [first or second for first, second in navigation()]
    assert len(set(listed)) == len(listed)
    for page in listed:
        assert (DOCS / page).is_file() or (ROOT / page).is_file(), page
    assert set(PAGES) <= set(listed)


def test_every_public_name_is_on_an_api_page():
    described = set()
    for page in (DOCS / "api").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            module, _, attribute = name.rpartition(".")
            described.add(id(getattr(importlib.import_module(module), attribute)))
    for module in (statim, data, evaluation, scale):
        for name in module.__all__:
            assert id(getattr(module, name)) in described, (
                f"{module.__name__}.{name} is on no page of docs/api"
            )


RESULTS = {  # what functions give; their examples are those functions'
    "Comparison", "Corpus", "EncodedShards", "Encoder", "Hit", "Hybrid", "JudgedPairs", "LabelledTexts",
    "Matches", "Pairs",
    "Report", "RetrievalSet", "Row", "ScoredPairs", "Split", "TASKS", "Tokens", "TrainingResult", "Tuning",
}  # fmt: skip
TRAININGS = {"fit_sentence_transformer", "teach", "train"}  # pages have examples of these
EXAMPLES = sorted({*statim.__all__, *data.__all__, *evaluation.__all__, *scale.__all__} - RESULTS - TRAININGS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, material, tmp_path, monkeypatch):
    """Each public function and class that a reader makes has an example, and it runs."""
    modules = (statim, data, evaluation, scale)
    (value,) = {getattr(module, name) for module in modules if name in module.__all__}
    monkeypatch.chdir(tmp_path)
    material.give(["model", "pairs.jsonl", "docs.jsonl", "texts.txt", "notes", "scifact"], tmp_path)
    scope = {
        "statim": statim,
        "model": statim.StaticModel.load("model"),
        "read_pairs": data.read_pairs,
        value.__name__: value,
    }
    found = doctest.DocTestFinder(recurse=False).find(value, name, globs=scope)
    assert sum(len(example.examples) for example in found) > 0
    for example in found:
        said = []
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
        assert result.failed == 0, "".join(said)


def test_every_command_has_a_guide():
    text = "\n".join((DOCS / page).read_text() for page in PAGES)
    for name in typer.main.get_command(app).commands:
        assert re.search(rf"statim {name}\b", text), name


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.name)
def test_prose_is_at_most_120_letters_wide(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    wide = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "    ", "#"))]
    assert not wide
