import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import make_model

chromadb = pytest.importorskip("chromadb", reason="chromadb is not installed")

from chromadb.config import Settings

from statim.errors import InputError
from statim.integrations.chroma import StatimEmbeddingFunction


@pytest.fixture
def own(place, tmp_path):
    return str(shutil.copytree(place, tmp_path / "model"))


def opened(path):
    return chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))


def test_a_collection_that_is_reopened(own, model, texts, tmp_path):
    collection = opened(tmp_path / "db").create_collection(
        "docs", embedding_function=StatimEmbeddingFunction(own)
    )
    collection.add(ids=[str(n) for n in range(len(texts))], documents=texts)
    expected = str(int(np.argmax(model.encode(texts) @ model.encode_query("sort a list"))))
    assert collection.query(query_texts=["sort a list"], n_results=1)["ids"] == [[expected]]
    again = opened(tmp_path / "db").get_collection("docs")  # finds the function by its name
    found = again.query(query_texts=["sort a list"], n_results=1)
    assert found["ids"] == [[expected]]
    cosine = float(model.encode(texts[int(expected)]) @ model.encode_query("sort a list"))
    assert found["distances"][0][0] == pytest.approx(1 - cosine, abs=1e-5)


def test_another_model_at_its_place_is_refused(own):
    config = StatimEmbeddingFunction(own).get_config()
    assert StatimEmbeddingFunction.build_from_config(config).get_config() == config
    shutil.rmtree(own)
    make_model(Path(own), seed=1)
    with pytest.raises(InputError, match="is not the one that the collection was made with"):
        StatimEmbeddingFunction.build_from_config(config)
    other = StatimEmbeddingFunction(own)
    with pytest.raises(InputError, match="made with another model"):
        other.validate_config_update(config, other.get_config())
    other.validate_config_update(config, config)
