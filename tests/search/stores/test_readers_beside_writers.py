"""Readers of an index that others change and rebuild: each has one whole, the old or the new."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from store_places import Place, model_of, texts_of

from statim.consistent import TRIES, read_whole
from statim.errors import BusyError, InputError, ModelError
from statim.model import StaticModel
from statim.search.index import Index

LOADS, VERSIONS, SECONDS = 40, 6, 300  # of each reader; a process that takes so long hangs
STORES = ["folder", "lancedb"]
HERE = Path(__file__).resolve().parent

COMMON = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_places import model_of, texts_of
from statim.search.index import Index
path, kind = Path(sys.argv[2]), sys.argv[3]
stop = path.with_name("stop")

def documents(version):
    # of the same number and length in every version, but others: only what is in them tells them apart
    texts = texts_of(40, seed=version % 7)
    return [f"v{version % 7}-{i}" for i in range(40)], texts

def ask(index):
    return [[(hit.id, hit.text, round(hit.score, 5)) for hit in hits]
            for mode in ("bm25", "vector", "hybrid")
            for hits in index.search(["w01 w02", "w05", "w20 w21 w22"], 8, mode=mode)]
"""

REBUILD = (
    COMMON
    + """
version = 0
while not stop.exists():
    version += 1
    ids, texts = documents(version)
    Index.build(model_of(version % 7), texts, path, ids=ids, store=kind, overwrite=True)
"""
)

READ_REBUILT = (
    COMMON
    + """
loads, versions = int(sys.argv[4]), int(sys.argv[5])
known, held, seen = {}, [], set()
for version in range(7):
    ids, texts = documents(version)
    place = path.with_name(f"{sys.argv[6]}-{version}")
    known[version] = ask(Index.build(model_of(version), texts, place, ids=ids, store=kind))
count = 0
while count < loads or len(seen) < versions:
    index = Index.load(path)
    if count % 3 == 0 and kind == "folder":
        held.append(index)  # asked much later for the first time
    answers = ask(index)
    version = int(answers[0][0][0][1:].split("-")[0])
    assert answers == known[version], (version, answers, known[version])
    seen.add(version)
    count += 1
for index in held:
    answers = ask(index)
    version = int(answers[0][0][0][1:].split("-")[0])
    assert answers == known[version]
print(count)
"""
)

ADD = (
    COMMON
    + """
for version in range(1, int(sys.argv[4]) + 1):
    index = Index.load(path)
    added = [f"w01 {text}" for text in texts_of(3, seed=version)]
    index.add(added, ids=[f"a{version}-{i}" for i in range(3)])
"""
)

READ_ADDED = (
    COMMON
    + """
last, loads = int(sys.argv[4]), int(sys.argv[5])
expected = [
    (f"a{v}-{i}", f"w01 {text}") for v in range(last + 1) for i, text in enumerate(texts_of(3, seed=v))
]

def check(index):
    for mode in ("bm25", "vector"):
        hits = index.search("w01", 3 * last + 3, mode=mode)
        found = sorted((hit.id, hit.text) for hit in hits)
        assert found == sorted(expected[:len(index)]), (mode, len(index), hits)
    return len(index)

held, count = [], 0
while count < loads or check(Index.load(path)) < len(expected):
    index = Index.load(path)
    if count % 4 == 0:
        held.append(index)
    else:
        check(index)
    count += 1
print(len({check(index) for index in held}))
"""
)


def start(script, *arguments):
    command = [sys.executable, "-c", script, str(HERE.parent), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err[-3000:]
    return out.strip()


@pytest.fixture
def where(tmp_path):
    return tmp_path / "index"


def built(kind, where, seed=0):
    return Index.build(model_of(seed), [f"w01 {text}" for text in texts_of(3, seed=0)], where,
                       ids=[f"a0-{i}" for i in range(3)], store=kind)  # fmt: skip


def test_every_load_beside_rebuilds_is_one_whole(where):
    built("folder", where).update(["w01"], ids=["v0-0"])
    writer = start(REBUILD, where, "folder")
    while "v" not in Index.load(where).search("w01", 1, mode="vector")[0].id or len(Index.load(where)) < 40:
        assert writer.poll() is None, finish(writer)
    readers = [start(READ_REBUILT, where, "folder", LOADS, VERSIONS, name) for name in ("one", "two")]
    try:
        assert all(int(finish(reader)) >= LOADS for reader in readers)
    finally:
        where.with_name("stop").touch()
    finish(writer)
    assert not list(where.parent.glob(".*statim-partial"))


@pytest.mark.parametrize("kind", STORES)
def test_every_load_beside_additions_is_one_whole(where, kind):
    last = 24
    built(kind, where)
    reader = start(READ_ADDED, where, kind, last, LOADS)
    writer = start(ADD, where, kind, last)
    finish(writer)
    assert int(finish(reader)) >= 1


@pytest.fixture(params=STORES)
def place(request, tmp_path):
    return Place(request.param, tmp_path / "index", None)


def answers(index):
    return [
        [(hit.id, hit.text, hit.score) for hit in index.search("w01 w02 w03", 50, mode=mode)]
        for mode in ("bm25", "vector", "hybrid")
    ]


def test_loaded_then_added_elsewhere_then_searched(place):
    texts = texts_of(30)
    before = answers(place.build(model_of(0), texts))
    held = place.load()  # nothing of it was used yet
    place.load().add(["w01 w02 w03"], ids=["new"])
    place.load().delete(["3", "4"])
    place.load().update(["w29"], ids=["5"])
    assert answers(held) == before
    assert len(held) == 30
    assert "new" in str(answers(place.load()))


def test_many_additions_later(place):
    """So many that the files of words were merged."""
    before = answers(place.build(model_of(0), texts_of(30)))
    held = place.load()
    writer = place.load()
    for i in range(12):
        writer.add(["w01 w02 w03"], ids=[f"new {i}"])
    assert answers(held) == before


def test_loaded_then_built_again_with_another_model(where):
    texts = texts_of(30)
    before = answers(Index.build(model_of(0), texts, where))
    held = Index.load(where)
    Index.build(model_of(1), texts_of(30, seed=2), where, overwrite=True)
    assert answers(held) == before


@pytest.mark.parametrize("mode", ["bm25", "vector", "hybrid"])
def test_a_held_reader_of_lancedb_says_that_the_index_was_built_again(where, mode):
    """LanceDB opens files when it reads them; a folder's reader keeps its own."""
    pytest.importorskip("lancedb")
    Index.build(model_of(0), texts_of(30), where, store="lancedb")
    held = Index.load(where)
    Index.build(model_of(0), texts_of(20), where, store="lancedb", overwrite=True)
    with pytest.raises(InputError, match=r"index was built again since it was opened; open it again$"):
        held.search("w01 w02", 5, mode=mode)
    assert len(Index.load(where).search("w01 w02", 50, mode="vector")) == 20


def test_a_held_reader_of_lancedb_says_that_its_version_was_removed(where):
    pytest.importorskip("lancedb")
    held = Index.build(model_of(0), texts_of(30), where, store="lancedb")
    changing = Index.load(where)
    changing.add(["w01"], ids=["new"])
    changing.compact(keep=1)
    for path in (where / "documents.lance" / "data").iterdir():
        path.unlink()  # LanceDB keeps files for some time
    with pytest.raises(InputError, match=r"was compacted, which removed the version that is open, since"):
        held.search("w01 w02", 5, mode="vector")


def test_a_held_reader_of_lancedb_still_tells_damage(where):
    pytest.importorskip("lancedb")
    held = Index.build(model_of(0), texts_of(30), where, store="lancedb")
    for path in (where / "documents.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(ModelError, match=r"is damaged: LanceDB says .*; build the index again$"):
        held.search("w01 w02", 5, mode="vector")


@pytest.mark.parametrize("change", ["add", "update", "delete", "delete where"])
def test_a_change_gives_up_when_another_model_made_the_index(place, change):
    place.build(model_of(0), texts_of(30), metadata=[{"year": i} for i in range(30)])
    held = place.load()
    place.build(model_of(1), texts_of(30), overwrite=True, metadata=[{"year": i} for i in range(30)])
    now = answers(place.load())
    with pytest.raises(InputError, match=r"was built with another model since it was opened; open it again$"):
        {
            "add": lambda: held.add(["w01"], ids=["new"]),
            "update": lambda: held.update(["w01"], ids=["1"]),
            "delete": lambda: held.delete(["1"]),
            "delete where": lambda: held.delete(where="year = 3"),
        }[change]()
    assert answers(place.load()) == now


def test_a_change_works_on_what_is_there_now(place):
    rows = [{"year": 2000 + i} for i in range(30)]
    place.build(model_of(0), texts_of(30), metadata=rows)
    held = place.load()
    place.load().update(["w01"], ids=["7"], metadata=[{"year": 1990}])
    place.load().add(["w02"], ids=["old"], metadata=[{"year": 2009}])
    assert held.delete(where="year = 2007 or year = 2009") == 2  # document 9 and the one that was added
    ids = {hit.id for hit in place.load().search("w01 w02", 50, mode="vector")}
    assert "7" in ids
    assert not ids & {"9", "old"}
    assert len(held) == len(place.load()) == 29


def test_a_change_of_an_index_built_again_with_other_columns(place):
    place.build(model_of(0), texts_of(30), metadata=[{"year": i} for i in range(30)])
    held = place.load()
    place.build(model_of(0), texts_of(20), metadata=[{"page": str(i)} for i in range(20)], overwrite=True)
    held.add(["w01 w02"], ids=["new"])
    found = {hit.id: hit.metadata for hit in place.load().search("w01 w02", 50, mode="vector")}
    assert found["new"] == {"page": None}
    assert len(held) == 21


def test_searches_of_other_threads_beside_changes(place):
    """Positions are given again when a folder is written without its dead documents: ids and texts must not
    be mixed.
    """
    texts = [f"w01 {text}" for text in texts_of(30)]
    index = place.build(model_of(0), texts)
    known = {str(i): text for i, text in enumerate(texts)} | {"new": "w01 w02"}
    wrong, done = [], threading.Event()

    def search():
        while not done.is_set():
            for hit in index.search("w01 w02", 40, mode="bm25"):
                if known[hit.id] != hit.text:
                    wrong.append(hit)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(12):
            index.add(["w01 w02"], ids=["new"])
            assert "new" in {hit.id for hit in index.search("w01 w02", 50, mode="bm25")}
            index.delete(["new", str(i)])
            assert "new" not in {hit.id for hit in index.search("w01 w02", 50, mode="bm25")}
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_parts_of_two_indexes_are_refused(tmp_path):
    """Copied together from two of the same shape, of an earlier version: sizes do not tell them apart."""
    for name, order in (("one", 1), ("two", -1)):
        Index.build(model_of(0), texts_of(30)[::order], tmp_path / name)
        manifest = json.loads((tmp_path / name / "index.json").read_text())
        del manifest["digest"], manifest["stamps"]
        (tmp_path / name / "index.json").write_text(json.dumps(manifest))
    (words,) = (tmp_path / "two" / "words").iterdir()
    own = (tmp_path / "one" / "words" / words.name).read_bytes()
    (tmp_path / "one" / "words" / words.name).write_bytes(words.read_bytes())
    with pytest.raises(ModelError, match="belongs to another index"):
        Index.load(tmp_path / "one")
    (tmp_path / "one" / "words" / words.name).write_bytes(own)
    assert len(Index.load(tmp_path / "one")) == 30
    (tmp_path / "one" / "documents.arrow").write_bytes((tmp_path / "two" / "documents.arrow").read_bytes())
    with pytest.raises(ModelError, match="belong to different indexes"):
        Index.load(tmp_path / "one")


def test_a_model_is_read_from_one_state_of_its_folder(tmp_path):
    """Another process saves a model between any two files that are read, while there are such saves."""
    models = [model_of(seed) for seed in range(5)]
    models[0].save(tmp_path / "model")
    left = iter(models[1:])
    original = StaticModel.load.__globals__["formats"].huggingface.tables.read

    def read(folder):
        if (model := next(left, None)) is not None:
            model.save(tmp_path / "model", overwrite=True)
        return original(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("statim.formats.huggingface.tables.read", read)
        assert StaticModel.load(tmp_path / "model").hash == models[-1].hash


def test_a_folder_that_never_rests(tmp_path):
    count = 0

    def read():
        nonlocal count
        (tmp_path / "folder").rename(tmp_path / f"old {count}")
        (tmp_path / "folder").mkdir()
        count += 1

    (tmp_path / "folder").mkdir()
    with pytest.raises(BusyError, match="is replaced again and again"):
        read_whole(tmp_path / "folder", read)
    assert count == TRIES


def test_an_error_of_a_folder_that_stays_is_said_at_once(tmp_path):
    count = 0

    def read():
        nonlocal count
        count += 1
        raise ModelError("damaged")

    with pytest.raises(ModelError, match="damaged"):
        read_whole(tmp_path, read)
    assert count == 1
