"""Documents from folders, text files and tables; what is left out is counted, the unusable is refused."""

import gzip

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statim.data.detect_task import read_supervision
from statim.data.documents import markup
from statim.data.documents.corpus import is_corpus, read_corpus
from statim.data.documents.files import MOST_BYTES
from statim.data.documents.passages import LONGEST, paragraphs, passages, sentences
from statim.errors import DataError


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_a_folder_of_every_kind(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git", hidden__md="# hidden\n\nnot read")
    write(tmp_path / "deep" / "er", guide__rst="Sorting\n=======\n\nUse ``sorted``.\n")
    write(
        tmp_path,
        a__txt="How to open a file\n\nCall open.\nThen read.",
        b__md="---\nlang: en\n---\n# A *title*\n\nSee [the list](x.html).\n\n```\ncode\n```\n\n## "
        "More\n\nEnd.",
        c__html="<html><head><title>Page &amp; "
        "more</title><style>x{}</style></head><body><nav>menu</nav><p>One.<p>Two</body>",
        d__txt=b"caf\xe9 in latin-1",
        e__txt=b"zero\0byte",
        f__txt="",
        g__png=b"\x89PNG",
        h__TXT="How to open a file\n\nCall open.\nThen read.",
    )
    corpus = read_corpus(tmp_path)
    assert list(zip(corpus.titles.to_pylist(), corpus.bodies.to_pylist(), strict=True)) == [
        ("How to open a file", "Call open.\nThen read."),
        ("A title", "See the list.\n\n\n\n\nMore\n\n\nEnd."),
        ("Page & more", "One.\n\nTwo"),
        ("Sorting", "Use sorted."),
    ]
    assert "left out = 1 binary, 1 empty, 1 not UTF-8, 1 of other kinds" in str(corpus.report)
    assert corpus.report.duplicates == 1
    assert read_corpus(str(tmp_path)).hash == corpus.hash


def test_a_text_file_has_a_document_on_each_line_or_between_empty_lines(tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(f"text number {i}" for i in range(50)) + "\n\n")
    assert read_corpus(lines).bodies.to_pylist() == [f"text number {i}" for i in range(50)]
    blocks = tmp_path / "blocks.txt.gz"
    blocks.write_bytes(gzip.compress(b"first line\nsecond line\n\n  \nanother\n\nlast"))
    assert read_corpus(blocks).bodies.to_pylist() == ["first line\nsecond line", "another", "last"]
    assert read_corpus([lines, blocks]).titles.null_count == 53


def test_tables(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_text("id,text,url\n1,one text,u\n2,,u\n3,another text,u\n4,one text,u\n")
    corpus = read_corpus(path)
    assert corpus.bodies.to_pylist() == ["one text", "another text"]
    assert (corpus.report.empty, corpus.report.duplicates) == (1, 1)
    titled = read_corpus(pa.table({"title": ["A", None], "body": ["a a", "b b"]}))
    assert titled.titles.to_pylist() == ["A", None]
    named = read_corpus(pa.table({"q": ["A", "B"], "z": ["a a", "b b"]}), text="z", title="q")
    assert (named.titles.to_pylist(), named.bodies.to_pylist()) == (["A", "B"], ["a a", "b b"])


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["text"], "Corpus"), (["notes"], "Corpus"), (["id", "text", "url"], "Corpus"),
        (["title", "text"], "Pairs"),
        (["question", "answer"], "Pairs"), (["text", "label"], "LabelledTexts"),
    ],
)  # fmt: skip
def test_the_kind_is_told_from_the_columns(columns, kind):
    table = pa.table(
        {name: [f"{name} {i % 7 if name == 'label' else i}" for i in range(30)] for name in columns}
    )
    assert type(read_supervision(table)).__name__ == kind
    if kind == "Pairs":
        assert type(read_supervision(table, kind="documents", positive=columns[1])).__name__ == "Corpus"


def test_two_columns_of_unknown_meaning_are_refused():
    with pytest.raises(DataError, match="make-pairs"):
        read_supervision(pa.table({"foo": ["a", "b"], "bar": ["c", "d"]}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no files of text"),
        ({"a__png": b"x", "b__txt": b"\xff\xfe\0"}, "left out were 1 not UTF-8, 1 of other kinds"),
        ({"a__txt": "one document"}, "only 1 document"),
        ({"a__txt": "same", "b__txt": "same"}, "only 1 document"),
    ],
)
def test_folders_that_are_refused(tmp_path, files, words):
    with pytest.raises(DataError, match=words):
        read_corpus(write(tmp_path, **files))


def test_files_that_are_refused(tmp_path):
    write(
        tmp_path,
        a__md=b"\xe9",
        b__html=b"a\0b",
        c__txt=b"\xe9\n",
        d__rst=b" " * 5,
        e__md=b"x" * (MOST_BYTES + 1),
    )
    for name, words in [
        ("a.md", "UTF-8"),
        ("b.html", "binary"),
        ("c.txt", "UTF-8"),
        ("d.rst", "empty"),
        ("e.md", "larger"),
    ]:
        assert is_corpus(tmp_path / name)
        with pytest.raises(DataError, match=words):
            read_corpus(tmp_path / name)
    assert not is_corpus(tmp_path / "missing.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_corpus(tmp_path / "missing.txt")


def test_sentences_do_not_end_after_abbreviations():
    text = (
        'He saw Dr. Smith (e.g. today). It was "fine." Then J. Doe left! Ok? See Fig. 2. 天気がいい。明日は？'
    )
    assert sentences(text) == [
        "He saw Dr. Smith (e.g. today).", 'It was "fine."', "Then J. Doe left!", "Ok?", "See Fig. 2.",
        "天気がいい。", "明日は？",
    ]  # fmt: skip


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)


@given(
    st.lists(
        st.sampled_from(["Word", "a", ". ", "? ", "\n\n", "\n", " ", "x" * 700, "漢字。", "e.g. "]) | words,
        max_size=60,
    ).map("".join)
)
def test_passages_hold_every_letter_in_order_and_are_not_too_long(text):
    found = passages(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(passage) <= LONGEST for passage in found)
    assert all(" ".join(p.split()) == p for p in paragraphs(text))


@given(
    st.sampled_from(list(markup.READERS.values())),
    st.lists(
        st.sampled_from([*"<>!-*`#=[](). \n\"'&:~_/a", "<!--", "```", "<p>", "</", ".. x::\n"]),
        max_size=80,
    ).map("".join),
)
def test_no_markup_is_too_broken_to_be_read(reader, text):
    title, body = reader(text)
    assert title is None or title.strip()
    assert isinstance(body, str)


@pytest.mark.parametrize(
    "piece", ["<!--", "[", "`", "```\n", "*a ", "# # ", ".. \n", "<a", ":x:`", "a\n=", "`<", "&", "A.B. "]
)
def test_long_broken_markup_takes_no_long_time(piece):
    """A quadratic reader would take minutes."""
    text = piece * 10_000
    for reader in markup.READERS.values():
        passages(reader(text).body)
