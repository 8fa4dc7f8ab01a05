"""Learning from a teacher: losses against autograd and sentence-transformers, targets against NumPy and
scikit-learn, whole runs.
"""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from statim.data.documents.plain import PlainTexts, read_plain
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError, InputError
from statim.evaluation.encoders import load_encoder
from statim.model import StaticModel
from statim.search.index import Index
from statim.settings import Settings
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import Stream
from statim.training.datasets.sets import TextSet, training_data
from statim.training.datasets.views import Views
from statim.training.distillation import targets as module
from statim.training.distillation.targets import axes_of, mapped, turned
from statim.training.distillation.teacher_targets import texts_of, weights_of
from statim.training.initial_tables import unit_scale, with_lengths
from statim.training.losses.objectives import Distillation, Mixed, objective
from statim.training.losses.pairwise import distance, kl, margin_mse, pairwise
from statim.training.options import PRESETS, TrainOptions, values_of, with_preset
from statim.training.recipe import Recipe
from statim.training.run.checkpoint import Checkpoints
from statim.training.train import train
from statim.vocabulary import learn_wordpiece
from transformers_made import tiny_bert

KINDS = ("distance", "margin-mse", "kl")


def problem(seed, B, d, kind):
    rng = np.random.default_rng(seed)
    runs = np.ones(B, int) if kind == "distance" else 1 + rng.integers(0, 4, B)
    offsets = np.append(0, np.cumsum(runs))
    return rng.standard_normal((B + offsets[-1], d)), offsets, rng.uniform(-1, 1, offsets[-1])


def loss_of(kind, offsets, scores, scale):
    return {
        "distance": distance,
        "margin-mse": partial(margin_mse, offsets=offsets, scores=scores),
        "kl": partial(kl, offsets=offsets, scores=scores, scale=scale),
    }[kind]


def autograd(kind, vectors, offsets, scores, levels, weights, scale):
    v = torch.tensor(vectors, dtype=torch.float64, requires_grad=True)
    t, B, total = torch.tensor(scores), len(offsets) - 1, 0.0
    for level, weight in zip(levels, weights, strict=True):
        unit = torch.nn.functional.normalize(v[:, :level], dim=1)
        values = []
        for i in range(B):
            e = slice(offsets[i], offsets[i + 1])
            c = unit[B:][e] @ unit[i]
            if kind == "distance":
                values.append(1 - c[0])
            elif kind == "margin-mse":
                values += list(((c[0] - c[1:]) - (t[e][0] - t[e][1:])) ** 2)
            else:
                p = torch.softmax(scale * t[e], 0)
                values.append((p * (p.log() - torch.log_softmax(scale * c, 0))).sum())
        total = total + weight * (torch.stack(values).mean() if values else v.sum() * 0)
    total.backward()
    return total.item(), v.grad.numpy()


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1), B=st.integers(1, 12),
    threads=st.sampled_from([1, 2, 5]),
    levels=st.sampled_from([(16,), (4, 16), (2, 3, 10, 16)]), scale=st.sampled_from([1.0, 20.0]),
)  # fmt: skip
def test_gradient_equals_autograd_in_float64(kind, seed, B, levels, scale, threads):
    vectors, offsets, scores = problem(seed, B, levels[-1], kind)
    weights = np.random.default_rng(seed).uniform(0.2, 2.0, len(levels))
    loss, gradient = pairwise(
        vectors,
        offsets,
        loss_of(kind, offsets, scores, scale),
        levels=levels,
        weights=weights,
        threads=threads,
    )
    expected_loss, expected = autograd(kind, vectors, offsets, scores, levels, weights, scale)
    assert loss == pytest.approx(expected_loss, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("kind", ["margin-mse", "kl"])
@pytest.mark.parametrize("negatives", [1, 3])
def test_equals_sentence_transformers(kind, negatives):
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss
    from sentence_transformers.util import pairwise_cos_sim

    B, d, scale, n = 24, 32, 20.0, 1 + negatives
    rng = np.random.default_rng(4)
    vectors, scores = rng.standard_normal((B * (1 + n), d)), rng.uniform(-1, 1, (B, n))
    v = torch.tensor(vectors, requires_grad=True)
    columns = [v[:B], *(v[B + place :: n] for place in range(n))]
    loss, factor = MarginMSELoss(None, similarity_fct=pairwise_cos_sim), 1.0
    if kind == "kl":
        loss = DistillKLDivLoss(None, similarity_fct=pairwise_cos_sim, temperature=1 / scale)
        factor = scale**2
    value = factor * loss.compute_loss_from_embeddings(columns, torch.tensor(scores))
    value.backward()
    offsets = np.arange(0, B * n + 1, n)
    found, gradient = pairwise(vectors, offsets, loss_of(kind, offsets, scores.ravel(), scale), levels=(d,))
    assert found == pytest.approx(value.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, v.grad.numpy(), rtol=0, atol=1e-9 * np.abs(gradient).max())


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return unit(rng.standard_normal((300, 24)) @ rng.standard_normal((24, 24)) + 1).astype(np.float16)


def test_turned_vectors_keep_their_cosines_and_prefixes_are_the_best(vectors, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    wide = vectors.astype(np.float64)
    whole = turned(vectors, axes_of(vectors, 24)).astype(np.float64)
    np.testing.assert_allclose(whole @ whole.T, wide @ wide.T, atol=4e-3)
    lost = np.linalg.svd(wide, compute_uv=False)
    for dim in (1, 5, 24):
        prefix = turned(vectors, axes_of(vectors, dim))
        assert prefix.shape == (300, dim)
        np.testing.assert_allclose(prefix, whole[:, :dim], atol=4e-3)
        kept = (prefix.astype(np.float64) ** 2).sum()
        assert kept == pytest.approx((lost[:dim] ** 2).sum(), rel=2e-3)


def test_the_start_is_mapped_by_ridge_regression(vectors):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(1)
    table = rng.standard_normal((40, 16)).astype(np.float32)
    table[0] = 0
    offsets = np.append(0, np.cumsum(rng.integers(1, 6, 300)))
    ids = np.concatenate([rng.choice(40, size, replace=False) for size in np.diff(offsets)])
    bags = Bags(
        ids.astype(np.int32), np.ones(len(ids), np.uint16), offsets, np.diff(offsets).astype(np.int32)
    )
    found = mapped(table, bags, np.arange(300), vectors, 2)
    pooled = np.stack([table[ids[a:b]].mean(axis=0) for a, b in itertools.pairwise(offsets)])
    pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    alpha = module.RIDGE * (pooled**2).sum() / 16
    oracle = Ridge(alpha=alpha, fit_intercept=False).fit(pooled, unit(vectors.astype(np.float64)))
    np.testing.assert_allclose(found, unit_scale(table @ oracle.coef_.T.astype(np.float32)), atol=1e-3)
    assert not found[0].any()
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1, rel=1e-5)


def test_a_stream_takes_every_text_once_a_turn():
    one, other = Stream(10, 3, 7), Stream(10, 3, 7)
    turns = [np.concatenate([one(3 * turn + place) for place in range(3)]) for turn in range(40)]
    assert all(len(set(turn.tolist())) == 9 for turn in turns)
    assert np.bincount(np.concatenate(turns)).min() > 25
    np.testing.assert_array_equal(other(100), turns[33][3:6])  # whatever was asked before
    assert Stream(2, 8, 0)(5).tolist() in ([0, 1], [1, 0])


@pytest.fixture(scope="module")
def plain(rows):
    return PlainTexts(pa.array([text for row in rows for text in row], pa.large_string()))


def test_a_mixed_step_adds_the_gradients_of_both(pairs, plain, vectors):
    tokenizer = learn_wordpiece(list(pairs.columns))
    data = TrainingSet.of(pairs, tokenizer)
    rng = np.random.default_rng(0)
    aims = unit(rng.standard_normal((len(plain), 24))).astype(np.float16)
    beside = TextSet.of(plain, tokenizer).behind(data.bags)
    taught = TextSet(beside.bags, beside.texts, aims)
    recipe = Recipe.make(
        len(pairs), 24, batch=16, levels=[8, 24], weights=[1, 3], distil_weight=5.0, precision="fp32"
    )
    inner, mixed = objective(data, recipe, 1), Mixed(objective(data, recipe, 1), taught, recipe, 1)
    texts, wanted = mixed.batch(np.arange(16), 0, 3)
    own, _ = inner.batch(np.arange(16), 0, 3)
    np.testing.assert_array_equal(texts[: len(own)], own)
    more = texts[len(own) :]
    assert len(more) == 16
    assert more.min() >= len(data.bags.totals)
    # the joined bags hold what each side's did
    chosen = more - len(data.bags.totals)
    alone = TextSet.of(plain, tokenizer).bags
    table = rng.standard_normal((tokenizer.vocabulary_size, 24)).astype(np.float32)
    pooled = taught.bags.pooled(table, texts, 1)
    np.testing.assert_array_equal(pooled[: len(own)], data.bags.pooled(table, own, 1))
    np.testing.assert_array_equal(pooled[len(own) :], alone.pooled(table, chosen, 1))
    loss, gradient = mixed(pooled, wanted)
    first, expected = inner(pooled[: len(own)], inner.batch(np.arange(16), 0, 3)[1])
    v, t = torch.tensor(pooled[len(own) :], requires_grad=True), torch.tensor(aims[chosen].astype(np.float32))
    second = sum(
        share * (1 - torch.nn.functional.cosine_similarity(v[:, :level], t[:, :level])).mean()
        for level, share in ((8, 0.25), (24, 0.75))
    )
    second.backward()
    assert loss == pytest.approx(first + 5 * second.item(), rel=1e-5)
    np.testing.assert_allclose(gradient[: len(own)], expected, atol=1e-6)
    np.testing.assert_allclose(gradient[len(own) :], 5 * v.grad.numpy(), atol=1e-6)


def test_pairs_are_asked_of_the_teacher_as_queries_and_documents(minilm):
    given_pairs = Pairs(pa.array(["a", "b", "a"]), pa.array(["c", "a", "d"]), (pa.array(["e", None, "b"]),))
    data = training_data(given_pairs, Tokenizer(minilm))
    texts = texts_of(given_pairs, data).to_pylist()
    assert [texts[number] for number in data.anchors] == ["a", "b", "a"]
    assert [texts[number] for number in data.candidates[:, 0]] == ["c", "a", "d"]
    assert sorted(texts) == list("abcde")
    rng = np.random.default_rng(0)
    queries, documents = (unit(rng.standard_normal((5, 8))).astype(np.float16) for _ in range(2))
    views = Views(queries, documents, np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32)[::-1].copy())
    taught = TrainingSet(**{**vars(data), "views": views})
    aim = objective(taught, Recipe.make(3, 8, loss="margin-mse"), 1)
    chosen, (offsets, scores) = aim.batch(np.arange(3), 0, 0)
    assert offsets.tolist() == [0, 2, 3, 5]
    wide = [one.astype(np.float32) for one in (queries, documents)]
    expected = [
        wide[0][chosen[i]] @ wide[1][4 - chosen[3 + e]] for i, e in ((0, 0), (0, 1), (1, 2), (2, 3), (2, 4))
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    asymmetric = objective(taught, Recipe.make(3, 8, levels=[8], batch=3, asymmetric=True), 1)
    anchors, (columns, fixed) = asymmetric.batch(np.arange(3), 0, 0)
    assert [texts[number] for number in anchors] == ["a", "b", "a"]
    aimed = [["c", "a", "d"][i] for i in range(3)]
    for i, text in enumerate(aimed):
        np.testing.assert_array_equal(
            fixed[columns.columns[i]], documents[4 - texts.index(text)].astype(np.float32)
        )
    with pytest.raises(InputError, match="needs a teacher's vectors"):
        objective(data, Recipe.make(3, 8, loss="kl"), 1)


QUICK = {"start": "random", "heldout": 0, "threads": 2, "baselines": False, "batch": 16, "epochs": 2}


@pytest.fixture(scope="module")
def teacher():
    return Teacher.load()


@pytest.fixture
def _loaded_once(teacher, monkeypatch):
    monkeypatch.setattr(Teacher, "load", staticmethod(lambda *_, **__: teacher))


@pytest.fixture(scope="module")
def negatives(rows):
    return {
        "anchor": [a for a, _ in rows],
        "positive": [p for _, p in rows],
        "negative": [rows[(i + 7) % len(rows)][1] for i in range(len(rows))],
    }


@pytest.mark.parametrize(
    "options",
    [
        {"distil": "pairs"},
        {"distil": {"text": ["words of others", "sort and open", "a list"]}, "distil_weight": 3.0},
        {"loss": "margin-mse"},
        {"loss": "kl", "distil": "pairs"},
        {"documents_by": "all-MiniLM-L6-v2"},
        {"recipe": "general", "batch": 16, "epochs": 3},
        {"distil": "pairs", "teacher": ["all-MiniLM-L6-v2", "another"]},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
@pytest.mark.usefixtures("_loaded_once")
def test_a_killed_run_goes_on_to_the_same_bits(negatives, tmp_path, monkeypatch, options):
    options = QUICK | {"checkpoint_every": 7, **options}
    whole = train(negatives, out=tmp_path / "whole", **options)
    save = Checkpoints.save

    def and_stop(self, optimizer, *rest):
        save(self, optimizer, *rest)
        if optimizer.step == 14:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(negatives, out=tmp_path / "m", **options)
    monkeypatch.setattr(Checkpoints, "save", save)
    again_given = {"distil": options["distil"]} if isinstance(options.get("distil"), dict) else {}
    again = train(negatives, out=tmp_path / "m", resume=True, **again_given)
    assert list(again.losses) == list(whole.losses)
    assert np.mean(again.losses[-5:]) < np.mean(again.losses[:5])
    np.testing.assert_array_equal(again.model.table, whole.model.table)
    if again_given:
        monkeypatch.setattr(Checkpoints, "save", and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(negatives, out=tmp_path / "n", **options)
        monkeypatch.setattr(Checkpoints, "save", save)
        with pytest.raises(InputError, match="the texts to distil or their teacher are not those"):
            train(negatives, out=tmp_path / "n", resume=True, distil={"text": ["something else"]})


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (False, {"distil": "texts"}),
        (True, {"distil": "pairs"}),
        (True, {"distil": "sentences"}),
        (True, {"distil": "texts"}),
        (True, {"documents_by": "all-MiniLM-L6-v2"}),
    ],
)
@pytest.mark.usefixtures("_loaded_once")
def test_a_teacher_reads_once_for_every_split_and_seed(rows, tmp_path, monkeypatch, data, options):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path))
    if options.get("distil") == "texts":
        options = {"distil": {"text": [f"{a} and more of it" for a, _ in rows]}}
    quick = QUICK | {"epochs": 1, "development": 0} | ({} if data else {"dim": 16})

    def blocks():
        return sorted(
            (tmp_path / "teachers").glob("*/*.safetensors")
        )  # not those of single questions, beside

    first = train(rows if data else None, **quick | options | {"heldout": 20})
    read = blocks()
    assert read
    for more in ({"heldout": 0}, {"heldout": 30, "seed": 1}):
        other = train(rows if data else None, **quick | options | more)
        assert other.pairs["train"] != first.pairs["train"]
        assert blocks() == read


@pytest.mark.usefixtures("_loaded_once")
def test_plain_texts_alone_come_closer_to_the_teacher(rows, tmp_path):
    texts = {"text": [a for a, _ in rows]}
    # eight random numbers a word are too few for ridge regression to find the teacher by
    result = train(distil=texts, start="random", dim=8, heldout=16, threads=2, epochs=10, out=tmp_path / "m")
    found = {row.model: row.metrics["cosine"] for row in result.comparison.rows}
    assert found["trained"] > found["start"]
    assert np.mean(result.losses[-5:]) < 0.7 * np.mean(result.losses[:5])
    assert "Closeness to the teacher" in str(result)
    assert result.model.dim == 8
    assert StaticModel.load(tmp_path / "m").settings == Settings()


@pytest.mark.usefixtures("_loaded_once")
def test_epochs_of_distillation_before_the_pairs_bring_vectors_closer_to_the_teacher(rows, teacher):
    texts = [a for a, _ in rows]
    wanted = teacher.encode(texts)

    def off(**options):
        options = QUICK | {"epochs": 1, "learning_rate": 0.01, "dim": 32} | options
        result = train(rows, distil={"text": texts}, development=0, **options)
        found = unit(result.model.encode(texts))
        assert "distil" in result.seconds or not options.get("distil_epochs")
        return np.abs(found @ found.T - wanted @ wanted.T).mean()

    assert off(distil_epochs=10) < 0.95 * off()
    assert off(distil_epochs=0) == off()
    # rows that must not move do not
    frozen = train(
        rows, distil={"text": texts}, distil_epochs=2, freeze=["a"], development=0, **QUICK | {"epochs": 1}
    ).model
    before = train(
        rows,
        distil={"text": texts},
        freeze=["a"],
        development=0,
        **QUICK | {"epochs": 1, "learning_rate": 1e-9},
    ).model
    row = frozen.tokenizer.vocabulary["a"]
    np.testing.assert_array_equal(frozen.table[row], before.table[row])


def test_cosines_come_close_to_the_mean_of_several_teachers(rows, teacher, tmp_path):
    texts = [a for a, _ in rows]
    folder = tiny_bert(
        tmp_path / "tiny", sorted({word for text in texts for word in text.strip("?").split()})
    )
    each = [one.encode(texts) for one in (teacher, Teacher.load(folder))]
    wanted = np.mean([v @ v.T for v in each], axis=0)

    def off(*teachers, **options):
        options = QUICK | {"epochs": 20, "dim": 16, "learning_rate": 0.01} | options
        found = unit(train(distil={"text": texts}, teacher=list(teachers), **options).model.encode(texts))
        return np.abs(found @ found.T - wanted).mean()

    with pytest.raises(InputError, match=r"dim is 512, but the teachers all-MiniLM-L6-v2 and .* have 416"):
        off("all-MiniLM-L6-v2", folder, dim=512)
    both = off("all-MiniLM-L6-v2", folder)
    assert both < 0.8 * min(off("all-MiniLM-L6-v2"), off(folder))
    assert both == pytest.approx(off(folder, "all-MiniLM-L6-v2"), rel=0.1)


def test_weights_of_teachers_weigh_their_cosines(rows, teacher, tmp_path):
    texts = [a for a, _ in rows]
    folder = str(
        tiny_bert(tmp_path / "tiny", sorted({word for text in texts for word in text.strip("?").split()}))
    )
    one, other = (found @ found.T for found in (teacher.encode(texts), Teacher.load(folder).encode(texts)))
    options = QUICK | {"epochs": 20, "dim": 16, "learning_rate": 0.01, "distil": {"text": texts}}
    trained = train(teacher={"all-MiniLM-L6-v2": 1, folder: 9}, **options)
    assert trained.recipe.teacher_weights == (1.0, 9.0)
    found = unit(trained.model.encode(texts))
    off = [np.abs(found @ found.T - (1 - part) * one - part * other).mean() for part in (0.5, 0.9)]
    assert off[1] < 0.8 * off[0]


@pytest.mark.parametrize(
    ("given", "weights"),
    [(None, ()), ("a", ()), (["a", "b"], ()), ({"a": 2, "b": 2}, ()), ({"a": 1, "b": 0.5}, (1.0, 0.5))],
)
def test_weights_that_are_given(given, weights):
    assert weights_of(given) == weights


@pytest.mark.parametrize("weight", [0, -1, float("nan"), "much", True])
def test_weights_that_are_none(weight):
    with pytest.raises(InputError, match="the weight of the teacher b is"):
        weights_of({"a": 1, "b": weight})


@pytest.mark.usefixtures("_loaded_once")
def test_queries_search_the_teachers_documents(rows, teacher, tmp_path, monkeypatch):
    model = train(rows, documents_by="all-MiniLM-L6-v2", out=tmp_path / "m", **QUICK | {"epochs": 6}).model
    loaded = StaticModel.load(tmp_path / "m")
    assert loaded.settings.documents_hash == teacher.hash
    assert loaded.dim == teacher.dim
    documents = [p for _, p in rows[:40]]
    index = Index.build(loaded, documents, tmp_path / "index")
    assert index.info()["documents_by"] == "all-MiniLM-L6-v2"
    expected = teacher.encode_document(documents) @ loaded.encode_query(rows[3][0])
    hits = index.search(rows[3][0], 5, mode="vector")
    assert [int(hit.id) for hit in hits] == np.argsort(-expected, kind="stable")[:5].tolist()
    beside = load_encoder(tmp_path / "m")
    np.testing.assert_array_equal(beside.encode_query(documents), loaded.encode_query(documents))
    np.testing.assert_array_equal(beside.encode_document(documents), teacher.encode_document(documents))
    assert "It is for queries alone" in (tmp_path / "m" / "README.md").read_text()
    found = [index.search(a, 1, mode="vector")[0].text == p for a, p in rows[:40]]
    assert np.mean(found) > 0.5  # they share no words
    with pytest.raises(InputError, match=r"has 384 dimensions and the model's queries have 32"):
        other = StaticModel(model.table[:, :32], model.tokenizer)
        Index.build(other, documents, tmp_path / "x", documents_by=teacher)
    monkeypatch.setitem(teacher.__dict__, "hash", "another")
    with pytest.raises(InputError, match="is not the one that the model's queries were trained against"):
        Index.build(loaded, documents, tmp_path / "x", documents_by=teacher)
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("_loaded_once")
def test_refusals(rows, tmp_path, minilm):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text(" \n\n")
    with pytest.raises(DataError, match=r"empty.txt"):
        train(rows, distil=tmp_path / "empty.txt", **QUICK)
    with pytest.raises(DataError, match="no text to learn from a teacher on"):
        train(distil=tmp_path / "blank.txt", **QUICK)
    with pytest.raises(InputError, match="dim is 512, but the teacher all-MiniLM-L6-v2 has 384"):
        train(rows, distil="pairs", dim=512, **QUICK)
    with pytest.raises(InputError, match=r"dim is 128.*give 384, as its documents have"):
        train(rows, documents_by="all-MiniLM-L6-v2", dim=128, **QUICK)
    with pytest.raises(InputError, match="needs negatives"):
        train(rows, loss="margin-mse", **QUICK)
    with pytest.raises(InputError, match="needs both pairs and texts"):
        train(rows, distil_weight=1.0, **QUICK)
    with pytest.raises(
        InputError, match="epochs of distillation before the pairs are given, which need both"
    ):
        train(rows, distil_epochs=2, **QUICK)
    with pytest.raises(InputError, match="distil epochs is -1"):
        train(rows, distil="pairs", distil_epochs=-1, **QUICK)
    with pytest.raises(InputError, match="distil weight is -1"):
        train(rows, distil="pairs", distil_weight=-1.0, **QUICK)
    with pytest.raises(InputError, match="no pairs were given"):
        train(distil="pairs", **QUICK)
    with pytest.raises(InputError, match="nothing is to be learned from it"):
        train(rows, teacher="all-MiniLM-L6-v2", **QUICK)
    with pytest.raises(InputError, match=r"a teacher is named twice \(a, b, a\)"):
        train(rows, distil="pairs", teacher=["a", "b", "a"], **QUICK)
    with pytest.raises(InputError, match="2 teachers are named, but the loss kl can only be of one"):
        train(rows, loss="kl", teacher=["a", "b"], **QUICK)
    with pytest.raises(
        InputError, match="2 teachers are named, but the documents of --documents-by can only be of one"
    ):
        train(rows, documents_by="a", teacher=["a", "b"], **QUICK)
    with pytest.raises(InputError, match="Matryoshka levels cannot be trained against"):
        train(rows, documents_by="all-MiniLM-L6-v2", matryoshka=[64], **QUICK)
    with pytest.raises(InputError, match="distillation cannot be trained on a GPU"):
        from statim.training.device.fit import fit
        from statim.training.loop.trainer import begin

        data = training_data(Pairs(*map(pa.array, zip(*rows, strict=True))), Tokenizer(minilm))
        recipe = Recipe.make(len(data), 8, levels=[8], distil_weight=1.0)
        fit(data, begin(np.ones((30522, 8), np.float32), data, recipe, 1), recipe)


def test_texts_are_read_once_each(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\none\n")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n{"text": "three"}\n')
    found = read_plain([tmp_path / "a.txt", tmp_path / "b.jsonl"])
    assert found.texts.to_pylist() == ["one", "two", "three"]
    assert (found.report.rows, found.report.empty, found.report.duplicates) == (6, 1, 2)
    assert Distillation(TextSet(None, np.arange(3)), Recipe.make(3, 8), 1)._weights == [1.0]


def test_lengths_of_rows_to_a_power(pairs):
    table = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32) * np.arange(30)[:, None]
    found = with_lengths(table.astype(np.float32), 0.5)
    long, short = (np.linalg.norm(one.astype(np.float64), axis=1) for one in (table, found))
    np.testing.assert_allclose(found[1:] / short[1:, None], table[1:] / long[1:, None], atol=1e-6)
    np.testing.assert_allclose((short[2:] / short[1:-1]) ** 2, long[2:] / long[1:-1], rtol=1e-5)
    assert short[1:].mean() == pytest.approx(long[1:].mean())
    assert not found[0].any()
    plain, powered = (
        train(pairs, **QUICK, development=0, length_power=power).model.table for power in (1.0, 0.5)
    )
    np.testing.assert_array_equal(powered, with_lengths(plain, 0.5))
    with pytest.raises(InputError, match="length power is 3"):
        train(pairs, **QUICK, length_power=3.0)


def test_a_preset_gives_what_is_not_given():
    found = with_preset(TrainOptions(recipe="general", batch=64, keep="best"))
    expected = replace(PRESETS["general"], recipe="general", batch=64, keep="best")
    assert values_of(found) == values_of(expected)
    assert (found.distil, found.epochs) == ("sentences", 1)
    assert values_of(with_preset(TrainOptions(batch=64))) == values_of(TrainOptions(batch=64))
    with pytest.raises(InputError, match="recipe is 'best'; it must be general"):
        train("python-docs", recipe="best")
