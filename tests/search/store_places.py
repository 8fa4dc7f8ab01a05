"""Where the tests of all stores put an index, and a small model."""

import itertools

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.model import StaticModel
from statim.search.index import Index

WORDS = [f"w{i:02d}" for i in range(30)]
STORES = ["folder", "lancedb", "postgresql"]
_names = itertools.count()


def model_of(seed, dim=8, words=WORDS):
    """A model of random vectors for some words; others have zeros."""
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(seed).standard_normal((len(words) + 1, dim)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


class Place:
    """Where a store puts an index."""

    def __init__(self, kind, path, address):
        self.kind, self.path = kind, address if kind == "postgresql" else path
        self.table = f'index {next(_names)} of "tests"'

    def build(self, model, documents, **options):
        store = None if self.kind == "postgresql" else self.kind
        return Index.build(model, documents, self.path, store=store, table=self.table, **options)

    def load(self, **options):
        return Index.load(self.path, table=self.table, **options)


def texts_of(count, seed=1, words=WORDS):
    """Texts of one to six words each."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, random.integers(1, 7))) for _ in range(count)]
