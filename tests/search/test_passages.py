"""Indexes of passages: one hit a document, with its best passage; changes go by document."""

import logging

import pyarrow as pa
import pytest
from store_places import WORDS, model_of

from statim.errors import DataError, InputError
from statim.search.index import Index
from statim.search.passages import LONG, cut, snippet


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
    assert len(index) == 14
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
    index.add([{"id": "e", "text": "w00", "kind": "note"}])
    assert index.delete("b") == 6
    left = [{"id": "e", "text": "w00", "kind": "note"}, {"id": "c", "text": "w20", "kind": "note"}]
    assert index.sync(left) == (0, 1, 3, 1)
    assert rows(place.load()) == ["c#1", "e#1"]


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
    Index.build(model_of(0), ["w02" * 900], tmp_path / "c")
    assert caplog.text == ""


def test_what_is_refused(tmp_path):
    model = model_of(0)
    with pytest.raises(InputError, match="vectors are those of whole documents"):
        Index.build(model, ["w01"], tmp_path / "a", vectors=model.encode(["w01"]), passages=True)
    with pytest.raises(DataError, match="the column 'passage_page', which"):
        Index.build(model, [{"id": "1", "text": "w01", "passage_page": 2}], tmp_path / "a", passages=True)
    assert not (tmp_path / "a").exists()


def test_snippets():
    text = "The pump is primed by hand. " * 20 + "Close the valve, then open the drain."
    assert snippet(text, "which VALVE?", 60) == "… hand. Close the *valve*, then open the drain."
    assert snippet(text, "the pump", 40).startswith("*The* *pump* is primed by hand.")
    assert snippet("short", "", 40) == "short"
    assert snippet("a+b (c", "(c", 40) == "a+b (c"
