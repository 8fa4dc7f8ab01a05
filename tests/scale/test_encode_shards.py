"""Encoding many files: what is written, gone on with, refused; without Ray."""

import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from statim.errors import BusyError, DataError, DependencyError, InputError, ModelError
from statim.files import locked
from statim.scale import encode, encode_shards
from statim.scale.output import MANIFEST


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_file_for_each_shard(tmp_path, model, rows, shards):
    done = encode_shards(model, shards, tmp_path / "out")
    assert (done.shards, done.texts, done.resumed, done.dimensions) == (4, 400, 0, 16)
    names = ["a.parquet", "b.jsonl.parquet", "c.csv.parquet", "more/plain.txt.parquet"]
    assert sorted(contents(tmp_path / "out")) == [MANIFEST, *names]
    tables = [pq.read_table(tmp_path / "out" / name) for name in names]
    assert [len(table) for table in tables] == [100, 150, 50, 100]
    assert tables[0].schema.field("vector").type == pa.list_(pa.float32(), 16)
    texts = [text for table in tables for text in table.column("text").to_pylist()]
    assert texts == [row["text"] for row in rows]
    ids = [name for table in tables for name in table.column("id").to_pylist()]
    assert ids == [row["id"] for row in rows[:300]] + [f"more/plain.txt.parquet:{i}" for i in range(100)]
    assert tables[1].column("year").to_pylist() == [row["year"] for row in rows[100:250]]
    vectors = np.concatenate([np.stack(table.column("vector").to_numpy()) for table in tables])
    np.testing.assert_array_equal(vectors, model.encode(texts))
    assert ds.dataset(tmp_path / "out" / "a.parquet").count_rows() == 100


def test_the_manifest_tells_each_file(tmp_path, model, shards):
    from statim.digests import digest

    encode_shards(model, [shards / "b.jsonl", str(shards / "**" / "*.txt")], tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["run"]["the model"] == model.hash
    for shard in manifest["shards"]:
        path = tmp_path / "out" / shard["name"]
        assert (shard["size"], shard["digest"]) == (path.stat().st_size, digest(path))
    assert [shard["texts"] for shard in manifest["shards"]] == [150, 100]


@pytest.mark.parametrize("dtype", ["float16", "int8", "binary"])
def test_other_types(tmp_path, model, shards, dtype):
    encode_shards(model, shards / "a.parquet", tmp_path / "out", dtype=dtype, dim=12)
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    expected = model.encode(table.column("text").to_pylist(), dtype=dtype, dim=12)
    found = table.column("vector").to_pylist()
    if dtype == "binary":
        found = [list(one) for one in found]
    np.testing.assert_array_equal(np.array(found, expected.dtype), expected)


def test_blocks_do_not_depend_on_threads(tmp_path, model, shards, monkeypatch):
    monkeypatch.setattr(encode, "VECTOR_BYTES", 16 * 4 * 30)
    for threads in (1, 3):
        encode_shards(model, shards, tmp_path / f"out{threads}", threads=threads)
    assert contents(tmp_path / "out1") == contents(tmp_path / "out3")
    assert pq.ParquetFile(tmp_path / "out1" / "a.parquet").num_row_groups == 4


def test_columns_that_change_on_the_way(tmp_path, model):
    lines = [{"id": i, "text": "sort a list", "vector": i} for i in range(70_000)]
    lines.append({"id": "last", "text": "open a file", "vector": "seven"})
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    encode_shards(model, tmp_path / "a.jsonl", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "a.jsonl.parquet")
    assert table.column_names == ["id", "text", "vector", "vector_"]
    assert table.column("id").to_pylist()[-2:] == ["69999", "last"]
    assert table.column("vector_").to_pylist()[-2:] == ["69999", "seven"]


def test_a_corrupt_shard_is_named_and_the_others_are_done(tmp_path, model, shards):
    whole = tmp_path / "whole"
    encode_shards(model, shards, whole)
    good = (shards / "b.jsonl").read_text()
    (shards / "b.jsonl").write_text(good.replace('"d120"', '"d120', 1))
    (shards / "a.parquet").write_bytes((shards / "a.parquet").read_bytes()[:-100])
    with pytest.raises(DataError, match=r"2 of 4 shards could not be encoded.*a\.parquet.*b\.jsonl, line 21"):
        encode_shards(model, shards, tmp_path / "out")
    assert (tmp_path / "out" / "c.csv.parquet").exists()
    assert not (tmp_path / "out" / MANIFEST).exists()
    (shards / "b.jsonl").write_text(good)
    (shards / "a.parquet").unlink()
    done = encode_shards(model, shards, tmp_path / "out", resume=True)
    assert (done.shards, done.resumed, done.texts) == (3, 2, 300)
    found = contents(tmp_path / "out")
    assert {name: found[name] for name in found if name != MANIFEST} == {
        name: content for name, content in contents(whole).items() if name not in (MANIFEST, "a.parquet")
    }


def test_what_is_written_is_not_done_again(tmp_path, model, shards, monkeypatch):
    out = tmp_path / "out"
    encode_shards(model, shards / "a.parquet", out)
    encoded = []
    write = encode.Encoding._write
    monkeypatch.setattr(
        encode.Encoding, "_write", lambda *given: encoded.append(given[1].name) or write(*given)
    )
    assert encode_shards(model, shards, out, resume=True).resumed == 1
    assert encoded == ["b.jsonl.parquet", "c.csv.parquet", "more/plain.txt.parquet"]
    encoded.clear()
    before = contents(out)
    (out / "b.jsonl.parquet").write_bytes(b"cut")  # not as long as it was
    with open(shards / "c.csv", "a") as file:
        file.write("new,open a file,2001\n")
    assert encode_shards(model, shards, out, resume=True).texts == 401
    assert encoded == ["b.jsonl.parquet", "c.csv.parquet"]
    assert contents(out)["b.jsonl.parquet"] == before["b.jsonl.parquet"]


def test_what_a_killed_writer_left_is_no_record(tmp_path, model, shards):
    from statim.partial import beside
    from statim.scale.output import RECORDS

    out = tmp_path / "out"
    (shards / "b.jsonl").write_text("no")
    with pytest.raises(DataError, match=r"b\.jsonl, line 1"):
        encode_shards(model, shards, out)
    for left in (out / RECORDS / "a.parquet.json", out / "b.jsonl.parquet"):
        beside(left).write_bytes(b"half")
    (shards / "b.jsonl").write_text('{"text": "open a file"}')
    assert encode_shards(model, shards, out, resume=True).resumed == 3
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_ids_that_repeat_are_named(tmp_path, model, rows, monkeypatch):
    from statim.scale import repeated_ids

    for name, some in (("a", rows[:10]), ("b", [*rows[10:20], rows[3]]), ("c", rows[20:30])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    monkeypatch.setattr(repeated_ids, "MOST", 7)
    with pytest.raises(DataError, match=r"the id 'd3' is in a\.jsonl\.parquet and in b\.jsonl\.parquet"):
        encode_shards(model, tmp_path, tmp_path / "out")
    assert encode_shards(model, tmp_path / "[!b].jsonl", tmp_path / "other").texts == 20


def test_refusals(tmp_path, model, shards):
    out = tmp_path / "out"
    encode_shards(model, shards, out)
    with pytest.raises(InputError, match=r"holds shards of an earlier run; go on with it \(--resume\)"):
        encode_shards(model, shards, out)
    with pytest.raises(InputError, match="holds shards of another run: --dim differ"):
        encode_shards(model, shards, out, dim=8, resume=True)
    other = type(model)(model.table + 1, model.tokenizer)
    with pytest.raises(InputError, match="holds shards of another run: the model differ"):
        encode_shards(other, shards, out, resume=True)
    with pytest.raises(InputError, match=r"holds a\.parquet, b\.jsonl\.parquet, more/plain.* not given now"):
        encode_shards(model, shards / "c.csv", out, resume=True)
    assert encode_shards(other, shards / "a.parquet", out, overwrite=True).shards == 1
    assert sorted(contents(out)) == [MANIFEST, "a.parquet"]
    with pytest.raises(InputError, match=r"is not empty and holds no shards that statim wrote"):
        encode_shards(model, shards / "a.parquet", shards, overwrite=True)
    with pytest.raises(InputError, match=r"nothing\*\.jsonl matches no file"):
        encode_shards(model, shards / "nothing*.jsonl", tmp_path / "new")
    with pytest.raises(InputError, match=r"missing matches no file"):
        encode_shards(model, tmp_path / "missing", tmp_path / "new")
    with pytest.raises(InputError, match=r"would both be written to a\.parquet"):
        encode_shards(model, [shards / "a.parquet", shards / "*.parquet"], tmp_path / "new")
    with pytest.raises(InputError, match=r"a\.parquet is a file; name a folder"):
        encode_shards(model, shards / "a.parquet", shards / "a.parquet")
    with locked(out, out), pytest.raises(BusyError):
        encode_shards(other, shards / "a.parquet", out, resume=True)
    manifest = out / MANIFEST
    manifest.write_text(manifest.read_text().replace('"texts": 100', '"texts": 99', 1))
    with pytest.raises(ModelError, match=r"_manifest\.json is damaged"):
        encode_shards(other, shards / "a.parquet", out, resume=True)


def test_a_row_without_an_id(tmp_path, model):
    (tmp_path / "a.jsonl").write_text(
        '{"key": "x", "text": "open a file"}\n{"key": null, "text": "join a list"}\n'
    )
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: the column 'key' has no id"):
        encode_shards(model, tmp_path / "a.jsonl", tmp_path / "out")


def test_an_object_store(tmp_path, model, shards):
    """Addresses of fsspec: read, listed and written, the same bytes as on the disk."""
    memory = fsspec.filesystem("memory")
    memory.put(str(shards), "/bucket/docs", recursive=True)
    try:
        done = encode_shards(model, "memory://bucket/docs", "memory://bucket/out")
        assert (done.out, done.texts) == ("memory:///bucket/out", 400)
        encode_shards(model, shards, tmp_path / "out")
        for name, content in contents(tmp_path / "out").items():
            if name != MANIFEST:
                assert memory.cat(f"/bucket/out/{name}") == content
        assert encode_shards(model, "memory://bucket/docs/**/*.txt", "memory://bucket/two").texts == 100
        assert encode_shards(model, "memory://bucket/docs", "memory://bucket/out", resume=True).resumed == 4
        file = encode_shards(model, (shards / "c.csv").as_uri(), (tmp_path / "files").as_uri())
        assert file.out == str(tmp_path / "files")
    finally:
        memory.rm("/bucket", recursive=True)
    with pytest.raises(InputError, match="nosuch://x is no address"):
        encode_shards(model, "nosuch://x", tmp_path / "new")


def test_without_ray(tmp_path, model, shards, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(DependencyError, match=r'pip install "statim\[scale\]"'):
        encode_shards(model, shards, tmp_path / "out", ray="local")
