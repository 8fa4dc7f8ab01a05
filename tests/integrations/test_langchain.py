import asyncio

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from statim.errors import ModelError
from statim.integrations.langchain import StatimEmbeddings, StatimRetriever


def test_vectors(place, model, texts):
    embeddings = StatimEmbeddings(place, dim=20)
    found = embeddings.embed_documents(texts)
    assert type(found[0][0]) is float
    np.testing.assert_array_equal(np.float32(found), model.encode(texts, dim=20))
    query = embeddings.embed_query("sort")
    np.testing.assert_array_equal(np.float32(query), model.encode_query("sort", dim=20))
    assert asyncio.run(embeddings.aembed_query("sort")) == query
    assert asyncio.run(embeddings.aembed_documents(texts)) == found
    assert embeddings.embed_documents([]) == []


def test_a_store_that_is_saved(model, texts, tmp_path):
    store = InMemoryVectorStore(StatimEmbeddings(model))
    store.add_documents([Document(text) for text in texts])
    asked = model.encode_query("sort a list")
    nearest = texts[int(np.argmax(model.encode(texts) @ asked))]
    assert store.similarity_search("sort a list", k=1)[0].page_content == nearest
    store.dump(str(tmp_path / "store.json"))
    again = InMemoryVectorStore.load(str(tmp_path / "store.json"), StatimEmbeddings(model))
    assert again.similarity_search("sort a list", k=1)[0].page_content == nearest


def test_no_model(tmp_path):
    with pytest.raises(ModelError):
        StatimEmbeddings(tmp_path / "missing")


def test_retriever(index):
    retriever = StatimRetriever(index=index, k=3, filter="n > 4")
    found = retriever.invoke("sort a list")
    expected = index.search("sort a list", 3, where="n > 4")
    assert [(one.id, one.page_content) for one in found] == [(hit.id, hit.text) for hit in expected]
    assert found[0].metadata == {"n": expected[0].metadata["n"], "score": expected[0].score}
    assert asyncio.run(retriever.ainvoke("sort a list")) == found
    assert len(retriever.invoke("sort a list", k=1)) == 1
    assert [one.id for one in StatimRetriever(index=index, mode="bm25").invoke("xyzzy")] == []
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        StatimRetriever(index=index, k=0)
