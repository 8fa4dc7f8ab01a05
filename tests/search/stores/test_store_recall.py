"""What stores with an approximate index find: k documents, always, and as many of the nearest as they say."""

import json
import re

import numpy as np
import pytest
from store_places import Place, model_of, texts_of

from statim.errors import DataError, StorageError
from statim.search.engines.recall import Sample
from statim.search.index import Index
from statim.search.stores import lance_index, ordinary, postgres_index

MANY = [f"v{i:03d}" for i in range(400)]
QUERY = "v001 v002 v003"


@pytest.fixture(scope="module")
def model():
    return model_of(0, 16, MANY)


@pytest.fixture
def database(address, monkeypatch):
    """A database that makes an HNSW index of a few documents."""
    monkeypatch.setattr(postgres_index, "EXACT", 300)
    return Place("postgresql", None, address)


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """A LanceDB table that makes an index of a few rows, of small cells."""
    monkeypatch.setattr(lance_index, "LEAST", 300)
    monkeypatch.setattr(lance_index, "CELL", 64)
    monkeypatch.setattr(lance_index, "SCAN", 0)
    return Place("lancedb", tmp_path / "index", None)


def recall(index, model, held, k, queries=(QUERY,)):
    """The share of the k nearest of the documents held that a search finds; it must give k of them."""
    ids, vectors = list(held), model.encode_document(list(held.values()), normalize=True)
    found = 0
    for query in queries:
        scores = vectors @ model.encode_query(query, normalize=True)
        hits = index.search(query, k, mode="vector")
        assert len(hits) == len({hit.id for hit in hits}) == min(k, len(held))
        worst = np.sort(scores)[::-1][min(k, len(held)) - 1]
        found += sum(scores[ids.index(hit.id)] >= worst - 1e-6 for hit in hits) / len(hits)
    return found / len(queries)


def nearest(model, held, count):
    vectors = model.encode_document(list(held.values()), normalize=True)
    order = np.argsort(-(vectors @ model.encode_query(QUERY, normalize=True)))
    return [list(held)[i] for i in order[:count]]


def test_deleted_documents_leave_no_gap(database, model):
    held = {str(i): text for i, text in enumerate(texts_of(3000, words=MANY))}
    index = database.build(model, list(held.values()))
    for step in (90, 150, 300):  # crowding some, most, and all places of the 200 that the index looks at
        gone = nearest(model, held, step)
        index.delete(gone[: step // 2])
        index.update(["v300 v301 v302 v303"] * (step - step // 2), ids=gone[step // 2 :])
        held = {k: v for k, v in held.items() if k not in gone} | dict.fromkeys(
            gone[step // 2 :], "v300 v301 v302 v303"
        )
        assert index.info()["hnsw"]
        for k in (1, 10, 100):
            assert recall(index, model, held, k) >= 0.99
    assert recall(database.load(), model, held, 10, texts_of(20, 7, MANY)) >= 0.98


def test_an_add_that_fails_leaves_no_gap(database, model):
    """Its rows are dead in the index, although nothing was deleted."""
    held = {str(i): text for i, text in enumerate(texts_of(1000, words=MANY))}
    index = database.build(model, list(held.values()))
    with pytest.raises(DataError, match="in the index already"):
        index.add([QUERY] * 150 + ["v001"], ids=[*(f"n{i}" for i in range(150)), "7"])
    assert recall(index, model, held, 10) == recall(index, model, held, 100) == 1


def test_an_index_is_made_again_when_much_has_changed(database, model):
    held = {str(i): text for i, text in enumerate(texts_of(1000, words=MANY))}
    index = database.build(model, list(held.values()))
    queries = texts_of(20, 7, MANY)

    def made_again():
        said = index.info()
        assert said["hnsw"]
        assert said["recall"] >= 0.99
        assert index._store.manifest["dead"] == 0
        (count,) = index._store.run(
            "SELECT count(*) FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%hnsw%%'",
            [database.table],
        )[0]
        assert count == 1
        assert recall(index, model, held, 10, queries) >= 0.99

    made_again()
    held = dict(zip(held, texts_of(1000, 2, MANY), strict=True))
    index.update(list(held.values()), ids=list(held))
    made_again()
    more = {f"m{i}": text for i, text in enumerate(texts_of(300, 3, MANY))}
    index.add(list(more.values()), ids=list(more))
    held |= more
    made_again()
    index.delete([str(i) for i in range(400)])
    held = {k: v for k, v in held.items() if k not in {str(i) for i in range(400)}}
    made_again()


def test_a_database_that_lets_no_index_be_dropped_or_made(database, model, monkeypatch, caplog):
    held = {str(i): text for i, text in enumerate(texts_of(600, words=MANY))}
    index = database.build(model, list(held.values()))
    with monkeypatch.context() as patch:
        patch.setattr(postgres_index, "dropped", lambda *_: False)
        held = dict(zip(held, texts_of(600, 2, MANY), strict=True))
        index.update(list(held.values()), ids=list(held))
        assert index.info()["hnsw"]
        assert recall(index, model, held, 10, texts_of(20, 7, MANY)) >= 0.99

    def refuse(*_):
        raise StorageError("no space for it")

    with monkeypatch.context() as patch:
        patch.setattr(postgres_index, "made", refuse)
        held = dict(zip(held, texts_of(600, 3, MANY), strict=True))
        index.update(list(held.values()), ids=list(held))
        assert "the change has taken place" in caplog.messages[-1]
        assert "no space for it" in caplog.messages[-1]
    assert not index.info()["hnsw"]
    assert "recall" not in index.info()
    assert recall(index, model, held, 10, texts_of(20, 7, MANY)) == 1
    index.delete("0")
    assert index.info()["hnsw"]


def test_somebody_who_searches_keeps_the_index_from_being_dropped(database, model, monkeypatch):
    import psycopg

    monkeypatch.setattr(postgres_index, "PATIENCE", "50ms")
    index = database.build(model, texts_of(600, words=MANY))
    held = {str(i): text for i, text in enumerate(texts_of(600, 2, MANY))}
    with psycopg.connect(database.path) as other:
        other.execute(index._store._sql.fill("SELECT count(*) FROM {table}"))
        index.update(list(held.values()), ids=list(held))
    assert index.info()["hnsw"]
    assert recall(index, model, held, 10, texts_of(20, 7, MANY)) >= 0.99


def test_what_an_index_finds_is_measured_kept_and_said(database, embedded, model, monkeypatch, caplog):
    texts = texts_of(1000, words=MANY)
    held = {str(i): text for i, text in enumerate(texts)}
    for place in (database, embedded):
        index = place.build(model, texts)
        said = index.info()
        assert 0.99 <= said["recall"] <= said["recall_at_1"] == 1
        assert recall(index, model, held, 10, texts_of(50, 7, MANY)) >= 0.985
        assert place.load().info()["recall"] == said["recall"]
        with monkeypatch.context() as patch:
            patch.setattr(ordinary, "AIM", 1.01)
            place.build(model, texts, overwrite=True)
            assert re.search(
                r"finds [\d.]+ % of the 10 nearest documents, less than 101\.0 %", caplog.messages[-1]
            )
    monkeypatch.setattr(postgres_index, "EXACT", 5000)
    monkeypatch.setattr(lance_index, "LEAST", 5000)
    for place in (database, embedded):
        assert "recall" not in place.build(model, texts, overwrite=True).info()


def test_bits_that_miss_the_aim_give_way(embedded):
    """Few dimensions in one bit each say little: more candidates are compared, or more bits."""
    model = model_of(0, 64, MANY)
    texts = texts_of(1500, words=MANY)
    index = embedded.build(model, texts)
    assert index.info()["recall"] >= lance_index.AIM
    held = {str(i): text for i, text in enumerate(texts)}
    assert recall(index, model, held, 10, texts_of(50, 7, MANY)) >= 0.985


def test_an_index_of_the_vectors_themselves_is_the_last_resort(embedded, model, monkeypatch):
    monkeypatch.setattr(lance_index, "WANTED", 1.01)
    index = embedded.build(model, texts_of(500, words=MANY))
    assert index._store._table.list_indices()[0].index_type == "IvfFlat"
    assert index.info()["index"]["probes"] == index.info()["index"]["cells"]
    assert index.info()["recall"] == 1


@pytest.mark.parametrize("scan", [0, 8])
def test_many_results_of_topical_documents(embedded, model, monkeypatch, scan):
    """A topic lies in a few cells, and k reaches beyond it."""
    monkeypatch.setattr(lance_index, "SCAN", scan)
    random = np.random.default_rng(0)
    texts = [
        f"v{t:03d} v{t + 100:03d} v{t + 200:03d} {w}" for t in range(4) for w in random.choice(MANY, 300)
    ]
    held = {str(i): text for i, text in enumerate(texts)}
    index = embedded.build(model, texts, metadata=[{"topic": i // 300} for i in range(1200)])
    for k in (10, 100, 250, 600, 1200, 2000):
        assert recall(index, model, held, k, ["v000 v100 v200", "v002 v102", *texts[::60]]) >= 0.95
    assert recall(index, model, held, 500) >= 0.98  # of what lies between the topics
    far = index.search("v000 v100 v200", 50, mode="vector", where="topic = 3")
    assert len(far) == 50
    assert {hit.metadata["topic"] for hit in far} == {3}
    assert (
        len(index.search("v000 v100", 50, mode="vector", where="topic = 3 and id in ('1100', '1101')")) == 2
    )


def test_equal_documents_are_as_right_as_each_other():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    positions = np.arange(120)
    sample = Sample(
        positions[::40], vectors[::40], [(positions[:50], vectors[:50]), (positions[50:], vectors[50:])], 10
    )

    def last(query, k):
        best = np.argsort(vectors @ query, kind="stable")[::-1][:k]
        return best, (vectors @ query)[best]

    assert sample.recall(last) == (1, 1)
    half = sample.recall(lambda query, k: tuple(part[:6] for part in last(query, k)))
    assert half == (0.6, 1)
    assert sample.recall(lambda query, k: (positions[:0], vectors[:0, 0])) == (0, 0)


def test_an_index_that_an_earlier_statim_made(embedded, model):
    texts = texts_of(1000, words=MANY)
    embedded.build(model, texts)
    path = embedded.path / "index.json"
    manifest = json.loads(path.read_text())
    built = manifest["versions"][-1]["index"]
    manifest["versions"][-1]["index"] = [built["rows"], built["cells"], built["probes"]]
    del manifest["digest"]
    path.write_text(json.dumps(manifest))
    index = embedded.load()
    assert index.info()["recall"] is None
    held = {str(i): text for i, text in enumerate(texts)}
    assert recall(index, model, held, 10, texts_of(20, 7, MANY)) >= 0.97
    index.delete("0")
    assert Index.load(embedded.path).info()["index"]["cells"] == built["cells"]


@pytest.mark.parametrize("indexed", [False, True])
def test_texts_without_tokens_are_not_found_by_vectors(place, model, indexed, monkeypatch):
    if indexed:
        monkeypatch.setattr(postgres_index, "EXACT", 50)
        monkeypatch.setattr(lance_index, "LEAST", 50)
        monkeypatch.setattr(lance_index, "SCAN", 0)
    texts = [text for some in texts_of(150, words=MANY) for text in ("", some, "zz zz")]
    index = place.build(model, texts, metadata=[{"kind": i % 3} for i in range(450)])
    for queries in (QUERY, [QUERY] * 6):
        for where, count in ((None, 150), ("kind > 0", 150), ("kind = 0", 0)):
            hits = index.search(queries, 450, mode="vector", where=where)
            for some in [hits] if isinstance(queries, str) else hits:
                assert len(some) == count
                assert {hit.metadata["kind"] for hit in some} <= {1}
    assert index.search(["", "zz"], 9, mode="vector") == [[], []]
    assert all(hit.metadata["kind"] == 1 for hit in index.search(QUERY, 100))
