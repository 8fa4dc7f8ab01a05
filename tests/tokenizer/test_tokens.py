import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from statim.errors import InputError, ModelError
from statim.tensors import save_tensors
from statim.tokenizer.tokens import Tokens

rows = st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=10)


def make(lists):
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(ids) for ids in lists], out=offsets[1:])
    return Tokens(np.array([token for ids in lists for token in ids], np.int32), offsets)


def lists_of(tokens):
    return [ids.tolist() for ids in tokens]


@given(rows)
def test_like_a_list_of_lists(lists):
    tokens = make(lists)
    assert len(tokens) == len(lists)
    assert lists_of(tokens) == lists
    assert tokens.lengths.tolist() == [len(ids) for ids in lists]
    for index in range(-len(lists), len(lists)):
        assert tokens[index].tolist() == lists[index]
    for outside in (len(lists), -len(lists) - 1):
        with pytest.raises(IndexError):
            tokens[outside]


@given(rows, st.integers(-12, 12) | st.none(), st.integers(-12, 12) | st.none())
def test_slices(lists, start, stop):
    assert lists_of(make(lists)[start:stop]) == lists[start:stop]


def test_slices_are_views():
    tokens = make([[1, 2], [3], [4, 5]])
    assert np.shares_memory(tokens[1:].ids, tokens.ids)
    with pytest.raises(InputError, match="must have step 1; use select"):
        tokens[::2]


@given(rows.filter(bool), st.data())
def test_select(lists, data):
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=12))
    assert lists_of(make(lists).select(np.array(chosen, np.int64))) == [lists[index] for index in chosen]


@given(st.lists(rows, max_size=4))
def test_concatenate(parts):
    whole = [ids for part in parts for ids in part]
    assert lists_of(Tokens.concatenate([make(part) for part in parts])) == whole


@given(rows, rows)
def test_equality(one, other):
    assert (make(one) == make(other)) is (one == other)
    assert make(one) == make(one)
    assert make(one) != one


def test_not_hashable():
    with pytest.raises(TypeError, match="unhashable"):
        hash(make([[1]]))


@given(rows)
def test_saved_and_loaded(tmp_path_factory, lists):
    path = tmp_path_factory.getbasetemp() / "tokens"
    make(lists).save(path)
    assert Tokens.load(path) == make(lists)


def test_loading_something_else(tmp_path):
    with pytest.raises(ModelError, match="is missing"):
        Tokens.load(tmp_path / "a")
    save_tensors(tmp_path / "a", {"ids": np.zeros(2, np.int32)}, {"format": "statim-tokens-1"})
    with pytest.raises(ModelError, match="does not hold tokens"):
        Tokens.load(tmp_path / "a")
    save_tensors(
        tmp_path / "a", {"ids": np.zeros(2, np.int32), "offsets": np.array([0, 2])}, {"format": "other"}
    )
    with pytest.raises(ModelError, match="does not hold tokens"):
        Tokens.load(tmp_path / "a")


WRONG = {
    "offsets past the end": (np.zeros(2, np.int32), np.array([0, 3])),
    "offsets before the end": (np.zeros(2, np.int32), np.array([0, 1])),
    "offsets that fall": (np.zeros(2, np.int32), np.array([0, 5, 1, 2])),
    "offsets from elsewhere": (np.zeros(2, np.int32), np.array([-1, 2])),
    "no offsets": (np.zeros(0, np.int32), np.zeros(0, np.int64)),
    "wide ids": (np.zeros(2, np.int64), np.array([0, 2])),
    "float ids": (np.zeros(2, np.float32), np.array([0, 2])),
    "narrow offsets": (np.zeros(2, np.int32), np.array([0, 2], np.int32)),
    "ids of two dimensions": (np.zeros((2, 2), np.int32), np.array([0, 2])),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_compiled_code_must_never_see(what, tmp_path):
    ids, offsets = WRONG[what]
    with pytest.raises(InputError, match="ids"):
        Tokens(ids, offsets)
    save_tensors(tmp_path / "a", {"ids": ids, "offsets": offsets}, {"format": "statim-tokens-1"})
    with pytest.raises(ModelError, match="does not hold whole tokens"):
        Tokens.load(tmp_path / "a")


def test_ids_are_checked_against_a_table():
    make([[0, 9], []]).check(10)
    make([[], []]).check(0)
    with pytest.raises(InputError, match="token 1 of text 0 has the id 9, but the table has 9 rows"):
        make([[0, 9]]).check(9)
    with pytest.raises(InputError, match="token 0 of text 2 has the id -1, but"):
        make([[4], [], [-1, 3]]).check(9)
