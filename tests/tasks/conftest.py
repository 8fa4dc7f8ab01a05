"""A small model, and texts whose labels its words and their order tell."""

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.model import StaticModel

WORDS = [
    "sort", "list", "order", "array", "open", "file", "read", "write", "start", "thread", "run", "process",
    "how", "do", "i", "a",
    "the", "now", "then", "not", "and",
]  # fmt: skip


def make_model(seed=0, dim=24):
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(WORDS)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(seed).standard_normal((len(WORDS) + 1, dim)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture(scope="session")
def other_model():
    return make_model(seed=1)


@pytest.fixture(scope="session")
def labelled():
    """240 texts of three labels, with some noise; words alone tell most of them."""
    random = np.random.default_rng(0)
    groups = {"sorting": WORDS[:4], "files": WORDS[4:8], "threads": WORDS[8:12]}
    texts, labels = [], []
    for _ in range(80):
        for label, own in groups.items():
            words = [*random.choice(own, 2), *random.choice(WORDS, 3)]
            texts.append(" ".join(words))
            labels.append(label)
    return texts, labels
