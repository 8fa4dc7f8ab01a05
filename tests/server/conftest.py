"""A small model, an index of it, and a server of both."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tokenizers
from running import Running, running
from tokenizers import models, normalizers, pre_tokenizers

from made_texts import THINGS, VERBS
from statim import Index, Settings, StaticModel

DOCUMENTS = [
    {"id": f"{verb}-{thing}", "text": f"how to {verb} a {thing}", "verb": verb, "length": len(thing)}
    for verb in VERBS[:4]
    for thing in THINGS[:5]
]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    words = sorted({*VERBS, *THINGS, "how", "to", "a", "the", "query", ":"})
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(words) + 1, 32)).astype(np.float32)
    table[0] = 0
    path = tmp_path_factory.mktemp("served") / "small"
    StaticModel(table, backend, Settings(prompts={"query": "query: "})).save(path)
    return path


@pytest.fixture(scope="session")
def model(model_folder) -> StaticModel:
    return StaticModel.load(model_folder)


@pytest.fixture(scope="session")
def index_folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("served") / "docs"
    Index.build(model, DOCUMENTS, path, language="en")
    return path


@pytest.fixture(scope="session")
def server(model_folder, index_folder, tmp_path_factory) -> Iterator[Running]:
    """Reads only; with low limits."""
    log = tmp_path_factory.mktemp("log") / "log"
    limits = ("--max-body", 20_000, "--max-batch", 100, "--max-tokens", 1000)
    with running(log, model_folder, index_folder, *limits) as found:
        yield found


@pytest.fixture
def client(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as found:
        yield found
