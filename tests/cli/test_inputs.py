"""Verbs on files as people have them: a help desk's export, folders of documents."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from made_texts import THINGS, VERBS

QUESTIONS = [(verb, thing) for verb in VERBS[:6] for thing in THINGS[:5]]


@pytest.fixture
def tickets(tmp_path):
    """An export of a help desk: semicolons, Windows-1252, line ends inside of fields, two texts."""
    path = tmp_path / "tickets.csv"
    with path.open("w", encoding="windows-1252", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(["id", "agent", "date", "subject", "body"])
        for number, (verb, thing) in enumerate(QUESTIONS):
            agent = ("Müller", "Ann")[number % 2]
            body = f'Hello;\nhow do I "{verb}" a {thing}?'
            writer.writerow([f"T{number}", agent, f"2026-01-{number + 1:02}", f"{verb} {thing}", body])
    return path


AS = ["--encoding", "windows-1252"]


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("flags", [AS, [*AS, "--delimiter", ";"]])
def test_every_verb_reads_an_export(statim, model_folder, tickets, tmp_path, flags):
    code, _, err = statim("encode", model_folder, tickets, "-o", tmp_path / "v.jsonl", *flags)
    assert code == 0, err
    assert ("between semicolons" in err) == (flags is AS)
    assert len(rows(tmp_path / "v.jsonl")) == len(QUESTIONS)
    out = tmp_path / "out.jsonl"
    for verb in (["duplicates", "--write", "kept"], ["cluster", "-n", 2]):
        code, _, err = statim(*verb, tickets, "--model", model_folder, "-o", out, "--overwrite", *flags)
        assert (code, len(rows(out)) > 0) == (0, True), err
    code, _, err = statim("index", "build", model_folder, tickets, "-o", tmp_path / "ix", *flags)
    assert code == 0, err
    code, out, _ = statim("search", tmp_path / "ix", "how do I", "--json", "-k", 1)
    assert json.loads(out)["hits"][0]["metadata"]["agent"] in ("Müller", "Ann")


def test_without_the_encoding_it_says_what_to_do(statim, model_folder, tickets):
    code, _, err = statim("encode", model_folder, tickets)
    assert code == 2
    assert "line 2: not UTF-8" in err
    assert "--encoding" in err


def test_the_standard_input_has_neither(statim, model_folder):
    for flag, value in (("--delimiter", ";"), ("--encoding", "latin-1")):
        code, _, err = statim("encode", model_folder, "-", flag, value)
        assert (code, "are of files" in err) == (2, True)


def test_empty_texts_are_counted_and_kept(statim, model_folder, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "id,text,label\n" + "".join(f"{i},{'' if i % 2 else 'how do i'},x{i % 3}\n" for i in range(12))
    )
    code, _, err = statim("index", "build", model_folder, path, "-o", tmp_path / "ix")
    assert code == 0
    assert "6 of 12 documents are empty, or have no token that the model knows; they are kept" in err
    code, out, _ = statim("cluster", path, "--model", model_folder, "-n", 1)
    assert "6 rows in none; 6 of these have no token" in out
    code, _, _ = statim(
        "duplicates", path, "--model", model_folder, "--write", "kept", "-o", tmp_path / "k.jsonl"
    )
    assert [row["row"] for row in rows(tmp_path / "k.jsonl")] == [0, 1, 3, 5, 7, 9, 11]
    assert [row["text"] for row in rows(tmp_path / "k.jsonl")] == ["how do i", *[""] * 6]


def test_rows_without_a_label_are_counted_and_left_out(statim, model_folder, tmp_path):
    path, head = tmp_path / "a.csv", tmp_path / "head"
    lines = [f"{verb} {thing},,{('a', 'b', '', ' ')[i % 4]}\n" for i, (verb, thing) in enumerate(QUESTIONS)]
    path.write_text("subject,body,label\n" + "".join(lines))
    text = ["--text", "subject,body"]
    code, out, err = statim(
        "classify", "fit", model_folder, path, "-o", head, *text, "--head", "ridge", "--json"
    )
    assert (code, json.loads(out)["labels"]) == (0, 2), err
    code, _, err = statim("classify", "evaluate", model_folder, head, path, *text)
    assert (code, "14 of 30 rows have no label; they are left out" in err) == (0, True)


def test_empty_texts_are_no_negatives(statim, model_folder, pairs, tmp_path):
    corpus, out = tmp_path / "c.csv", tmp_path / "out.jsonl"
    corpus.write_text(
        "id,text\n" + "".join(f"{i},{'' if i % 2 else 'the other text ' + str(i)}\n" for i in range(20))
    )
    given = ["mine", pairs, "-o", out, "--model", model_folder, "--corpus", corpus, "--sampling", "random"]
    code, _, err = statim(*given, "--relative-margin", "none")
    assert (code, "10 of 20 texts of the corpus are empty" in err) == (0, True), err
    assert not any(value == "" for row in rows(out) for value in row.values())


def test_every_verb_reads_folders(statim, model_folder, tmp_path):
    folder = tmp_path / "notes"
    (folder / "more").mkdir(parents=True)
    for number, (verb, thing) in enumerate(QUESTIONS):
        place = folder / ("more" if number % 2 else "")
        (place / f"{number:02}.md").write_text(f"# How to {verb}\n\nto {verb} the {thing} call {thing}\n")
    (folder / "damaged.pdf").write_bytes(b"%PDF-1.4 no more")
    code, _, err = statim("encode", model_folder, folder)
    assert code == 2
    assert "damaged.pdf cannot be read as a PDF file" in err
    assert "--skip-bad" in err
    out = tmp_path / "out.jsonl"
    skip = ["--skip-bad", tmp_path / "bad.jsonl", "--overwrite", "-o"]
    assert statim("encode", model_folder, folder, *skip, out)[0] == 0
    assert len(rows(out)) == len(QUESTIONS)
    assert (
        rows(out)[0]["text"]
        == f"How to {QUESTIONS[0][0]}\nto {QUESTIONS[0][0]} the {QUESTIONS[0][1]} call {QUESTIONS[0][1]}"
    )
    assert statim("duplicates", folder, "--model", model_folder, "--write", "kept", *skip, out)[0] == 0
    (folder / "damaged.pdf").unlink()
    assert statim("cluster", folder, "--model", model_folder, "-n", 2, "-o", out, "--overwrite")[0] == 0
    assert len(rows(out)) == len(QUESTIONS)
    code, _, err = statim("index", "build", model_folder, folder, "-o", tmp_path / "ix")
    assert code == 0, err
    verb, thing = QUESTIONS[7]
    code, found, _ = statim("search", tmp_path / "ix", f"{verb} the {thing}", "--json", "-k", 1)
    (hit,) = json.loads(found)["hits"]
    assert (hit["id"], hit["metadata"]["title"]) == ("more/07.md", f"How to {verb}")


def table_of(path):
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else rows(path)


def check_others(found, prefix=""):
    """Every row has the id, agent and date of its ticket."""
    assert found
    for row in found:
        verb, thing = QUESTIONS[number := int(row[f"{prefix}id"].removeprefix("T"))]
        assert row[f"{prefix}agent"] == ("Müller", "Ann")[number % 2]
        assert row[f"{prefix}date"] == f"2026-01-{number + 1:02}"
        assert row[f"{prefix}text"] == f'{verb} {thing}\nHello;\nhow do I "{verb}" a {thing}?'


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_all_other_columns_go_through(statim, model_folder, tickets, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    given = [tickets, "--text", "subject,body", *AS, "--overwrite", "-o", out]
    by = ["--model", model_folder]
    for write in ("kept", "groups", "pairs"):
        assert statim("duplicates", *given, *by, "--write", write, "-t", 0.7)[0] == 0
        check_others(table_of(out))
    check_others(table_of(out), "other_")
    assert statim("cluster", *given, *by, "-n", 3)[0] == 0
    assert [str(row["row"]) for row in table_of(out)] == [str(i) for i in range(len(QUESTIONS))]
    check_others(table_of(out))
    head = tmp_path / "head"
    fit = ["classify", "fit", model_folder, tickets, "--text", "subject,body", "--label", "agent", *AS]
    assert statim(*fit, "--head", "ridge", "-o", head)[0] == 0
    assert statim("classify", "predict", model_folder, head, *given)[0] == 0
    check_others(table_of(out))
    assert {row["label"] for row in table_of(out)} <= {"Müller", "Ann"}
    index = tmp_path / "ix"
    assert statim("index", "build", model_folder, *given[:-1], index)[0] == 0
    asked = tmp_path / "asked.txt"
    asked.write_text("how do I\n")
    assert statim("search", index, "--queries", asked, "-o", out, "-k", 30, "--overwrite")[0] == 0
    found = table_of(out)
    if suffix == ".jsonl":
        found = [hit | hit["metadata"] for hit in found[0]["hits"]]
    check_others(found)


def test_columns_that_later_rows_have(statim, model_folder, tmp_path):
    path, out, head = tmp_path / "a.jsonl", tmp_path / "out.parquet", tmp_path / "head"
    lines = [{"text": f"how do i {i % 3}", "label": "ab"[i % 2], "n": i} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert statim("classify", "fit", model_folder, path, "--head", "ridge", "-o", head)[0] == 0
    late = tmp_path / "b.jsonl"
    late.write_text('{"text": "how", "extra": ["x"], "n": "seven", "row": 1}\n')
    assert statim("classify", "predict", model_folder, head, path, late, "-o", out)[0] == 0
    found = table_of(out)
    assert [row["n"] for row in found] == [*map(str, range(8)), "seven"]
    assert (found[-1]["extra"], found[0]["extra"], found[0]["label_"]) == (["x"], None, "a")
    assert statim("cluster", path, late, "--model", model_folder, "-n", 1, "-o", out, "--overwrite")[0] == 0
    found = table_of(out)
    assert (found[-1]["row"], found[-1]["row_"], found[0]["row_"]) == (8, 1, None)


def test_sources_of_which_some_have_columns(statim, model_folder, tmp_path):
    plain, table, out = tmp_path / "a.txt", tmp_path / "b.csv", tmp_path / "out.jsonl"
    plain.write_text("how do i\nhow\n")
    table.write_text("id,text\nx,do\n")
    for sources in ([plain, table], [table, plain], [plain]):
        assert statim("cluster", *sources, "--model", model_folder, "-n", 1, "-o", out, "--overwrite")[0] == 0
        assert {(row["text"], row.get("id")) for row in rows(out)} == (
            {("how do i", None), ("how", None)} | ({("do", "x")} if table in sources else set())
        )


def test_a_folder_is_indexed_by_passages(statim, model_folder, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, (verb, thing) in enumerate(QUESTIONS[:4]):
        filler = "how do i do how do i do " * 15
        text = f"{filler}\n\nto {verb} the {thing} call {thing}.\n\n{filler}" * 4
        (folder / f"{number}.txt").write_text(text)
    index = tmp_path / "ix"
    code, out, err = statim("index", "build", model_folder, folder, "-o", index)
    assert (code, "passages indexed" in out, "--passages" in err) == (0, True, False), out + err
    verb, thing = QUESTIONS[2]
    code, out, _ = statim("search", index, f"{verb} {thing}", "--json", "-k", 2)
    first, second = json.loads(out)["hits"]
    assert first["id"] == "2.txt" != second["id"]
    assert f"*{verb}* the *{thing}* call *{thing}*" in first["snippet"]
    code, out, _ = statim("search", index, f"{verb} {thing}", "-k", 1)
    assert f"*{verb}* the *{thing}*" in out
    assert statim("search", index, f"{verb} {thing}", "-k", 2, "-o", tmp_path / "out.csv")[0] == 0
    assert [row["id"] for row in table_of(tmp_path / "out.csv")] == ["2.txt", second["id"]]
    code, out, _ = statim("index", "sync", index, folder, "--json")
    assert (code, json.loads(out)["updated"]) == (0, 0)
    code, out, _ = statim("index", "info", index, "--json")
    info = json.loads(out)
    assert (code, info["documents"]) == (0, 4)
    assert info["passages"] > 4
    code, out, err = statim("index", "build", model_folder, folder, "-o", tmp_path / "whole", "--whole")
    assert (code, "4 of 4 documents have more than 3,000 characters" in err) == (0, True), err
    assert "4 documents indexed" in out
    (folder / "0.txt").write_text("a short note")
    code, out, _ = statim("index", "sync", index, folder)
    assert out.startswith("0 added, 1 updated, 0 deleted, 3 unchanged; 4 documents in all")
    code, out, _ = statim("index", "delete", index, "1.txt")
    assert out == "1 document deleted, 3 left\n"
