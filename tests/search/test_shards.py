"""An index in shards answers as one index does, changes as a whole, and says which shards are gone."""

import json
import shutil

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim import checking
from statim.errors import DataError, InputError, ModelError
from statim.model import StaticModel
from statim.search.index import Index

WORDS = [
    a + b
    for a in ("ka", "lo", "mi", "nu", "pe", "ra", "so", "tu")
    for b in ("ban", "der", "fix", "gol", "hum")
]
MODES = ("vector", "bm25", "hybrid")


@pytest.fixture(scope="module")
def model():
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return StaticModel(np.random.default_rng(1).normal(size=(len(WORDS) + 1, 16)), backend)


def made(count, seed):
    """Documents whose words are skewed, so that how rare a word is differs from shard to shard."""
    chance = np.random.default_rng(seed)
    ranks = np.sort(chance.integers(0, len(WORDS), (count, 9)), axis=1)  # early documents share words
    order = np.argsort(ranks.sum(axis=1), kind="stable")
    return [
        {
            "id": f"d{seed}-{i}",
            "text": " ".join(WORDS[rank] for rank in ranks[row][: 3 + row % 7]),
            "year": 2000 + i % 9,
        }
        for i, row in enumerate(order.tolist())
    ]


QUERIES = [" ".join(WORDS[(7 * i + j) % len(WORDS)] for j in range(1 + i % 4)) for i in range(40)]


@pytest.fixture(scope="module")
def documents():
    return made(900, 3)


@pytest.fixture(scope="module")
def whole(model, documents, tmp_path_factory):
    return Index.build(model, documents, tmp_path_factory.mktemp("index") / "whole")


@pytest.fixture(scope="module")
def built(model, documents, tmp_path_factory):
    return Index.build(model, documents, tmp_path_factory.mktemp("index") / "sharded", shards=4)


@pytest.fixture
def sharded(built, tmp_path):
    return Index.load(shutil.copytree(built.path, tmp_path / "sharded"))


def check_equal(one, other, **how):
    """Equal scores, where the documents lie in another order; so which equals are candidates may differ."""
    for mode in MODES:
        k = 30 if mode == "hybrid" else 100
        found, expected = (index.search(QUERIES, k, mode=mode, **how) for index in (one, other))
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                [hit.score for hit in mine], [hit.score for hit in theirs], rtol=0, atol=1e-6
            )
            last = theirs[-1].score if theirs else 0
            assert {hit.id for hit in mine if hit.score > last + 1e-6} == {
                hit.id for hit in theirs if hit.score > last + 1e-6
            }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", [None, "year > 2005"])
def test_the_answers_of_one_index(built, whole, mode, where):
    """The same documents in the same order with the same scores, also where scores are equal."""
    found, expected = (index.search(QUERIES, 100, mode=mode, where=where) for index in (built, whole))
    assert [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in expected]
    assert found == expected
    assert built.search(QUERIES[3], 5, mode=mode, fusion="scores") == whole.search(QUERIES[3], 5, mode=mode)


def test_what_it_says_of_itself(built, whole, documents):
    info = built.info()
    assert (info["shards"], info["documents"], info["store"]) == (4, 900, "shards")
    assert len(built) == 900
    assert "missing" not in info
    assert built.get(["d3-899", "d3-0"]) == whole.get(["d3-899", "d3-0"])
    assert built.schema == whole.schema
    assert built.model.hash == whole.model.hash
    texts = [text for _, _, texts in built.texts() for text in texts.to_pylist()]
    assert texts == [row["text"] for row in documents]
    assert built.word_scores(QUERIES[3], "d3-5") == whole.word_scores(QUERIES[3], "d3-5")
    checked = checking.check(built.path)
    assert [(one.kind, one.undigested) for one in checked] == [("index", 0)]


def test_changes(sharded, model, documents, tmp_path):
    """Added, updated and deleted documents: the answers of an index that is built again."""
    more = made(60, 4)
    changed = [{**documents[i], "text": more[i]["text"]} for i in range(0, 50, 5)]
    assert sharded.add(more) == 60
    assert sharded.update(changed) == 10
    assert sharded.delete(["d3-1", "d3-400", "nobody"]) == 2
    assert sharded.delete(where="year = 2003") > 90
    rows = {row["id"]: row for row in [*documents, *more, *changed] if row["year"] != 2003}
    for name in ("d3-1", "d3-400"):
        rows.pop(name, None)
    again = Index.build(model, list(rows.values()), tmp_path / "again")
    assert len(sharded) == len(again) == len(rows)
    for index in (sharded, Index.load(sharded.path)):
        check_equal(index, again)
    assert checking.check(sharded.path)[0].undigested == 0


def test_new_shards(sharded, model, documents, tmp_path):
    more = made(300, 5)
    assert sharded.add(more, new_shards=2) == 300
    assert sharded.info()["shards"] == 6
    check_equal(sharded, Index.build(model, [*documents, *more], tmp_path / "again"))
    with pytest.raises(DataError, match="'d5-3' is in the index already"):
        sharded.add(more[3:9], new_shards=2)
    with pytest.raises(InputError, match="there are 2 documents for 3 shards"):
        sharded.add(made(2, 6), new_shards=3)
    assert len(Index.load(sharded.path)) == 1200


def test_sync_and_a_shard_that_empties(sharded, model, documents, tmp_path):
    kept = [*documents[:220], *made(5, 7)]  # those of the first shard, but for five, and new ones
    found = sharded.sync(kept)
    assert (found.added, found.updated, found.deleted, found.unchanged) == (5, 0, 680, 220)
    assert sharded.info()["shards"] < 4
    check_equal(sharded, Index.build(model, kept, tmp_path / "again"))
    with pytest.raises(InputError, match="that would delete all 225 documents"):
        sharded.delete(where="year > 1")


def test_settings_are_of_the_whole(sharded):
    from statim.settings import SearchSettings

    sharded.settings = SearchSettings(0.25, "bm25")
    again = Index.load(sharded.path)
    assert (again.settings.weight, again.settings.mode) == (0.25, "bm25")
    sharded.delete("d3-7")
    assert Index.load(sharded.path).settings.weight == 0.25


def test_passages(model, tmp_path):
    texts = [
        ". ".join(" ".join(WORDS[(i * j + k) % 40] for k in range(30)) for j in range(9)) + "."
        for i in range(9)
    ]
    one = Index.build(model, texts, tmp_path / "one", passages=True)
    many = Index.build(model, texts, tmp_path / "many", passages=True, shards=3)
    assert len(many) == len(one) == 9
    assert many.search(QUERIES, 5) == one.search(QUERIES, 5)


def test_shards_in_lancedb(model, documents, whole, tmp_path):
    pytest.importorskip("lancedb")
    index = Index.build(model, documents, tmp_path / "index", store="lancedb", shards=2)
    check_equal(index, whole)
    index.delete("d3-0")
    assert index.add([documents[0]]) == 1
    index.compact(keep=1)
    check_equal(Index.load(index.path), whole)


def test_a_shard_that_is_gone(sharded, model, documents, tmp_path, caplog):
    shutil.rmtree(sharded.path / "2")
    with pytest.raises(ModelError, match=r"the shard 2 of .* cannot be used: .*--allow-partial"):
        Index.load(sharded.path)
    partial = Index.load(sharded.path, allow_partial=True)
    assert "answers are without the shard 2" in caplog.text
    assert list(partial.missing) == list(partial.info()["missing"]) == ["2"]
    rest = Index.build(model, [*documents[:450], *documents[675:]], tmp_path / "rest")
    check_equal(partial, rest)
    with pytest.raises(InputError, match="is without the shards 2; a change needs all of them"):
        partial.delete("d3-1")


def test_a_shard_that_fails_while_it_is_asked(sharded, caplog):
    partial = Index.load(sharded.path, allow_partial=True)

    def broken(*given, **ways):
        raise ModelError("its disk is gone")

    for index in (partial, sharded):
        index._store.stores[1].view(None)
        index._store.stores[1].view = broken
    with pytest.raises(ModelError, match=r"the shard 1 of .* cannot be used: its disk is gone"):
        sharded.search(QUERIES[0])
    assert partial.search(QUERIES[0], 5)
    assert partial.missing == {"1": "its disk is gone"}
    assert "its disk is gone" in caplog.text


def test_a_shard_of_another_state(sharded, built):
    sharded.delete("d3-0")
    shutil.rmtree(sharded.path / "0")
    shutil.copytree(built.path / "0", sharded.path / "0")
    with pytest.raises(ModelError, match="the shard 0 of"):
        Index.load(sharded.path, verify="always")
    manifest = json.loads((sharded.path / "index.json").read_text())
    (sharded.path / "index.json").write_text(json.dumps({**manifest, "shards": {}, "digest": None}))
    with pytest.raises(ModelError):
        Index.load(sharded.path)


@pytest.mark.parametrize("many", [0, -1, 1001, True, "two"])
def test_numbers_of_shards(model, documents, tmp_path, many):
    with pytest.raises(InputError, match="must be a whole number from 1 to 1,000"):
        Index.build(model, documents, tmp_path / "index", shards=many)


def test_refusals(model, documents, whole, tmp_path):
    with pytest.raises(InputError, match="there are 3 documents for 4 shards"):
        Index.build(model, documents[:3], tmp_path / "index", shards=4)
    with pytest.raises(DataError, match="'d3-2'"):
        Index.build(model, [*documents[:30], documents[2]], tmp_path / "index", shards=4)
    assert not (tmp_path / "index").exists()
    built = Index.build(model, documents[:9], tmp_path / "index", shards=2)
    with pytest.raises(InputError, match="is an index in shards, which keeps no older versions"):
        Index.load(built.path, version=1)
    with pytest.raises(InputError, match="is not in shards"):
        whole.add(made(9, 8), new_shards=2)


def test_a_change_is_whole_or_not_at_all(sharded, monkeypatch):
    """What fails in the last of the shards changes none."""
    from statim.search.stores import shards

    def fails(*given):
        raise OSError(28, "No space left on device")

    before = sharded.info()
    monkeypatch.setattr(shards, "finish", fails)
    with pytest.raises(OSError, match="disk is full"):
        sharded.delete(where="year = 2004")
    monkeypatch.undo()
    assert Index.load(sharded.path).info() == before
    assert sharded.delete(where="year = 2004") == 100
