import numpy as np
import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from statim.integrations.haystack import StatimDocumentEmbedder, StatimTextEmbedder


def test_vectors(place, model, texts):
    documents = [Document(content=text) for text in texts]
    found = StatimDocumentEmbedder(place, dim=20).run(documents)["documents"]
    np.testing.assert_array_equal(np.float32([one.embedding for one in found]), model.encode(texts, dim=20))
    assert all(one.embedding is None for one in documents)
    query = StatimTextEmbedder(place).run("sort")["embedding"]
    np.testing.assert_array_equal(np.float32(query), model.encode_query("sort"))
    assert type(query[0]) is float


def test_metadata_before_the_content(place, model):
    embedder = StatimDocumentEmbedder(place, meta_fields_to_embed=["title", "none"], embedding_separator=" ")
    (found,) = embedder.run([Document(content="a list", meta={"title": "sort", "none": None})])["documents"]
    np.testing.assert_array_equal(np.float32(found.embedding), model.encode("sort a list"))


def test_wrong_types(place):
    with pytest.raises(TypeError, match="use StatimDocumentEmbedder"):
        StatimTextEmbedder(place).run([Document(content="a")])
    with pytest.raises(TypeError, match="use StatimTextEmbedder"):
        StatimDocumentEmbedder(place).run("a")


def test_a_pipeline_that_is_stored(place, model, texts):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(
        StatimDocumentEmbedder(place).run([Document(content=text) for text in texts])["documents"]
    )
    pipeline = Pipeline()
    pipeline.add_component("embedder", StatimTextEmbedder(place, dim=None))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["statim.*"])
    again.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    again.connect("embedder.embedding", "retriever.query_embedding")
    (found,) = again.run({"embedder": {"text": "sort a list"}})["retriever"]["documents"]
    assert found.content == texts[int(np.argmax(model.encode(texts) @ model.encode_query("sort a list")))]
