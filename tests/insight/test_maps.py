"""Maps: where texts are placed, what their clusters are called, and what is written."""

import base64
import gzip
import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from statim.errors import DataError, DependencyError, InputError
from statim.insight.maps import page as pages
from statim.insight.maps import projections
from statim.insight.maps.columns import check_color, columns
from statim.insight.maps.make_map import make_map
from statim.insight.maps.regions import SCALES
from statim.insight.maps.write_map import check_map_output, write_map
from statim.model import StaticModel
from statim.search.index import Index

TOPICS = {
    "music": ["guitar", "violin", "melody", "concert", "orchestra", "singer"],
    "cooking": ["butter", "oven", "onion", "recipe", "flour", "soup"],
}


def unit(n, dim=16, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    vectors[:, 0] += 1  # the mean is not 0
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return [
        {"text": f"{' '.join(random.choice(words, 4))} {i}", "topic": topic, "number": i, "none": None}
        for i in range(20)
        for topic, words in TOPICS.items()
    ]


@pytest.fixture(scope="module")
def found(rows):
    return make_map(pa.Table.from_pylist([*rows, {**rows[0], "text": ""}, {**rows[0], "number": 99}]))


def test_principal_components_are_scikit_learn_s():
    vectors = unit(200)
    xy, method = projections.project(vectors, "pca", sample=50, seed=0, threads=1)
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    assert method == "pca"
    for mine, other in zip(xy.T, expected.T, strict=True):
        assert abs(np.corrcoef(mine, other)[0, 1]) == pytest.approx(1, abs=1e-4)
    assert np.abs(xy).max() == pytest.approx(1)
    assert np.array_equal(xy, projections.project(vectors, "pca", sample=50, seed=0, threads=1)[0])


class FakePaCMAP:
    """Gives the first two columns back, and remembers what it was given."""

    def __init__(self, **options):
        FakePaCMAP.options = options

    def fit_transform(self, reduced, init):
        FakePaCMAP.count = len(reduced)
        assert np.array_equal(init, reduced[:, :2])
        return reduced[:, :2]


@pytest.fixture
def _fake(monkeypatch):
    monkeypatch.setitem(sys.modules, "pacmap", SimpleNamespace(PaCMAP=FakePaCMAP))


@pytest.mark.usefixtures("_fake")
def test_pacmap_is_given_the_exact_neighbors():
    vectors = unit(120)
    _, method = projections.project(vectors, None, sample=1000, seed=5, threads=1)
    pairs = FakePaCMAP.options["pair_neighbors"]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    expected = np.argsort(-cosines, axis=1)[:, : projections.PACMAP_NEIGHBORS]
    assert (method, FakePaCMAP.options["random_state"]) == ("pacmap", 5)
    for i in range(120):
        assert set(pairs[pairs[:, 0] == i, 1].tolist()) == set(expected[i].tolist())


@pytest.mark.usefixtures("_fake")
def test_the_rest_is_placed_by_its_neighbors_in_the_sample():
    vectors = unit(90)
    xy, _ = projections.project(vectors, None, sample=60, seed=0, threads=1)
    assert FakePaCMAP.count == 60
    chosen = np.sort(np.random.default_rng(0).choice(90, 60, replace=False))
    for i in np.setdiff1d(np.arange(90), chosen):
        scores = vectors[chosen] @ vectors[i]
        near = np.argsort(-scores)[: projections.PLACED_BY]
        weights = np.exp(projections.SHARPNESS * scores[near])
        assert xy[i] == pytest.approx(weights @ xy[chosen[near]] / weights.sum(), abs=1e-5)


def test_a_map_is_turned_onto_another():
    xy = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])  # mirrored, too
    assert projections.turned((xy @ turn).astype(np.float32), xy) == pytest.approx(xy, abs=1e-5)


@pytest.mark.long
@pytest.mark.timeout(900)  # their loops are compiled
@pytest.mark.parametrize("method", ["pacmap", "umap"])
def test_real_projections_repeat_and_keep_groups_apart(method):
    pytest.importorskip(method)
    centres = unit(3, 32, seed=1)
    noise = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)
    vectors = np.repeat(centres, 200, axis=0) + 0.05 * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    xy, _ = projections.project(vectors, method, sample=500, seed=3, threads=2)
    again, _ = projections.project(vectors, method, sample=500, seed=3, threads=2)
    assert np.array_equal(xy, again)
    middles = np.stack([np.median(xy[i : i + 200], 0) for i in (0, 200, 400)])
    own = np.repeat(np.arange(3), 200)
    nearest = ((xy[:, None] - middles) ** 2).sum(2).argmin(1)
    assert (nearest == own).mean() > 0.99


def test_clusters_are_named_by_their_words(found):
    assert len(found) == 41
    assert found.left_out == 1
    sizes = np.bincount(found.clusters)
    assert sizes.tolist() == sorted(sizes, reverse=True)
    for number, name in enumerate(found.cluster_names):
        topics = set(np.array(found.columns.column("topic").to_pylist())[found.clusters == number])
        words = set(name.split(", "))
        assert words <= {word for topic in topics for word in TOPICS[topic]}
        assert len(words) == 3
    for label in found.spaces[0].labels:
        assert [label.x, label.y] in found.spaces[0].xy[found.clusters == label.cluster].tolist()


def test_scales_grow_with_the_texts():
    texts = [f"{a} {b} {c}" for a in TOPICS["music"] for b in TOPICS["cooking"] for c in range(30)]
    labels = make_map(texts, method="pca").spaces[0].labels
    counts = np.bincount([label.scale for label in labels])
    assert len(counts) > 1
    assert all(most >= count for most, count in zip(SCALES, counts, strict=False))
    assert all(sum(one.size for one in labels if one.scale == scale) == 1080 for scale in range(len(counts)))


def test_the_table(found, rows, tmp_path):
    write_map(found, tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet")
    assert table.column_names == ["text", "x", "y", "cluster", "cluster_words", "topic", "number", "none"]
    assert table.column("text").to_pylist() == [row["text"] for row in [*rows, rows[0]]]
    assert table.column("number").to_pylist()[-2:] == [19, 99]
    xy = np.stack([table.column("x"), table.column("y")], axis=1)
    assert np.array_equal(xy[0], xy[-1])  # the same text
    words = found.cluster_names[found.clusters[3]]
    assert table.column("cluster_words")[3].as_py() == words


def test_an_index_is_mapped_like_its_documents(rows, tmp_path):
    table = pa.table({"id": [f"{i:03}" for i in range(40)], "text": [row["text"] for row in rows]})
    index = Index.build("english", table, tmp_path / "ix")
    one, other = make_map(tmp_path / "ix"), make_map(index)
    expected = make_map(table).spaces[0].xy
    assert one.columns.column("id").to_pylist() == table.column("id").to_pylist()
    assert one.spaces[0].name == str(tmp_path / "ix")
    for same in (one, other):
        assert np.array_equal(same.spaces[0].xy, expected)
    with pytest.raises(InputError, match=r"is an index, which has its own model; leave the model out"):
        make_map(tmp_path / "ix", "english")


def test_two_spaces(rows):
    english = StaticModel.load("english")
    both = make_map(pa.Table.from_pylist([*rows, {"text": ""}]), against=english, method="pca")
    first, second = both.spaces
    assert second.xy == pytest.approx(first.xy, abs=1e-4)
    assert both.left_out == 1
    assert both.table().column_names[:5] == ["text", "x", "y", "x_against", "y_against"]


@pytest.mark.parametrize(
    ("texts", "count"),
    [(["a guitar"], 1), (["a guitar", "an oven"], 2), (["soup"] * 9, 1), (["", " ", ""], 0)],
)
def test_too_few_texts(texts, count):
    said = rf"at least 3 different texts with tokens that english knows \(found: {count} of {len(texts)}\)$"
    with pytest.raises(DataError, match=said):
        make_map(texts)


def test_a_method_that_needs_more_texts(rows):
    texts = [row["text"] for row in rows]
    with pytest.raises(
        InputError, match=r"^pacmap needs at least 50 different texts, and there are 40; take pca"
    ):
        make_map(texts, method="pacmap")
    for wrong, said in (
        ({"method": "tsne"}, "must be one of pacmap, umap, pca"),
        ({"sample": 3}, "at least 50"),
    ):
        with pytest.raises(InputError, match=said):
            make_map(texts, **wrong)


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DependencyError, match=r'umap-learn; pip install "statim\[map\]", or take pca'):
        projections.project(unit(60), "umap", sample=60, seed=0, threads=1)


def test_columns(found):
    clusters, topic, number = columns(found)
    assert topic.names == ["music", "cooking"]
    assert topic.values[:3] == [0, 1, 0]
    assert (number.names, number.values[:3]) == (None, [0, 0, 1])
    assert clusters.values == found.clusters.tolist()
    many = pa.table({"id": [str(i) for i in range(300)], "floats": [float("nan"), 1 / 3] * 150})
    check_color(many, "floats")
    check_color(many, None)
    with pytest.raises(InputError, match=r"^the column 'id' has 300 different words, too many"):
        check_color(many, "id")
    with pytest.raises(
        InputError, match=r"^there is no column 'x' to color by; there are cluster, id, floats"
    ):
        check_color(many, "x")


def test_a_page_holds_texts_as_data_alone(monkeypatch):
    monkeypatch.setattr(pages, "_library", lambda: "")
    texts = ["</script><b>guitar</b>", "<!-- oven", "soup \ud7ff & 'flour' {{TITLE}}"]
    page = pages.page(make_map({"text": texts, "</style>": ["<i>", "&amp;", None]}))
    assert "guitar" not in page
    assert page.count("</script>") == 3
    packed = re.search(r'id="data" type="application/octet-stream">([\w+/=]+)<', page)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert data["texts"] == texts
    assert data["columns"][1] == {
        "name": "</style>", "names": ["<i>", "&amp;"], "values": [0, 1, None], "colorable": True
    }  # fmt: skip
    assert "<title>Map of english</title>" in page
    assert not re.search(r'(src|href)="', page)


def test_a_picture(found, tmp_path):
    pytest.importorskip("matplotlib")
    write_map(found, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG\r\n")
    write_map(found, tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert all(name in drawn for name in found.cluster_names)


def test_what_stands_there_is_kept(found, tmp_path):
    (tmp_path / "map.html").write_text("mine")
    with pytest.raises(InputError, match="exists; choose another name"):
        write_map(found, tmp_path / "map.html")
    with pytest.raises(InputError, match=r"ends with nothing; name a page \(.html\)"):
        write_map(found, tmp_path / "map")
    assert (tmp_path / "map.html").read_text() == "mine"


@pytest.mark.parametrize(("name", "package"), [("map.html", "pydeck"), ("map.png", "matplotlib")])
def test_a_drawing_package_that_is_missing(monkeypatch, tmp_path, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=f"needs the package {package}; pip install"):
        check_map_output(tmp_path / name, overwrite=False)
