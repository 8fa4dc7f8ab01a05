import concurrent.futures
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tokenizers import models

from statim import Settings, StaticModel
from statim.errors import InputError, ModelError
from statim.kernels.pooling.pool import pool
from statim.kernels.pooling.pool_numpy import pool_few
from statim.model import CHUNK, FEW
from statim.quantize import quantize_table, widen_table
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens

DIM = 48
ROUNDING = 1e-6  # rows are summed in float32
ODD = ["", " ", "\t\n", "☃︎ 漢字 \U0001fae8", "[UNK]", "x" * 101, "a \ud800 b", "🇩🇪 café"]


@pytest.fixture(scope="session")
def table(backends):
    return {
        kind: np.random.default_rng(5).standard_normal((backend.get_vocab_size(), DIM)).astype(np.float32)
        for kind, backend in backends.items()
    }


@pytest.fixture(scope="session")
def make(table, backends):
    tokenizer_of = {kind: Tokenizer(backend) for kind, backend in backends.items()}
    return lambda kind="WordPiece", **settings: StaticModel(
        table[kind], tokenizer_of[kind], Settings(**settings)
    )


@pytest.fixture(scope="session")
def model(make):
    return make()


@pytest.fixture(scope="session")
def texts(docstrings):
    """More than two chunks of real texts, odd ones between them."""
    return [*docstrings[:2500], *ODD, *docstrings[2500:], *(text[:60] for text in docstrings[:2000])]


@pytest.fixture(scope="session")
def oracle(table, backends):
    """Vectors in float64 from the ids of the tokenizers library, one text at a time."""
    copies = {kind: tokenizers.Tokenizer.from_str(backend.to_str()) for kind, backend in backends.items()}
    for backend in copies.values():
        backend.no_truncation()
        backend.no_padding()

    def vectors(
        texts,
        kind="WordPiece",
        *,
        normalize=True,
        dim=DIM,
        dropped=None,
        max_tokens=None,
        max_characters=None,
    ):
        out = np.zeros((len(texts), dim))
        for row, text in zip(out, texts, strict=True):
            text = text.replace("\ud800", "\ufffd")[:max_characters]
            ids = copies[kind].encode(text, add_special_tokens=False).ids[:max_tokens]
            ids = [token for token in ids if token != dropped]
            if ids:
                row[:] = table[kind][ids, :dim].astype(np.float64).mean(axis=0)
            if normalize and row.any():
                row /= np.linalg.norm(row)
        return out

    return vectors


@pytest.fixture(scope="session")
def expected(oracle, texts):
    return oracle(texts)


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "numpy str": np.array,
    "numpy object": lambda texts: np.array(texts, object),
    "arrow": pa.array,
    "arrow large": lambda texts: pa.array(texts, pa.large_string()),
    "arrow chunked": lambda texts: pa.chunked_array([texts[:100], texts[100:]]),
    "pandas": pd.Series,
    "pandas object": lambda texts: pd.Series(texts, dtype=object, index=np.arange(len(texts), 0.0, -1)),
    "polars": pl.Series,
    "generator": lambda texts: (text for text in texts),
    "numpy scalars": lambda texts: [np.str_(text) for text in texts],
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("number", [0, 1, FEW, 5000])
def test_vectors_are_the_means_of_rows(container, number, model, texts, expected):
    whole = [index for index, text in enumerate(texts) if "\ud800" not in text][:number]
    vectors = model.encode(CONTAINERS[container]([texts[index] for index in whole]))
    assert vectors.shape == (len(whole), DIM)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - expected[whole]).max(initial=0) < ROUNDING


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "BPE", "WordLevel"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("drop_unknown", [True, False])
def test_every_kind_of_tokenizer_and_setting(kind, normalize, drop_unknown, make, oracle, texts):
    some = texts[2400:2700]
    model = make(kind, normalize=normalize, drop_unknown=drop_unknown)
    dropped = model.tokenizer.unknown_id if drop_unknown else None
    expected = oracle(some, kind, normalize=normalize, dropped=dropped)
    assert np.abs(model.encode(some) - expected).max() < ROUNDING
    assert (
        np.abs(
            model.encode(some, normalize=not normalize)
            - oracle(some, kind, normalize=not normalize, dropped=dropped)
        ).max()
        < ROUNDING
    )


def test_one_str_gives_one_vector(model, texts, expected):
    for index in (0, 1, 2500, 2505):
        assert model.encode(texts[index]).shape == (DIM,)
        assert np.abs(model.encode(texts[index]) - expected[index]).max() < ROUNDING
    assert model.encode("", dtype="float16").dtype == np.float16


def test_texts_without_tokens_give_zeros(make):
    for ways in ({}, {"normalize": False}, {"drop_unknown": True}):
        model = make(**ways)
        for texts in (["", " \n"], ["", " \n"] * FEW):
            assert not model.encode(texts).any()
    model = make("WordLevel", drop_unknown=True)
    for texts in (["☃", ""], ["☃", ""] * FEW):
        assert not model.encode(texts).any()
    assert make("WordLevel").encode("☃").any()


@pytest.mark.parametrize("dim", [1, 7, DIM, np.int64(9)])
@pytest.mark.parametrize("normalize", [True, False])
def test_dim_cuts_before_normalising(dim, normalize, model, oracle, texts):
    some = texts[2450:2800]
    for few in (some, some[: FEW // 2]):
        vectors = model.encode(few, dim=dim, normalize=normalize)
        assert vectors.shape == (len(few), dim)
        assert np.abs(vectors - oracle(few, dim=dim, normalize=normalize)).max() < ROUNDING


def test_float16(model, texts, expected):
    for some in (slice(0, 10), slice(0, len(texts))):
        vectors = model.encode(texts[some], dtype="float16")
        assert vectors.dtype == np.float16
        assert np.array_equal(vectors, model.encode(texts[some]).astype(np.float16))
    assert model.encode(iter(texts), dtype="float16").dtype == np.float16


@pytest.mark.parametrize(
    "limits", [{"max_tokens": 5}, {"max_characters": 30}, {"max_tokens": 4, "max_characters": 30}]
)
def test_limits_of_the_model(limits, make, oracle, texts):
    some = texts[2400:2800]
    model = make(**limits)
    assert np.abs(model.encode(some) - oracle(some, **limits)).max() < ROUNDING
    assert np.array_equal(model.pool(model.tokenize(some)), model.encode(some))


def test_any_number_of_threads_gives_the_same_bits(make, texts):
    for kind in ("WordPiece", "BPE"):
        model = make(kind)
        some = texts if kind == "WordPiece" else texts[2000:3000] * 3
        one = model.encode(some, threads=1)
        for number in (2, 5):
            assert np.array_equal(model.encode(some, threads=number), one)
            assert np.array_equal(model.encode(iter(some), threads=number), one)


def test_the_number_of_texts_does_not_matter(model, texts):
    """Compiled and plain kernels agree, so a text has one vector, alone or among thousands."""
    many = model.encode(texts)
    for index in range(2400, 2600):
        alone = model.encode(texts[index])
        assert np.abs(alone - many[index]).max() <= np.finfo(np.float32).eps
    assert np.mean([np.array_equal(model.encode(texts[index]), many[index]) for index in range(300)]) > 0.99


ids_of = st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=6)
floats = st.floats(-(2.0**60), 2.0**60, width=32)


@settings(max_examples=300)
@given(
    arrays_of.arrays(np.float32, (7, 5), elements=floats),
    ids_of,
    st.integers(1, 5),
    st.integers(-1, 6),
    st.booleans(),
)
def test_compiled_and_plain_kernels_agree(table, lists, dim, dropped, normalize):
    ids = np.array([token for row in lists for token in row], np.int32)
    offsets = np.cumsum([0, *map(len, lists)])
    compiled = np.full((len(lists), dim), np.nan, np.float32)
    plain = compiled.copy()
    pool(table, None, ids, offsets, dropped, normalize, compiled)
    pool_few(table, None, ids, offsets, dropped, normalize, plain)
    assert np.isfinite(compiled).all()
    scale = np.abs(compiled).max(initial=0, axis=1, keepdims=True)
    assert (np.abs(compiled - plain) <= 3e-7 * scale).all()
    if normalize:
        lengths = np.linalg.norm(compiled.astype(np.float64), axis=1)
        assert (np.isclose(lengths, 1, atol=ROUNDING) | (lengths == 0)).all()


@settings(max_examples=200)
@given(
    arrays_of.arrays(np.float32, (7, 20), elements=st.floats(-10, 10, width=32)),
    ids_of,
    st.sampled_from(["float16", "int8"]),
    st.integers(1, 20),
    st.integers(-1, 6),
    st.booleans(),
)
def test_kernels_read_tables_in_fewer_bits(table, lists, dtype, dim, dropped, normalize):
    """Compiled and plain give the same bits; the mean is that of the widened rows in float64."""
    narrow, scales = quantize_table(table, dtype)
    ids = np.array([token for row in lists for token in row], np.int32)
    offsets = np.cumsum([0, *map(len, lists)])
    compiled = np.full((len(lists), dim), np.nan, np.float32)
    plain = compiled.copy()
    pool(narrow, scales, ids, offsets, dropped, normalize, compiled)
    pool_few(narrow, scales, ids, offsets, dropped, normalize, plain)
    scale = np.abs(compiled).max(initial=0, axis=1, keepdims=True)
    assert (np.abs(compiled - plain) <= 3e-7 * scale).all()
    if not normalize:
        wide = widen_table(narrow, scales)[:, :dim].astype(np.float64)
        kept = [[token for token in row if token != dropped] for row in lists]
        means = np.array([wide[row].mean(axis=0) if row else np.zeros(dim) for row in kept]).reshape(-1, dim)
        assert np.abs(compiled - means).max(initial=0) <= 3e-5 * np.abs(wide).max()


@pytest.mark.parametrize("count", [511, 512, 513, 5000])
def test_sums_of_many_rows_of_int8_do_not_overflow(count):
    table = np.full((count, 33), 127, np.int8)
    table[1::2] = -127
    table[:, 0] = 127
    ids, offsets = np.arange(count, dtype=np.int32), np.array([0, count])
    expected = table.astype(np.float64).mean(axis=0)
    for function in (pool, pool_few):
        out = np.empty((1, 33), np.float32)
        function(table, np.ones(count, np.float32), ids, offsets, -1, False, out)
        assert np.allclose(out[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_table_in_fewer_bits_gives_nearly_the_same_vectors(dtype, model, texts):
    small = model.quantize(dtype)
    assert (small.dtype, model.dtype) == (dtype, "float32")
    assert small.nbytes <= model.nbytes / (2 if dtype == "float16" else 4) + 4 * len(model.table)
    cosines = (small.encode(texts) * model.encode(texts)).sum(axis=1)
    assert cosines[np.abs(model.encode(texts)).any(axis=1)].min() > 0.999
    assert np.abs(small.table - model.table).max() < np.abs(model.table).max() / 200
    for some in (texts[:FEW], texts[: FEW + 1]):
        assert np.abs(small.encode(some) - small.encode(texts)[: len(some)]).max() <= np.finfo(np.float32).eps


def test_numbers_too_large_for_half_floats_are_refused(model):
    wide = StaticModel(
        np.array([[1.0, 2.0], [1.0, 7e4], [0, 0]]),
        tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="c")),
    )
    with pytest.raises(
        ModelError, match="row 1 of the table holds a number too large for float16; take int8"
    ):
        wide.quantize("float16")
    assert wide.quantize("int8").dtype == "int8"
    with pytest.raises(InputError, match=r"dtype is .int4.; it must be one of float32, float16, int8$"):
        wide.quantize("int4")


def test_vectors_in_fewer_bits(model, texts):
    full = model.encode(texts)
    small = model.encode(texts, dtype="int8")
    assert (small.dtype, small.shape) == (np.int8, full.shape)
    filled = np.abs(full).any(axis=1)
    assert (np.abs(small).max(axis=1)[filled] == 127).all()
    assert not small[~filled].any()
    expected = full * (127 / np.abs(full).max(axis=1, keepdims=True, initial=1e-30))
    assert np.abs(small - expected).max() <= 0.5001
    bits = model.encode(texts, dtype="binary", dim=21)
    assert (bits.dtype, bits.shape) == (np.uint8, (len(texts), 3))
    assert np.array_equal(np.unpackbits(bits, axis=1)[:, :21], full[:, :21] > 0)
    assert model.encode("a list", dtype="binary").shape == (DIM // 8,)
    halves = model.encode(iter(texts), dtype="float16")
    assert np.array_equal(halves, full.astype(np.float16))


@pytest.mark.parametrize(
    ("value", "dtype", "number"),
    [
        (65520, "float16", 1),
        (-7e4, "float16", 1),
        (7e4, "float16", 3000),
        (3e38, "int8", 3000),
    ],
)
def test_vectors_that_do_not_fit_are_refused_by_text(value, dtype, number, backends):
    tokenizer = backends["WordLevel"]
    rows = np.ones((tokenizer.get_vocab_size(), 3), np.float32)
    word = next(word for word, row in tokenizer.get_vocab().items() if word.isalpha() and row > 1)
    rows[tokenizer.token_to_id(word), 1] = value
    model = StaticModel(rows, tokenizer, Settings(normalize=False))
    texts = ["."] * number + [f"{word} {word}"]
    with pytest.raises(
        InputError, match=rf"vector of text {number:,} holds .* does not fit {dtype}; take float32"
    ):
        model.encode(texts, dtype=dtype)
    with pytest.raises(InputError, match=f"vector of text {number + 7:,} "):
        model.encode(texts, dtype=dtype, first=7)
    assert model.encode(texts[:-1], dtype=dtype).shape == (number, 3)
    if dtype == "float16":
        rows[:] = np.clip(rows, -65519, 65519)
        assert (
            np.abs(StaticModel(rows, tokenizer, Settings(normalize=False)).encode(texts, dtype=dtype)).max()
            == 65504
        )
        assert np.isfinite(model.encode(texts, dtype=dtype, normalize=True)).all()


def test_zeros_stay_zeros_in_every_type(backends):
    rows = np.zeros((backends["WordLevel"].get_vocab_size(), 9), np.float32)
    rows[1:] = 1e-40  # as zeros: what 127 is divided by would overflow
    model = StaticModel(rows, backends["WordLevel"], Settings(normalize=False))
    for dtype in ("float16", "int8"):
        assert not model.encode(["", ". .", "x"], dtype=dtype).any()
    assert not model.encode("", dtype="binary").any()


def test_very_small_and_very_large_vectors_keep_their_direction():
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    model = StaticModel(np.array([[3e-30, 4e-30], [3e37, 4e37], [0, 0]]), backend)
    for texts in (["a", "b", "c"], ["a", "b", "c"] * FEW):
        assert np.allclose(model.encode(texts)[:3], [[0.6, 0.8], [0.6, 0.8], [0, 0]])


def test_a_long_text_takes_little_memory(model, docstrings):
    """A text of 10 million characters, alone; its rows side by side would be 400 MB."""
    text = " ".join(docstrings)
    text = (text * (10_000_000 // len(text) + 1))[:10_000_000]
    assert np.allclose(model.encode(text), model.encode([text] + [""] * FEW)[0], atol=ROUNDING)


def test_ids_that_are_no_rows(model):
    count = len(model.table)
    for wrong in (count, -1, 2**31 - 1, -(2**31)):
        tokens = Tokens(np.array([5, wrong], np.int32), np.array([0, 2]))
        for compiled in (True, False):
            with pytest.raises(
                InputError, match=rf"but the table has {count:,} rows; the tokens are of another tokenizer"
            ):
                model.pool(tokens, compiled=compiled)


def test_pool_is_encode_without_the_tokenizer(model, texts):
    tokens = model.tokenize(texts)
    assert np.array_equal(model.pool(tokens), model.encode(texts))
    assert np.array_equal(
        model.pool(tokens[100:200], dim=3, normalize=False),
        model.encode(texts, dim=3, normalize=False)[100:200],
    )
    assert np.allclose(model.pool(tokens[:300], compiled=False), model.encode(texts[:300]), atol=ROUNDING)
    assert model.pool(model.tokenize([])).shape == (0, DIM)
    assert model.tokenize("one") == model.tokenize(["one"])


def test_prompts(make, oracle):
    model = make(prompts={"query": "question: "})
    some = ["how?", "", "what is it"]
    assert np.allclose(
        model.encode_query(some), oracle(["question: " + text for text in some]), atol=ROUNDING
    )
    assert np.allclose(model.encode_document(some), oracle(some), atol=ROUNDING)
    for container in CONTAINERS.values():
        assert np.array_equal(model.encode_query(container(some)), model.encode_query(some))
    assert np.array_equal(model.encode_query("how?", dim=4), model.encode("question: how?", dim=4))
    assert np.array_equal(model.encode(some, prompt="question: "), model.encode_query(some))
    with pytest.raises(InputError, match="text 1 is of type int, not str"):
        model.encode_query(["a", 5])


def test_similarity(make):
    model = make(normalize=False)
    a, b = ["how do I sort a list?", "open a file", ""], ["sort lists", "files", "the weather", "open"]
    left, right = model.encode(a, normalize=True), model.encode(b, normalize=True)
    expected = left.astype(np.float64) @ right.T.astype(np.float64)
    for one in (a, tuple(a), np.array(a), left, 3 * left.astype(np.float64), left.tolist()):
        found = model.similarity(one, b)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < ROUNDING
    assert (model.similarity(a, b)[2] == 0).all()
    assert model.similarity("open", "open").shape == (1, 1)
    assert model.similarity(left[0], b).shape == (1, 4)
    assert model.similarity([], b).shape == (0, 4)
    assert model.similarity(model.encode(a, dim=8), model.encode(b, dim=8)).shape == (3, 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 5)), "a has 5 dimensions and b has 48; they must be equal"),
        (np.zeros((2, 2, DIM)), r"vectors of shape \(2, 2, 48\) cannot be compared"),
        ([[1, 2], [3]], "cannot compare a list of this kind; give one text"),
        (None, "cannot compare a NoneType of this kind"),
        ({"a": 1}, "cannot compare a dict of this kind"),
        (["text", 5], "text 1 is of type int, not str"),
    ],
)
def test_similarity_of_nonsense(wrong, words, model):
    with pytest.raises(InputError, match=words):
        model.similarity(wrong, ["text"])


BAD_TEXTS = {
    "None": (None, "texts is of type NoneType; give a str or an iterable of str"),
    "a number": (5, "texts is of type int"),
    "bytes": (b"text", "texts is of type bytes"),
    "a dict": ({"text": "a"}, "texts is of type dict, which has several columns; give one of them"),
    "a DataFrame": (pd.DataFrame({"text": ["a"]}), "texts is of type DataFrame, which has several columns"),
    "a matrix": (np.array([["a"], ["b"]]), "texts is a ndarray of 2 dimensions"),
    "numbers": ([1, 2], "text 0 is of type int, not str"),
    "bytes inside": (["a", b"b"], "text 1 is of type bytes, not str"),
    "None inside": (["a", "b", None], "text 2 is of type NoneType, not str; give every text as a str"),
    "NaN inside": (np.array(["a", np.nan], object), "text 1 is of type float"),
    "null inside": (pa.array(["a", None]), "text 1 is of type NoneType"),
    "missing inside": (pd.Series(["a", None], dtype=object), "text 1 is of type NoneType"),
    "lists inside": ([["a"], ["b"]], "text 0 is of type list"),
    "tuples inside": ([("a", "b")], "text 0 is of type tuple"),
    "number array": (np.arange(3), "text 0 is of type int"),
    "byte array": (np.array([b"a"]), "text 0 is of type bytes"),
    "far behind": (["a"] * 4000 + [1] + ["a"] * 10 + [2.0], "text 4,000 is of type int"),
    "in a stream": ((text for text in ["a"] * 4000 + [None]), "text 4,000 is of type NoneType"),
}


@pytest.mark.parametrize("what", BAD_TEXTS)
def test_bad_texts(what, model):
    wrong, words = BAD_TEXTS[what]
    with pytest.raises(InputError, match=f"^{words}"):
        model.encode(wrong, threads=2)


@pytest.mark.parametrize("dim", [0, -1, DIM + 1, 2.0, True, "8", float("nan")])
def test_bad_dim(dim, model):
    with pytest.raises(InputError, match=r"^dim is .*; this model has vectors of 1 to 48 dimensions$"):
        model.encode(["a"], dim=dim)


@pytest.mark.parametrize("dtype", ["float64", "int16", None, np.float32, []])
def test_bad_dtype(dtype, model):
    with pytest.raises(InputError, match=r"^dtype is .*; it must be one of float32, float16, int8, binary$"):
        model.encode(["a"], dtype=dtype)


def test_bad_threads(model, monkeypatch):
    with pytest.raises(InputError, match="threads is 0; it must be a whole number of at least 1"):
        model.encode(["a"], threads=0)
    monkeypatch.setenv("STATIM_NUM_THREADS", "lots")
    with pytest.raises(InputError, match="STATIM_NUM_THREADS is 'lots'"):
        model.encode(["a"])


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_a_stream_come_through(workers, model):
    def source():
        yield from ["a"] * (3 * CHUNK)
        raise LookupError("the source broke")

    with pytest.raises(LookupError, match="the source broke"):
        model.encode(source(), threads=workers)


def test_texts_that_shrink_meanwhile(model):
    class Shrinking(list):
        def __getitem__(self, index):
            return list.__getitem__(self, index)[:-1]

    with pytest.raises(InputError, match="texts changed while it was being encoded"):
        model.encode(Shrinking(["a"] * 3000))


BAD_TABLES = {
    "one dimension": (lambda count: np.zeros(count), "the table has shape"),
    "three dimensions": (lambda count: np.zeros((count, 2, 2)), "the table has shape"),
    "no dimensions": (lambda count: np.zeros((count, 0)), "the table has shape"),
    "too few rows": (lambda count: np.zeros((count - 1, 4)), "the two belong to different models"),
    "text": (lambda count: [["a", "b"]] * count, "the table is no array of numbers"),
    "ragged": (lambda count: [[1.0], [1.0, 2.0]], "the table is no array of numbers"),
    "complex": (lambda count: np.zeros((count, 2), complex), "the table is no array of numbers"),
    "objects": (lambda count: None, "the table is no array of numbers"),
    "NaN": (lambda count: np.full((count, 2), np.nan), "NaN or infinity in row 0"),
    "too large": (lambda count: np.full((count, 2), 1e300), "NaN or infinity in row 0"),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_bad_tables(what, backends):
    build, words = BAD_TABLES[what]
    with pytest.raises(ModelError, match=words):
        StaticModel(build(backends["WordLevel"].get_vocab_size()), backends["WordLevel"])


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"max_tokens": 1.5}, {"max_tokens": True}, {"max_characters": -1}]
)
def test_bad_settings(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"^{name} is .*; it must be a whole number of at least 1, or None"):
        Settings(**wrong)


def test_bad_tokenizer():
    with pytest.raises(InputError, match=r"^the tokenizer is a str; give a tokenizers\.Tokenizer"):
        StaticModel(np.zeros((3, 3)), "tokenizer.json")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
def test_tables_of_other_numbers(dtype, backends, table, docstrings):
    given_table = (40 * table["WordPiece"]).astype(dtype)
    model = StaticModel(given_table[:, ::2], backends["WordPiece"])
    assert model.table.dtype == np.float32
    assert model.dim == DIM // 2
    assert np.array_equal(model.table, given_table[:, ::2].astype(np.float32))
    assert np.isfinite(model.encode(docstrings[:400])).all()


def test_more_rows_than_tokens(backends, docstrings):
    count = backends["WordPiece"].get_vocab_size()
    table = np.random.default_rng(0).standard_normal((count + 9, 4))
    longer, exact = (
        StaticModel(table, backends["WordPiece"]),
        StaticModel(table[:count], backends["WordPiece"]),
    )
    assert np.array_equal(longer.encode(docstrings[:400]), exact.encode(docstrings[:400]))


def test_a_read_only_table(backends, table, docstrings):
    locked = table["WordPiece"].copy()
    locked.flags.writeable = False
    model = StaticModel(locked, backends["WordPiece"])
    assert np.shares_memory(model.table, locked)  # memory-mapped tables are not copied
    assert model.encode(docstrings[:400]).any()


def test_what_it_says_of_itself(model):
    assert repr(model) == f"StaticModel(30,522 tokens x {DIM} dimensions, float32, WordPiece)"
    assert model.dim == DIM
    assert model.settings == Settings()
    assert model.tokenizer.is_fast


def test_many_callers_at_once(model, texts):
    expected = model.encode(texts, threads=1)
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        found = callers.map(lambda workers: model.encode(texts, threads=workers), [1, 2, 3, 2, 1, 5, 2, 2])
    assert all(np.array_equal(vectors, expected) for vectors in found)


def test_a_model_inside_the_pool(model, texts):
    """encode called by statim's own threads: no deadlock, the same vectors."""
    from statim import threads

    expected = model.encode(texts[:600], threads=1)
    found = threads.run([lambda: model.encode(texts[:600], threads=2)] * 6, 2)
    assert all(np.array_equal(vectors, expected) for vectors in found)


def encode_elsewhere(model, texts):
    return model.encode(texts, threads=2)


def test_pickle_and_spawn(model, texts):
    some = texts[2300:3000]
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.encode(some), model.encode(some))
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert np.array_equal(workers.apply(encode_elsewhere, (model, some)), model.encode(some))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_encodes():
    code = """
        import os, sys, warnings
        # of Python 3.12 and later: fork while threads run
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np, tokenizers
        from tokenizers import models, pre_tokenizers
        from statim import StaticModel
        for make in (models.WordPiece, models.WordLevel):
            backend = tokenizers.Tokenizer(make({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
            backend.pre_tokenizer = pre_tokenizers.Whitespace()
            model = StaticModel(np.eye(3), backend)
            texts = ["a b b", "b", "c a"] * 3000
            before = model.encode(texts, threads=2)
            child = os.fork()
            if child == 0:
                os._exit(0 if np.array_equal(model.encode(texts, threads=2), before) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print("same")
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "same\n", done.stderr
