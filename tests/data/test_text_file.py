"""Delimiters and encodings of files as people have them: detected, said, or named."""

import io
import json
import logging

import pyarrow as pa
import pytest

from statim.data import (
    TextFile,
    read_classes,
    read_corpus,
    read_documents,
    read_labelled,
    read_pairs,
    read_table,
    read_texts,
)
from statim.data.documents.texts import read_rows
from statim.data.files.bad_rows import BadRows
from statim.data.files.text_file import read_as
from statim.errors import DataError, InputError

# A help desk's export: quotes, line ends and every delimiter inside of quoted fields
ROWS = [
    ("1", "Drucker; Büro 4", "Er druckt nicht,\nauch nicht nach dem Neustart."),
    ("2", "Zugang", 'Das "Kennwort" | ist\tabgelaufen;\nbitte, ändern.'),
    ("3", "Rechnung", ""),
]


def export(delimiter, line_end="\n"):
    quoted = [[field.replace('"', '""') for field in row] for row in ROWS]
    lines = [delimiter.join(f'"{field}"' for field in row) for row in quoted]
    return line_end.join([delimiter.join(["id", "subject", "body"]), *lines, ""])


def rows_of(path):
    return [tuple(row.values()) for row in read_table(path).to_pylist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_export_is_read_whatever_it_is_written_with(delimiter, encoding, tmp_path, caplog):
    path = tmp_path / "export.csv"
    path.write_bytes(export(delimiter).encode(encoding))
    with caplog.at_level(logging.INFO, "statim"):
        assert rows_of(path) == ROWS
        assert rows_of(path) == ROWS
    names = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "between" in line] == (
        [f"{path}: its fields are between {names[delimiter]} (detected; see --delimiter)"]
        if delimiter in names
        else []
    )
    assert sum("utf-16" in line for line in said) == (encoding == "utf-16")


@pytest.mark.parametrize("name", ["export.csv.gz", "export.csv.zst"])
def test_compressed_files_are_looked_into(name, tmp_path):
    path = tmp_path / name
    with pa.output_stream(str(path), compression="detect") as file:
        file.write(export(";").encode("utf-16"))
    assert rows_of(path) == ROWS


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("text\na;b\nc;d\n", ["text"]),  # a single column, whatever stands in it
        ("text\na, b\n", None),  # too many fields for a comma: refused as ever
        ("a;b,c\n1;2,3\n", ["a;b", "c"]),  # both do; the name of the file says a comma
        ("price;name\n1,5;x\n2,5;y\n", ["price", "name"]),
        ("a|b\n1;2|3\n", ["a", "b"]),
        ("a;b\n", ["a", "b"]),
        ('a;b\n"open;1\n', None),
    ],
)
def test_which_delimiter(text, columns, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    if columns is None:
        with pytest.raises(DataError, match=r"a\.csv, line 2"):
            read_table(path)
    elif text.count("\n") == 1:
        with pytest.raises(DataError, match="no rows"):
            read_table(path)
    else:
        assert read_table(path).column_names == columns


def test_a_few_bad_rows_do_not_hide_the_delimiter(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a;b\n" + "x,y;z\n" * 40 + "broken\n" + "x;z\n" * 40)
    with pytest.raises(DataError, match="line 42: has 1 field where the first line has 2"):
        read_table(path)


def test_rows_that_hold_the_delimiter_without_quotes_are_bad_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id;text\n1;How do I pay?\n2;Where; is it?\n3;Reset\n4;Hello; you\n")
    with pytest.raises(DataError, match="line 3: has 3 fields where the first line has 2"):
        read_table(path)
    path.write_text("text\nWhere; is it?\nReset it\nHello; you\n")
    assert read_table(path).column_names == ["text"]


def test_large_files_are_judged_by_whole_rows(tmp_path):
    path = tmp_path / "a.csv"
    text = "word, " * 3000
    path.write_text("id;text\n" + "".join(f'{i};"{text}\n{i}"\n' for i in range(120)))
    assert path.stat().st_size > 2 << 20
    table = read_table(path)
    assert table.column("id").to_pylist() == [str(i) for i in range(120)]


def test_what_is_named_holds(tmp_path):
    path = tmp_path / "export.csv"
    path.write_bytes(export(";").encode("windows-1252"))
    with pytest.raises(DataError, match=r"line 2: not UTF-8; .*name its encoding \(--encoding"):
        read_table(path)
    assert rows_of(TextFile(path, encoding="windows-1252")) == ROWS
    with pytest.raises(DataError, match=r"line 2: not valid CSV .'.' expected"):
        read_table(TextFile(path, delimiter=":", encoding="latin-1"))
    documents = read_documents(TextFile(path, encoding="cp1252"), text="body")
    assert documents.column("subject").to_pylist()[0] == "Drucker; Büro 4"
    with pytest.raises(DataError, match=r"export\.csv, line 2: not ascii"):
        read_table(TextFile(path, encoding="ascii"))


def test_texts_json_and_documents_too(tmp_path):
    for name, content in [("a.txt", "Tür\nÜbung\n"), ("a.jsonl", '{"text": "Tür"}\n{"text": "Übung"}\n')]:
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        (array,) = read_texts(TextFile(tmp_path / name, encoding="latin-1"))
        assert array.to_pylist() == ["Tür", "Übung"]
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "one.md").write_bytes("# Tür\n\nSie klemmt.".encode("utf-16"))
    (folder / "two.md").write_text("# Übung\n\nSie hilft.")
    assert read_corpus(folder).titles.to_pylist() == ["Tür", "Übung"]
    (folder / "one.md").write_bytes("# Tür\n\nSie klemmt.".encode("latin-1"))
    (folder / "two.md").write_bytes("# Übung\n\nSie hilft.".encode("latin-1"))
    named = read_as(folder, None, "latin-1")
    assert read_corpus(named).titles.to_pylist() == ["Tür", "Übung"]


def test_pairs_by_name(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes("question:answer\nTür?:zu\nFenster?:auf\n".encode("latin-1"))
    pairs = read_pairs(TextFile(path, delimiter=":", encoding="latin-1"))
    assert pairs.anchors.to_pylist() == ["Tür?", "Fenster?"]
    assert pairs.names == ("pairs",)


@pytest.mark.parametrize("wrong", ["", ";;", '"', "\n"])
def test_no_such_delimiter(wrong):
    with pytest.raises(InputError, match=r"delimiter is .* must be one character"):
        TextFile("a.csv", delimiter=wrong)


@pytest.mark.parametrize("wrong", ["windows", "rot13", "hex"])
def test_no_such_encoding(wrong):
    with pytest.raises(InputError, match=f"encoding is '{wrong}', which Python does not know"):
        TextFile("a.csv", encoding=wrong)


def test_it_is_a_path(tmp_path):
    found = TextFile(tmp_path, "a.csv", delimiter="tab")
    assert found == tmp_path / "a.csv"
    assert found.delimiter == "\t"
    assert (found.with_suffix(".tsv").delimiter, found.parent) == (None, tmp_path)
    assert read_as("python-docs", ";", None) == "python-docs"
    assert read_as({"text": ["a.csv"]}, ";", None) == {"text": ["a.csv"]}


@pytest.mark.parametrize("text", ["subject,body", ("subject", "body"), ["body"]])
def test_several_columns_are_joined(text, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id;subject;body\n1;Printer;"It is\nbroken"\n2; ;Alone\n3;Login;\n4;;\n')
    if text == ["body"]:
        expected = ["It is\nbroken", "Alone", "", ""]
    else:
        expected = ["Printer\nIt is\nbroken", "Alone", "Login", ""]
    assert [one for array in read_texts(path, text) for one in array.to_pylist()] == expected
    documents = read_documents(path, text=text)
    assert documents.column("text").to_pylist() == expected
    kept = ["subject"] if text == ["body"] else ["subject", "body"]
    assert documents.column_names == ["id", "text", *kept]
    assert documents.column("subject").to_pylist() == ["Printer", " ", "Login", ""]


def test_several_columns_of_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"s": "a", "b": "b", "n": 1}, {"s": "c"}, {"b": "d", "s": None}, {"s": "", "b": ""}] * 3
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (array,) = read_texts(path, ("s", "b"))
    assert array.to_pylist() == ["a\nb", "c", "d", ""] * 3
    (table,) = read_rows(path, ("s", "b"))
    assert table.column_names == ["text", "s", "b", "n"]
    assert table.column("n").to_pylist() == [1, None, None, None] * 3
    for bad, words in (
        ({"n": 1}, "line 13: 's' and 'b' is missing"),
        ({"s": 7, "b": ""}, "line 13: 's' is 7"),
    ):
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, bad]))
        with pytest.raises(DataError, match=words):
            list(read_texts(path, "s,b"))
        aside = BadRows(io.BytesIO())
        for read in (read_texts, read_rows):
            assert sum(map(len, read(path, "s,b", aside))) == 12
        assert aside.count == 1


def test_a_column_with_a_comma_in_its_name_is_that_column():
    table = pa.table({"a,b": ["x"], "a": ["y"], "b": ["z"]})
    assert [array.to_pylist() for array in read_texts(table, "a,b")] == [["x"]]
    for wrong, words in ((("a", "a"), "name one or more, each once"), ("a,c", "no column 'c'")):
        with pytest.raises(DataError, match=words):
            list(read_texts(table, wrong))


def test_documents_and_classes_to_train_on():
    table = pa.table({"s": ["a", "c"], "b": ["b", ""], "label": ["x", "y"]})
    assert read_corpus(table, text="s,b").bodies.to_pylist() == ["a\nb", "c"]
    for read in (read_classes, read_labelled):
        assert read(table, text=("s", "b")).texts.to_pylist() == ["a\nb", "c"]
    assert "text = s + b" in str(read_classes(table, text="s,b").report)


def test_which_columns_were_taken_is_said(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text("key,subject,body\n1,a,b\n")
    with caplog.at_level(logging.INFO, "statim"):
        read_documents(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: the texts are the column 'body', of key, subject, body",
        f"{path}: the ids are the column 'key'",
    ]
