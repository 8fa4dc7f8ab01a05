"""The commands in docs/ do what it says, on a few documents and a tiny teacher."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from statim.cli import main

DOCS = Path(__file__).parent.parent / "docs"
WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "lmnr"]


def commands(page):
    blocks = re.findall(r"```\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("statim ")]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def result(command):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        assert caught.value.code == 0, err
        return out, err

    return result


def test_training(run, tmp_path):
    things = [(f"how do I {a} a {b}?", f"to {a} it, call {b}.{a}") for a in WORDS[:12] for b in WORDS[20:40]]
    lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in things]
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    first, second = commands("train.md")
    run(f"{first} --start random --epochs 1")
    run(second)
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "train.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code.replace('out="model"', 'out="third"'), {})
    for name in ("model", "other", "third"):
        assert (tmp_path / name / "model.safetensors").is_file()


def test_without_pairs(run, tmp_path):
    random = np.random.default_rng(0)

    def text(sentences):
        return " ".join(" ".join(random.choice(WORDS, 8)).capitalize() + "." for _ in range(sentences))

    (tmp_path / "notes").mkdir()
    for i in range(60):
        (tmp_path / "notes" / f"{i}.md").write_text(f"# On {WORDS[i]}\n\n{text(4)}\n\n{text(5)}\n")
    (tmp_path / "articles.txt").write_text("".join(text(4) + "\n" for _ in range(60)))
    rows = [{"title": f"On {WORDS[i]}", "text": text(6)} for i in range(60)]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = commands("without_pairs.md")
    assert len(found) == 3
    for command in found:
        out, err = run(f"{command} --start random --epochs 1")
        assert "held out" in err
        assert "NDCG@10" in out
        model = tmp_path / shlex.split(command)[-1]
        assert (model / "model.safetensors").is_file()
        assert "documents" in (model / "README.md").read_text()


def test_teach(run, tmp_path):
    from transformers_made import tiny_bert

    rows = [(f"{a} of {b}", f"{b} {a} and {a}") for a in WORDS[:8] for b in WORDS[8:20]]
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps({"question": a, "answer": b}) + "\n" for a, b in rows)
    )
    tiny_bert(tmp_path / "teacher", ["of", "and", *WORDS[:20]])
    teach, train = commands("teach.md")
    out, _ = run(f"{teach} --batch 16 --checkpoint-every 100 --quiet")
    assert "taught, distilled" in out
    assert (tmp_path / "start" / "model.safetensors").is_file()
    assert not (tmp_path / "adapted.teaching").exists()
    _, err = run(f"{train} --epochs 1 --no-baselines")
    assert "adapted, distilled" in err


def test_check(run, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    from statim.model import StaticModel
    from statim.search.index import Index

    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    model = StaticModel(np.eye(len(WORDS) + 1, 8, dtype=np.float32), backend)
    model.save(tmp_path / "model")
    Index.build(model, WORDS, tmp_path / "docs.index")
    lines, as_json = commands("check.md")
    out, _ = run(lines)
    assert [line.split(", ")[0] for line in out.splitlines()] == ["model: model", "docs.index: index"]
    assert all("GB/s: whole" in line for line in out.splitlines())
    out, _ = run(as_json)
    assert {place["kind"]: place["undigested"] for place in json.loads(out)} == {"model": 0, "index": 0}
    file = tmp_path / "docs.index" / "documents.arrow"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        AssertionError, match=r"error: docs\.index/documents\.arrow is damaged.*build the index again"
    ):
        run(lines)
