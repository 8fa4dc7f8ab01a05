import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from statim.errors import InputError, ModelError, StorageError
from statim.search.engines import exact_top_k
from statim.search.engines.exact import Exact
from statim.search.engines.exact_top_k import top_k


def brute_force(queries, documents, k):
    """The oracle: all scores in float64, rounded once; highest first, then lowest position."""
    scores = (
        (queries.astype(np.float64)[:, None, :] * documents.astype(np.float64)).sum(-1).astype(np.float32)
    )
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def check(queries, documents, k):
    scores, positions = top_k(
        queries, documents, k, half=True
    )  # which changes nothing but on the path of that name
    expected_scores, expected = brute_force(queries, documents, k)
    assert scores.dtype == np.float32
    assert positions.dtype == np.int64
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def vectors(n, d, seed=0):
    made = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(params=["plain", "compiled", "half"])
def path(request, monkeypatch):
    monkeypatch.setattr(exact_top_k, "FEW", 1 << 60 if request.param == "plain" else -1)
    monkeypatch.setattr(exact_top_k, "MUCH", -1 if request.param == "half" else 1 << 60)
    monkeypatch.setattr(exact_top_k, "has_half", lambda: True)
    return request.param


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("d", [3, 64, 129])
def test_agrees_with_brute_force(path, d, k):
    check(vectors(70, d, 1), vectors(5000, d, 2), k)


def test_equal_documents_come_in_order(path):
    # many more copies at the border than are kept to spare, spread over blocks and tails
    documents = np.tile(vectors(9, 33), (700, 1))
    queries = vectors(40, 33, 3)
    for k in (1, 5, 50, 900):
        check(queries, documents, k)


def test_near_copies(path):
    # closer to one another than float32 products can tell
    base = vectors(1, 256)
    documents = base + np.float32(1e-8) * vectors(4000, 256, 4)
    check(np.concatenate([base, -base]).astype(np.float32), documents.astype(np.float32), 20)


def test_zero_vectors_score_zero(path):
    documents = vectors(3000, 16)
    documents[::2] = 0
    queries = vectors(30, 16, 5)
    queries[3] = 0
    check(queries, documents, 2500)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), d=st.integers(1, 9), n=st.integers(0, 60), m=st.integers(0, 9), k=st.integers(1, 80))
def test_any_shape_and_many_ties(data, d, n, m, k):
    few_values = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0])
    queries = data.draw(hnp.arrays(np.float32, (m, d), elements=few_values))
    documents = data.draw(hnp.arrays(np.float32, (n, d), elements=few_values))
    scores, positions = top_k(queries, documents, k)
    assert scores.shape == positions.shape == (m, min(k, n))
    check(queries, documents, k)
    kept = exact_top_k.FEW
    try:
        exact_top_k.FEW = -1
        np.testing.assert_array_equal(top_k(queries, documents, k)[1], positions)
    finally:
        exact_top_k.FEW = kept


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, (7, 5), elements=st.floats(-1e6, 1e6, width=32)), st.integers(1, 7))
def test_any_numbers(documents, k):
    check(documents[:2], documents, k)


def test_a_score_depends_on_nothing_else(path):
    queries, documents = vectors(50, 100), vectors(3000, 100, 6)
    together = top_k(queries, documents, 10)
    one = [top_k(query[None], documents, 10) for query in queries]
    np.testing.assert_array_equal(np.concatenate([scores for scores, _ in one]), together[0])
    for threads in (1, 3):
        again = top_k(queries, documents, 10, threads=threads)
        np.testing.assert_array_equal(again[0], together[0])
        np.testing.assert_array_equal(again[1], together[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(path, bad):
    queries, documents = vectors(40, 8), vectors(5000, 8)
    for place in (0, 2500, 4999):
        spoilt = documents.copy()
        spoilt[place, 3] = bad
        with pytest.raises(InputError, match="NaN or infinities"):
            top_k(queries, spoilt, 5)
    queries[7, 1] = bad
    with pytest.raises(InputError, match="queries hold NaN"):
        top_k(queries, documents, 5)
    engine = Exact(8)
    with pytest.raises(InputError, match="vector 7 holds NaN"):
        engine.add(queries)
    assert len(engine) == 0


@pytest.mark.parametrize(
    ("queries", "documents", "k", "message"),
    [
        (np.zeros((1, 3)), np.zeros((2, 4)), 1, "3 dimensions and the documents 4"),
        (np.zeros(3), np.zeros((2, 3)), 1, "shape"),
        (np.zeros((1, 3)), [["a", "b", "c"]], 1, "matrix of numbers"),
        ([[1.0], [1.0, 2.0]], np.zeros((2, 3)), 1, "matrix of numbers"),
        (np.zeros((1, 3)), np.zeros((2, 3)), 0, "k is 0"),
        (np.zeros((1, 3)), np.zeros((2, 3)), True, "k is True"),
        (np.zeros((1, 3)), np.zeros((2, 3)), 1.5, "k is 1.5"),
        (np.zeros((1, 3)), np.full((2, 3), 1e300), 1, "NaN or infinities"),
    ],
)
def test_bad_arguments(queries, documents, k, message):
    with pytest.raises(InputError, match=message):
        top_k(queries, documents, k)


def test_engine_finds_by_cosine_and_never_a_zero_vector(path, tmp_path):
    documents = 7 * vectors(3000, 20)
    documents[10:2990] = 0
    engine = Exact(20)
    for start in range(0, 3000, 700):
        engine.add(documents[start : start + 700])
    engine.save(tmp_path / "vectors")
    queries = np.concatenate([vectors(30, 20, 8), np.zeros((1, 20))])
    for some in (engine, Exact.load(tmp_path / "vectors")):
        assert len(some) == 3000
        scores, positions = some.search(queries, 50)
        assert scores.shape == positions.shape == (31, 50)
        left = np.flatnonzero(documents.any(axis=1))
        unit = documents[left] / np.linalg.norm(documents[left], axis=1, keepdims=True)
        expected_scores, expected = brute_force(queries[:30], unit, 50)
        np.testing.assert_array_equal(positions[:30, :20], left[expected])
        np.testing.assert_allclose(scores[:30, :20], expected_scores, atol=2e-7)
        assert (positions[:, 20:] == -1).all()
        assert (scores[:, 20:] == -np.inf).all()
        assert (positions[30] == -1).all()
        np.testing.assert_array_equal(some.score(queries, positions)[:30, :20], scores[:30, :20])
        assert (some.score(queries, positions)[:, 20:] == 0).all()


def test_loaded_vectors_are_mapped_and_read_only(tmp_path):
    engine = Exact(5)
    engine.add(vectors(40, 5))
    engine.save(tmp_path)
    loaded = Exact.load(tmp_path)
    np.testing.assert_array_equal(loaded.vectors, engine.vectors)
    assert not loaded.vectors.flags.writeable
    assert not loaded.vectors.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        loaded.vectors[0, 0] = 1
    with pytest.raises(InputError, match="have 4 dimensions; this index has 5"):
        loaded.search(vectors(1, 4), 3)


def test_damaged_vectors(tmp_path):
    engine = Exact(5)
    engine.add(np.concatenate([vectors(40, 5), np.zeros((2, 5))]))
    engine.save(tmp_path)
    whole = (tmp_path / "vectors.npy").read_bytes()
    zeros = (tmp_path / "zeros.npy").read_bytes()
    for bad in (
        b"",
        whole[:5],
        whole[:100],
        whole[:-1],
        b"PK\x03\x04" + whole,
        b"\x80\x04" + whole,
        zeros,
        whole.replace(b"(42, 5)", b"(4299999999, 5)"[:7]),
        whole.replace(b"<f4", b"|O8"),
        whole.replace(b"<f4", b"<f8"),
    ):
        (tmp_path / "vectors.npy").write_bytes(bad)
        with pytest.raises(ModelError):
            Exact.load(tmp_path)
    (tmp_path / "vectors.npy").write_bytes(whole[:200] + np.float32(np.nan).tobytes() + whole[204:])
    damaged = Exact.load(tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        damaged.search(vectors(1, 5), 3)
    (tmp_path / "vectors.npy").write_bytes(whole)
    for bad in (
        zeros[:-8] + np.int64(42).tobytes(),
        zeros[:-16] + np.int64(-1).tobytes() * 2,
        zeros[:-3],
        whole,
    ):
        (tmp_path / "zeros.npy").write_bytes(bad)
        with pytest.raises(ModelError):
            Exact.load(tmp_path)
    (tmp_path / "zeros.npy").unlink()
    with pytest.raises(ModelError, match="missing"):
        Exact.load(tmp_path)


def test_several_threads_at_once(monkeypatch):
    monkeypatch.setattr(exact_top_k, "FEW", -1)
    queries, documents = vectors(60, 32), vectors(6000, 32, 9)
    expected = top_k(queries, documents, 10)
    with ThreadPoolExecutor(4) as executor:
        for threads in (None, 1, 2):
            for found in executor.map(
                lambda _, t=threads: top_k(queries, documents, 10, threads=t), range(8)
            ):
                np.testing.assert_array_equal(found[0], expected[0])
                np.testing.assert_array_equal(found[1], expected[1])


def test_a_limit_on_threads_is_lifted_again():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        return [
            pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
        ]

    before = blas()
    with exact_top_k.limited(1), exact_top_k.limited(2):
        assert set(blas()) <= {1}
    assert blas() == before


def test_one_query_loads_no_compiler(tmp_path):
    engine = Exact(5)
    engine.add(vectors(40, 5))
    engine.save(tmp_path)
    script = (
        "import sys, pathlib, numpy as np; from statim.search.engines.exact import Exact\n"
        f"found = Exact.load(pathlib.Path({str(tmp_path)!r})).search(np.ones((1, 5)), 3)\n"
        "sys.exit(len({'numba', 'torch', 'pyarrow', 'scipy', 'bm25s', 'threadpoolctl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_nowhere_to_write(tmp_path):
    (tmp_path / "file").write_text("")
    engine = Exact(5)
    engine.add(vectors(4, 5))
    with pytest.raises(StorageError, match="cannot write"):
        engine.save(tmp_path / "file" / "folder")


def test_numpy_reads_the_file(tmp_path):
    engine = Exact(5)
    engine.add(vectors(4, 5))
    engine.save(tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy", allow_pickle=False), engine.vectors)
