"""Index.sync: what changed is added, replaced and deleted in one change, and nothing else is encoded."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from store_places import model_of, texts_of

from statim.errors import DataError, InputError
from statim.model import StaticModel
from statim.search.index import Index


def documents(changes=None, count=40):
    """Documents by their ids, some changed; None leaves one out."""
    rows = {
        f"d{i}": {
            "id": f"d{i}",
            "text": text,
            "n": i,
            "day": datetime.date(2026, 1, 1 + i % 28),
            "tags": ["a", "b"],
        }
        for i, text in enumerate(texts_of(count))
    }
    for name, change in (changes or {}).items():
        rows[name] = None if change is None else {**rows.get(name, {"id": name, "n": -1}), **change}
    return [row for row in rows.values() if row is not None]


def all_of(index):
    return {row["id"]: row for table in index._store.scan() for row in table.to_pylist()}


def test_sync(place, monkeypatch):
    model = model_of(0)
    index = place.build(model, documents())
    encoded = []
    encode = StaticModel.encode_document

    def counting(self, texts, **ways):
        encoded.extend(texts)
        return encode(self, texts, **ways)

    monkeypatch.setattr(StaticModel, "encode_document", counting)
    assert index.sync(documents()) == (0, 0, 0, 40)
    assert encoded == []
    changes = {
        "d3": {"text": "w01 w02"},  # a text
        "d5": {"n": 500},  # metadata alone
        "d7": None,
        "d9": None,
        "new": {"text": "w03 w04 w05"},
    }
    found = index.sync(documents(changes))
    assert (found, found.changed) == ((1, 2, 2, 36), True)
    assert sorted(encoded) == sorted(["w01 w02", "w03 w04 w05", documents()[5]["text"]])
    expected = {row["id"]: {"day": None, "tags": None} | row for row in documents(changes)}
    for one in (index, place.load()):
        assert all_of(one) == expected
        assert len(one) == 39
    fresh = (
        Index.build(model, documents(changes), str(place.load().path) + ".fresh")
        if place.kind == "folder"
        else None
    )
    for query in ("w01 w02", "w03 w05", "w11"):
        hits = {hit.id: hit.score for hit in index.search(query, 39, mode="vector")}
        assert not {"d7", "d9"} & hits.keys()
        if fresh is not None:
            others = {hit.id: hit.score for hit in fresh.search(query, 39, mode="vector")}
            assert hits == pytest.approx(others, abs=1e-6)
    encoded.clear()
    assert (
        index.sync(documents({"d7": None, **{k: v for k, v in changes.items() if v}, "d9": None})).changed
        is False
    )
    assert index.sync(documents(count=1)) == (0, 0, 38, 1)
    assert encoded == []
    assert [row["id"] for row in all_of(place.load()).values()] == ["d0"]


def test_nothing_is_lost_where_it_fails(place):
    index = place.build(model_of(0), documents())
    before = all_of(index)
    twice = [*documents({"d1": {"text": "w01"}}), {"id": "d0", "text": "w00", "n": 1}]
    with pytest.raises(DataError, match="'d0' stands twice"):
        index.sync(twice)
    with pytest.raises(DataError, match="the column 'other', which the index does not have"):
        index.sync(documents({"d1": {"text": "w01", "other": 1}}))
    with pytest.raises(DataError, match="no documents"):
        index.sync(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}))
    with pytest.raises(DataError, match="no column of ids"):
        index.sync([{"text": "w01"}])
    assert all_of(place.load()) == before
    vectors = np.asarray(model_of(0).encode([row["text"] for row in documents()], normalize=True))
    given = place.build(model_of(0), documents(), vectors=vectors, overwrite=True)
    with pytest.raises(InputError, match=r"vectors of .* were given"):
        given.sync(documents())


def test_a_stream_of_batches(tmp_path):
    index = Index.build(model_of(0), documents(), tmp_path / "ix")
    table = pa.Table.from_pylist(documents({"d2": None, "d4": {"text": "w02"}}))
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(10))
    assert index.sync(reader) == (0, 1, 1, 38)
