import gzip
import io
import json
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statim.data import read_documents, read_labelled, read_sts, read_texts
from statim.data.documents.texts import in_blocks
from statim.data.files.file_types import Block
from statim.data.labelled.labelled import read_judged_pairs
from statim.errors import DataError


def texts(source, column=None):
    return [text for array in read_texts(source, column) for text in array.to_pylist()]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_texts_of_every_kind(tmp_path):
    expected = ["one", "", "two ☕"]
    (tmp_path / "a.txt").write_bytes("one\r\n\r\ntwo ☕".encode())
    lines(tmp_path / "a.jsonl", [{"text": "one", "n": 1}, {"text": ""}, {"text": "two ☕"}])
    (tmp_path / "a.csv").write_text("n,text\n1,one\n2,\n3,two ☕\n")
    (tmp_path / "a.tsv").write_text("n\tname\n1\tone\n2\t\n3\ttwo ☕\n")
    pyarrow.parquet.write_table(pa.table({"sentence": expected}), tmp_path / "a.parquet")
    for name in ("a.txt", "a.jsonl", "a.csv", "a.parquet"):
        assert texts(tmp_path / name) == expected
    assert texts(tmp_path / "a.tsv", "name") == expected
    assert texts([tmp_path / "a.txt", str(tmp_path / "a.csv")]) == expected * 2
    assert texts(pd.DataFrame({"anything": expected, "n": 1})) == expected


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\ntwo\n")))
    assert texts("-") == ["one", "", "two"]


def test_texts_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    whole = [f"text {i}" for i in range(1000)]
    (tmp_path / "a.txt").write_text("\n".join(whole) + "\n")
    arrays = list(read_texts(tmp_path / "a.txt"))
    assert len(arrays) > 5
    assert pa.chunked_array(arrays).to_pylist() == whole
    assert all(array.type == pa.large_string() for array in arrays)


def outcome(path):
    try:
        return texts(path, "text")
    except DataError as error:
        return str(error)


ROWS = [
    '{"text": "a"}', '{"text": "☕\\u2615\\ud83d\\ude00\\n\\u0000"}', ('{"n": 1, "text": "2020-01-01", '
'"x": [{"text": 5}]}'), '{"text": ""}',
    '{"te\\u0078t": "a"}',
]  # fmt: skip
ODD = [
    "", " ", '{"text": "a"}{"text": "b"}', '{"text": "a"} {"text": "b"}', '{"text":', '"b"}',
    '{"text": "a",}', '{"text": null}',
    '{"text": 5}', '{"text": ["a"]}', '{"text": {}}', '{"x": [{}', '{}]}', '{"text": "a", "text": "b"}',
    '{"text": "\\ud800"}',
    '{"text": "\\udc00"}', '{"text": "a", "n": NaN}', '{"text": "a", "n": 01}', '["a", "b"]', '"a"', " {} ",
    '{"text": "a"} // b',
    '{"text": "a\\x"}', '{"text": "a\tb"}', '{"x": "a"}', '{"text": "a"}\r',
]  # fmt: skip


@given(st.lists(st.sampled_from(ROWS * 3 + ODD), max_size=6), st.sampled_from(["", "\n", "\r\n", "\n\n"]))
def test_arrow_reads_what_python_reads(tmp_path_factory, rows, end):
    """All but the first line by either parser: the same texts, or the same error."""
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    path.write_bytes(("\n".join(rows) + end).encode() or b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("statim.data.files.json_lines._is_array", lambda text: False)
        picked = '{"text": "first"}\n'
        patch.setattr("statim.data.files.file_types.BLOCK", len(picked))
        whole = path.read_bytes()
        parts = [Block(1, picked, {}), Block(2, whole.decode(), {})]
        patch.setattr("statim.data.files.file_types.blocks", lambda file, name: iter(parts))
        fast = outcome(path)
        patch.setattr("statim.data.files.json_lines._arrow_texts", lambda text, name: None)
        assert fast == outcome(path)


def test_arrow_reads_most_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("statim.data.files.file_types.BLOCK", 1000)
    rows = [{"n": i, "text": f"text {i} ☕"} for i in range(1000)]
    lines(tmp_path / "a.jsonl", rows)
    parsed = []
    monkeypatch.setattr(
        "statim.data.files.json_lines._row", lambda line, *_: parsed.append(line) or json.loads(line)
    )
    assert texts(tmp_path / "a.jsonl") == [row["text"] for row in rows]
    assert 0 < len(parsed) < 50


def test_gzip_of_several_members(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert texts(tmp_path / "a.txt.gz") == ["one", "two"]


@given(st.lists(st.lists(st.text(max_size=5), max_size=9), max_size=9), st.integers(1, 7), st.integers(0, 8))
def test_blocks(parts, rows, skipped):
    arrays = [pa.array(part, pa.large_string()) for part in parts]
    whole = [text for part in parts for text in part]
    blocks = [block.to_pylist() for block in in_blocks(arrays, rows)]
    assert blocks == [whole[i : i + rows] for i in range(0, len(whole), rows)]
    skip = sum(map(len, blocks[:skipped]))
    assert [block.to_pylist() for block in in_blocks(arrays, rows, skip)] == blocks[skipped:]
    with pytest.raises(DataError, match="the sources changed"):
        list(in_blocks(arrays, rows, len(whole) + 1))


def test_blocks_of_long_texts_are_short(monkeypatch):
    monkeypatch.setattr("statim.data.documents.texts.TEXT_BYTES", 1000)
    array = pa.array(["x" * 300] * 20, pa.large_string())
    blocks = list(in_blocks([array], 100))
    assert max(map(len, blocks)) <= 6  # under twice TEXT_BYTES
    assert pa.chunked_array(blocks).to_pylist() == array.to_pylist()


def test_bad_texts(tmp_path):
    lines(tmp_path / "a.jsonl", [{"a": "x", "b": "y", "n": 1}])
    with pytest.raises(DataError, match=r"cannot tell which column is the text; .* a, b, n"):
        texts(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="has no column 'c'"):
        texts(tmp_path / "a.jsonl", "c")
    with pytest.raises(DataError, match="'n' holds int64, not text"):
        texts(tmp_path / "a.jsonl", "n")
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        texts(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"ok\n\xff\xff")
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        texts(tmp_path / "a.txt")
    with pytest.raises(DataError, match="not UTF-8 text"):
        texts(tmp_path)
    (tmp_path / "a.csv").write_text("text\n")
    with pytest.raises(DataError, match="has no rows"):
        texts(tmp_path / "a.csv")


def test_documents(tmp_path):
    path = lines(
        tmp_path / "a.jsonl",
        [
            {"_id": 5, "title": "T", "text": "one", "year": 1999},
            {"_id": 6, "title": None, "text": "two", "year": None},
        ],
    )
    table = read_documents(path)
    assert table.to_pydict() == {
        "id": ["5", "6"],
        "text": ["T one", "two"],
        "title": ["T", None],
        "year": [1999, None],
    }
    table = read_documents(path, text="title")
    assert table["text"].to_pylist() == ["T", ""]
    assert table.column_names == ["id", "text", "text_", "year"]
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert read_documents(tmp_path / "a.txt").to_pydict() == {"id": ["0", "1"], "text": ["one", "two"]}
    frame = pd.DataFrame({"body": ["x", None], "kind": ["k", "l"]})
    assert read_documents(frame).to_pydict() == {"id": ["0", "1"], "text": ["x", ""], "kind": ["k", "l"]}
    both = read_documents([frame, tmp_path / "a.txt"])
    assert both.to_pydict() == {
        "id": ["0", "1", "2", "3"],
        "text": ["x", "", "one", "two"],
        "kind": ["k", "l", None, None],
    }


def test_bad_documents(tmp_path):
    with pytest.raises(DataError, match="row 3: the id 'a' stands in row 1 already"):
        read_documents([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}, {"id": "a", "text": "z"}])
    with pytest.raises(DataError, match="row 2: the column 'id' has no id"):
        read_documents([{"id": "a", "text": "x"}, {"text": "y"}])
    with pytest.raises(DataError, match="has no text in any row"):
        read_documents([{"id": "a", "text": " "}])
    with pytest.raises(DataError, match="has no column 'key'"):
        read_documents([{"id": "a", "text": "x"}], id="key")
    with pytest.raises(DataError, match="some of the sources have ids"):
        read_documents([pd.DataFrame({"id": ["a"], "text": ["x"]}), pd.DataFrame({"text": ["x"]})])
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    with pytest.raises(DataError, match="the sources together, row 2: the id '1' stands"):
        read_documents([tmp_path / "a.csv", tmp_path / "a.csv"])


def test_sts(tmp_path):
    (tmp_path / "a.csv").write_text("sentence1,sentence2,score\na,b,2.5\nc,d,0\n")
    found = read_sts(tmp_path / "a.csv")
    assert (found.text1.to_pylist(), found.text2.to_pylist(), found.scores.tolist()) == (
        ["a", "c"],
        ["b", "d"],
        [2.5, 0.0],
    )
    with pytest.raises(DataError, match="row 1: 'score' is True"):
        read_sts([{"text1": "a", "text2": "b", "score": True}])
    assert len(read_sts([{"text1": "a", "text2": "b", "x": 3}], score="x")) == 1


@pytest.mark.parametrize("score", ["high", "nan", "", None, float("inf"), [1]])
def test_scores_that_are_none(score):
    rows = [{"text1": "a", "text2": "b", "score": 1.0}, {"text1": "a", "text2": "b", "score": score}]
    with pytest.raises(DataError, match=r"row 2: 'score' is .*; it must be a finite number"):
        read_sts(rows)


def test_judged_pairs():
    rows = [{"text1": "a", "text2": "b", "label": value} for value in (1, 0)]
    assert read_judged_pairs(rows).labels.tolist() == [True, False]
    named = [{"x": "a", "y": "b", "z": value} for value in ("Yes", "no", "TRUE", "0")]
    assert read_judged_pairs(named, text1="x", text2="y", label="z").labels.tolist() == [
        True,
        False,
        True,
        False,
    ]
    with pytest.raises(DataError, match="row 2: 'label' is 2; it must be 0 or 1"):
        read_judged_pairs([rows[0], {"text1": "a", "text2": "b", "label": 2}])
    with pytest.raises(DataError, match="is missing; it must be 0 or 1"):
        read_judged_pairs([rows[0], {"text1": "a", "text2": "b"}])
    with pytest.raises(DataError, match="both 0 and 1 must occur"):
        read_judged_pairs([rows[0]])
    with pytest.raises(DataError, match="row 1: 'text2' is missing"):
        read_judged_pairs([{"text1": "a", "text2": None, "label": 1}])
    with pytest.raises(DataError, match="both the column 'text1'"):
        read_judged_pairs(rows, text2="text1")
    with pytest.raises(DataError, match=r"cannot tell which column is the first text"):
        read_judged_pairs([{"a": "x"}])


def test_labelled_texts():
    found = read_labelled([{"text": "a", "label": 3}, {"text": "b", "label": 4}])
    assert (found.texts.to_pylist(), found.labels.to_pylist(), len(found)) == (["a", "b"], ["3", "4"], 2)
    assert read_labelled([{"text": "a", "intent": "x"}]).labels.to_pylist() == ["x"]
    assert read_labelled(pd.DataFrame({"text": ["a"], "label": [True]})).labels.to_pylist() == ["true"]
    with pytest.raises(DataError, match="row 2: 'label' is missing"):
        read_labelled([{"text": "a", "label": "x"}, {"text": "a"}])
    with pytest.raises(DataError, match="'text' holds int64, not text"):
        read_labelled([{"text": 1, "label": "x"}])
