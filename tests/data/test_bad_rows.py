"""Rows that cannot be used: named by file and line, or written aside while all others are read."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from statim.data.documents.texts import read_texts, stream_documents
from statim.data.files import file_types, tables
from statim.data.files.bad_rows import BadRows, skipping
from statim.errors import DataError

GOOD = ["one", "two ☕", "", "four"]


def placed(path, bad):
    """The places of the bad rows that were told of (of those of one block, not in their order)."""
    found = [json.loads(line) for line in bad.getvalue().splitlines()]
    assert all(list(row) == ["file", "line", "row", "reason", "text"] for row in found)
    assert {row["file"] for row in found} <= {str(path)}
    return sorted(((row["line"], row["row"]) for row in found), key=str)


def foreign(values):
    """A column of texts of which some are bytes that are not UTF-8."""
    return pa.array([value.encode() if isinstance(value, str) else value for value in values]).view(
        pa.string()
    )


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(content, path)
    else:
        pyarrow.feather.write_feather(content, str(path), compression="uncompressed")
    return path


# name -> content, the lines (or rows, of files without) that are bad, the raw row of the first bad one
FILES = {
    "zero.txt": ("one\ntwo ☕\n\na\0b\nfour\n".encode(), [4], "a\0b"),
    "bytes.txt.gz": ("one\r\ntwo ☕\r\n".encode() + b"\xff x\r\n\r\nfour", [3], "\\xff x"),
    "last.txt": ("one\ntwo ☕\n\nfour\n".encode() + b"\xff", [5], "\\xff"),
    "mark.txt": ("\ufeff\0\none\ntwo ☕\n\nfour\n".encode(), [1], "\0"),
    "zero.jsonl": ('{"text": "one"}\n\n{"text": "a\0b"}\n{"text": "two ☕"}\n{"text": ""}\n{"text": "four"}'.encode(),  # noqa: E501
                   [3], '{"text": "a\0b"}'),
    "all.jsonl": ('{"text": "one"}\r\n{"text": "two ☕"}\r\n'.encode() + b'{"text": "\xe9"}\r\n{"text": \r\n{"text": '  # noqa: E501
b'null}\r\n{"n": 1}\r\n'
                  b'{"text": 7}\r\n"text"\r\n{"text": ""}\r\n{"text": "four"} {}\r\n{"text": "four"}\r\n',
                  [3, 4, 5, 6, 7, 8, 10], '{"text": "\\xe9"}'),
    "array.json": ('[{"text": "one"}, 5, {"text": "two ☕"}, {"text": ""}, {"n": 1}, {"text": "four"}]'.encode(), [2, 5], "5"),  # noqa: E501
    "zero.csv": ("n,text\n1,one\n2,a\0b\n3,two ☕\n4,\n5,four\n".encode(), [3], "2,a\0b"),
    "quoted.csv": ('\ufeffn,text\r\n1,one\r\n2,"two\r\nlines",3\r\n\r\n3,two ☕\r\n4,\r\n5,four\r\n'.encode(),
        [3], '2,"two\r\nlines",3'),
    "bytes.csv": (b'n,text\n1,one\n2,"two\n' + b'\xff lines"\n' + "3,two ☕\n4,\n5,four\n".encode(), [4],
        '2,"two\n\\xff lines"'),
    "lone.csv": ('n,text\n"1\r",one\n2,"two\r\r"x\n3,two ☕\n4,\n5,four\n'.encode(), [3], '2,"two\r\r"x'),
    "open.csv": ('n,text\n1,one\n2,"open\n3,two ☕\n4,\n5,four\n'.encode(), [3], '2,"open'),
    "after.csv": ('n,text\n1,one\n2,"a"b\n3,two ☕\n4,\n5\n5,four\n'.encode(), [3, 6], '2,"a"b'),
    "plain.tsv": ("n\ttext\n1\tone\n2\n3\ttwo ☕\n4\t\n5\tfour\n".encode(), [3], "2"),
    "table.parquet": (pa.table({"text": ["one", None, *GOOD[1:], None], "n": range(6)}), [2, 6],
        '{"text": null, "n": 1}'),
    "foreign.parquet": (pa.table({"text": ["one", None, "x", "two ☕", "", None, "y", "four"],
                                  "other": foreign(["a", "a", b"\xff", "a", "a", "a", b"\xff", "a"])}),
                        [2, 3, 6, 7], '{"text": null, "other": "a"}'),
    "foreign.feather": (pa.table({"text": foreign(["one", b"\xe9", *GOOD[1:]])}), [2], None),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("block", [16, 1 << 20])
def test_bad_rows_are_passed_over_and_named(tmp_path, monkeypatch, name, block):
    content, bad, row = FILES[name]
    path = write(tmp_path / name, content)
    if b"\0" not in path.read_bytes()[:32]:  # of that few bytes a zero is the sign of a binary file
        monkeypatch.setattr(file_types, "BLOCK", block)
    numbered = name.endswith((".json", ".parquet", ".feather"))
    aside = io.BytesIO()
    report = BadRows(aside)
    found = [text for array in read_texts(path, "text", report) for text in array.to_pylist()]
    assert found == GOOD
    assert placed(path, aside) == sorted(
        ((None, number) if numbered else (number, None) for number in bad), key=str
    )
    assert json.loads(aside.getvalue().splitlines()[0])["text"] == row
    assert report.count == report.told == len(bad)
    with pytest.raises(DataError) as caught:
        list(read_texts(path, "text"))
    unit = {".json": "item", ".parquet": "row", ".feather": "row"}.get(path.suffix, "line")
    assert str(caught.value).startswith(f"{path}, {unit} {bad[0]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_documents_and_tables_pass_over_the_same_rows(tmp_path, name):
    path = write(tmp_path / name, FILES[name][0])
    aside = io.BytesIO()
    documents = stream_documents(
        path, many=100, text="text" if "txt" not in name else None, bad=BadRows(aside)
    )
    kept = [
        text for text in documents["text"].to_pylist() if text not in ("", "7")
    ]  # missing ones are empty there
    assert kept == [text for text in GOOD if text]
    rows = sum(map(len, tables.tables(path, BadRows(io.BytesIO())))) if "txt" not in name else len(documents)
    assert rows == len(documents)


def test_a_row_that_is_read_twice_is_told_once(tmp_path):
    path = write(tmp_path / "a.txt", b"a\nb\n\xff\n")
    aside = io.BytesIO()
    bad = BadRows(aside)
    for _ in range(2):
        assert [array.to_pylist() for array in read_texts(path, bad=bad)] == [["a", "b"]]
    assert (len(placed(path, aside)), bad.count, bad.told) == (1, 1, 2)


def test_documents_without_an_id_are_bad_rows(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"id": "a", "text": "x"}\n{"text": "y"}\n{"id": "c", "text": "z"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: the column 'id' has no id there"):
        stream_documents(path, many=100)
    aside = io.BytesIO()
    documents = stream_documents(path, many=100, bad=BadRows(aside))
    assert documents["id"].to_pylist() == ["a", "c"]
    assert placed(path, aside) == [(None, 2)]


def test_what_is_no_row_is_refused_all_the_same(tmp_path):
    bad = BadRows(io.BytesIO())
    for name, content, words in (
        ("header.csv", b'n,"te"xt\na,b\n', "line 1: not valid CSV"),
        ("header.csv", b"n,t\xff\na,b\n", "line 1: not UTF-8"),
        ("array.json", b'[{"text": "a"},\n{"text": "\xff"}]', "line 2: not UTF-8"),
        ("array.json", b'[{"text": "a"},\n{"text": }]', "line 2: not valid JSON"),
        ("all.jsonl", b"a\nb\nc\n", "has no rows but 3 that cannot be used"),
        ("zeros.txt", b"a\0b\0\nb\0\n", "is a binary file, not text"),
    ):
        path = write(tmp_path / name, content)
        with pytest.raises(DataError, match=words):
            list(read_texts(path, bad=bad))
    path = write(tmp_path / "ids.jsonl", b'{"id": null, "text": "a"}\n')
    with pytest.raises(DataError, match="has no rows but 1 that"):
        stream_documents(path, many=100, id="id", bad=bad)


def test_the_standard_input_and_tables_in_memory(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\xff\ntwo\n")))
    aside = io.BytesIO()
    found = [
        *read_texts("-", bad=BadRows(aside)),
        *read_texts(pa.table({"text": ["x", None, "y"]}), bad=BadRows(aside)),
    ]
    assert [array.to_pylist() for array in found] == [["one", "two"], ["x", "y"]]
    rows = [json.loads(line) for line in aside.getvalue().splitlines()]
    assert [(row["file"], row["line"], row["row"]) for row in rows] == [
        ("standard input", 2, None),
        ("the Table given", None, 2),
    ]


def test_the_file_of_bad_rows_appears_whole(tmp_path):
    path, aside = write(tmp_path / "a.txt", b"a\n\xff\nb\n"), tmp_path / "bad.jsonl"
    with pytest.raises(ZeroDivisionError), skipping(aside) as bad:
        list(read_texts(path, bad=bad))
        raise ZeroDivisionError
    assert not aside.exists()
    with skipping(aside) as bad:
        list(read_texts(path, bad=bad))
    assert [json.loads(line)["line"] for line in aside.read_text().splitlines()] == [2]
    assert sorted(tmp_path.iterdir()) == [path, aside]


LINES = [
    ("a.csv", b'\xef\xbb\xbfa,b\r\n1,"x\r\n\r\ny"\r\n\r\n1,2,3\r\n', 6),
    ("a.csv", b'a,b\n1,"x\ny"\n1,2,"3\n4"\n', 4),  # where the row begins
    ("a.csv", b'a,b\n1,"x\ry"\n1,2,3\n', 3),
    ("a.csv", b'a,b\n1,2\n3,"open\n5,6\n7,8\n', 3),
    ("a.csv", b"a,b\r1,2\r1,2,3\r", 3),
    ("a.tsv", b'a\tb\n1\t"x\n\ty"\n1\t2\t3\n', 4),
    ("a.csv", b"a,b\n" + b'"1\n1",2\n' * 1000 + b"1,2,3\n", 2002),
]


@pytest.mark.parametrize(("name", "content", "line"), LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("block", [8, 1 << 20])
def test_lines_are_counted_right(tmp_path, monkeypatch, name, content, line, block):
    monkeypatch.setattr(file_types, "BLOCK", block)
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=rf"{name}, line {line}: "):
        list(tables.tables(path))
