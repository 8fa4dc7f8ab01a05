"""A folder written here: three libraries load it and agree; it round-trips; later formats are refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim import StaticModel
from statim.errors import InputError, ModelError
from statim.formats import huggingface
from statim.settings import SearchSettings, Settings
from statim.teacher.folder import is_transformer
from statim.tensors import load_tensors, save_tensors
from statim.vocabulary import grow, prune

TOLERANCE = 1e-6


def unknown_id(tokenizer):
    return huggingface.Tokenizer(tokenizer).unknown_id


@pytest.mark.parametrize("kind", ["MiniLM", "WordPiece", "Unigram", "BPE"])
def test_three_libraries_agree(
    kind, minilm, small, table, texts, apart, tmp_path, by_sentence_transformers, by_model2vec
):
    tokenizer = minilm if kind == "MiniLM" else small[kind]
    model = StaticModel(table(tokenizer, zero=unknown_id(tokenizer)), tokenizer)
    model.save(tmp_path / "model")
    expected = model.encode(texts)
    assert len(texts) > 1000
    assert model.tokenize(texts[-2:]).lengths.min() > 10_000
    again = StaticModel.load(tmp_path / "model")
    assert np.array_equal(again.encode(texts), expected)
    assert again.settings == model.settings
    assert apart(expected, by_sentence_transformers(tmp_path / "model", texts), texts) < TOLERANCE
    assert apart(expected, by_model2vec(tmp_path / "model", texts), texts) < TOLERANCE


@pytest.mark.parametrize("kind", ["MiniLM", "Unigram", "BPE"])
def test_three_libraries_agree_on_a_grown_vocabulary(
    kind, minilm, small, table, texts, apart, tmp_path, by_sentence_transformers, by_model2vec
):
    old = huggingface.Tokenizer(minilm if kind == "MiniLM" else small[kind])
    grown = grow(old, [pa.array(texts[:1200], pa.large_string())], words=200, pairs=400).tokenizer
    kept = prune(grown, [pa.array(texts[:300], pa.large_string())]).tokenizer
    for number, tokenizer in enumerate((grown, kept)):
        model = StaticModel(table(tokenizer.backend, zero=tokenizer.unknown_id), tokenizer)
        model.save(tmp_path / f"{number}")
        expected = model.encode(texts)
        assert len(tokenizer(texts[:300]).ids) < len(old(texts[:300]).ids)
        assert np.array_equal(StaticModel.load(tmp_path / f"{number}").encode(texts), expected)
        assert apart(expected, by_sentence_transformers(tmp_path / f"{number}", texts), texts) < TOLERANCE
        assert apart(expected, by_model2vec(tmp_path / f"{number}", texts), texts) < TOLERANCE


def test_an_unknown_token_occurs_in_the_texts(minilm, texts):
    tokens = huggingface.Tokenizer(minilm)(texts)
    assert (tokens.ids == unknown_id(minilm)).sum() > 5


def test_dropped_unknown_tokens_have_a_zero_row_in_the_file(
    small, table, texts, apart, tmp_path, by_sentence_transformers, by_model2vec
):
    tokenizer = small["WordPiece"]
    model = StaticModel(table(tokenizer), tokenizer, Settings(drop_unknown=True))
    model.save(tmp_path / "model")
    again, expected = StaticModel.load(tmp_path / "model"), model.encode(texts)
    assert again.settings.drop_unknown
    assert not again.table[unknown_id(tokenizer)].any()
    assert model.table[unknown_id(tokenizer)].any()
    assert np.array_equal(again.encode(texts), expected)
    for encode in (by_sentence_transformers, by_model2vec):
        assert apart(expected, encode(tmp_path / "model", texts), texts) < TOLERANCE


def test_not_normalized_and_cut_at_max_tokens(small, table, texts, tmp_path, by_sentence_transformers):
    tokenizer = small["BPE"]
    model = StaticModel(table(tokenizer), tokenizer, Settings(normalize=False, max_tokens=40))
    model.save(tmp_path / "model")
    expected = model.encode(texts)
    assert not (tmp_path / "model" / "1_Normalize").exists()
    assert np.array_equal(StaticModel.load(tmp_path / "model").encode(texts), expected)
    assert np.abs(by_sentence_transformers(tmp_path / "model", texts) - expected).max() < 1e-5


def test_a_model_of_model2vec_keeps_its_ways_when_it_is_saved_here(
    small, table, texts, tmp_path, by_model2vec
):
    model2vec = pytest.importorskip("model2vec")
    tokenizer = small["WordPiece"]
    model2vec.StaticModel(table(tokenizer), tokenizer, normalize=False, max_length=16).save_pretrained(
        tmp_path / "a"
    )
    StaticModel.load(tmp_path / "a").save(tmp_path / "b")
    assert np.abs(by_model2vec(tmp_path / "b", texts) - by_model2vec(tmp_path / "a", texts)).max() < TOLERANCE
    assert (
        np.abs(StaticModel.load(tmp_path / "b").encode(texts) - by_model2vec(tmp_path / "a", texts)).max()
        < 1e-5
    )


def test_a_folder_saved_anew_by_model2vec_is_read_as_model2vecs(
    small, table, texts, apart, tmp_path, by_model2vec
):
    model2vec = pytest.importorskip("model2vec")
    tokenizer = small["WordPiece"]
    StaticModel(table(tokenizer, zero=unknown_id(tokenizer)), tokenizer).save(tmp_path / "model")
    other = model2vec.StaticModel.from_pretrained(tmp_path / "model", quantize_to="int8")
    other.max_length = 5
    other.save_pretrained(tmp_path / "model")
    ours = StaticModel.load(tmp_path / "model").encode(texts)
    assert apart(ours, by_model2vec(tmp_path / "model", texts), texts) < 2e-5


def test_prompts_reach_sentence_transformers(small, table, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    prompts = {"query": "search for: ", "document": "passage: "}
    model = StaticModel(table(small["BPE"]), small["BPE"], Settings(prompts=prompts))
    model.save(tmp_path / "model")
    other = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    again = StaticModel.load(tmp_path / "model")
    for name in ("encode", "encode_query", "encode_document"):
        assert np.abs(getattr(again, name)(["a list"]) - getattr(other, name)(["a list"])).max() < TOLERANCE


def test_every_setting_round_trips(small, table, tmp_path):
    settings = Settings(
        normalize=False, drop_unknown=True, max_tokens=9, max_characters=99, prompts={"query": "é: "},
        language=("en", "de"), base_model="an/other", documents_by="a/teacher", documents_hash="0f",
        search=SearchSettings(0.7, "vector", {"vector": {"90": 0.25}}),
    )  # fmt: skip
    assert all(
        getattr(settings, field.name) != getattr(Settings(), field.name)
        for field in dataclasses.fields(Settings)
    )
    assert set(huggingface.VALID) == {field.name for field in dataclasses.fields(Settings)}
    StaticModel(table(small["BPE"]), small["BPE"], settings).save(tmp_path / "model")
    assert StaticModel.load(tmp_path / "model").settings == settings


def test_a_vocabulary_with_gaps_loads_in_all_three(tmp_path, by_sentence_transformers, by_model2vec):
    tokenizer = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "a": 2, "b": 5}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    rows[0] = 0
    model = StaticModel(rows, tokenizer)
    model.save(tmp_path / "model")
    texts = ["a b", "b b a c", ""]
    for vectors in (
        StaticModel.load(tmp_path / "model").encode(texts),
        by_sentence_transformers(tmp_path / "model", texts),
        by_model2vec(tmp_path / "model", texts),
    ):
        assert np.abs(vectors - model.encode(texts)).max() < TOLERANCE
    assert len(StaticModel.load(tmp_path / "model").table) == 6


def test_the_card_is_the_one_given_or_says_what_is_known(small, table, tmp_path):
    model = StaticModel(table(small["BPE"]), small["BPE"], Settings(language=("en",), base_model='a: "b"'))
    model.save(tmp_path / "given", card="my card ☃")
    assert (tmp_path / "given" / "README.md").read_text(encoding="utf-8") == "my card ☃"
    model.save(tmp_path / "default")
    text = (tmp_path / "default" / "README.md").read_text(encoding="utf-8")
    yaml = pytest.importorskip("yaml")
    head = yaml.safe_load(text.split("---")[1])
    assert head["library_name"] == "sentence-transformers"
    assert head["base_model"] == 'a: "b"'
    assert head["language"] == ["en"]
    assert all(f"from {name} import" in text for name in ("statim", "sentence_transformers", "model2vec"))


def test_the_card_says_what_differs(small, table, tmp_path):
    counted = StaticModel(table(small["WordPiece"]), small["WordPiece"])
    counted.save(tmp_path / "counted")
    assert "which model2vec drops" in (tmp_path / "counted" / "README.md").read_text(encoding="utf-8")
    dropped = StaticModel(
        table(small["WordPiece"]),
        small["WordPiece"],
        Settings(normalize=False, drop_unknown=True, max_tokens=8),
    )
    dropped.save(tmp_path / "dropped")
    text = (tmp_path / "dropped" / "README.md").read_text(encoding="utf-8")
    assert "for the length" in text
    assert "cuts by characters" in text


def test_the_table_stays_on_disk_and_may_overwrite_itself(small, table, texts, tmp_path):
    model = StaticModel(table(small["BPE"]), small["BPE"])
    model.save(tmp_path / "model")
    mapped = StaticModel.load(tmp_path / "model")
    assert not mapped.table.flags.owndata
    assert not mapped.table.flags.writeable
    with pytest.raises(InputError, match="not empty"):
        mapped.save(tmp_path / "model")
    mapped.save(tmp_path / "model", overwrite=True)
    assert np.array_equal(StaticModel.load(tmp_path / "model").encode(texts), model.encode(texts))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_later_format_is_refused_and_an_earlier_one_loads(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["statim"]["language"], config["statim"]["prompts"]
    config["statim"]["of_a_later_time"] = 1
    path.write_text(json.dumps(config), encoding="utf-8")
    assert StaticModel.load(tmp_path / "model", verify="never").settings == Settings()
    config["statim"]["format_version"] = 2
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"format 2.* up to 1; upgrade statim"):
        StaticModel.load(tmp_path / "model", verify="never")
    for wrong in (None, "1", 0, True, [1]):
        config["statim"]["format_version"] = wrong
        path.write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(ModelError, match="format_version"):
            StaticModel.load(tmp_path / "model", verify="never")


def test_wrong_settings_are_named(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    wrong = {
        "normalize": 1,
        "drop_unknown": None,
        "max_tokens": 0,
        "max_characters": True,
        "prompts": {"query": 1},
        "language": "en",
        "base_model": [],
        "documents_by": 1,
        "documents_hash": {},
        "search": {"weight": 1.5, "mode": "vector", "thresholds": {}},
    }
    assert wrong.keys() == huggingface.VALID.keys()
    for name, value in wrong.items():
        path.write_text(json.dumps({**config, "statim": {**config["statim"], name: value}}), encoding="utf-8")
        with pytest.raises(ModelError, match=f"the setting {name} is"):
            StaticModel.load(tmp_path / "model", verify="never")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_table_that_is_not_finite_is_refused(value, minilm, table, tmp_path):
    model = StaticModel(table(minilm), minilm)
    model.save(tmp_path / "model")
    rows = table(minilm).copy()
    rows[29_000, 23] = rows[30_000, 0] = value
    save_tensors(tmp_path / "model" / "model.safetensors", {"embeddings": rows}, {huggingface.MARK: "1"})
    with pytest.raises(ModelError, match=r"model: the table holds NaN or infinity in row 29,000"):
        StaticModel.load(tmp_path / "model", verify="never")
    with pytest.raises(ModelError, match="row 29,000"):
        StaticModel(rows, minilm)


def test_a_table_that_does_not_fit_is_refused(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    rows = load_tensors(file)[0]["embeddings"].copy()
    mark = {huggingface.MARK: "1"}

    def refused(arrays, match):
        save_tensors(file, arrays, mark)
        with pytest.raises(ModelError, match=match):
            StaticModel.load(tmp_path / "model", verify="never")

    refused({"embeddings": rows[:-1]}, "1,499 rows but the tokenizer gives ids up to 1,499")
    refused({"embeddings": rows.astype(np.int32)}, "type int32")
    refused({"embeddings": rows[:, :0]}, "shape")
    refused({"embeddings": rows[0]}, "shape")
    refused({"other": rows}, "holds other but no table")
    refused({}, "holds no arrays but no table")
    refused({"embeddings": rows, "mapping": np.full(1500, 1500)}, "sends token 0 to row 1,500")
    refused({"embeddings": rows, "mapping": np.full(1500, -1)}, "sends token 0 to row -1")
    refused({"embeddings": rows, "mapping": np.zeros(1499, np.int64)}, "1,499 rows but the tokenizer")
    refused({"embeddings": rows, "mapping": np.zeros(1500, np.float32)}, "type float32")
    refused({"embeddings": rows, "weights": np.ones(1499, np.float32)}, "one float for each of the 1,500")
    refused({"embeddings": rows, "weights": np.ones(1500, np.int64)}, "type int64")
    refused({"embeddings": rows, "weights": np.full(1500, np.nan, np.float32)}, "NaN or infinity in row 0")
    save_tensors(file, {"embeddings": np.concatenate([rows, rows])}, mark)
    assert len(StaticModel.load(tmp_path / "model", verify="never").table) == 3000


def test_missing_files_are_named(small, table, tmp_path):
    for name in ("model.safetensors", "tokenizer.json"):
        folder = tmp_path / name
        StaticModel(table(small["BPE"]), small["BPE"]).save(folder)
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"{name} is missing"):
            StaticModel.load(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        StaticModel.load(empty)


def test_loading_needs_no_heavy_library(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "model")
    code = (
        "import sys, statim; statim.StaticModel.load(sys.argv[1]).encode('a list'); "
        "print([name for name in ('torch', 'transformers', 'pyarrow', 'numba', 'huggingface_hub', "
        "'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("format-*"))


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_old_formats_stay_readable(folder):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    model = StaticModel.load(folder / "model")
    assert dataclasses.asdict(model.settings) == {
        **dataclasses.asdict(Settings()),  # what came later has its default
        **expected["settings"],
        "language": tuple(expected["settings"]["language"]),
    }
    vectors = model.encode([entry["text"] for entry in expected["vectors"]])
    assert np.abs(vectors - np.array([entry["vector"] for entry in expected["vectors"]])).max() < TOLERANCE
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 50_000


def test_the_present_format_has_a_golden_folder():
    assert f"format-{huggingface.VERSION}" in [folder.name for folder in GOLDEN]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "BPE"])
@pytest.mark.parametrize(("dtype", "theirs"), [("int8", 3e-5), ("float16", 2e-3)])
def test_three_libraries_read_a_quantized_table(
    dtype,
    theirs,
    kind,
    normalize,
    small,
    table,
    texts,
    apart,
    tmp_path,
    by_sentence_transformers,
    by_model2vec,
):
    """model2vec computes in float16 where the table is; sentence-transformers does not, so nothing is NaN
    there.
    """
    tokenizer, some = small[kind], [*texts[:1200], *["", " ", "\t\n"]]
    zero = unknown_id(tokenizer)
    model = StaticModel(table(tokenizer, zero=zero), tokenizer, Settings(normalize)).quantize(dtype)
    model.save(tmp_path / "model")
    again, expected = StaticModel.load(tmp_path / "model", verify="never"), model.encode(some)
    assert (again.dtype, np.array_equal(again.encode(some), expected)) == (dtype, True)
    assert not expected[1200].any()
    by_other = by_sentence_transformers(tmp_path / "model", some)
    assert apart(expected, by_other, some) < (TOLERANCE if dtype == "float16" else theirs)
    assert not by_other[1200].any()
    if normalize or zero is None:  # else the lengths differ, since model2vec drops unknown tokens
        assert apart(expected, by_model2vec(tmp_path / "model", some), some) < theirs


def test_other_programs_learn_from_config_json_what_the_folder_is(small, table, tmp_path):
    StaticModel(table(small["BPE"]), small["BPE"]).save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "model2vec"
    assert not is_transformer(tmp_path / "model")


def test_a_float16_folder_without_weights_still_loads(small, table, texts, tmp_path):
    model = StaticModel(table(small["BPE"]), small["BPE"]).quantize("float16")
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    arrays, metadata = load_tensors(file)
    save_tensors(file, {"embeddings": arrays["embeddings"].copy()}, metadata)
    again = StaticModel.load(tmp_path / "model", verify="never")
    assert (again.dtype, again.hash) == ("float16", model.hash)
    assert np.array_equal(again.encode(texts), model.encode(texts))
