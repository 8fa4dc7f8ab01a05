"""Encoding on a torch device against encoding on the processor."""

import numpy as np
import pytest
import torch

from statim.errors import InputError
from statim.model import StaticModel
from statim.on_device import OnDevice
from statim.settings import Settings

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_vectors_are_those_of_the_processor(backends, docstrings, drop, normalize):
    backend = backends["WordLevel"]
    table = np.random.default_rng(0).standard_normal((1500, 48)).astype(np.float32)
    model = StaticModel(table, backend, Settings(normalize=normalize, drop_unknown=drop, max_tokens=20))
    texts = [*docstrings[:300], "", "☃ ☃", "x"] * 40  # more than one chunk; nothing but unknown words
    for dim in (None, 17):
        found = OnDevice(model, DEVICE).encode(texts, dim=dim, threads=2)
        np.testing.assert_allclose(found, model.encode(texts, dim=dim, threads=2), atol=2e-6)
    assert found.dtype == np.float32
    assert not found[300].any()


def test_one_text_a_stream_and_nothing(backends):
    model = StaticModel(np.ones((1500, 4), np.float32), backends["WordLevel"])
    there = OnDevice(model, DEVICE)
    assert there.encode("one text").shape == (4,)
    assert there.encode(text for text in ["a", "b", "c"]).shape == (3, 4)
    assert there.encode([]).shape == (0, 4)
    np.testing.assert_array_equal(there.encode("a", prompt="b "), there.encode("b a"))


def test_refuses_what_cannot_be(backends):
    model = StaticModel(np.ones((1500, 4), np.float32), backends["WordLevel"])
    with pytest.raises(InputError, match="device is 'cuda:77', which torch cannot use here"):
        OnDevice(model, "cuda:77")
    with pytest.raises(InputError, match="device is 'abacus'"):
        OnDevice(model, "abacus")
    with pytest.raises(InputError, match="dim is 5"):
        OnDevice(model, DEVICE).encode(["a"], dim=5)
    with pytest.raises(InputError, match="text 1 is of type int"):
        OnDevice(model, DEVICE).encode(["a", 3])
