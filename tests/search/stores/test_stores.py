"""The same tests over all stores: a folder, LanceDB, and a real PostgreSQL."""

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_places import STORES, WORDS, Place, model_of, texts_of

from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError, ModelError, StorageError
from statim.evaluation.search_modes import tune
from statim.search.engines import registry as engines
from statim.search.index import Index
from statim.search.lexical.bm25 import BM25
from statim.search.stores import lance_connection, postgres, postgres_index, postgres_server, registry


@pytest.fixture(scope="module")
def model():
    return model_of(0)


def check(index, model, held):
    """Searches agree with all vectors compared in float64, and with BM25 rebuilt, over a dict's content."""
    assert len(index) == len(held)
    ids, texts = list(held), [text for text, _ in held.values()]
    vectors = model.encode_document(texts, normalize=True).astype(np.float64)
    queries = ["w00 w01", "w02 w03 w02", "w29", "zz", texts[0], texts[-1]]
    asked = model.encode_query(queries, normalize=True).astype(np.float64)
    cosines = np.where(vectors.any(axis=1), asked @ vectors.T, -np.inf)
    cosines[~asked.any(axis=1)] = -np.inf
    lexical = np.full((len(queries), len(ids)), -np.inf)
    scores, positions = BM25.build(texts).search(queries, len(ids))
    for row, (found, places) in enumerate(zip(scores, positions, strict=True)):
        lexical[row, places[places >= 0]] = found[places >= 0]
    for mode, expected in (("vector", cosines), ("bm25", lexical)):
        for some in (queries, queries[:2]):  # many and few may go different ways
            for row, hits in enumerate(index.search(some, 6, mode=mode)):
                best = np.sort(expected[row])[::-1][:6]
                np.testing.assert_allclose(
                    [hit.score for hit in hits], best[best > -np.inf], atol=2e-6, rtol=2e-6
                )
                assert len({hit.id for hit in hits}) == len(hits)
                for hit in hits:
                    assert abs(expected[row][ids.index(hit.id)] - hit.score) < 1e-5
                    assert (hit.text, hit.metadata["year"]) == held[hit.id]
    whole = BM25.build(texts).full_match(queries)
    np.testing.assert_allclose(index.view().words.full_match(queries), whole, rtol=1e-12)
    np.testing.assert_allclose(index.view().words.asked(queries).full_match(queries), whole, rtol=1e-12)
    listed = [(name, text) for _, some, more in index.texts() for name, text in zip(some, more, strict=True)]
    assert {name.as_py(): text.as_py() for name, text in listed} == dict(zip(ids, texts, strict=True))
    assert len(listed) == len(ids)
    best = index.search(texts[-1], 1)
    if model.encode_document([texts[-1]]).any():
        assert sorted(held[best[0].id][0].split()) == sorted(texts[-1].split())


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)
text = st.lists(st.sampled_from([*WORDS[:6], "zz"]), min_size=0, max_size=5).map(" ".join)
changes = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "update"]), names, st.lists(text, min_size=4, max_size=4)),
        st.tuples(st.just("delete"), names, st.none()),
        st.tuples(st.just("delete older"), st.integers(1, 9), st.none()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
    ),
    min_size=1,
    max_size=5,
)


def run(place, model, plan):
    """Make the same changes to an index and to a dict."""
    held = {"k": ("w00 w01 w01", 5), "l": ("w02 w03", 6), "a": ("w29", 7)}
    index = place.build(
        model, [t for t, _ in held.values()], ids=list(held),
        metadata=[{"year": y} for _, y in held.values()],
        overwrite=True,
    )  # fmt: skip
    for number, (what, which, texts) in enumerate(plan):
        if what in ("add", "update"):
            new = {name: (words, number) for name, words in zip(which, texts, strict=False)}
            rows = [{"year": year} for _, year in new.values()]
            given = {"ids": list(new), "metadata": rows}
            if what == "add" and held.keys() & new.keys():
                with pytest.raises(DataError, match="in the index already"):
                    index.add([t for t, _ in new.values()], **given)
                continue
            getattr(index, what)([t for t, _ in new.values()], **given)
            held = {k: v for k, v in held.items() if k not in new} | new
        elif what == "reopen":
            index = place.load()
        else:
            older = what == "delete older"
            gone = {k for k, v in held.items() if (v[1] < which if older else k in which)}
            if len(gone) == len(held):
                with pytest.raises(InputError, match="delete all"):
                    index.delete(where=f"year < {which}") if older else index.delete(which)
                continue
            done = index.delete(where=f"year < {which}") if older else index.delete(which)
            assert done == len(gone)
            held = {k: v for k, v in held.items() if k not in gone}
    check(index, model, held)
    check(place.load(), model, held)


EXAMPLES = {"folder": 12, "lancedb": 4, "postgresql": 6}


@pytest.mark.parametrize("kind", STORES)
def test_any_changes(kind, model, request, tmp_path_factory):
    address = request.getfixturevalue("address") if kind == "postgresql" else None

    @settings(max_examples=EXAMPLES[kind], deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes)
    def changed(plan):
        run(Place(kind, tmp_path_factory.mktemp("changes") / "index", address), model, plan)

    changed()


ROWS = [
    {"year": 2000 + i % 7 if i % 5 else None, "source": ["faq", "it's", "50% off_", None][i % 4],
        "rank": i / 4,
     "draft": [True, False, None][i % 3], "day": None if i % 6 == 0 else np.datetime64("2024-01-01") + i,
     "tags": [str(i)],
     'odd "name"': i}
    for i in range(40)
]  # fmt: skip
ROWS = [row | {"day": None if row["day"] is None else row["day"].item()} for row in ROWS]


def known(value, test):
    """SQL's three values: None where the value is missing."""
    return None if value is None else test(value)


def no(value):
    return None if value is None else not value


CONDITIONS = [
    ("year > 2003", lambda r: known(r["year"], lambda v: v > 2003)),
    ("year >= 2002.5 and year<2005", lambda r: known(r["year"], lambda v: 2003 <= v < 2005)),
    ("not year = 2001.5", lambda r: known(r["year"], lambda v: True)),
    ("year in (2001, 2002.0, 2.5)", lambda r: known(r["year"], lambda v: v in (2001, 2002))),
    ("YEAR is null".replace("YEAR", "year"), lambda r: r["year"] is None),
    ("source = 'it''s'", lambda r: known(r["source"], lambda v: v == "it's")),
    ("source <> 'faq'", lambda r: known(r["source"], lambda v: v != "faq")),
    ("source < 'faq' or source > 'it'", lambda r: known(r["source"], lambda v: v != "faq")),
    ("source like '50\\% off\\_'", lambda r: known(r["source"], lambda v: v == "50% off_")),
    ("source not like '_a%'", lambda r: known(r["source"], lambda v: v != "faq")),
    ("source not in ('faq', 'x'')) or 1=1; drop table documents; --')",
        lambda r: known(r["source"], lambda v: v != "faq")),
    ("draft", lambda r: r["draft"]),
    ("not draft and rank > 2", lambda r: no(r["draft"]) and r["rank"] > 2),
    ("draft = false", lambda r: no(r["draft"])),
    ("rank between 1 and 2.5", lambda r: 1 <= r["rank"] <= 2.5),
    ("rank > -1 and rank <= 1e0", lambda r: r["rank"] <= 1),
    ("day >= '2024-01-20' and day is not null", lambda r: known(r["day"],
        lambda v: v.isoformat() >= "2024-01-20")),
    ('"odd ""name""" <= 3', lambda r: r['odd "name"'] <= 3),
    ("tags is not null and (id = '3' or text like '%w01%')", None),
    ("not (year > 2003 or draft)", lambda r: no(either(known(r["year"], lambda v: v > 2003), r["draft"]))),
]  # fmt: skip


def either(a, b):
    return True if a or b else None if a is None or b is None else False


def test_filters_mean_the_same_everywhere(place, model):
    texts = texts_of(len(ROWS))
    index = place.build(model, texts, metadata=ROWS)
    for condition, test in CONDITIONS:
        expected = {
            str(i)
            for i, row in enumerate(ROWS)
            if (test(row) if test else str(i) == "3" or "w01" in texts[i])
        }
        for query in ("w00 w01 w02", ["w00 w01 w02"] * 6):
            hits = index.search(query, 100, mode="vector", where=condition)
            for some in [hits] if isinstance(query, str) else hits:
                assert {hit.id for hit in some} == expected, condition
        words = index.search("w01 w02", 100, mode="bm25", where=condition)
        everything = {hit.id: hit.score for hit in index.search("w01 w02", 100, mode="bm25")}
        assert {hit.id for hit in words} == expected & everything.keys()
        for hit in words:  # what a word is worth does not depend on the filter
            assert hit.score == pytest.approx(everything[hit.id])
        assert {hit.id for hit in index.search("w01 w02", 100, where=condition)} <= expected
        assert len(index.search("w01 w02", 3, mode="vector", where=condition)) == min(3, len(expected))
    assert index.search("w01", 5, where="year > 3000") == []
    with pytest.raises(InputError, match="column 'yeer'"):
        index.search("w01", where="yeer > 2000")
    hit = index.search(texts[7], 1, where='"odd ""name""" = 7')[0]
    assert hit.metadata == {**ROWS[7], "day": ROWS[7]["day"]}


def test_bad_changes(place, model):
    index = place.build(model, texts_of(5), metadata=[{"year": i} for i in range(5)])
    for kind, message, change in [
        (DataError, "stands twice", lambda: index.add(["a", "b"], ids=["x", "x"])),
        (DataError, "'2' .*in the index already", lambda: index.add(["a", "b"], ids=["x", "2"])),
        (DataError, "column 'colour'", lambda: index.add(["a"], ids=["x"], metadata=[{"colour": 1}])),
        (DataError, "'year' holds", lambda: index.add(["a"], ids=["x"], metadata=[{"year": "long ago"}])),
        (InputError, "ids is None", lambda: index.add(["a"])),
        (InputError, "another model", lambda: index.add(["w01"], ids=["x"], model=model_of(1))),
        (InputError, "not those that the model makes",
         lambda: index.add(texts_of(9), ids=list("abcdefghi"), vectors=model_of(1).encode(texts_of(9)))),
        (InputError, "9 dimensions", lambda: index.add(["w01"], ids=["x"], vectors=np.ones((1, 9)))),
        (InputError, "2 vectors for 1", lambda: index.add(["w01"], ids=["x"],
            vectors=np.stack([model.encode("w01")] * 2))),
        (InputError, "1 vectors and more", lambda: index.add(["w01"] * 2, ids=["x", "y"],
            vectors=model.encode(["w01"]))),
        (InputError, "delete all", lambda: index.delete([str(i) for i in range(5)])),
        (InputError, "either ids or", lambda: index.delete()),
        (InputError, "number 1 is missing", lambda: index.delete([3, None])),
    ]:  # fmt: skip
        with pytest.raises(kind, match=message):
            change()
        assert len(index) == len(place.load()) == 5
    assert index.delete(["nowhere"]) == 0
    assert index.add(["w01 w02"], ids=["x"], vectors=4 * model.encode(["w01 w02"])) == 1
    assert index.search("w02 w01", 1, mode="vector")[0].id == "x"
    assert index.search("w02 w01", 1, mode="vector")[0].metadata == {"year": None}
    with pytest.raises(InputError, match="exist"):
        place.build(model, ["w03"])
    assert len(place.build(model, ["w03"], overwrite=True)) == len(place.load()) == 1


def test_tuned_by_questions(place, model):
    texts = texts_of(30)
    index = place.build(model, texts, ids=[f"n{i}" for i in range(30)])
    before = index.search(texts[:5], 5, mode="hybrid")
    asked = [(f"{texts[i]} w29", texts[i] if i % 2 else f"n{i}") for i in range(20)]
    found = tune(index, read_pairs([*asked, ("w01", "nowhere")]))
    assert found.left_out == 1
    assert found.settings == index.settings == place.load().settings
    assert index.info()["mode"] == found.settings.mode
    assert index.info()["thresholds"] == found.settings.thresholds
    with_own_weight = index.search(texts[:5], 5, mode="hybrid", weight=0.5)
    assert with_own_weight == before
    index.add(["w01 w02 w03"], ids=["later"])
    index.delete("n3")
    again = place.load()
    assert again.settings == found.settings
    for hits in again.search(texts[:5], 30, min_score="75%"):
        assert all(hit.score >= found.settings.thresholds[found.settings.mode]["75"] for hit in hits)


def test_given_vectors(place, model):
    texts = texts_of(30)
    vectors = model.encode(texts)
    index = place.build(model, texts, vectors=vectors.astype(np.float16))
    for query in texts[:3]:
        np.testing.assert_allclose(index.search(query, 1, mode="vector")[0].score, 1, atol=1e-3)
    assert index.info()["vectors"] == "given"
    with pytest.raises(InputError, match="not those that the model makes"):
        place.build(model, texts, vectors=vectors[::-1], overwrite=True)
    with pytest.raises(InputError, match="7 dimensions, the model 8"):
        place.build(model, texts, vectors=vectors[:, :7], overwrite=True)
    assert len(place.load()) == 30


KILLED = """
import os, sys
from statim import Index
from statim.search.lexical import incremental_bm25 as words
from statim.search.stores import folder, lance, postgres
place, table, module, name = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), 9)
setattr({"folder": folder, "lance": lance, "postgres": postgres, "words": words}[module], name, die)
index = Index.load(place, table=table)
index.update(["w05 w06", "w07"], ids=["0", "new"])
"""


@pytest.mark.parametrize(
    ("place", "module", "name"),
    [("folder", "words", "write"), ("folder", "folder", "write_json"), ("lancedb", "words", "write"),
     ("lancedb", "lance", "write_json"), ("postgresql", "postgres", "_write_manifest")],
    indirect=["place"],
)  # fmt: skip
def test_a_change_that_is_killed_has_not_been(place, module, name, model):
    index = place.build(model, texts_of(12))
    before = index.search(["w01 w02", "w05"], 12)
    script = [sys.executable, "-c", KILLED, str(place.path), place.table, module, name]
    assert subprocess.run(script, check=False).returncode == -9
    again = place.load()
    assert len(again) == 12
    assert again.search(["w01 w02", "w05"], 12) == before
    again.add(["w05 w06"], ids=["new"])
    again.update(["w07"], ids=["0"])
    assert {hit.id for hit in again.search("w05 w06", 1)} == {"new"}
    assert len(place.load()) == 13


def test_a_changed_model_is_refused(place, model, monkeypatch, tmp_path):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))  # where a database's model is kept
    index = place.build(model, texts_of(4))
    if place.kind == "postgresql":
        change = (
            "UPDATE {parts} SET content = content || '\\x20'::bytea WHERE name = "
            "'model/tokenizer.json' RETURNING 1"
        )
        index._store.run(change)
    else:
        with (place.path / "model" / "tokenizer.json").open("a") as file:
            file.write(" ")
    with pytest.raises(ModelError):
        place.load().search("w01")


def test_versions(tmp_path, model):
    place = Place("lancedb", tmp_path / "index", None)
    index = place.build(model, ["w01 w02", "w03"], ids=["a", "b"])
    old = index.search(["w01", "w04", "w03"], 5)
    index.update(["w04"], ids=["a"])
    index.delete("b")
    told = index.info()["versions"]
    assert [(v["version"], v["documents"], v["what"]) for v in told] == [
        (1, 2, "build"),
        (2, 2, "update 1"),
        (3, 1, "delete 1"),
    ]
    first = place.load(version=1)
    assert first.search(["w01", "w04", "w03"], 5) == old
    assert first.info()["documents"] == 2
    assert [hit.id for hit in place.load().search("w04", 5)] == ["a"]
    with pytest.raises(InputError, match="searched only"):
        first.add(["w05"], ids=["c"])
    with pytest.raises(InputError, match="no version 9; it has 1 to 3"):
        place.load(version=9)
    assert len(place.load()) == 1


def test_many_small_changes_are_tidied(tmp_path, model, monkeypatch):
    from statim.search.lexical import incremental_bm25 as words
    from statim.search.stores import lance_index

    monkeypatch.setattr(lance_index, "FRAGMENTS", 3)
    monkeypatch.setattr(words, "MOST", 3)
    place = Place("lancedb", tmp_path / "index", None)
    held = {"x": ("w01 w02", None)}
    index = place.build(model, ["w01 w02"], ids=["x"], metadata=[{"year": None}])
    for i in range(7):
        held[str(i)] = (f"w0{i} w01", None)
        index.add([f"w0{i} w01"], ids=[str(i)])
    assert len(list((tmp_path / "index" / "words").iterdir())) < 6
    check(index, model, held)
    assert len(place.load(version=4)) == 4


def test_old_versions_go_and_kept_ones_stay(tmp_path, model, monkeypatch):
    from statim.search.stores import lance, lance_index

    monkeypatch.setattr(lance, "KEPT", 3)
    monkeypatch.setattr(lance, "DAYS", 0)
    monkeypatch.setattr(lance_index, "FRAGMENTS", 1)
    place = Place("lancedb", tmp_path / "index", None)
    index = place.build(model, ["w01 w02"], ids=["x"])
    expected = {}
    for i in range(6):
        index.update([f"w0{i} w01"], ids=[str(i)])
        expected[i + 2] = index.search(["w01", "w02 w03"], 9)
    assert [v["version"] for v in index.info()["versions"]] == [5, 6, 7]
    with pytest.raises(InputError, match="no version 4; it has 5 to 7"):
        place.load(version=4)
    monkeypatch.setattr(lance_index, "MARGIN", datetime.timedelta(0))
    before = index.info()["bytes"]
    index.compact(keep=2)
    assert [v["version"] for v in index.info()["versions"]] == [7, 8]
    assert index.info()["bytes"] < before
    for version in (7, 8):
        assert place.load(version=version).search(["w01", "w02 w03"], 9) == expected[7]
    index.add(["w20"], ids=["later"])
    assert index.search("w20", 1)[0].id == "later"
    with pytest.raises(InputError, match="keep is 0"):
        index.compact(keep=0)


def test_versions_of_the_last_days_are_kept(monkeypatch):
    from statim.search.stores.lance_index import named

    now = datetime.datetime.now(datetime.UTC)
    ages = [30, 20, 9, 8, 3, 1]  # the one of 8 days was the index until the one of 3 days came
    versions = [
        {"version": i, "time": (now - datetime.timedelta(days=age)).isoformat()} for i, age in enumerate(ages)
    ]
    assert [v["version"] for v in named(versions, 1, 7)] == [3, 4, 5]
    assert [v["version"] for v in named(versions, 4, 7)] == [2, 3, 4, 5]
    assert named(versions, 1, 100) == versions
    assert [v["version"] for v in named(versions, 1, 0)] == [5]


def test_stores_without_versions_are_not_compacted(place, model):
    index = place.build(model, ["w01", "w02"])
    if place.kind == "lancedb":
        index.compact()
        assert len(place.load()) == 2
    else:
        with pytest.raises(InputError, match="no older versions"):
            index.compact()


@pytest.mark.parametrize("dim", [8, 12, 64])
def test_the_index_inside_lancedb(tmp_path, monkeypatch, dim):
    from statim.search.stores import lance_index

    monkeypatch.setattr(lance_index, "LEAST", 300)
    monkeypatch.setattr(lance_index, "CELL", 64)
    monkeypatch.setattr(lance_index, "LATE", 30)
    monkeypatch.setattr(lance_index, "SCAN", 0)
    monkeypatch.setattr(lance_index, "SIZE", 16)
    model = model_of(0, dim)
    texts = [*texts_of(600), "zz"]
    place = Place("lancedb", tmp_path / "index", None)
    index = place.build(model, texts, metadata=[{"year": i % 50} for i in range(601)])
    held = {str(i): (text, i % 50) for i, text in enumerate(texts)}
    assert index.info()["index"]["rows"] == 601
    alike(index, model, held)
    index.add(
        ["w01 w29", "w29 w01"], ids=["new", "newer"], metadata=[{"year": 60}] * 2
    )  # outside of the index
    index.delete([str(i) for i in range(0, 601, 3)])
    held = {k: v for k, v in held.items() if int(k) % 3} | {"new": ("w01 w29", 60), "newer": ("w29 w01", 60)}
    assert index._store._table.index_stats("statim_vector_idx").num_unindexed_rows == 2
    assert {hit.id for hit in index.search("w29 w01", 9, mode="vector", where="year = 60")} == {
        "new",
        "newer",
    }
    alike(index, model, held)
    more = {f"m{i}": (text, 70) for i, text in enumerate(texts_of(80, seed=3))}
    index.update([t for t, _ in more.values()], ids=list(more), metadata=[{"year": 70}] * 80)
    held |= more
    assert index._store._table.index_stats("statim_vector_idx").num_unindexed_rows == 0
    alike(place.load(), model, held)
    many = {f"n{i}": (text, 80) for i, text in enumerate(texts_of(900, seed=4))}
    index.add([t for t, _ in many.values()], ids=list(many), metadata=[{"year": 80}] * 900)
    held |= many
    assert index.info()["index"]["rows"] == len(held)
    alike(place.load(), model, held)
    assert len(place.load(version=1).search("w01 w02", 5, mode="vector")) == 5


def alike(index, model, held):
    """Single queries find nearly all that comparing every vector finds, and what they give is true."""
    ids = list(held)
    vectors = model.encode_document([text for text, _ in held.values()], normalize=True).astype(np.float64)
    found = asked = 0
    for number, query in enumerate(texts_of(15, seed=9)):
        cosines = vectors @ model.encode_query(query, normalize=True).astype(np.float64)
        where, there = None, np.ones(len(ids), np.bool_)
        if number % 3 == 0:
            where, there = "year = 7", np.array([year == 7 for _, year in held.values()])
        hits = index.search(query, 10, mode="vector", where=where)
        best = np.sort(cosines[there & vectors.any(axis=1)])[::-1][:10]
        assert len(hits) == len(best)
        for hit in hits:
            assert there[ids.index(hit.id)]
            assert abs(cosines[ids.index(hit.id)] - hit.score) < 1e-5
        found += sum(hit.score >= best[-1] - 1e-6 for hit in hits)
        asked += len(best)
    assert found >= 0.95 * asked


def test_a_stream_goes_to_lancedb(tmp_path, model, monkeypatch):
    from statim.search.lexical import incremental_bm25 as words

    monkeypatch.setattr(registry, "LARGE", 50)
    monkeypatch.setattr(words, "SMALL", 20_000)
    texts = texts_of(120)
    held = {f"d{i}": (text, i) for i, text in enumerate(texts)}
    table = pa.table({"id": list(held), "text": texts, "year": range(120)})
    index = Index.build(model, table.to_reader(max_chunksize=16), tmp_path / "i")
    assert index.info()["store"] == "lancedb"
    check(index, model, held)
    assert Index.build(model, table.slice(0, 50).to_reader(), tmp_path / "j").info()["store"] == "folder"
    twice = pa.concat_tables([table, table.slice(3, 1)])
    with pytest.raises(DataError, match="'d3' stands twice"):
        Index.build(model, twice.to_reader(max_chunksize=16), tmp_path / "k")
    with pytest.raises(DataError, match="'d3' stands twice"):
        Index.build(model, twice, tmp_path / "k", store="lancedb")
    assert not (tmp_path / "k").exists()


def test_a_table_that_is_damaged(tmp_path, model):
    place = Place("lancedb", tmp_path / "index", None)
    place.build(model, texts_of(20))
    for damage in (
        lambda copy: shutil.rmtree(copy / "documents.lance"),
        lambda copy: [f.unlink() for f in (copy / "documents.lance" / "data").iterdir()],
        lambda copy: [f.write_bytes(b"x" * 50) for f in (copy / "documents.lance" / "_versions").iterdir()],
        lambda copy: [f.unlink() for f in (copy / "words").iterdir()],
        lambda copy: (copy / "index.json").write_text(
            json.dumps(json.loads((copy / "index.json").read_text()) | {"versions": [1]})
        ),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(place.path, copy)
        damage(copy)
        with pytest.raises(ModelError) as caught:
            Index.load(copy).search("w01 w02", 3)
        assert "\n" not in str(caught.value)
        shutil.rmtree(copy)


class PanicException(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PanicException("index out of bounds"), ModelError, ["damaged", "index out of bounds"]),
        (Exception("rust future panicked: unknown error"), ModelError, ["damaged", "panicked"]),
        (
            RuntimeError("lance error: LanceError(IO): No space left on device (os error 28), /a/b.rs:1"),
            StorageError,
            ["disk is full"],
        ),
        (RuntimeError("Permission denied (os error 13)"), StorageError, ["permission denied"]),
        (
            RuntimeError("lance error: LanceError(IO): file size is too small, /a/b.rs:1"),
            ModelError,
            [("says file size is too small; build")],
        ),
    ],
)
def test_what_lancedb_meets_with_is_one_sentence(tmp_path, model, monkeypatch, error, kind, words):
    place = Place("lancedb", tmp_path / "index", None)
    place.build(model, texts_of(5))

    def fail(_):
        raise error

    monkeypatch.setattr(lance_connection, "connect", fail)
    with pytest.raises(kind) as caught:
        place.load()
    assert all(word in str(caught.value) for word in words)


FULL = """
import resource, sys
from statim.errors import StorageError
from statim.search.index import Index
index = Index.load(sys.argv[1])
index.search("w01")
# what a full disk does to a write, done by the system itself
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for change in (lambda: index.delete("1"), lambda: index.add(["w03"], ids=["new"])):
    try:
        change()
    except StorageError as error:
        assert ".statim-partial" not in str(error), error
        print(error)
"""


@pytest.mark.parametrize("kind", ["folder", "lancedb"])
def test_a_full_disk_leaves_the_index_as_it_was(kind, tmp_path, model):
    place = Place(kind, tmp_path / "index", None)
    index = place.build(model, texts_of(12))
    before = index.search(["w01 w02", "w05"], 12)
    script = [sys.executable, "-c", FULL, str(place.path)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.count("raise the limit or write less") == 2, done.stdout
    assert place.load().search(["w01 w02", "w05"], 12) == before
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert place.load().delete("1") == 1


def test_an_index_of_format_1(tmp_path, model):
    """Folders of an earlier statim hold BM25's weights in place of the words."""
    texts = texts_of(30)
    held = {str(i): (text, i) for i, text in enumerate(texts)}
    path = tmp_path / "index"
    expected = Index.build(model, texts, path, metadata=[{"year": i} for i in range(30)]).search(texts[:5], 9)
    shutil.rmtree(path / "words")
    BM25.build(texts).save(path / "bm25.safetensors")
    manifest = json.loads((path / "index.json").read_text())
    files = {n: s for n, s in manifest["files"].items() if not n.startswith("words")}
    files["bm25.safetensors"] = (path / "bm25.safetensors").stat().st_size
    manifest |= {"format_version": 1, "files": files}
    for name in ("store", "stamps", "digest"):
        del manifest[name]
    (path / "index.json").write_text(json.dumps(manifest))
    index = Index.load(path)
    assert index.search(texts[:5], 9) == expected
    assert {hit.id for hit in index.search("w01", 30, mode="bm25", where="year < 9")} == {
        i for i, (text, year) in held.items() if "w01" in text.split() and year < 9
    }
    index.delete("0")
    del held["0"]
    check(index, model, held)
    assert index.info()["format_version"] == 2


def test_a_folder_with_mostly_dead_positions_is_written_anew(tmp_path, model, monkeypatch):
    from statim.search.stores import folder

    monkeypatch.setattr(folder, "SPARE", 0)
    held = {str(i): (text, i) for i, text in enumerate(texts_of(10))}
    index = Index.build(
        model, [t for t, _ in held.values()], tmp_path / "i", metadata=[{"year": i} for i in range(10)]
    )
    for i in range(7):
        index.delete(str(i))
        del held[str(i)]
    assert len(index._store.documents) < 7
    check(index, model, held)


def test_an_index_says_what_its_engine_trades(tmp_path, model, monkeypatch):
    monkeypatch.setattr(engines, "SCANNED", 0)
    index = Index.build(model, texts_of(40), tmp_path / "i", store="folder")
    info = index.info()
    assert (info["engine"], info["trades"]) == engines.choose(40, model.dim)
    assert info["recall"] >= 0.98
    assert "trades" not in Index.build(model, texts_of(9), tmp_path / "j", engine="exact").info()


@pytest.mark.parametrize("engine", ["int8", "faiss-hnsw", "usearch-f16"])
def test_engines_of_a_folder(tmp_path, model, engine):
    """Those that score by the vectors themselves agree with all of them compared."""
    held = {str(i): (text, i) for i, text in enumerate(texts_of(40))}
    rows = [{"year": i} for i in range(40)]
    index = Index.build(
        model, [t for t, _ in held.values()], tmp_path / "i", metadata=rows, engine=engine, store="folder"
    )
    assert index.info()["engine"] == engine
    index.update(["w01 w02"], ids=["3"], metadata=[{"year": 50}])
    index.delete(["5", "6"])
    index.add(["w07"], ids=["new"], metadata=[{"year": 51}])
    held = {k: v for k, v in held.items() if k not in ("3", "5", "6")} | {
        "3": ("w01 w02", 50),
        "new": ("w07", 51),
    }
    check(index, model, held)
    check(Index.load(tmp_path / "i"), model, held)
    with pytest.raises(InputError, match="only a folder has an engine"):
        Index.build(model, ["w01"], tmp_path / "j", engine=engine, store="lancedb")


def test_the_approximate_index_of_a_database(address, model, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_index, "EXACT", 0)
    place = Place("postgresql", None, address)
    texts = texts_of(400)
    index = place.build(model, texts)
    vectors = model.encode_document(texts, normalize=True)
    queries = texts_of(20, seed=5)
    found = 0
    assert index.info()["hnsw"]
    for query, hits in zip(queries, index.search(queries, 10, mode="vector"), strict=True):
        expected = np.sort(vectors @ model.encode_query(query, normalize=True))[::-1][:10]
        found += sum(hit.score >= expected[-1] - 1e-6 for hit in hits)
    assert found >= 190


def test_a_database_gets_its_index_when_it_is_large(address, model, monkeypatch):
    monkeypatch.setattr(postgres_index, "EXACT", 300)
    place = Place("postgresql", None, address)
    held = {str(i): (text, i % 50) for i, text in enumerate(texts_of(250))}
    index = place.build(
        model, [t for t, _ in held.values()], metadata=[{"year": y} for _, y in held.values()]
    )
    assert not index.info()["hnsw"]
    alike(index, model, held)
    more = {f"m{i}": (text, 7) for i, text in enumerate(texts_of(150, seed=3))}
    index.add([t for t, _ in more.values()], ids=list(more), metadata=[{"year": 7}] * 150)
    assert index.info()["hnsw"]
    kinds = index._store.run("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [place.table])
    assert sum("hnsw" in kind for (kind,) in kinds) == 1
    alike(place.load(), model, held | more)
    index.delete(list(held))
    alike(place.load(), model, more)


def test_servers_that_refuse(address, model, monkeypatch):
    import socket

    import psycopg

    def refused(url, words, kind=StorageError, **options):
        with pytest.raises(kind) as caught:
            Index.load(url, **options)
        said = str(caught.value)
        assert "\n" not in said
        assert all(word in said for word in words), said

    refused("postgresql://127.0.0.1:1/x", ["no PostgreSQL server answers", "127.0.0.1"])
    refused("postgresql://[", ["cannot be read", "postgresql://user"], InputError)
    Index.build(model, ["w01"], address, table="first")  # which makes the extension
    refused(address, ["nothing here", "--table"], ModelError, table="nothing here")
    refused(address, ["1 to 40 bytes"], InputError, table="")
    refused(address, ["no older versions"], InputError, version=3)
    monkeypatch.setattr(postgres_server, "SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        refused(f"postgresql://me:secret@127.0.0.1:{port}/x", ["no PostgreSQL server answers"])
    with psycopg.connect(address, autocommit=True) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()[0]
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'right'")
        connection.execute("CREATE DATABASE bare OWNER guest")
        rules = Path(folder) / "pg_hba.conf"
        rules.write_text("local all guest scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")
    bare = address.replace("postgres:@/postgres", "guest:PASSWORD@/bare")
    refused(bare.replace("PASSWORD", "wrong"), ["bare", "the password or the user is wrong"])
    refused(bare.replace("PASSWORD", "right"), ["no extension vector"])
    with pytest.raises(StorageError, match="an administrator"):
        Index.build(model, ["w01"], bare.replace("PASSWORD", "right"))
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE customers (id int)")
    with pytest.raises(InputError, match="did not make"):
        Index.build(model, ["w01"], address, table="customers", overwrite=True)
    assert "secret" not in repr(postgres.Postgres) + str(
        Index.build(model, ["w01"], address, table="t").info()
    )


def test_given_vectors_that_are_not_whole_are_refused_by_row(place, model, monkeypatch):
    monkeypatch.setattr("statim.search.index.CHUNK", 4)
    texts = ["", *texts_of(9), "zz"]
    vectors = model.encode(texts)
    assert not vectors[[0, 10]].any()  # as the model has them
    for row, number, message in (
        (7, 0, "row 7 of the vectors is all zeros, but the model's vector of that document is not"),
        (9, np.nan, "row 9 of the vectors holds NaN, infinities"),
        (3, np.inf, "row 3 of the vectors holds NaN, infinities"),
    ):
        wrong = vectors.copy()
        wrong[row] = number
        with pytest.raises(InputError, match=message):
            place.build(model, texts, vectors=wrong)
    index = place.build(model, texts, vectors=vectors)
    for act in (index.add, index.update):
        with pytest.raises(InputError, match="row 1 of the vectors is all zeros"):
            act(["zz", "w01"], ids=["x", "y"], vectors=np.zeros((2, 8)))
    assert len(place.load()) == len(index) == 11
    hits = index.search(texts[1], 11, mode="vector")
    assert len(hits) == 9
    assert not {"0", "10"} & {hit.id for hit in hits}
