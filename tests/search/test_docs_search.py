"""Every command and every line of Python in docs/search.md does what it says."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from statim.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
BLOCKS = re.findall(r"```(\w+) ?(\S*)\n(.*?)```", PAGE, re.DOTALL)
ADDRESS = "export STATIM_DATABASE=postgresql://user@host/database"


def set_apart(block):
    """The lines that run statim."""
    return [line for line in block.splitlines() if line != ADDRESS]


def test_the_page(model, address, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model.save("model")
    assert ADDRESS in PAGE
    monkeypatch.setenv("STATIM_DATABASE", address)
    commands = 0
    for kind, name, block in BLOCKS:
        if kind == "jsonl":
            Path(name).write_text(block)
        elif kind == "python":
            exec(compile(block, "search.md", "exec"), {})
            assert capfd.readouterr().out.startswith("set ")
        else:
            for line in set_apart(block):
                monkeypatch.setattr(sys, "argv", shlex.split(line))
                with pytest.raises(SystemExit) as caught:
                    main()
                out, err = capfd.readouterr()
                assert caught.value.code == 0, (line, err)
                assert out.strip(), line
                commands += 1
    assert commands == 23
    assert Path("answers.trec").read_text().startswith("q1 Q0 ")
