"""statim mine: what it prints and writes, and what it refuses."""

import json
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from made_texts import THINGS, VERBS
from statim import StaticModel, mine_hard_negatives
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError
from statim.mining import nearest
from statim.search.engines import ivf
from statim.training.initial_tables import random_table
from statim.vocabulary import learn_wordpiece

ROWS = [
    {"question": f"how do I {verb} a {thing}?", "answer": f"to {verb} the {thing} call {thing}.{verb}"}
    for verb in VERBS[:12]
    for thing in THINGS[:10]
]


@pytest.fixture
def statim(statim):
    """Run ``statim mine ARGUMENTS``; gives (exit code, standard output, standard error)."""
    return partial(statim, "mine")


@pytest.fixture(scope="module")
def model():
    pairs = read_pairs([(row["question"], row["answer"]) for row in ROWS])
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    table = random_table(tokenizer.vocabulary_size, 16, 0)
    table[tokenizer.unknown_id] = 0
    return StaticModel(table, tokenizer)


@pytest.fixture
def files(tmp_path, model):
    model.save(tmp_path / "model")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "corpus.txt").write_text(
        "".join(f"how do I {verb} a list or anything\n" for verb in VERBS[:12])
    )
    return tmp_path


def refused(result, *words):
    code, out, err = result
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    lines = err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert len(lines[-1]) < 400
    for word in words:
        assert word in lines[-1], lines[-1]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_command(statim, files, suffix):
    out = files / f"triplets{suffix}"
    words = [files / "pairs.jsonl", "--model", files / "model", "--out", out]
    code, printed, err = statim(*words, "--corpus", files / "corpus.txt", "--scores", "-n", 2)
    assert code == 0, err
    assert "removed: positive" in printed
    assert "removed: relative margin" in printed
    assert "got fewer than the 2 negatives" in printed
    assert printed.count("anchor   ") == 3
    rows = (
        pq.read_table(out).to_pylist()
        if suffix == ".parquet"
        else list(map(json.loads, out.read_text().splitlines()))
    )
    assert list(rows[0]) == ["anchor", "positive", "negative", "scores"]
    pairs = {(row["question"], row["answer"]) for row in ROWS}
    assert {(row["anchor"], row["positive"]) for row in rows} <= pairs
    assert not {(row["anchor"], row["negative"]) for row in rows} & pairs
    assert any(row["negative"].endswith("anything") for row in rows)
    assert all(negative <= positive * 0.95 + 1e-6 for positive, negative in (row["scores"] for row in rows))
    refused(statim(*words), "exists", "--overwrite")
    before = len(rows)
    code, printed, err = statim(*words, "--json", "--overwrite", "-n", 2, "--corpus", files / "corpus.txt")
    assert code == 0, err
    figures = json.loads(printed)
    assert figures["rows"] == figures["found"] == before
    assert figures["anchors"] == len(ROWS)
    assert figures["removed"]["positive"] > 0
    assert figures["fewer"] + figures["none"] <= len(ROWS)
    assert len(figures["examples"]) == 3


def test_it_can_be_trained_on(statim, files):
    from statim import train

    words = [files / "pairs.jsonl", "--model", files / "model", "--out", files / "t.parquet"]
    assert statim(*words, "--format", "n-tuple", "--relative-margin", "none")[0] == 0
    pairs = read_pairs(files / "t.parquet")
    assert len(pairs) == len(ROWS)
    assert len(pairs.negatives) == 3
    result = train(
        files / "t.parquet", start="random", dim=16, loss="triplet", heldout=0, epochs=1, threads=1
    )
    assert np.isfinite(result.losses).all()
    words[-1] = files / "p.jsonl"
    assert statim(*words, "--format", "labelled-pair", "--relative-margin", "none")[0] == 0
    with pytest.raises(DataError, match="cannot tell which column"):  # and not taken for texts of two classes
        train(files / "p.jsonl", start="random")
    assert statim(*words, "--format", "labelled-pair", "--scores", "--overwrite")[0] == 0
    assert train(files / "p.jsonl", start="random", dim=16, heldout=0, epochs=1).recipe.loss == "cosent"


REFUSED = {
    "both": (["--model", "MODEL", "--teacher", "x"], ["--model", "--teacher"]),
    "nothing left": (["--model", "MODEL", "--max-score", "-2"], ["left no negative", "max score"]),
    "no room": (["--model", "MODEL", "--range-min", "5", "--range-max", "6"], ["range_min 5", "range_max 6"]),
    "no format": (["--model", "MODEL", "--format", "quads"], ["'quads'", "triplet"]),
    "no sampling": (["--model", "MODEL", "--sampling", "best"], ["'best'", "top, random"]),
    "no search": (["--model", "MODEL", "--search", "guess"], ["'guess'", "exact, index"]),
    "no number": (["--model", "MODEL", "--relative-margin", "few"], ["'few'", "none"]),
    "no negatives": (["--model", "MODEL", "-n", "0"], ["num_negatives is 0"]),
    "more than documents": (["--model", "MODEL", "-n", "120"], ["120 different documents", "corpus"]),
    "no such model": (["--model", "nothing/here"], ["nothing/here"]),
    "scores": (["--model", "MODEL", "--min-score", "0.5", "--max-score", "0.2"], ["no score is between"]),
    "no cross-encoder": (["--model", "MODEL", "--cross-encoder", "nothing/here"],
        ["nothing/here", "cross-encoder"]),
    "empty corpus": (["--model", "MODEL", "--corpus", "EMPTY"], ["empty.jsonl"]),
    "no corpus": (["--model", "MODEL", "--corpus", "missing.jsonl"], ["missing.jsonl"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(statim, files, name):
    words, expected = REFUSED[name]
    (files / "empty.jsonl").write_text("")
    (files / "out.jsonl").write_text("kept")
    places = {"MODEL": files / "model", "EMPTY": files / "empty.jsonl"}
    words = [places.get(word, word) for word in words]
    refused(statim(files / "pairs.jsonl", "--out", files / "out.jsonl", "--overwrite", *words), *expected)
    assert (files / "out.jsonl").read_text() == "kept"  # nothing is lost
    assert not list(files.glob("*.statim-partial")) + list(files.glob(".*.statim-partial"))


def test_a_name_that_is_no_table(statim, files):
    words = [files / "pairs.jsonl", "--model", files / "model"]
    refused(statim(*words, "--out", files / "t.xyz"), "t.xyz", ".parquet, .jsonl, .csv")


PAIRS = [(row["question"], row["answer"]) for row in ROWS]


def test_vectors_that_do_not_fit():
    some = np.random.default_rng(0).normal(size=(len(PAIRS), 8))
    broken = some.copy()
    broken[7, 3] = np.nan
    for vectors, words in (
        ((some, some[:, :5]), "5 dimensions and the anchors' 8"),
        ((some[1:], some), r"the anchors' vectors are 119 for 120 texts"),
        ((some, broken), r"the documents' vectors: vector 7 holds NaN"),
        ((some,), "must be 2 arrays"),
        ((some, some[0]), "the shape"),
        ((some, "text"), "matrix of numbers"),
    ):
        with pytest.raises(InputError, match=words):
            mine_hard_negatives(PAIRS, vectors=vectors)
    with pytest.raises(InputError, match=r"121 texts \(1 of 122 rows were dropped"):
        more = [*PAIRS, PAIRS[0], ("one", "more")]
        mine_hard_negatives(more, vectors=(np.resize(some, (122, 8)), np.resize(some, (122, 8))))
    with pytest.raises(InputError, match="and not both"):
        mine_hard_negatives(PAIRS)
    with pytest.raises(DataError, match="the corpus is empty"):
        mine_hard_negatives(PAIRS, vectors=(some, some, some[:0]), corpus=[])
    with pytest.raises(InputError, match="text 1 is of type int"):
        mine_hard_negatives(PAIRS, vectors=(some, some, some[:2]), corpus=["a", 2])


def test_models_that_do_not_fit(model):
    class Few:
        def encode(self, texts):
            return np.ones((3, 4))

    class Odd:
        def encode_query(self, texts):
            return np.ones((len(texts), 4))

        def encode_document(self, texts):
            return np.ones((len(texts), 5))

    class Silent:
        def predict(self, pairs):
            return np.full(len(pairs), np.nan)

    with pytest.raises(InputError, match="3 vectors of 120 texts"):
        mine_hard_negatives(PAIRS, Few())
    with pytest.raises(InputError, match="4 dimensions and the documents' 5"):
        mine_hard_negatives(PAIRS, Odd())
    with pytest.raises(InputError, match="without a method encode"):
        mine_hard_negatives(PAIRS, object())
    with pytest.raises(InputError, match="without a method predict"):
        mine_hard_negatives(PAIRS, model, cross_encoder=object())
    with pytest.raises(InputError, match="not finite"):
        mine_hard_negatives(PAIRS, model, cross_encoder=Silent())
    with pytest.raises(InputError, match="no prompt 'query'"):
        mine_hard_negatives(PAIRS, model, query_prompt_name="query")


def test_prompts(model):
    """A prompt stands before every text of its kind."""
    seen = []

    class Spy:
        def encode(self, texts):
            seen.extend(texts)
            return model.encode(texts)

        encode_query = encode_document = encode

    mine_hard_negatives(PAIRS, Spy(), query_prompt="ask: ", corpus_prompt="text: ")
    assert seen == [f"ask: {a}" for a, _ in PAIRS] + [f"text: {p}" for _, p in PAIRS]


def test_a_text_is_no_negative_of_itself(model):
    pairs = [*PAIRS, (PAIRS[0][1], PAIRS[50][1])]
    mined = mine_hard_negatives(pairs, model, relative_margin=None)
    assert mined.report.removed["same text"] == 1
    assert not any(row["anchor"] == row["negative"] for row in mined.table.to_pylist())


@pytest.fixture
def many():
    """Clustered vectors, as of texts: enough for an index."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(60, 24))
    documents = centres[np.arange(4000) % 60] + 0.7 * random.normal(size=(4000, 24))
    anchors = documents[:700] + 0.3 * random.normal(size=(700, 24))
    return anchors.astype(np.float32), documents.astype(np.float32)


def test_the_index_finds_nearly_the_same(many):
    anchors, documents = many
    pairs = [(f"anchor {i}", f"document {i}") for i in range(700)]
    corpus = [f"document {i}" for i in range(4000)]
    options = {"vectors": (anchors, documents[:700], documents), "corpus": corpus, "output_scores": True}
    exact = mine_hard_negatives(pairs, search="exact", **options)
    quick = mine_hard_negatives(pairs, search="index", **options)
    assert exact.report.search == "exact search"
    assert quick.report.search.startswith("index, recall@10 ")
    ours = {tuple(row[name] for name in ("anchor", "negative")) for row in quick.table.to_pylist()}
    rows = {tuple(row[name] for name in ("anchor", "negative")): row for row in exact.table.to_pylist()}
    assert len(ours & rows.keys()) > 0.98 * len(rows)
    for row in quick.table.to_pylist():  # scores are the same bits
        same = rows.get((row["anchor"], row["negative"]))
        assert same is None or same["scores"] == row["scores"]
    assert mine_hard_negatives(pairs, search="index", **options).table == quick.table


def test_an_index_that_finds_too_little_is_not_used(many, monkeypatch):
    anchors, documents = (nearest.scaled(part, "") for part in many)
    monkeypatch.setattr(ivf, "RECALL", 1.1)
    monkeypatch.setattr(nearest, "RECALL", 1.1)
    find = nearest.Nearest(anchors, documents, 20, search="index")
    assert find.how.startswith("exact search, since an index would find")
    assert find(anchors)[1].shape == (700, 20)


def test_the_index_is_for_large_data_and_fast_bytes(many, monkeypatch):
    anchors, documents = (nearest.scaled(part, "") for part in many)
    assert nearest.Nearest(anchors, documents, 20).how == "exact search"
    monkeypatch.setattr(nearest, "LARGE", 1)
    monkeypatch.setattr(nearest, "has_bytes", lambda: False)
    assert nearest.Nearest(anchors, documents, 20).how == "exact search"
    monkeypatch.setattr(nearest, "has_bytes", lambda: True)
    assert nearest.Nearest(anchors, documents, 20).how.startswith("index, recall@10 ")
    assert nearest.Nearest(anchors, documents, 20, search="exact").how == "exact search"
    assert nearest.Nearest(anchors, documents[:1000], 20, search="index").how == "exact search"  # too few
