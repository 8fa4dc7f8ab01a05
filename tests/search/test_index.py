import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from statim import StaticModel
from statim.digests import seal, stamps
from statim.errors import DataError, InputError, ModelError
from statim.search import index as module
from statim.search.index import Hit, Index
from statim.search.lexical import incremental_bm25
from statim.search.lexical.bm25 import BM25
from statim.search.stores import documents as store
from statim.search.stores import folder as folder_module
from statim.settings import SearchSettings

QUERIES = ["parse command line arguments", "copy a file and its metadata", "median of numeric data"]


def test_vector_mode_agrees_with_brute_force(index, texts, model):
    vectors = model.encode_document(texts)
    for query in QUERIES:
        hits = index.search(query, 5, mode="vector")
        scores = vectors @ model.encode_query(query)
        assert [hit.text for hit in hits] == [texts[i] for i in np.argsort(-scores, kind="stable")[:5]]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:5], atol=1e-6)


def test_bm25_mode_is_bm25(index, texts):
    scores, positions = BM25.build(texts).search(QUERIES, 4)
    for query, row, places in zip(QUERIES, scores, positions, strict=True):
        hits = index.search(query, 4, mode="bm25")
        assert [(hit.score, hit.text) for hit in hits] == [
            (s, texts[p]) for s, p in zip(row, places, strict=True)
        ]


def test_hybrid_is_the_default_and_finds(index, texts):
    query = next(text for text in texts if text.startswith("Return the median (middle value)"))
    hits = index.search(query)
    assert len(hits) == 10
    assert hits == index.search(query, mode="hybrid", weight=0.5)
    assert hits[0].text == query
    assert 0.8 < hits[0].score <= 1  # it holds every word, but is longer than most
    assert [hit.rank for hit in hits] == list(range(1, 11))
    by_rank = index.search(query, fusion="rrf")
    assert by_rank[0].text == query
    assert by_rank[0].score == pytest.approx(2 / 61)


def test_hits_carry_ids_and_metadata(index, texts):
    for hit in index.search(texts[17], 3):
        position = int(hit.id.removeprefix("doc-"))
        assert hit.text == texts[position]
        assert hit.metadata == {"length": len(hit.text), "first": hit.text[:1]}


def test_one_query_gives_a_list_and_several_give_lists(index):
    one = index.search(QUERIES[0])
    assert isinstance(one[0], Hit)
    for queries in (QUERIES, tuple(QUERIES), iter(QUERIES)):
        many = index.search(queries)
        assert len(many) == 3
        assert many[0] == one
    assert index.search([]) == []


def test_what_has_nothing_to_do_with_the_query_is_not_found(index, tmp_path, model):
    assert index.search("qzx", 5, mode="bm25") == []
    assert index.search("", 5) == []
    small = Index.build(model, ["copy a file", "☃", "", "zip archive"], tmp_path / "small")
    for query in ("copy", "remove files recursively", "zip"):
        assert {hit.id for hit in small.search(query, 10, mode="vector")} == {"0", "3"}
    assert len(small) == 4
    assert small.search("☃", 5, mode="vector") == []


def test_a_table_of_documents(tmp_path, model, texts):
    n = 9000  # several record batches, and chunks that are not theirs
    rows = [texts[i % len(texts)] for i in range(n)]
    table = pa.table(
        {
            "source": pa.array(["a", "b", None] * 3000).dictionary_encode(),
            "text": pa.chunked_array([rows[:5], rows[5:7000], rows[7000:]]),
            "id": pa.array(range(n)),
            "tags": pa.array([[i, i + 1] for i in range(n)]),
        }
    )
    index = Index.build(model, table, tmp_path / "i")
    assert len(index) == n
    assert index.info()["columns"] == ["id", "text", "source", "tags"]
    for hit in index.search(QUERIES[1], 100, mode="vector"):
        i = int(hit.id)
        assert (hit.text, hit.metadata) == (rows[i], {"source": ["a", "b", None][i % 3], "tags": [i, i + 1]})
    copies = [int(hit.id) for hit in index.search(texts[0], 20, mode="bm25") if hit.text == texts[0]]
    assert copies == sorted(copies)
    assert len(copies) >= 10


def test_info(index, built, model, texts):
    info = index.info()
    assert info["documents"] == len(index) == len(texts)
    assert info["dimensions"] == model.dim
    assert info["bytes"] == sum(
        f.stat().st_size for f in built.rglob("*") if f.is_file() and f.name != "index.json"
    )
    assert len(info["model_hash"]) == 64
    json.dumps(info)
    assert f"{len(texts):,} documents" in repr(index)


def test_builds_are_equal(built, texts, model, tmp_path):
    rows = [{"length": len(text), "first": text[:1] or None} for text in texts]
    Index.build(model, texts, tmp_path / "i", ids=[f"doc-{i}" for i in range(len(texts))], metadata=rows)
    for file in built.rglob("*"):
        if file.is_file() and file.name != "README.md" and file.suffix != ".md":
            if file.name == "index.json":
                continue  # the model card's size may differ with the date
            assert file.read_bytes() == (tmp_path / "i" / file.relative_to(built)).read_bytes(), file


def test_tuned_weight(index, texts):
    queries = [text.split("\n")[0] for text in texts[::9]]
    answers = [f"doc-{i}" for i in range(0, len(texts), 9)]

    def reciprocal_rank(ranked):
        return float(
            np.mean([1 / (1 + r.index(a)) if a in r else 0 for r, a in zip(ranked, answers, strict=True)])
        )

    weight, worth = index.tune_weight(queries, reciprocal_rank)
    found = [[hit.id for hit in hits] for hits in index.search(queries, weight=weight)]
    assert reciprocal_rank(found) == worth
    for other in (0.0, 0.5, 1.0):
        assert worth >= reciprocal_rank(
            [[h.id for h in hits] for hits in index.search(queries, weight=other)]
        )
    with pytest.raises(InputError, match="no development queries"):
        index.tune_weight([], reciprocal_rank)


def test_a_threshold_leaves_out_what_scores_lower(index, texts, tmp_path):
    query = texts[17]
    for mode in ("hybrid", "vector", "bm25"):
        everything = index.search(query, 10, mode=mode)
        least = everything[3].score
        assert index.search(query, 10, mode=mode, min_score=least) == everything[:4]
        assert index.search([query, query], 10, mode=mode, min_score=least) == [everything[:4]] * 2
    assert index.search("xqzvy blorf", 10, min_score=0.5) == []
    for wrong in (True, float("nan"), "95", "60%", "much"):
        with pytest.raises(InputError, match="min_score"):
            index.search(query, min_score=wrong)
    with pytest.raises(InputError, match="tune the index"):
        index.search(query, min_score="95%")


def test_what_training_tuned_is_taken_over(tmp_path, model, texts):
    reached = {"95": 0.5}
    tuned = SearchSettings(0.7, "vector", {"vector": reached, "hybrid": {"95": 0.4}})
    ready = StaticModel(model.table, model.tokenizer, dataclasses.replace(model.settings, search=tuned))
    assert ready.hash == model.hash
    ready.save(tmp_path / "model")
    made = Index.build(StaticModel.load(tmp_path / "model"), texts[:50], tmp_path / "i")
    assert made.settings == Index.load(tmp_path / "i").settings == tuned
    assert (
        made.search(texts[3]) == made.search(texts[3], mode="vector") != made.search(texts[3], mode="hybrid")
    )
    assert made.search(texts[3], mode="hybrid") == made.search(texts[3], weight=0.7)
    least = made.search(texts[3], min_score="95%")
    assert least == [hit for hit in made.search(texts[3]) if hit.score >= 0.5]
    with pytest.raises(InputError, match="own weight"):
        made.search(texts[3], weight=0.3, min_score="95%")
    other = Index.build(ready, texts[:50], tmp_path / "j", weight=0.2)
    assert other.settings == SearchSettings(0.2)


def test_the_weight_is_kept(tmp_path, model, texts):
    made = Index.build(model, texts[:50], tmp_path / "i", weight=0.9)
    assert made.search(QUERIES[0]) == made.search(QUERIES[0], weight=0.9)
    assert Index.load(tmp_path / "i").info()["weight"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"mode": "vectors"}, "mode is 'vectors'; it must be one of hybrid, vector, bm25"),
        ({"fusion": "sum"}, "fusion is 'sum'"),
        ({"weight": 2}, "weight is 2"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_bad_searches(index, arguments, message):
    with pytest.raises(InputError, match=message):
        index.search(QUERIES[0], **arguments)


@pytest.mark.parametrize("query", [3, None, [3], [None]])
@pytest.mark.parametrize("mode", module.MODES)
def test_bad_queries(index, query, mode):
    with pytest.raises(InputError, match="type"):
        index.search(query, mode=mode)


@pytest.mark.parametrize(
    ("documents", "options", "kind", "message"),
    [
        ([], {}, DataError, "no documents"),
        ("a text", {}, InputError, "type str"),
        (3, {}, InputError, "type int"),
        (["a", None], {}, InputError, "text 1 is of type NoneType"),
        (["a", "\ud800"], {}, InputError, "cannot be stored"),
        (["a", "b"], {"ids": ["x"]}, InputError, "ids has 1 values for 2 texts"),
        (["a", "b"], {"ids": ["x", "x"]}, DataError, "'x' stands twice"),
        (["a", "b"], {"ids": ["x", None]}, InputError, "ids: number 1 is missing"),
        (["a", "b"], {"ids": [3.0, float("nan")]}, InputError, "ids: number 1 is missing"),
        (["a", "b"], {"ids": ["x", b"y"]}, InputError, "ids: number 1 is of type bytes"),
        (["a", "b"], {"ids": ["x", True]}, InputError, "ids: number 1 is of type bool"),
        (["a", "b"], {"ids": [7, 7.0]}, DataError, "'7' stands twice"),
        (["a", "b"], {"metadata": [{}]}, InputError, "metadata has 1"),
        (["a", "b"], {"metadata": [{"text": 1}, {}]}, InputError, "key 'text'"),
        (["a"], {"weight": 7}, InputError, "weight is 7"),
        (pa.table({"id": ["a"], "one": ["b"], "two": ["c"]}), {}, DataError, "which column is the text"),
        (np.array("a"), {}, InputError, "documents is a ndarray of 0 dimensions"),
        (pa.table({"id": ["a"], "text": ["b"]}), {"ids": ["a"]}, InputError, "columns of it"),
        (pa.table({"id": ["a"], "text": [["b"]]}), {}, DataError, "not text"),
        (pa.table({"id": ["a", "b"], "text": ["b", None]}), {}, DataError, "lacks 1 of 2"),
        (pa.table([["a"], ["b"], ["c"]], names=["id", "text", "text"]), {}, DataError, "one name"),
        (
            pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}),
            {},
            DataError,
            "no documents",
        ),
    ],
)
def test_bad_documents(model, tmp_path, documents, options, kind, message):
    with pytest.raises(kind, match=message):
        Index.build(model, documents, tmp_path / "i", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_not_overwritten_unasked(model, tmp_path):
    Index.build(model, ["one"], tmp_path / "i")
    with pytest.raises(InputError, match="not empty"):
        Index.build(model, ["two"], tmp_path / "i")
    Index.build(model, ["two", "three"], tmp_path / "i", overwrite=True)
    assert len(Index.load(tmp_path / "i")) == 2


@pytest.mark.parametrize("stage", ["encode", "bm25", "documents", "model", "manifest"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_build_that_is_killed_leaves_what_was_there(model, texts, tmp_path, monkeypatch, stage, error):
    Index.build(model, texts[:30], tmp_path / "i")

    def die(*_, **__):
        raise error

    target, name = {
        "encode": (type(model), "encode_document"), "bm25": (incremental_bm25, "write"),
        "documents": (store, "write"),
        "model": (type(model), "save"), "manifest": (folder_module, "write_json"),
    }[stage]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(target, name, die)
        with pytest.raises(error):
            Index.build(model, texts[:40], tmp_path / "i", overwrite=True)
        with pytest.raises(error):
            Index.build(model, texts[:40], tmp_path / "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]
    assert len(Index.load(tmp_path / "i")) == 30


def test_what_a_dead_process_leaves_does_not_load(model, texts, tmp_path):
    """No clean-up runs after SIGKILL: whatever was written before the manifest must not pass for an index."""
    script = (
        "import os, sys\n"
        "from statim import StaticModel\n"
        "from statim.search.stores import folder\n"
        "from statim.search.index import Index\n"
        "folder.write_json = lambda *_: os._exit(9)\n"
        "model = StaticModel.load(sys.argv[1])\n"
        "Index.build(model, ['one', 'two'], sys.argv[2])\n"
    )
    model.save(tmp_path / "model")
    (tmp_path / "place").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model"), str(tmp_path / "place" / "i")], check=False
    )
    assert done.returncode == 9
    left = list((tmp_path / "place").iterdir())
    assert left
    for folder in left:
        with pytest.raises(ModelError):
            Index.load(folder)


def search_everything(path):
    index = Index.load(path)
    for mode in module.MODES:
        index.search(QUERIES, 5, mode=mode)


def test_missing_truncated_and_foreign_files(built, tmp_path):
    for file in sorted(f.relative_to(built) for f in built.rglob("*") if f.is_file()):
        size = (built / file).stat().st_size
        damages = {
            "removed": None, "empty": b"", "half": (built / file).read_bytes()[: size // 2],
            "longer": (built / file).read_bytes() + b"\0", "garbage": np.random.default_rng(1).bytes(size),
        }  # fmt: skip
        for name, content in damages.items():
            copy = tmp_path / "copy"
            shutil.copytree(built, copy)
            (copy / file).unlink()
            if content is not None:
                (copy / file).write_bytes(content)
            if name == "longer" and file.name == "index.json":
                (copy / file).write_bytes(content[:-1] + b"{")
            if name == "garbage" and file.parts[0] == "model":
                with contextlib.suppress(
                    ModelError
                ):  # some of these files are for other libraries, and for people
                    search_everything(copy)
            else:
                with pytest.raises(ModelError) as caught:
                    search_everything(copy)
                assert "\n" not in str(caught.value), (file, name)
            shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["documents.arrow", "vectors/vectors.npy", "words/0-N.safetensors"])
def test_flipped_bytes(built, tmp_path, name):
    """Whatever is wrong in a file of the right size, a search answers or raises one of our errors."""
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    name = name.replace("N", str(len(Index.load(built))))
    whole = (built / name).read_bytes()
    random = np.random.default_rng(5)
    edges = [*range(0, 1200, 67), *range(len(whole) - 1200, len(whole), 67)]
    for place in [*edges, *random.integers(0, len(whole), 30)]:
        spoilt = bytearray(whole)
        width = int(random.integers(1, 9))
        spoilt[place : place + width] = random.bytes(len(spoilt[place : place + width]))
        (copy / name).write_bytes(spoilt)
        try:
            search_everything(copy)
            Index.load(copy).search(QUERIES, 10_000)
        except ModelError:
            continue


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "newer"),
        ({"format_version": 0}, "damaged"),
        ({"format_version": "1"}, "damaged at format_version"),
        ({"format": "something"}, "does not describe"),
        ({"documents": 3}, "different indexes"),
        ({"dimensions": 7}, "48 dimensions, which is not what exact has of 7"),
        ({"columns": ["id", "text"]}, "different indexes"),
        ({"engine": "faiss"}, "engine 'faiss'"),
        ({"weight": 1.5}, "damaged"),
        ({"weight": None}, "damaged at weight"),
        ({"files": {"../other": 1}}, "does not name documents.arrow"),
        ({"stamps": {}}, "does not name documents.arrow"),
        ({"generation": "0" * 16}, "another index|different indexes"),
        ({"files": None}, "damaged at files"),
    ],
)
def test_manifests(built, tmp_path, change, message):
    shutil.copytree(built, tmp_path / "copy")
    manifest = json.loads((built / "index.json").read_text())
    (tmp_path / "copy" / "index.json").write_text(json.dumps(seal(manifest | change)))
    with pytest.raises(ModelError, match=message):
        Index.load(tmp_path / "copy")


def test_not_an_index(tmp_path):
    (tmp_path / "file").write_text("[]")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "index.json").write_text("[]")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file", tmp_path / "list"):
        with pytest.raises(ModelError):
            Index.load(path)


def test_parts_of_two_indexes(built, tmp_path, model, texts):
    Index.build(model, texts[:50], tmp_path / "other")
    for name in ("vectors", "words", "documents.arrow"):
        copy = tmp_path / "copy"
        shutil.copytree(built, copy)
        manifest = json.loads((copy / "index.json").read_text())
        if (copy / name).is_dir():
            shutil.rmtree(copy / name)
            shutil.copytree(tmp_path / "other" / name, copy / name)
        else:
            shutil.copy(tmp_path / "other" / name, copy / name)
        found = {name: stamp for name, stamp in stamps(copy).items() if name != "index.json"}
        manifest |= {"stamps": found, "files": {name: stamp["size"] for name, stamp in found.items()}}
        (copy / "index.json").write_text(json.dumps(seal(manifest)))
        with pytest.raises(ModelError):
            search_everything(copy)
        shutil.rmtree(copy)


def test_several_threads_at_once(built, texts):
    index = Index.load(built)  # nothing is read yet: the threads meet at the first use too
    queries = texts[:40]
    with ThreadPoolExecutor(8) as executor:
        found = list(
            executor.map(lambda query: [index.search(query, 5, mode=mode) for mode in module.MODES], queries)
        )
    again = Index.load(built)
    assert found == [[again.search(query, 5, mode=mode) for mode in module.MODES] for query in queries]


def test_a_first_search_loads_no_compiler(built):
    script = (
        "import sys; from statim.search.index import Index\n"
        f"assert Index.load({str(built)!r}).search('copy a file', 3)\n"
        "sys.exit(len({'numba', 'torch', 'scipy', 'bm25s', 'threadpoolctl', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_index_says_what_share_of_its_texts_is_unknown(minilm, tmp_path, caplog):
    table = np.random.default_rng(0).standard_normal((30522, 8)).astype(np.float32)
    model = StaticModel(table, minilm)
    Index.build(model, ["sort a list", "open a file"], tmp_path / "english")
    assert Index.load(tmp_path / "english").info()["unknown"] == 0
    assert not caplog.messages
    Index.build(model, ["ฉันไปแล้ว", "เขามา", "a list"], tmp_path / "thai")
    assert "does not know 50 % of the documents' tokens" in caplog.text
    index = Index.load(tmp_path / "thai")
    index.add(["a file"], ids=["new"])
    assert Index.load(tmp_path / "thai").info()["unknown"] == 0.5
