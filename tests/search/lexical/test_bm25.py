import json
import math
import re
import subprocess
import sys
import warnings
from collections import Counter

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.errors import DataError, InputError, ModelError
from statim.search.lexical import bm25 as module
from statim.search.lexical.bm25 import BM25

QUERIES = [
    "how do I parse command line arguments",
    "copy a file and its metadata",
    "the",
    "",
    "zzzzzz qqqqqq",
    "date date date time",
    "Return the MEDIAN (middle value) of numeric data.",
    "naïve café",
    "json decoder\nraw decode",
    ("open a zip archive for reading"),
]


@pytest.fixture(params=["plain", "compiled"])
def path(request, monkeypatch):
    monkeypatch.setattr(module, "FEW", 1 << 60 if request.param == "plain" else -1)
    return request.param


def reference(texts, queries):
    """The scores of bm25s itself, (m, n)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        retriever = bm25s.BM25()
        retriever.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
        words = bm25s.tokenize(queries, stopwords="en", show_progress=False, return_ids=False)
    rows = [retriever.get_scores(row) if row else np.zeros(len(texts), np.float32) for row in words]
    return np.stack(rows)


def expect(scores, k):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    return np.where(best > 0, best, -np.inf), np.where(best > 0, order, -1)


@pytest.mark.parametrize("k", [1, 10, 10_000])
def test_equals_bm25s_bit_by_bit(path, texts, k):
    queries = QUERIES + texts[::7]
    scores, positions = BM25.build(texts, language="classic").search(queries, k)
    assert scores.dtype == np.float32
    assert positions.dtype == np.int64
    expected_scores, expected = expect(reference(texts, queries), min(k, len(texts)))
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_equals_the_formula(texts):
    stop = set(bm25s.stopwords.STOPWORDS_EN)
    bags = [Counter(w for w in re.findall(r"\b\w\w+\b", text.lower()) if w not in stop) for text in texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    scores, positions = BM25.build(texts, language="classic").search(["parse command line arguments"], 10)
    for score, position in zip(scores[0], positions[0], strict=True):
        bag, total = bags[position], 0.0
        for word in ("parse", "command", "line", "arguments"):
            having = sum(word in other for other in bags)
            idf = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
            total += idf * bag[word] / (bag[word] + 1.5 * (1 - 0.75 + 0.75 * bag.total() / mean))
        assert score == pytest.approx(total, rel=1e-5)


words = st.lists(st.sampled_from(["ab", "cd", "ef", "the", "x", "Ab", "", "!?"]), max_size=6).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=1, max_size=12), st.lists(words, max_size=5), st.integers(1, 20))
def test_any_texts(texts, queries, k):
    made = BM25.build(texts, language="classic")
    scores, positions = made.search(queries, k)
    assert scores.shape == positions.shape == (len(queries), min(k, len(texts)))
    if queries and len(made.vocabulary):
        expected_scores, expected = expect(reference(texts, queries), min(k, len(texts)))
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_array_equal(scores, expected_scores)
    kept = module.FEW
    try:
        module.FEW = -1
        again = made.search(queries, k)
    finally:
        module.FEW = kept
    np.testing.assert_array_equal(again[0], scores)
    np.testing.assert_array_equal(again[1], positions)
    np.testing.assert_array_equal(made.score(queries, positions), np.where(positions >= 0, scores, 0))


def test_saved_and_loaded(path, texts, tmp_path):
    made = BM25.build(texts, language="classic")
    made.save(tmp_path / "bm25.safetensors")
    loaded = BM25.load(tmp_path / "bm25.safetensors")
    assert len(loaded) == len(texts)
    assert loaded.vocabulary == made.vocabulary
    for first, second in zip(made.search(QUERIES, 20), loaded.search(QUERIES, 20), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not loaded._weights.flags.writeable


def test_threads_change_nothing(texts, monkeypatch):
    monkeypatch.setattr(module, "FEW", -1)
    made = BM25.build(texts, language="classic")
    for first, second in zip(
        made.search(texts, 20, threads=1), made.search(texts, 20, threads=3), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_nothing_to_index(path, tmp_path):
    with pytest.raises(DataError, match="no texts"):
        BM25.build([])
    made = BM25.build(["", "the", "!"], language="classic")
    made.save(tmp_path / "bm25.safetensors")
    for some in (made, BM25.load(tmp_path / "bm25.safetensors")):
        assert (some.search(["the", "word"], 2)[1] == -1).all()


def test_lone_surrogates(tmp_path):
    made = BM25.build(["caf\udce9 bar", "bar"])
    made.save(tmp_path / "b")
    assert BM25.load(tmp_path / "b").search(["bar \ud800"], 2)[1].tolist() == [[1, 0]]


def test_bad_arguments(texts):
    with pytest.raises(InputError, match="text 1 is of type int"):
        BM25.build(["a", 1])  # type: ignore[list-item]
    made = BM25.build(texts[:3], language="classic")
    with pytest.raises(InputError, match="k is 0"):
        made.search(["a"], 0)
    with pytest.raises(InputError, match="query 0 is of type NoneType"):
        made.search([None], 1)  # type: ignore[list-item]


def test_damaged(texts, tmp_path, monkeypatch):
    from statim.tensors import load_tensors, save_tensors

    place = tmp_path / "bm25.safetensors"
    BM25.build(texts, language="classic").save(place)
    arrays, metadata = load_tensors(place)
    arrays = {name: array.copy() for name, array in arrays.items()}
    n = len(texts)
    for change in (
        {"offsets": arrays["offsets"][:-1]}, {"offsets": arrays["offsets"][::-1]},
        {"documents": arrays["documents"][1:]},
        {"weights": arrays["weights"].astype(np.float64)}, {"words": arrays["words"][:, None]},
        {"more": arrays["words"]},
    ):  # fmt: skip
        save_tensors(place, arrays | change, metadata)
        with pytest.raises(ModelError):
            BM25.load(place)
    about = json.loads(metadata["bm25"])
    for key in ("format", "documents", "stop_words"):
        for value in ("", -1, True, {}, [1], None):
            save_tensors(place, arrays, {"bm25": json.dumps(about | {key: value})})
            with pytest.raises(ModelError):
                BM25.load(place)
    for text in ("", "[]", "[" * 100_000, "1"):
        save_tensors(place, arrays, {"bm25": text})
        with pytest.raises(ModelError):
            BM25.load(place)
    save_tensors(place, arrays | {"words": arrays["words"][:-1]}, metadata)
    with pytest.raises(ModelError, match="words"):
        BM25.load(place).search(["file"], 1)
    save_tensors(place, arrays | {"words": np.full_like(arrays["words"], 255)}, metadata)
    with pytest.raises(ModelError, match="words"):
        BM25.load(place).search(["file"], 1)
    for few in (1 << 60, -1):  # no position out of bounds is ever followed
        monkeypatch.setattr(module, "FEW", few)
        for outside in (n, -1, 2**31 - 1, -(2**31)):
            save_tensors(place, arrays | {"documents": np.full_like(arrays["documents"], outside)}, metadata)
            with pytest.raises(ModelError, match="does not have"):
                BM25.load(place).search(["file", "files"], 1)


def test_a_loaded_index_searches_without_bm25s(texts, tmp_path):
    BM25.build(texts, language="classic").save(tmp_path / "b")
    script = (
        "import sys; from statim.search.lexical.bm25 import BM25\n"
        f"BM25.load({str(tmp_path / 'b')!r}).search(['copy a file'], 3)\n"
        "sys.exit(len({'numba', 'torch', 'pyarrow', 'scipy', 'bm25s'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_quiet(texts, capfd):
    BM25.build(texts, language="classic", progress=True).search(QUERIES, 3)
    assert capfd.readouterr() == ("", "")
