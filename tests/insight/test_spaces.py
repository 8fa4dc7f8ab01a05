"""Two models on the same texts: neighbours counted by hand, scores as evaluation has them, a verdict."""

import json

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.errors import InputError
from statim.evaluation import evaluate
from statim.insight.spaces import compare_models
from statim.model import StaticModel

WORDS = ["[UNK]", *(f"w{i}" for i in range(40))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models of the same words, and one that only turns the first one's vectors."""
    folder = tmp_path_factory.mktemp("spaces")
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    random = np.random.default_rng(1)
    table = random.normal(size=(len(WORDS), 8)).astype(np.float32)
    turned = table @ np.linalg.qr(random.normal(size=(8, 8)))[0].astype(np.float32)
    for name, rows in {"a": table, "turned": turned, "b": random.normal(size=table.shape)}.items():
        StaticModel(rows, backend).save(folder / name)
    texts = [" ".join(random.choice(WORDS[1:], 6)) for _ in range(120)]
    (folder / "texts.txt").write_text("\n".join([*texts, "", texts[0]]))
    pairs = [
        {"anchor": text, "positive": " ".join(np.roll(text.split(), 1)[:5].tolist())} for text in texts[:60]
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return folder


def test_neighbors_in_common_are_counted(folders):
    found = compare_models(folders / "a", folders / "b", folders / "texts.txt", k=5)
    texts = list(dict.fromkeys(filter(None, (folders / "texts.txt").read_text().split("\n"))))
    near = []
    for name in ("a", "b"):
        vectors = StaticModel.load(folders / name).encode(texts, normalize=True).astype(np.float64)
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -np.inf)
        near.append(np.argsort(-scores, axis=1)[:, :5])
    shared = np.array([len(set(x) & set(y)) / 5 for x, y in zip(*near, strict=True)])
    assert found.texts == len(texts) == 120
    assert found.overlap == pytest.approx(shared.mean())
    for one in found.disagreements:
        row = texts.index(one.text)
        assert one.shared == shared[row] == shared.min()
        assert (one.a, one.b) == (texts[near[0][row][0]], texts[near[1][row][0]])
    assert "Give judged data" in found.verdict
    json.dumps(found.to_dict())


def test_a_turned_space_is_the_same(folders):
    found = compare_models(folders / "a", folders / "turned", folders / "texts.txt", sample=50)
    assert (found.texts, found.overlap) == (50, 1.0)


def test_judged_data_decide(folders):
    found = compare_models(folders / "a", folders / "b", [folders / "pairs.jsonl"], k=3)
    expected = evaluate(folders / "a", folders / "pairs.jsonl", against=folders / "b")
    metrics = [row.metrics for row in expected.rows]
    assert [row.metrics for row in found.report.rows] == metrics
    gap = metrics[1]["ndcg@10"] - metrics[0]["ndcg@10"]
    winner = folders / ("b" if gap > 0 else "a")
    assert found.verdict.startswith(f"{winner} is better on 1 of 1 sets")
    assert str(folders / "b") in str(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"k": 0}, "k is 0"), ({"sample": 1}, "sample is 1"), ({"k": 500}, "needs 501")],
)
def test_refusals(folders, options, said):
    with pytest.raises(InputError, match=said):
        compare_models(folders / "a", folders / "b", folders / "texts.txt", **options)


def test_the_same_model_twice(folders):
    with pytest.raises(InputError, match="name two different ones"):
        compare_models(folders / "a", folders / "a", folders / "texts.txt")
