import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("bertopic", reason="bertopic is not installed")
    from bertopic.backend._utils import select_backend

    from statim.integrations.bertopic import StatimBackend


def test_the_backend_is_taken(place, model, texts):
    backend = StatimBackend(place)
    assert select_backend(backend) is backend
    np.testing.assert_array_equal(backend.embed_documents(texts), model.encode(texts))
    np.testing.assert_array_equal(
        backend.embed_words(np.array(["sort", "open"])), model.encode(["sort", "open"])
    )
