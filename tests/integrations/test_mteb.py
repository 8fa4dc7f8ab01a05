import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mteb = pytest.importorskip("mteb", reason="mteb is not installed")
    from mteb.types import PromptType

    from statim.integrations.mteb import StatimEncoder

WAYS = {"task_metadata": None, "hf_split": "test", "hf_subset": "default"}


def test_vectors(place, model, texts):
    encoder = StatimEncoder(place)
    batches = [{"text": texts[:10]}, {"text": texts[10:]}]
    np.testing.assert_array_equal(encoder.encode(batches, **WAYS, batch_size=3), model.encode(texts))
    query = encoder.encode(batches, **WAYS, prompt_type=PromptType.query)
    np.testing.assert_array_equal(query, model.encode_query(texts))
    np.testing.assert_allclose(encoder.similarity(query, query), model.similarity(query, query), atol=1e-6)
    assert encoder.mteb_model_meta.embed_dim == 32
    assert encoder.mteb_model_meta.revision == model.hash[:40]
