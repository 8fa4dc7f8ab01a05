import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from statim.data import Pairs, read_pairs
from statim.data.files import columns
from statim.errors import DataError, InputError


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["id", "anchor", "positive", "kind"], ("anchor", "positive")),
        (["Query", "Document"], ("Query", "Document")),
        (["question", "answer", "title"], ("question", "answer")),
        (["_id", "title", "text"], ("title", "text")),
        (["title", "abstract"], ("title", "abstract")),
        (["sentence1", "sentence2"], ("sentence1", "sentence2")),
        (["premise", "hypothesis"], ("premise", "hypothesis")),
        (["title", "text", "query", "positive"], ("query", "positive")),
    ],
)
def test_usual_names(names, taken):
    assert columns.pick_pair(names, None, None, "it") == taken


def test_names_given():
    names = ["title", "body", "wrong"]
    assert columns.pick_pair(names, "wrong", None, "it") == ("wrong", "body")
    assert columns.pick_pair(names, "body", "wrong", "it") == ("body", "wrong")
    with pytest.raises(DataError, match="it has no column 'nope'; its columns are: title, body, wrong"):
        columns.pick_pair(names, "nope", None, "it")
    with pytest.raises(DataError, match="both the column 'title'"):
        columns.pick_pair(names, "title", "title", "it")
    with pytest.raises(DataError, match=r"cannot tell which columns are anchor and positive; .* a, b"):
        columns.pick_pair(["a", "b"], None, None, "it")


def test_judged_pairs_are_not_guessed():
    names = ["sentence1", "sentence2", "label"]
    with pytest.raises(DataError, match="not every row may be a positive pair"):
        columns.pick_pair(names, None, None, "it")
    assert columns.pick_pair(names, "sentence1", "sentence2", "it") == ("sentence1", "sentence2")


def test_negatives():
    rows = [
        {"query": "q1", "pos": "p1", "negative": "n1", "neg_2": "", "negative_3": None, "negation": "x"},
        {"query": "q2", "pos": "p2", "negative": "n2", "neg_2": "m2", "negative_3": None, "negation": "x"},
    ]
    pairs = read_pairs(rows)
    assert [column.to_pylist() for column in pairs.negatives] == [["n1", "n2"], [None, "m2"]]
    assert pairs.report.taken[0].columns["negative"] == "negative, neg_2, negative_3"
    assert [c.to_pylist() for c in read_pairs(rows, negative="negation").negatives] == [["x", "x"]]
    assert len(read_pairs(rows, negative=["negation", "negative"]).negatives) == 2
    with pytest.raises(DataError, match="has no column 'hard'"):
        read_pairs(rows, negative="hard")


def test_lists_of_texts():
    pairs = read_pairs(
        [
            {"query": "a", "pos": ["b", "c"], "neg": ["d"]},
            {"query": "e", "pos": ["f"], "neg": ["g", "h"]},
            {"query": "i", "pos": [], "neg": []},
        ]
    )
    assert pairs.anchors.to_pylist() == ["a", "a", "e"]
    assert pairs.positives.to_pylist() == ["b", "c", "f"]
    assert [column.to_pylist() for column in pairs.negatives] == [["d", "d", "g"], [None, None, "h"]]
    assert (pairs.report.rows, pairs.report.missing) == (4, 1)
    with pytest.raises(DataError, match="a row of 101 texts; at most 100"):
        read_pairs([{"query": "a", "pos": "b", "neg": ["c"] * 101}])


def test_unusable_rows_are_counted():
    pairs = read_pairs(
        [
            ("a", "b"),
            ("a", "b"),
            ("", "b"),
            ("a", " \t\n"),
            (None, "b"),
            ("a", None),
            ("", None),
            ("a", "c"),
            (" a", "b"),
            ("a", "b"),
        ]
    )
    assert pairs.anchors.to_pylist() == ["a", "a", " a"]
    assert pairs.positives.to_pylist() == ["b", "c", "b"]
    report = pairs.report
    assert (report.rows, report.missing, report.empty, report.duplicates) == (10, 3, 2, 2)
    assert str(report) == (
        "the list given: 10 rows (anchor = anchor, positive = positive); dropped 3 missing, 2 empty, 2 "
        "duplicate"
    )


def test_rows_that_differ_in_a_negative_are_two():
    assert (
        len(read_pairs([("a", "b", "c"), ("a", "b", "d"), ("a", "b", "c"), ("a", "b", None), ("a", "b", "")]))
        == 3
    )


def test_too_few():
    with pytest.raises(DataError, match="fewer than 2 usable pairs are left"):
        read_pairs([("a", "b"), ("a", "b")])
    with pytest.raises(DataError, match="fewer than 2 usable pairs"):
        read_pairs([("a", ""), ("", "b"), (None, None)])


def test_what_is_not_text():
    with pytest.raises(DataError, match="'label' holds int64, not text; the columns of text are: text"):
        read_pairs([{"text": "a", "label": 1}, {"text": "b", "label": 0}], anchor="text", positive="label")
    rows = [{"text": f"a{i}", "label": str(i % 2)} for i in range(30)]
    with pytest.raises(DataError, match="nothing but a few numbers"):
        read_pairs(rows, anchor="text", positive="label")
    years = [{"question": f"when was {i}?", "answer": str(1900 + i)} for i in range(30)]
    assert len(read_pairs(years)) == 30


def test_several_sources(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\nq,a\nsame,same\n")
    (tmp_path / "b.jsonl").write_text('{"anchor": "x", "positive": "y", "negative": "z"}\n')
    frame = pd.DataFrame({"title": ["t", "same"], "body": ["b", "same"]})
    pairs = read_pairs([tmp_path / "a.csv", str(tmp_path / "b.jsonl"), frame])
    assert pairs.anchors.to_pylist() == ["q", "same", "x", "t"]
    assert pairs.negatives[0].to_pylist() == [None, None, "z", None]
    assert [taken.columns["anchor"] for taken in pairs.report.taken] == ["question", "anchor", "title"]
    assert str(tmp_path / "a.csv") in str(pairs.report)
    with pytest.raises(DataError, match=r"b\.jsonl has no column 'question'"):
        read_pairs([tmp_path / "a.csv", tmp_path / "b.jsonl"], anchor="question")
    assert read_pairs(pairs) is pairs


def test_select_and_hash():
    pairs = read_pairs([("a", "bc", "n"), ("ab", "c", None), ("é", "☕", "m")])
    some = pairs.select(np.array([2, 0, 2]))
    assert some.anchors.to_pylist() == ["é", "a", "é"]
    assert some.negatives[0].to_pylist() == ["m", "n", "m"]
    assert pairs.select([0, 1, 2]).hash == pairs.hash
    assert len(pairs.select([])) == 0
    same = Pairs(
        pa.array(["x", "a", "ab", "é"])[1:], ["bc", "c", "☕"], (pa.chunked_array([["n"], [None, "m"]]),)
    )
    assert same.hash == pairs.hash
    others = [
        [("a", "b", "cn"), ("ab", "c", None), ("é", "☕", "m")],
        [("a", "bc", "n"), ("ab", "c", ""), ("é", "☕", "m")],
    ]
    plain = read_pairs(others[0])
    assert len({pairs.hash, plain.hash, some.hash, Pairs(pairs.anchors, pairs.positives).hash}) == 4
    assert len(pairs.hash) == len(hashlib.sha256().hexdigest())


def test_pairs_must_fit():
    with pytest.raises(InputError, match="same number of texts"):
        Pairs(pa.array(["a"]), pa.array(["a", "b"]))
    with pytest.raises(InputError, match="only negatives may be"):
        Pairs(pa.array(["a", None]), pa.array(["a", "b"]))
