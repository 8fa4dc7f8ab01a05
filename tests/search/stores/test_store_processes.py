"""Indexes in databases and in LanceDB, used by processes that were forked or spawned, or that cannot write
the cache.
"""

import os
import subprocess
import sys

import pytest
from store_places import Place, model_of, texts_of

from statim.search.index import Index

SECONDS = 120  # a process that hangs is one that fails

PARENT_AND_CHILD = """
import multiprocessing, os, sys, warnings
from statim import Index
from statim.errors import InputError

warnings.simplefilter("ignore", RuntimeWarning)  # LanceDB's, of forks
place, table, method = sys.argv[1:]

def ask(index):
    return [(hit.id, round(hit.score, 5)) for mode in ("vector", "bm25", "hybrid")
            for hits in index.search(["w01 w02", "w05"], 5, mode=mode) for hit in hits]

def child(number, answers):
    try:
        answers.put(ask(INDEX if method == "fork" else Index.load(place, table=table)))
    except InputError as error:
        answers.put(str(error))

if __name__ == "__main__":
    INDEX = Index.load(place, table=table)
    before = ask(INDEX)
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [context.Process(target=child, args=(number, answers)) for number in range(2)]
    for one in children:
        one.start()
    found = [answers.get(timeout=60) for _ in children]
    for one in children:
        one.join(60)
        assert one.exitcode == 0, one.exitcode
    assert ask(INDEX) == before
    INDEX.add(["w05 w06"], ids=["new"])
    assert "new" in str(ask(INDEX))
    print("same" if found == 2 * [before] else found)
"""

PLAIN_FORK = """
import os, sys, warnings
from statim import Index

warnings.simplefilter("error", ResourceWarning)
index = Index.load(sys.argv[1], table=sys.argv[2])
before = index.search("w01 w02", 5)
if os.fork() == 0:
    if sys.argv[3] == "use":
        assert index.search("w01 w02", 5) == before
        assert index.delete("29") == 1
    del index  # nothing of the parent's ends when what the child inherited does
    sys.exit(0)
_, status = os.wait()
assert status == 0, status
print(len(index.search("w01 w02", 40, mode="vector")))
"""


def run(script, tmp_path, *arguments, **options):
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("place", ["lancedb", "postgresql"], indirect=True)
def test_children_search_what_their_parent_searches(place, method, tmp_path):
    place.build(model_of(0), texts_of(30))
    said, _ = run(PARENT_AND_CHILD, tmp_path, str(place.path), place.table, method)
    if place.kind == "lancedb" and method == "fork":
        assert said.count("LanceDB cannot be used in a process that was forked") == 2
        assert "spawn" in said
    else:
        assert said == "same"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(("use", "documents"), [("use", "29"), ("leave", "30")])
def test_a_forked_child_leaves_the_connection_of_its_parent_alone(address, use, documents, tmp_path):
    place = Place("postgresql", None, address)
    place.build(model_of(0), texts_of(30))
    assert run(PLAIN_FORK, tmp_path, place.path, place.table, use) == (documents, "")


@pytest.mark.parametrize("unreadable", [False, True])
def test_a_database_where_the_cache_cannot_be_written(address, tmp_path, monkeypatch, unreadable):
    place = Place("postgresql", None, address)
    index = place.build(model_of(0), texts_of(30))
    expected = [hit.id for hit in index.search("w01 w02", 3)]
    blocked = tmp_path / "a file"
    blocked.write_text("")
    if unreadable:  # a folder in which nothing can be looked up, for root too: a name that is too long
        blocked = tmp_path / ("x" * 300)
    monkeypatch.setenv("STATIM_CACHE", str(blocked / "cache"))
    assert [hit.id for hit in place.load().search("w01 w02", 3)] == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]
    assert isinstance(place.load(), Index)
