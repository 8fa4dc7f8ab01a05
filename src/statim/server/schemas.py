"""What requests and answers hold, as the API's page describes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(description="a text")]
Texts = Annotated[list[str], Field(min_length=1, description="a list of at least one text")]
Ids = Annotated[list[int], Field(min_length=1)]
Input = Annotated[
    str | Texts | Ids | Annotated[list[list[int]], Field(min_length=1)],
    Field(description="a text, a list of texts, a list of token ids, or a list of such lists, none empty"),
]
Model = Annotated[
    str | None,
    Field(default=None, description="the name of a model or index that is served; the first by default"),
]
IndexName = Annotated[
    str | None, Field(default=None, description="the name of an index that is served; the first by default")
]
Dimensions = Annotated[
    int | None, Field(default=None, ge=1, description="how many dimensions to keep, at least 1")
]
Mode = Literal["hybrid", "vector", "bm25"]


class Asked(BaseModel):
    """A body; fields that are not named here are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Embeddings(Asked):
    """As OpenAI's."""

    input: Input
    model: Model
    dimensions: Dimensions
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description='"float" or "base64" (little-endian float32)')
    ] = "float"


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """As OpenAI's."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Embed(Asked):
    """As text-embeddings-inference's."""

    inputs: Input
    model: Model
    dimensions: Dimensions
    normalize: Annotated[bool, Field(description="true or false: scale vectors to length 1")] = True
    prompt_name: Annotated[
        str | None, Field(description='the name of a prompt of the model: "query" or "document"')
    ] = None


class Sentences(Asked):
    """A sentence, and those it is compared with."""

    source_sentence: Text
    sentences: Texts


class Similarity(Asked):
    """As text-embeddings-inference's."""

    inputs: Annotated[
        Sentences, Field(description='{"source_sentence": a text, "sentences": a list of at least one}')
    ]
    model: Model


class Tokenize(Asked):
    """As text-embeddings-inference's."""

    inputs: Annotated[str | Texts, Field(description="a text, or a list of at least one")]
    model: Model


class Token(BaseModel):
    """One token; ``start`` and ``stop`` count characters."""

    id: int
    text: str
    special: bool
    start: int
    stop: int


class RerankText(Asked):
    """A document of a reranking, as an object."""

    text: str


class Rerank(Asked):
    """As Cohere's and Jina's; ``texts`` in the place of ``documents`` is text-embeddings-inference's."""

    query: Text
    model: Model
    documents: Annotated[
        Annotated[list[str | RerankText], Field(min_length=1)] | None,
        Field(description='a list of at least one text, or of {"text": ...}'),
    ] = None
    texts: Texts | None = None
    top_n: Annotated[int | None, Field(ge=1, description="how many to return, at least 1")] = None
    return_documents: Annotated[bool, Field(description="true or false")] = False
    return_text: Annotated[bool, Field(description="true or false")] = False
    mode: Annotated[Literal["cosine", "hybrid"], Field(description='"cosine", or "hybrid" with BM25')] = (
        "cosine"
    )


class Search(Asked):
    """A question to an index."""

    query: Text
    index: IndexName
    k: Annotated[int, Field(ge=1, le=1000, description="how many hits to return, 1 to 1000")] = 10
    mode: Annotated[
        Mode | None, Field(description='"hybrid", "vector" or "bm25"; the index\'s own by default')
    ] = None
    filter: Annotated[
        str | None, Field(description="a condition on the columns, like: year > 2020 and source = 'faq'")
    ] = None
    weight: Annotated[
        float | None, Field(ge=0, le=1, description="the part of the vectors in hybrid search, 0 to 1")
    ] = None
    fusion: Annotated[Literal["scores", "rrf"], Field(description='"scores" or "rrf"')] = "scores"
    explain: Annotated[bool, Field(description="true or false: say where the query's words are")] = False


class Found(BaseModel):
    """One hit; ``marks`` are where words of the query begin and end in the text, in characters."""

    rank: int
    score: float
    id: str
    text: str
    metadata: dict[str, Any]
    marks: list[tuple[int, int]] | None = None


class Hits(BaseModel):
    """The answer of an index."""

    index: str
    mode: Mode
    hits: list[Found]
    milliseconds: float


class Document(Asked):
    """A document: its id, its text, and any other columns of the index."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str | int
    text: str


class Add(Asked):
    """Documents for an index."""

    documents: Annotated[
        list[Document],
        Field(min_length=1, description='a list of at least one {"id": ..., "text": ..., other columns}'),
    ]
    index: IndexName


class Delete(Asked):
    """Documents to delete from an index, by ids or by a condition."""

    index: IndexName
    ids: Texts | None = None
    filter: Annotated[str | None, Field(description="a condition on the columns, like: year < 2020")] = None


class Get(Asked):
    """Documents of an index to return."""

    ids: Texts
    index: IndexName


class Documents(BaseModel):
    """Documents of an index: those of the ids that are there."""

    index: str
    documents: list[dict[str, Any]]


class Changed(BaseModel):
    """What a change did: how many documents, and how many there are now."""

    index: str
    changed: int
    documents: int


class Wrong(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class WrongAnswer(BaseModel):
    """A refusal, in OpenAI's shape."""

    error: Wrong
