"""What endpoints are and give: bytes of JSON, made once."""

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from statim.server.encoder import Floats


@dataclass(frozen=True)
class Answer:
    """An answer, and what the log and the metrics say of it.

    Attributes:
        body: JSON.
        model: The name of what answered.
        texts: Texts encoded or searched for.
        tokens: Their tokens.
    """

    body: bytes
    model: str = ""
    texts: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Endpoint:
    """A path that takes JSON.

    Attributes:
        path: The path, of POST requests.
        summary: One line of the API's page.
        tag: Its section there.
        asked: What the body holds.
        answered: What the answer holds.
        run: Answers, on any thread.
        quick: Is a short request answered in less time than a thread takes to wake? None: never.
        invalid: The status of a body with other fields than ``asked``.
    """

    path: str
    summary: str
    tag: str
    asked: type[BaseModel]
    answered: Any
    run: Callable[[Any], Answer]
    quick: Callable[[Any], bool] | None = None
    invalid: int = 422


def dumps(value: Any) -> bytes:
    """JSON of anything that a document may hold; arrays of numbers too."""
    return orjson.dumps(value, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def embedding_list(vectors: Floats, form: str, model: str, tokens: int) -> bytes:
    """OpenAI's list of embeddings: the shortest numbers that give the same float32, or base64 of them."""
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    if form == "float":
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(vectors)]
        return dumps({"object": "list", "data": data, "model": model, "usage": usage})
    parts = [b'{"object":"list","data":[']
    encode = binascii.b2a_base64
    for index, row in enumerate(vectors.astype("<f4", copy=False)):
        begin = b'%b{"object":"embedding","index":%d,"embedding":"' % (b"," if index else b"", index)
        parts += (begin, encode(row, newline=False), b'"}')  # joined once, so that nothing is copied twice
    parts.append(b'],"model":%b,"usage":%b}' % (orjson.dumps(model), orjson.dumps(usage)))
    return b"".join(parts)
