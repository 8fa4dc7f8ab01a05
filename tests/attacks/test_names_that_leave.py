"""Names in manifests and links in folders that point elsewhere: nothing outside of a folder is read, written
or removed.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from statim import cache
from statim.errors import ModelError, StatimError
from statim.model import StaticModel
from statim.search.index import Index
from statim.search.stores import postgres, postgres_model
from statim.search.stores.protocol import model_hash

ODD = ["../secret.txt", "words/../../secret.txt", "{outside}"]


@pytest.mark.parametrize("key", ["files", "stamps"])
@pytest.mark.parametrize("name", ODD)
def test_a_manifest_names_a_file_outside(name, key, index, secret, change):
    """``files`` is what earlier versions of statim wrote; whoever changes a manifest can leave its own digest
    out.
    """
    name, size = name.format(outside=secret), secret.stat().st_size

    def changed(said):
        del said["digest"]
        if key == "files":
            del said["stamps"]
        said[key].update({name: size if key == "files" else {"size": size}})

    change(index / "index.json", changed)
    with pytest.raises(ModelError, match="secret"):
        Index.load(index)


@pytest.mark.parametrize(
    "name", ["..", "../outside", "/etc", "a/../../outside", "C:\\outside", "..\\outside", "a\0b"]
)
def test_a_module_lies_outside(name, model, change, static_model, tmp_path):
    static_model.save(tmp_path / "outside")
    change(model / "modules.json", lambda modules: modules[0].update(path=name))
    (model / "config.json").unlink()  # so that it is sentence-transformers' own
    with pytest.raises(ModelError, match="leads out of the folder"):
        StaticModel.load(model)


@pytest.mark.parametrize(
    "name", ["../../model", "a/b", "..", "a--b", "-x", "x" * 300, "organisation/../model"]
)
def test_a_name_on_the_hub_is_no_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        StaticModel.load(name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path_factory.mktemp("cache") / "statim"))


class Table:
    """What a database answers that somebody else may write into."""

    def __init__(self, files, model_hash):
        self.store = postgres.Postgres.__new__(postgres.Postgres)
        self.store.manifest = {"model_hash": model_hash, "dimensions": 8}
        self.store.place = "postgresql://somewhere/there"
        self.store._parts = lambda *_: ((f"model/{name}", content) for name, content in files)


def files_of(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths]


@pytest.mark.parametrize("hashed", ["../../victim", "{victim}", "..", "", "a" * 63, "A" * 64, "g" * 64])
def test_a_database_names_a_folder(hashed, model, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("x")
    hashed = hashed.format(victim=victim)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ModelError, match="model_hash"):
        Table(files_of(model), hashed).store.model()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert (victim / "precious").read_text() == "x"


@pytest.mark.parametrize(
    "name",
    ["../escaped", "/tmp/escaped", "deep/../../escaped", "..\\escaped", "C:\\escaped", "C:escaped",
        "escaped\0", "./escaped",
     "a//escaped", "", "escaped/", "x" * 201, "\nescaped"],
)  # fmt: skip
def test_a_database_names_a_file(name, model):
    with pytest.raises(ModelError, match="damaged: the model has a file"):
        Table([(name, b"x"), *files_of(model)], model_hash(model)).store.model()
    assert not list(cache.folder().parent.rglob("*escaped*"))
    assert not list(Path("/tmp").glob("escaped"))


@pytest.mark.parametrize("extra", [("config.json/more", b"x"), ("1_Normalize", b"x")])
def test_a_database_has_a_file_in_the_place_of_a_folder(extra, model):
    (model / "1_Normalize").mkdir(exist_ok=True)
    (model / "1_Normalize" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="as a file and as a folder"):
        Table([*files_of(model), extra], model_hash(model)).store.model()


def test_a_database_gives_another_model(model):
    with pytest.raises(ModelError, match="not the one that made the vectors"):
        Table(files_of(model), "0" * 64).store.model()
    assert not list(cache.folder("models").glob("*"))


def test_a_database_does_not_choose_the_settings_of_another_ones_model(model):
    whole = files_of(model)
    config = json.loads((model / "config.json").read_text())
    evil = [(n, json.dumps({**config, "evil": 1}).encode() if n == "config.json" else b) for n, b in whole]
    Table(evil, model_hash(model)).store.model()
    Table(whole, model_hash(model)).store.model()
    kept = [files_of(folder) for folder in cache.folder("models").iterdir()]
    assert len(kept) == 2
    assert evil in kept
    assert whole in kept


def test_a_database_has_too_much(model, monkeypatch):
    whole = files_of(model)
    for files in (
        [*whole, ("large", None)],  # more than a part of a file can have
        [*whole, *[(f"file {i}", b"") for i in range(postgres_model.FILES)]],
    ):
        with pytest.raises(ModelError, match="larger than a model can be"):
            Table(files, model_hash(model)).store.model()
    monkeypatch.setattr(postgres_model, "LARGEST", sum(len(content) for _, content in whole) - 1)
    with pytest.raises(ModelError, match="larger than a model can be"):
        Table(whole, model_hash(model)).store.model()
    assert not list(cache.folder("models").glob("*"))


def link_away(path, secret):
    shutil.move(path, secret)
    path.symlink_to(secret)


@pytest.mark.parametrize("name", ["documents.arrow", "words/0-4.safetensors", "model/tokenizer.json"])
def test_a_link_leaves_an_index(name, index, secret):
    link_away(index / name, secret)
    with pytest.raises(ModelError, match="link"):
        Index.load(index).search("sort")


@pytest.mark.parametrize("name", ["words/4-9.safetensors", "model/extra.txt"])
def test_a_change_does_not_bring_a_file_in(name, index, secret):
    (index / name).symlink_to(secret)
    try:
        Index.load(index).add(["open a list"], ids=["e"], metadata=[{"year": 9}])
    except StatimError:
        assert (index / name).is_symlink()
    else:
        assert not (index / name).exists() or (index / name).is_symlink()


@pytest.mark.parametrize("place", ["words", "model"])
def test_a_change_does_not_bring_a_folder_in(place, index, secret, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("x")
    (index / place / "extra").symlink_to(tmp_path / "outside")
    try:
        Index.load(index).add(["open a list"], ids=["e"], metadata=[{"year": 9}])
    except StatimError:
        return
    assert not (index / place / "extra").exists() or (index / place / "extra").is_symlink()
    assert (tmp_path / "outside" / "secret.txt").stat().st_nlink == 1


def test_a_loop_of_links_ends(index):
    (index / "model" / "loop").symlink_to(".")
    try:
        Index.load(index).add(["open a list"], ids=["e"], metadata=[{"year": 9}])
    except StatimError:
        return
    assert sum(len(files) for _, _, files in os.walk(index / "model")) < 20


def test_a_link_in_the_place_of_the_output_stays_a_link(static_model, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    static_model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "model.safetensors").is_file()


def test_removing_an_old_folder_does_not_follow_links(static_model, secret, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(outside)
    static_model.save(tmp_path / "out", overwrite=True)
    assert (outside / "precious").read_text() == "x"
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        path.name for path in Path(tmp_path / "out").iterdir()
    )
    assert not (tmp_path / "out" / "link").exists()


def test_temporary_files_are_private_and_their_names_are_not_guessed(tmp_path):
    from statim.files import atomic_directory, atomic_file

    names = set()
    for _ in range(20):
        with atomic_file(tmp_path / "file") as file:
            found = Path(file.name) if isinstance(file.name, str) else next(tmp_path.glob(".file.*"))
            assert found.stat().st_mode & 0o077 == 0
            names.add(found.name)
        with atomic_directory(tmp_path / "folder", overwrite=True) as folder:
            assert folder.stat().st_mode & 0o077 == 0
            names.add(folder.name)
    assert len(names) == 40


def test_the_cache_clears_only_what_is_its_own(tmp_path, secret):
    (cache.folder("tokens")).mkdir(parents=True, exist_ok=True)
    (cache.folder("tokens") / "link").symlink_to(secret)
    (cache.folder() / "precious").write_text("x")
    cache.clear()
    assert secret.read_text() == "nobody's business"
    assert (cache.folder() / "precious").read_text() == "x"


def test_a_run_to_resume_is_described_by_json_alone(tmp_path, statim):
    (tmp_path / "out.training").mkdir()
    (tmp_path / "out.training" / "run.json").write_text(
        json.dumps({"version": 1, "__reduce__": ["os.system", "exit 1"]})
    )
    code, _, err = statim("train", "--resume", tmp_path / "out")
    assert code == 2
    assert err.count("error: ") == 1
