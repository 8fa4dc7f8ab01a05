"""Headers and manifests that promise more, less or something else than is there: one sentence, and no memory
for what is not there.
"""

import json
import struct
import sys

import numpy as np
import pyarrow as pa
import pytest

from statim.errors import ModelError, StatimError
from statim.model import StaticModel
from statim.search.index import Index
from statim.tensors import load_tensors

if sys.platform != "win32":
    import resource

LARGE = 1 << 32  # bytes of address space more than now, within which a lie must be found out


@pytest.fixture(autouse=True)
def little_memory():
    """What would take memory for a lie fails in these tests."""
    if not sys.platform.startswith("linux"):
        yield
        return
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + LARGE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def tensors(path, header, data=b"\0" * 64, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(shape, end=64, start=0, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "a shape larger than the data": ({"a": entry([1 << 20, 1 << 20])}, {}),
    "a shape that overflows": ({"a": entry([1 << 33, 1 << 33])}, {}),
    "a negative shape": ({"a": entry([-1, 16])}, {}),
    "an end behind the file": ({"a": entry([1 << 30], end=1 << 32)}, {}),
    "an end before the start": ({"a": entry([0], start=64, end=0)}, {}),
    "arrays that overlap": ({"a": entry([16]), "b": entry([16])}, {}),
    "a hole": ({"a": entry([8], end=32), "b": entry([4], start=48)}, {}),
    "data behind the last array": ({"a": entry([8], end=32)}, {}),
    "a header larger than the file": ({"a": entry([16])}, {"length": 1 << 20}),
    "a header larger than memory": ({"a": entry([16])}, {"length": (1 << 63) - 1}),
    "a header that is no object": (b"[1]", {}),
    "a header of brackets": (b"[" * 100_000, {}),
    "a type of another size": ({"a": entry([16], dtype="F64")}, {}),
    "an unknown type": ({"a": entry([16], dtype="EVIL")}, {}),
}


@pytest.mark.parametrize("lie", LIES)
def test_tensors(lie, tmp_path):
    header, options = LIES[lie]
    tensors(tmp_path / "a.safetensors", header, **options)
    with pytest.raises(ModelError, match=r"a\.safetensors"):
        load_tensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("lie", LIES)
def test_the_table_of_a_model(lie, model):
    header, options = LIES[lie]
    renamed = (
        {"embeddings" if name == "a" else name: value for name, value in header.items()}
        if isinstance(header, dict)
        else header
    )
    tensors(model / "model.safetensors", renamed, **options)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        StaticModel.load(model)


def npy(shape, descr="<f4", data=b"\0" * 64):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "shape",
    [
        "(1099511627776,)",
        "(1048576, 1048576)",
        "(4294967296, 4294967296)",
        "(-4, 4)",
        "(16,)*9",
        "(2, 2, 2, 2)",
    ],
)
def test_vectors_of_an_index(shape, index, change):
    name = next(path for path in sorted((index / "vectors").rglob("*.npy")) if path.stat().st_size)
    name.write_bytes(npy(shape))
    inside = name.relative_to(index).as_posix()
    change(index / "index.json", lambda said: said["files"].update({inside: name.stat().st_size}))
    with pytest.raises(ModelError):
        Index.load(index)


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(1099511627776, 8)", "(-4, 8)", "(4, 8, 8)"])
def test_vectors_of_a_user(shape, model, tmp_path, statim):
    (tmp_path / "v.npy").write_bytes(npy(shape))
    (tmp_path / "docs.txt").write_text("how to sort\nopen a file\n")
    code, _, err = statim(
        "index",
        "build",
        model,
        tmp_path / "docs.txt",
        "-o",
        tmp_path / "new",
        "--vectors",
        tmp_path / "v.npy",
    )
    assert code == 2
    assert err.count("error: ") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("documents", 10**15), ("documents", -1), ("documents", 2), ("dimensions", 10**15), ("dimensions", 0),
        ("dimensions", 7),
     ("columns", ["id"] * 10**5), ("columns", []), ("weight", 1e308), ("weight", float("nan")),
     ("model_hash", "0" * 64),
     ("format_version", 10**9), ("engine", "evil"), ("store", "evil"),
     ("files", {}), ("files", {"model/tokenizer.json": 10**15})],
)  # fmt: skip
def test_the_manifest_of_an_index(name, value, index, change):
    change(index / "index.json", lambda said: said.update({name: value}))
    with pytest.raises(ModelError):
        Index.load(index).search("sort")


@pytest.mark.parametrize("count", [10**6, 0, -3])
def test_dead_positions(count, index, change):
    with (index / "dead.npy").open("wb") as file:
        np.lib.format.write_array(file, np.array([count if count > 0 else -1], np.int64), (1, 0))
    change(
        index / "index.json",
        lambda said: said["files"].update({"dead.npy": (index / "dead.npy").stat().st_size}),
    )
    with pytest.raises(ModelError):
        Index.load(index)


@pytest.mark.parametrize("file", ["a/index.json", "model/config.json", "model/modules.json"])
def test_json_in_brackets(file, index, model, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / file).write_bytes(b'{"a":' * 50_000)
    with pytest.raises(ModelError, match="not valid JSON"):
        Index.load(tmp_path / "a") if file.startswith("a/") else StaticModel.load(model)


@pytest.mark.parametrize("file", ["index.json", "model/config.json", "model/1_Normalize/config.json"])
def test_a_name_twice_in_json(file, index):
    content = (index / file).read_text()
    name = next(iter(json.loads(content)))
    (index / file).write_text(
        content.replace("{", "{" + json.dumps(name) + ": " + json.dumps(json.loads(content)[name]) + ",", 1)
    )
    if file == "index.json":
        with pytest.raises(ModelError, match="twice"):
            Index.load(index)
    else:
        with pytest.raises(ModelError, match="twice"):
            StaticModel.load(index / "model")


def test_an_array_twice_in_a_header(tmp_path):
    one = json.dumps(entry([8], end=32))
    two = json.dumps(entry([8], start=32))
    tensors(tmp_path / "a.safetensors", f'{{"a": {one}, "b": {two}, "a": {one}}}'.encode())
    with pytest.raises(ModelError, match="twice"):
        load_tensors(tmp_path / "a.safetensors")


def test_an_array_twice_in_a_model(model):
    path = model / "model.safetensors"
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header = whole[8 : 8 + size].strip()
    said = json.loads(header)["embeddings"]
    header = (
        header[:-1] + b', "embeddings": ' + json.dumps({**said, "shape": said["shape"][::-1]}).encode() + b"}"
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header + whole[8 + size :])
    with pytest.raises(ModelError, match="twice"):
        StaticModel.load(model)


def test_documents_cut_short(index, change):
    whole = (index / "documents.arrow").read_bytes()
    for end in (0, 8, len(whole) // 2, len(whole) - 8):
        (index / "documents.arrow").write_bytes(whole[:end])
        change(index / "index.json", lambda said, end=end: said["files"].update({"documents.arrow": end}))
        with pytest.raises(ModelError):
            Index.load(index).search("sort")


def test_fewer_documents_than_vectors(index, change):
    table = pa.ipc.open_file(pa.memory_map(str(index / "documents.arrow"))).read_all().slice(0, 2)
    with pa.OSFile(str(index / "other.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (index / "other.arrow").rename(index / "documents.arrow")
    size = (index / "documents.arrow").stat().st_size
    change(index / "index.json", lambda said: said["files"].update({"documents.arrow": size}))
    with pytest.raises(ModelError):
        Index.load(index)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "\0",
        "\ud800",
        "a" * 1_000_000,
        "sort " * 100_000,
        "ﷺ" * 1000,
        "\u202e" * 50,
        "a\u0301" * 5000,
    ],
)
def test_any_query_has_an_answer(query, index):
    found = Index.load(index)
    for mode in ("vector", "bm25", "hybrid"):
        assert answered(found, query, mode=mode) <= 3


def answered(index, query, **options):
    """How many hits a search has; none if it is refused in one sentence."""
    try:
        return len(index.search(query, 3, **options))
    except StatimError as error:
        said = str(error)
    assert len(said) < 1000
    assert "\n" not in said
    return 0


@pytest.mark.parametrize(
    "condition",
    ["(" * 20_000 + "year = 1" + ")" * 20_000, "not " * 20_000 + "year = 1",
        "year = 1" + " or year = 1" * 20_000,
     "year in (" + ", ".join(map(str, range(50_000))) + ")", "text like '" + "%a" * 2000 + "'",
     "year = " + "9" * 10_000, "\0", "year = '\ud800'"],
)  # fmt: skip
def test_any_condition_has_an_answer_or_a_sentence(condition, index):
    assert answered(Index.load(index), "sort", where=condition) <= 3
