"""Real texts, real tokenizers of every kind, and the two libraries that models are exchanged with."""

import ast
import os
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import numpy.typing as npt
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

Encode = Callable[[Path, list[str]], npt.NDArray[np.floating]]

ODD = [
    "",
    " ",
    "\t\n \u3000 \u00a0",
    "☃︎ 漢字 \u1fff \U0001fae8 ᚠᛇᚻ",  # unknown to most vocabularies
    "known words with ☃︎ unknown \u1fff between them",
    "[UNK] [PAD] [CLS] ##ing <unk>",
    "x" * 5000,
    "zero\u200bwidth, café cafe\u0301 CAFÉ",
]


def _docstrings(limit: int) -> list[str]:
    """Docstrings of the standard library, in the order of its files."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files with odd escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found += [
            text
            for node in ast.walk(tree)
            if isinstance(node, documented) and (text := ast.get_docstring(node))
        ]
        if len(found) >= limit:
            return found[:limit]
    return found


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """1,200 docstrings; odd texts; and two of more than 10,000 tokens."""
    documentation = _docstrings(1200)
    assert len(documentation) == 1200
    return [*documentation, *ODD, " ".join(documentation)[:120_000], "-".join(documentation[600:])[:90_000]]


@pytest.fixture(scope="session")
def apart() -> Callable[..., float]:
    """A function that gives how far the vectors of two libraries are apart at most, (n, d) and (n, d) of n
    texts.

    Of long texts less counts: the others add up their rows one by one in float32, which loses digits.
    """

    def apart(ours: np.ndarray, theirs: np.ndarray, texts: list[str]) -> float:
        assert np.isfinite(ours).all()
        patience = 1 / (1 + np.array([[len(text)] for text in texts]) / 100)
        return float((np.abs(ours - theirs) * patience).max() / max(1, np.abs(theirs).max()))

    return apart


@pytest.fixture(scope="session")
def small(texts: list[str]) -> dict[str, tokenizers.Tokenizer]:
    """Tokenizers learned from the texts, by kind; all but the byte-level one have unknown characters."""
    corpus = texts[:400]
    wordpiece = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.train_from_iterator(
        corpus,
        trainers.WordPieceTrainer(vocab_size=2000, special_tokens=["[PAD]", "[UNK]"], show_progress=False),
    )
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(
            vocab_size=1500, special_tokens=["<pad>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    )
    return {"WordPiece": wordpiece, "Unigram": unigram, "BPE": bpe}


@pytest.fixture(scope="session")
def table() -> Callable[..., npt.NDArray[np.float32]]:
    """A random table for a tokenizer; the row of its unknown token is zero on request."""

    def make(
        tokenizer: tokenizers.Tokenizer, dim: int = 24, *, seed: int = 1, zero: int | None = None
    ) -> npt.NDArray[np.float32]:
        random = (
            np.random.default_rng(seed).standard_normal((tokenizer.get_vocab_size(), dim)).astype(np.float32)
        )
        if zero is not None:
            random[zero] = 0
        return random

    return make


@pytest.fixture(scope="session")
def by_sentence_transformers() -> Encode:
    """Vectors as sentence-transformers gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

    def encode(folder: Path, texts: list[str]) -> npt.NDArray[np.floating]:
        return np.asarray(
            SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
        )

    return encode


@pytest.fixture(scope="session")
def by_model2vec() -> Encode:
    """Vectors as model2vec gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from model2vec import StaticModel

    def encode(folder: Path, texts: list[str]) -> npt.NDArray[np.floating]:
        return np.asarray(StaticModel.from_pretrained(str(folder)).encode(texts, use_multiprocessing=False))

    return encode
