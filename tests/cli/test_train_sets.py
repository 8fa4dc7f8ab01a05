"""statim train with several files: mixed, weighted, resumed, and refused."""

import json
import os
import subprocess
import sys

import pytest

from statim.tensors import load_tensors

OPTIONS = [
    "--start",
    "random",
    "--dim",
    "16",
    "--batch",
    "16",
    "--epochs",
    "2",
    "--heldout",
    "0",
    "--quiet",
    "--threads",
    "2",
]


@pytest.fixture
def files(tmp_path, pair_rows):
    """Two files with columns of other names."""
    sort, other = pair_rows[:80], pair_rows[80:]
    (tmp_path / "sort.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sort))
    lines = [f"{row['question']}\t{row['answer']}\n" for row in other]
    (tmp_path / "other.tsv").write_text("title\ttext\n" + "".join(lines))
    return [tmp_path / "sort.jsonl", tmp_path / "other.tsv"]


def table(folder):
    return load_tensors(folder / "model.safetensors")[0]["embeddings"].tobytes()


def test_mixes_and_weights(statim, tmp_path, files):
    steps = {}
    for name, options in {
        "together": [],
        "proportional": ["--mix", "proportional"],
        "turn": ["--mix", "turn"],
        "weighted": ["--weight", "sort=2", "--weight", "other=0.5"],
    }.items():
        code, out, err = statim("train", *files, "--out", tmp_path / name, *OPTIONS, "--json", *options)
        assert code == 0, err
        steps[name] = json.loads(out)["recipe"]
    assert [recipe["mix"] for recipe in steps.values()] == ["together", "proportional", "turn", "together"]
    assert [recipe["set_weights"] for recipe in steps.values()] == [[], [], [], [2.0, 0.5]]
    assert len({table(tmp_path / name) for name in steps}) == 4


def test_resumed_training_is_the_one_that_was_not_killed(statim, tmp_path, files):
    options = [*OPTIONS, "--mix", "proportional", "--weight", "sort=1.5"]
    code, _, err = statim("train", *files, "--out", tmp_path / "whole", *options)
    assert code == 0, err
    dies = (
        "import sys\n"
        "from statim.training.run.checkpoint import Checkpoints\n"
        "save = Checkpoints.save\n"
        "def saved(self, optimizer, *rest):\n"
        "    save(self, optimizer, *rest)\n"
        "    if optimizer.step >= 14: import os; os._exit(9)\n"
        "Checkpoints.save = saved\n"
        "from statim.cli import main\n"
        "main()\n"
    )
    arguments = ["train", *files, "--out", tmp_path / "cut", *options, "--checkpoint-every", "7"]
    environment = os.environ | {"STATIM_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", dies, *map(str, arguments)], env=environment, check=False)
    assert done.returncode == 9
    code, _, err = statim("train", *files, "--resume", tmp_path / "cut", *options)
    assert code == 0, err
    assert table(tmp_path / "cut") == table(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weight", "nobody=2"], ["'nobody'", "the sets are sort, other"]),
        (["--weight", "sort=-1"], ["the weight of sort is -1.0", "from 0 to 1000"]),
        (["--weight", "sort"], ["--weight is 'sort'", "like faq=2"]),
        (["--weight", "sort=1", "--weight", "sort=2"], ["each set once"]),
        (["--weight", "sort=0", "--weight", "other=0"], ["leave no pairs to train on"]),
        (["--mix", "shaken"], ["mix is 'shaken'", "together, proportional, turn"]),
        (["--mix", "turn", "--batch", "128"], ["'sort' has 80 pairs", "a batch of 128", "--batch"]),
        (["--anchor", "question"], ["other.tsv has no column 'question'", "title, text"]),
    ],
)
def test_what_is_refused(statim, tmp_path, files, options, words):
    code, _, err = statim("train", *files, "--out", tmp_path / "model", *OPTIONS, *options)
    assert code == 2
    assert "Traceback" not in err
    for word in words:
        assert word in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "model").exists()


def test_an_empty_file_among_several(statim, tmp_path, files):
    (tmp_path / "empty.jsonl").touch()
    code, _, err = statim("train", *files, tmp_path / "empty.jsonl", "--out", tmp_path / "model", *OPTIONS)
    assert code == 2
    assert "empty.jsonl is empty" in " ".join(err.split())


def test_only_sets_of_pairs_are_weighed(statim, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f"word{n} text,{'ab'[n % 2]}\n" for n in range(40)))
    code, _, err = statim("train", path, "--out", tmp_path / "model", *OPTIONS, "--weight", "texts=2")
    assert code == 2
    assert "only sets of pairs can be weighed" in " ".join(err.replace("│", " ").split())
