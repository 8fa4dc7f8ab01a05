"""Folders, globs, PDF and Word files, as every verb reads them."""

import io
import json

import pytest

from statim.data import read_corpus, read_documents, read_texts
from statim.data.documents.texts import stream_documents
from statim.data.files.bad_rows import BadRows
from statim.errors import DataError

PDF_LINES = ["Pumps of the upper deck", "The pump is primed by hand."]


def pdf(pages, title=None):
    """A PDF with a page for each list of lines, written by hand: pypdf writes no text."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for lines in pages:
        shown = " ".join(f"({line}) Tj 0 -20 Td" for line in lines)
        content = f"BT /F1 12 Tf 72 720 Td {shown} ET"
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        kids.append(len(objects) + 1)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>"
    objects.append(f"<< /Title ({title or ''}) >>")
    data, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{one}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
    end += f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    end += f"startxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def docx():
    import docx as library

    document = library.Document()
    document.add_heading("Sails and ropes", level=1)
    document.add_paragraph("A sail is furled in a storm.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "rope", "40 m"
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "docs"
    (place / "deep").mkdir(parents=True)
    (place / "a.md").write_text("# Anchors\n\nAn anchor holds the ship.\n\n- chain\n- rope\n")
    (place / "b.html").write_text("<title>Boats</title><nav>menu</nav><p>A boat is small.</p>")
    (place / "c.txt").write_text("One line of text.\nAnother line.")
    (place / "deep" / "d.pdf").write_bytes(pdf([PDF_LINES, ["A second page."]], "Pumps"))
    (place / "deep" / "e.docx").write_bytes(docx())
    (place / "f.png").write_bytes(b"\x89PNG")
    (place / "g.md").write_text(" \n")
    (place / ".hidden.md").write_text("hidden")
    return place


TEXTS = {
    "a.md": "Anchors\nAn anchor holds the ship.\n\n- chain\n- rope",
    "b.html": "Boats\nA boat is small.",
    "c.txt": "One line of text.\nAnother line.",
    "deep/d.pdf": "Pumps\nPumps of the upper deck\nThe pump is primed by hand.\n\f\nA second page.",
    "deep/e.docx": "Sails and ropes\nA sail is furled in a storm.\n\nrope\t40 m",
}


def test_a_folder_is_documents_to_every_reader(folder, caplog):
    caplog.set_level("INFO", "statim")
    documents = read_documents(folder)
    assert dict(zip(*(documents.column(name).to_pylist() for name in ("id", "text")), strict=True)) == TEXTS
    assert documents.column("title").to_pylist() == ["Anchors", "Boats", None, "Pumps", "Sails and ropes"]
    assert [one for array in read_texts(folder) for one in array.to_pylist()] == list(TEXTS.values())
    assert stream_documents([folder], many=100).equals(documents)
    corpus = read_corpus(folder)
    assert corpus.titles.to_pylist() == documents.column("title").to_pylist()
    said = [record.getMessage() for record in caplog.records]
    assert f"{folder}: 5 documents; left out were 1 empty, 1 of other kinds" in said


@pytest.mark.parametrize("pattern", ["**/[abd].*", "?.md"])
def test_wildcards(folder, pattern):
    documents = (
        read_documents(str(folder / pattern)) if "?" not in pattern else read_documents(folder / "[a].md")
    )
    names = ["a.md", "b.html", "deep/d.pdf"] if "?" not in pattern else ["a.md"]
    found = dict(zip(*(documents.column(name).to_pylist() for name in ("id", "text")), strict=True))
    assert found == {(folder / name).as_posix(): TEXTS[name] for name in names}
    with pytest.raises(DataError, match=r"\*\.odt matches no file"):
        read_documents(folder / "*.odt")


def test_tables_by_wildcards(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"id;text\n{name}1;x\n{name}2;y\n")
    assert read_documents(tmp_path / "*.csv").column("id").to_pylist() == ["a1", "a2", "b1", "b2"]
    (tmp_path / "[c].csv").write_text("id,text\nc,z\n")
    assert read_documents(tmp_path / "[c].csv").column("id").to_pylist() == ["c"]


BROKEN = {
    "x.pdf": (b"%PDF-1.4\nnothing", "x.pdf cannot be read as a PDF file"),
    "y.docx": (b"PK\x03\x04 no", "y.docx cannot be read as a Word file"),
    "z.md": (b"\xff\xfe\x00", "z.md is not UTF-8 text"),
    "w.html": (b"<p>\0\0", "w.html is a binary file"),
    "v.pdf": (pdf([[]]), r"v.pdf has no text \(are its pages scanned"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_are_one_sentence_and_can_be_skipped(folder, name):
    content, words = BROKEN[name]
    (folder / name).write_bytes(content)
    for source in (folder, folder / name):
        with pytest.raises(DataError, match=words) as caught:
            read_documents(source)
        assert str(caught.value).startswith(str(folder / name))
    aside = io.BytesIO()
    documents = stream_documents(folder, many=100, bad=BadRows(aside))
    assert documents.column("id").to_pylist() == list(TEXTS)
    (row,) = map(json.loads, aside.getvalue().splitlines())
    assert (row["file"], row["line"], row["row"]) == (str(folder / name), None, None)
    assert "left out" in str(read_corpus(folder).report)


def test_folders_without_documents(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"holds no files of text .*; left out were 1 of other kinds"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match=r"none\.md cannot be read"):
        read_documents(tmp_path / "none.md")
