"""Every command and every line of Python in README.md does what it says."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from made_texts import THINGS, VERBS
from statim.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = dict.fromkeys(re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL))
COMMANDS = [line for _, block in BLOCKS for line in block.splitlines() if line.startswith("statim ")]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that README names."""
    path = tmp_path_factory.mktemp("readme")
    rows = [
        {
            "question": f"how do I {verb} a {thing}?",
            "answer": f"to {verb} the {thing} call {thing}.{verb} and check the result",
        }
        for verb in VERBS[:14]
        for thing in THINGS[:13]
    ]
    for name, some in (("pairs.jsonl", rows[:150]), ("pairs_test.jsonl", rows[150:])):
        (path / name).write_text("".join(json.dumps(row) + "\n" for row in some))
    (path / "docs.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "text": row["answer"]}) + "\n" for i, row in enumerate(rows))
    )
    (path / "texts.txt").write_text("".join(row["question"] + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def settings(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATIM_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(folder)
        yield patch


def test_the_commands_and_one_piece_of_python():
    assert len(COMMANDS) == 14
    assert len(PYTHON) == 1


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "statim demo"])
def test_command(command, settings, capfd):
    """In the order of README: the first one trains the model that the others use."""
    settings.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capfd.readouterr()
    assert caught.value.code == 0, err
    assert "Traceback" not in err
    assert out.strip()


def test_python(folder, settings, tmp_path_factory):
    fresh = tmp_path_factory.mktemp("python")
    (fresh / "pairs.jsonl").write_bytes((folder / "pairs.jsonl").read_bytes())
    settings.chdir(fresh)
    scope = {}
    exec(compile(PYTHON[0], "README.md", "exec"), scope)
    assert scope["vectors"].shape == (2, scope["model"].dim)
    settings.chdir(folder)


@pytest.mark.long
@pytest.mark.timeout(900)  # four minutes on two slow cores, beside another test twice that
def test_demo(settings, capfd, tmp_path):
    """The whole of `make demo`, with what the project promises of it."""
    settings.setattr(sys, "argv", ["statim", "demo", "--out", str(tmp_path / "demo"), "--json", "--quiet"])
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
