"""Real texts (the docstrings of the standard library), a model of them, and an index."""

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from real_postgres import server
from store_places import STORES, Place
from tokenizers import models, normalizers, pre_tokenizers, trainers

from statim.model import StaticModel
from statim.search.index import Index

MODULES = (
    "argparse",
    "collections/__init__",
    "datetime",
    "difflib",
    "inspect",
    "json/decoder",
    "logging/__init__",
    "pathlib",
    "random",
    "shutil",
    "statistics",
    "string",
    "tarfile",
    "textwrap",
    "zipfile",
)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    root = Path(os.__file__).parent
    found: dict[str, None] = {}
    for module in MODULES:
        tree = ast.parse((root / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                doc := ast.get_docstring(node)
            ):
                found[inspect.cleandoc(doc)] = None
    assert len(found) > 400
    return list(found)


@pytest.fixture(scope="session")
def model(texts: list[str]) -> StaticModel:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 48)).astype(np.float32)
    table[0] = 0  # unknown tokens are like nothing
    return StaticModel(table, tokenizer)


@pytest.fixture(scope="session")
def built(texts: list[str], model: StaticModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "docs.index"
    rows = [{"length": len(text), "first": text[:1] or None} for text in texts]
    Index.build(model, texts, path, ids=[f"doc-{i}" for i in range(len(texts))], metadata=rows)
    return path


@pytest.fixture
def index(built: Path) -> Index:
    return Index.load(built)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of a real PostgreSQL with pgvector."""
    with server() as found:
        yield found


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where each of the stores puts an index."""
    found = request.getfixturevalue("address") if request.param == "postgresql" else None
    return Place(request.param, tmp_path / "index", found)
