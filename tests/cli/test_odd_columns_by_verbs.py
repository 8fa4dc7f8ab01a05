"""The same odd columns through the verbs and stores, whole and streamed: what comes back is what every reader
gives.
"""

import datetime
import json
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from odd_columns import COLUMNS, EXPECTED, MISSING, ROWS
from statim.data.files import file_types, rows
from statim.model import StaticModel
from statim.search.index import Index

STORES = ["folder", "lancedb"]


def lines(path, given):
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path


def same(found, expected):
    """As JSON, which tells 1 from 1.0 and from true."""
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.fixture
def ran(statim):
    def run(*arguments):
        code, printed, err = statim(*arguments)
        assert code == 0, err
        return printed

    return run


@pytest.fixture
def hits(ran):
    """The metadata of all documents of an index, by their ids."""

    def ask(index):
        found = json.loads(ran("search", index, "merge open", "-k", 9, "--json", "--mode", "bm25"))["hits"]
        return {hit["id"]: hit["metadata"] for hit in found}

    return ask


DOCS = [row | {"text": text} for row, text in zip(ROWS, ("merge the queue", "open a socket"), strict=True)]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("streamed", [False, True])
def test_index_build(ran, hits, tmp_path, monkeypatch, model_folder, store, streamed):
    if streamed:
        monkeypatch.setattr(file_types, "BLOCK", 64)
        monkeypatch.setattr("statim.search.stores.registry.LARGE", 0)
    docs, out = lines(tmp_path / "docs.jsonl", DOCS), tmp_path / "index"
    ran("index", "build", model_folder, docs, "--out", out, "--store", store)
    found = hits(out)
    for row, expected in zip(DOCS, EXPECTED, strict=True):
        same(found[row["id"]], expected)


FRAMES = {
    "pandas": lambda docs: pd.DataFrame(docs, dtype=object),
    "polars": lambda docs: pl.DataFrame(rows.table(docs, "")),
    "arrow": lambda docs: rows.table(docs, ""),
    "mapping": lambda docs: {name: [row.get(name) for row in docs] for name in docs[1]},
    "dicts": lambda docs: docs,
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("store", STORES)
def test_index_build_of_a_frame(hits, tmp_path, model_folder, kind, store):
    Index.build(StaticModel.load(model_folder), FRAMES[kind](DOCS), tmp_path / "index", store=store)
    found = hits(tmp_path / "index")
    for row, expected in zip(DOCS, EXPECTED, strict=True):
        same(found[row["id"]], expected)


def test_index_build_with_metadata(hits, tmp_path, model_folder):
    metadata = [{name: value for name, value in row.items() if name not in ("id", "text")} for row in DOCS]
    Index.build(
        StaticModel.load(model_folder), [row["text"] for row in DOCS], tmp_path / "index", metadata=metadata
    )
    same(hits(tmp_path / "index"), {"0": EXPECTED[0], "1": EXPECTED[1]})


# What an index that holds the first value makes of the last one: a value, or the words with which it is
# refused
ADDED = {
    "leading_zeros": "would become 7 as int64",
    "only_text": "8",
    "hex": "would become 31 as int64",
    "exponent": "'1e3', which is no int64",
    "nan": "would become nan as double",
    "big": "is no double",
    "big_alone": 7,
    "truth": "5, which would become True as bool",
    "truth_late": "True, which would become 1.0 as double",
    "late": "'late', which the index does not have",
    "nested": "the field 'b'",
    "nested_differs": "'x', which is no int64",
    "empty_first": "7",
    "dates": "x",
    "tags": ["x"],
    "tags_differ": "'x', which is no int64",
    "year": "1990.5, which is no int64",
    "whole": "'x', which is no double",
    "digits": 1e-7,
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("streamed", [False, True])
def test_index_add(statim, ran, hits, tmp_path, monkeypatch, model_folder, store, streamed):
    if streamed:
        monkeypatch.setattr(file_types, "BLOCK", 64)
        monkeypatch.setattr("statim.search.stores.registry.LARGE", 0)
    out = tmp_path / "index"
    first = {name: value for name, value in DOCS[0].items() if name in ADDED or name in ("id", "text")}
    ran("index", "build", model_folder, lines(tmp_path / "a.jsonl", [first]), "--out", out, "--store", store)
    for name, expected in ADDED.items():
        document = {"id": name, "text": "open a socket", name: COLUMNS[name][1]}
        more = lines(tmp_path / "b.jsonl", [document])
        code, _, err = statim("index", "add", out, more)
        if code == 0:
            same(hits(out)[name][name], expected)
        else:
            *notes, error = err.splitlines()
            assert error.startswith("error: ")
            assert all(note.startswith(f"{more}: ") for note in notes)
            assert isinstance(expected, str)
            assert expected in error
            assert name not in hits(out)
    others = [name for name, expected in ADDED.items() if name in hits(out)]
    assert others == ["only_text", "big_alone", "empty_first", "dates", "tags", "digits"]


def test_what_csv_holds_is_added_to_an_index_of_numbers(ran, hits, tmp_path, model_folder):
    out, more = tmp_path / "index", tmp_path / "b.csv"
    docs = lines(tmp_path / "a.jsonl", [{"id": 1, "text": "merge", "n": 7, "x": 1.5, "ok": True}])
    ran("index", "build", model_folder, docs, "--out", out)
    more.write_text("id,text,n,x,ok\n2,open,8,2.0,false\n")
    ran("index", "add", out, more)
    same(hits(out)["2"], {"n": 8, "x": 2.0, "ok": False})


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize("block", [1 << 20, 64])
def test_features(ran, tmp_path, monkeypatch, model_folder, suffix, block):
    monkeypatch.setattr(file_types, "BLOCK", block)
    docs, out = lines(tmp_path / "docs.jsonl", DOCS), tmp_path / f"out{suffix}"
    ran("features", model_folder, docs, "--out", out)
    found = (
        pq.read_table(out).to_pylist()
        if suffix == ".parquet"
        else list(map(json.loads, out.read_text().splitlines()))
    )
    for row, given, expected in zip(found, DOCS, EXPECTED, strict=True):
        assert len(row.pop("vector")) == 32
        same(row, {"id": given["id"], "text": given["text"], **expected})


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_features_of_what_json_or_parquet_do_not_know(ran, tmp_path, model_folder, suffix):
    docs, out = tmp_path / "docs.arrow", tmp_path / f"out{suffix}"
    odd = {"day": datetime.date(2020, 1, 1), "price": Decimal("1.50"), "nothing": {}, "nothings": [{"a": {}}]}
    frame = pa.table({"text": ["merge"], **{name: [value] for name, value in odd.items()}})
    with pa.OSFile(str(docs), "wb") as file, pa.ipc.new_file(file, frame.schema) as writer:
        writer.write_table(frame)
    ran("features", model_folder, docs, "--out", out)
    (found,) = (
        pq.read_table(out).to_pylist()
        if suffix == ".parquet"
        else list(map(json.loads, out.read_text().splitlines()))
    )
    assert {name: rows.as_text(found[name]) for name in odd} == {
        name: rows.as_text(value) for name, value in odd.items()
    }


def test_encode_keeps_texts_that_look_like_numbers(ran, tmp_path, model_folder):
    texts = [value for name, values in COLUMNS.items() for value in values[:2] if isinstance(value, str)]
    docs, out = lines(tmp_path / "docs.jsonl", [{"text": text} for text in texts]), tmp_path / "out.parquet"
    ran("encode", model_folder, docs, "--out", out)
    assert pq.read_table(out).column("text").to_pylist() == texts
    assert {"007", "0x1F", "1e3", "nan"} <= set(texts)


@pytest.mark.parametrize("store", STORES)
def test_ids_are_texts_or_numbers(tmp_path, model_folder, store):
    model = StaticModel.load(model_folder)
    index = Index.build(model, ["merge", "open"], tmp_path / "index", ids=[1, 2.0], store=store)
    assert index.add(["close"], ids=pd.Series([3])) == 1
    assert index.update(["merge the queue", "check"], ids=pa.array([1, 4])) == 2
    assert index.search("merge", 1, mode="bm25")[0].id == "1"
    assert index.delete(3) == 1
    assert index.delete(pl.Series([2.0, 4.0])) == 2
    assert [hit.text for hit in index.search("merge", 9)] == ["merge the queue"]
    assert index.delete([7]) == 0


def test_missing_is_only_in_the_first_row():
    assert [name for name, values in COLUMNS.items() if MISSING in values] == ["late"]
