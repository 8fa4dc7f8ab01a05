"""Every table reads back equal in pandas, Polars, pyarrow, DuckDB, Python's csv and statim itself."""

import csv
import io
import json
import math

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from statim.data.files.tables import read_table
from statim.data.files.vectors import VectorWriter
from statim.data.files.writing import table_writer, write_table
from statim.search.index import Hit
from statim.search.results import Writer
from statim.strict_json import dumps

TEXTS = [
    'he said "no"', '"quoted"', '"open', '"', '""', 'a\tb', '\t"a"\t', "a,b", '"a", "b"', "a\nb", "a\r\nb",
    "a\rb", "\n", "\r",
    " before", "behind ", " ", "NA", "N/A", "null", "None", "nan", "NULL", "", "007", "1e5", "-0", "true",
    "2020-01-01",
    "\\", "\\n", 'a\\"b', "\\N", "#no comment", "'single'", "a;b", "a|b", "=1+1", "naïve ☕ 漢字 😀",
    "\u2028\x85\ufeff", "{}", '{"a": 1}',
]  # fmt: skip
OTHERS = TEXTS[::-1]
TABLE = pa.table({"row": range(len(TEXTS)), "text": pa.array(TEXTS, pa.large_string()),
    "score": [0.5] * len(TEXTS),
                  "other": pa.array(OTHERS, pa.string())})  # fmt: skip


def by_write_table(path):
    write_table(path, TABLE)


def by_table_writer(path):
    with table_writer(path, TABLE.schema) as write:
        write(TABLE.slice(0, 10))
        write(TABLE.slice(10))


def by_search(path):
    """Texts of hits; the others are ids of queries, which a table of answers has, too."""
    kind = {".tsv": "table", ".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string())])
    with path.open("wb") as file:
        writer = Writer(file, kind, schema)
        for row, (text, other) in enumerate(zip(TEXTS, OTHERS, strict=True)):
            writer.write([(other, "question", [Hit(1, 0.5, str(row), text)])])
        writer.finish()


def by_vectors(path):
    with path.open("w+b") as file:
        writer = VectorWriter(file, path.suffix, 2, "float32")
        for some in (slice(0, 10), slice(10, None)):
            texts = pa.array(TEXTS[some], pa.large_string())
            writer.write(texts, np.ones((len(texts), 2), np.float32))
        writer.finish()


WRITERS = {
    "table.csv": by_write_table, "table.jsonl": by_write_table, "table.parquet": by_write_table,
    "parts.jsonl": by_table_writer, "parts.parquet": by_table_writer, "answers.tsv": by_search,
    "answers.parquet": by_search,
    "vectors.jsonl": by_vectors, "vectors.parquet": by_vectors,
}  # fmt: skip
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def in_pandas(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("list")
    if path.suffix == ".jsonl":
        return pd.read_json(path, lines=True, dtype=False).to_dict("list")
    return pd.read_csv(path, sep=DELIMITERS[path.suffix], dtype=str, keep_default_na=False).to_dict("list")


def in_polars(path):
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dict(as_series=False)
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path).to_dict(as_series=False)
    return pl.read_csv(path, separator=DELIMITERS[path.suffix], infer_schema=False).to_dict(as_series=False)


def in_pyarrow(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    if path.suffix == ".jsonl":
        with path.open() as file:  # else what is written like a date becomes one
            names = [name for name, value in json.loads(file.readline()).items() if isinstance(value, str)]
        parse = pa.json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in names]))
        return pa.json.read_json(path, parse_options=parse).to_pydict()
    parse = pa.csv.ParseOptions(delimiter=DELIMITERS[path.suffix], newlines_in_values=True)
    names = next(csv.reader(io.StringIO(path.read_text("utf-8")), delimiter=DELIMITERS[path.suffix]))
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert).to_pydict()


def in_duckdb(path):
    how = {
        ".parquet": f"read_parquet('{path}')",
        ".jsonl": f"read_json('{path}', format = 'newline_delimited')",
    }.get(path.suffix, f"read_csv('{path}', all_varchar = true, allow_quoted_nulls = false)")
    return duckdb.connect().sql(f"select * from {how}").to_arrow_table().to_pydict()


def in_python(path):
    if path.suffix == ".jsonl":
        rows = strict(path)
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=DELIMITERS[path.suffix]))
    return {name: [row[name] for row in rows] for name in rows[0]}


def in_statim(path):
    return read_table(path).to_pydict()


READERS = [in_pandas, in_polars, in_pyarrow, in_duckdb, in_python, in_statim]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (name, read)
        for name in WRITERS
        for read in READERS
        if read is not in_python or not name.endswith(".parquet")
    ],
)
def test_texts_read_back_equal(tmp_path, name, read):
    path = tmp_path / name
    WRITERS[name](path)
    found = read(path)
    assert found["text"] == TEXTS
    other = next((column for column in ("other", "query", "query_id") if column in found), None)
    if other is not None and (name, other) != ("answers.parquet", "query"):
        assert found[other] == OTHERS
    assert (other is None) == name.startswith("vectors")


def test_answers_as_json_lines_read_back_equal(tmp_path):
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("year", pa.float64())])
    hits = [
        Hit(rank, 0.5, str(rank), text, {"year": value})
        for rank, (text, value) in enumerate(
            zip(TEXTS, [math.nan, math.inf, *[1.5] * len(TEXTS)], strict=False)
        )
    ]
    with (tmp_path / "answers.jsonl").open("wb") as file:
        writer = Writer(file, "json", schema)
        writer.write([("q", '"asked"\t', hits)])
        writer.finish()
    for found in (
        strict(path := tmp_path / "answers.jsonl")[0],
        pl.read_ndjson(path).to_dicts()[0],
        pa.json.read_json(path).to_pylist()[0],
        duckdb.connect().sql(f"select * from read_json('{path}')").to_arrow_table().to_pylist()[0],
    ):
        assert found["query"] == '"asked"\t'
        assert [hit["text"] for hit in found["hits"]] == TEXTS
        assert [hit["metadata"]["year"] for hit in found["hits"]][:3] == [None, None, 1.5]


def strict(path):
    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text("utf-8").split("\n")[:-1]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_numbers_that_are_none(tmp_path, value):
    assert (
        dumps({"a": [value, {"b": (value, 1)}], "c": "NaN"}) == '{"a": [null, {"b": [null, 1]}], "c": "NaN"}'
    )
    table = pa.table({"text": ["a"], "n": [value], "list": [[1.0, value]]})
    for name in ("a.jsonl", "b.jsonl"):
        if name == "a.jsonl":
            write_table(tmp_path / name, table)
        else:
            with table_writer(tmp_path / name, table.schema) as write:
                write(table)
        assert strict(tmp_path / name) == [{"text": "a", "n": None, "list": [1.0, None]}]
    with (tmp_path / "v.jsonl").open("w+b") as file:
        VectorWriter(file, ".jsonl", 2, "float32").write(
            pa.array(["a", "b"], pa.large_string()), np.array([[1, value], [0.5, 2]], np.float32)
        )
    assert [row["vector"] for row in strict(tmp_path / "v.jsonl")] == [[1, None], [0.5, 2]]


def test_json_of_values_that_json_has_no_kind_for(tmp_path):
    table = pa.table(
        {"day": pa.array([18262], pa.date32()), "sum": pa.array(["1.50"]).cast(pa.decimal128(5, 2))}
    )
    write_table(tmp_path / "a.jsonl", table)
    assert strict(tmp_path / "a.jsonl") == [{"day": "2020-01-01", "sum": "1.5"}]


def test_missing_values_are_not_empty_texts(tmp_path):
    table = pa.table({"text": ["", None, "x"], "list": [["a"], None, []]})
    write_table(tmp_path / "a.csv", table)
    assert (tmp_path / "a.csv").read_text() == '"text","list"\n"","[""a""]"\n,\n"x","[]"\n'
    assert in_polars(tmp_path / "a.csv")["text"] == ["", None, "x"]
    assert in_duckdb(tmp_path / "a.csv")["text"] == ["", None, "x"]
