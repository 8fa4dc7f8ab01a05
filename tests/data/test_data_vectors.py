import io
import json
from pathlib import Path

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from statim.data.files.vectors import SUFFIXES, VectorWriter, check_suffix
from statim.errors import InputError

DTYPES = ["float32", "float16", "int8", "uint8"]
BLOCKS = [5, 1, 7, 3]


def blocks(dtype, width=12):
    rng = np.random.default_rng(0)
    start = 0
    for count in BLOCKS:
        texts = pa.array([f'text "{i}"\n☕' for i in range(start, start + count)], pa.large_string())
        yield texts, (rng.standard_normal((count, width)) * 100).astype(dtype)
        start += count


def write(path, dtype, width=12):
    with path.open("w+b") as file:
        writer = VectorWriter(file, path.suffix, width, dtype)
        for texts, vectors in blocks(dtype, width):
            writer.write(texts, vectors)
        writer.finish()
    texts, vectors = zip(*blocks(dtype, width), strict=True)
    return pa.concat_arrays(texts).to_pylist(), np.concatenate(vectors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_npy(tmp_path, dtype):
    _, vectors = write(tmp_path / "a.npy", dtype)
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, vectors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_json_lines(tmp_path, dtype):
    texts, vectors = write(tmp_path / "a.jsonl", dtype)
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["text"] for row in found] == texts
    np.testing.assert_array_equal(np.array([row["vector"] for row in found], dtype), vectors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parquet(tmp_path, dtype):
    path = tmp_path / "a.parquet"
    texts, vectors = write(path, dtype)
    table = pq.read_table(path)
    assert table["text"].to_pylist() == texts
    column = table["vector"].combine_chunks()
    if dtype == "uint8":
        assert column.type == pa.binary(12)
        assert column.to_pylist() == [bytes(row) for row in vectors]
    else:
        assert column.type == pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), 12)
        np.testing.assert_array_equal(np.array(column.to_pylist(), dtype), vectors)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == BLOCKS
    if dtype in ("float32", "int8"):  # another reader of Parquet altogether
        np.testing.assert_array_equal(polars.read_parquet(path)["vector"].to_numpy(), vectors)


def test_parquet_is_what_one_writer_gives(tmp_path):
    write(tmp_path / "a.parquet", "float32")
    schema = pa.schema([("text", pa.large_string()), ("vector", pa.list_(pa.float32(), 12))])
    kinds = {"text": "snappy", "vector": "none", "vector.list.element": "none"}
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, schema, use_dictionary=False, compression=kinds, write_statistics=False
    ) as writer:
        for texts, vectors in blocks("float32"):
            column = pa.array(vectors.tolist(), schema.field("vector").type)
            writer.write_table(pa.table([texts, column], schema=schema))
    assert (tmp_path / "a.parquet").read_bytes() == sink.getvalue()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cut", range(len(BLOCKS) + 1))
def test_going_on_gives_the_same_bytes(tmp_path, suffix, dtype, cut):
    whole, other = tmp_path / f"whole{suffix}", tmp_path / f"other{suffix}"
    write(whole, dtype)
    given = list(blocks(dtype))
    with other.open("w+b") as file:
        writer = VectorWriter(file, suffix, 12, dtype)
        for block in given[:cut]:
            writer.write(*block)
        state, size = json.dumps(writer.state()), file.tell()
        for block in given[cut:]:
            writer.write(*block)
    with other.open("r+b") as file:
        file.truncate(size)
        file.seek(size)
        writer = VectorWriter(file, suffix, 12, dtype, json.loads(state))
        for block in given[cut:]:
            writer.write(*block)
        writer.finish()
    assert other.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_texts(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with path.open("w+b") as file:
        VectorWriter(file, suffix, 3, "float32").finish()
    if suffix == ".npy":
        assert np.load(path).shape == (0, 3)
    elif suffix == ".parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.read_bytes() == b""


@given(arrays.arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_numbers_in_json_are_exact(vectors):
    sink = io.BytesIO()
    texts = pa.array(["a", "b", "c"], pa.large_string())
    VectorWriter(sink, ".jsonl", 2, "float32").write(texts, vectors)
    found = [json.loads(line)["vector"] for line in sink.getvalue().splitlines()]
    np.testing.assert_array_equal(np.array(found, np.float32), vectors)


def test_many_numbers_in_json_are_cut(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", "float32")
    monkeypatch.setattr("statim.data.files.vectors.NUMBERS", 25)
    write(tmp_path / "b.jsonl", "float32")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_names_that_say_no_kind():
    check_suffix(Path("a.npy"))
    with pytest.raises(InputError, match=r"a\.xlsx ends with \.xlsx; vectors go into \.npy"):
        check_suffix(Path("a.xlsx"))
