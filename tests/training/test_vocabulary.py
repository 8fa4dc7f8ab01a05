"""Training with a grown or pruned vocabulary: where its rows start, that it saves, and that it goes on."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from statim import StaticModel, train
from statim.data.labelled.labelled import LabelledTexts
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError, StorageError
from statim.settings import Settings
from statim.tensors import load_tensors, save_tensors
from statim.tokenizer.tokenizer import Tokenizer
from statim.training import initial_tables
from statim.training.datasets.sets import training_data
from statim.training.initial_tables import distilled_table
from statim.training.recipe import Recipe
from statim.training.run.checkpoint import Checkpoints
from statim.training.start import Start, grow_start, prune_start, start_from, with_vocabulary

QUICK = {"dim": 32, "batch": 16, "threads": 1, "baselines": False, "heldout": 0}


@pytest.fixture(scope="module")
def documented(docstrings):
    """Summaries and what follows them."""
    halves = [text.split("\n\n", 1) for text in docstrings if "\n\n" in text]
    return read_pairs([(first, rest) for first, rest in halves if first.strip() and rest.strip()][:600])


@pytest.fixture(scope="module")
def model(minilm):
    table = np.random.default_rng(0).standard_normal((minilm.get_vocab_size(), 32)).astype(np.float32)
    table[100] = 0
    return StaticModel(table, minilm)


class Teacher:
    """Reads a word as a vector that its letters give; keeps what it was asked."""

    hash, name = "teacher", "teacher"

    def __init__(self):
        self.read = []

    def encode(self, texts):
        self.read += texts
        rows = np.array([np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def recipe(documented):
    return Recipe.make(len(documented), 32, dim=32)


def table_of(start, documented):
    return start.table(training_data(documented, start.tokenizer), recipe(documented))


def test_pairs_leave_the_start_as_good_as_it_was(model, documented):
    start = start_from(model, None, documented, False)
    grown = grow_start(start, documented, words=0, pairs=300, threads=1)
    assert grown.new_rows.tolist() == list(range(30522, 30822))
    assert start.new_rows is None
    texts = documented.positives.to_pylist()
    before = StaticModel(table_of(start, documented), start.tokenizer).encode(texts)
    after = StaticModel(table_of(grown, documented), grown.tokenizer).encode(texts)
    np.testing.assert_allclose(after, before, atol=2e-6)
    assert len(grown.tokenizer(texts).ids) < len(start.tokenizer(texts).ids)
    assert grown.hash != start.hash
    assert grown.hash == grow_start(start, documented, words=0, pairs=300, threads=2).hash


def test_new_words_as_the_teacher_reads_them(minilm, documented):
    """As if the teacher's vocabulary had them; pairs are sums of words, and weigh as their words would."""
    teacher, tokenizer = Teacher(), Tokenizer(minilm)
    vectors = np.random.default_rng(1).standard_normal((30522, 16)).astype(np.float32)
    start = Start("a teacher", tokenizer, Settings(), vectors, teacher)
    grown = grow_start(start, documented, words=40, pairs=100, threads=1)
    table, growth = table_of(grown, documented), grown.grown
    words = growth.texts[: growth.words]
    assert teacher.read == words
    longer = np.linalg.norm(vectors, axis=1).mean() * Teacher().encode(words)
    texts = list(dict.fromkeys([*documented.anchors.to_pylist(), *documented.positives.to_pylist()]))
    ids = grown.tokenizer(texts).ids
    ids = ids[ids != 100]
    counts = np.bincount(ids, minlength=len(table)).astype(float)
    pairs = growth.pieces[growth.words :]
    for number, pieces in enumerate(pairs, 30522 + growth.words):
        counts[pieces] += counts[number]
    right = distilled_table(np.concatenate([vectors, longer]), counts[: 30522 + growth.words], 32, 0)
    right[100] = 0
    np.testing.assert_allclose(table[: len(right)], right, atol=1e-5)
    for number, pieces in enumerate(pairs, len(right)):
        np.testing.assert_allclose(table[number], right[pieces].sum(axis=0), atol=1e-5)


def test_a_teachers_vectors_are_rotated_once(minilm, documented, tmp_path, monkeypatch):
    """By the eigenvectors of their covariance; then the rotated ones are read from the cache, and give the
    same table.
    """
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    vectors = (
        np.random.default_rng(1).standard_normal((30522, 16)).astype(np.float32) * np.arange(1, 17)[::-1]
    )
    start = Start("a teacher", Tokenizer(minilm), Settings(), vectors.astype(np.float32), Teacher())
    first = table_of(start, documented)
    exact = PCA(16).fit_transform(vectors.astype(np.float64))
    (kept,) = (tmp_path / "starts").iterdir()
    found = load_tensors(kept)[0]["vectors"]
    np.testing.assert_allclose(np.abs(found), np.abs(exact), atol=1e-3)
    save_tensors(kept, {"vectors": 2 * found}, {})
    np.testing.assert_allclose(table_of(start, documented), first, rtol=1e-5)  # the table's scale is its own
    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(table_of(start, documented), first)

    def refuse(*_, **__):
        raise StorageError("cannot write")

    kept.unlink()
    monkeypatch.setattr(initial_tables, "save_tensors", refuse)
    np.testing.assert_array_equal(table_of(start, documented), first)


def test_a_teachers_vocabulary_grows_by_itself(minilm, documented):
    """Where pairs are trained on and words are frequent enough; not where none is asked for."""
    vectors = np.ones((30522, 16), np.float32)
    start = Start("a teacher", Tokenizer(minilm), Settings(), vectors, Teacher())
    asked = {"words": None, "pairs": None, "prune": None, "threads": 1}
    grown = with_vocabulary(start, documented, **asked)
    assert 50 < len(grown.new_rows) == grown.grown.words < 10_000
    assert grown.words == f"a teacher, {grown.grown.words:,} new words"
    few = read_pairs([("a b", "c d"), ("e f", "g h")])
    both = with_vocabulary(start, few, counted=documented, **asked).grown
    assert 50 < both.words < len(both)
    assert with_vocabulary(start, documented, **asked | {"words": 0}) is start
    assert with_vocabulary(start, few, **asked) is start
    with pytest.raises(DataError, match="occurs 5 times"):
        with_vocabulary(start, few, **asked | {"words": 5})
    labelled = LabelledTexts(documented.positives, documented.positives)
    assert with_vocabulary(start, labelled, **asked) is start
    assert with_vocabulary(start_from("random", None, documented, False), documented, **asked).grown is None


def test_a_random_start_grows(documented):
    start = start_from("random", None, documented, False)
    grown = grow_start(start, documented, words=0, pairs=50, threads=1)
    before, after = table_of(start, documented), table_of(grown, documented)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert len(after) == len(before) + 50
    assert np.abs(after[len(before) :]).min(axis=1).min() > 0


def test_pruned_rows_are_those_of_their_tokens(model, documented):
    start = start_from(model, None, documented, False)
    grown = grow_start(start, documented, words=30, pairs=100, threads=1)
    pruned = prune_start(grown, documented, 1)
    whole, less = table_of(grown, documented), table_of(pruned, documented)
    assert len(less) == pruned.tokenizer.vocabulary_size < len(whole)
    old, new = grown.tokenizer.vocabulary, pruned.tokenizer.vocabulary
    assert all(np.array_equal(less[number], whole[old[token]]) for token, number in new.items())
    names = {number: token for token, number in new.items()}
    assert {old[names[number]] for number in pruned.new_rows} == {*grown.new_rows.tolist()} & {
        old[token] for token in new
    }
    assert len(pruned.new_rows) > 100


@pytest.mark.parametrize(
    "more", [{"grow_words": 30, "grow_pairs": 100}, {"grow_pairs": 50, "prune_vocabulary": True}]
)
def test_a_killed_run_goes_on_to_the_same_bits(more, model, documented, tmp_path, monkeypatch):
    model.save(tmp_path / "start")
    options = QUICK | {"start": tmp_path / "start", "epochs": 1, "checkpoint_every": 5, **more}
    rows = list(zip(documented.anchors.to_pylist(), documented.positives.to_pylist(), strict=True))
    path = tmp_path / "pairs.tsv"
    clean = [
        (a.replace("\t", " ").replace("\n", " "), b.replace("\t", " ").replace("\n", " ")) for a, b in rows
    ]
    path.write_text("anchor\tpositive\n" + "".join(f"{a}\t{b}\n" for a, b in clean if '"' not in a + b))
    whole = train(path, out=tmp_path / "whole", **options)
    save = Checkpoints.save

    def and_stop(self, optimizer, *rest):
        save(self, optimizer, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(path, out=tmp_path / "m", **options)
    monkeypatch.setattr(Checkpoints, "save", save)
    again = train(out=tmp_path / "m", resume=True)
    np.testing.assert_array_equal(again.model.table, whole.model.table)
    assert StaticModel.load(tmp_path / "m").tokenizer.hash == whole.model.tokenizer.hash
    size = whole.model.tokenizer.vocabulary_size
    assert size < 30522 if "prune_vocabulary" in more else size == 30652


def test_numbers_out_of_range(pairs):
    for more in ({"grow_words": -1}, {"grow_pairs": 2.5}, {"grow_words": 10**7}):
        with pytest.raises(InputError, match=r"whole number from 0 to 1,000,000"):
            train(pairs, start="random", **more, **QUICK)
