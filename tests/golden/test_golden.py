"""What earlier versions stored is read by this one, with the answers that they gave; see README.md."""

import json
import shutil
from pathlib import Path

import pytest
from make import KINDS

from statim import checking
from statim.search.index import Index

HERE = Path(__file__).parent
VERSIONS = {
    folder.parent.name: json.loads(folder.read_text(encoding="utf-8"))
    for folder in sorted(HERE.glob("[0-9]*/expected.json"))
}
STORED = [(version, kind) for version, expected in VERSIONS.items() for kind in expected]
NEEDS = {"index-faiss-flat": "faiss", "index-usearch-f16": "usearch", "lancedb": "lancedb"}


@pytest.fixture
def stored(request, tmp_path):
    """A copy, since LanceDB and locks may write beside what they read."""
    version, kind = request.param
    pytest.importorskip(NEEDS.get(kind, "numpy"))
    shutil.copytree(HERE / version / kind, tmp_path / kind)
    return tmp_path / kind, VERSIONS[version][kind]


def of(*beginnings):
    return [pytest.param(one, id=" ".join(one)) for one in STORED if one[1].startswith(beginnings)]


def same(found, expected):
    """Equal but for the last bits of floats, which processors round differently."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for mine, theirs in zip(found, expected, strict=True):
            same(mine, theirs)
    elif isinstance(expected, float):
        assert abs(found - expected) < 5e-5
    else:
        assert found == expected


def relative(answers):
    """Answers whose hybrid scores are divided by each query's highest: those of earlier versions had no scale
    that queries shared.
    """
    if not isinstance(answers, dict):
        return answers
    shares = [[[name, score / hits[0][1]] for name, score in hits] for hits in answers["hybrid"]]
    return {**answers, "hybrid": shares}


@pytest.mark.parametrize("stored", of(""), indirect=True)
def test_it_gives_the_same_answers(stored):
    path, expected = stored
    same(relative(KINDS[path.name][1](path)), relative(expected))


@pytest.mark.parametrize("stored", of("index", "lancedb"), indirect=True)
def test_an_index_can_be_changed(stored):
    path, _ = stored
    before = len(Index.load(path))
    index = Index.load(path)
    index.add(["close the house"], ids=["new"], metadata=[{"year": 1}])
    assert index.delete(["5"]) == 1
    again = Index.load(path)
    assert len(again) == before
    for mode in ("vector", "bm25", "hybrid"):
        hits = again.search("close the house", 30, mode=mode)
        assert hits[0].id in ("new", "18")  # "how to close a house"
        assert "new" in {hit.id for hit in hits}
        assert "5" not in {hit.id for hit in hits}
    assert all(found.undigested == 0 for found in checking.check(path)) or path.name == "lancedb"


@pytest.mark.parametrize("stored", of("index", "lancedb", "model", "head"), indirect=True)
def test_it_passes_the_check(stored, request):
    path, _ = stored
    digested = any(name in request.node.name for name in ("4-digests", "3-languages lancedb"))
    (found,) = checking.check(path)
    assert (found.files > 0, found.undigested > 0) == (digested, not digested)


def test_they_are_small():
    found = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in found) < 310_000
