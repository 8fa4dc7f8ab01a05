"""Vectors as columns: in and out of Arrow, pandas, Polars and DuckDB, without copies where there need be
none.
"""

import json
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from statim.cli import main
from statim.errors import DataError, InputError
from statim.tasks.features import (
    add_vectors,
    encode_column,
    polars_expression,
    register_duckdb,
    to_arrow,
    to_numpy,
)

TEXTS = ["sort the list", "", "open a file", None, "run"]


@pytest.fixture
def expected(model):
    return model.encode([text or "" for text in TEXTS])


def memory(array):
    return array.__array_interface__["data"][0]


@given(
    npst.arrays(
        st.sampled_from([np.float32, np.float64, np.int8]),
        npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
        elements=st.integers(-9, 9),
    )
)  # fmt: skip
def test_there_and_back(vectors):
    column = to_arrow(vectors)
    assert column.to_pylist() == vectors.tolist()
    back = to_numpy(column)
    np.testing.assert_array_equal(back, vectors)
    assert back.dtype == vectors.dtype
    np.testing.assert_array_equal(to_numpy(column.slice(1)), vectors[1:])
    if len(vectors) > 1:
        np.testing.assert_array_equal(
            to_numpy(pa.chunked_array([column.slice(0, 1), column.slice(1)])), vectors
        )
    lists = pa.array(vectors.tolist(), pa.list_(pa.float64()))
    np.testing.assert_array_equal(to_numpy(lists), vectors)


def test_nothing_is_copied():
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    column = to_arrow(vectors)
    assert column.values.buffers()[1].address == memory(vectors)
    assert memory(to_numpy(column)) == memory(vectors)
    assert memory(to_numpy(column.slice(1))) == memory(vectors[1:])
    frame = pd.DataFrame({"v": pd.array(column, pd.ArrowDtype(column.type))})
    assert memory(to_numpy(frame["v"])) == memory(vectors)
    assert memory(to_numpy(pl.Series(pl.from_arrow(column)))) == memory(vectors)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[1.0], None], pa.list_(pa.float32(), 1)), "row 1 has no vector"),
        (pa.array([[1.0, 2.0], [1.0]]), "row 1 has 1 numbers"),
        (pa.array([[1.0, 2.0], [1.0, None]]), "row 1 has a missing number"),
        (pa.array([["a"], ["b"]]), "lists of numbers"),
        (pa.array([1.0, 2.0]), "must hold vectors"),
        ([object()], "no column"),
    ],
)
def test_columns_that_hold_no_vectors(column, words):
    with pytest.raises(InputError, match=words):
        to_numpy(column)


def test_a_missing_text_has_no_vector(model, expected):
    for texts in (
        TEXTS,
        pa.array(TEXTS),
        pd.Series(TEXTS),
        pl.Series(TEXTS),
        pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
        pa.array(["before", *TEXTS, "after"]).dictionary_encode().slice(1, len(TEXTS)),
        pl.Series(TEXTS).cast(pl.Categorical),
        pd.Series(TEXTS).astype("category"),
    ):
        found = encode_column(model, texts)
        assert [row is None for row in found.to_pylist()] == [text is None for text in TEXTS]
        kept = [i for i, text in enumerate(TEXTS) if text is not None]
        np.testing.assert_array_equal(to_numpy(found.drop_null()), expected[kept])
    assert encode_column(model, pa.nulls(2)).null_count == 2
    with pytest.raises(InputError, match="must hold texts"):
        encode_column(model, [1, 2])
    with pytest.raises(InputError, match="of one kind"):
        encode_column(model, pd.Series(["a", 1], dtype=object))


def test_data_frames(model):
    texts = ["sort", "open a file", "run now"]
    expected = model.encode(texts, dim=8)
    pandas = pd.DataFrame({"text": texts, "n": [1, 2, 3]}, index=[7, 8, 9])
    polars = pl.DataFrame({"text": texts, "n": [1, 2, 3]})
    arrow = pa.table({"text": texts, "n": [1, 2, 3]})
    relation = duckdb.connect().from_arrow(arrow)
    for frame, kind in (
        (pandas, pd.DataFrame),
        (polars, pl.DataFrame),
        (arrow, pa.Table),
        (relation, pa.Table),
    ):
        found = add_vectors(frame, model, dim=8)
        assert isinstance(found, kind)
        np.testing.assert_array_equal(to_numpy(found["vector"]), expected)
        again = add_vectors(found, model, "text")  # replaces
        assert to_numpy(again["vector"]).shape == (3, model.dim)
    assert list(add_vectors(pandas, model).index) == [7, 8, 9]
    assert polars.columns == ["text", "n"]
    with pytest.raises(DataError, match="'body'"):
        add_vectors(polars, model, "body")
    with pytest.raises(InputError, match="collect"):
        add_vectors(polars.lazy(), model)
    with pytest.raises(InputError, match="list"):
        add_vectors(texts, model)


def test_lazy_frames(model, expected):
    frame = pl.LazyFrame({"text": TEXTS}).with_columns(v=polars_expression(model, "text", dim=8))
    assert frame.collect_schema()["v"] == pl.Array(pl.Float32, 8)
    found = frame.collect()
    np.testing.assert_array_equal(to_numpy(found["v"].drop_nulls())[0], model.encode(TEXTS[0], dim=8))
    assert found["v"].null_count() == 1


def test_duckdb(model, expected):
    connection = duckdb.connect()
    connection.execute("create table docs (id integer, text varchar)")
    connection.executemany("insert into docs values (?, ?)", list(enumerate(TEXTS)))
    register_duckdb(connection, model)
    register_duckdb(connection, model)  # again, as in a notebook
    rows = connection.execute("select id, embed(text) from docs order by id").fetchall()
    for (place, vector), wanted in zip(rows, expected, strict=True):
        if TEXTS[place] is None:
            assert vector is None
        else:
            np.testing.assert_allclose(vector, wanted, rtol=1e-6)
    (best,) = connection.execute(
        "select id from docs where text <> '' order by array_cosine_distance(embed(text), embed('sort "
        "list')) limit 1"
    ).fetchone()
    assert best == 0
    connection.execute("create table many as select 'sort ' || (i % 7) as text from range(5000) t(i)")
    found = connection.sql("select embed(text) as v from many").to_arrow_table()
    assert to_numpy(found["v"]).shape == (5000, model.dim)


@pytest.fixture
def statim(monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["statim", "features", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capfd.readouterr()

    return run


def test_the_command_line(statim, model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "t.csv").write_text("text,n\nsort,1\nopen a file,2\n")
    code, _, err = statim(tmp_path / "model", tmp_path / "t.csv", "--out", tmp_path / "t.parquet")
    assert code == 0, err
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["text", "n", "vector"]
    np.testing.assert_array_equal(to_numpy(table["vector"]), model.encode(["sort", "open a file"]))
    code, _, err = statim(
        tmp_path / "model", tmp_path / "t.csv", "-o", tmp_path / "t.jsonl", "--dim", "2", "--name", "v"
    )
    assert len(json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])["v"]) == 2
    held = (tmp_path / "t.parquet").read_bytes()
    for arguments, word in (
        ([tmp_path / "t.csv", "-o", tmp_path / "t.parquet"], "exists"),
        ([tmp_path / "none.csv", "-o", tmp_path / "u.parquet"], "none.csv"),
        ([tmp_path / "t.csv", "-o", tmp_path / "u.parquet", "--column", "body"], "body"),
        ([tmp_path / "t.csv", "-o", tmp_path / "u.parquet", "--dim", "99"], "dim is 99"),
        ([tmp_path / "t.csv", "-o", tmp_path / "u.txt"], ".txt"),
    ):
        code, out, err = statim(tmp_path / "model", *arguments)
        assert (code, out) == (2, ""), err
        assert err.startswith("error: ")
        assert word in err
    assert (tmp_path / "t.parquet").read_bytes() == held
    assert not (tmp_path / "u.parquet").exists()
