"""What engines find of what is nearest: of vectors that share a direction, of few and of many, beside
deletions, and under a filter.
"""

import json
import logging

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.model import StaticModel
from statim.search.engines import first_stage, registry, two_stage
from statim.search.engines.registry import EXACT, FIRST, NAMES, load, make
from statim.search.engines.tuning import ALL, Recall, cells_for, measured
from statim.search.engines.two_stage import Picked
from statim.search.index import Index
from statim.search.stores.folder import _Some

N, D, TOPICS = 2600, 32, 20
ROUNDED = ("exact-float16", "exact-int8", "exact-binary")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def topical():
    """Vectors in topics, which topic each is of, and queries beside some of them."""
    random = np.random.default_rng(5)
    centres, topic = random.standard_normal((TOPICS, D)), random.integers(TOPICS, size=N)
    vectors = unit(centres[topic] + 0.6 * random.standard_normal((N, D)))
    queries = unit(centres[np.arange(TOPICS)] + 0.5 * random.standard_normal((TOPICS, D)))
    return vectors, topic, queries


@pytest.fixture(scope="module")
def built(topical, tmp_path_factory):
    """The folder of every engine, built once."""
    made = {}

    def get(name):
        if name not in made:
            engine, made[name] = make(name, D), tmp_path_factory.mktemp(name)
            engine.add(topical[0])
            engine.prepare(threads=1)
            engine.save(made[name])
        return load(name, made[name], D)

    return get


def nearest(queries, vectors, k, allowed=None):
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def share(found, truth):
    return np.mean([np.isin(own, row).mean() for own, row in zip(truth, found, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_the_first_hits_do_not_depend_on_k(name, topical, built):
    engine, queries = built(name), topical[2]
    scores, positions = engine.search(queries, 10)
    for k in (1, 2, 3, 7):
        some_scores, some = engine.search(queries, k)
        np.testing.assert_array_equal(some, positions[:, :k])
        np.testing.assert_array_equal(some_scores, scores[:, :k])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [60, 400])
def test_many_are_found_too(name, k, topical, built):
    vectors, _, queries = topical
    _, positions = built(name).search(queries, k)
    assert (positions >= 0).all()
    assert share(positions, nearest(queries, vectors, k)) >= 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_leaves_the_nearest_of_what_satisfies_it(name, topical, built):
    vectors, topic, queries = topical
    engine, random = built(name), np.random.default_rng(0)
    for allowed in (
        topic == 3,
        random.random(N) < 0.2,
        np.arange(N) % 300 == 7,
        np.arange(N) == 9,
        topic < 0,
    ):
        _, positions = _Some(engine, allowed).search(queries, 10)
        truth = nearest(queries, vectors, min(10, int(allowed.sum())), allowed)
        assert positions.shape == truth.shape
        assert allowed[positions].all()
        if truth.size:
            assert share(positions, truth) == (
                1 if name in FIRST and name not in ROUNDED else pytest.approx(1, abs=0.07)
            )


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("few", [0, 1 << 30])
def test_a_wide_filter_goes_through_the_engine(name, few, topical, built, monkeypatch):
    monkeypatch.setattr("statim.search.stores.folder.FEW", few)
    monkeypatch.setattr("statim.search.stores.folder.FEW_OF", N)
    vectors, topic, queries = topical
    for allowed in (topic % 2 == 0, topic == 3):
        _, positions = _Some(built(name), allowed).search(queries, 10)
        assert allowed[positions].all()
        assert share(positions, nearest(queries, vectors, 10, allowed)) >= 0.93


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_beside_deletions_is_found(name, topical, built):
    """All but a few of the topic near the queries, less than a quarter of all vectors."""
    vectors, topic, queries = topical
    gone = np.concatenate([np.flatnonzero(topic == own)[5:] for own in range(4)])
    engine, living = built(name), np.ones(N, bool)
    engine.delete(gone)
    living[gone] = False
    _, positions = engine.search(queries[:4], 10)
    assert (positions >= 0).all()
    assert living[positions].all()
    assert share(positions, nearest(queries[:4], vectors, 10, living)) >= 0.9
    single = np.concatenate([engine.search(query[None], 10)[1] for query in queries[:4]])
    np.testing.assert_array_equal(single, positions)


def sharing(weight, n=2000, d=128, seed=0):
    """Vectors whose mean cosine grows with ``weight``, made of few and of many parts, and queries."""
    random = np.random.default_rng(seed)
    parts, common = random.standard_normal((400, d)), random.standard_normal(d)

    def made(count):
        few, many = random.integers(400, size=(2, count, 12))
        return unit(
            np.where(random.random((count, 1)) < 0.5, parts[few[:, :3]].mean(1), parts[many].mean(1))
            + weight * common
        )

    return made(n), made(100)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 4.0])
def test_bits_of_vectors_that_share_a_direction(weight, tmp_path):
    vectors, queries = sharing(weight)
    engine = make("binary", 128)
    engine.add(vectors)
    engine.prepare()
    engine.save(tmp_path)
    assert (tmp_path / "first" / "centre.npy").is_file() == (weight > 0)
    _, positions = engine.search(queries, 10)
    assert share(positions, nearest(queries, vectors, 10)) >= 0.98
    assert engine.recall.recall >= 0.995
    assert engine._first.effort <= 100  # without a centre it is the greatest at 4.0, 512, and in vain
    again = load("binary", tmp_path, 128)
    assert again.recall == engine.recall
    np.testing.assert_array_equal(again.search(queries, 10)[1], positions)
    more, _ = sharing(weight, 500, seed=1)
    again.add(more)
    again.prepare()
    assert again.held == 2500
    truth = nearest(queries, np.concatenate([vectors, more]), 10)
    assert share(again.search(queries, 10)[1], truth) >= 0.98


def test_bits_of_what_shares_no_direction_are_signs_as_before():
    vectors, _ = sharing(0.0)
    first = first_stage.Bits(128)
    first.build(Picked(vectors, np.arange(len(vectors))), 1)
    rows, lengths = first._joined()
    assert len(lengths) == 0
    np.testing.assert_array_equal(np.unpackbits(rows.view(np.uint8), axis=1), vectors @ first._rotation > 0)


def test_candidates_by_bits_are_those_of_the_formula():
    vectors, queries = sharing(1.0, 700)
    first = first_stage.Bits(128)
    first.build(Picked(vectors, np.arange(700)), 1)
    mean = vectors.mean(axis=0, dtype=np.float64)
    long, asked = np.linalg.norm(vectors - mean, axis=1), np.linalg.norm(queries - mean, axis=1)
    sides = [np.sign((some - mean) @ first._rotation.astype(np.float64)) for some in (queries, vectors)]
    agreeing = sides[0] @ sides[1].T / 2  # of 128 bits, less those that differ, halved
    scores = long * (agreeing - 128 / (2 * np.pi * asked[:, None]) * long)
    for threads in (1, 2):
        for row, own in zip(first.propose(queries, 40, threads), scores, strict=True):
            assert len(set(row)) == 40
            assert own[row].min() >= np.sort(own)[-40] - 1e-3


def test_a_query_that_is_the_mean(tmp_path):
    vectors, _ = sharing(1.0, 900)
    engine = make("binary", 128)
    engine.add(vectors)
    engine.prepare()
    mean = vectors.mean(axis=0, keepdims=True)
    _, positions = engine.search(mean, 5)
    assert share(positions, nearest(mean, vectors, 5)) >= 0.8


def test_bits_that_were_saved_without_a_centre_answer_as_before(tmp_path, monkeypatch):
    vectors, queries = sharing(1.0)
    monkeypatch.setattr(first_stage, "SHARED", np.inf)
    engine = make("binary", 128)
    engine.add(vectors)
    engine.prepare()
    engine.save(tmp_path)
    expected = engine.search(queries, 10)
    monkeypatch.undo()
    manifest = json.loads((tmp_path / "engine.json").read_text())
    for later in ("tuned", "more", "recall_at_1"):
        del manifest[later]
    (tmp_path / "engine.json").write_text(json.dumps(manifest))
    again = load("binary", tmp_path, 128)
    for found, known in zip(again.search(queries, 10), expected, strict=True):
        np.testing.assert_array_equal(found, known)
    assert again.recall == Recall(manifest["recall"], manifest["recall"])


@pytest.mark.parametrize("name", NAMES)
def test_the_recall_that_is_told_is_what_is_found(name, topical, built):
    engine = built(name)
    if name in ROUNDED:
        assert engine.recall is None
        return
    if name == "exact":
        assert engine.recall == ALL
        return
    vectors = topical[0]
    sample = np.linspace(0, N - 1, two_stage.SAMPLE).astype(int)
    truth = [row[row != own] for row, own in zip(nearest(vectors[sample], vectors, 11), sample, strict=True)]
    found = [np.isin(own, row) for own, row in zip(truth, engine.search(vectors[sample], 11)[1], strict=True)]
    assert np.mean(found) == pytest.approx(engine.recall.recall, abs=1e-9)
    assert np.mean([row[0] for row in found]) == pytest.approx(engine.recall.recall_at_1, abs=1e-9)
    assert engine.recall.recall >= 0.995  # candidates are added where a first pass cannot look harder


def test_effort_is_chosen_again_when_there_is_twice_as_much(topical, monkeypatch):
    vectors = topical[0]
    engine = make("funnel", D)
    engine.add(vectors[:500])
    engine.prepare()
    engine.add(vectors[500:900])
    engine.prepare()
    assert engine._tuned == 500
    engine.add(vectors[900:])
    engine.prepare()
    assert engine._tuned == N


@pytest.mark.parametrize(
    ("name", "chain"), [("binary", ["int8"]), ("binary", ["int8", "exact"]), ("int8", ["exact"])]
)
def test_what_nobody_asked_for_gives_way_where_it_finds_too_little(name, chain, topical, monkeypatch, caplog):
    monkeypatch.setattr(first_stage.Bits, "efforts", lambda _: (1, 1))
    if chain[-1] == "exact":
        monkeypatch.setattr(first_stage.Coarse, "efforts", lambda _: (1, 1))
        monkeypatch.setattr(
            first_stage.Coarse,
            "propose",
            lambda _, queries, count, __: np.tile(np.arange(count), (len(queries), 1)),
        )
    monkeypatch.setattr(two_stage, "MOST", 1)
    vectors, _, queries = topical
    engine = make(name, D)
    engine.add(vectors)
    engine.delete([3])
    with caplog.at_level(logging.INFO, "statim"):
        taken, other = registry.prepared(name, engine, asked=False)
    assert taken == chain[-1]
    assert f"so {taken} is taken" in caplog.text
    assert other.recall.recall >= 0.995
    living = np.arange(N) != 3
    assert share(other.search(queries, 10)[1], nearest(queries, vectors, 10, living)) >= 0.99


def model_of(dim):
    words = [f"w{i}" for i in range(60)]
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0} | {w: i + 1 for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((61, dim)).astype(np.float32)
    table[0] = 0
    random = np.random.default_rng(1)
    return StaticModel(table, backend), [" ".join(random.choice(words, 5)) for _ in range(600)]


def test_an_index_takes_another_engine_and_says_what_it_finds(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(registry, "SCANNED", 0)
    monkeypatch.setattr(first_stage.Bits, "efforts", lambda _: (1, 1))
    monkeypatch.setattr(two_stage, "MOST", 1)
    model, texts = model_of(128)
    index = Index.build(model, texts, tmp_path / "i")
    told = index.info()
    assert (told["engine"], told["trades"]) == ("int8", registry.WHY["int8"])
    assert 0.995 <= told["recall"] <= told["recall_at_1"] == 1.0
    assert "WARNING" not in caplog.text
    assert Index.load(tmp_path / "i").info() == told
    index.add(["w1 w2"], ids=["new"])
    assert index.info()["engine"] == "int8"


def test_an_engine_that_was_asked_for_stays_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(first_stage.Bits, "efforts", lambda _: (1, 1))
    monkeypatch.setattr(two_stage, "MOST", 1)
    model, texts = model_of(16)
    index = Index.build(model, texts, tmp_path / "i", engine="binary")
    told = index.info()
    assert told["engine"] == "binary"
    assert "trades" not in told
    assert 0.1 < told["recall"] < 0.9
    assert isinstance(told["recall_at_1"], float)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert f"the engine binary finds {told['recall']:.1%} of the ten documents" in warnings[0]
    index.add(["w1 w2"], ids=["new"])  # says nothing twice
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_an_index_of_an_older_version_says_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "SCANNED", 0)
    model, texts = model_of(128)
    Index.build(model, texts, tmp_path / "i")
    manifest = json.loads((tmp_path / "i" / "index.json").read_text())
    del manifest["digest"]
    manifest["trades"] = "one bit a dimension, which may miss five of a thousand of the ten closest"
    (tmp_path / "i" / "index.json").write_text(json.dumps(manifest))
    told = Index.load(tmp_path / "i").info()
    assert told["trades"] == registry.WHY[told["engine"]]
    assert told["recall"] >= 0.995


@pytest.mark.parametrize("name", NAMES)
def test_texts_without_tokens_are_never_first(name, tmp_path):
    model, texts = model_of(16)
    texts = ["", "zz zz", *texts, "zz"]
    rows = [{"known": not {"", "zz zz", "zz"} & {text}} for text in texts]
    index = Index.build(model, texts, tmp_path / "i", engine=name, metadata=rows)
    empty = {"0", "1", str(len(texts) - 1)}
    hits = index.search(["w1 w2", "w3"], len(texts), mode="vector")
    for own in hits:
        assert len(own) == len(texts) - 3
        assert not empty & {hit.id for hit in own}
    assert index.search("w1", 5, mode="vector", where="known = false") == []
    assert index.search("zz", 5, mode="vector") == []
    for own in index.search(["w1 w2", "w3"], 10):
        assert not empty & {hit.id for hit in own}


def test_recall_is_of_what_is_there_and_any_of_equal_ones_will_do():
    rows = [np.array([0.9, 0.5, 0.5, 0.2]), np.array([0.4]), np.array([])]
    found = [np.array([0.5, 0.3, 0.9, -np.inf]), np.array([0.1, 0.4 - 1e-8]), np.array([0.3])]
    assert measured(rows, found) == Recall((3 / 4 + 1) / 2, 1.0)
    assert measured(rows[:1], [np.full(4, 0.5)]) == Recall(1.0, 0.0)
    assert (
        measured(rows[:1], [np.full(4, -np.inf)]) == measured(rows[1:2], [np.array([])]) == Recall(0.0, 0.0)
    )
    assert measured([], []) == ALL


@pytest.mark.parametrize("name", ["binary", "faiss-hnsw", "usearch-f32", "scann"])
def test_copies_are_no_misses(name, topical):
    engine = make(name, D)
    engine.add(np.repeat(topical[0][:40], 60, axis=0))
    engine.prepare()
    assert engine.recall == ALL


def test_cells_hold_several_times_what_is_wanted():
    assert cells_for(10, 64, 6400) == 2
    assert cells_for(1000, 64, 6400) == 64
    assert cells_for(1, 1, 0) == 1


def test_engines_that_compare_everything_are_named():
    assert set(ROUNDED) <= set(NAMES)
    assert {"exact"} | set(ROUNDED[:2]) == set(EXACT)
