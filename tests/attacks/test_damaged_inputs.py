"""Inputs of the command line that nobody wrote by hand: one sentence and exit code 2, never a traceback."""

import json
import struct

import pytest
from pyarrow import parquet


def refused(answer, *words):
    code, out, err = answer
    assert code == 2, err
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err
    return out, err


def npy(header, version=1):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + b"\0" * 64


def fields(descr="'<f4'", shape="(4, 4)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()


HEADERS = {
    "no literal": b"{\n",
    "a list as a key": b"{[]: 1}\n",
    "a set of lists": b"{[]}\n",
    "signs without end": b"-" * 6000 + b"1\n",
    "parentheses": b"(" * 300 + b")" * 300 + b"\n",
    "a zero byte": b"{'descr': '<f4\0'}\n",
    "not ASCII": b"{\xff}\n",
    "a type that is half": fields(descr="('<f4',)"),
    "a type of lists": fields(descr="[()]"),
    "an unknown type": fields(descr="'<x4'"),
    "objects": fields(descr="'|O'"),
    "a shape over 64 bits": fields(shape="(0, 99999999999999999999)"),
    "a shape of 5,000 digits": fields(shape=f"({'9' * 5000}, 4)"),
    "a shape that overflows": fields(shape="(4294967296, 4294967296)"),
    "a negative shape": fields(shape="(-4, 4)"),
    "a shape of floats": fields(shape="(4.0, 4)"),
    "70 dimensions": fields(shape=f"({'1, ' * 70})"),
    "an order that is a number": fields(order="3"),
    "a long header": fields() + b" " * 20_000,
}
FILES = {
    "nothing behind the name": b"\x93NUMPY",
    "a zip file that is none": b"PK\x03\x04" + b"x" * 100,
    "an empty zip file": b"PK\x05\x06" + b"\0" * 18,
    "a pickle": b"\x80\x04N.",
    **{f"{name} ({version})": npy(header, version) for name, header in HEADERS.items() for version in (1, 2)},
}


@pytest.mark.parametrize("damage", FILES)
def test_vectors(damage, model, tmp_path, statim):
    (tmp_path / "v.npy").write_bytes(FILES[damage])
    (tmp_path / "docs.txt").write_text("how to sort\nopen a file\n")
    given = ["--vectors", tmp_path / "v.npy"]
    refused(statim("index", "build", model, tmp_path / "docs.txt", "-o", tmp_path / "new", *given), "v.npy")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["an empty zip file", "a list as a key (1)", "a shape over 64 bits (1)"])
def test_vectors_to_find_duplicates_in(damage, tmp_path, statim):
    (tmp_path / "v.npy").write_bytes(FILES[damage])
    refused(statim("duplicates", "--vectors", tmp_path / "v.npy", "-o", tmp_path / "out.jsonl"), "v.npy")


@pytest.mark.parametrize(
    "where", ["\udcff", "id = '\udcff'", '"\udcff" = 1', "id like '\udcff%'", "year > \udce2"]
)
def test_bytes_in_a_condition(where, index, statim):
    refused(statim("search", index, "sort", "--where", where))


UNFINISHED = {
    "run.json": ["", "[]", "null", "5", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\0",
        '{"the model": []}'],
    "progress.json": [
        "", "[]", "null", "{}", "[" * 100_000, '{"bytes": -1}', '{"bytes": 0}', '{"bytes": 0, "texts": 0}',
        '{"bytes": 0, "texts": "7", "footer": ""}', '{"bytes": 0, "texts": -7, "footer": ""}',
        '{"bytes": 0, "texts": true, "footer": ""}', '{"bytes": 0, "texts": 1, "footer": "?"}',
        '{"bytes": 0, "texts": 0, "footer": 3}', '{"bytes": 0, "texts": 0, "footer": "UEFSMQ=="}',
        '{"bytes": 0, "texts": 0, "footer": "a"}', '{"bytes": 0, "texts": 0, "footer": "", "hash": 3}',
        '{"bytes": 99999999999999999999999, "texts": 1, "footer": ""}',
    ],
}  # fmt: skip


@pytest.fixture
def unfinished(model, tmp_path, statim, monkeypatch):
    """A run of encode that was stopped after its first save."""
    (tmp_path / "docs.txt").write_text("how to sort\nopen a file\n" * 1000)

    def stop(self, progress):
        save(self, progress)
        raise KeyboardInterrupt

    from statim.data.files.resumable import Unfinished

    save = Unfinished.save
    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "save", stop)
        patch.setattr(Unfinished, "due", True)
        code, _, err = statim("encode", model, tmp_path / "docs.txt", "-o", tmp_path / "v.parquet")
    assert code == 130, err
    assert json.loads((tmp_path / "v.parquet.encoding" / "progress.json").read_text())["footer"]
    return tmp_path / "v.parquet.encoding"


@pytest.mark.parametrize(
    ("name", "content"), [(name, text) for name in UNFINISHED for text in UNFINISHED[name]]
)
def test_an_unfinished_output(name, content, unfinished, model, tmp_path, statim):
    (unfinished / name).write_text(content)
    again = ["encode", model, tmp_path / "docs.txt", "-o", tmp_path / "v.parquet"]
    refused(statim(*again, "--resume"), "--resume" if name == "progress.json" and content[:1] == "{" else "")
    code, _, err = statim(*again)
    assert code == 0, err
    assert len(parquet.read_table(tmp_path / "v.parquet")) == 2000
