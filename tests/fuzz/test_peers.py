"""Damaged files that still load give what another reader makes of them: Python's csv and json, safetensors,
numpy.
"""

import csv
import io
import json
import random
import warnings

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from loaders import FLAT, ROWS, table_bytes
from loaders import tensors as save_some_tensors
from mutate import damaged

from statim.data.files import tables
from statim.errors import StatimError
from statim.tensors import load_tensors, map_array

COUNT = 800


def inputs(seed: bytes, others: list[bytes] = [], *, count: int = COUNT):  # noqa: B006
    chance = random.Random(1)
    yield seed
    for _ in range(count):
        yield damaged(seed, others, chance)


def rows_of(path):
    """The rows of a file as texts, None where it is refused."""
    try:
        return [row for table in tables.tables(path) for row in table.to_pylist()]
    except StatimError:
        return None


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_csv(kind, tmp_path):
    """Where Python's csv module reads as many cells in each line as there are names, so do we, and the same
    ones.
    """
    compared = 0
    path = tmp_path / f"t.{kind}"
    for data in inputs(table_bytes(path.name, FLAT)):
        path.write_bytes(data)
        ours = rows_of(path)
        try:
            text = data.decode("utf-8-sig")
            lines = csv.reader(
                io.StringIO(text, newline=""), delimiter="," if kind == "csv" else "\t", strict=True
            )
            head, *cells = [line for line in lines if line]
        except (UnicodeDecodeError, csv.Error, ValueError):
            continue
        plain = len(set(head)) == len(head) and all(head) and all(len(line) == len(head) for line in cells)
        if ours is None or not plain:
            continue
        names = list(ours[0]) if ours else head
        assert [name.strip() for name in head] == [name.strip() for name in names]
        assert [[value or "" for value in row.values()] for row in ours] == cells
        compared += 1
    assert compared > COUNT // 20


def same(ours, theirs) -> bool:
    """Whether a value that went through a column is the one that JSON holds; columns hold one type."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(same(ours.get(name), value) for name, value in theirs.items())
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float) and theirs != theirs:
        return ours is None or ours != ours
    return ours == theirs or (ours is None and theirs is None) or isinstance(ours, str)


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_json(kind, tmp_path):
    compared = 0
    path = tmp_path / f"t.{kind}"
    for data in inputs(table_bytes(path.name, ROWS)):
        path.write_bytes(data)
        ours = rows_of(path)
        if ours is None:
            continue
        text = data.decode("utf-8-sig")
        try:
            # white space of any kind around a line does not count
            theirs = (
                json.loads(text)
                if text.lstrip().startswith("[")
                else [json.loads(x.strip()) for x in text.split("\n") if x.strip()]
            )
        except ValueError:
            raise AssertionError(f"read, and no JSON: {data!r}") from None
        theirs = theirs if isinstance(theirs, list) else [theirs]
        if not all(isinstance(row, dict) for row in theirs):
            continue
        assert len(ours) == len(theirs), data
        assert all(map(same, ours, theirs)), data
        compared += 1
    assert compared > COUNT // 20


def test_safetensors(tmp_path):
    compared = 0
    save_some_tensors(tmp_path)
    path = tmp_path / "a.safetensors"
    for data in inputs(path.read_bytes(), count=2500):
        path.unlink()
        path.write_bytes(data)
        try:
            theirs = safetensors.numpy.load(data)
        except Exception:
            theirs = None
        try:
            ours = load_tensors(path)[0]
        except StatimError:
            continue
        assert theirs is not None, data
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            assert ours[name].dtype == array.dtype
            np.testing.assert_array_equal(ours[name], array)
        compared += 1
    assert compared > 50


def test_npy(tmp_path):
    compared = 0
    path = tmp_path / "v.npy"
    np.save(path, np.arange(12, dtype=np.float32).reshape(3, 4))
    for data in inputs(path.read_bytes()):
        path.unlink()
        path.write_bytes(data)
        try:
            ours = map_array(path)
        except StatimError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = np.load(io.BytesIO(data), allow_pickle=False)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()
        compared += 1
    assert compared > COUNT // 20


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=150)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
def test_csv_as_python_writes_it(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    assert [(row["a"] or "", row["b"] or "") for row in rows_of(path)] == rows
