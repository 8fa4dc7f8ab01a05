"""Several data sets: their names, their columns, and reading them block by block."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statim import spilled_array
from statim.data import Pairs, read_pairs
from statim.data.dedup import seen_rows as seen_module
from statim.data.dedup.seen_rows import SeenRows
from statim.data.files import file_types, tables
from statim.data.pairs import sets
from statim.data.text_column import TextColumn
from statim.errors import DataError, InputError


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.jsonl"], ["a"]),
        (["x/a.jsonl.gz", "y/b.csv"], ["a", "b"]),
        (["x/train.jsonl", "y/train.jsonl"], ["x", "y"]),
        (["x/1/train.csv", "y/1/train.csv"], ["x", "y"]),
        (["x/a.csv", "y/a.csv", "b.csv"], ["x/a", "y/a", "b"]),
        (["a.csv", "x/a.csv"], ["a", "x/a"]),
        (["a.csv", "b.csv", "a.csv"], ["a (1)", "b", "a (2)"]),
        (["python-docs", "a.csv"], ["python-docs", "a"]),
    ],
)
def test_files_are_named_by_what_tells_them_apart(paths, names):
    assert [name for name, _ in sets.named(paths)] == names


def write_set(folder, name, rows, suffix=".jsonl"):
    (folder / name).mkdir(parents=True)
    content = "".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in rows).encode()
    (folder / name / f"train{suffix}").write_bytes(
        gzip.compress(content) if suffix.endswith(".gz") else content
    )


def test_a_folder_of_sets(tmp_path):
    write_set(tmp_path / "sets", "forum", [("a", "b"), ("c", "d")], ".jsonl.gz")
    write_set(tmp_path / "sets", "faq", [("e", "f")])
    (tmp_path / "sets" / "README.md").write_text("what these are")
    (tmp_path / "sets" / ".hidden").mkdir()
    (tmp_path / "other.jsonl").write_text(json.dumps({"anchor": "g", "positive": "h"}) + "\n")
    pairs = read_pairs(tmp_path / "sets")
    assert pairs.names == ("faq", "forum")
    assert pairs.anchors.to_pylist() == ["e", "a", "c"]
    more = read_pairs([str(tmp_path / "other.jsonl"), str(tmp_path / "sets")])
    assert more.names == ("other", "faq", "forum")
    assert more.sets.tolist() == [0, 1, 2, 2]
    assert [name for name, _ in sets.named(tmp_path / "sets")] == ["faq", "forum"]


def test_a_folder_of_one_set_is_called_by_it(tmp_path):
    write_set(tmp_path / "sets", "faq", [("a", "b"), ("c", "d")])
    assert read_pairs(tmp_path / "sets").names == ("faq",)


@pytest.mark.parametrize(
    "names", [["faq/train.jsonl", "docs/a.txt"], ["faq/test.jsonl"], ["train.jsonl"], []]
)
def test_other_folders_are_no_folders_of_sets(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    assert sets.in_folder(tmp_path) == []


def test_mappings_name_sets_but_columns_stay_columns():
    rows = [{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d"}]
    columns = {"anchor": ["a", "c"], "positive": ["b", "d"]}
    for one in (rows, columns, pd.DataFrame(rows), {name: pd.Series(v) for name, v in columns.items()}):
        pairs = read_pairs(one)
        assert (len(pairs.names), pairs.sets.tolist()) == (1, [0, 0])
    pairs = read_pairs(
        {
            "one": rows,
            "two": pd.DataFrame({"title": ["t"], "text": ["b"]}),
            "three": Pairs(["x"], ["y"], (["z"],)),
        }
    )
    assert pairs.names == ("one", "two", "three")
    assert pairs.sets.tolist() == [0, 0, 1, 2]
    assert pairs.anchors.to_pylist() == ["a", "c", "t", "x"]
    assert pairs.negatives[0].to_pylist() == [None, None, None, "z"]
    some = pairs.select([3, 0])
    assert (some.names, some.sets.tolist()) == (pairs.names, [2, 0])
    assert read_pairs([Pairs(["x"], ["y"]), pd.DataFrame(rows)]).sets.tolist() == [0, 1, 1]


def test_the_same_texts_in_other_sets_are_other_data():
    one = Pairs(["a", "b"], ["c", "d"])
    two = Pairs(["a", "b"], ["c", "d"], names=("x", "y"), sets=np.array([0, 1], np.uint16))
    assert one.hash != two.hash
    with pytest.raises(InputError, match="of several sets; say of which"):
        Pairs(["a", "b"], ["c", "d"], names=("x", "y"))


def test_columns_differ_by_set(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\nq,a\n")
    (tmp_path / "b.csv").write_text("left,right\nl,r\n")
    with pytest.raises(
        DataError, match=r"b\.csv: cannot tell which columns are anchor and positive; name them"
    ):
        read_pairs([tmp_path / "a.csv", tmp_path / "b.csv"])
    pairs = read_pairs(
        [tmp_path / "a.csv", tmp_path / "b.csv"], anchor={"b": "left"}, positive={"b": "right"}
    )
    assert pairs.anchors.to_pylist() == ["q", "l"]
    with pytest.raises(
        InputError, match="a column is named for the set 'c', which is not given; the sets are a, b"
    ):
        read_pairs([tmp_path / "a.csv", tmp_path / "b.csv"], anchor={"c": "left"})


def test_an_empty_file_among_several(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\nq,a\nr,b\n")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl is empty"):
        read_pairs([tmp_path / "a.csv", tmp_path / "empty.jsonl"])
    (tmp_path / "head.csv").write_text("question,answer\n")
    with pytest.raises(DataError, match=r"head\.csv has no rows"):
        read_pairs([tmp_path / "a.csv", tmp_path / "head.csv"])


def test_a_repetition_in_another_set_is_dropped():
    pairs = read_pairs({"one": [("a", "b"), ("c", "d")], "two": [("a", "b"), ("e", "f")]})
    assert pairs.sets.tolist() == [0, 0, 1]
    assert pairs.report.duplicates == 1


value = st.one_of(
    st.none(), st.text(max_size=6), st.just("same"), st.just(""), st.integers(-5, 5), st.booleans(),
    st.just('x "negative": y'), st.just("2020-01-01"), st.lists(st.text(max_size=3), max_size=3),
)  # fmt: skip
text = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.just("same")
    | st.just("2020-01-01 10:00")
)
clean_row = st.fixed_dictionaries(
    {"anchor": text, "positive": text}, optional={"negative": text | st.none(), "other": value, "neg_2": text}
)
wild_row = st.dictionaries(st.sampled_from(["anchor", "positive", "negative", "other", "neg"]), value)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(clean_row, min_size=1, max_size=30), wild=st.lists(wild_row, max_size=3),
    block=st.integers(30, 400), few=st.sampled_from([0, 3, 10_000]), memory=st.sampled_from([8, 1 << 20]),
    ascii_only=st.booleans(),
)  # fmt: skip
def test_blocks_read_as_the_rows_in_memory(tmp_path, monkeypatch, rows, wild, block, few, memory, ascii_only):
    """Whatever Arrow's parser reads, and wherever blocks end, the pairs are those of Python's parser and one
    block.
    """
    first = {"anchor": "the first", "positive": "row", "negative": "n", "neg_2": "m", "other": 1}
    lines = [first, {"anchor": "b", "positive": "c"}, *rows]
    place = tmp_path / "pairs.jsonl"
    place.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in lines), "utf-8")
    whole = read_pairs(lines)
    monkeypatch.setattr(file_types, "BLOCK", block)
    monkeypatch.setattr(seen_module, "FEW", few)
    monkeypatch.setattr(spilled_array, "IN_MEMORY", memory)
    found = read_pairs(place, threads=2)
    assert found.hash == whole.hash
    counts = ("rows", "missing", "empty", "duplicates")
    assert [getattr(found.report, name) for name in counts] == [
        getattr(whole.report, name) for name in counts
    ]
    # rows of any kind: those that Arrow refuses are read all the same
    strings = [
        row for row in wild if isinstance(row.get("positive"), str) and isinstance(row.get("anchor"), str)
    ]
    strings = [row for row in strings if not any(isinstance(row.get(n), list) for n in ("negative", "neg"))]
    place.write_text("".join(json.dumps(row) + "\n" for row in [*lines, *strings]))
    negatives = [row["neg"] for row in strings if row.get("neg") is not None]
    if negatives and not any(isinstance(value, str) for value in negatives):
        with pytest.raises(DataError, match="the column 'neg' holds"):
            read_pairs(place)
        return
    found = read_pairs(place)
    wanted = {(row["anchor"], row["positive"]) for row in [*lines, *strings]}
    usable = {pair for pair in wanted if all(part.strip() for part in pair)}
    seen = set(zip(found.anchors.to_pylist(), found.positives.to_pylist(), strict=True))
    assert {pair for pair in usable if pair[0].isascii() and pair[1].isascii()} <= seen


def test_negatives_that_come_late_are_found(tmp_path, monkeypatch):
    rows = [{"anchor": f"a{i}", "positive": f"b{i}"} for i in range(50)]
    rows += [{"anchor": "x", "positive": "y", "negative": "z"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(file_types, "BLOCK", 200)
    assert read_pairs(tmp_path / "a.jsonl").negatives[0].to_pylist() == [None] * 50 + ["z"]


def test_what_is_not_text_is_refused_only_of_a_whole_column(tmp_path, monkeypatch):
    monkeypatch.setattr(file_types, "BLOCK", 300)
    numbers = [{"question": f"what is {i}?", "answer": i} for i in range(40)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in numbers))
    with pytest.raises(DataError, match="'answer' holds int64, not text"):
        read_pairs(path)
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [*numbers, {"question": "who?", "answer": "me"}])
    )
    assert read_pairs(path).positives.to_pylist() == [*map(str, range(40)), "me"]
    path.write_text(
        "".join(json.dumps({"question": f"{i}?", "answer": str(i % 2)}) + "\n" for i in range(60))
    )
    with pytest.raises(DataError, match="nothing but a few numbers"):
        read_pairs(path)


def test_an_error_far_into_a_file_names_its_line(tmp_path, monkeypatch):
    lines = [json.dumps({"anchor": f"a{i}", "positive": f"b{i}"}) for i in range(100)]
    lines[77] = '{"anchor": "broken'
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    monkeypatch.setattr(file_types, "BLOCK", 256)
    for threads in (1, 3):
        with pytest.raises(DataError, match=r"a\.jsonl\.gz, line 78: not valid JSON"):
            read_pairs(tmp_path / "a.jsonl.gz", threads=threads)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=10), max_size=10),
    st.integers(0, 40),
)
def test_a_column_that_grows_is_the_column(blocks, memory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled_array, "IN_MEMORY", memory)
        column = TextColumn()
        column.append_missing(2)
        for block in blocks:
            column.append(pa.array(["cut off", *block], pa.large_string())[1:])
        found = column.finish()
    found.validate(full=True)
    spilled_array.release()  # mapped pages come back from the file
    assert found.to_pylist() == [None, None, *(text for block in blocks for text in block)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abc"), st.sampled_from([None, "a", "b"])),
        max_size=40),
    st.integers(1, 20), st.integers(0, 20),
)  # fmt: skip
def test_rows_are_new_once(rows, block, few):
    seen, found = SeenRows(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_module, "FEW", few)
        for start in range(0, len(rows), block):
            columns = zip(*rows[start : start + block], strict=True)
            found += (seen.new([pa.array(column, pa.large_string()) for column in columns]) + start).tolist()
    assert found == [rows.index(row) for row in dict.fromkeys(rows)]


def test_tables_in_memory_come_in_slices(monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 7)
    rows = [(f"a{i}", f"b{i}") for i in range(30)]
    assert read_pairs(rows).anchors.to_pylist() == [f"a{i}" for i in range(30)]
