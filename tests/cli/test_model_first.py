"""Which model a verb takes: every verb without one, with one first, with --model; and what is neither."""

import json
import shutil

import numpy as np
import pytest

from statim.cli.model_first import names_model, split_arguments
from statim.errors import InputError

TEXTS = ["The bakery opens at seven.", "Our dog is afraid of thunder.", "Trains leave every hour."]


@pytest.fixture
def place(tmp_path, monkeypatch, model_folder):
    """A folder with texts, labels, a catalogue, word vectors, and a model of 32 dimensions called small."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").symlink_to(model_folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "config.json").write_text("{}")
    (tmp_path / "notes" / "trains.md").write_text("# Trains\n\nThey leave every hour.\n")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "glove.txt").write_text("dog 0.1 0.2 0.3\nhour 0.2 -0.1 0.5\n")
    (tmp_path / "sizes.vec").write_text("2 3\ndog 0.1 0.2 0.3\nhour 0.2 -0.1 0.5\n")
    (tmp_path / "numbers.txt").write_text("call 555 1234\nor write a letter\n")
    rows = [{"id": f"i{n}", "text": text, "label": "ab"[n % 2]} for n, text in enumerate(TEXTS * 4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    baskets = [{"items": [f"i{n}", f"i{n + 1}"]} for n in range(10)]
    (tmp_path / "baskets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in baskets))
    pairs = [{"anchor": f"{text} {n}", "positive": f"yes, {text} {n}"} for n, text in enumerate(TEXTS * 4)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    scored = [{"text1": TEXTS[0], "text2": text, "score": n} for n, text in enumerate(TEXTS)]
    (tmp_path / "sts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "is_model"),
    [
        ("english", True), ("small", True), ("glove.txt", True), ("sizes.vec", True),
        ("organisation/name", True), ("some-name", True),
        ("empty", False), ("texts.txt", False), ("numbers.txt", False), ("rows.jsonl", False),
        ("missing.jsonl", False), ("missing.csv.gz", False), ("-", False),
        ("missing.md", False), ("missing.PDF", False), ("missing/**/*.md", False), ("missing/*", False),
        ("postgresql://user@host/documents", False), ("notes", False),
    ],
)  # fmt: skip
def test_what_names_a_model(place, name, is_model):
    assert names_model(name) is is_model


@pytest.mark.parametrize(
    ("given", "model", "names", "more", "found"),
    [
        ([], None, (), False, ("english", [])),
        (["small"], None, (), False, ("small", [])),
        (["texts.txt"], None, ("TABLE",), False, ("english", ["texts.txt"])),
        (["empty", "rows.jsonl"], None, ("TABLE",), False, ("empty", ["rows.jsonl"])),
        (["glove.txt"], None, ("TABLE",), False, ("english", ["glove.txt"])),
        (["glove.txt", "texts.txt"], None, (), True, ("glove.txt", ["texts.txt"])),
        (["glove.txt", "texts.txt"], "small", (), True, ("small", ["glove.txt", "texts.txt"])),
        (["texts.txt", "small"], None, (), True, ("english", ["texts.txt", "small"])),
        (["english"], None, (), True, ("english", [])),
        (["-"], None, (), True, ("english", ["-"])),
    ],
)
def test_the_model_and_the_rest(place, given, model, names, more, found):
    assert split_arguments(given, model, *names, more=more) == found


@pytest.mark.parametrize(
    ("given", "model", "names", "more", "said"),
    [
        (["english"], None, ("DOCS",), True, "DOCS is missing (the model is english)"),
        (["small", "rows.jsonl"], None, ("OLD", "NEW"), False,
         "NEW is missing after rows.jsonl (the model is small); if small is OLD, name the model with"),
        (["small"], None, ("TABLE",), False, "TABLE is missing (the model is small); if small is TABLE"),
        ([], None, ("TABLE",), False, "TABLE is missing"),
        (["a", "b"], "small", ("TABLE",), False, "an argument too many, 'b'"),
        (["a", "b", "c"], None, ("TABLE",), False, "an argument too many, 'c'"),
    ],
)  # fmt: skip
def test_too_few_or_too_many(place, given, model, names, more, said):
    with pytest.raises(InputError) as caught:
        split_arguments(given, model, *names, more=more)
    assert said in str(caught.value)


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_model_is_a_model(place, model_folder, lost):
    shutil.copytree(model_folder, place / "damaged")
    (place / "damaged" / lost).unlink()
    assert names_model("damaged")


VERBS = {
    "info": ([], []),
    "quantize": ([], ["--out", "out"]),
    "encode": (["texts.txt"], ["--out", "out.npy"]),
    "features": (["rows.jsonl"], ["--out", "out.parquet", "--column", "text"]),
    "index build": (["rows.jsonl"], ["--out", "out.index"]),
    "classify fit": (["rows.jsonl"], ["--out", "head", "--head", "centroid"]),
    "recommend like": (["rows.jsonl", "i1"], ["--id", "id", "--text", "text"]),
    "recommend evaluate": (["rows.jsonl", "baskets.jsonl"], ["--id", "id", "--text", "text"]),
    "evaluate": (["sts.jsonl"], []),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_with_and_without_a_model(statim, place, verb):
    rest, ways = VERBS[verb]
    overwrites = verb not in ("info", "recommend like", "recommend evaluate", "evaluate")
    for first, option in (([], []), (["english"], []), (["small"], []), ([], ["--model", "small"])):
        over = ["--overwrite"] * overwrites
        code, _, err = statim(*verb.split(), *first, *rest, *option, *ways, *over)
        assert code == 0, (first, option, err)


def test_vectors_are_the_bundled_models(statim, place):
    assert statim("encode", "texts.txt", "--out", "a.npy")[0] == 0
    assert statim("encode", "small", "texts.txt", "--out", "b.npy")[0] == 0
    assert np.load("a.npy").shape == (3, 256)
    assert np.load("b.npy").shape == (3, 32)


def test_an_index_without_a_model_named(statim, place):
    assert statim("index", "build", "rows.jsonl", "--out", "docs.index")[0] == 0
    code, out, _ = statim("search", "docs.index", "when can I buy bread?", "--mode", "vector", "--json")
    assert code == 0
    assert TEXTS[0] in out


@pytest.mark.parametrize("verb", ["duplicates", "cluster"])
def test_texts_alone(statim, place, verb):
    code, out, err = statim(verb, "rows.jsonl", "--column", "text", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 12


def test_a_head_without_a_model_named(statim, place):
    assert statim("classify", "fit", "rows.jsonl", "--out", "head", "--head", "centroid")[0] == 0
    code, out, _ = statim("classify", "predict", "head", "texts.txt")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert statim("classify", "evaluate", "head", "rows.jsonl")[0] == 0
    code, _, err = statim("classify", "predict", "small", "head", "texts.txt")
    assert code == 2
    assert "another model" in err


def test_mining_without_a_model_named(statim, place):
    code, _, err = statim("mine", "pairs.jsonl", "--out", "mined.jsonl", "-n", 1)
    assert code == 0, err
    code, _, err = statim("mine", "pairs.jsonl", "--out", "x.jsonl", "--model", "small", "--teacher", "x")
    assert code == 2
    assert "both --model and --teacher" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["index", "build", "missing.jsonl", "--out", "x"], "missing.jsonl"),
        (["index", "build", "missing.md", "--out", "x"], "missing.md cannot be read"),
        (["encode", "missing/**/*.md", "--out", "x.npy"], "missing/**/*.md matches no file"),
        (["drift", "small", "texts.txt"], "NEW is missing after texts.txt (the model is small)"),
        (["encode", "no-such-model", "texts.txt"], "neither a folder nor a file here"),
        (["encode", "empty", "texts.txt"], "empty"),
        (
            ["features", "no-such-model", "rows.jsonl", "--out", "x.parquet"],
            "neither a folder nor a file here",
        ),
    ],
)
def test_what_is_neither(statim, place, words, said):
    code, _, err = statim(*words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
