"""A small model with a prompt for queries, and an index of it."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from made_texts import THINGS, VERBS
from statim import Index, Settings, StaticModel


def make_model(path: Path, seed: int) -> Path:
    words = sorted({*VERBS, *THINGS, "how", "to", "a", "the", "question", ":"})
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(seed).standard_normal((len(words) + 1, 32)).astype(np.float32)
    table[0] = 0
    StaticModel(table, backend, Settings(prompts={"query": "question: "})).save(path)
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> str:
    return str(make_model(tmp_path_factory.mktemp("models") / "model", 0))


@pytest.fixture(scope="session")
def model(place) -> StaticModel:
    return StaticModel.load(place)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [f"how to {verb} a {thing}" for verb in VERBS[:5] for thing in THINGS[:5]]


@pytest.fixture(scope="session")
def index(model, texts, tmp_path_factory) -> Index:
    rows = [{"id": f"d{n}", "text": text, "n": n} for n, text in enumerate(texts)]
    return Index.build(model, rows, tmp_path_factory.mktemp("indexes") / "docs")
