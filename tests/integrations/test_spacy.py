import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    spacy = pytest.importorskip("spacy", reason="spacy is not installed")

    import statim.integrations.spacy  # noqa: F401 (registers the pipe)


def test_a_pipe_that_is_stored(place, model, texts, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("statim", config={"model": place})
    doc, other = nlp("sort a list"), nlp("open a list")
    np.testing.assert_array_equal(doc.vector, model.encode("sort a list"))
    assert doc.similarity(other) == pytest.approx(
        model.similarity("sort a list", "open a list")[0, 0], abs=1e-6
    )
    found = np.array([doc.vector for doc in nlp.pipe(texts, batch_size=7)])
    np.testing.assert_array_equal(found, model.encode(texts))
    nlp.to_disk(tmp_path / "pipeline")
    np.testing.assert_array_equal(spacy.load(tmp_path / "pipeline")("sort a list").vector, doc.vector)
