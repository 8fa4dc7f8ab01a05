"""statim train: the settings of a serious run, given and refused."""

import json

import numpy as np
import pytest

from statim.model import StaticModel
from statim.training.initial_tables import random_table

OPTIONS = [
    "--start",
    "random",
    "--dim",
    "16",
    "--batch",
    "16",
    "--epochs",
    "1",
    "--heldout",
    "0",
    "--quiet",
    "--threads",
    "2",
]


def test_all_of_them(statim, tmp_path, pairs):
    frozen = tmp_path / "frozen.txt"
    frozen.write_bytes(b"how\r\n\nsort\n")
    code, out, err = statim(
        "train", pairs, "--out", tmp_path / "model", *OPTIONS, "--json", "--weight-decay", "0.1",
        "--token-dropout", "0.25",
        "--false-negative-margin", "-0.05", "--freeze", frozen, "--new-rows-rate", "1", "--row-wise",
        "--clip", "0.1", "--limit", "pairs=200",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    wanted = {
        "weight_decay": 0.1,
        "token_dropout": 0.25,
        "false_negative_margin": -0.05,
        "new_rows_rate": 1.0,
        "row_wise": True,
        "clip": 0.1,
        "set_limits": [200],
    }
    assert {name: found["recipe"][name] for name in wanted} == wanted
    assert found["frozen"] == 2
    assert found["pairs"]["read"] == 400
    assert found["pairs"]["train"] == 200
    model = StaticModel.load(tmp_path / "model")
    start = random_table(len(model.table), 16, 0)
    stays = (model.table == start).all(axis=1)
    assert np.flatnonzero(stays).tolist() == sorted(
        model.tokenizer.vocabulary[token] for token in ("how", "sort")
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--freeze", "none.txt"], "--freeze none.txt cannot be read: No such file or directory"),
        (["--freeze", "bytes.txt"], "--freeze bytes.txt cannot be read: it is no UTF-8 text"),
        (
            ["--freeze", "tokens.txt"],
            ("freeze names 1 token that the tokenizer of a random start does not have, the first 'Zaphod'"),
        ),
        (
            ["--limit", "nobody=5"],
            ("a limit is given for the set 'nobody', which is not there; the sets are pairs"),
        ),
        (["--limit", "pairs=0"], "the limit of pairs is 0; it must be a whole number from 1"),
        (["--limit", "pairs=1.5"], "--limit is 1.5 for pairs; give a whole number, like pairs=10000"),
        (["--limit", "pairs"], "--limit is 'pairs'"),
        (["--token-dropout", "1"], "token dropout is 1.0; it must be a number from 0 to 0.9"),
        (["--weight-decay", "nan"], "weight decay is nan"),
        (["--new-rows-rate", "0.5"], "new_rows_rate is 0.5, but a random start has no new rows"),
        (
            ["--false-negative-margin", "0.1", "--loss", "triplet"],
            ("a false-negative margin is given, but the loss triplet"),
        ),
    ],
)
def test_what_is_refused(statim, tmp_path, pairs, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "tokens.txt").write_text("how\nZaphod\n")
    code, _, err = statim("train", pairs, "--out", tmp_path / "model", *OPTIONS, *options)
    assert code == 2
    assert "Traceback" not in err
    assert words in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.training").exists()
