import gzip
import json

import pytest

from statim.data import from_pairs, read_beir, read_pairs
from statim.errors import DataError


def write(folder, *, corpus=None, queries=None, qrels=None, packed=False):
    folder.mkdir(exist_ok=True)
    (folder / "qrels").mkdir(exist_ok=True)
    for name, lines in (("corpus", corpus), ("queries", queries)):
        if lines is not None:
            content = "".join(json.dumps(line) + "\n" for line in lines).encode()
            (folder / f"{name}.jsonl{'.gz' * packed}").write_bytes(
                gzip.compress(content) if packed else content
            )
    if qrels is not None:
        (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


CORPUS = [
    {"_id": "d 1", "title": "Title", "text": "body"},
    {"_id": "d2", "title": "", "text": "two"},
    {"_id": "d3", "title": "three", "text": "", "metadata": {}},
]
QUERIES = [
    {"_id": "q 1", "text": "first"},
    {"_id": "q2", "text": "second"},
    {"_id": "q3", "text": "unjudged"},
]
QRELS = "query-id\tcorpus-id\tscore\nq2\td2\t1\nq 1\td3\t2\nq 1\td 1\t1\nq2\td3\t0\nq3\td2\t0\nq2\tgone\t1\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_beir_folder(tmp_path, packed):
    found = read_beir(write(tmp_path / "set", corpus=CORPUS, queries=QUERIES, qrels=QRELS, packed=packed))
    assert found.qrels == {"q 1": {"d 1": 1, "d3": 2}, "q2": {"d2": 1, "d3": 0}}
    assert found.queries.to_pylist() == ["first", "second"]
    assert found.documents.to_pylist() == ["Title body", "two", "three"]
    assert found.judged_queries.tolist() == [0, 0, 1, 1]
    assert found.judged_documents.tolist() == [0, 2, 1, 2]
    assert found.grades.tolist() == [1, 2, 1, 0]
    assert (found.name, found.dropped) == ("set", 1)


def test_numbers_as_ids_and_no_header(tmp_path):
    corpus = [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]
    found = read_beir(
        write(tmp_path / "set", corpus=corpus, queries=[{"id": 7, "text": "q"}], qrels="7\t2\t1\n7\t1\t-1\n")
    )
    assert found.qrels == {"7": {"1": -1, "2": 1}}


def test_bad_folders(tmp_path):
    folder = tmp_path / "set"
    with pytest.raises(DataError, match="is no folder"):
        read_beir(folder)
    write(folder)
    with pytest.raises(DataError, match=r"corpus\.jsonl is missing"):
        read_beir(folder)
    write(folder, corpus=CORPUS)
    with pytest.raises(DataError, match=r"queries\.jsonl is missing"):
        read_beir(folder)
    write(folder, queries=QUERIES)
    with pytest.raises(DataError, match=r"test\.tsv is missing"):
        read_beir(folder)
    write(folder, qrels=QRELS)
    with pytest.raises(DataError, match=r"dev\.tsv is missing; .* there are test\.tsv"):
        read_beir(folder, "dev")
    for qrels, message in (
        ("query-id\tcorpus-id\nq 1\td2\n", "has 2 columns; it must have 3"),
        ("query-id\tcorpus-id\tscore\nq2\td2\t1\nq2\td2\thigh\n", "row 2: the score is 'high'"),
        ("query-id\tcorpus-id\tscore\nq2\td2\t99999999999\n", "row 1: the score"),
        ("query-id\tcorpus-id\tscore\nq9\td9\t1\n", "calls no document of the corpus relevant"),
        ("query-id\tcorpus-id\tscore\nq2\td2\t0\n", "calls no document of the corpus relevant"),
        ("query-id\tcorpus-id\tscore\n", "has no rows"),
    ):
        write(folder, qrels=qrels)
        with pytest.raises(DataError, match=message):
            read_beir(folder)
    write(folder, qrels=QRELS, corpus=[*CORPUS, CORPUS[1]])
    with pytest.raises(DataError, match="row 4: the id 'd2' stands in row 2 already"):
        read_beir(folder)
    write(folder, corpus=[*CORPUS, {"text": "no id"}])
    with pytest.raises(DataError, match="row 4: the column '_id' has no id"):
        read_beir(folder)


def test_from_pairs():
    pairs = read_pairs([("a", "x", "n"), ("b", "y", None), ("a", "y", "x"), ("c", "x", "m"), ("a", "x", "k")])
    found = from_pairs(pairs, name="held-out")
    assert found.queries.to_pylist() == ["a", "b", "c"]
    assert found.documents.to_pylist() == ["x", "y", "n", "m", "k"]
    assert found.qrels == {"q0": {"d0": 1, "d1": 1}, "q1": {"d1": 1}, "q2": {"d0": 1}}
    assert found.judged_queries.tolist() == [0, 0, 1, 2]
    assert repr(found) == "RetrievalSet(3 queries, 5 documents, 4 judgements)"
