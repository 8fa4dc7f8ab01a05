"""Only one prompt stands before a text: the given one, else the model's for its role, else its default; as
sentence-transformers does.
"""

import numpy as np
import pytest

from statim.evaluation.encoders import QueriesOnly
from statim.mining.mine import mine_hard_negatives
from statim.model import StaticModel
from statim.settings import Settings
from statim.teacher.teacher import Teacher
from transformers_made import tiny_bert

WORDS = [
    "ask",
    "tell",
    "find",
    ":",
    "sort",
    "list",
    "open",
    "file",
    "take",
    "lock",
    "call",
    "use",
    "two",
    "threads",
]
PAIRS = [
    ("sort list", "use sort"),
    ("open file", "call open"),
    ("two threads", "take lock"),
    ("find list", "tell list"),
]
PROMPTS = {
    "none": ({}, None),
    "default alone": ({"other": "ask: "}, "other"),
    "of roles": ({"query": "ask: ", "document": "tell: "}, None),
    "of roles and default": ({"query": "ask: ", "passage": "tell: ", "other": "find: "}, "other"),
}
GIVEN = [None, "", "find: ", "two threads: "]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("prompts") / "bert", WORDS)


@pytest.fixture(params=PROMPTS.values(), ids=PROMPTS)
def theirs(folder, request):
    """The transformer with prompts, in sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    prompts, default = request.param
    return SentenceTransformer(str(folder), device="cpu", prompts=prompts, default_prompt_name=default)


@pytest.fixture
def ours(theirs, tmp_path):
    theirs.save_pretrained(str(tmp_path / "teacher"), create_model_card=False)
    return Teacher.load(tmp_path / "teacher")


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("role", ["encode", "encode_query", "encode_document"])
def test_of_a_teacher(role, given, ours, theirs):
    texts = [text for pair in PAIRS for text in pair]
    expected = getattr(theirs, role)(texts, prompt=given, normalize_embeddings=True)
    for _ in range(2):  # computed, then from the cache
        found = getattr(ours, role)(texts, prompt=given)
        assert (found * expected).sum(axis=1).min() > 0.9999
    plain = theirs.encode(texts, prompt="", normalize_embeddings=True)
    assert (given is None) or ((plain * expected).sum(axis=1).min() > 0.9999) == (given == "")


@pytest.mark.parametrize("asked", GIVEN)
@pytest.mark.parametrize("told", GIVEN)
def test_of_mining(told, asked, ours, theirs):
    anchors, documents = (list(texts) for texts in zip(*PAIRS, strict=True))
    scores = theirs.similarity(
        theirs.encode_query(anchors, prompt=asked), theirs.encode_document(documents, prompt=told)
    ).numpy()
    for model in (ours, theirs):
        options = {"query_prompt": asked, "corpus_prompt": told, "relative_margin": None, "num_negatives": 1}
        mined = mine_hard_negatives(PAIRS, model, output_scores=True, **options)
        for row in mined.table.to_pylist():
            i, j = anchors.index(row["anchor"]), documents.index(row["negative"])
            assert np.allclose(row["scores"], [scores[i, i], scores[i, j]], atol=2e-3)


def test_of_a_static_model(minilm):
    rows = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 16))
    model = StaticModel(rows, minilm, Settings(prompts={"query": "ask: ", "document": "tell: "}))
    for role, own in (("encode_query", "ask: "), ("encode_document", "tell: ")):
        for given in GIVEN:
            expected = model.encode([(own if given is None else given) + "a list"])
            assert np.array_equal(getattr(model, role)(["a list"], prompt=given), expected)
    options = {"query_prompt": "find: ", "relative_margin": None, "num_negatives": 1, "output_scores": True}
    row = mine_hard_negatives(PAIRS, model, **options).table.to_pylist()[0]
    first, second = model.encode(["find: " + row["anchor"], "tell: " + row["positive"]])
    assert row["scores"][0] == pytest.approx(float(first @ second), abs=1e-5)


def test_of_a_model_for_queries_and_its_teacher(ours, minilm):
    rows = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), ours.dim))
    both = QueriesOnly(StaticModel(rows, minilm), ours)
    for given in GIVEN:
        assert np.array_equal(
            both.encode_document(["list"], prompt=given), ours.encode_document(["list"], prompt=given)
        )
    options = {"corpus_prompt": "find: ", "relative_margin": None, "num_negatives": 1, "output_scores": True}
    row = mine_hard_negatives(PAIRS, both, **options).table.to_pylist()[0]
    expected = both.model.encode([row["anchor"]]) @ ours.encode_document([row["positive"]], prompt="find: ").T
    assert row["scores"][0] == pytest.approx(expected.item(), abs=2e-3)


def test_of_an_object_that_takes_no_prompt(minilm):
    """One that would put its own prompt before queries is asked for plain vectors, of texts with the given
    prompt.
    """
    model = StaticModel(np.eye(minilm.get_vocab_size(), 16), minilm)
    seen = []

    class Other:
        def encode(self, texts, **ignored):
            seen.extend(texts)
            return model.encode(texts)

        def encode_query(self, texts, **ignored):
            return self.encode([f"own: {text}" for text in texts])

    mine_hard_negatives(PAIRS, Other(), query_prompt="find: ", relative_margin=None, num_negatives=1)
    assert seen == [*(f"find: {anchor}" for anchor, _ in PAIRS), *(text for _, text in PAIRS)]
