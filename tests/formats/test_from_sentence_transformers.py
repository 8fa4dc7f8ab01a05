"""Folders that sentence-transformers writes load here with its own vectors; other modules are refused by
name.
"""

import json
import shutil
import warnings

import numpy as np
import pytest

from statim import StaticModel
from statim.errors import ModelError
from statim.tensors import load_tensors, save_tensors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding


@pytest.fixture
def saved(minilm, table, tmp_path):
    """A function that saves a model with sentence-transformers and gives the folder."""

    def save(*, tokenizer=minilm, normalize=False, rows=None, **options):
        embedding = StaticEmbedding(
            tokenizer.from_str(tokenizer.to_str()),
            embedding_weights=table(tokenizer) if rows is None else rows,
        )
        SentenceTransformer(
            modules=[embedding, Normalize()] if normalize else [embedding], device="cpu", **options
        ).save(str(tmp_path / "model"), create_model_card=False)
        return tmp_path / "model"

    return save


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", ["MiniLM", "WordPiece", "Unigram", "BPE"])
def test_vectors_are_those_of_sentence_transformers(
    kind, normalize, saved, minilm, small, texts, apart, by_sentence_transformers
):
    tokenizer = minilm if kind == "MiniLM" else small[kind]
    folder = saved(tokenizer=tokenizer, normalize=normalize)
    model = StaticModel.load(folder)
    # the tokenizer of all-MiniLM-L6-v2 is delivered with a truncation at 128
    assert model.settings.max_tokens == (128 if kind == "MiniLM" else None)
    assert model.settings.normalize is normalize
    assert not model.table.flags.owndata
    assert apart(model.encode(texts), by_sentence_transformers(folder, texts), texts) < 1e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions(dtype, saved, small, table, texts, by_sentence_transformers):
    folder = saved(tokenizer=small["BPE"], rows=table(small["BPE"]).astype(dtype))
    # float16 gives NaN for an empty text there; float64 has not the rounding of long sums
    some = [text for text in texts[:1200] if text]
    difference = np.abs(StaticModel.load(folder).encode(some) - by_sentence_transformers(folder, some)).max()
    assert difference < (2e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "sentence_transformers.models.{0}",
        "sentence_transformers.models.{0}.{0}",
        "sentence_transformers.sentence_transformer.modules.{0}",
    ],
)
def test_every_class_path(name, saved, texts, by_sentence_transformers):
    folder = saved(normalize=True)
    expected = by_sentence_transformers(folder, texts[:50])
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for entry in modules:
        entry["type"] = name.format(entry["type"].rpartition(".")[2])
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert np.abs(StaticModel.load(folder).encode(texts[:50]) - expected).max() < 1e-6


def test_files_in_the_folder_of_the_module(saved, texts, apart, by_sentence_transformers):
    folder = saved(normalize=True)
    (folder / "0_StaticEmbedding").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.move(folder / name, folder / "0_StaticEmbedding" / name)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[0]["path"] = "0_StaticEmbedding"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    ours, theirs = StaticModel.load(folder).encode(texts), by_sentence_transformers(folder, texts)
    assert apart(ours, theirs, texts) < 1e-6


def test_the_key_of_model2vec_without_its_config(saved, texts, apart, by_sentence_transformers):
    folder = saved()
    rows = load_tensors(folder / "model.safetensors")[0]["embedding.weight"].copy()
    save_tensors(folder / "model.safetensors", {"embeddings": rows})
    ours, theirs = StaticModel.load(folder).encode(texts), by_sentence_transformers(folder, texts)
    assert apart(ours, theirs, texts) < 1e-6


def test_prompts(saved):
    folder = saved(prompts={"query": "ask: ", "passage": "never taken: ", "document": ""})
    model, other = StaticModel.load(folder), SentenceTransformer(str(folder), device="cpu")
    assert model.settings.prompts == {"query": "ask: ", "passage": "never taken: "}
    for name in ("encode", "encode_query", "encode_document"):
        assert np.abs(getattr(model, name)("a list") - getattr(other, name)("a list")).max() < 1e-6


def test_a_default_prompt_is_said_aloud(saved):
    folder = saved(prompts={"query": "ask: ", "passage": "take: "}, default_prompt_name="passage")
    with pytest.warns(UserWarning, match="default prompt, 'take: '"):
        model = StaticModel.load(folder)
    other = SentenceTransformer(str(folder), device="cpu")
    assert np.abs(model.encode("take: a list") - other.encode("a list")).max() < 1e-6
    for name in ("encode_query", "encode_document"):
        assert np.abs(getattr(model, name)("a list") - getattr(other, name)("a list")).max() < 1e-6


def test_facts_of_the_card(saved):
    folder = saved()
    head = (
        "---\nlanguage:\n- en\n- \"de\"\ntags:\n- x\nbase_model: 'org/name'\nlicense: mit\n---\n# "
        "Text\nbase_model: other\n"
    )
    (folder / "README.md").write_text(head, encoding="utf-8")
    settings = StaticModel.load(folder).settings
    assert (settings.base_model, settings.language) == ("org/name", ("en", "de"))
    (folder / "README.md").write_text(
        head.replace('\n- en\n- "de"', " [en, fr]").replace("\n", "\r\n"), encoding="utf-8"
    )
    assert StaticModel.load(folder).settings.language == ("en", "fr")
    (folder / "README.md").write_bytes(b"\xff\xfe---\n: \n")
    assert StaticModel.load(folder).settings.base_model is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"direction": "Left"}, "at their beginning"),
        ({"strategy": "OnlySecond"}, "cuts no single text"),
        ({"max_length": 0}, "cuts no single text"),
    ],
)
def test_truncations_that_cannot_be_kept(change, match, saved):
    folder = saved()
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    described["truncation"].update(change)
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ModelError, match=match):
        StaticModel.load(folder)


def edited(folder, edit):
    path = folder / "modules.json"
    modules = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(edit(modules)), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda modules: [], "is not a list of modules"),
        (lambda modules: {"0": modules}, "is not a list of modules"),
        (lambda modules: [{"path": ""}], "is not a list of modules"),
        (
            lambda modules: [{"path": "", "type": "a.models.Transformer"}],
            ("its module is Transformer; it can serve as a teacher"),
        ),
        (lambda modules: [*modules, {"path": "2_Dense", "type": "a.Dense"}], "module 2 is Dense"),
        (lambda modules: [{"path": "", "type": "a.Router"}, *modules], "module 0 is Router"),
        (
            lambda modules: [{"path": "", "type": "a.SparseStaticEmbedding"}],
            ("its module is SparseStaticEmbedding"),
        ),
        (lambda modules: [{**modules[0], "path": "../model"}], "leads out of the folder"),
        (lambda modules: [{**modules[0], "path": "/etc"}], "leads out of the folder"),
        (lambda modules: [{**modules[0], "path": "elsewhere"}], "elsewhere.* is missing"),
    ],
)
def test_other_modules_are_refused(edit, match, saved):
    with pytest.raises(ModelError, match=match):
        StaticModel.load(edited(saved(normalize=True), edit))


def test_a_normalize_of_something_else_is_refused(saved):
    folder = saved(normalize=True)
    (folder / "1_Normalize" / "config.json").write_text(
        '{"module_input_name": "token_embeddings"}', encoding="utf-8"
    )
    with pytest.raises(ModelError, match="module 1 is Normalize"):
        StaticModel.load(folder)


def test_a_transformer_is_named(minilm, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    with pytest.raises(ModelError, match="holds a BertModel; it can serve as a teacher"):
        StaticModel.load(tmp_path)


def test_a_pickle_is_refused(saved):
    folder = saved()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle, which can run code"):
        StaticModel.load(folder)
