"""Scored pairs and labelled texts to train on: what is taken, what is left out, how kinds are told apart, and
how they split.
"""

import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from statim.data import LabelledTexts, Pairs, ScoredPairs, near_duplicates, split
from statim.data.detect_task import read_supervision
from statim.data.labelled.graded import read_classes, read_scored
from statim.errors import DataError, InputError


def test_scored_pairs_are_counted(tmp_path):
    rows = [
        {"text1": "a", "text2": "b", "score": 1},
        {"text1": "a", "text2": "b", "score": 1.0},  # again
        {"text1": "a", "text2": "b", "score": 2.5},  # another score is another row
        {"text1": " ", "text2": "b", "score": 1},
        {"text1": "c", "text2": None, "score": 1},
        {"text1": "c", "text2": "d", "score": None},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_scored(path)
    assert found.text1.to_pylist() == ["a", "a"]
    assert found.scores.tolist() == [1, 2.5]
    assert str(found.report) == (
        f"{path}: 6 rows (first text = text1, second text = text2, score = score); dropped 2 missing, "
        "1 empty, 1 duplicate"
    )
    both = read_scored([path, pa.table({"sentence1": ["x"], "sentence2": ["y"], "similarity": [0]})])
    assert both.scores.tolist() == [1, 2.5, 0]
    assert both.select([2, 0]).text2.to_pylist() == ["y", "b"]
    assert both.hash != found.hash
    assert both.select([0, 1]).hash == found.hash


@pytest.mark.parametrize("kind", ["csv", "pandas", "datasets"])
def test_scores_of_every_type(kind, tmp_path):
    columns = {"sentence1": ["a", "b", "c"], "sentence2": ["x", "y", "z"], "label": [0.5, 1.0, 0.0]}
    source = {
        "csv": lambda: tmp_path / "a.csv",
        "pandas": lambda: pd.DataFrame(columns),
        "datasets": lambda: datasets.Dataset.from_dict(columns),
    }[kind]()
    if kind == "csv":
        pd.DataFrame(columns).to_csv(source, index=False)
    assert read_scored(source).scores.tolist() == [0.5, 1, 0]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"text1": "a", "text2": "b", "score": "high"}, {"text1": "a", "text2": "c", "score": "1"}],
            "row 1: 'score' is 'high'"),
        ([{"text1": "a", "text2": "b", "score": 1}, {"text1": "a", "text2": "c", "score": float("inf")}],
            "row 2: 'score' is inf"),
        ([{"text1": "a", "text2": "b", "score": True}, {"text1": "a", "text2": "c", "score": False}],
            "'score' is True"),
        ([{"text1": "a", "text2": "b", "score": 1}, {"text1": "a", "text2": "c", "score": 1}],
            "fewer than 2 different scores"),
        ([{"text1": "a", "text2": "b"}], "which column is the score"),
        ([{"text1": "a", "score": 1}], "which column is the second text"),
    ],
)  # fmt: skip
def test_scores_that_are_of_no_use(rows, match):
    with pytest.raises(DataError, match=match):
        read_scored(rows)


def test_classes_are_counted():
    rows = [("a", 1), ("b", 2), ("a", 1), ("c", 1), ("c", 2), ("", 3), ("d", None), ("e", 3)]
    found = read_classes([{"text": text, "label": label} for text, label in rows])
    assert found.texts.to_pylist() == ["a", "b", "e"]
    assert found.labels.to_pylist() == ["1", "2", "3"]
    assert str(found.report).endswith("dropped 1 missing, 1 empty, 1 duplicate, 2 conflicting")
    assert (
        found.select([1]).hash
        == LabelledTexts(pa.array(["b"], pa.large_string()), pa.array(["2"], pa.large_string())).hash
    )
    with pytest.raises(DataError, match="fewer than 2 labels"):
        read_classes([{"text": "a", "label": 1}, {"text": "b", "label": 1}])
    with pytest.raises(DataError, match="both the column 'text'"):
        read_classes([{"text": "a", "label": 1}], label="text")


SCORED = {"text1": ["a", "b"], "text2": ["c", "d"], "score": [0.1, 1.0]}
LABELLED = {"text": ["a", "b"], "label": ["x", "y"]}
PLAIN = {"question": ["a", "b"], "answer": ["c", "d"]}


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (SCORED, ScoredPairs),
        (SCORED | {"label": ["NEUTRAL", "ENTAILMENT"]}, ScoredPairs),
        ({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "similarity": [1, 2]}, ScoredPairs),
        (LABELLED, LabelledTexts),
        ({"sentence": ["a", "b"], "intent": ["x", "y"]}, LabelledTexts),
        (PLAIN, Pairs),
        (PLAIN | {"label": ["x", "y"]}, Pairs),
        ({"anchor": ["a", "b"], "positive": ["c", "d"], "negative": ["e", "f"]}, Pairs),
        ({"title": ["a", "b"], "text": ["c", "d"], "category": ["x", "y"]}, Pairs),
    ],
)
def test_kinds_are_told_from_columns(columns, kind, tmp_path):
    rows = pd.DataFrame(columns).to_dict("records")
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = (
        path,
        [path, path],
        rows,
        columns,
        pa.table(columns),
        pd.DataFrame(columns),
        datasets.Dataset.from_dict(columns),
        {"train": datasets.Dataset.from_dict(columns)},
    )
    for source in sources:
        assert type(read_supervision(source)) is kind
    given = read_supervision(path)
    assert read_supervision(given) is given


def test_what_is_no_supervision():
    with pytest.raises(DataError, match="so not every row may be a positive pair"):
        read_supervision({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]})
    with pytest.raises(DataError, match=r"holds scored pairs, but .* holds labelled texts"):
        read_supervision([pa.table(SCORED), pa.table(LABELLED)])
    with pytest.raises(DataError, match="which columns are anchor and positive"):
        read_supervision({"x": ["a", "b"], "y": ["c", "d"]})
    with pytest.raises(DataError, match="scored pairs are given where pairs are wanted"):
        read_supervision(read_scored(SCORED), kind="pairs")


def test_named_columns_decide():
    columns = {"left": ["a", "b"], "right": ["c", "d"], "grade": [1, 2], "topic": ["x", "y"]}
    scored = read_supervision(columns, anchor="left", positive="right", score="grade")
    assert isinstance(scored, ScoredPairs)
    labelled = read_supervision(columns, anchor="left", label="topic")
    assert isinstance(labelled, LabelledTexts)
    assert labelled.labels.to_pylist() == ["x", "y"]
    assert isinstance(read_supervision(columns, anchor="left", positive="right"), Pairs)
    forced = read_supervision(
        {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]}, kind="scored pairs"
    )
    assert forced.scores.tolist() == [0, 1]


def texts_with_twins(rng, count):
    """Texts of their own words; every fifth is another's twin but for one word at its end."""
    found = [" ".join(f"x{i}y{w}" for w in rng.integers(0, 1000, 12)) for i in range(count)]
    return [found[i - 1] + " more" if i % 5 == 4 else text for i, text in enumerate(found)]


@pytest.mark.parametrize("kind", [ScoredPairs, LabelledTexts])
def test_no_near_duplicate_is_on_both_sides(kind):
    rng = np.random.default_rng(0)
    texts = pa.array(texts_with_twins(rng, 600), pa.large_string())
    if kind is ScoredPairs:
        others = pa.array(texts_with_twins(rng, 600)[::-1], pa.large_string())
        given = ScoredPairs(texts, others, rng.random(600))
    else:
        given = LabelledTexts(texts, pa.array([str(i % 3) for i in range(600)], pa.large_string()))
    parts = split(given, development=30, test=60, seed=1)
    assert (len(parts.development), len(parts.test)) == (30, 60)
    assert len(parts.train) == 510
    assert parts.moved > 0
    assert f"510 {kind.unit} to train on" in str(parts)
    sides = [pa.concat_arrays(part.columns) for part in (parts.train, parts.development, parts.test)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len(near_duplicates(sides[one], sides[other]).queries) == 0
    places = {text: i for i, text in enumerate(texts.to_pylist())}
    for part in (parts.train, parts.test):  # targets stay with their texts
        rows = [places[text] for text in part.columns[0].to_pylist()]
        if kind is ScoredPairs:
            np.testing.assert_array_equal(part.scores, given.scores[rows])
        else:
            assert part.labels.to_pylist() == [str(row % 3) for row in rows]


def test_kinds_of_named_sets():
    pairs = Pairs(["a", "b"], ["c", "d"])
    table = pd.DataFrame({"question": ["e", "f"], "reply": ["g", "h"]})
    found = read_supervision({"own": pairs, "faq": table}, positive={"faq": "reply"})
    assert isinstance(found, Pairs)
    assert found.names == ("own", "faq")
    assert found.sets.tolist() == [0, 0, 1, 1]
    assert len(read_supervision([pairs, Pairs(["x", "y"], ["z", "z"])])) == 4
    scored = pd.DataFrame({"text1": ["a", "b"], "text2": ["c", "d"], "score": [1.0, 2.0]})
    more = scored.assign(score=[3.0, 4.0])
    assert read_supervision({"one": scored, "two": more}).scores.tolist() == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"holds pairs, but .* holds scored pairs"):
        read_supervision({"own": pairs, "judged": scored})
    with pytest.raises(InputError, match="one name for all sets"):
        read_supervision({"one": scored, "two": more}, kind="scored pairs", anchor={"one": "text1"})
