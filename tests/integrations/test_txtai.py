import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    txtai = pytest.importorskip("txtai", reason="txtai is not installed")


def test_search(place, model, texts):
    embeddings = txtai.Embeddings(
        path=place, method="statim.integrations.txtai.StatimVectors", backend="numpy"
    )
    embeddings.index(texts)
    asked = model.encode_query("sort a list")
    scores = model.encode(texts) @ asked
    found = embeddings.search("sort a list", 3)
    assert [place for place, _ in found] == np.argsort(-scores, kind="stable")[:3].tolist()
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:3], atol=1e-6)
