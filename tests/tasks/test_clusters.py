"""Clusters against scikit-learn, the words of clusters against the formula in numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.util import community_detection
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import adjusted_rand_score, homogeneity_score

import statim
from statim.errors import DataError, InputError
from statim.search.engines.kmeans import beside, kmeans, nearest
from statim.tasks.clusters import clusters as module
from statim.tasks.clusters.clusters import cluster
from statim.tasks.clusters.keywords import typical_words
from statim.tasks.clusters.rounding import GAP, heads
from statim.tasks.similarity import similarity_join
from statim.tasks.similarity.vector_set import read_items


def blobs(seed, n, k=8, d=24, spread=0.5):
    random = np.random.default_rng(seed)
    labels = random.integers(k, size=n)
    vectors = random.standard_normal((k, d))[labels] + spread * random.standard_normal((n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def inertia(vectors, centres):
    """Of spherical k-means: the sum of 1 - cosine with the closest centre."""
    return float((1 - (vectors @ centres.T).max(axis=1)).sum())


@pytest.mark.parametrize("passes", [0, 2])
def test_kmeans_is_as_good_as_scikit_learns(passes):
    vectors, _ = blobs(0, 40_000, k=30, spread=0.9)
    items = read_items(vectors=vectors)
    centres = kmeans(items.vectors, items.rough, 20, passes=passes)
    peer = KMeans(20, n_init=1, random_state=0).fit(vectors[:4000]).cluster_centers_
    peer /= np.linalg.norm(peer, axis=1, keepdims=True)
    assert np.linalg.norm(centres, axis=1) == pytest.approx(np.ones(20), abs=1e-5)
    assert inertia(vectors, centres) < 1.02 * inertia(vectors, peer)


def test_the_nearest_centre_and_those_beside_it():
    vectors, _ = blobs(1, 5000)
    items = read_items(vectors=vectors)
    centres = kmeans(items.vectors, items.rough, 16)
    scores = items.vectors.astype(np.float64) @ centres.T.astype(np.float64)
    places, close = nearest(items.rough, centres)
    assert (scores[np.arange(5000), places] >= scores.max(axis=1) - 0.016).all()  # bfloat16
    assert close == pytest.approx(scores.max(axis=1), abs=0.01)
    own, rows, cells = beside(items.rough, centres, 0.2)
    assert (own == places).all()
    found = np.zeros(scores.shape, bool)
    found[rows, cells] = True
    gaps = scores.max(axis=1, keepdims=True) - scores
    assert found[gaps < 0.184].all()
    assert not found[gaps > 0.216].any()
    assert (np.lexsort((cells, rows)) == np.arange(len(rows))).all()


@pytest.mark.parametrize("method", ["kmeans", "communities"])
def test_blobs_are_found_again(method):
    vectors, labels = blobs(2, 2000, spread=0.2)
    options = {"clusters": 8} if method == "kmeans" else {"threshold": 0.7}
    found = cluster(vectors=vectors, method=method, **options)
    assert adjusted_rand_score(labels, found.labels) > 0.99
    sizes = np.bincount(found.labels)
    assert (np.diff(sizes) <= 0).all()
    assert [entry["size"] for entry in found.described] == sizes.tolist()
    again = cluster(vectors=vectors, method=method, **options)
    assert (again.labels == found.labels).all()


def test_a_community_is_close_to_its_centre():
    vectors, _ = blobs(3, 1500, k=40, spread=0.6)
    found = cluster(vectors=vectors, method="communities", threshold=0.7, min_size=5)
    assert found.described
    assert min(entry["size"] for entry in found.described) >= 5
    for entry in found.described:
        centre = vectors[entry["central_rows"][0]]
        assert (vectors[found.labels == entry["cluster"]] @ centre > 0.7 - 1e-5).all()


def test_communities_of_a_sample_take_the_rest(monkeypatch):
    monkeypatch.setattr(similarity_join, "FEW", 500)
    monkeypatch.setattr(module, "PAIRS", 20_000)
    vectors, labels = blobs(4, 4000, spread=0.15)
    found = cluster(vectors=vectors, method="communities", threshold=0.7)
    assert adjusted_rand_score(labels, found.labels) > 0.95


def dense(labels_of):
    """A stand-in for evoc, which compiles for half a minute: gives the labels that a function makes of the
    sample.
    """

    class Dense:
        cluster_layers_ = ()

        def __init__(self, base_min_cluster_size, random_state):
            self.least = base_min_cluster_size

        def fit_predict(self, sample):
            return labels_of(sample, self.least)

    return lambda: Dense


@pytest.mark.parametrize("kind", ["stand-in", pytest.param("evoc", marks=pytest.mark.long)])
def test_dense_regions(kind, monkeypatch):
    vectors, labels = blobs(5, 900, k=6, spread=0.1)
    noise = np.random.default_rng(1).standard_normal((100, 24)).astype(np.float32)
    monkeypatch.setattr(module, "SAMPLE", 600)  # the rest joins
    if kind == "stand-in":
        hdbscan = dense(lambda sample, least: HDBSCAN(min_cluster_size=least, copy=True).fit_predict(sample))
        monkeypatch.setattr(module, "_evoc", hdbscan)
    found = cluster(vectors=np.concatenate([vectors, noise]), method="density")
    clustered = found.labels[:900] >= 0
    assert clustered.mean() > 0.8
    both = labels[clustered], found.labels[:900][clustered]
    assert homogeneity_score(*both) > 0.99
    # evoc cuts one or two of the six blobs into regions, and which follows from the processor's rounding
    assert adjusted_rand_score(*both) > (0.9 if kind == "evoc" else 0.95)
    # evoc may take noise for a region of its own; none of it belongs to a blob
    alone = (
        found.labels[900:] < 0
        if kind == "stand-in"
        else ~np.isin(found.labels[900:], found.labels[:900][clustered])
    )
    assert alone.mean() > 0.8
    assert (found.scores[found.labels < 0] == 0).all()


def test_the_layer_with_about_as_many_regions_as_are_asked_for(monkeypatch):
    vectors, labels = blobs(5, 900, k=6, spread=0.1)
    coarse = np.where(labels == 0, -1, labels % 2)

    class Layers:
        cluster_layers_ = (labels, coarse)

        def __init__(self, base_min_cluster_size, random_state):
            pass

        def fit_predict(self, sample):
            return np.full(len(sample), -1)

    monkeypatch.setattr(module, "_evoc", lambda: Layers)
    for clusters, expected in ((2, coarse), (3, coarse), (5, labels), (None, labels)):
        found = cluster(vectors=vectors, method="density", clusters=clusters).labels
        assert adjusted_rand_score(expected, found) == 1
        assert ((found < 0) == (expected < 0)).all()


def test_typical_words_are_those_of_the_formula(docstrings):
    groups = [docstrings[start : start + 60] for start in range(0, 600, 60)]
    from bm25s.stopwords import STOPWORDS_EN, STOPWORDS_EN_PLUS

    counter = CountVectorizer(
        token_pattern=r"\b[^\W\d_]\w+\b", stop_words=[*STOPWORDS_EN, *STOPWORDS_EN_PLUS]
    )
    counts = counter.fit_transform(["\n".join(group) for group in groups]).toarray().astype(np.float64)
    weights = (
        counts
        / counts.sum(axis=1, keepdims=True)
        * np.log(1 + counts.sum(axis=1).mean() / counts.sum(axis=0))
    )
    words = counter.get_feature_names_out()
    for row, found in zip(weights, typical_words(groups, 10), strict=True):
        assert len(found) == 10
        chosen = [row[np.flatnonzero(words == word)[0]] for word in found]
        assert chosen == pytest.approx(np.sort(row)[::-1][:10])


def test_typical_words_leave_out_stop_words_of_each_groups_language():
    groups = [
        ["der Hund und die Katze", "die Katze ist müde und der Hund nicht"] * 5,
        ["the dog and the cat", "the cat is tired and the dog is not"] * 5,
        ["नया मेल भेजो", "मेल आ गया"] * 5,
        ["データベースの接続を設定する", "データベースを開く"] * 5,
    ]
    found = [set(words) for words in typical_words(groups)]
    assert {"hund", "katze", "müde"} <= found[0]
    assert not {"der", "die", "und", "ist"} & found[0]
    assert found[1] == {"dog", "cat", "tired"}
    assert "मेल" in found[2]
    assert found[3] == {"データベース", "接続", "設定"}


def test_clusters_of_texts_have_words_and_central_texts(minilm):
    words = {
        "sort": "list order key reverse",
        "network": "socket port packet address",
        "time": "clock date hour zone",
    }
    random = np.random.default_rng(0)
    texts = [
        f"{topic} {' '.join(random.permutation(more.split())[:3])}"
        for topic, more in words.items()
        for _ in range(40)
    ]
    model = statim.StaticModel(random.standard_normal((minilm.get_vocab_size(), 32)), minilm)
    texts += ["", texts[0]]
    found = statim.cluster(texts, model, clusters=3)
    assert len(found.described) == 3
    assert {entry["words"][0] for entry in found.described} == set(words)
    assert found.labels[-2] == -1  # without tokens
    assert found.labels[-1] == found.labels[0]
    for entry in found.described:
        assert len(set(entry["central"])) == len(entry["central"]) == 3
        assert all(
            texts[row] == text for row, text in zip(entry["central_rows"], entry["central"], strict=True)
        )
    table = found.table()
    assert table.column("text").to_pylist() == texts
    assert table.column("cluster").to_pylist() == found.labels.tolist()
    assert "1 row in none" in str(found)


def test_copies_do_not_stop_kmeans():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 200, axis=0)
    assert (np.bincount(cluster(vectors=vectors, clusters=3).labels) == 200).all()
    with pytest.raises(InputError, match="4 clusters of 3"):
        cluster(vectors=vectors, clusters=4)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"method": "magic"}, InputError, "kmeans"),
        ({"clusters": 0}, InputError, "clusters"),
        ({"clusters": 2, "method": "communities"}, InputError, "communities finds out"),
        ({"method": "density"}, InputError, "too few"),
        ({"threshold": 2.0}, InputError, "threshold"),
        ({"min_size": 1}, InputError, "min_size"),
        ({"vectors": np.empty((0, 3))}, DataError, "no rows"),
    ],
)
def test_what_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        cluster(**({"vectors": np.eye(3)} | given))


def test_communities_count_every_text(model):
    words = ["sort list", "open file", *(f"{a} {b}" for a, b in [("read", "thread"), ("array", "run")])]
    texts = [text for text, count in zip(words, (40, 15, 9, 1), strict=True) for _ in range(count)]
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    vectors = model.encode(texts, normalize=True)
    peer = community_detection(vectors, threshold=0.75, min_community_size=10)
    assert [len(rows) for rows in peer] == [40, 15]
    found = cluster(texts, model, method="communities", threshold=0.75)
    assert [entry["size"] for entry in found.described] == [40, 15]
    for number, rows in enumerate(peer):
        assert np.flatnonzero(found.labels == number).tolist() == sorted(rows)
    less = cluster(texts, model, method="communities", threshold=0.75, min_size=9)
    assert [entry["size"] for entry in less.described] == [40, 15, 9]


def noisy_copies(seed, n, copies, d=24):
    """Different vectors, then copies of them that rounding alone tells apart; and which vector each is."""
    random = np.random.default_rng(seed)
    vectors, which = random.standard_normal((n, d)), np.append(np.arange(n), random.integers(n, size=copies))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = 3e-8 * random.standard_normal((n + copies, d))
    return (vectors[which] + noise).astype(np.float32), which


@pytest.mark.parametrize(
    "options",
    [
        {"method": "kmeans", "clusters": 40},
        {"method": "communities", "threshold": 0.4, "min_size": 3},
        {"method": "density", "min_size": 5},
    ],
)
def test_vectors_that_differ_by_rounding_alone_share_a_label(options, monkeypatch):
    # labels that tell neighbours in the sample apart
    monkeypatch.setattr(module, "_evoc", dense(lambda sample, _: np.arange(len(sample)) % 7 - 1))
    vectors, which = noisy_copies(0, 300, 900)
    assert len(read_items(vectors=vectors)) > 800
    found = cluster(vectors=vectors, **options)
    assert (found.labels[:300] >= 0).any()
    assert (found.labels == found.labels[:300][which]).all()
    sizes = np.bincount(found.labels[found.labels >= 0])
    assert [entry["size"] for entry in found.described] == sizes.tolist()
    assert found.scores == pytest.approx(found.scores[:300][which], abs=1e-5)


def test_a_border_does_not_part_vectors_that_differ_by_rounding_alone():
    """One copy has the threshold's cosine with the centre, the other a little less."""
    threshold = np.float32(0.75)
    centre = np.array([[1, 0, 0]] * 12, np.float32)
    others = [
        [cosine, np.sqrt(1 - np.float64(cosine) ** 2), 0]
        for cosine in (threshold, np.nextafter(threshold, np.float32(0)))
    ]
    for order in ([0, 1], [1, 0]):
        vectors = np.concatenate([centre, np.array(others, np.float32)[order]])
        found = cluster(vectors=vectors, method="communities", threshold=float(threshold), min_size=3)
        assert (found.labels[:12] == 0).all()
        assert found.labels[12] == found.labels[13]


def test_copies_of_one_text_are_dense(monkeypatch, model):
    monkeypatch.setattr(module, "_evoc", dense(lambda sample, _: np.full(len(sample), -1)))
    words = ["sort", "list", "order", "array", "open", "file", "read", "write", "start", "thread", "run"]
    texts = [f"{a} {b}" for a in words for b in words if a < b] + ["do not"] * 12 + ["how"] * 9
    found = cluster(texts, model, method="density")
    assert found.labels.tolist() == [-1] * 55 + [0] * 12 + [-1] * 9


@given(
    st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 5), st.sampled_from([1e-8, 3e-7, 1e-5, 0.1])
)
def test_heads_by_brute_force(seed, n, d, noise):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((4, d))[random.integers(4, size=n)] + noise * random.standard_normal(
        (n, d)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = heads(vectors, threads=1)
    gaps = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=2)
    assert (found <= np.arange(n)).all()
    assert (found[found] == found).all()
    assert (gaps[np.arange(n), found] <= 2.001 * GAP).all()  # both are that close to their leader
    alone = found == np.arange(n)
    lonely = (gaps <= GAP).sum(axis=1) == 1
    assert alone[lonely].all()
    if noise == 1e-8:
        assert (found[:, None] == found[None])[gaps <= 0.5 * GAP].all()


@pytest.mark.parametrize("method", ["kmeans", "communities", "density"])
def test_texts_without_tokens_are_in_no_cluster(method, monkeypatch, model):
    monkeypatch.setattr(module, "_evoc", dense(lambda sample, _: np.zeros(len(sample), np.int64)))
    words = ["sort", "list", "order", "array", "open", "file", "read", "write", "start", "thread", "run"]
    texts = ["", *(f"{a} {b}" for a in words for b in words if a < b), "", "☃", "☃"]
    options = {"kmeans": {"clusters": 1}, "communities": {"threshold": 0.01, "min_size": 2}, "density": {}}
    found = cluster(texts, model, method=method, **options[method])
    assert found.labels[[0, 56, 57, 58]].tolist() == [-1] * 4
    assert found.scores[[0, 56, 57, 58]].tolist() == [0] * 4
    assert (found.labels[1:56] >= 0).mean() > 0.8
    assert found.to_dict()["without_tokens"] == 4
    assert "4 of these have no token that the model knows" in str(found)
    vectors = model.encode(texts)
    assert (cluster(vectors=vectors, method=method, **options[method]).labels == found.labels).all()


@pytest.mark.parametrize("method", ["kmeans", "communities"])
def test_nothing_but_texts_without_tokens(method, model):
    found = cluster(["", "☃", ""], model, method=method)
    assert found.labels.tolist() == [-1, -1, -1]
    assert found.described == []
    assert "0 clusters" in str(found)
