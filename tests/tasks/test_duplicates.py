"""Duplicates against exhaustive comparison in float64, groups against plain Python and SciPy."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

import statim
from statim.errors import DataError, InputError, ModelError
from statim.kernels.search import neighbors
from statim.model import StaticModel
from statim.tasks.duplicates.duplicates import compare_thresholds, find_duplicates
from statim.tasks.similarity import similarity_join
from statim.tasks.similarity import vector_set as items_module
from statim.tasks.similarity.similarity_join import Sample, pairs_above
from statim.tasks.similarity.vector_set import read_items


def texts_like(seed, n, d=32, topics=60):
    """Vectors of topics, a tenth of them near-copies of others."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((topics, d))[random.integers(topics, size=n)] + random.standard_normal(
        (n, d)
    )
    copies = random.permutation(n)[: n // 5].reshape(2, -1)
    vectors[copies[0]] = vectors[copies[1]] + 0.25 * random.standard_normal((copies.shape[1], d))
    return vectors.astype(np.float32)


def unit(vectors):
    wide = np.asarray(vectors, np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def oracle(left, right, threshold, *, same):
    scores = unit(left) @ unit(right).T
    i, j = np.nonzero(scores >= threshold)
    if same:
        i, j = i[i < j], j[i < j]
    return {(int(a), int(b)): scores[a, b] for a, b in zip(i, j, strict=True)}


def as_dict(pairs):
    return {(int(a), int(b)): float(s) for a, b, s in zip(*pairs, strict=True)}


@pytest.fixture(params=["half", "float32"])
def products(request, monkeypatch):
    if request.param == "float32":
        monkeypatch.setattr(items_module, "has_half", lambda: False)
    return request.param


def check(found, expected, threshold, recall):
    assert len(found.left) == len(set(zip(found.left.tolist(), found.right.tolist(), strict=True)))
    assert (np.lexsort((found.right, found.left)) == np.arange(len(found.left))).all()
    there = as_dict(found)
    for pair, score in there.items():  # every pair is truly above
        assert pair in expected or score == pytest.approx(threshold, abs=1e-6)
        assert score == pytest.approx(expected.get(pair, threshold), abs=2e-6)
    sure = {pair for pair, score in expected.items() if score > threshold + 1e-6}
    assert len(sure) > 100
    assert len(sure & there.keys()) >= recall * len(sure)


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_everything_compared_is_what_float64_gives(products, threshold):
    vectors = texts_like(0, 3000)
    found = pairs_above(read_items(vectors=vectors), None, threshold, None)
    check(found, oracle(vectors, vectors, threshold, same=True), threshold, 1.0)


@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_cells_find_nearly_all(products, threshold, monkeypatch):
    monkeypatch.setattr(similarity_join, "FEW", 100)
    vectors = texts_like(1, 6000)
    items = read_items(vectors=vectors)
    found = pairs_above(items, None, threshold, Sample(items, None, threshold))
    check(found, oracle(vectors, vectors, threshold, same=True), threshold, 0.98)


@pytest.mark.parametrize("few", [100, 1 << 20])
def test_two_sets(few, monkeypatch):
    monkeypatch.setattr(similarity_join, "FEW", few)
    vectors = texts_like(2, 6000)
    left, right = vectors[:2000], vectors[2000:]
    a, b = read_items(vectors=left), read_items(vectors=right)
    found = pairs_above(a, b, 0.8, Sample(a, b, 0.7))
    check(found, oracle(left, right, 0.8, same=False), 0.8, 1.0 if few > 100 else 0.98)


def test_the_same_seed_gives_the_same_pairs_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(similarity_join, "FEW", 100)
    vectors = texts_like(3, 3000)
    found = [
        find_duplicates(vectors=vectors, threshold=0.8, threads=threads).pair_table() for threads in (2, 2)
    ]
    assert found[0].equals(found[1])


def test_a_sample_of_everything_counts_exactly():
    vectors = texts_like(4, 2000)
    report = compare_thresholds(vectors=vectors)
    assert report.sampled == 2000
    for level in report.levels:
        expected = oracle(vectors, vectors, level["threshold"], same=True)
        assert level["pairs"] == pytest.approx(len(expected), abs=1)
        members = {item for pair in expected for item in pair}
        assert level["share"] == pytest.approx(len(members) / 2000, abs=2e-3)
        for example in level["examples"]:
            score = float(unit(vectors)[example["row"]] @ unit(vectors)[example["other"]])
            assert example["score"] == pytest.approx(score, abs=1e-4)


graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.dictionaries(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1]),
            st.sampled_from([0.9, 0.92, 0.95, 0.99]),
            max_size=30,
        ),
    )
)


def arrays(graph):
    n, edges = graph
    first = np.array([a for a, _ in edges], np.int32)
    second = np.array([b for _, b in edges], np.int32)
    scores = np.array(list(edges.values()), np.float32)
    offsets, places = neighbors.neighbours(first, second, n)
    return n, first, second, scores, offsets, places


@settings(max_examples=200)
@given(graphs)
def test_stars_have_no_two_close_centres_and_members_close_to_theirs(graph):
    n, first, second, scores, offsets, places = arrays(graph)
    centres, closest = np.full(n, -1, np.int32), np.full(n, -np.inf, np.float32)
    neighbors.stars(first, second, scores, offsets, places, centres, closest)
    edges = {frozenset(pair): score for pair, score in graph[1].items()}
    heads: list[int] = []
    for v in range(n):  # the first that no earlier centre is close to
        if not any(frozenset((v, head)) in edges for head in heads):
            heads.append(v)
    assert heads == np.flatnonzero(centres == np.arange(n)).tolist()
    for v in set(range(n)) - set(heads):
        own = edges[frozenset((v, int(centres[v])))]
        assert own == max(edges.get(frozenset((v, head)), 0) for head in heads if head < v)
        assert closest[v] == np.float32(own)


@settings(max_examples=200)
@given(graphs)
def test_components_are_those_of_scipy(graph):
    n, first, second, *_ = arrays(graph)
    centres = np.arange(n, dtype=np.int32)
    neighbors.components(first, second, centres)
    matrix = scipy.sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(n, n))
    _, labels = connected_components(matrix, directed=False)
    assert all(centres[v] == np.flatnonzero(labels == labels[v])[0] for v in range(n))


@settings(max_examples=200)
@given(graphs, st.integers(1, 6), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_communities_take_the_most_texts_that_are_free(graph, least, weights):
    n, first, second, scores, offsets, places = arrays(graph)
    centres, closest, weights = (
        np.full(n, -1, np.int32),
        np.full(n, -np.inf, np.float32),
        np.array(weights[:n]),
    )
    neighbors.communities(first, second, scores, offsets, places, weights, least, centres, closest)
    around = [{v} | {b for a, b in graph[1] if a == v} | {a for a, b in graph[1] if b == v} for v in range(n)]

    def texts(items):
        return int(weights[list(items)].sum())

    free, sizes = set(range(n)), []
    while free:  # whichever of equal ones is taken, each is as large as any that was there
        heads = sorted(set(centres[centres >= 0].tolist()) & free, key=lambda v: -texts(around[v] & free))
        most = max(texts(around[v] & free) for v in free)
        if most < least:
            break
        head = next(v for v in heads if set(np.flatnonzero(centres == v).tolist()) == around[v] & free)
        assert texts(around[head] & free) == most
        sizes.append(most)
        free -= around[head]
    taken = np.flatnonzero(centres >= 0)
    found = np.bincount(centres[taken], weights[taken])
    assert sorted(found[found > 0].tolist(), reverse=True) == sizes
    assert free == set(np.flatnonzero(centres < 0).tolist())


@pytest.fixture(scope="module")
def model(minilm):
    table = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 32)).astype(np.float32)
    return StaticModel(table, minilm)


TEXTS = [
    "how do I sort a list", "open the file and read it", "How do I sort a list", "how do I sort a list",
    "what is a socket",
    "open the file then read it", "weather in the north tomorrow", "weather in the north tomorrow",
]  # fmt: skip


def test_groups_pairs_and_what_stays(model):
    found = statim.find_duplicates(TEXTS, model, threshold=0.8)
    assert found.stays.tolist() == [0, 1, 4, 6]
    assert found.representatives.tolist() == [0, 1, 0, 0, 4, 1, 6, 6]
    assert found.kept().column("text").to_pylist() == [TEXTS[row] for row in (0, 1, 4, 6)]
    groups = found.groups()
    assert groups.column("group").to_pylist() == [0, 0, 0, 1, 1, 2, 2]
    assert groups.column("row").to_pylist() == [0, 2, 3, 1, 5, 6, 7]
    assert groups.column("representative").to_pylist() == [True, False, False, True, False, True, False]
    assert groups.column("text").to_pylist() == [TEXTS[row] for row in groups.column("row").to_pylist()]
    pairs = found.pair_table()
    both = zip(pairs.column("row").to_pylist(), pairs.column("other").to_pylist(), strict=True)
    assert list(both) == [(0, 2), (0, 3), (1, 5), (6, 7)]
    assert found.to_dict()["different_texts"] == 6
    assert "4 rows stay, 4 go" in str(found)


def test_leakage_between_two_sets(model):
    train = ["open the file then read it", "nothing like it", "how do I sort a list"]
    found = find_duplicates(TEXTS, model, against=train, threshold=0.8)
    assert found.representatives.tolist() == [2, 0, 2, 2, -1, 0, -1, -1]
    assert found.stays.tolist() == [4, 6, 7]
    pairs = found.pair_table().to_pylist()
    assert [(pair["row"], pair["other"]) for pair in pairs] == [(0, 2), (1, 0), (2, 2), (3, 2), (5, 0)]
    assert all(
        pair["text"] == TEXTS[pair["row"]] and pair["other_text"] == train[pair["other"]] for pair in pairs
    )
    with pytest.raises(InputError, match="one set"):
        found.groups()


def test_linked_groups_chain_and_stars_do_not():
    angles = np.deg2rad([0, 20, 40, 60])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    threshold = float(np.cos(np.deg2rad(25)))
    assert find_duplicates(vectors=vectors, threshold=threshold, linked=True).representatives.tolist() == [
        0,
        0,
        0,
        0,
    ]
    assert find_duplicates(vectors=vectors, threshold=threshold).representatives.tolist() == [0, 0, 2, 2]


def test_how_far_linked_groups_reach_and_what_they_hang_by():
    random = np.random.default_rng(0)
    angles = np.deg2rad(
        np.append(np.arange(0, 60, 2), np.arange(61, 121, 2))
    )  # a gap of 3 degrees, between 58 and 61
    order = np.append(0, 1 + random.permutation(len(angles) - 1))
    vectors = np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)[order]
    vectors = np.concatenate([vectors, [[0, 0, 1]] * 30])
    threshold = float(np.cos(np.deg2rad(3.5)))
    found = find_duplicates(vectors=vectors, threshold=threshold, linked=True)
    assert found.sizes.tolist() == [60, 30]
    scores = vectors[:60] @ vectors[0]
    figures = found.to_dict()
    assert figures["below_threshold"] == (scores < threshold).sum() == 58
    assert figures["lowest_score"] == pytest.approx(scores.min(), abs=1e-4)
    assert scores.min() == pytest.approx(np.cos(np.deg2rad(119)))
    (giant,) = figures["giant_groups"]  # copies hang by nothing
    assert (giant["representative"], giant["rows"]) == (0, 60)
    assert giant["lowest_score"] == figures["lowest_score"]
    link = giant["weakest_link"]
    degrees = np.rad2deg(angles[order])
    assert {round(degrees[link["row"]]), round(degrees[link["other"]])} == {58, 61}
    assert link["score"] == pytest.approx(np.cos(np.deg2rad(3)), abs=1e-4)
    above = find_duplicates(vectors=vectors, threshold=float(np.cos(np.deg2rad(2.9))), linked=True)
    assert sorted(above.sizes) == [30, 30, 30]
    said = str(found)
    assert (
        f"58 rows are below {threshold:g} with the row that stays of their group, the lowest at -0.485"
        in said
    )
    assert f"has 60 rows, 67% of all; its weakest link is {link['score']:.3f}, between rows" in said
    stars = find_duplicates(vectors=vectors, threshold=threshold)
    assert "below_threshold" not in stars.to_dict()
    assert (stars.scores > threshold - 1e-6).all()


def test_a_weakest_link_shows_its_texts(model):
    words = [
        "sort",
        "list",
        "order",
        "array",
        "open",
        "file",
        "read",
        "write",
        "start",
        "thread",
        "run",
        "process",
    ]
    texts = [" ".join(words[i : i + 4]) for i in range(9)] * 3  # three of four words are the same
    found = find_duplicates(texts, model, threshold=0.5, linked=True)
    assert found.sizes.tolist() == [27]
    (giant,) = found.to_dict()["giant_groups"]
    link = giant["weakest_link"]
    vectors = model.encode(texts, normalize=True)
    assert link["score"] == pytest.approx(float(vectors[link["row"]] @ vectors[link["other"]]), abs=1e-4)
    assert (link["text"], link["other_text"]) == (texts[link["row"]], texts[link["other"]])
    first, *same = link["text"].split()
    *same_too, last = link["other_text"].split()
    assert same == same_too
    assert f"([{first}] {' '.join(same)} | {' '.join(same)} [{last}])" in str(found)


def test_top_keeps_the_closest_of_either_end():
    vectors = texts_like(5, 500, topics=10)
    for top in (1, 3):
        found = find_duplicates(vectors=vectors, threshold=0.5, top=top)
        expected, scores = set(), unit(vectors) @ unit(vectors).T
        np.fill_diagonal(scores, -1)
        for row in range(500):
            expected |= {
                tuple(sorted((row, int(c)))) for c in np.argsort(-scores[row])[:top] if scores[row, c] >= 0.5
            }
        assert set(as_dict(found.pairs)) == expected


@pytest.mark.parametrize("text", ["the same text again", "☃"])
def test_all_equal(model, text):
    found = find_duplicates([text] * 50_000, model)
    assert found.stays.tolist() == [0]
    assert len(found.pairs.left) == 0
    assert len(found.groups()) == 50_000
    assert found.to_dict()["largest_group"] == 50_000


def test_none_equal():
    vectors = np.eye(300, dtype=np.float32)
    found = find_duplicates(vectors=vectors, threshold=0.1)
    assert len(found.stays) == 300
    assert len(found.groups()) == len(found.pair_table()) == 0


def test_no_pair_in_a_large_set(monkeypatch):
    monkeypatch.setattr(similarity_join, "FEW", 100)
    found = find_duplicates(vectors=np.random.default_rng(0).standard_normal((3000, 64)), threshold=0.95)
    assert len(found.stays) == 3000
    assert found.recall == 1.0


def test_texts_without_tokens_are_like_nothing(model):
    vectors = np.array([[0, 0], [0, 0], [1, 0], [-0.0, 0]])
    assert find_duplicates(vectors=vectors, threshold=0.01).stays.tolist() == [0, 1, 2, 3]
    texts = ["a", "b", "c", "a"]
    assert find_duplicates(texts, vectors=vectors, threshold=0.01).stays.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("linked", [False, True])
def test_texts_without_tokens_are_counted_and_stay(model, linked):
    texts = ["", "the same text", " ", "", "\n", "the same text", "", " "]
    found = find_duplicates(texts, model, threshold=0.01, linked=linked)
    assert found.stays.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert found.kept()["text"].to_pylist() == [texts[row] for row in found.stays]
    assert found.groups()["row"].to_pylist() == [1, 5]
    assert found.pair_table().select(["row", "other"]).to_pylist() == [{"row": 1, "other": 5}]
    assert found.to_dict()["without_tokens"] == 6
    assert "1 of them repeat" in str(found)
    assert "6 rows have no token" in str(found)
    report = compare_thresholds(texts, model)
    assert (report.repeated, report.without_tokens) == (1, 6)
    assert "6 rows have no token" in str(report)


def test_texts_without_tokens_have_no_duplicate_in_another_set(model):
    found = find_duplicates(["", "the same text", "", "☃"], model, against=["", "the same text", " "])
    assert found.stays.tolist() == [0, 2, 3]
    assert found.pair_table().select(["row", "other"]).to_pylist() == [{"row": 1, "other": 1}]
    assert found.to_dict()["without_tokens"] == 2


def test_vectors_of_texts_are_those_of_the_model(model):
    with_model = find_duplicates(TEXTS, model, threshold=0.8)
    with_vectors = find_duplicates(TEXTS, vectors=model.encode(TEXTS), threshold=0.8)
    assert with_model.groups().equals(with_vectors.groups())
    assert with_model.pair_table().equals(with_vectors.pair_table())


def test_too_many_pairs_are_refused_where_all_are_wanted(monkeypatch):
    vectors = texts_like(6, 3000, topics=2)
    monkeypatch.setattr(similarity_join, "MOST", 1000)
    for few in (1 << 20, 100):
        monkeypatch.setattr(similarity_join, "FEW", few)
        for options in ({"every_pair": True}, {"linked": True}, {"top": 3}, {"against_vectors": vectors}):
            with pytest.raises(InputError, match="higher threshold"):
                find_duplicates(vectors=vectors, threshold=0.2, **options)


def test_crowded_sets_are_grouped_all_the_same(monkeypatch, products):
    vectors = texts_like(7, 5000, topics=12)
    expected = find_duplicates(vectors=vectors, threshold=0.6)
    monkeypatch.setattr(similarity_join, "MOST", 1000)
    found = find_duplicates(vectors=vectors, threshold=0.6)
    assert found.crowded
    assert found.stays.tolist() == expected.stays.tolist()
    scores, heads = unit(vectors) @ unit(vectors).T, found.stays
    for row in range(5000):
        if row not in heads:
            before = heads[heads < row]
            assert scores[row, found.representatives[row]] == pytest.approx(
                scores[row, before].max(), abs=1e-6
            )
    assert found.scores == pytest.approx(scores[np.arange(5000), found.representatives], abs=1e-5)
    assert (found.representatives == expected.representatives).all()
    with pytest.raises(InputError, match="too many pairs"):
        found.pair_table()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"vectors": np.ones((2, 3)), "threshold": 0}, InputError, "threshold"),
        ({"vectors": np.ones((2, 3)), "threshold": 1.5}, InputError, "threshold"),
        ({"vectors": np.ones((2, 3)), "threshold": float("nan")}, InputError, "threshold"),
        ({"vectors": np.ones((2, 3)), "top": 0}, InputError, "top"),
        ({"vectors": np.ones((2, 3)), "texts": ["a"]}, InputError, "2 vectors for 1 texts"),
        (
            {"vectors": np.ones((2, 3)), "texts": ["a", "b", "c"]},
            InputError,
            "2 vectors for more than 2 texts",
        ),
        ({"vectors": np.ones(3)}, InputError, "shape"),
        ({"vectors": np.array([["a"]])}, InputError, "shape"),
        ({"vectors": np.array([[1, 0], [np.nan, 0]])}, InputError, "vector 1 holds NaN"),
        ({"vectors": np.ones((2, 3)), "against_vectors": np.ones((2, 4))}, InputError, "4"),
        ({"vectors": np.ones((2, 3)), "against": ["a"]}, InputError, "both sets"),
        (
            {"vectors": np.ones((2, 3)), "against_vectors": np.ones((2, 3)), "linked": True},
            InputError,
            "one set",
        ),
        ({"vectors": np.empty((0, 3))}, DataError, "no rows"),
        ({"vectors": "nowhere.npy"}, InputError, "nowhere.npy"),
        ({"texts": ["a"], "model": "nowhere"}, ModelError, "nowhere"),
        ({}, InputError, "nothing to compare"),
    ],
)
def test_what_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        find_duplicates(**given)


def test_texts_are_str_and_there_are_some(model):
    with pytest.raises(InputError, match="text 1 is of type int"):
        find_duplicates(["a", 1], model)
    with pytest.raises(DataError, match="no rows"):
        find_duplicates([], model)


def test_a_column_of_arrow_is_read(model):
    assert find_duplicates(pa.chunked_array([TEXTS[:3], TEXTS[3:]]), model, threshold=0.8).stays.tolist() == [
        0,
        1,
        4,
        6,
    ]


def test_empty_texts_are_like_nothing_whoever_made_their_vectors():
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    found = find_duplicates(["", " ", "a", "b", "c"], vectors=vectors, threshold=0.95)
    assert found.stays.tolist() == [0, 1, 2, 3]
    assert found.to_dict()["without_tokens"] == 2
    assert found.representatives.tolist() == [0, 1, 2, 3, 2]
