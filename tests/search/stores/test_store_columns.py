"""Columns of any name and type: every store takes what a folder takes, and gives it back."""

import datetime as dt
import decimal
import json

import pyarrow as pa
import pytest
from store_places import model_of, texts_of

from statim.errors import DataError, InputError, ModelError
from statim.search.index import Index
from statim.search.stores import columns as stored_columns

NAMES = [
    "", " ", "meta.author", "_distance", "_rowid", "_rowaddr", "_score", "_relevance_score",
    "_row_created_at_version",
    "50 %", "%s", "back`tick", 'double"quote', "it's", "new\nline", "{0}", "a;--", "x" * 70, "é" * 40,
    "größe", "日本",
    "Year", "year", "select", "vector", "ctid", "xmin", "oid", "2x", "_x", "statim_position", "statim_vector",
    "statim_row",
    "statim_column_3", "table",
]  # fmt: skip
BERLIN = pa.timestamp("us", "Europe/Berlin")
TYPES = {
    "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")]),
    "wide": pa.array([decimal.Decimal("1" * 40), None, decimal.Decimal("0.1")], pa.decimal256(60, 2)),
    "time": pa.array([dt.time(1, 2, 3, 4), None, dt.time(23)]),
    "seconds": pa.array([1, None, 86399], pa.time32("s")),
    "duration": pa.array([dt.timedelta(days=-1, microseconds=5), None, dt.timedelta(0)]),
    "binary": pa.array([b"\0\xff", None, b""]),
    "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "date": pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
    "date64": pa.array([86_400_000, None, 0], pa.date64()),
    "moment": pa.array([dt.datetime(2024, 1, 2, 3, 4, 5, 6), None, dt.datetime(1900, 1, 1)]),
    "stamp": pa.array([1, None, 2], pa.timestamp("s")),
    "zoned": pa.array([0, None, 10**15 + 1], BERLIN),
    "infinite": pa.array([float("inf"), None, -0.5]),
    "half": pa.array([1.5, None, -2.0], pa.float16()),
    "unsigned": pa.array([2**63 - 1, None, 0], pa.uint64()),
    "bool": pa.array([True, None, False]),
    "kind": pa.array(["a", None, "a"]).dictionary_encode(),
    "empty": pa.nulls(3),
    "tags": pa.array([["x", None], None, []]),
    "large": pa.array([["x"], None, []], pa.large_list(pa.large_string())),
    "prices": pa.array([[decimal.Decimal("1.5")], None, [None]]),
    "floats": pa.array([[float("inf"), 0.1], None, []]),
    "pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    "kinds": pa.array([["a"], None, ["b", "a"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "author": pa.array([{"first.name": "Ann", "": 1}, None, {"first.name": None, "": 2}]),
    "deep": pa.array([{"a": [{"b": b"\0", "c": dt.date(2024, 1, 1)}], "n": None}, None,
        {"a": None, "n": None}]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "small": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("2.5")], pa.decimal32(5, 2)),
}  # fmt: skip


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def documents(first, columns):
    texts = texts_of(3, seed=5)
    return pa.table({"id": [f"{first}{i}" for i in range(3)], "text": texts, **columns})


@pytest.mark.parametrize("kind", ["names", "types"])
def test_any_columns(place, kind):
    model = model_of(0)
    columns = {name: [f"{i} of {name}" for i in range(3)] for name in NAMES} if kind == "names" else TYPES
    first, second = documents("a", columns), documents("b", columns)
    index = place.build(model, first)
    index.add(second)
    index.update(second)
    held = {row.pop("id"): (row.pop("text"), row) for table in (first, second) for row in table.to_pylist()}
    assert place.load().schema.names == first.column_names
    for opened in (index, place.load()):
        for mode in ("vector", "bm25", "hybrid"):
            hits = opened.search("w00 w01 w02 w03", 6, mode=mode)
            for hit in hits:
                assert (hit.text, hit.metadata) == held[hit.id]
            if mode != "bm25":
                assert {hit.id for hit in hits} == held.keys()
    for name in columns:
        values = [row[name] for _, row in held.values()]
        missing = {doc for doc, (_, row) in held.items() if row[name] is None}
        found = index.search("w00 w01 w02 w03", 9, mode="vector", where=f"{quoted(name)} is null")
        assert {hit.id for hit in found} == missing, name
        if kind == "names":
            value = values[1].replace("'", "''")
            found = index.search("w00 w01", 9, mode="vector", where=f"{quoted(name)} = '{value}'")
            assert {hit.id for hit in found} == {"a1", "b1"}, name
            assert len(index.search("w00 w01", 9, mode="vector", where=f"{quoted(name)} like '2 of%'")) == 2
    if kind == "types":
        for name in ("decimal", "time", "duration", "binary", "tags", "author"):
            with pytest.raises(InputError, match=f"the column '{name}', which holds"):
                index.search("w00", where=f"{name} = 1")
        assert {
            hit.id for hit in index.search("w00 w01", 9, mode="vector", where="zoned > '2001-01-01'")
        } == {"a2", "b2"}
        assert {hit.id for hit in index.search("w00 w01", 9, mode="vector", where="date = '0001-01-01'")} == {
            "a2",
            "b2",
        }
    else:
        assert index.delete(where=f"{quoted('')} = '0 of '") == 2
        assert len(place.load()) == 4


@pytest.mark.parametrize("place", ["lancedb", "postgresql"], indirect=True)
@pytest.mark.parametrize(
    "values",
    [
        pa.array([pa.MonthDayNano([1, 2, 3])] * 3),
        pa.UnionArray.from_sparse(
            pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
        ),
    ],
)
def test_what_no_store_keeps_is_refused_by_name_before_work_begins(place, values, monkeypatch):
    model = model_of(0)
    monkeypatch.setattr(type(model), "encode_document", None)  # nothing is encoded
    with pytest.raises(DataError, match=r"the column 'odd' holds .*cannot keep; give its values as text"):
        place.build(model, documents("a", {"odd": values}))
    with pytest.raises((ModelError, InputError)):
        place.load()


def test_too_many_columns_for_a_database(address):
    many = {f"c{i}": [1, 2, 3] for i in range(1600)}
    with pytest.raises(DataError, match="1,602 columns; PostgreSQL takes 1,500"):
        Index.build(model_of(0), documents("a", many), address, table="many columns")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": ["w01", "w02 \0", "w03"]}, r"row 1 \(id 'a1'\): the column 'text' holds a zero byte"),
        ({"note": [None, "x", "\0"]}, r"row 2 \(id 'a2'\): the column 'note' holds a zero byte"),
        ({"tags": [[], ["\\u0000"], ["\0"]]}, r"row 2 \(id 'a2'\): the column 'tags' holds a zero byte"),
        ({"id": ["a0", "a1", "x" * 5000]}, r"row 2 \(id 'xxx.*an id of more than 2,600 bytes"),
        (
            {"at": pa.array([None, 1000, 1], pa.timestamp("ns"))},
            r"row 2 .*'at' holds a time finer than a microsecond",
        ),
        ({"text": ["w01", None, "w03"]}, r"the column 'text' lacks 1 of [23] values, the first at row 1"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_database_names_bad_rows_before_encoding_begins(address, change, said, stream, monkeypatch):
    from statim.search.stores import registry

    monkeypatch.setattr(registry, "LARGE", 1)
    model = model_of(0)
    good = documents("g", {name: [None] * 3 for name in change if name not in ("id", "text")})
    bad = documents("a", {})
    for name, values in change.items():
        place = bad.column_names.index(name) if name in bad.column_names else len(bad.column_names)
        bad = bad.drop_columns([name] if name in bad.column_names else []).add_column(
            place, name, pa.array(values)
        )
    good = good.cast(pa.schema([(f.name, f.type) for f in bad.schema]))
    index = Index.build(model, good, address, table="bad rows", overwrite=True)
    before = index.search("w01", 3)
    monkeypatch.setattr(type(model), "encode_document", None)  # nothing is encoded
    given = bad.to_reader(max_chunksize=2) if stream else bad
    with pytest.raises(DataError, match=said):
        Index.build(model, given, address, table="bad rows, too")
    monkeypatch.setattr(type(index.model), "encode_document", None)
    given = bad.to_reader(max_chunksize=2) if stream else bad
    with pytest.raises(DataError, match=said):
        index.add(given)
    monkeypatch.undo()
    assert index.search("w01", 3) == before


def test_a_stream_into_a_database_waits_on_the_disk(address, monkeypatch):
    from statim.search.stores import registry

    monkeypatch.setattr(registry, "LARGE", 1)
    table = documents("a", {"tags": [["x"], None, []]})
    index = Index.build(model_of(0), table.to_reader(max_chunksize=2), address, table="spooled")
    assert {hit.id: hit.metadata["tags"] for hit in index.search("w01 w02", 3, mode="vector")} == {
        "a0": ["x"], "a1": None, "a2": [],
    }  # fmt: skip


def test_an_index_of_an_earlier_statim_opens(address, tmp_path):
    """Its manifest does not say how columns are kept: they have their own names, and some hold JSON of any
    kind.
    """
    from statim.search.stores import postgres

    table = documents("a", {"tags": [["x"], None, []], "year": [1, 2, None]})
    lance = Index.build(model_of(0), table, tmp_path / "lance", store="lancedb")
    assert stored_columns.KEY not in json.loads((tmp_path / "lance" / "index.json").read_text())
    index = Index.build(model_of(0), table, address, table="older")
    store = index._store
    manifest = {k: v for k, v in store._read_manifest().items() if k not in (stored_columns.KEY, "dead")}
    with store._server.held() as connection:
        postgres._write_manifest(connection, store._sql, manifest)
    for opened in (Index.load(address, table="older"), lance):
        opened.add(documents("b", {"tags": [["y"], None, ["z"]], "year": [3, 4, 5]}))
        opened.delete("a1")
        found = {hit.id: hit.metadata for hit in opened.search("w01 w02", 9, mode="vector")}
        assert found == {
            "a0": {"tags": ["x"], "year": 1}, "a2": {"tags": [], "year": None},
            "b0": {"tags": ["y"], "year": 3},
            "b1": {"tags": None, "year": 4}, "b2": {"tags": ["z"], "year": 5},
        }  # fmt: skip
        assert {hit.id for hit in opened.search("w01", 9, mode="vector", where="year > 2")} == {
            "b0",
            "b1",
            "b2",
        }


@pytest.mark.parametrize("kept", [1, {}, {"schema": "x", "names": []}, {"schema": "", "names": ["id"]}])
def test_a_damaged_account_of_the_columns(tmp_path, kept):
    table = documents("a", {"meta.author": ["x", "y", "z"]})
    Index.build(model_of(0), table, tmp_path / "i", store="lancedb")
    manifest = json.loads((tmp_path / "i" / "index.json").read_text())
    del manifest["digest"]  # anyone who changes a manifest can leave its own digest out
    assert stored_columns.KEY in manifest
    (tmp_path / "i" / "index.json").write_text(json.dumps(manifest | {stored_columns.KEY: kept}))
    with pytest.raises(ModelError, match="damaged at kept"):
        Index.load(tmp_path / "i")
