import collections

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from statim.errors import InputError
from statim.texts import Texts

TEXTS = ["a", "b b", "", "ü", "日本", "x" * 50, "g"]

COLUMNS = {
    "list": list,
    "tuple": tuple,
    "numpy str": np.array,
    "numpy object": lambda texts: np.array(texts, object),
    "numpy strided": lambda texts: np.array([text for text in texts for _ in "12"])[::2],
    "arrow": pa.array,
    "arrow large": lambda texts: pa.array(texts, pa.large_string()),
    "arrow view": lambda texts: pa.array(texts, pa.string_view()),
    "arrow dictionary": lambda texts: pa.array(texts).dictionary_encode(),
    "arrow chunked": lambda texts: pa.chunked_array([texts[:3], [], texts[3:]], pa.string()),
    "pandas": pd.Series,
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas with an index of its own": lambda texts: pd.Series(
        texts, index=[5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 9.0]
    ),
    "pandas categorical": lambda texts: pd.Series(texts, dtype="category"),
    "pandas index": pd.Index,
    "polars": pl.Series,
    "polars categorical": lambda texts: pl.Series(texts, dtype=pl.Categorical),
}
STREAMS = {
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "dictionary's values": lambda texts: dict(enumerate(texts)).values(),
    "deque": collections.deque,
    "map": lambda texts: map(str, texts),
}


def read(given, size):
    texts = Texts.of(given)
    chunks = list(texts.chunks(size))
    flat = [text for _, chunk in chunks for text in chunk]
    assert all(type(text) is str for text in flat)
    assert [position for position, _ in chunks] == list(range(0, len(flat), size))
    assert all(isinstance(chunk, list) and len(chunk) <= size for _, chunk in chunks)
    return flat, texts.length


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(kind, size):
    assert read(COLUMNS[kind](TEXTS), size) == (TEXTS, len(TEXTS))


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("kind", STREAMS)
def test_streams(kind, size):
    assert read(STREAMS[kind](TEXTS), size) == (TEXTS, None)


@pytest.mark.parametrize("kind", ["list", "tuple", "pandas", "polars", "arrow", "numpy object", "generator"])
def test_nothing(kind):
    given = pa.array([], pa.string()) if kind == "arrow" else (COLUMNS | STREAMS)[kind]([])
    assert read(given, 3)[0] == []


def test_one_str_is_one_text():
    assert read("abc", 3) == (["abc"], 1)


def test_streams_are_read_only_as_far_as_asked():
    taken = []

    def source():
        for index in range(100):
            taken.append(index)
            yield str(index)

    chunks = Texts.of(source()).chunks(5)
    assert taken == []
    assert next(chunks) == (0, ["0", "1", "2", "3", "4"])
    assert len(taken) == 5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "of type NoneType; give a str or an iterable of str"),
        (5, "of type int; give a str"),
        (b"bytes", "of type bytes; give a str"),
        (bytearray(b"bytes"), "of type bytearray; give a str"),
        (object(), "of type object; give a str"),
        ({"text": ["a"]}, "of type dict, which has several columns; give one of them"),
        (pd.DataFrame({"a": ["x"]}), "of type DataFrame, which has several columns"),
        (pl.DataFrame({"a": ["x"]}), "of type DataFrame, which has several columns"),
        (pa.table({"a": ["x"]}), "of type Table, which has several columns"),
        (np.array([["a"]]), "a ndarray of 2 dimensions; give one of 1 dimension"),
        (np.array("a"), "a ndarray of 0 dimensions; give one of 1 dimension"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_texts_at_all(wrong, words):
    with pytest.raises(InputError, match=f"^texts is {words}"):
        Texts.of(wrong)
