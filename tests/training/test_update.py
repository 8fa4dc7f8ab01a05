"""New pairs are learned, old ones kept, what does not occur stays to the bit, and an index follows."""

import json
import logging
import sys
from dataclasses import replace

import numpy as np
import pytest

from made_texts import THINGS, VERBS
from statim.cli import main
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError, ModelError
from statim.model import StaticModel
from statim.search.index import Index
from statim.search.reencoding import moved_rows
from statim.settings import SearchSettings
from statim.training.run.callbacks import Callbacks
from statim.training.train import train
from statim.training.update import update

OLD = [(f"how do I {v} a {t}?", f"{t[::-1]} then {v[::-1]}") for v in VERBS[:10] for t in THINGS[:10]]
NEW = [(f"how do I {v} a {t}?", f"{t[::-1]} zorbing {v[::-1]}") for v in VERBS[12:20] for t in THINGS[10:18]]
SCORED = [{"text1": f"a {t}", "text2": f"the {t}", "score": n / 40} for n, t in enumerate(THINGS + VERBS)]
QUICK = {"batch": 16, "epochs": 2, "threads": 1, "heldout": 12}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A model of the old pairs, which knows the letters of new ones."""
    folder = tmp_path_factory.mktemp("old") / "model"
    words = VERBS[10:] + THINGS[10:]
    letters = [(f"the {word} page", f"{words[at - 1][::-1]} page") for at, word in enumerate(words)]
    model = train(
        OLD + letters, start="random", dim=32, epochs=2, batch=16, heldout=0, threads=1, baselines="none"
    ).model
    StaticModel(
        model.table * 3,
        model.tokenizer,
        replace(model.settings, language=("en",), max_tokens=50, search=SearchSettings(0.3, "vector")),
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def updated(old, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "model"
    return update(old, NEW, out=out, replay=OLD, **QUICK), out


def test_new_pairs_are_learned_and_what_does_not_occur_stays_to_the_bit(old, updated):
    result, out = updated
    before, after = StaticModel.load(old), StaticModel.load(out)
    assert after.settings == before.settings == result.model.settings
    np.testing.assert_array_equal(after.table, result.model.table)
    assert list(result.scores) == ["new", "old"]
    assert result.scores["new"].after > result.scores["new"].before
    assert result.scores["new"].queries == 12
    assert result.scores["old"].after > result.scores["old"].before - 0.05
    ids = np.unique(after.tokenize([text for pair in NEW + OLD for text in pair]).ids)
    never = np.setdiff1d(np.arange(len(before.table)), ids)
    assert len(never) > 5
    np.testing.assert_array_equal(after.table[never], before.table[never])
    assert result.moved == moved_rows(before, after)[: len(before.table)].sum() > 20
    size = np.sqrt(np.mean(after.table**2) / np.mean(before.table**2))
    assert 0.8 < size < 1.25


def test_frequent_new_words_get_rows(updated):
    result, _ = updated
    assert result.new_tokens >= 1
    assert result.model.tokenize("zorbing").lengths.tolist() == [1]


def test_the_result_says_what_it_did(updated):
    result, out = updated
    told = json.loads(json.dumps(result.to_dict()))
    assert told["ndcg@10"]["new"]["queries"] == 12
    assert told["recipe"]["decay_to"] == "start"
    assert told["recipe"]["weight_decay"] == 0.25
    assert told["new_tokens"] == result.new_tokens
    lines = str(result).splitlines()
    assert lines[1].startswith(f"{result.moved:,} of ")
    assert [line.split()[0] for line in lines[-2:]] == ["new", "old"]
    assert str(result) in (out / "README.md").read_text()


def test_the_pull_keeps_rows_near(old, tmp_path):
    before, far = StaticModel.load(old).table, {}
    for pull in (0.0, 0.5):
        options = QUICK | {"heldout": 0, "epochs": 6, "new_words": 0, "pull": pull}
        result = update(old, NEW, out=tmp_path / str(pull), **options)
        assert result.scores == {}
        far[pull] = np.linalg.norm(result.model.table - before)
    assert far[0.5] < 0.8 * far[0.0]


def test_an_interrupted_update_goes_on_to_the_same_bits(old, tmp_path, monkeypatch):
    options = QUICK | {"checkpoint_every": 2, "replay": OLD}
    whole = update(old, NEW, out=tmp_path / "whole", **options)
    step = Callbacks.__call__

    def interrupted(self, optimizer, loss):
        stop = step(self, optimizer, loss)
        if optimizer.step == 5:
            raise KeyboardInterrupt
        return stop

    monkeypatch.setattr(Callbacks, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        update(old, NEW, out=tmp_path / "cut", **options)
    assert not (tmp_path / "cut").exists()
    monkeypatch.setattr(Callbacks, "__call__", step)
    found = update(old, NEW, out=tmp_path / "cut", resume=True, **options)
    np.testing.assert_array_equal(found.model.table, whole.model.table)
    assert found.scores == whole.scores
    assert not (tmp_path / "cut.training").exists()


def test_an_index_is_encoded_again_where_rows_moved(old, tmp_path, monkeypatch):
    model = StaticModel.load(old)
    texts = ["ssecorp eueuq", "how do I train a tree?", "decode zorbing", "gone", "!"]
    rows = [{"id": f"d{i}", "text": text, "year": 2000 + i} for i, text in enumerate(texts)]
    index = Index.build(model, rows, tmp_path / "docs.index", weight=0.4)
    index.delete(["d3"])
    held = Index.load(tmp_path / "docs.index")
    before = held.search("train a tree", mode="vector")
    encoded, encode = [], StaticModel.encode_document

    def counting(self, texts, **ways):
        encoded.extend(texts)
        return encode(self, texts, **ways)

    monkeypatch.setattr(StaticModel, "encode_document", counting)
    found = update(old, NEW, out=tmp_path / "out", index=tmp_path / "docs.index", **(QUICK | {"heldout": 0}))
    moved = moved_rows(model, found.model)
    wanted = [text for text in texts if moved[found.model.tokenize(text).ids].any()]
    assert encoded == wanted
    assert found.index == (len(wanted), len(texts) - len(wanted))
    assert 0 < len(wanted) < len(texts)
    assert found.to_dict()["index"] == {"encoded": len(wanted), "kept": len(texts) - len(wanted)}
    assert str(found).endswith(f"index: {len(wanted)} of {len(texts)} texts encoded again")
    fresh = Index.load(tmp_path / "docs.index", verify="always")
    assert fresh.model.hash == found.model.hash
    assert (len(fresh), fresh.settings.weight) == (4, 0.4)
    assert [hit.id for hit in fresh.search("decode zorbing", mode="bm25", where="year > 2001")] == ["d2"]
    some = [0, 1, 2, 4]
    vectors = found.model.encode([texts[at] for at in some], normalize=True)
    query = found.model.encode_query(["train a tree"], normalize=True)
    scores, positions = fresh.view().vectors.search(query, 4)
    expected = dict(zip(some, (vectors @ query[0]).tolist(), strict=True))
    there = positions[0] >= 0
    assert there.sum() >= 2
    for score, position in zip(scores[0][there].tolist(), positions[0][there].tolist(), strict=True):
        assert score == pytest.approx(expected[position], abs=1e-5)
    assert held.search("train a tree", mode="vector") == before


def test_an_index_of_another_model_is_refused_before_anything_is_trained(old, tmp_path):
    other = StaticModel(StaticModel.load(old).table * 2, StaticModel.load(old).tokenizer)
    Index.build(other, ["a tree", "a file"], tmp_path / "docs.index")
    with pytest.raises(InputError, match=r"docs.index was made with another model"):
        update(old, NEW, out=tmp_path / "out", index=tmp_path / "docs.index", **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_model_in_fewer_bits_is_widened(old, tmp_path, caplog):
    StaticModel.load(old).quantize("int8").save(tmp_path / "small")
    with caplog.at_level(logging.INFO, "statim"):
        found = update(tmp_path / "small", NEW, out=tmp_path / "out", **QUICK)
    assert "stored in int8; it is widened to float32" in caplog.text
    assert found.model.dtype == "float32"
    small = StaticModel.load(tmp_path / "small").table
    still = ~moved_rows(StaticModel.load(tmp_path / "small"), found.model)[: len(small)]
    assert 5 < still.sum() < len(small)


def test_held_out_old_pairs_that_are_trained_on_do_not_count(old, tmp_path):
    (tmp_path / "old.jsonl").write_text(
        "".join(json.dumps({"anchor": a, "positive": p}) + "\n" for a, p in OLD[:20])
    )
    found = update(old, NEW + OLD[5:], out=tmp_path / "out", old_heldout=tmp_path / "old.jsonl", **QUICK)
    assert found.scores["old"].queries < 15
    assert found.scores["old"].queries >= 5


def test_texts_of_another_language_are_told(old, tmp_path, caplog):
    answer = "Mit der Funktion kann man nicht nur die Datei lesen, sondern auch in der Zeile"
    german = [(f"Wie kann ich die Datei {t} öffnen?", f"{answer} {t} und sie zu dem Ende") for t in THINGS]
    update(old, german, out=tmp_path / "out", **(QUICK | {"heldout": 0, "epochs": 1}))
    assert "the new texts are in the language de and the model is for en" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"replay": NEW}, InputError, "the new pairs and those to replay are the same"),
        ({"pull": -1.0}, InputError, "pull is -1.0; it must be a number from 0"),
        ({"pull": 5.0}, InputError, "a weight decay of 5 at a rate of 0.1 shrinks rows by more than 5% in a"),
        ({"index": "nothing.index"}, ModelError, "nothing.index"),
        ({"heldout": 60}, InputError, "heldout is 60; it must be"),
        ({"new": []}, DataError, "no data is given; name at least one file"),
        (
            {"new": SCORED},
            InputError,
            "the new data are scored pairs, and a model is updated",
        ),
        ({"model": "nothing"}, ModelError, "nothing"),
    ],
)
def test_bad_input(old, tmp_path, monkeypatch, options, error, words):
    monkeypatch.chdir(tmp_path)
    given = {"model": old, "new": NEW} | QUICK | options
    with pytest.raises(error, match=words):
        update(out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_kept(old, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match=r"out exists and is not empty"):
        update(old, NEW, out=tmp_path / "out", **QUICK)
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_a_model_for_queries_alone_is_refused(old, tmp_path):
    model = StaticModel.load(old)
    asked = StaticModel(model.table, model.tokenizer, replace(model.settings, documents_by="a teacher"))
    with pytest.raises(InputError, match=r"for queries alone, beside the documents of a teacher"):
        update(asked, NEW, out=tmp_path / "out", **QUICK)


def test_the_command_line(old, tmp_path, capfd, monkeypatch):
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps({"anchor": a, "positive": p}) + "\n" for a, p in NEW))
    shared = ["--batch", "16", "--epochs", "2", "--heldout", "12", "--threads", "1"]
    monkeypatch.setattr(
        sys,
        "argv",
        ["statim", "update", str(old), str(path), "--out", str(tmp_path / "out"), "--json", *shared],
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    told = json.loads(capfd.readouterr().out)
    expected = update(old, path, out=tmp_path / "same", **QUICK)
    assert told["ndcg@10"]["new"]["after"] == pytest.approx(expected.scores["new"].after)
    np.testing.assert_array_equal(StaticModel.load(tmp_path / "out").table, expected.model.table)


def test_rates_follow_how_often_rows_occur(pairs):
    """Of two trainings of one step, the ratio of the moves is n / (n + 4), rounded up to 64ths."""
    options = {
        "start": "random", "dim": 32, "batch": len(pairs), "epochs": 1, "warmup": 0.0, "heldout": 0,
        "threads": 1, "baselines": "none",
    }  # fmt: skip
    plain, slower = (train(pairs, rare_rows=rare, **options).model for rare in (0.0, 4.0))
    start = np.random.Generator(np.random.Philox(0)).standard_normal(plain.table.shape, np.float32)
    distinct = dict.fromkeys(read_pairs(pairs).anchors.to_pylist() + read_pairs(pairs).positives.to_pylist())
    tokens = plain.tokenize(list(distinct))
    texts = np.zeros(len(start))
    for ids in tokens:
        texts[np.unique(ids)] += 1
    there = np.flatnonzero(texts > 0)
    there = there[np.abs(plain.table[there] - start[there]).max(axis=1) > 1e-3]
    assert len(there) > 10
    ratio = np.abs(slower.table - start)[there].sum(axis=1) / np.abs(plain.table - start)[there].sum(axis=1)
    np.testing.assert_allclose(ratio, np.ceil(64 * texts[there] / (texts[there] + 4)) / 64, rtol=1e-3)
