import gzip
import json
import subprocess
import sys
from types import ModuleType

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statim.data import read_pairs, read_table
from statim.data.files import rows as rows_module
from statim.errors import DataError

ROWS = [
    {"anchor": "how do I sort?", "positive": 'call "sorted",\nor list.sort', "n": 1},
    {"anchor": "naïve café ☕", "positive": "tab\there, comma", "n": 2},
    {"anchor": "' quote", "positive": "null", "n": 3},
]
TEXTS = [[row["anchor"] for row in ROWS], [row["positive"] for row in ROWS]]


def write(path, kind):
    frame = pd.DataFrame(ROWS)
    table = pa.Table.from_pylist(ROWS)
    if kind in ("jsonl", "ndjson"):
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    elif kind == "json":
        path.write_text(json.dumps(ROWS, indent=2))
    elif kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, path)
    elif kind == "feather":
        pyarrow.feather.write_feather(table, str(path))
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    elif kind == "ipc":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    return path


def texts(table):
    return [table["anchor"].to_pylist(), table["positive"].to_pylist()]


@pytest.mark.parametrize(
    "kind", ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "feather", "arrow", "ipc"]
)
def test_every_kind_of_file_gives_the_same_texts(tmp_path, kind):
    table = read_table(write(tmp_path / f"data.{kind}", kind))
    assert texts(table) == TEXTS
    assert [str(value) for value in table["n"].to_pylist()] == ["1", "2", "3"]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv"])
def test_compressed_text(tmp_path, kind):
    plain = write(tmp_path / f"data.{kind}", kind).read_bytes()
    half = len(plain) // 2
    # gzip files may have several members
    (tmp_path / f"a.{kind}.gz").write_bytes(gzip.compress(plain[:half]) + gzip.compress(plain[half:]))
    (tmp_path / f"b.{kind.upper()}.ZST").write_bytes(pa.compress(plain, codec="zstd", asbytes=True))
    assert texts(read_table(tmp_path / f"a.{kind}.gz")) == TEXTS
    assert texts(read_table(str(tmp_path / f"b.{kind.upper()}.ZST"))) == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("bom.csv", b"\xef\xbb\xbfanchor,positive\r\na,b\r\n\r\nc,d",
            {"anchor": ["a", "c"], "positive": ["b", "d"]}),
        ("bom.jsonl", b'\xef\xbb\xbf{"anchor": "a"}\r\n\r\n{"anchor": "b"}', {"anchor": ["a", "b"]}),
        ("spaces.json", b'\n  [ {"anchor": "a"},\n{"anchor": "b"} ]\n', {"anchor": ["a", "b"]}),
        ("lines.json", b'{"anchor": "a"}\n{"anchor": "b"}\n', {"anchor": ["a", "b"]}),
        ("arrays.jsonl", b'["a", "b"]\n["c", "d", "e", "f"]\n',
         {"anchor": ["a", "c"], "positive": ["b", "d"], "negative": [None, "e"], "negative_2": [None, "f"]}),
        ("array.json", b'[["a", "b"], ["c", "d"]]', {"anchor": ["a", "c"], "positive": ["b", "d"]}),
        ("keys.jsonl", b'{"a": 1}\n{"b": "x"}\n', {"a": [1, None], "b": [None, "x"]}),
        ("mixed.jsonl", b'{"a": "x"}\n{"a": 1}\n{"a": [2, "\xc3\xa9"]}\n{"a": null}\n',
            {"a": ["x", "1", '[2, "é"]', None]}),
        ("dates.jsonl", b'{"a": "2020-01-01"}\n{"a": "2020-01-02"}\n', {"a": ["2020-01-01", "2020-01-02"]}),
        ("half.jsonl", b'{"a": "x\\ud83d"}\n', {"a": ["x\ufffd"]}),
        ("separator.jsonl", '{"a": "x\u2028y\x85z"}\n'.encode(), {"a": ["x\u2028y\x85z"]}),
        ("plain.tsv", b'anchor\tpositive\n"open quote\tb\n"all"\t""in" it\n"a ""b"""\td"\n',
         {"anchor": ['"open quote', "all", 'a "b"'], "positive": ["b", '""in" it', 'd"']}),
        ("quoted.tsv", b'anchor\tpositive\n"a\tb"\tc\n', {"anchor": ["a\tb"], "positive": ["c"]}),
        ("null.csv", b"anchor,positive\nNA,null\n", {"anchor": ["NA"], "positive": ["null"]}),
        ("old.csv", b"anchor,positive\ra,b\r", {"anchor": ["a"], "positive": ["b"]}),
    ],
)  # fmt: skip
def test_awkward_files(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert read_table(tmp_path / name).to_pydict() == expected


def test_columns_of_one_name(tmp_path):
    (tmp_path / "a.csv").write_text("anchor,x,x,positive\na,1,2,b\nc,3,4,d\n")
    table = read_table(tmp_path / "a.csv")
    assert table.column_names == ["anchor", "x", "x", "positive"]
    assert len(read_pairs(tmp_path / "a.csv")) == 2
    with pytest.raises(DataError, match="has 2 columns of the name 'x'"):
        read_pairs(tmp_path / "a.csv", positive="x")


def test_types_that_change_between_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 64)
    lines = [{"a": 1}] * 20 + [{"a": "x"}] * 20 + [{"a": 1.5, "b": "é" * 50}] * 20 + [{"a": None}] * 20
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    table = read_table(tmp_path / "a.jsonl")
    assert table["a"].to_pylist() == ["1"] * 20 + ["x"] * 20 + ["1.5"] * 20 + [None] * 20
    assert table["b"].to_pylist() == [None] * 40 + ["é" * 50] * 20 + [None] * 20


BAD = [
    ("missing.jsonl", None, "cannot be read: no such file"),
    ("empty.jsonl", b"", "is empty"),
    ("blank.jsonl", b"\n \n", "has no rows"),
    ("empty.jsonl.gz", gzip.compress(b""), "has no rows"),
    ("header.csv", b"anchor,positive\n", "has no rows"),
    ("array.json", b"[]", "not an object|has no rows"),
    ("a.docx", b"PK", r"its suffix names no format that statim reads; allowed are \.jsonl"),
    ("noname", b"x", "its suffix names no format"),
    ("a.parquet.gz", gzip.compress(b"PAR1"), "its suffix names no format"),
    ("binary.jsonl", b'{"a": "\x00"}', "is a binary file"),
    ("binary.csv", bytes(range(256)), "is a binary file"),
    ("hidden.jsonl", gzip.compress(b'{"a": 1}'), "compressed with gzip; add .gz"),
    ("latin.jsonl", '{"a": "x"}\n{"a": "é"}\n'.encode("latin-1"), "line 2: not UTF-8"),

    ("bad.jsonl", b'{"a": "x"}\n\n{"a": \n', "line 3: not valid JSON"),
    ("two.jsonl", b'{"a": "x"} {"a": "y"}\n', "line 1: not valid JSON"),
    ("pretty.jsonl", b'{\n"a": "x"\n}\n', "line 1: not valid JSON"),
    ("word.jsonl", b'{"a": "x"}\n"y"\n', 'line 2: holds "y", not an object'),
    ("deep.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1: not valid JSON"),
    ("deep.json", b"[" * 100_000 + b"]" * 100_000, "not valid JSON"),
    ("array.json", b'[{"a": 1},\n{"a": }]', "line 2: not valid JSON"),
    ("array.json", b'[{"a": 1}, 3]', "item 2 of the array: holds 3"),
    ("digits.jsonl", b'{"a": ' + b"9" * 10_000 + b"}\n", "line 1: not valid JSON"),
    ("ragged.csv", b'a,b\n1,"x\ny"\n1,2,3\n', "line 4: has 3 fields where the first line has 2"),
    ("ragged.tsv", b"a\tb\n1\n", "line 2: has 1 field where"),
    ("open.csv", b'a,b\n1,"x\n1,2\n', "is a double quote left open"),
    ("cut.jsonl.gz", gzip.compress(b'{"a": "x"}\n' * 100)[:-20], "cannot be read as"),
    ("not.jsonl.gz", b'{"a": "x"}\n', "cannot be read as"),
    ("not.csv.zst", b"a,b\nc,d\n", "cannot be read as"),
    ("not.parquet", b"a,b\nc,d\n", "cannot be read as a Parquet file"),
    ("not.arrow", b"a,b\nc,d\n", "cannot be read as an Arrow file"),
    ("not.feather", b"ARROW1\0\0 and then nothing", "cannot be read as an Arrow file"),
    ("text.txt", b"a\nb\n", "plain text without columns"),
    ("wide.jsonl", json.dumps({f"c{i}": 1 for i in range(2_000)}).encode(), "more than 1,000 columns"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"), BAD, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(BAD)]
)
def test_bad_files_get_one_sentence(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path / name))
    assert "\n" not in sentence
    assert len(sentence) < 400 + len(str(tmp_path))


def test_a_folder_and_a_long_line(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is a folder where a file is meant"):
        read_table(tmp_path)
    monkeypatch.setattr("statim.data.files.file_types.LINE_LIMIT", 1000)
    (tmp_path / "a.jsonl").write_text('{"a": "x"}\n' + "[" * 10_000)
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 500)
    with pytest.raises(DataError, match="line 2: longer than 1,000 bytes"):
        read_table(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "kind", ["jsonl", "json", "csv", "tsv", "parquet", "arrow", "ipc", "feather", "jsonl.gz", "csv.zst"]
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_never_do_worse_than_our_error(tmp_path, kind, data):
    whole = tmp_path / f"whole.{kind.split('.')[0]}"
    content = bytearray(write(whole, kind.split(".")[0]).read_bytes())
    if kind.endswith("gz"):
        content = bytearray(gzip.compress(bytes(content)))
    elif kind.endswith("zst"):
        content = bytearray(pa.compress(bytes(content), codec="zstd", asbytes=True))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = value
    damaged = tmp_path / f"damaged.{kind}"
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_table(damaged)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_tables_in_memory():
    columns = {"anchor": TEXTS[0], "positive": TEXTS[1]}
    for table in (
        pd.DataFrame(columns),
        pd.DataFrame(columns, index=[5, 6, 7], dtype=object),
        pd.DataFrame(columns).astype("category"),
        pl.DataFrame(columns),
        pa.table(columns),
        pa.table(columns).to_batches()[0],
        pa.table({k: pa.array(v).dictionary_encode() for k, v in columns.items()}),
        columns,
        [dict(zip(columns, row, strict=True)) for row in zip(*TEXTS, strict=True)],
        list(zip(*TEXTS, strict=True)),
        zip(*TEXTS, strict=True),
    ):
        pairs = read_pairs(table)
        assert pairs.anchors.to_pylist() == TEXTS[0]
        assert pairs.positives.to_pylist() == TEXTS[1]


def test_bad_tables_in_memory():
    with pytest.raises(DataError, match="rows must be dicts or tuples"):
        read_table([("a", "b"), 3])
    with pytest.raises(DataError, match="is not a table"):
        read_table(3)
    with pytest.raises(DataError, match="different lengths"):
        read_table({"a": ["x"], "b": []})
    with pytest.raises(DataError, match="has no rows"):
        read_table(pd.DataFrame({"a": []}))
    with pytest.raises(DataError, match="no data is given"):
        read_pairs([])
    mixed = read_table(pd.DataFrame({"a": ["x", 3, None, float("nan")]}))
    assert mixed["a"].to_pylist() == ["x", "3", None, None]


def test_the_library_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_list(ROWS)
    some = whole.select([2, 0])
    assert read_table(whole)["n"].to_pylist() == [1, 2, 3]
    assert read_table(some)["n"].to_pylist() == [3, 1]
    assert len(read_pairs([whole, some])) == 3
    some.save_to_disk(tmp_path / "one")
    assert read_table(tmp_path / "one")["n"].to_pylist() == [3, 1]
    parts = datasets.DatasetDict(test=whole, train=some)
    parts.save_to_disk(tmp_path / "parts")
    assert read_table(tmp_path / "parts")["n"].to_pylist() == [3, 1]
    assert read_table(parts)["n"].to_pylist() == [3, 1]
    datasets.DatasetDict(a=whole, b=some).save_to_disk(tmp_path / "unclear")
    with pytest.raises(DataError, match="has the splits a, b; name the one"):
        read_table(tmp_path / "unclear")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(DataError, match="names no file"):
        read_table(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text("[]")
    with pytest.raises(DataError, match="is not what the library datasets writes"):
        read_table(tmp_path / "one")


def test_reading_loads_neither_numba_nor_torch(tmp_path):
    write(tmp_path / "a.jsonl", "jsonl")
    code = (
        "import sys, statim.data as d; d.read_pairs(sys.argv[1]); print([m for m in ('numba', 'torch', "
        "'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jsonl")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
        max_size=8,
    )
)
def test_any_values_make_a_column(values):
    assert len(rows_module.column(values)) == len(values)


@pytest.mark.parametrize("library", ["datasets", "pandas"])
def test_a_library_that_another_thread_is_importing(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, ModuleType(library))  # it has no classes yet
    assert read_table([{"id": "a", "text": "b"}]).to_pylist() == [{"id": "a", "text": "b"}]
