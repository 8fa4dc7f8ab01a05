import asyncio
import pickle

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.schema import TextNode

from statim.integrations.llama_index import StatimEmbedding


def test_vectors(place, model, texts):
    embedding = StatimEmbedding(place, dim=20)
    np.testing.assert_array_equal(
        np.float32(embedding.get_text_embedding_batch(texts)), model.encode(texts, dim=20)
    )
    query = model.encode_query("sort", dim=20)
    np.testing.assert_array_equal(np.float32(embedding.get_query_embedding("sort")), query)
    np.testing.assert_array_equal(np.float32(asyncio.run(embedding.aget_query_embedding("sort"))), query)
    found = asyncio.run(embedding.aget_text_embedding_batch(texts))
    np.testing.assert_array_equal(np.float32(found), model.encode(texts, dim=20))
    assert type(found[0][0]) is float


def test_it_is_stored_and_read(place, model):
    embedding = StatimEmbedding(place, dim=20)
    assert embedding.to_dict()["class_name"] == "StatimEmbedding"
    for again in (StatimEmbedding.from_dict(embedding.to_dict()), pickle.loads(pickle.dumps(embedding))):
        assert again.get_text_embedding("sort a list") == embedding.get_text_embedding("sort a list")


def test_an_index(place, texts, model):
    nodes = [TextNode(text=text) for text in texts]
    index = VectorStoreIndex(nodes, embed_model=StatimEmbedding(place))
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("sort a list")
    assert (
        found.node.get_content()
        == texts[int(np.argmax(model.encode(texts) @ model.encode_query("sort a list")))]
    )
    assert Document(text="a").text == "a"
