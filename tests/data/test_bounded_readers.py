"""Every reader reads to the end or says why not, in memory for some blocks however a file is made."""

import gzip
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from statim.data.documents.texts import read_texts, stream_documents
from statim.data.files import arrow, arrow_bodies, columns, delimited, file_types, json_array, json_lines
from statim.data.files.bad_rows import skipping
from statim.data.files.tables import read_table, tables
from statim.errors import DataError, InputError, ModelError
from statim.formats import word_vectors

BLANK = 3000  # blank lines; with blocks of 1,000 bytes, three blocks of nothing else


@pytest.fixture
def small(monkeypatch):
    """Small blocks, tables and lines."""
    monkeypatch.setattr(file_types, "BLOCK", 1000)
    monkeypatch.setattr(file_types, "HELD", 4000)
    monkeypatch.setattr(file_types, "LINE_LIMIT", 20_000)


def texts(path):
    return list(itertools.chain.from_iterable(array.to_pylist() for array in read_texts(str(path))))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "before", "lines"),
    [
        ("a.csv", "text,b\n", ["one,1\n", "two,2\n"]),
        ("a.tsv", "text\tb\n", ["one\t1\n", "two\t2\n"]),
        ("a.jsonl", "", ['{"text": "one"}\n', '{"text": "two"}\n']),
        ("a.json", "[", ['{"text": "one"},', '{"text": "two"}]']),
    ],
)
def test_blank_lines(name, before, lines, compressed, end, small, monkeypatch, tmp_path):
    monkeypatch.setattr(delimited, "ROWS", 500)  # several tables of blank lines alone
    blank = end * BLANK
    content = blank.join(["", before, *lines, ""]).encode()
    path = tmp_path / (name + ".gz" * compressed)
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert texts(path) == ["one", "two"]
    assert read_table(path).column("text").to_pylist() == ["one", "two"]
    assert stream_documents(path, many=1).read_all().column("text").to_pylist() == ["one", "two"]


def test_the_line_behind_blank_lines(small, tmp_path):
    (tmp_path / "a.csv").write_text("\n" * BLANK + "text,b\n" + "\n" * BLANK + "one,1,2\n")
    with pytest.raises(DataError, match=rf"a\.csv, line {2 * BLANK + 2}: has 3 fields"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text("\n" * BLANK + '[{"text": "one"},' + "\n" * BLANK + "{1}]")
    with pytest.raises(DataError, match=rf"a\.json, line {2 * BLANK + 1}: not valid JSON"):
        read_table(tmp_path / "a.json")


def test_batches_without_rows(tmp_path):
    some = [pa.table({"text": pa.array(held, pa.string())}) for held in ([], ["one"], [], [], ["two"], [])]
    with parquet.ParquetWriter(tmp_path / "a.parquet", some[0].schema) as writer:
        for table in some:
            writer.write_table(table)
    for name, new in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with new(str(tmp_path / name), some[0].schema) as writer:
            for table in some:
                writer.write_batch(table.combine_chunks().to_batches()[0] if len(table) else empty(table))
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        assert texts(tmp_path / name) == ["one", "two"]
        assert len(stream_documents(tmp_path / name, many=1).read_all()) == 2


def empty(table):
    return pa.RecordBatch.from_arrays([pa.array([], pa.string())], schema=table.schema)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_members_and_cuts(codec, tmp_path):
    def packed(text):
        return gzip.compress(text) if codec == "gzip" else pa.compress(text, "zstd", asbytes=True)

    path = tmp_path / ("a.jsonl.gz" if codec == "gzip" else "a.jsonl.zst")
    one, two = (b'{"text": "%s"}\n' % word for word in (b"one", b"two"))
    path.write_bytes(packed(one) + packed(b"") + packed(two))
    assert texts(path) == ["one", "two"]
    whole = packed(one * 1000)
    for cut in (len(whole) - 1, len(whole) // 2, 5):
        path.write_bytes(packed(one) + whole[:cut])
        with pytest.raises(DataError, match="Truncated"):
            texts(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,b\n" + f"{'x' * 900},1\n" * 200),
        ("a.tsv", "text\tb\n" + f"{'x' * 900}\t1\n" * 200),
        ("a.jsonl", (json.dumps({"text": "x" * 900}) + "\n") * 200),
        ("a.json", json.dumps([{"text": "x" * 900}] * 200)),
        ("b.json", json.dumps([{"text": "x" * 900}] * 200, indent=1)),
    ],
)
def test_tables_are_bounded_in_bytes(name, content, small, tmp_path):
    """What compresses a thousandfold streams through; only what is held is bounded."""
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(content.encode()))
    found = list(tables(path))
    assert sum(map(len, found)) == 200
    assert max(table.nbytes for table in found) < 8000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "ok\n" + "x" * 50_000, "line 2: longer than 20,000 bytes"),
        ("a.jsonl", '{"text": "ok"}\n{"text": "' + "x" * 50_000, "line 2: longer than 20,000 bytes"),
        (
            "a.json",
            '[{"text": "ok"},\n{"text": "' + "x" * 50_000,
            "line 2: begins an item of more than 20,000",
        ),
        ("a.json", '[{"text": [' + "[]," * 20_000, "line 1: begins an item of more than 20,000"),
        ("a.csv", "text\nok\n" + ",x" * 50_000, "line 3: longer than 20,000 bytes"),
        ("a.csv", 'text\nok\n"' + "x\n" * 50_000, "line 3: not valid CSV"),
        ("a.csv", "text\nok\n" + '"\n",' * 50_000, "line 3: not valid CSV"),
    ],
)
def test_long_lines_rows_and_items(name, content, words, small, tmp_path):
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(content.encode()))
    with pytest.raises(DataError) as caught:
        texts(path)
    assert words in str(caught.value)
    if "CSV" not in words:
        assert "set STATIM_LINE_LIMIT to a larger number" in str(caught.value)


def test_a_quote_that_is_never_closed_is_passed_over(small, tmp_path):
    rows = [f"text {number}\n" for number in range(10_000)]
    (tmp_path / "a.csv").write_text("".join(["text\n", "first\n", '"open\n', *rows]))
    with skipping(tmp_path / "bad.jsonl") as bad:
        found = [text for array in read_texts(str(tmp_path / "a.csv"), bad=bad) for text in array.to_pylist()]
    assert found == ["first", *(row.strip() for row in rows)]
    assert json.loads((tmp_path / "bad.jsonl").read_text())["line"] == 3


def test_the_limit_of_lines_is_a_setting(small, monkeypatch, tmp_path):
    (tmp_path / "a.txt").write_text("x" * 50_000)
    monkeypatch.setenv("STATIM_LINE_LIMIT", "60000")
    assert texts(tmp_path / "a.txt") == ["x" * 50_000]
    for wrong in ("0", "-1", "many", "1e9", "²"):
        monkeypatch.setenv("STATIM_LINE_LIMIT", wrong)
        with pytest.raises(InputError, match="STATIM_LINE_LIMIT is"):
            texts(tmp_path / "a.txt")


class Counting:
    """A stream of one long line that counts the bytes which are copied out of it."""

    def __init__(self, size):
        self.left = size

    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return b"x" * size


def test_a_long_line_is_joined_once(monkeypatch):
    monkeypatch.setattr(file_types, "BLOCK", 100)
    joined = []
    block = file_types._block
    monkeypatch.setattr(
        file_types, "_block", lambda line, data: joined.append(len(data)) or block(line, data)
    )
    [only] = file_types.blocks(Counting(100_000), "a")
    assert joined == [100_000]
    assert only.text == "x" * 100_000


def test_a_long_item_is_parsed_a_few_times(monkeypatch, tmp_path):
    monkeypatch.setattr(file_types, "BLOCK", 100)
    tried = []
    decode = json_array._decode
    monkeypatch.setattr(json_array, "_decode", lambda text, at: tried.append(at) or decode(text, at))
    (tmp_path / "a.json").write_text(json.dumps([{"text": "x" * 100_000}]))
    assert texts(tmp_path / "a.json") == ["x" * 100_000]
    assert len(tried) < 20


VALUES = [
    {"text": "☕ \\ \" 😀", "n": -1.5e10, "x": [True, None, {}]}, {"text": "", "n": 12, "x": []},
    {"text": "a\nb", "n": 0, "x": [1]},
]  # fmt: skip


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("block", range(1, 40, 3))
def test_arrays_cut_anywhere(block, indent, ascii_only, monkeypatch, tmp_path):
    monkeypatch.setattr(file_types, "BLOCK", block)
    text = json.dumps(VALUES * 3, indent=indent, ensure_ascii=ascii_only)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with file_types.opened(tmp_path / "a.json", None) as file:
        found = list(json_array.parts(file_types.pieces(file, "a"), tmp_path / "a.json"))
    assert list(itertools.chain.from_iterable(items for _, items in found)) == VALUES * 3


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]]",
        "[1] 2",
        "[tru]",
        '["a]',
        '["\\u12"]',
        "[01]",
        "[1]\x00",
        "{}",
        "",
    ],
)
def test_what_is_no_array(text, block, monkeypatch, tmp_path):
    monkeypatch.setattr(file_types, "BLOCK", block)
    (tmp_path / "a.json").write_text(text)
    with file_types.opened(tmp_path / "a.json", None) as file, pytest.raises(DataError, match="line 1: "):
        list(json_array.parts(file_types.pieces(file, tmp_path / "a.json"), tmp_path / "a.json"))


def test_an_array_that_is_not_utf8(small, tmp_path):
    (tmp_path / "a.json").write_bytes(b'[{"text": "a"},\n{"text": "\xff"}]')
    with pytest.raises(DataError, match=r"a\.json, line 2: not UTF-8"):
        list(json_lines.tables(tmp_path / "a.json", None))


def repeated(rows, size):
    """One text in every row, stored once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["a" * size])


def test_dictionaries_are_unfolded_in_parts(monkeypatch, tmp_path):
    monkeypatch.setattr(file_types, "HELD", 1 << 16)
    monkeypatch.setattr(arrow, "UNFOLDED", 1 << 20)
    table = pa.table({"text": repeated(5000, 10_000), "n": range(5000)})
    parquet.write_table(table, tmp_path / "a.parquet", store_schema=False)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name, most in (("a.parquet", 1 << 20), ("a.arrow", 1 << 17)):
        sizes = [(len(array), array.nbytes) for array in read_texts(str(tmp_path / name))]
        assert sum(rows for rows, _ in sizes) == 5000
        assert max(size for _, size in sizes) <= most + 2000
    numbers = [table.column("n").to_pylist() for table in tables(tmp_path / "a.arrow")]
    assert list(itertools.chain.from_iterable(numbers)) == list(range(5000))


def test_a_dictionary_that_must_be_held_whole(monkeypatch):
    table = pa.table({"text": repeated(1000, 1000)})
    assert len(columns.texts(table, "text", "a")) == 1000
    monkeypatch.setattr(columns, "UNFOLDED", 999_999)
    with pytest.raises(DataError, match="unfolds to 1,000,000 bytes, over the limit of 999,999"):
        columns.texts(table, "text", "a")


def test_missing_texts_of_a_dictionary():
    array = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2]), pa.array(["ab", None, "c"]))
    np.testing.assert_array_equal(columns.unfolded(array), [2, 0, 0, 1])


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_columns_of_arrow_files_are_bounded(name, tmp_path):
    table = pa.table({f"c{number}": ["x"] for number in range(1001)})
    if name == "a.parquet":
        parquet.write_table(table, tmp_path / name)
    else:
        with pa.ipc.new_file(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match="more than 1,000 columns"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "snappy"])
def test_pages_of_parquet_that_unfold_far(codec, monkeypatch, tmp_path):
    monkeypatch.setattr(arrow, "UNFOLDED", 100_000)
    path, column = tmp_path / "a.parquet", pa.array(["x" * 300 + str(i) for i in range(3000)])
    parquet.write_table(pa.table({"text": column}), path, compression=codec, use_dictionary=False)
    assert read_table(path).num_rows == 3000
    monkeypatch.setattr(arrow, "RATIO", 2)
    with pytest.raises(
        DataError, match=r"group of rows that unfolds to 9\d\d,\d\d\d bytes, more than 2 times"
    ):
        read_table(path)
    parquet.write_table(
        pa.table({"text": column}), path, compression=codec, use_dictionary=False, row_group_size=300
    )
    assert read_table(path).num_rows == 3000


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_buffers_of_arrow_that_unfold_far(kind, codec, dictionary, monkeypatch, tmp_path):
    monkeypatch.setattr(arrow, "UNFOLDED", 100_000)
    path = tmp_path / "a.arrow"
    column = pa.array(["x" * 300 + str(i) for i in range(3000)])
    table = pa.table({"text": column.dictionary_encode() if dictionary else column})
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, max_chunksize=2000)
    assert read_table(path).num_rows == 3000
    with path.open("rb") as file:
        told = arrow_bodies.largest(file)
    batch = table.to_batches(max_chunksize=2000)[0]
    size = batch.column(0).dictionary.nbytes if dictionary else batch.nbytes
    assert told == 0 if codec is None else abs(told - size) < 1000
    monkeypatch.setattr(arrow, "RATIO", 2)
    if codec is None:
        assert read_table(path).num_rows == 3000
    else:
        with pytest.raises(
            DataError, match=r"record batch that unfolds to \d\d\d,\d\d\d bytes, more than 2 times"
        ):
            read_table(path)


def test_arrow_files_without_rows(tmp_path):
    schema = pa.schema([("text", pa.string())])
    for new in (pa.ipc.new_file, pa.ipc.new_stream):
        with new(str(tmp_path / "a.arrow"), schema):
            pass
        with (tmp_path / "a.arrow").open("rb") as file:
            assert arrow_bodies.largest(file) == 0


@pytest.mark.parametrize("nested", [lambda row: row, lambda row: [row], lambda row: {"a": {"b": row}}])
def test_names_that_differ_from_row_to_row_become_text(nested, tmp_path):
    """A field each, empty in all other rows, would take memory by the square of their number."""
    lines = [{"text": "t", "about": nested({f"key {i}": i})} for i in range(1001)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_table(path).column("about")
    assert pa.types.is_large_string(found.type)
    assert json.loads(found[1000].as_py()) == nested({"key 1000": 1000})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:900]))
    assert pa.types.is_nested(read_table(path).column("about").type)


def test_names_that_differ_from_block_to_block_become_text(small, tmp_path):
    lines = [{"text": "t" * 50, "about": {f"key {i}": i}} for i in range(1100)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(list(tables(tmp_path / "a.jsonl"))) > 10
    found = read_table(tmp_path / "a.jsonl").column("about")
    assert pa.types.is_large_string(found.type)
    assert [json.loads(text) for text in found.to_pylist()] == [line["about"] for line in lines]


def test_word_vectors_among_blank_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(word_vectors, "CHUNK", 100)
    (tmp_path / "a.vec").write_text("one 1 2\ntwo 3 4\n" + "\n \r\n" * BLANK)
    assert len(word_vectors._read_table(tmp_path / "a.vec")[0]) == 2
    assert max(map(len, word_vectors._chunks(tmp_path / "a.vec"))) == 2
    (tmp_path / "b.vec").write_text("one 1 2\ntwo 3 4\n" + "\n" * BLANK + "three 5 6\n")
    with pytest.raises(ModelError, match="line 3 is not a word and 2 numbers"):
        word_vectors._read_table(tmp_path / "b.vec")
    assert max(map(len, word_vectors._chunks(tmp_path / "b.vec"))) < 100


def test_word_vectors_that_unfold_far(monkeypatch, tmp_path):
    monkeypatch.setattr(word_vectors, "CHUNK", 1000)
    monkeypatch.setattr(word_vectors, "FREE", 10_000)
    text = b"one 1 2\n" + b"\n" * 1_000_000
    (tmp_path / "a.vec.gz").write_bytes(gzip.compress(text))
    with pytest.raises(ModelError, match="unfolds to more than 200 times its size"):
        word_vectors._read_table(tmp_path / "a.vec.gz")
    (tmp_path / "a.vec").write_bytes(text)
    assert len(word_vectors._read_table(tmp_path / "a.vec")[0]) == 1
    monkeypatch.setattr(word_vectors, "LARGEST", 7)
    with pytest.raises(ModelError, match="more word vectors than fit"):
        word_vectors._read_table(tmp_path / "a.vec")
