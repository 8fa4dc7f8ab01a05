"""The same odd columns through every reader: values read the same, columns are joined, nothing vanishes."""

import csv
import datetime
import itertools
import json
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odd_columns import EXPECTED, MISSING, ROWS
from statim.data import read_documents, read_labelled, read_table
from statim.data.documents.texts import stream_documents
from statim.data.files import file_types, rows, unify
from statim.errors import DataError

UTC = datetime.UTC


def lines(path):
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path.with_suffix(".jsonl")


def array(path):
    path.with_suffix(".json").write_text(json.dumps(ROWS))
    return path.with_suffix(".json")


def parts(write):
    """A file for each row: what is one type in it is another in the next."""

    def made(path):
        files = [path.with_name(f"{path.name}-{number}") for number in range(len(ROWS))]
        return [write(rows.table([row], ""), file) for file, row in zip(files, ROWS, strict=True)]

    return made


def parquet(table, path):
    pa.parquet.write_table(table, path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def feather(table, path):
    pa.feather.write_feather(table, str(path.with_suffix(".feather")))
    return path.with_suffix(".feather")


def jsonl(table, path):
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


READERS = {
    "json lines": lines,
    "json array": array,
    "json lines in parts": parts(jsonl),
    "parquet in parts": parts(parquet),
    "feather in parts": parts(feather),
    "arrow tables": parts(lambda table, _: table),
    "list of dicts": lambda _: ROWS,
    "mapping of columns": lambda _: {name: [row.get(name) for row in ROWS] for name in ROWS[1]},
    "pandas": lambda _: pd.DataFrame(ROWS, dtype=object),
    "pandas in parts": lambda _: [pd.DataFrame([row]) for row in ROWS],
    # Polars has no numbers beyond 128 bits that Arrow takes
    "polars in parts": lambda _: [pl.DataFrame([row | {"beyond": str(row["beyond"])}]) for row in ROWS],
}


def told(table):
    """The other columns of documents, as JSON, which tells 1 from 1.0 and from true."""
    return [
        json.dumps({name: value for name, value in sorted(row.items()) if name not in ("id", "text")})
        for row in table.to_pylist()
    ]


WANTED = [json.dumps(dict(sorted(row.items()))) for row in EXPECTED]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("block", [1 << 20, 64])
def test_every_reader_gives_the_same(tmp_path, monkeypatch, reader, block):
    monkeypatch.setattr(file_types, "BLOCK", block)  # of 64 bytes, every row is a table of its own
    assert told(read_documents(READERS[reader](tmp_path / "docs"))) == WANTED


@pytest.mark.parametrize("reader", ["json lines", "json array", "json lines in parts", "parquet in parts"])
def test_a_stream_gives_the_same(tmp_path, monkeypatch, reader):
    monkeypatch.setattr(file_types, "BLOCK", 64)
    monkeypatch.setattr("statim.data.files.json_array.ITEMS", 1)
    source = READERS[reader](tmp_path / "docs")
    with pytest.raises(unify.MisfitError, match=r"first occurs after 1 rows|row 2: the column"):
        stream_documents(source, many=0).read_all()
    assert told(stream_documents(source, many=0, settle=True).read_all()) == WANTED


def test_csv_is_text(tmp_path):
    with (tmp_path / "docs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[1]))
        writer.writeheader()
        writer.writerows({name: rows.as_text(value) for name, value in row.items()} for row in ROWS)
    found = read_documents(tmp_path / "docs.csv").to_pylist()
    for row, given_ in zip(found, ROWS, strict=True):
        assert row == {name: rows.as_text(given_.get(name)) or "" for name in row}


def test_a_title_that_comes_late_is_one_streamed_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(file_types, "BLOCK", 32)
    path = tmp_path / "docs.jsonl"
    path.write_text('{"id": 1, "text": "river boat"}\n{"id": 2, "text": "night", "title": "storm"}\n')
    wanted = [
        {"id": "1", "text": "river boat", "title": None},
        {"id": "2", "text": "storm night", "title": "storm"},
    ]
    assert read_documents(path).to_pylist() == wanted
    assert stream_documents(path, many=0, settle=True).read_all().to_pylist() == wanted


VALUES = [
    None, True, 5, 7.0, 1.5, 2**53, 2**60 + 1, 2**63, 2**64, "x", "007", "8", float("nan"), float("inf"),
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 5), datetime.datetime(2020, 1, 1, 5, tzinfo=UTC),
    Decimal("1.50"), Decimal(2), b"x", [], [1], ["x"], [1.5], [True], [None], {}, {"a": 1}, {"a": "x"},
    {"a": 1.5}, {"a": True},
    {"b": 2}, {"a": 2**60 + 1}, {"b": 1, "a": 2}, [{"a": 1}], [{"b": "x"}], {"a": {}}, {"a": {"c": 1}},
    {"a": []}, {"a": ["x"]},
]  # fmt: skip


def check(values):
    """What a column reads does not depend on where its rows are cut into tables, and is what was given."""
    whole = rows.column(values)
    cut = unify.concatenate([pa.table({"v": rows.column([value])}) for value in values]).column("v")
    wanted = [rows.as_text(value) for value in values]
    assert [rows.as_text(value) for value in whole.to_pylist()] == wanted
    assert [rows.as_text(value) for value in cut.to_pylist()] == wanted
    if not any(
        isinstance(value, Decimal) for value in values
    ):  # beside those, digits may make the difference
        assert pa.types.is_nested(whole.type) == pa.types.is_nested(cut.type)
        assert str(whole.type).removeprefix("large_") == str(cut.type).removeprefix("large_")


def test_any_two_values():
    for pair in itertools.product(VALUES, repeat=2):
        check(list(pair))


@given(st.lists(st.sampled_from(VALUES), min_size=3, max_size=6))
def test_any_values(values):
    check(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7654321.0, "7654321"), (-3.0, "-3"), (1e16, "10000000000000000"), (1e300, "1e+300"), (0.1, "0.1"),
        (123456.789012, "123456.789012"), (float("inf"), "inf"), (float("nan"), None), (True, "true"),
        (2**70, str(2**70)),
        (Decimal("1.50"), "1.5"), (Decimal("100"), "100"), (datetime.date(2020, 1, 1), "2020-01-01"),
        (b"x", "x"),
        ({"b": 1.0, "a": None}, '{"b": 1}'), (pd.NA, None), (pd.NaT, None),
    ],
)  # fmt: skip
def test_a_value_as_text(value, text):
    assert rows.as_text(value) == text


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(22, 3)])
def test_ids_that_are_numbers(kind):
    table = pa.table({"id": pa.array([7, 3, 2, 1], pa.int64()).cast(kind), "text": list("abcd")})
    assert read_documents(table).column("id").to_pylist() == ["7", "3", "2", "1"]


def test_ids_keep_their_digits():
    table = pa.table({"id": pa.array([0.1, 1234567.5, 1e6], pa.float32()), "text": list("abc")})
    assert read_documents(table).column("id").to_pylist() == ["0.1", "1234567.5", "1000000"]
    with pytest.raises(DataError, match=r"row 2.*no id there"):
        read_documents(pl.DataFrame({"id": [1.0, float("nan")], "text": ["a", "b"]}))


def test_labels_of_a_float_column():
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [1234567.0, 1234568.0, 2.5]})
    assert read_labelled(frame).labels.to_pylist() == ["1234567", "1234568", "2.5"]


@pytest.mark.parametrize(
    ("value", "kind", "cause"),
    [
        ("007", pa.int64(), "'007', which would become 7 as int64"),
        ("nan", pa.float64(), "'nan', which would become nan as double"),
        ("x", pa.bool_(), "'x', which is no bool"),
        (5, pa.bool_(), "5, which would become True as bool"),
        (True, pa.int64(), "True, which would become 1 as int64"),
        (1.5, pa.int64(), "1.5, which is no int64"),
        (2**60 + 1, pa.float64(), f"{2**60 + 1}, which is no double"),
        (0.1, pa.float32(), "0.1, which would become"),
        ({"a": 1, "b": 2}, pa.struct({"a": pa.int64()}), "the field 'b'"),
        (["x"], pa.list_(pa.int64()), "'x', which is no int64"),
        ("x", pa.null(), "'x', where it has no values"),
        ("8", pa.int64(), None),
        ("1.5", pa.float64(), None),
        ("1.0", pa.float64(), None),
        ("1", pa.float64(), None),
        ("true", pa.bool_(), None),
        ("2020-01-01", pa.date32(), None),
        (7.0, pa.int64(), None),
        (2**60 + 1, pa.string(), None),
    ],
)
def test_a_value_is_cast_only_if_it_reads_the_same(value, kind, cause):
    column = pa.table({"v": rows.column([None, value])})
    schema = pa.schema({"v": kind})
    if cause is None:
        (_, made) = unify.fitted(column, schema).column("v").to_pylist()
        assert rows.as_text(made) == rows.as_text(value) or float(made) == float(value)
    else:
        with pytest.raises(unify.MisfitError, match="row 12: the column 'v' ") as caught:
            unify.fitted(column, schema, 10)
        assert cause in str(caught.value)


def test_missing_is_no_value():
    assert all(MISSING is not value for row in ROWS for value in row.values())
    assert "late" not in ROWS[0]
    assert read_table(ROWS).column("late").to_pylist() == [None, "x"]
