"""statim index and statim search: what a person types, over a folder and over LanceDB."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from statim.search.engines import first_stage, two_stage


@pytest.fixture
def docs(tmp_path, pair_rows):
    path = tmp_path / "docs.jsonl"
    rows = [{"id": f"d{i}", "text": row["answer"], "year": 1990 + i % 40} for i, row in enumerate(pair_rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def refuses(statim):
    def refuse(*arguments, words):
        code, _, err = statim(*arguments)
        assert code == 2, err
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        assert all(word in err for word in words), err

    return refuse


@pytest.mark.parametrize("store", ["folder", "lancedb"])
def test_the_life_of_an_index(statim, refuses, tmp_path, model_folder, docs, store):
    out = tmp_path / "docs.index"

    def ran(*arguments):
        code, printed, err = statim(*arguments, "--json")
        assert code == 0, err
        return json.loads(printed.splitlines()[-1])

    built = ran("index", "build", model_folder, docs, "--out", out, "--store", store)
    assert (built["documents"], built["store"]) == (400, store)
    more = tmp_path / "more.jsonl"
    more.write_text(
        '{"id": "n1", "text": "close the graph", "year": 2040}\n{"id": "n2", "text": "open a socket", '
        '"year": 2041}\n'
    )
    assert ran("index", "add", out, more)["documents"] == 402
    refuses("index", "add", out, more, words=["'n1'", "in the index already", "statim index update"])
    more.write_text('{"id": "n1", "text": "merge the queue", "year": 2050}\n')
    assert ran("index", "update", out, more, "--model", model_folder)["updated"] == 1
    found = ran("search", out, "merge", "the", "queue", "--where", "year > 2030")
    assert [hit["id"] for hit in found["hits"]] == ["n1", "n2"]
    assert found["hits"][0]["metadata"] == {"year": 2050}
    assert ran("index", "delete", out, "n1", "nowhere")["deleted"] == 1
    assert ran("index", "delete", out, "--where", "year = 2041")["documents"] == 400
    listed = tmp_path / "ids.txt"
    listed.write_text("d0\nd1\n")
    assert ran("index", "delete", out, "--ids", listed)["deleted"] == 2
    assert ran("index", "info", out)["documents"] == 398
    code, printed, _ = statim("index", "info", out)
    assert code == 0
    if store == "lancedb":
        assert "version 6" in printed
        assert (
            ran("search", out, "merge", "--version", 3, "--where", "id = 'n1'", "--mode", "vector")["hits"][
                0
            ]["id"]
            == "n1"
        )
    refuses("search", out, "merge", "--where", "yeer > 3", words=["yeer", "year"])
    refuses("search", out, "merge", "--where", "year >", words=["not understood", "at the end"])
    refuses("index", "delete", out, words=["ids", "where"])
    more.write_text("a text without an id\n")
    refuses("index", "add", out, more.rename(tmp_path / "more.txt"), words=["more.txt", "no column of ids"])
    refuses("search", out, "x", "--rerank", tmp_path / "nowhere", words=["nowhere"])
    refuses("index", "info", out, "--version", 99, words=["version"])


def test_an_index_is_tuned(statim, refuses, tmp_path, model_folder, docs):
    statim("index", "build", model_folder, docs, "--out", tmp_path / "i")
    first = json.loads(statim("search", tmp_path / "i", "sort a list", "-k", 3, "--json")[1])["hits"]
    questions = tmp_path / "questions.jsonl"
    rows = [{"question": f"{hit['text']} ?", "answer": hit["id"]} for hit in first]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = statim("index", "tune", tmp_path / "i", questions)[1]
    assert "3 questions; weight of the vectors" in shown
    assert "chance decides" in shown
    found = json.loads(statim("index", "tune", tmp_path / "i", questions, "--json")[1])
    assert found["modes"].keys() == {"hybrid", "vector", "bm25"}
    told = json.loads(statim("index", "info", tmp_path / "i", "--json")[1])
    assert (told["mode"], told["weight"]) == (found["mode"], found["weight"])
    assert "95% " in statim("index", "info", tmp_path / "i")[1]
    kept = statim("search", tmp_path / "i", f"{first[0]['text']} ?", "--min-score", "95%", "--json")[1]
    least = found["thresholds"][found["mode"]]["95"]
    assert all(hit["score"] >= least - 1e-6 for hit in json.loads(kept)["hits"])
    assert json.loads(statim("search", tmp_path / "i", "sort", "--min-score", "2", "--json")[1])["hits"] == []
    refuses("search", tmp_path / "i", "sort", "--min-score", "much", words=["min_score is 'much'"])


def test_bad_places(refuses, tmp_path, model_folder, docs):
    build = ("index", "build", model_folder, docs)
    refuses(*build, words=["--out", "--store"])
    refuses(*build, "--out", tmp_path / "i", "--store", "sqlite", words=["'sqlite'", "folder or lancedb"])
    refuses(*build, "--out", tmp_path / "i", "--engine", "magic", words=["'magic'", "exact"])
    refuses(*build, "--out", tmp_path / "i", "--store", "postgresql://x/y", words=["both --out"])
    refuses(
        *build, "--store", "postgresql://127.0.0.1:1/y", words=["no PostgreSQL server answers", "127.0.0.1"]
    )
    (tmp_path / "v.npy").write_bytes(b"no vectors")
    refuses(
        *build, "--out", tmp_path / "i", "--vectors", tmp_path / "v.npy", words=["v.npy", "statim encode"]
    )
    np.save(tmp_path / "w.npy", np.ones((400, 5), np.float32))
    refuses(*build, "--out", tmp_path / "i", "--vectors", tmp_path / "w.npy", words=["5 dimensions", "32"])
    assert not (tmp_path / "i").exists()


def test_vectors_of_statim_encode(statim, tmp_path, model_folder, docs):
    assert statim("encode", model_folder, docs, "--out", tmp_path / "v.npy")[0] == 0
    made = (
        "index",
        "build",
        model_folder,
        docs,
        "--out",
        tmp_path / "i",
        "--vectors",
        tmp_path / "v.npy",
        "--json",
    )
    code, printed, err = statim(*made)
    assert code == 0, err
    assert json.loads(printed)["vectors"] == "given"


@pytest.mark.parametrize("store", ["folder", "lancedb"])
def test_an_array_that_was_not_filled_is_refused(statim, refuses, tmp_path, model_folder, docs, store):
    assert statim("encode", model_folder, docs, "--out", tmp_path / "v.npy")[0] == 0
    vectors = np.load(tmp_path / "v.npy")
    vectors[len(vectors) - 5 :] = 0
    np.save(tmp_path / "v.npy", vectors)
    made = ("index", "build", model_folder, docs, "--out", tmp_path / "i", "--store", store)
    refuses(
        *made, "--vectors", tmp_path / "v.npy", words=[f"row {len(vectors) - 5} of the vectors is all zeros"]
    )
    assert not (tmp_path / "i").exists()


def test_the_recall_of_an_engine_is_shown_and_warned_of(statim, tmp_path, model_folder, docs, monkeypatch):
    monkeypatch.setattr(first_stage.Bits, "efforts", lambda _: (1, 1))
    monkeypatch.setattr(two_stage, "MOST", 1)
    made = ("index", "build", model_folder, docs, "--engine", "binary", "--out")
    code, printed, err = statim(*made, tmp_path / "i", "--json", "--quiet")
    assert code == 0, err
    recall = json.loads(printed)["recall"]
    assert 0 < recall < 0.995
    code, printed, err = statim(*made, tmp_path / "j")
    assert f"the engine binary finds {recall:.1%} of the ten documents" in err
    assert f"recall@10 {recall:.1%}" in printed
    _, printed, _ = statim("index", "info", tmp_path / "i")
    assert f"{recall:.1%} of the ten nearest documents are found" in printed
    _, printed, _ = statim("index", "info", tmp_path / "i", "--json")
    assert json.loads(printed)["recall"] == recall


def test_files_of_queries_and_answers(statim, refuses, tmp_path, model_folder, docs, pair_rows):
    out = tmp_path / "i"
    assert statim("index", "build", model_folder, docs, "--out", out)[0] == 0
    asked = tmp_path / "queries.jsonl"
    rows = [{"_id": f"q{i}", "text": pair_rows[i]["question"]} for i in range(0, 400, 40)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask = ("search", out, "--queries", asked, "-k", 3)
    made = {}
    for suffix in ("parquet", "jsonl", "tsv", "trec"):
        made[suffix] = tmp_path / f"answers.{suffix}"
        code, printed, err = statim(*ask, "--out", made[suffix])
        assert code == 0, err
        assert "10 questions" in printed
    table = pq.read_table(made["parquet"]).to_pylist()
    assert list(table[0]) == ["query_id", "query", "rank", "score", "id", "text", "year"]
    assert len(table) == 30
    with made["trec"].open() as file:
        run = pytrec_eval.parse_run(file)
    measure = pytrec_eval.RelevanceEvaluator(
        {f"q{i}": {f"d{i}": 1} for i in range(0, 400, 40)}, {"recip_rank"}
    )
    ranks = {name: found["recip_rank"] for name, found in measure.evaluate(run).items()}
    for row in table:
        assert run[row["query_id"]][row["id"]] == pytest.approx(row["score"])
        if row["id"] == row["query_id"].replace("q", "d"):
            assert ranks[row["query_id"]] == pytest.approx(1 / row["rank"])
    lines = [json.loads(line) for line in made["jsonl"].read_text().splitlines()]
    assert [line["query_id"] for line in lines] == [row["_id"] for row in rows]
    assert [hit["id"] for line in lines for hit in line["hits"]] == [row["id"] for row in table]
    with made["tsv"].open(newline="") as file:
        cells = list(csv.reader(file, delimiter="\t"))
    assert [(row["query_id"], row["id"]) for row in table] == [(c[0], c[3]) for c in cells[1:]]
    code, printed, _ = statim(*ask, "--format", "trec")
    assert code == 0
    assert printed == made["trec"].read_text()
    refuses(*ask, "--out", made["trec"], words=["exists", "--overwrite"])
    refuses(*ask, "--out", tmp_path / "answers", words=["--format"])
    refuses(*ask, "--format", "parquet", words=["--out"])
    refuses(*ask, "--format", "xml", words=["'xml'"])
    refuses(*ask, "a question", words=["--queries"])
    refuses("search", out, "--queries", tmp_path / "none.txt", words=["none.txt"])
    refuses(*ask, "--out", tmp_path / "new.jsonl", "--where", "year >", words=["not understood"])
    assert not (tmp_path / "new.jsonl").exists()
    code, printed, err = statim(*ask, "--rerank", model_folder, "--rerank-top", 10, "--json")
    assert code == 0, err
    assert len(printed.splitlines()) == 10


def spoilt(path, rows):
    """Documents with a line that is not JSON, one that is not UTF-8 and one without an id."""
    path.write_bytes(
        "".join(json.dumps(row) + "\n" for row in rows).encode()
        + b'{"id": "x", "text": \n{"id": "y", "text": "\xff"}\n{"text": "nameless"}\n{"id": "z", '
        b'"text": "the last"}\n'
    )
    return path


def test_bad_documents_are_written_aside(statim, refuses, tmp_path, model_folder):
    docs = spoilt(
        tmp_path / "docs.jsonl", [{"id": "a", "text": "sort a list"}, {"id": "b", "text": "open a file"}]
    )
    more = spoilt(tmp_path / "more.jsonl", [{"id": "c", "text": "read a file"}])
    out, aside = tmp_path / "i", tmp_path / "bad.jsonl"
    build = ("index", "build", model_folder, docs, "--out", out)
    refuses(*build, words=["docs.jsonl, line 4", "not UTF-8", "--skip-bad"])
    assert not out.exists()
    code, printed, err = statim(*build, "--skip-bad", aside, "--json")
    assert code == 0, err
    assert json.loads(printed)["documents"] == 3
    assert json.loads(printed)["skipped"] == 3
    rows = [json.loads(line) for line in aside.read_text().splitlines()]
    assert sorted((row["line"] or 0, row["row"] or 0) for row in rows) == [(0, 5), (3, 0), (4, 0)]
    refuses("index", "add", out, more, words=["more.jsonl, line 3"])
    refuses("index", "add", out, more, "--skip-bad", aside, words=["exists", "--skip-bad"])
    more.write_text(more.read_bytes().replace(b'"z"', b'"w"').decode("latin-1"), "latin-1")
    code, printed, err = statim("index", "add", out, more, "--skip-bad", tmp_path / "more.bad")
    assert code == 0, err
    assert "2 documents added" in printed
    assert f"3 bad rows skipped, written to {tmp_path / 'more.bad'}" in printed
    code, printed, err = statim("index", "update", out, docs, "--skip-bad", tmp_path / "update.bad", "--json")
    assert code == 0, err
    found = json.loads(printed)
    assert (found["updated"], found["documents"], found["skipped"]) == (3, 5, 3)
    assert "nameless" in (tmp_path / "update.bad").read_text()


def test_json_of_metadata_is_valid(statim, tmp_path, model_folder):
    docs, out = tmp_path / "docs.parquet", tmp_path / "i"
    table = {"id": ["a", "b"], "text": ["sort a list", "sort a file"], "n": [float("nan"), float("inf")]}
    pq.write_table(pa.table(table), docs)
    assert statim("index", "build", model_folder, docs, "--out", out)[0] == 0

    def refuse(word):
        raise AssertionError(word)

    code, printed, err = statim("search", out, "sort", "--json")
    assert code == 0, err
    hits = json.loads(printed, parse_constant=refuse)["hits"]
    assert [hit["metadata"] for hit in hits] == [{"n": None}] * 2
