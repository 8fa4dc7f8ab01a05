"""Recommendation: profiles, exclusions, diversity, baskets, training, judgement; and what is refused."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from statim import Recommender
from statim.cli import main
from statim.errors import DataError, InputError
from statim.tasks.recommend.basket_judging import judge_baskets
from statim.tasks.recommend.basket_training import train_on_baskets
from statim.tasks.recommend.baskets import PARTNERS, Baskets, read_baskets
from statim.tasks.recommend.recommend import marginal_relevance

LEFT = ["sort", "list", "order", "array", "open", "file"]
RIGHT = ["read", "write", "start", "thread", "run", "process"]


@pytest.fixture(scope="module")
def items():
    """36 items of two words; a left item goes with the right ones that share its place."""
    return {f"i{a}{b}": f"{LEFT[a]} {RIGHT[b]}" for a in range(6) for b in range(6)}


@pytest.fixture(scope="module")
def shop(model, items):
    return Recommender(model, items)


def of_lists(lists, shop):
    return read_baskets({"items": lists}, shop.ids)


def test_the_closest_items_by_brute_force(shop, model, items):
    liked = {"i00": 2.0, "i34": 1.0}
    vectors = model.encode(list(items.values()), normalize=True).astype(np.float64)
    ids = list(items)
    profile = 2 * vectors[ids.index("i00")] + vectors[ids.index("i34")]
    cosines = vectors @ profile / np.linalg.norm(profile)
    order = [i for i in np.argsort(-cosines) if ids[i] not in liked and ids[i] != "i01"]
    found = shop.recommend(liked, 5, exclude=["i01"])
    assert [hit.id for hit in found] == [ids[i] for i in order[:5]]
    assert [hit.score for hit in found] == pytest.approx(cosines[order[:5]], abs=1e-6)
    assert [hit.text for hit in found] == [items[hit.id] for hit in found]
    assert [hit.rank for hit in found] == [1, 2, 3, 4, 5]
    assert np.linalg.norm(shop.profile(liked)) == pytest.approx(1)
    assert len(shop.recommend(list(ids[:34]), 10)) == 2


@given(st.integers(0, 10_000), st.floats(0, 0.99), st.integers(1, 12))
def test_diversity_is_maximal_marginal_relevance(seed, diversity, k):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((9, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = (vectors @ vectors[0]).astype(np.float32)
    found = marginal_relevance(relevance, vectors, k, diversity).tolist()
    chosen = []
    for _ in range(min(k, 9)):
        worth = {
            i: (1 - diversity) * relevance[i]
            - diversity * max((vectors[i] @ vectors[j] for j in chosen), default=0)
            for i in range(9)
            if i not in chosen
        }
        best = found[len(chosen)]
        assert worth[best] >= max(worth.values()) - 1e-5
        chosen.append(best)
    assert len(found) == len(set(found)) == min(k, 9)


def test_diversity_spreads(shop):
    def likeness(hits):
        vectors = shop.vectors[shop.positions([hit.id for hit in hits])]
        return (vectors @ vectors.T)[np.triu_indices(len(hits), 1)].mean()

    near, spread = shop.recommend(["i00"], 6), shop.recommend(["i00"], 6, diversity=0.7)
    assert likeness(spread) < likeness(near)
    assert near[0] == spread[0]


def test_many_are_served_as_one(shop, monkeypatch):
    monkeypatch.setattr("statim.tasks.recommend.recommend.BLOCK", 2)
    lists = [["i00"], ["i11", "i12"], ["i55", "i00", "i33"]]
    rows = [
        row for _, places in shop.recommend_many(of_lists(lists, shop), 4, diversity=0.3) for row in places
    ]
    for liked, row in zip(lists, rows, strict=True):
        alone = shop.recommend(liked, 4, diversity=0.3)
        assert [shop.ids[i].as_py() for i in row.tolist()] == [hit.id for hit in alone]


def test_baskets_of_lists_and_of_rows(shop):
    lists = of_lists([["i00", "i01", "i00"], [], ["i05"]], shop)
    assert lists.offsets.tolist() == [0, 2, 2, 3]
    assert lists.items.tolist() == [0, 1, 5]
    assert lists.weights.tolist() == [2, 1, 1]
    rows = read_baskets(
        {"user": ["b", "a", "b", "b"], "item": ["i01", "i05", "i00", "i01"], "rating": ["1", "2", "3", "4"]},
        shop.ids,
    )
    assert rows.names == ["b", "a"]
    assert rows.items.tolist() == [0, 1, 5]
    assert rows.weights.tolist() == [3, 5, 2]
    assert rows.select([1]).items.tolist() == [5]
    table = pa.table({"customer": [7, 8], "basket": [["i00"], ["i01", "i02"]]})
    assert read_baskets(table, shop.ids).names == ["7", "8"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"items": [["i00"], ["i00", "x9"]]}, "row 2: the item 'x9' is not in the catalogue"),
        ({"items": [["i00"], None]}, "row 2: 'items' is missing"),
        ({"user": ["a", "b"], "item": ["i00", None]}, "row 2: an item is missing"),
        ({"user": ["a", None], "item": ["i00", "i01"]}, "row 2: 'user' is missing"),
        ({"user": ["a"], "item": ["i00"], "weight": [float("nan")]}, "row 1: 'weight' is nan"),
        ({"user": ["a"], "item": ["i00"], "weight": [-1.0]}, "row 1: 'weight' is -1"),
        ({"user": ["a"], "item": ["i00"], "weight": ["lots"]}, "'weight' holds no numbers"),
        ({"item": ["i00"]}, "owner"),
    ],
)
def test_baskets_that_are_none(shop, table, words):
    with pytest.raises(DataError, match=words):
        read_baskets(table, shop.ids)


def test_pairs_stay_in_their_baskets(shop):
    random = np.random.default_rng(0)
    lists = [list(random.choice(36, size, replace=False)) for size in (1, 2, 3, 9, 30)]
    baskets = of_lists([[shop.ids[int(i)].as_py() for i in row] for row in lists], shop)
    pairs = baskets.pairs(shop.texts, 3)
    ids = {text: i for i, text in enumerate(shop.texts.to_pylist())}
    found = [
        (ids[a], ids[b]) for a, b in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True)
    ]
    assert len(found) == sum(len(row) * min(PARTNERS, len(row) - 1) for row in lists)
    sets = [set(row) for row in lists]
    assert all(a != b and any(a in row and b in row for row in sets) for a, b in found)
    assert {(a, b) for a in lists[2] for b in lists[2] if a != b} <= set(found)
    with pytest.raises(DataError, match="nothing to learn"):
        of_lists([["i00"], ["i01"]], shop).pairs(shop.texts)


def paired(shop, count, seed):
    """Baskets of items that share no word: each group of left words goes with one group of right words."""
    random = np.random.default_rng(seed)
    lists = []
    for _ in range(count):
        group = int(random.integers(3))
        names = [f"i{a}{b}" for a in (group, group + 3) for b in ((group + 1) % 3, (group + 1) % 3 + 3)]
        lists.append([str(name) for name in random.permutation(names)])
    return of_lists(lists, shop)


def test_it_learns_what_goes_together(shop, tmp_path):
    learned = train_on_baskets(shop, paired(shop, 300, 0), out=tmp_path / "model", epochs=5, heldout=30)
    figures = learned.table.figures
    assert set(figures) == {"popularity", "content", "trained", "trained and popularity"}
    assert figures["trained"]["ndcg@10"] > max(
        figures["content"]["ndcg@10"], figures["popularity"]["ndcg@10"]
    )
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert "best: trained" in str(learned.table)
    with pytest.raises(InputError, match="heldout is 150"):
        train_on_baskets(shop, paired(shop, 300, 0), heldout=150)


def test_popularity_is_added_to_the_cosine(shop, model, items):
    baskets = of_lists([["i00", "i35"], ["i35", "i34"], ["i35"]], shop)
    again = Recommender(model, items).learn_popularity(baskets)
    counts = np.log1p(np.bincount(baskets.items, minlength=36))
    cosines = again.vectors.astype(np.float64) @ again.profile(["i01"])
    for weight in (0.3, 5.0):
        worth = cosines + weight * counts / counts.max()
        order = [i for i in np.argsort(-worth) if i != 1]
        found = again.recommend(["i01"], 6, popularity=weight)
        assert [hit.id for hit in found] == [again.ids[int(i)].as_py() for i in order[:6]]
        assert [hit.score for hit in found] == pytest.approx(worth[order[:6]], abs=1e-5)


def test_the_table_is_ndcg_and_recall_of_the_hidden_half(shop):
    baskets = of_lists([["i00", "i01"], ["i10", "i11", "i12", "i13"], ["i22"]], shop)
    table = judge_baskets({"content": shop}, baskets, baskets, k=5, seed=1)
    assert (table.baskets, table.hidden) == (2, 3)
    # the oracle: which were hidden does not depend on the recommender, so find them by a perfect one
    shown = {}

    class Seen(Recommender):
        def recommend_many(self, given, k, **options):
            shown["baskets"] = given
            yield from super().recommend_many(given, k, **options)

    seen = Seen(shop.model, dict(zip(shop.ids.to_pylist(), shop.texts.to_pylist(), strict=True)))
    judge_baskets({"content": seen}, baskets, k=5, seed=1)
    given = shown["baskets"]
    recalls, gains = [], []
    for row, whole in enumerate(([0, 1], [6, 7, 8, 9])):
        taken = given.items[given.offsets[row] : given.offsets[row + 1]].tolist()
        assert len(taken) == (len(whole) + 1) // 2
        hidden = set(whole) - set(taken)
        hits = [hit.id for hit in shop.recommend([shop.ids[i].as_py() for i in taken], 5)]
        places = shop.positions(hits).tolist()
        recalls.append(len(hidden & set(places)) / len(hidden))
        truth, scores = np.zeros((1, 36)), np.zeros((1, 36))
        truth[0, list(hidden)] = 1
        scores[0, places] = np.arange(5, 0, -1)
        gains.append(ndcg_score(truth, scores, k=5, ignore_ties=True))
    assert table.figures["content"]["recall@5"] == pytest.approx(np.mean(recalls))
    assert table.figures["content"]["ndcg@5"] == pytest.approx(np.mean(gains))
    with pytest.raises(DataError, match="nothing to find"):
        judge_baskets({"content": shop}, of_lists([["i00"]], shop))


def test_popularity_counts_baskets(shop):
    learned = of_lists([["i00", "i05"], ["i00", "i05"], ["i00"], ["i35"]], shop)
    table = judge_baskets({}, of_lists([["i05", "i00"]] * 9, shop), learned, k=1)
    assert table.figures["popularity"]["recall@1"] == 1.0


@pytest.mark.parametrize(
    ("liked", "options", "words"),
    [
        (["x"], {}, "'x' is not in the catalogue"),
        ([], {}, "at least one"),
        ("i00", {}, "list of ids"),
        ({"i00": 0.0}, {}, "above 0"),
        ({"i00": float("nan")}, {}, "above 0"),
        (["i00"], {"k": 0}, "k is 0"),
        (["i00"], {"diversity": 1.0}, "diversity is 1.0"),
        (["i00"], {"exclude": ["y"]}, "'y'"),
        (["i00"], {"popularity": 1.0}, "popularity is 1.0"),
    ],
)
def test_what_it_refuses(shop, liked, options, words):
    with pytest.raises(InputError, match=words):
        shop.recommend(liked, **options)


@pytest.fixture
def statim(monkeypatch, capfd, tmp_path, model, items, shop):
    model.save(tmp_path / "model")
    rows = [{"id": name, "text": text} for name, text in items.items()]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, count, seed in (("baskets", 100, 0), ("heldout", 20, 1)):
        baskets = paired(shop, count, seed)
        lists = np.split(baskets.items, baskets.offsets[1:-1])
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"items": [shop.ids[int(i)].as_py() for i in row]}) + "\n" for row in lists)
        )
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["statim", "recommend", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capfd.readouterr()

    return run


def test_the_command_line(statim, shop):
    code, out, err = statim(
        "like", "model", "items.jsonl", "i00=2", "i34", "-k", 3, "--exclude", "i01", "--json"
    )
    assert code == 0, err
    expected = shop.recommend({"i00": 2, "i34": 1}, 3, exclude=["i01"])
    assert [row["id"] for row in json.loads(out)] == [hit.id for hit in expected]
    code, out, err = statim("like", "model", "items.jsonl", "i00")
    assert len(out.splitlines()) == 10
    code, out, err = statim(
        "train", "model", "items.jsonl", "baskets.jsonl", "--out", "trained", "--epochs", "3", "--json"
    )
    assert code == 0, err
    assert set(json.loads(out)["table"]["figures"]) == {
        "popularity",
        "content",
        "trained",
        "trained and popularity",
    }
    popular = ["--popularity", "0.5", "--learned", "baskets.jsonl"]
    code, out, err = statim("like", "trained", "items.jsonl", "i00", *popular)
    assert code == 0, err
    given = ["--learned", "baskets.jsonl", "--against", "model"]
    code, out, err = statim("evaluate", "trained", "items.jsonl", "heldout.jsonl", *given, "--json")
    assert set(json.loads(out)["figures"]) == {"popularity", "trained", "model"}, err
    code, out, err = statim(
        "users", "trained", "items.jsonl", "heldout.jsonl", "--out", "recs.parquet", "-k", 4
    )
    assert code == 0, err
    table = pq.read_table("recs.parquet")
    assert table.column_names == ["user", "items", "scores"]
    assert [len(row) for row in table["items"].to_pylist()] == [4] * 20


def test_what_the_command_line_refuses(statim, tmp_path):
    for arguments, word in (
        (["like", "model", "items.jsonl", "nothing"], "'nothing'"),
        (["like", "model", "items.jsonl", "i00=much"], "i00=much"),
        (["like", "model", "items.jsonl", "i00", "-k", "0"], "k is 0"),
        (["like", "model", "none.jsonl", "i00"], "none.jsonl"),
        (["train", "model", "items.jsonl", "items.jsonl", "--out", "t"], "owner"),
        (["users", "model", "items.jsonl", "heldout.jsonl", "--out", "x.tsv"], ".tsv"),
    ):
        code, out, err = statim(*arguments)
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        assert err.splitlines()[-1].startswith("error: ")
        assert word in err.splitlines()[-1]
    assert not (tmp_path / "t").exists()


def test_empty_baskets():
    empty = Baskets([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    assert len(empty.select(np.zeros(0, np.int64))) == 0
