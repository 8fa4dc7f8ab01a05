import pickle

import pytest

from statim import errors

TREE = {
    errors.StatimError: Exception,
    errors.InputError: ValueError,
    errors.DataError: errors.InputError,
    errors.BusyError: errors.InputError,
    errors.ModelError: ValueError,
    errors.DependencyError: ImportError,
    errors.StorageError: OSError,
}


@pytest.mark.parametrize(("kind", "parent"), TREE.items())
def test_every_error_is_ours_and_one_of_pythons(kind, parent):
    assert issubclass(kind, errors.StatimError)
    assert issubclass(kind, parent)


@pytest.mark.parametrize("kind", TREE)
def test_the_message_is_one_sentence_without_dressing(kind):
    assert str(kind("what, where, how to mend it")) == "what, where, how to mend it"
    assert str(kind()) == ""


@pytest.mark.parametrize("kind", TREE)
def test_errors_travel_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("the message")))
    assert type(error) is kind
    assert str(error) == "the message"


def test_the_tree_is_whole():
    found = {thing for thing in vars(errors).values() if isinstance(thing, type)}
    assert found == set(TREE)


def test_catching_by_pythons_own_kinds():
    with pytest.raises(ValueError, match="too long"):
        raise errors.DataError("too long")
    with pytest.raises(OSError, match="the disk is full"):
        raise errors.StorageError("the disk is full")


def test_a_message_is_one_line():
    """Whatever stands in the name or the content of a file that it quotes."""
    for kind in TREE:
        error = kind("a\nb\x1b[2J\udcff\u2028 ä ☃")
        assert str(error) == "a\\nb\\x1b[2J\\udcff\\u2028 ä ☃"
        assert error.args == ("a\nb\x1b[2J\udcff\u2028 ä ☃",)
