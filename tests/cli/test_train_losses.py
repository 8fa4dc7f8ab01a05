"""statim train on scores, classes and triplets: kinds are recognised, trained, measured, and refused with a
sentence.
"""

import json

import numpy as np
import pytest

from statim.model import StaticModel
from statim.training.run.checkpoint import Checkpoints

TOPICS = 5


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sentence(rng, topic):
    """Words of one of five topics, and one that says nothing."""
    return " ".join([*(f"t{topic}w{i}" for i in rng.integers(0, 30, 6)), f"x{rng.integers(0, 50)}"])


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    topics = rng.integers(0, TOPICS, (600, 2))
    scored = [
        {"text1": sentence(rng, a), "text2": sentence(rng, b), "score": float(a == b) * 4 + rng.random()}
        for a, b in topics
    ]
    labelled = [{"text": sentence(rng, a), "label": f"topic {a}"} for a, _ in topics]
    cells = [(f"act{i} on{j}", f"do{i} with{j}") for i in range(20) for j in range(20)]  # no word in common
    triplets = [
        {"anchor": anchor, "positive": positive, "negative": cells[(i + 7) % 400][1]}
        for i, (anchor, positive) in enumerate(cells)
    ]
    names = {"scored": scored, "labelled": labelled, "triplets": triplets}
    return {name: write(tmp_path / f"{name}.jsonl", rows) for name, rows in names.items()}


@pytest.mark.parametrize(
    ("name", "options", "loss", "metric", "least"),
    [
        ("scored", [], "cosent", "spearman", 0.1),
        ("scored", ["--loss", "cosine"], "cosine", "spearman", 0.1),
        ("labelled", [], "classes", "accuracy", 0.03),
        ("triplets", ["--loss", "triplet", "--triplet-margin", 0.3], "triplet", "ndcg@10", 0.05),
        ("triplets", [], "contrastive", "ndcg@10", 0.05),
    ],
)
def test_every_loss(statim, tmp_path, files, name, options, loss, metric, least):
    out = tmp_path / "model"
    code, printed, err = statim(
        "train", files[name], "--out", out, "--start", "random", "--dim", 64, "--heldout", 60, "--epochs", 6,
        "--json",
        *options,
    )  # fmt: skip
    assert code == 0, err
    figures = json.loads(printed)
    assert figures["recipe"]["loss"] == loss
    assert (
        sum(figures["pairs"][part] for part in ("train", "development", "test")) == figures["pairs"]["read"]
    )
    found = {row["model"]: row["metrics"][metric] for row in figures["heldout"]["rows"]}
    assert found["trained"] > found["start"] + least
    assert ("bm25" in found) == (name == "triplets")
    assert StaticModel.load(out).dim == 64
    card = (out / "README.md").read_text()
    assert f"- loss: {loss}" in card
    assert f"{found['trained']:.3f}" in card


def test_what_a_person_reads(statim, tmp_path, files):
    code, printed, err = statim(
        "train",
        files["labelled"],
        "--out",
        tmp_path / "m",
        "--start",
        "random",
        "--epochs",
        1,
        "--heldout",
        60,
    )
    assert code == 0, err
    assert "(text = text, label = label)" in err
    assert "trained on 510 texts" in printed
    assert "Classification" in printed
    assert "60 texts." in printed


def test_a_killed_run_goes_on_to_the_same_bits(statim, tmp_path, files, monkeypatch):
    options = ["--start", "random", "--dim", 32, "--epochs", 4, "--heldout", 0, "--quiet", "--threads", 2]
    code, _, err = statim("train", files["labelled"], "--out", tmp_path / "whole", *options)
    assert code == 0, err
    real = Checkpoints.save

    def save_and_stop(self, optimizer, *rest):
        real(self, optimizer, *rest)
        if optimizer.step >= 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)
    code, _, _ = statim(
        "train", files["labelled"], "--out", tmp_path / "cut", *options, "--checkpoint-every", 10
    )
    assert code == 130
    monkeypatch.setattr(Checkpoints, "save", real)
    code, _, err = statim("train", files["labelled"], "--resume", tmp_path / "cut", *options)
    assert code == 0, err
    tables = [StaticModel.load(tmp_path / name).table for name in ("whole", "cut")]
    np.testing.assert_array_equal(*tables)


def test_held_out_scores_that_are_all_the_same_give_no_table(statim, tmp_path, files):
    same = write(
        tmp_path / "same.jsonl",
        [{"text1": "a", "text2": "b", "score": 1}, {"text1": "c", "text2": "d", "score": 1.0}],
    )
    code, _, err = statim(
        "train",
        files["scored"],
        "--out",
        tmp_path / "m",
        "--start",
        "random",
        "--epochs",
        1,
        "--heldout",
        same,
        "--quiet",
    )
    assert code == 2
    assert "fewer than 2 different scores" in err


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scored", ["--loss", "mse"], ["loss is 'mse'", "cosent"]),
        ("labelled", ["--loss", "cosent"], ["first text"]),
        ("scored", ["--loss", "classes"], ["text"]),
        ("scored", ["--triplet-margin", "nan"], ["triplet margin"]),
        ("scored", ["--score", "grade"], ["grade", "text1, text2, score"]),
        ("labelled", ["--label", "topic"], ["topic"]),
        ("labelled", ["--heldout", "400"], ["half of the 600 texts"]),
    ],
)
def test_refusals(statim, tmp_path, files, name, options, words):
    code, printed, err = statim(
        "train", files[name], "--out", tmp_path / "m", "--start", "random", "--quiet", *options
    )
    assert (code, printed) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert not (tmp_path / "m").exists()


def test_triplets_need_negatives(statim, tmp_path, pairs):
    code, _, err = statim(
        "train", pairs, "--out", tmp_path / "m", "--start", "random", "--loss", "triplet", "--quiet"
    )
    assert code == 2
    assert "needs negatives" in err
