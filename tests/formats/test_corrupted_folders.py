"""Whatever stands in a folder's files, loading raises a ModelError or gives a model that works."""

import contextlib
import json
import shutil
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statim import StaticModel
from statim.errors import InputError, ModelError, StatimError

FILES = (
    "config.json",
    "modules.json",
    "tokenizer.json",
    "model.safetensors",
    "config_sentence_transformers.json",
    "1_Normalize/config.json",
    "README.md",
)
KINDS = ("statim", "model2vec", "sentence-transformers")


@pytest.fixture(scope="module")
def folders(small, table, tmp_path_factory):
    """A whole small folder of each kind."""
    tokenizer = small["WordPiece"]
    home = tmp_path_factory.mktemp("folders")
    StaticModel(table(tokenizer, 4), tokenizer).save(home / "statim")
    shutil.copytree(home / "statim", home / "model2vec")
    (home / "model2vec" / "config.json").write_text('{"normalize": true, "max_length": 9}', encoding="utf-8")
    shutil.copytree(home / "statim", home / "sentence-transformers")
    (home / "sentence-transformers" / "config.json").unlink()
    return {kind: home / kind for kind in KINDS}


def harmless(folder, name, data):
    """Put ``data`` in place of a file, load, and put the file back."""
    path = folder / name
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a tokenizer that nanotoken cuts differently
            model = StaticModel.load(folder, verify="never")
        with contextlib.suppress(
            InputError
        ):  # a tokenizer that has no id for an unknown token fails on some texts
            assert len(model.encode(["a list of words", "", "☃ unknown"])) == 3
    except ModelError as error:
        message = str(error)
        assert str(folder) in message or name in message
        assert len(message) < 1000
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert time.perf_counter() - start < 20


def mutations(data):
    """Bytes cut off, replaced, repeated or put in."""
    place = st.integers(0, len(data))
    return st.one_of(
        place.map(lambda end: data[:end]),
        st.tuples(place, st.binary(min_size=1, max_size=6)).map(
            lambda edit: data[: edit[0]] + edit[1] + data[edit[0] + len(edit[1]) :]
        ),
        st.tuples(place, st.binary(max_size=6)).map(lambda edit: data[: edit[0]] + edit[1] + data[edit[0] :]),
        st.tuples(place, place).map(lambda cut: data[: cut[0]] + data[cut[1] :]),
        st.binary(max_size=200),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_bytes(kind, name, folders):
    path = folders[kind] / name
    data = path.read_bytes() if path.exists() else b"{}"
    # the interesting bytes of a table are in its header
    shown = data[:400] if name == "model.safetensors" else data

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(mutations(shown))
    def check(mutated):
        harmless(folders[kind], name, mutated + data[len(shown) :])

    check()


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5),
        st.sampled_from(["", ".", "StaticEmbedding", "a.StaticEmbedding", "a.Normalize", "Right", "[UNK]"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip


def places(value, path=()):
    """The path to every value inside a JSON value, the long lists and dictionaries cut short."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for index, (key, child) in enumerate(inner):
        if index < 12:
            yield from places(child, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES[:3] + FILES[4:6])
def test_values(kind, name, folders):
    path = folders[kind] / name
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"normalize": True}

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(st.sampled_from(list(places(whole))), values)
    def check(place, new):
        harmless(folders[kind], name, json.dumps(replaced(whole, place, new)).encode())

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES[:6])
def test_hostile_json(kind, name, folders):
    for data in (
        b"[" * 100_000,
        b"\xff" * 99,
        b"1" * 5000,
        b"NaN",
        b'{"a":' * 50_000,
        b"\x00" * 99,
        b'"\\ud800"',
        b"",
    ):
        harmless(folders[kind], name, data)


@pytest.mark.parametrize("name", list(FILES[:4]))
def test_a_folder_in_the_place_of_a_file(name, folders, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders["statim"], folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ModelError, match=name):
        StaticModel.load(folder, verify="never")


def test_a_small_file_does_not_unfold_to_terabytes(folders, tmp_path):
    from statim.tensors import save_tensors

    folder = tmp_path / "bomb"
    shutil.copytree(folders["model2vec"], folder)
    save_tensors(
        folder / "model.safetensors",
        {"embeddings": np.zeros((1, 8_000_000), np.int8), "mapping": np.zeros(2000, np.uint8)},
    )
    with pytest.raises(ModelError, match="over the limit"):
        StaticModel.load(folder, verify="never")


def test_a_vocabulary_of_empty_tokens(folders, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders["model2vec"], folder)
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    described["model"] = {"type": "WordLevel", "vocab": {"": 0}, "unk_token": "[UNK]"}
    (folder / "tokenizer.json").write_text(json.dumps({**described, "added_tokens": []}), encoding="utf-8")
    with pytest.raises(ModelError, match="vocabulary of empty tokens"):
        StaticModel.load(folder, verify="never")


@pytest.mark.parametrize(
    ("kind", "edit", "match"),
    [
        # an absurd id would make tokenizers count up to it, and nanotoken ask for a place for each
        ("WordPiece", {"vocab": {"[UNK]": 0, "a": 2**31}}, "ids up to 2,147,483,648"),
        ("WordPiece", {"vocab": {"[UNK]": 0, "a": 2**32 - 1}}, "ids up to 4,294,967,295"),
        ("WordPiece", {"vocab": {"a": 0}}, "the tokenizer cannot cut"),
        ("WordPiece", {"type": "Unheard"}, "does not describe a tokenizer"),
        (
            "BPE",
            {"continuing_subword_prefix": "x" * 50},
            "does not describe a tokenizer",
        ),  # tokenizers panics
        ("Unigram", {"unk_id": None}, "the tokenizer cannot cut"),
        ("Unigram", {"unk_id": 5000}, "does not describe a tokenizer"),
    ],
    ids=str,
)
def test_hostile_tokenizers(kind, edit, match, small, table, tmp_path):
    StaticModel(table(small[kind], 4), small[kind]).save(tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["model"].update(edit)
    path.write_text(json.dumps({**described, "added_tokens": []}), encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(StatimError, match=match):
        StaticModel.load(tmp_path / "model", verify="never").encode("☃ unknown")
    assert time.perf_counter() - start < 5
