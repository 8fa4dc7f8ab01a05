"""What statim train and statim index refuse of teachers and texts: one sentence, exit code 2, nothing
written.
"""

import pytest

from statim.cli.options import teachers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--distil", "empty.txt"], ["empty.txt"]),
        (["--distil", "nowhere.txt"], ["nowhere.txt"]),
        (["--distil", "pairs.jsonl"], ["pairs.jsonl", "text"]),  # has no column of texts
        (["PAIRS", "--distil-weight", "2"], ["needs both pairs and texts to distil"]),
        (["PAIRS", "--distil-epochs", "2"], ["need both pairs and texts to distil"]),
        (["PAIRS", "--distil", "pairs", "--distil-weight", "-2"], ["distil weight is -2.0"]),
        (["--distil", "pairs"], ["no pairs were given", "plain texts"]),
        (["--distil", "sentences"], ["no pairs were given", "plain texts"]),
        (["PAIRS", "--distil", "pairs", "--distil", "empty.txt"], ["must be alone", "./pairs"]),
        (["--distil", "empty.txt", "--recipe", "best"], ["recipe is 'best'"]),
        (["PAIRS", "--documents-by", "./no-teacher"], ["no-teacher"]),
        (["PAIRS", "--documents-by", "a", "--matryoshka", "32"], ["Matryoshka levels"]),
        (["PAIRS", "--documents-by", "a", "--loss", "kl"], ["the loss kl"]),
        (["PAIRS", "--teacher", "a"], ["nothing is to be learned from it"]),
        (["--distil", "empty.txt", "--loss", "kl"], ["the loss kl needs pairs"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith(("-", "P")) else "",
)
def test_train_refuses(statim, tmp_path, pairs, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("")
    given = [str(pairs) if option == "PAIRS" else option for option in options]
    code, printed, err = statim("train", *given, "--out", tmp_path / "m", "--start", "random", "--quiet")
    assert (code, printed) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert not (tmp_path / "m").exists()


def test_index_build_refuses_a_teacher_that_is_not_there(statim, tmp_path, model_folder):
    (tmp_path / "docs.txt").write_text("one\ntwo\n")
    code, _, err = statim(
        "index", "build", model_folder, tmp_path / "docs.txt", "--out", tmp_path / "i", "--documents-by",
        "./no-teacher",
        "--quiet",
    )  # fmt: skip
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "no-teacher" in err
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, None), (["a"], "a"), (["a", "b"], ["a", "b"]), (["a", "b:0.5"], {"a": 1.0, "b": 0.5}),
        (["a:1", "b:1"], {"a": 1.0, "b": 1.0}), (["C:/teachers/a"], "C:/teachers/a"),
        (["a", "a"], ["a", "a"]),
    ],
)  # fmt: skip
def test_weights_on_the_command_line(given, found):
    assert teachers(given) == found
