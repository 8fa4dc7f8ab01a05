"""A model's hash: the same before it is saved and after it is loaded, from whatever format it came."""

import hashlib
import warnings

import numpy as np
import pytest
import threadpoolctl

from statim import Classifier, StaticModel
from statim.errors import ModelError
from statim.formats.parts import Parts
from statim.settings import Settings
from statim.tensors import save_tensors
from statim.tokenizer.tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import model2vec
    from model2vec.model import quantize_model
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding


def by_model2vec(folder, tokenizer, rows, *, dtype=None, clusters=None, **options):
    model = model2vec.StaticModel(rows, tokenizer, **options)
    if dtype or clusters:
        with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the clustering
            model = quantize_model(model, quantize_to=dtype, vocabulary_quantization=clusters)
    model.save_pretrained(folder)


WEIGHTS = np.linspace(0.1, 3, 2000)
MODEL2VEC = {
    "plain": {},
    "normalize": {"normalize": True, "max_length": None},
    "float16": {"dtype": "float16"},
    "float64": {"dtype": "float64"},
    "int8": {"dtype": "int8"},
    "clusters": {"clusters": 9},
    "clusters of int8": {"clusters": 9, "dtype": "int8"},
    "weights": {"weights": WEIGHTS.astype(np.float32)},
    "weights of int8": {"weights": WEIGHTS.astype(np.float32), "dtype": "int8"},
    "half weights of int8": {"weights": WEIGHTS.astype(np.float16), "dtype": "int8"},
}


def check(model, folder):
    """The model's hash after it was saved and loaded, twice, is what it was before."""
    for name in ("once", "twice"):
        model.save(folder / name)
        again = StaticModel.load(folder / name)
        assert again.hash == model.hash
        assert again.matches_hash(model.hash)
        for dtype in ("float32", "float16", "int8"):
            assert again.quantize(dtype).hash == model.quantize(dtype).hash
        model = again


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "BPE"])
@pytest.mark.parametrize("options", MODEL2VEC.values(), ids=MODEL2VEC)
def test_of_model2vec(options, kind, small, table, tmp_path):
    if "weights" in options:
        options = options | {"weights": options["weights"][: small[kind].get_vocab_size()]}
    by_model2vec(tmp_path / "model", small[kind], table(small[kind]), **options)
    check(StaticModel.load(tmp_path / "model"), tmp_path)


@pytest.mark.parametrize("kind", ["MiniLM", "WordPiece", "Unigram", "BPE"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_of_sentence_transformers(dtype, kind, minilm, small, table, tmp_path):
    tokenizer = minilm if kind == "MiniLM" else small[kind]
    embedding = StaticEmbedding(
        tokenizer.from_str(tokenizer.to_str()), embedding_weights=table(tokenizer).astype(dtype)
    )
    SentenceTransformer(
        modules=[embedding, Normalize()], device="cpu", prompts={"query": "q: ", "other": "o: "}
    ).save(str(tmp_path / "model"), create_model_card=False)
    check(StaticModel.load(tmp_path / "model"), tmp_path)


@pytest.mark.parametrize("unknown", [False, True])
def test_of_word_vectors(unknown, tmp_path):
    words = ["the", "<unk>" if unknown else "list", "sort"]
    (tmp_path / "vectors.txt").write_text("".join(f"{word} {n} {n + 0.5}\n" for n, word in enumerate(words)))
    check(StaticModel.load(tmp_path / "vectors.txt"), tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "BPE"])
def test_of_models_made_here(kind, dtype, small, table, tmp_path):
    rows = np.concatenate([table(small[kind]), np.ones((7, 24), np.float32)])  # more rows than ids
    settings = Settings(drop_unknown=True, max_tokens=9, max_characters=99, prompts={"query": "q: "})
    check(StaticModel(rows, small[kind], settings).quantize(dtype), tmp_path)


def test_what_decides_vectors_decides_the_hash(small, table):
    tokenizer, rows = small["WordPiece"], table(small["WordPiece"])
    unknown = Tokenizer(tokenizer).unknown_id
    dropping = StaticModel(rows, tokenizer, Settings(drop_unknown=True))
    for row in (0, unknown, 700, len(rows) - 1):
        other = rows.copy()
        other[row, 3] += 1
        same = StaticModel(other, tokenizer, Settings(drop_unknown=True)).hash == dropping.hash
        assert same == (row == unknown)
        assert StaticModel(other, tokenizer).hash != StaticModel(rows, tokenizer).hash
    assert StaticModel(rows, tokenizer).hash != dropping.hash
    assert StaticModel(rows, tokenizer, Settings(drop_unknown=True, language=("en",))).hash == dropping.hash


def test_rows_that_count_are_those_that_are_saved(small, table, tmp_path):
    tokenizer = Tokenizer(small["Unigram"])
    rows = np.concatenate([table(small["Unigram"]), np.ones((2, 24), np.float32)])
    parts = Parts(rows, tokenizer, Settings(drop_unknown=True))
    expected = rows[:-2].copy()
    expected[tokenizer.unknown_id] = 0
    assert np.array_equal(np.concatenate(list(parts.counting_rows())), expected)


def test_a_head_opens_with_its_models_copy(small, table, tmp_path):
    by_model2vec(tmp_path / "model", small["WordPiece"], table(small["WordPiece"]))
    model = StaticModel.load(tmp_path / "model")
    model.save(tmp_path / "copy")
    texts = [f"sort the list {n}" for n in range(20)] + [f"open a file {n}" for n in range(20)]
    head = Classifier.fit(model, texts, ["a"] * 20 + ["b"] * 20)
    head.save(tmp_path / "head")
    opened = Classifier.load(tmp_path / "head", StaticModel.load(tmp_path / "copy"))
    assert opened.predict(texts) == head.predict(texts)


def test_a_head_of_an_earlier_version_opens(small, table, tmp_path):
    """Its hash was of the whole table, rows that change no vector included."""
    tokenizer = small["WordPiece"]
    by_model2vec(tmp_path / "model", tokenizer, table(tokenizer))
    model = StaticModel.load(tmp_path / "model")
    assert model.table[Tokenizer(tokenizer).unknown_id].any()
    earlier = hashlib.sha256(model.table.tobytes())
    earlier.update(model.tokenizer.hash.encode())
    ways = [None, None, True, model.settings.max_characters, 512, False, []]
    earlier.update(repr(ways).encode())
    assert earlier.hexdigest() != model.hash
    assert model.matches_hash(earlier.hexdigest())
    assert not model.matches_hash(hashlib.sha256(b"another").hexdigest())


def test_float16_with_other_weights_is_unfolded(small, table, tmp_path):
    """Weights of 1 only say how others compute; any other weight changes the vectors."""
    tokenizer, rows = small["WordPiece"], table(small["WordPiece"]).astype(np.float16)
    by_model2vec(tmp_path / "model", tokenizer, rows)
    weights = np.ones(len(rows), np.float16)
    for number, dtype in ((1, "float16"), (2, "float32")):
        weights[5] = number
        save_tensors(tmp_path / "model" / "model.safetensors", {"embeddings": rows, "weights": weights})
        model = StaticModel.load(tmp_path / "model")
        assert model.dtype == dtype
        assert np.array_equal(model.table[5], number * rows[5].astype(np.float32))
    weights[5] = np.inf
    save_tensors(tmp_path / "model" / "model.safetensors", {"embeddings": rows, "weights": weights})
    with pytest.raises(ModelError, match="NaN or infinity in row 5"):
        StaticModel.load(tmp_path / "model")
