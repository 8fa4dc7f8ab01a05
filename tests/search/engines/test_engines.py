"""The same tests over every engine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.errors import DependencyError, InputError, ModelError
from statim.search.engines import exact, exact_top_k, packages, registry
from statim.search.engines.registry import EXACT, FIRST, NAMES, choose, load, make

N, D = 1500, 32


def unit(vectors):
    long = np.linalg.norm(np.asarray(vectors, np.float64), axis=1, keepdims=True)
    return (vectors / np.where(long == 0, 1, long)).astype(np.float32)


@pytest.fixture(scope="module")
def clustered():
    random = np.random.default_rng(3)
    centres = random.standard_normal((40, D))
    spread = np.arange(1, D + 1) ** -0.4
    vectors = (centres[random.integers(40, size=N)] + 0.7 * random.standard_normal((N, D))) * spread
    queries = vectors[:60] + 0.4 * random.standard_normal((60, D)) * spread
    return vectors.astype(np.float32), queries.astype(np.float32)


@pytest.fixture(scope="module")
def saved(clustered, tmp_path_factory):
    """Every engine, built once, saved and in memory."""
    made = {}

    def get(name):
        if name not in made:
            engine, folder = make(name, D), tmp_path_factory.mktemp(name)
            engine.add(clustered[0][:700])
            engine.add(clustered[0][700:])
            engine.prepare(threads=1)  # threads that add to a graph at once make another one each time
            engine.save(folder)
            made[name] = engine, folder
        return made[name]

    return get


def closest(queries, vectors, k):
    """The oracle: cosines in float64 of what is not zero; highest first, then lowest position."""
    wide = vectors.astype(np.float64)
    scores = unit(queries).astype(np.float64) @ wide.T
    scores[:, ~vectors.any(axis=1)] = -np.inf
    scores = scores.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def recall(found, truth):
    return np.mean(
        [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    )


def stored(engine):
    """What an exact engine compares with, float32."""
    return np.asarray(engine.vectors[np.arange(len(engine))])


@pytest.mark.parametrize("name", NAMES)
def test_recall_scores_and_loading(name, clustered, saved, tmp_path):
    vectors, queries = clustered
    engine, folder = saved(name)
    assert len(engine) == N
    assert engine.dim == D
    scores, positions = engine.search(queries, 10)
    assert scores.dtype == np.float32
    assert positions.dtype == np.int64
    assert (np.diff(scores, axis=1) <= 0).all()
    _, truth = closest(queries, unit(vectors), 10)
    rough = name in ("exact-int8", "exact-binary", "usearch-b1")
    assert recall(positions, truth) >= (0.9 if rough else 0.97)
    tolerance = 0.02 if name in ("exact-int8", "exact-binary") else 2e-3 if name == "exact-float16" else 1e-6
    cosines = np.take_along_axis(unit(queries) @ unit(vectors).T, positions, 1)
    np.testing.assert_allclose(scores, cosines, atol=tolerance)
    np.testing.assert_array_equal(engine.score(queries, positions), scores)
    for some in (queries[:1], queries[:5]):  # few go other ways than many
        np.testing.assert_array_equal(engine.search(some, 10)[0], scores[: len(some)])
    again = load(name, folder, D)
    if name not in EXACT:
        first, loaded = engine._first, again._first
        assert loaded.effort == first.effort
        assert loaded.efforts() == first.efforts()
    assert len(again) == N
    for threads in (1, 2):
        found = again.search(queries, 10, threads=threads)
        np.testing.assert_array_equal(found[1], positions)
        np.testing.assert_array_equal(found[0], scores)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_deleted_is_not_found(name, clustered, saved, tmp_path):
    vectors, queries = clustered
    engine = load(name, saved(name)[1], D)
    _, before = engine.search(queries, 10)
    gone = np.unique(before[:20])  # all that the first queries find
    engine.delete(gone)
    engine.delete(gone[:3])
    rest = unit(vectors)
    rest[gone] = 0
    _, truth = closest(queries, rest, 10)
    engine.save(tmp_path / "again")
    for some in (engine, load(name, tmp_path / "again", D)):
        assert len(some) == N
        scores, positions = some.search(queries, 10)
        assert not np.isin(positions, gone).any()
        assert (positions >= 0).all()
        assert recall(positions, truth) >= 0.9
        assert (some.score(queries, before)[:20] == 0).all()
    everything = load(name, saved(name)[1], D)
    everything.delete(np.arange(N))
    scores, positions = everything.search(queries, 4)
    assert (positions == -1).all()
    assert (scores == -np.inf).all()
    everything.prepare()
    everything.add(vectors[:2])
    assert set(everything.search(vectors[:1], 4)[1][0]) == {N, N + 1, -1}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "add", "delete", "prepare", "save"]), st.integers(1, 40)),
        min_size=3,
        max_size=8,
    ),
    seed=st.integers(0, 1000),
)
def test_any_order_of_steps_is_that_of_a_dictionary(name, steps, seed, tmp_path_factory):
    random = np.random.default_rng(seed)
    engine, held, total = make(name, 12), {}, 0
    for step, number in steps:
        if name in FIRST:
            engine._first.least = min(engine._first.least, 20)
        if step == "add":
            vectors = random.standard_normal((number, 12)).astype(np.float32)
            vectors[random.random(number) < 0.1] = 0
            engine.add(vectors)
            held |= {total + i: v for i, v in enumerate(unit(vectors)) if v.any()}
            total += number
        elif step == "delete" and total:
            gone = random.integers(total, size=number)
            engine.delete(gone)
            held = {p: v for p, v in held.items() if p not in set(gone.tolist())}
        elif step == "prepare":
            engine.prepare()
        elif step == "save":
            folder = tmp_path_factory.mktemp("steps")
            engine.save(folder)
            engine = load(name, folder, 12)
        assert len(engine) == total
        queries = random.standard_normal((3, 12)).astype(np.float32)
        scores, positions = engine.search(queries, 7)
        assert positions.shape == (3, min(7, total))
        for query, row, given_scores in zip(unit(queries), positions.tolist(), scores, strict=True):
            found = [p for p in row if p >= 0]
            assert len(found) == len(set(found)) == min(7, len(held))
            assert set(found) <= held.keys()
            own = [float(held[p] @ query) for p in found]
            np.testing.assert_allclose(
                given_scores[: len(found)], own, atol=0.03 if name.startswith("exact-") else 1e-5
            )


@pytest.mark.parametrize("storage", EXACT.values())
@settings(max_examples=25)
@given(data=st.data(), n=st.integers(1, 70), m=st.integers(1, 12), k=st.integers(1, 80))
def test_exact_engines_are_brute_force_over_what_they_store(storage, data, n, m, k):
    """In plain numpy, in one pass, and in blocks; ties go to the lower position."""
    seed = data.draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    few_values = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0], np.float32)
    vectors, queries = random.choice(few_values, (n, 5)), random.standard_normal((m, 5)).astype(np.float32)
    engine = exact.Exact(5, storage)
    engine.add(vectors)
    engine.delete(random.integers(n, size=n // 4))
    seen = stored(engine)
    seen[engine.excluded] = 0
    expected_scores, expected = closest(queries, seen, k)
    expected[expected_scores == -np.inf] = -1
    kept = exact_top_k.FEW, exact_top_k.ONE_PASS, exact_top_k.NARROW_PASS, exact_top_k.FEW_QUERIES
    try:
        for exact_top_k.FEW, exact_top_k.ONE_PASS, exact_top_k.NARROW_PASS, exact_top_k.FEW_QUERIES in (
            (1 << 60, 1 << 60, 1 << 60, 8), (-1, 0, 0, 99), (-1, 1 << 60, 1 << 60, 0),
        ):  # fmt: skip
            scores, positions = engine.search(queries, k)
            np.testing.assert_array_equal(positions, expected)
            np.testing.assert_array_equal(scores, expected_scores)
    finally:
        exact_top_k.FEW, exact_top_k.ONE_PASS, exact_top_k.NARROW_PASS, exact_top_k.FEW_QUERIES = kept


def test_one_pass_falls_back_where_rounding_could_decide(monkeypatch):
    monkeypatch.setattr(exact_top_k, "ONE_PASS", 0)
    random = np.random.default_rng(0)
    base = unit(random.standard_normal((1, 64)))
    documents = (base + np.float32(1e-8) * random.standard_normal((3000, 64))).astype(np.float32)
    scores, positions = exact_top_k.top_k(base, documents, 20)
    wide = (documents.astype(np.float64) * base.astype(np.float64)).sum(axis=1).astype(np.float32)
    expected = np.argsort(-wide, kind="stable")[:20]
    np.testing.assert_array_equal(positions[0], expected)
    np.testing.assert_array_equal(scores[0], wide[expected])
    documents[7, 3] = np.nan
    with pytest.raises(InputError, match="NaN or infinities"):
        exact_top_k.top_k(base, documents, 20)


@pytest.mark.parametrize("name", FIRST)
def test_damaged_files_are_refused(name, saved, tmp_path):
    _, whole = saved(name)
    victims = [file.relative_to(whole) for file in sorted(whole.rglob("*")) if file.is_file()]
    assert len(victims) >= 4
    folder = tmp_path / "engine"
    for victim in victims:
        content = (whole / victim).read_bytes()
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 0x55
        damages = {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "foreign": b"PK\x03\x04" + content,
        }
        native = name.split("-")[0] in ("faiss", "scann", "usearch") and "first" in victim.parts
        if native or victim.name == "engine.json":  # of mapped arrays, numbers that are wrong are not seen
            damages["flipped"] = bytes(flipped)
        for damage in (*damages, "missing"):
            shutil.copytree(whole, folder)
            if damage == "missing":
                (folder / victim).unlink()
            else:
                (folder / victim).write_bytes(damages[damage])
            if victim.name == "engine.json" and damage == "flipped":  # may hit what nothing depends on
                manifest = json.loads((whole / victim).read_text()) | {"effort": 0}
                (folder / victim).write_text(json.dumps(manifest))
            with pytest.raises(ModelError):
                load(name, folder, D)
            shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    (folder / "first" / "scann_docids.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match="does not hold the files"):
        load(name, folder, D)


@pytest.mark.parametrize("name", ["faiss-hnsw", "faiss-pq", "scann", "usearch-f32", "binary", "funnel"])
def test_files_of_another_engine_are_refused_even_with_right_hashes(name, saved, tmp_path):
    """What passes for whole must still be what its engine has."""
    from statim.search.engines.two_stage import _seal

    for other in ("faiss-ivf", "usearch-i8", "int8", "scann"):
        folder = tmp_path / other
        shutil.copytree(saved(name)[1], folder)
        shutil.rmtree(folder / "first")
        if other == name:
            continue
        shutil.copytree(saved(other)[1] / "first", folder / "first")
        manifest = json.loads((folder / "engine.json").read_text())
        native = name not in ("binary", "funnel")
        manifest["files"] = {file.name: _seal(file, native) for file in (folder / "first").iterdir()}
        (folder / "engine.json").write_text(json.dumps(manifest))
        with pytest.raises(ModelError):
            load(name, folder, D)


@pytest.mark.parametrize("name", NAMES)
def test_bad_arguments(name, saved):
    engine = saved(name)[0]
    with pytest.raises(InputError, match="have 3 dimensions; this index has 32"):
        engine.search(np.zeros((1, 3)), 1)
    with pytest.raises(InputError, match="have 3 dimensions; this index has 32"):
        engine.add(np.zeros((1, 3)))
    with pytest.raises(InputError, match="NaN"):
        engine.search(np.full((1, D), np.nan), 1)
    with pytest.raises(InputError, match="k is 0"):
        engine.search(np.zeros((1, D)), 0)
    for bad in ([N], [-1], [0.5], ["a"]):
        with pytest.raises(InputError, match="position"):
            engine.delete(bad)
    assert len(engine) == N
    with pytest.raises(ModelError):
        load(name, saved(name)[1] / "nowhere", D)
    with pytest.raises(ModelError):
        load(name, saved(name)[1], D + 1)


@pytest.mark.parametrize(
    ("name", "missing"), [("faiss-ivf", "faiss"), ("scann", "scann"), ("usearch-i8", "usearch")]
)
def test_a_missing_package_is_one_sentence(name, missing, saved, tmp_path, monkeypatch):
    engine = make(name, D)
    engine.add(np.random.default_rng(0).standard_normal((1200, D)))
    shutil.copytree(saved(name)[1], tmp_path / "saved")

    def refuse(module):
        raise ImportError(module)

    monkeypatch.setattr(packages.importlib, "import_module", refuse)
    for act in (engine.prepare, lambda: load(name, tmp_path / "saved", D)):
        with pytest.raises(DependencyError, match=rf'needs {missing}, .*pip install "statim\[search\]"'):
            act()
    assert engine.search(np.ones((1, D)), 3)[1].shape == (1, 3)  # exactly, meanwhile


def test_names_and_choice():
    with pytest.raises(InputError, match="'faiss'; it must be one of faiss-flat"):
        make("faiss", 4)
    with pytest.raises(InputError, match="must be one of exact, "):
        load("x", Path(), 4)
    assert choose(1000, 384).name == "exact"
    for n in (1000, 100_000, 1_000_000, 10_000_000):
        name, why = choose(n, 384)
        assert name in NAMES
        assert len(why) > 30
    assert choose(10_000_000, 384).name != "exact"


@pytest.mark.parametrize("d", [48, 160])
def test_what_is_chosen_finds_98_of_a_hundred(d, monkeypatch):
    """Of much, wide and not: vectors in groups, and queries beside some of them."""
    monkeypatch.setattr(registry, "SCANNED", 0)
    random = np.random.default_rng(d)
    spread = np.arange(1, d + 1) ** -0.3
    centres = random.standard_normal((200, d))
    vectors = (
        (centres[random.integers(200, size=6000)] + random.standard_normal((6000, d))) * spread
    ).astype(np.float32)
    queries = (vectors[:200] + 0.6 * random.standard_normal((200, d)) * spread).astype(np.float32)
    name, why = choose(*vectors.shape)
    assert name in FIRST
    assert "float32" in why
    engine = make(name, d)
    engine.add(vectors)
    engine.prepare()
    _, positions = engine.search(queries, 10)
    _, truth = closest(queries, unit(vectors), 10)
    hits = sum(len(set(a) & set(b)) for a, b in zip(positions.tolist(), truth.tolist(), strict=True))
    assert hits >= 0.98 * truth.size


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = (
        "import sys; from statim.search.engines.registry import make; make('faiss-hnsw', 8); "
        "make('scann', 8)\n"
        "sys.exit(len({'faiss', 'usearch', 'scann', 'numba', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert registry.NAMES == NAMES
