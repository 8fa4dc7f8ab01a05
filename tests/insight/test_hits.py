"""Why an index finds a document: parts that add up to the scores of the search."""

import json
import re

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.errors import InputError
from statim.insight.explain_page import page
from statim.insight.hits import explain_hit
from statim.model import StaticModel
from statim.search.index import Index
from statim.settings import SearchSettings, Settings

DOCUMENTS = {
    "sea": "the blue sea under the sky",
    "it's": "green grass and <b>blue</b> flowers",
    "wood": "a fire of dry wood",
    "none": "xyzzy",
}
QUERY = "the blue sky at sea"


def model():
    words = sorted(
        {
            *[
                "query",
                "document",
                "the",
                "blue",
                "sea",
                "under",
                "sky",
                "green",
                "grass",
                "and",
                "flowers",
                "a",
                "fire",
                "of",
                "dry",
                "wood",
                "at",
            ]
        }
    )
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = np.random.default_rng(5).normal(size=(len(words) + 1, 12)).astype(np.float32)
    return StaticModel(
        rows, backend, Settings(drop_unknown=True, prompts={"query": "query ", "document": "document "})
    )


@pytest.fixture(scope="module", params=["folder", "lancedb"])
def index(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "index"
    return Index.build(
        model(), list(DOCUMENTS.values()), path, ids=list(DOCUMENTS), store=request.param, language="en"
    )


def test_the_parts_are_the_scores_of_the_search(index):
    by_vector = {hit.id: hit.score for hit in index.search(QUERY, 4, mode="vector")}
    by_words = {hit.id: hit.score for hit in index.search(QUERY, 4, mode="bm25")}
    assert {"sea", "it's"} <= by_words.keys()
    for name in DOCUMENTS:
        found = explain_hit(index, QUERY, hit=name, mode="vector")
        assert found.vector.score == pytest.approx(by_vector.get(name, 0.0), abs=1e-6)
        assert found.bm25 == pytest.approx(by_words.get(name, 0.0), abs=1e-5)
        assert (found.hit.rank > 0) is (name in by_vector)
    words = {one.word for one in explain_hit(index, QUERY, hit="sea").words}
    assert {"blue", "sky", "sea"} == words  # "the" and "at" are stop words


def test_answers_by_their_rank(index):
    hits = index.search(QUERY, 3)
    for hit in hits:
        assert explain_hit(index, QUERY, rank=hit.rank).hit == hit
    with pytest.raises(InputError, match="none of rank 9"):
        explain_hit(index, QUERY, rank=9)
    with pytest.raises(InputError, match="rank is 0"):
        explain_hit(index, QUERY, rank=0)
    with pytest.raises(InputError, match="no document with the id 'nothing'"):
        explain_hit(index, QUERY, hit="nothing")


def test_the_mode_is_the_index_s_own(tmp_path):
    index = Index.build(model(), list(DOCUMENTS.values()), tmp_path / "own", ids=list(DOCUMENTS))
    index.settings = SearchSettings(index.settings.weight, "bm25")
    found = explain_hit(index, QUERY)
    assert (found.mode, found.hit) == ("bm25", index.search(QUERY, 1)[0])
    assert found.hit.score == pytest.approx(found.bm25, abs=1e-5)
    assert explain_hit(index, QUERY, mode="vector").mode == "vector"


def test_the_passage_nearest_to_the_query_is_explained(tmp_path):
    """Of a document that is not among the answers."""
    far, near = "a fire of dry wood. " * 60, "the green grass and flowers under the sky. " * 40
    documents = [{"id": "long", "text": f"{far}\n\n{near}"}, {"id": "sea", "text": QUERY}]
    index = Index.build(model(), documents, tmp_path / "passages", passages=True)
    texts = [one["text"] for one in index.get(["long"])]
    assert len(texts) > 1
    encoder = model()
    cosines = (
        encoder.encode_document(texts, normalize=True) @ encoder.encode_query(QUERY, normalize=True)
    ).tolist()
    found = explain_hit(index, QUERY, hit="long", mode="vector", depth=1)
    assert found.hit.rank == 0
    assert found.hit.text == texts[int(np.argmax(cosines))] != texts[0]
    assert found.vector.score == pytest.approx(max(cosines), abs=1e-6)
    assert explain_hit(index, QUERY, hit="long", mode="vector").hit.rank == 2


def test_one_document_against_another(index):
    found = explain_hit(index, QUERY, hit="sea", against="it's")
    assert sum(part for _, part in found.contrast()) == pytest.approx(
        found.vector.score - found.against.vector.score, abs=1e-9
    )
    assert json.loads(json.dumps(found.to_dict()))["against"]["id"] == "it's"
    with pytest.raises(InputError, match="no other document"):
        found.against.contrast()


def test_the_page_holds_texts_as_they_are(index):
    written = page(explain_hit(index, QUERY, hit="it's", against="sea"))
    assert "<b>" not in written
    assert written.count("<th>query</th><th>document</th>") == 2
    assert "&lt;b&gt;" in re.sub("</?mark[^>]*>", "", written)
    assert not re.search(r"https?://|<script", written)
    for word in ("query", "blue", "flowers"):
        assert re.search(rf"<mark[^>]*>{word}</mark>", written), word


def test_vectors_of_a_teacher_cannot_be_divided(index, monkeypatch):
    monkeypatch.setattr(type(index), "info", lambda self: {"documents_by": "a teacher"})
    with pytest.raises(InputError, match="a teacher made the documents' vectors"):
        explain_hit(index, QUERY)
