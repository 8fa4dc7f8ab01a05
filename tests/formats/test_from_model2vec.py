"""Folders that model2vec writes load here with its own vectors."""

import json
import warnings

import numpy as np
import pytest
import threadpoolctl

from statim import StaticModel
from statim.errors import ModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import model2vec
    from model2vec.model import quantize_model


@pytest.fixture
def saved(small, table, tmp_path):
    """A function that saves a model with model2vec and gives the folder."""

    def save(*, kind="WordPiece", tokenizer=None, dtype=None, clusters=None, **options):
        tokenizer = tokenizer or small[kind]
        model = model2vec.StaticModel(table(tokenizer), tokenizer, **options)
        if dtype or clusters:
            # scikit-learn's threads wait for each other on a busy machine
            with threadpoolctl.threadpool_limits(1):
                model = quantize_model(model, quantize_to=dtype, vocabulary_quantization=clusters)
        model.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


@pytest.fixture
def difference(apart, by_model2vec):
    return lambda folder, texts: apart(
        StaticModel.load(folder).encode(texts), by_model2vec(folder, texts), texts
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("max_length", [512, None, 16])
@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "BPE"])
def test_vectors_are_those_of_model2vec(kind, max_length, normalize, saved, texts, difference):
    folder = saved(kind=kind, max_length=max_length, normalize=normalize)
    assert difference(folder, texts) < 1e-6
    settings = StaticModel.load(folder).settings
    assert (settings.normalize, settings.max_tokens, settings.drop_unknown) == (normalize, max_length, True)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_stored_truncation_is_not_applied(normalize, minilm, saved, texts, difference):
    assert minilm.truncation is not None
    assert difference(saved(tokenizer=minilm, normalize=normalize), texts) < 1e-6


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"dtype": "float16"}, 1e-3),  # model2vec rounds its means to float16
        ({"dtype": "float64"}, 1e-6),
        ({"dtype": "int8"}, 2e-5),
        ({"clusters": 9}, 1e-6),
        ({"clusters": 9, "dtype": "int8"}, 1e-6),
        ({"clusters": 9, "dtype": "float16"}, 1e-3),
        ({"weights": np.linspace(0.1, 3, 2000, dtype=np.float32)}, 1e-6),
        ({"weights": np.linspace(0.1, 3, 2000), "dtype": "int8"}, 5e-6),  # model2vec sums in float64
        ({"weights": np.linspace(0.1, 3, 2000, dtype=np.float16), "dtype": "int8"}, 1e-3),
    ],
    ids=str,
)  # fmt: skip
def test_quantized_mapped_and_weighted(options, tolerance, normalize, saved, texts, difference):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the clustering
        folder = saved(normalize=normalize, **options)
    some = texts[::5] + texts[-10:]
    assert difference(folder, some) < tolerance
    again = StaticModel.load(folder)
    assert again.dtype == (
        options["dtype"] if options in ({"dtype": "int8"}, {"dtype": "float16"}) else "float32"
    )
    assert len(again.table) == 2000


def test_what_old_versions_did_not_write(saved, texts, difference):
    folder = saved(normalize=True, max_length=None)
    (folder / "config.json").write_text('{"model_type": "model2vec"}', encoding="utf-8")
    (folder / "modules.json").unlink()
    settings = StaticModel.load(folder).settings
    assert (settings.normalize, settings.max_tokens) == (False, 512)
    assert difference(folder, texts) < 1e-6


@pytest.mark.parametrize("max_length", [2**31, 2**62])
def test_limits_beyond_any_text_survive_saving(max_length, saved, texts, tmp_path, difference):
    folder = saved(max_length=max_length)
    assert difference(folder, texts[:50]) < 1e-6
    model = StaticModel.load(folder)
    model.save(tmp_path / "again")
    assert StaticModel.load(tmp_path / "again").settings == model.settings


def test_facts_of_the_card(small, table, tmp_path):
    model = model2vec.StaticModel(
        table(small["BPE"]), small["BPE"], base_model_name="org/teacher", language=["en", "nl"]
    )
    model.save_pretrained(tmp_path)
    settings = StaticModel.load(tmp_path).settings
    assert (settings.base_model, settings.language) == ("org/teacher", ("en", "nl"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"normalize": "yes"}, "normalize is 'yes'"),
        ({"normalize": None}, "normalize is 'None'"),
        ({"max_length": 0}, "max_length is '0'"),
        ({"max_length": -3}, "at least 1, or null"),
        ({"max_length": True}, "at least 1, or null"),
        ({"max_length": "x" * 1000}, "at least 1, or null"),
        ({"max_length": 2**70}, "at least 1, or null"),
    ],
    ids=str,
)
def test_values_that_model2vec_does_not_write(change, match, saved):
    folder = saved()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=match):
        StaticModel.load(folder)
