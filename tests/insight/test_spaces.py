"""Two models on the same texts: neighbours counted by hand, scores as evaluation has them, a verdict."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.data import TextFile
from statim.errors import InputError
from statim.evaluation import Report, Row, evaluate
from statim.insight.any_texts import read_any
from statim.insight.spaces import Side, SpaceComparison, compare_models
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
    [
        ({"k": 0}, "k is 0"),
        ({"sample": 1}, "sample is 1"),
        ({"k": 500}, "needs 501"),
        ({"seed": -1}, "seed is -1; it must be a whole number of at least 0"),
    ],
)
def test_refusals(folders, options, said):
    with pytest.raises(InputError, match=said):
        compare_models(folders / "a", folders / "b", folders / "texts.txt", **options)


def test_the_same_model_twice(folders):
    with pytest.raises(InputError, match="name two different ones"):
        compare_models(folders / "a", folders / "a", folders / "texts.txt")


def test_sets_of_the_same_name_in_two_folders(folders, tmp_path):
    pairs = (folders / "pairs.jsonl").read_text().splitlines()
    paths = [tmp_path / name / "dev.jsonl" for name in ("x", "y")]
    for path, rows in zip(paths, (pairs[:30], pairs[30:]), strict=True):
        path.parent.mkdir()
        path.write_text("\n".join(rows))
    found = compare_models(folders / "a", folders / "b", paths, k=3)
    assert len(found.report.rows) == 4
    assert "of 2 sets" in found.verdict or "over the 2 sets" in found.verdict


def test_as_many_sets_each_is_no_win():
    rows = [
        Row(model, name, "sts", {"spearman": score}, 0.0)
        for name, scores in (("x", (0.9, 0.1)), ("y", (0.1, 0.2)))
        for model, score in zip("ab", scores, strict=True)
    ]
    sides = (Side("a", 2, 1.0, 1.0), Side("b", 2, 1.0, 1.0))
    found = SpaceComparison(sides, 20, 0, 3, 0.5, (), Report(tuple(rows)))
    assert found.verdict.startswith("Neither is better over the 2 sets.")


def test_a_path_is_a_folder_and_no_bundled_model(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    StaticModel.load(folders / "a").save("english")
    found = compare_models(Path("english"), folders / "turned", folders / "texts.txt", sample=50)
    assert found.sides[0].dim == 8
    assert found.overlap == 1.0


def test_texts_that_no_model_can_read_are_counted_and_left_out(folders, tmp_path):
    lines = (folders / "texts.txt").read_text().splitlines()
    for name in ("a", "b"):
        table = np.array(StaticModel.load(folders / name).table)
        table[0] = 0  # of the unknown token
        table[1] *= name == "a"
        StaticModel(table, StaticModel.load(folders / name).tokenizer.backend).save(tmp_path / name)
    plain, odd = tmp_path / "plain.txt", tmp_path / "odd.txt"
    plain.write_text("\n".join([*lines, "w0"]))
    odd.write_text("\n".join(["xyzzy", *lines, "plugh xyzzy", "w0"]))
    expected = compare_models(tmp_path / "a", tmp_path / "b", plain, k=5)
    found = compare_models(tmp_path / "a", tmp_path / "b", odd, k=5, examples=121)
    assert (expected.texts, expected.unreadable) == (121, 0)
    assert (found.texts, found.unreadable) == (121, 2)
    assert found.overlap == expected.overlap
    assert "neither model has a token of: 2" in str(found)
    alone = next(one for one in found.disagreements if one.text == "w0")
    assert (alone.shared, alone.b) == (0.0, "")  # the second model cannot read it
    assert alone.a != ""
    odd.write_text("\n".join(f"xyzzy plugh{i}" for i in range(20)))
    with pytest.raises(InputError, match="there are 0 texts that either model has a token of"):
        compare_models(tmp_path / "a", tmp_path / "b", odd, k=5)


def test_the_threads_reach_the_encoding_and_the_first_texts_are_not_timed(folders, monkeypatch):
    calls = []
    encode = StaticModel.encode
    monkeypatch.setattr(
        StaticModel,
        "encode",
        lambda self, texts, **options: (
            calls.append((len(texts), options["threads"])) or encode(self, texts, **options)
        ),
    )
    compare_models(folders / "a", folders / "b", folders / "texts.txt", k=3, threads=1)
    assert calls == [(60, 1)] * 4


def test_a_text_file_keeps_its_encoding(folders, tmp_path):
    odd = tmp_path / "odd.txt"
    odd.write_text("w1 \u00e9t\u00e9\nw2 w3", encoding="windows-1252")
    assert read_any([TextFile(odd, encoding="windows-1252")]) == ([], ["w1 \u00e9t\u00e9", "w2 w3"])
    table = tmp_path / "pairs.csv"
    table.write_text("anchor,positive\n\u00e9t\u00e9,w1\nw2,w3\n", encoding="windows-1252")
    judged, texts = read_any([TextFile(table, encoding="windows-1252")])
    assert judged == [table]
    assert sorted(texts) == ["w1", "w2", "w3", "\u00e9t\u00e9"]
    lines = "\n".join(f"w{i} \u00e9 w{i + 1}" for i in range(20))
    odd.write_text(lines, encoding="windows-1252")
    found = compare_models(folders / "a", folders / "b", TextFile(odd, encoding="windows-1252"), k=3)
    assert found.texts == 20


def test_a_folder_of_documents_is_read_as_documents(tmp_path):
    """A judged file beside them does not hide them; a README beside judged files is no document."""
    for i in range(3):
        (tmp_path / f"{i}.md").write_text(f"note {i}")
    (tmp_path / "faq.csv").write_text("question,answer\nhow,so\nwhy,thus\n")
    assert read_any([tmp_path]) == ([], [f"note {i}" for i in range(3)])
    judged = tmp_path / "judged"
    judged.mkdir()
    (judged / "faq.csv").write_text("question,answer\nhow,so\nwhy,thus\n")
    (judged / "README.md").write_text("about the data")
    paths, texts = read_any([judged])
    assert (paths, sorted(texts)) == ([judged], ["how", "so", "thus", "why"])
