"""Configuration and data that would run code elsewhere: here it is refused, or it is text."""

import contextlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from statim.errors import ModelError, StatimError
from statim.model import StaticModel
from statim.search.index import Index
from statim.tasks.classify.classify import Classifier
from statim.training.distillation import teacher_vectors

MARK = "attack-ran"


class Payload:
    """Makes a file when it is unpickled: harmless, and seen."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def ran(tmp_path):
    """The file that code would make if it ran."""
    path = tmp_path / MARK
    yield path
    assert not path.exists(), "the code was run"


def code(path, ran):
    path.write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")


@pytest.mark.parametrize("name", ["config.json", "modules.json", "config_sentence_transformers.json"])
def test_custom_classes_of_a_configuration(name, model, ran, monkeypatch):
    for place in (model, model / "1_Normalize"):
        place.mkdir(exist_ok=True)
        for module in ("evil", "modeling_evil", "__init__"):
            code(place / f"{module}.py", ran)
    monkeypatch.syspath_prepend(model)
    content = json.loads((model / name).read_text())
    evil = {
        "auto_map": {"AutoModel": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"},
        "trust_remote_code": True,
        "tokenizer_class": "evil.Evil",
        "architectures": ["evil.Evil"],
        "model_type": "evil",
        "__class__": "evil.Evil",
    }
    content = (
        [{**entry, **evil, "type": "evil.Evil"} for entry in content]
        if isinstance(content, list)
        else {**content, **evil}
    )
    (model / name).write_text(json.dumps(content))
    with contextlib.suppress(StatimError):
        StaticModel.load(model).encode(["how to sort"])
    assert not {"evil", "modeling_evil"} & sys.modules.keys()


def test_a_module_of_another_class_is_refused(model):
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "config.json").unlink()
    with pytest.raises(ModelError, match=r"Evil"):
        StaticModel.load(model)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_in_the_place_of_a_file(name, protocol, model, ran):
    (model / name).write_bytes(pickle.dumps(Payload(ran), protocol))
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        StaticModel.load(model).encode(["how to sort"])


def test_pickles_are_not_looked_for(model, ran):
    (model / "model.safetensors").unlink()
    for name in (
        "pytorch_model.bin",
        "model.bin",
        "model.pt",
        "embeddings.npy",
        "model.pkl",
        "training_args.bin",
    ):
        (model / name).write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin only, a pickle"):
        StaticModel.load(model)


def objects(path, ran):
    with path.open("wb") as file:
        np.save(file, np.array([Payload(ran)], object), allow_pickle=True)


def test_objects_in_vectors(index, model, ran, tmp_path, statim):
    objects(tmp_path / "v.npy", ran)
    (tmp_path / "docs.txt").write_text("how to sort\n")
    for arguments in (
        (
            "index",
            "build",
            model,
            tmp_path / "docs.txt",
            "-o",
            tmp_path / "new",
            "--vectors",
            tmp_path / "v.npy",
        ),
        ("duplicates", tmp_path / "docs.txt", "--vectors", tmp_path / "v.npy"),
        ("cluster", tmp_path / "docs.txt", "--vectors", tmp_path / "v.npy"),
    ):
        code_, _, err = statim(*arguments)
        assert code_ == 2, arguments
        assert err.count("error: ") == 1


@pytest.mark.parametrize(
    "name", ["dead.npy", "documents.arrow", "words/0-4.safetensors", "vectors/vectors.npy", "index.json"]
)
def test_objects_in_an_index(name, index, ran, change):
    for writer in (
        lambda path: objects(path, ran),
        lambda path: path.write_bytes(pickle.dumps(Payload(ran))),
    ):
        writer(index / name)
        if name != "index.json":
            change(
                index / "index.json", lambda said: said["files"].update({name: (index / name).stat().st_size})
            )
        with pytest.raises(ModelError):
            Index.load(index).search("sort")


def test_objects_in_a_head(static_model, ran, tmp_path):
    texts = [f"{verb} a {thing}" for verb in ("sort", "open") for thing in ("list", "file")] * 3
    Classifier.fit(static_model, texts, [text.split()[0] for text in texts], head="centroid").save(
        tmp_path / "head"
    )
    for path in sorted((tmp_path / "head").iterdir()):
        before = path.read_bytes()
        path.write_bytes(pickle.dumps(Payload(ran)))
        with pytest.raises(ModelError):
            Classifier.load(tmp_path / "head", static_model)
        path.write_bytes(before)


def test_objects_in_the_cache(ran, tmp_path):
    path = tmp_path / "block.safetensors"
    path.write_bytes(pickle.dumps(Payload(ran)))
    assert teacher_vectors._cached(path, (1, 2)) is None


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('x')",
        "year > (select 1)",
        "year; drop table documents",
        "1=1 --",
        "year = {0.__class__}",
        "text ~ '(a+)+'",
    ],
)
def test_a_condition_is_no_program(condition, index):
    with pytest.raises(StatimError):
        Index.load(index).search("sort", where=condition)


@pytest.mark.parametrize(
    "name",
    [
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "'; drop table documents; --",
        "${jndi:ldap://x}",
        "%s%n",
    ],
)
def test_texts_are_text(name, static_model, tmp_path):
    Index.build(
        static_model, ["how to sort", name], tmp_path / "odd", ids=["a", name], metadata=[{"note": name}] * 2
    )
    found = Index.load(tmp_path / "odd")
    assert {
        hit.id for hit in found.search(f"sort {name}", where="note = '" + name.replace("'", "''") + "'")
    } <= {"a", name}
    assert found.delete([name]) == 1


def test_no_source_file_unpickles_or_evaluates():
    """The modules that would run code out of data, and the calls.

    Compiled kernels come with the package and are code; they are read as numba reads its own cache.
    """
    import ast

    source = Path(sys.modules["statim"].__file__).parent
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = (
                    {node.module or ""}
                    if isinstance(node, ast.ImportFrom)
                    else {alias.name for alias in node.names}
                )
                if path != source / "kernels" / "prepared.py":
                    assert not {name.split(".")[0] for name in names} & modules, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "os.system", "torch.load", "yaml.load"), path
                for word in node.keywords:
                    if word.arg in ("trust_remote_code", "allow_pickle", "shell", "weights_only"):
                        assert ast.unparse(word.value) == (
                            "True" if word.arg == "weights_only" else "False"
                        ), path
