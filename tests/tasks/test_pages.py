"""Every command and every line of Python of the pages on classify, recommend and features does what it says."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from statim.cli import main
from statim.model import StaticModel

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("page", ["classify", "recommend", "features"])
def test_page(page, minilm, tmp_path, monkeypatch, capfd):
    """From top to bottom, in a folder where ``model`` is a table of random numbers: its vectors tell words apart."""
    monkeypatch.chdir(tmp_path)
    table = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 48)).astype(np.float32)
    table[minilm.token_to_id("[UNK]")] = 0
    StaticModel(table, minilm).save("model")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, f"{page}.md", "exec"), {})
            continue
        for line in block.splitlines():
            monkeypatch.setattr(sys, "argv", shlex.split(line))
            with pytest.raises(SystemExit) as caught:
                main()
            out, err = capfd.readouterr()
            assert caught.value.code == 0, err
            if " evaluate " in line and page == "classify":
                assert float(re.search(r"accuracy +([\d.]+)", out)[1]) > 0.6, out
