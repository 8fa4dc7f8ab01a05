"""Every command and every line of Python in docs/duplicates.md and docs/clusters.md does what it says."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from statim.cli import main
from statim.model import StaticModel

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize(
    ("name", "files", "commands"),
    [("duplicates.md", ["texts.txt", "train.txt"], 5), ("clusters.md", ["texts.txt"], 2)],
)
def test_page(name, files, commands, minilm, tmp_path, monkeypatch, capfd):
    page = (DOCS / name).read_text()
    table = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 32)).astype(np.float32)
    StaticModel(table, minilm).save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for file, text in zip(files, re.findall(r"```text\n(.*?)```", page, re.DOTALL), strict=True):
        (tmp_path / file).write_text(text)
    lines = re.findall(r"^statim .*$", page, re.MULTILINE)
    assert len(lines) == commands
    for line in lines:
        arguments = shlex.split(line)
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        assert caught.value.code == 0, err
        assert out.strip()
        if "--out" in arguments:
            assert (tmp_path / arguments[arguments.index("--out") + 1]).stat().st_size > 0
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope = {}
    exec(compile(block, name, "exec"), scope)
    if name == "duplicates.md":
        assert scope["clean"] == ["How do I sort a list?", "Open a file"]
    else:
        assert sorted(set(scope["labels"].tolist())) == [0, 1, 2]
