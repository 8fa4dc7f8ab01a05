"""Indexes of passages: one hit a document, with its best passage; changes go by document."""

import logging

import pyarrow as pa
import pytest
from store_places import WORDS, model_of

from statim.errors import DataError, InputError
from statim.search.index import NAMED, Index
from statim.search.lexical.analyzer import Analyzer
from statim.search.marks import Marker
from statim.search.passages import LONG, SNIPPET, cut, snippet
from statim.search.rerank import Reranker


def long_text(start, paragraphs=6):
    """Paragraphs of more than 200 characters, each of one word of its own and fillers."""
    return "\n\n".join(f"{WORDS[start + i]} " + "w29 w28 w27 " * 25 for i in range(paragraphs))


def documents():
    return [
        {"id": "a", "text": long_text(0), "kind": "manual"},
        {"id": "b", "text": long_text(6), "kind": "manual"},
        {"id": "c", "text": "w20 w21", "kind": "note"},
        {"id": "d", "text": "", "kind": "note"},
    ]


def ids(index, query, k=10, **ways):
    return [hit.id for hit in index.search(query, k, **ways)]


def rows(index):
    return sorted(row["id"] for table in index._store.scan() for row in table.to_pylist())


def test_one_hit_a_document_with_its_best_passage(place):
    place.build(model_of(0), documents(), passages=True)
    index = place.load()
    assert len(index) == 4
    info = index.info()
    assert (info["documents"], info["passages"]) == (4, 14)
    for mode in ("bm25", "vector", "hybrid"):
        found = index.search("w03", 10, mode=mode)
        assert found[0].id == "a" or mode != "bm25"
        assert len({hit.id for hit in found}) == len(found)
        assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    (hit,) = index.search("w08", 1, mode="bm25")
    assert (hit.id, hit.text.split()[0], hit.metadata["passage_number"]) == ("b", "w08", 3)
    assert hit.metadata == {"kind": "manual", "passage_number": 3, "passage_page": None}
    assert ids(index, "w29", 2, mode="bm25", where="kind = 'manual'") == ["a", "b"]
    both = index.search(["w20", "w08"], 1, mode="bm25")
    assert [[hit.id for hit in hits] for hits in both] == [["c"], ["b"]]


def test_documents_are_changed_with_all_their_passages(place):
    index = place.build(model_of(0), documents(), passages=True)
    index.update([{"id": "a", "text": "w25\n\n" + long_text(12, 2), "kind": "manual"}])
    assert rows(index) == ["a#1", "a#2", *(f"b#{i}" for i in range(1, 7)), "c#1", "d#1"]
    assert ids(index, "w03", mode="bm25") == []
    with pytest.raises(DataError, match="the id 'b' is in the index already"):
        index.add([{"id": "b", "text": "w00", "kind": "note"}])
    assert index.add([{"id": "e", "text": "w00\n\n" + long_text(0, 1), "kind": "note"}]) == 1
    assert index.update({"id": ["e"], "text": ["w00"], "kind": ["note"]}) == 1
    assert (len(index), index.info()["passages"]) == (5, 11)
    assert index.delete("b") == 1
    left = [{"id": "e", "text": "w00", "kind": "note"}, {"id": "c", "text": "w20", "kind": "note"}]
    assert index.sync(left) == (0, 1, 2, 1)
    assert rows(place.load()) == ["c#1", "e#1"]
    assert index.sync(documents()) == (3, 1, 1, 0)
    changed = [{**row, "text": long_text(1)} if row["id"] == "a" else row for row in documents()]
    assert index.sync(changed) == (0, 1, 0, 3)
    with pytest.raises(DataError, match="the id 'a' stands twice"):
        index.sync([*documents(), documents()[0]])


def test_conditions_on_ids_are_about_documents(place):
    index = place.build(model_of(0), documents(), passages=True)
    assert ids(index, "w03", where="id = 'a'") == ["a"]
    assert ids(index, "w29", mode="bm25", where="not id in ('a', 'c') or id like 'c%'") == ["b"]
    assert ids(index, "w29", mode="bm25", where="id = 'a#1'") == []
    assert index.delete(where="id = 'a' or text = 'w20 w21'") == 2
    assert index.delete(where="text like 'w08%'") == 1  # all of the document goes
    assert rows(index) == ["d#1"]
    assert (len(index), index.delete("b")) == (1, 0)


def test_word_scores_are_of_the_best_passage(place):
    index = place.build(model_of(0), documents(), passages=True)
    (hit, *_) = index.search("w08 w29 w02", 1, mode="bm25", where="id = 'b'")
    words = index.word_scores("w08 w29 w02", "b")
    assert [word for word, _ in words] == ["w08", "w29", "w02"]
    assert [part > 0 for _, part in words] == [True, True, False]
    assert sum(part for _, part in words) == pytest.approx(hit.score, rel=1e-5)
    assert index.word_scores("w08", "nothing") == []


def test_passages_come_in_the_order_of_the_ids(place):
    index = place.build(model_of(0), [*documents(), {"id": "it's", "text": long_text(0, 12)}], passages=True)
    index.update([{"id": "b", "text": long_text(12, 2), "kind": "manual"}])  # now behind the others
    asked = ["it's", "b", "nothing", "a", "it's"]
    expected = [
        *(f"it's#{number}" for number in range(1, 13)), "b#1", "b#2", *(f"a#{i}" for i in range(1, 7))
    ]  # fmt: skip
    assert [row["id"] for row in index.get(asked)] == expected
    many = [f"x{number}" for number in range(NAMED)]
    assert [row["id"] for row in index.get([*many, "c", "b"])] == ["c#1", "b#1", "b#2"]


class Recorded:
    """A stand-in for a cross-encoder: texts are good by their first letters."""

    def __init__(self):
        self.pairs = []

    def predict(self, pairs):
        self.pairs += pairs
        return [float(text[1:3]) for _, text in pairs]


def test_documents_are_scored_again_once_each(place):
    long = {"id": "long", "text": "\n\n".join(["w00 " * 75] * 80), "kind": ""}
    short = [{"id": f"s{number}", "text": f"w0{number} w00 w29", "kind": ""} for number in range(1, 6)]
    index = place.build(model_of(0), [long, *short], passages=True)
    assert index.info()["passages"] >= 80
    for mode in ("bm25", "hybrid"):
        model = Recorded()
        hits = index.search("w00", 5, mode=mode, rerank=Reranker(model))
        assert [(hit.rank, hit.id, hit.score) for hit in hits] == [
            (rank, f"s{6 - rank}", 6 - rank) for rank in range(1, 6)
        ]
        assert len(model.pairs) == len(set(model.pairs)) == 6
    assert ids(index, "w00", 3, rerank=Reranker(Recorded()), min_score=4) == ["s5", "s4"]


def test_pages_are_kept_apart():
    table = pa.table({"id": ["m"], "text": ["one\n\f\ntwo words\n\f\n\n\f\nfour"], "n": [7]})
    (found,) = cut([table])
    assert found.select(["id", "text", "passage_page", "n"]).to_pylist() == [
        {"id": "m#1", "text": "one", "passage_page": 1, "n": 7},
        {"id": "m#2", "text": "two words", "passage_page": 2, "n": 7},
        {"id": "m#3", "text": "four", "passage_page": 4, "n": 7},
    ]


def test_whole_long_documents_are_never_silent(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "statim")
    text = "w01 " * LONG
    Index.build(model_of(0), [text, "w02"], tmp_path / "a")
    assert "1 of 2 documents have more than 3,000 characters, the longest 12,000" in caplog.text
    assert "--passages" in caplog.text
    caplog.clear()
    Index.build(model_of(0), [text, "w02"], tmp_path / "b", passages=True)
    Index.build(model_of(0), ["w02 " * 700], tmp_path / "c")
    assert caplog.text == ""


def test_what_is_refused(tmp_path):
    model = model_of(0)
    with pytest.raises(InputError, match="vectors are those of whole documents"):
        Index.build(model, ["w01"], tmp_path / "a", vectors=model.encode(["w01"]), passages=True)
    with pytest.raises(DataError, match="the column 'passage_page', which"):
        Index.build(model, [{"id": "1", "text": "w01", "passage_page": 2}], tmp_path / "a", passages=True)
    assert not (tmp_path / "a").exists()


def shown(text, query, width=SNIPPET, language="und"):
    return snippet(text, Marker(Analyzer(language), query), width)


def test_snippets():
    text = "The pump is primed by hand. " * 20 + "Close the valve, then open the drain."
    assert shown(text, "which VALVE?", 60) == "… hand. Close the *valve*, then open the drain."
    assert shown(text, "the pump", 40).startswith("*The* *pump* is primed by hand.")
    assert shown("short", "", 40) == "short"
    assert shown("a+b (c", "(c", 40) == "a+b (*c*"


@pytest.mark.parametrize(
    ("language", "query", "text", "marked"),
    [
        ("en", "is the valve", "The is " * 40 + "closed valves leak", "closed *valves* leak"),
        ("en", "printer", "x" * 300 + " the printer is out of paper", "the *printer* is out of paper"),
        ("en", "printer", "x" * 300 + "-printer is out of paper", "-*printer* is out of paper"),
        ("hi", "किताबें", "यह एक किताब है", "यह एक *किताब* है"),
        ("zh", "打印机", "这里的" * 90 + "打印机没有纸", "这里的*打印机*没有纸"),
    ],
)
def test_snippets_mark_what_bm25_matches(language, query, text, marked):
    found = shown(text, query, language=language)
    assert marked in found
    assert found.count("*") == 2
    assert len(found) < SNIPPET + 10


def test_snippets_of_a_long_word():
    assert shown("a " + "b" * 300 + " c", "b" * 300) == "a *" + "b" * 300 + "* …"
