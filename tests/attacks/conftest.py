"""A small model and an index to be tampered with, and the command line."""

import json
import sys

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.cli import main
from statim.model import StaticModel
from statim.search.index import Index

WORDS = ["sort", "list", "open", "file", "read", "write", "how", "to", "a", "the"]
TEXTS = ["how to sort a list", "how to open a file", "read the file", "write the list to a file"]


@pytest.fixture(scope="session")
def static_model():
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{word: i + 1 for i, word in enumerate(WORDS)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 8)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


@pytest.fixture
def model(static_model, tmp_path):
    """The folder of a model."""
    static_model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def index(static_model, tmp_path):
    """The folder of an index."""
    Index.build(
        static_model, TEXTS, tmp_path / "index", ids=list("abcd"), metadata=[{"year": y} for y in range(4)]
    )
    return tmp_path / "index"


@pytest.fixture
def secret(tmp_path):
    """A file outside of every folder that is opened."""
    path = tmp_path / "secret.txt"
    path.write_text("nobody's business")
    return path


@pytest.fixture
def change():
    """Change a JSON file by a function of its content."""

    def changed(path, function):
        content = json.loads(path.read_text())
        function(content)
        path.write_text(json.dumps(content))

    return changed


@pytest.fixture
def statim(monkeypatch, capfd):
    """Run ``statim ARGUMENTS``; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["statim", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return caught.value.code, out, err

    return run
