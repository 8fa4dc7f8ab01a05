"""OpenAI's own client against a real server."""

import base64

import numpy as np
import openai
import pytest


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def vectors_of(answer):
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], np.float32)


@pytest.mark.parametrize("form", [None, "float"])
@pytest.mark.parametrize("given", ["sort a list", ["sort a list", "", "open the file"], ["read"] * 100])
def test_vectors(client, model, form, given):
    options = {} if form is None else {"encoding_format": form}
    answer = client.embeddings.create(model="small", input=given, **options)
    texts = [given] if isinstance(given, str) else given
    np.testing.assert_array_equal(vectors_of(answer), model.encode(texts))
    assert answer.object == "list"
    assert answer.model == "small"
    tokens = len(model.tokenize(texts).ids)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)


def test_base64_asked_for(client, model):
    answer = client.embeddings.create(model="small", input="sort", encoding_format="base64")
    found = np.frombuffer(base64.b64decode(answer.data[0].embedding), "<f4")
    np.testing.assert_array_equal(found, model.encode("sort"))


def test_dimensions(client, model):
    answer = client.embeddings.create(model="small", input=["sort a list", "open"], dimensions=7)
    np.testing.assert_array_equal(vectors_of(answer), model.encode(["sort a list", "open"], dim=7))


def test_token_ids(client, model):
    texts = ["sort a list", "open the file"]
    ids = [list(map(int, one)) for one in model.tokenize(texts)]
    answer = client.embeddings.create(model="small", input=ids)
    np.testing.assert_array_equal(vectors_of(answer), model.encode(texts))
    answer = client.embeddings.create(model="small", input=ids[0])
    np.testing.assert_array_equal(vectors_of(answer), model.encode(texts[:1]))


def test_the_model_of_an_index(client, model):
    answer = client.embeddings.create(model="docs", input="sort")
    np.testing.assert_array_equal(vectors_of(answer)[0], model.encode("sort"))


def test_models(client):
    assert [one.id for one in client.models.list()] == ["small", "docs"]
    assert client.models.retrieve("docs").owned_by == "statim"
    with pytest.raises(openai.NotFoundError, match="there is no model 'big' here; there is small, docs"):
        client.models.retrieve("big")


@pytest.mark.parametrize(
    ("options", "kind", "param", "message"),
    [
        ({"model": "big", "input": "a"}, openai.NotFoundError, "model", "there is small, docs"),
        ({"input": []}, openai.BadRequestError, "input", "none empty"),
        ({"input": 5}, openai.BadRequestError, "input", "give a text, a list of texts"),
        ({"input": ["a", 5]}, openai.BadRequestError, "input", "give a text"),
        ({"input": [[]]}, None, None, None),
        ({"input": "a", "dimensions": 0}, openai.BadRequestError, "dimensions", "at least 1"),
        ({"input": "a", "dimensions": "5"}, openai.BadRequestError, "dimensions", "how many dimensions"),
        ({"input": "a", "dimensions": 33}, openai.BadRequestError, "dimensions", "small has 32"),
        ({"input": "a", "encoding_format": "int8"}, openai.BadRequestError, "encoding_format", "float"),
        ({"input": [10**6]}, openai.BadRequestError, "input", "is not from 0 to .*another tokenizer"),
        ({"input": [-1]}, openai.BadRequestError, "input", "is not from 0 to .*another tokenizer"),
        ({"input": [2**40]}, openai.BadRequestError, "input", "is not from 0 to .*another tokenizer"),
        ({"input": ["a"] * 101}, openai.UnprocessableEntityError, None, "send 100 at most"),
        ({"input": "a " * 1001}, openai.UnprocessableEntityError, None, "send 1,000 at most"),
        ({"input": "a " * 20_000}, openai.APIStatusError, None, "more than 20,000 bytes"),
    ],
)
def test_bad_input(client, options, kind, param, message):
    asked = {"model": "small"} | options
    if kind is None:  # a text without tokens
        assert not vectors_of(client.embeddings.create(**asked)).any()
        return
    with pytest.raises(kind, match=message) as caught:
        client.embeddings.create(**asked)
    assert caught.value.body["param"] == param
    assert caught.value.body["code"]
    assert caught.value.body["type"].endswith("_error")
