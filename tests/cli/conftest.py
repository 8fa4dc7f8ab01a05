"""A way to run the command line in this process, and a tiny model, pairs and index to run it on."""

import json
import sys

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from made_texts import THINGS, VERBS
from statim.cli import main
from statim.model import StaticModel


@pytest.fixture
def statim(monkeypatch, capfd, tmp_path):
    """Run ``statim ARGUMENTS``; gives (exit code, standard output, standard error)."""
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["statim", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture(scope="session")
def pair_rows():
    """400 pairs that a model can learn: every verb with every thing."""
    return [
        {
            "question": f"how do I {verb} a {thing}?",
            "answer": f"to {verb} the {thing} call {thing}.{verb} and check what it gives",
        }
        for verb in VERBS
        for thing in THINGS
    ]


@pytest.fixture
def pairs(tmp_path, pair_rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    words = sorted(
        {
            *VERBS,
            *THINGS,
            "how",
            "do",
            "i",
            "a",
            "the",
            "to",
            "call",
            "and",
            "check",
            "what",
            "it",
            "gives",
            "?",
            ".",
        }
    )
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(words) + 1, 32)).astype(np.float32)
    table[0] = 0
    path = tmp_path_factory.mktemp("models") / "model"
    StaticModel(table, backend).save(path)
    return path
