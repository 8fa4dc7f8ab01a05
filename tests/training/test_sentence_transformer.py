"""The drop-in: real SentenceTransformers trained in place, beside torch's Adam on sentence-transformers' own
losses.
"""

import copy
import json
from functools import partial

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tokenizers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import BoW, Dense, Normalize, StaticEmbedding
from tokenizers import models, pre_tokenizers

from statim import StaticModel, fit_sentence_transformer
from statim.errors import DataError, InputError, ModelError
from statim.training.datasets.batches import order
from statim.training.loop.optimizer import BETA1, BETA2, EPSILON
from statim.training.loop.trainer import learning_rates
from statim.training.recipe import Recipe

WORDS = 60


def backend(**truncation):
    found = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i + 1 for i in range(WORDS)}}, unk_token="[UNK]")
    )
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    if truncation:
        found.enable_truncation(**truncation)
    return found


def static(*after, dim=32, size=0.05, unknown=True, tokenizer=None, dtype=torch.float32):
    """A model with a table of small numbers, as one that was distilled has."""
    table = (np.random.default_rng(0).standard_normal((WORDS + 1, dim)) * size).astype(np.float32)
    table[0] *= unknown
    module = StaticEmbedding(tokenizer or backend(), embedding_weights=table)
    return SentenceTransformer(modules=[module, *after], device="cpu").to(dtype)


def pairs(count=300, seed=0):
    """Pairs of texts whose words are of the same ten; of the last ten no word occurs."""
    rng = np.random.default_rng(seed)
    rows = []
    for topic in rng.integers(0, WORDS // 10 - 1, count):
        texts = [
            " ".join(f"w{i}" for i in topic * 10 + rng.integers(0, 10, rng.integers(3, 7))) for _ in range(3)
        ]
        rows.append({"anchor": texts[0] + " zzz", "positive": texts[1], "topic": int(topic)})
    return rows


def vectors_agree(model, folder, texts):
    model.save(str(folder))
    theirs = model.encode(texts, convert_to_numpy=True).astype(np.float32)
    ours = StaticModel.load(folder).encode(texts)
    exact = model[0].embedding.weight.dtype == torch.float32
    np.testing.assert_allclose(ours, theirs, atol=(1e-6 if exact else 4e-3) * np.abs(theirs).max())


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("limit", [None, 3])
def test_vectors_agree_before_and_after(normalize, unknown, limit, tmp_path):
    tokenizer = backend(max_length=limit) if limit else backend()
    model = static(*[Normalize()] * normalize, unknown=unknown, tokenizer=tokenizer)
    rows = pairs()
    texts = [
        *(row["anchor"] for row in rows[:40]),
        "",
        "zzz",
        "w1 zzz zzz",
        " ".join(f"w{i}" for i in range(50)),
    ]
    vectors_agree(model, tmp_path / "before", texts)
    weight = model[0].embedding.weight
    before = weight.detach().clone().numpy()
    assert fit_sentence_transformer(model, rows, epochs=2, levels=[8, 32], threads=2) is model
    vectors_agree(model, tmp_path / "after", texts)
    assert model[0].embedding.weight is weight
    assert weight.requires_grad
    after = weight.detach().numpy()
    np.testing.assert_array_equal(after[-10:], before[-10:])  # words that never occur
    moved = np.abs(after - before).max(axis=1)
    assert (moved[1:41] > 0).all()
    assert (moved[0] > 0) == (unknown and limit is None)  # beyond the limit nobody sees the unknown word
    assert 0.5 < after[1:41].std() / before[1:41].std() < 4  # of about the size it had
    assert tokenizer.truncation == (backend(max_length=limit).truncation if limit else None)


def test_the_limit_leaves_the_unknown_word_out():
    """What the test before this one relies on: every anchor has three words or more, and then the unknown
    one.
    """
    assert min(len(row["anchor"].split()) for row in pairs()) == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    model = static(dtype=dtype)
    before = model[0].embedding.weight.detach().clone()
    fit_sentence_transformer(model, pairs(), epochs=1)
    after = model[0].embedding.weight
    assert after.dtype == dtype
    assert (after != before).any()
    assert torch.equal(after[-10:], before[-10:])


@pytest.mark.parametrize("loss", ["contrastive", "cosent", "cosine", "triplet"])
@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_the_same_table_as_sentence_transformers_with_torch(loss, decay):
    """Its own loss inside its MatryoshkaLoss, torch's dense Adam, the same batches, rates and clipping."""
    rng = np.random.default_rng(1)
    texts = [[f"w{p[0]} w{p[1]} w{p[2]}" for p in rng.integers(0, WORDS, (96, 3))] for _ in range(3)]
    names = {"contrastive": ["anchor", "positive"], "triplet": ["anchor", "positive", "negative"]}.get(
        loss, ["text1", "text2"]
    )
    rows = dict(zip(names, texts, strict=False))
    if "text1" in rows:
        rows["score"] = (rng.integers(0, 5, 96) / 4).tolist()
    data = datasets.Dataset.from_dict(rows)
    ours = static(unknown=False)
    # in float64: in float32 what cancels out leaves noise, which Adam takes for a gradient
    theirs = copy.deepcopy(ours).double()
    options = {"levels": [8, 32], "weights": [0.5, 1.0], "batch": 16, "epochs": 2, "learning_rate": 0.02,
        "scale": 10.0,
               "triplet_margin": 0.4, "precision": "fp32", "weight_decay": decay}  # fmt: skip
    course = {"schedule": "cosine", "warmup": 0.3} if decay else {}
    most = 0.05 if decay else 1.0
    options |= course | ({"clip": most} if decay else {})
    fit_sentence_transformer(ours, data, loss=loss, seed=3, **options)
    make = {
        "contrastive": partial(losses.MultipleNegativesRankingLoss, scale=10.0),
        "cosent": partial(losses.CoSENTLoss, scale=10.0),
        "cosine": losses.CosineSimilarityLoss,
        "triplet": partial(
            losses.TripletLoss, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.4
        ),
    }[loss]
    whole = losses.MatryoshkaLoss(theirs, make(theirs), [32, 8], [1.0, 0.5])
    weight = theirs[0].embedding.weight
    size = float(weight.detach().double().square().mean().sqrt())
    rates = learning_rates(12, Recipe.make(96, 32, learning_rate=0.02, **course))
    adam = torch.optim.AdamW([weight], betas=(BETA1, BETA2), eps=EPSILON, weight_decay=decay / size)
    for step in range(1, 13):
        chosen = order(3, (step - 1) // 6, 96)[(step - 1) % 6 * 16 :][:16]
        batch = [[rows[name][i] for i in chosen] for name in names]
        labels = (
            torch.tensor([rows["score"][i] for i in chosen], dtype=torch.float64) if "score" in rows else None
        )
        weight.grad = None
        whole([theirs.preprocess(column) for column in batch], labels).backward()
        torch.nn.utils.clip_grad_norm_(
            [weight], most / size
        )  # a gradient of the table at size 1 is smaller by size
        adam.param_groups[0]["lr"] = rates[step] * size
        adam.step()
    found, expected = ours[0].embedding.weight.detach().numpy(), weight.detach().numpy()
    start = static(unknown=False)[0].embedding.weight.detach().numpy()
    assert np.abs(expected - start).max() > size / 10
    np.testing.assert_allclose(found, expected, atol=2e-3 * size)


@pytest.mark.parametrize("kind", ["dicts", "arrow", "pandas", "datasets"])
def test_it_learns_from_any_table(kind):
    rows = pairs()
    given = {
        "dicts": lambda: rows,
        "arrow": lambda: pa.Table.from_pylist(rows),
        "pandas": lambda: pd.DataFrame(rows),
        "datasets": lambda: datasets.Dataset.from_list(rows),
    }[kind]()
    model = static()

    def purity():
        """How often a word's nearest other word is of its own ten."""
        vectors = model.encode([f"w{i}" for i in range(50)])
        near = (model.similarity(vectors, vectors) - 2 * torch.eye(50)).argmax(dim=1).numpy()
        return (near // 10 == np.arange(50) // 10).mean()

    assert purity() < 0.5
    fit_sentence_transformer(model, given, epochs=5)
    assert purity() > 0.95


def test_scores_classes_and_named_columns():
    rows = pairs()
    model = static()
    other = [
        {"q": row["anchor"], "a": row["positive"], "n": f"w{i % 50}", "s": row["topic"] % 2}
        for i, row in enumerate(rows)
    ]
    before = model[0].embedding.weight.detach().clone()
    for loss, columns, data in (
        ("cosent", ["q", "a", "s"], other),
        ("contrastive", ["q", "a"], other),
        ("triplet", ["q", "a", "n"], other),
        ("classes", ["anchor", "topic"], rows),
    ):
        fit_sentence_transformer(model, data, loss=loss, columns=columns, epochs=1)
        after = model[0].embedding.weight.detach().clone()
        assert (after != before).any()
        before = after


@pytest.mark.parametrize(
    "path",
    [
        "sentence_transformers.models.StaticEmbedding",
        "sentence_transformers.models.StaticEmbedding.StaticEmbedding",
        "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
    ],
)
def test_both_class_paths(path, tmp_path):
    folder = tmp_path / "model"
    static(Normalize()).save(str(folder))
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    model = SentenceTransformer(str(folder), device="cpu")
    before = model[0].embedding.weight.detach().clone()
    fit_sentence_transformer(model, pairs(), epochs=1)
    assert (model[0].embedding.weight != before).any()


class Sum(StaticEmbedding):
    """One that somebody has changed."""


def summing():
    model = static()
    model[0].embedding.mode = "sum"
    return model


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: "a name", "the model is a str; give a SentenceTransformer"),
        (lambda: SentenceTransformer(modules=[BoW(["a"])], device="cpu"), "first module is BoW"),
        (lambda: static(Dense(32, 8)), "a Dense after its StaticEmbedding"),
        (lambda: static(Normalize(), Normalize()), "a Normalize after its"),
        (lambda: static(Normalize(module_output_name="other")), "a Normalize after its"),
        (summing, "does not simply average"),
        (
            lambda: SentenceTransformer(modules=[Sum(backend(), embedding_dim=8)], device="cpu"),
            "first module is Sum",
        ),
        (
            lambda: static(tokenizer=backend(max_length=4, direction="left")),
            ("cuts long texts at their beginning"),
        ),
        (lambda: static(size=0.0), "zero everywhere"),
        (lambda: static(size=float("nan")), "NaN or infinity"),
    ],
)
def test_other_models_are_refused(make, match):
    with pytest.raises(ModelError, match=match):
        fit_sentence_transformer(make(), pairs())


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"loss": "mse"}, InputError, "loss is 'mse'"),
        ({"levels": [64]}, InputError, "Matryoshka level"),
        ({"columns": ["anchor"]}, InputError, "name anchor, positive and negatives"),
        ({"columns": ["anchor", "positive", "topic"], "loss": "classes"}, InputError, "name text and label"),
        ({"columns": ["anchor", "nowhere"]}, DataError, "nowhere"),
        ({"token_dropout": 0.95}, InputError, "token dropout"),
        ({"schedule": "stairs"}, InputError, "schedule"),
        ({"false_negative_margin": 3.0}, InputError, "margin"),
        ({"warmup": 2.0}, InputError, "warm"),
        ({"loss": "triplet"}, InputError, "needs negatives"),
        ({"loss": "cosent"}, DataError, "which column is the score"),
    ],
)  # fmt: skip
def test_what_fails_leaves_the_model_as_it_was(options, kind, match):
    model = static()
    before = model[0].embedding.weight.detach().clone()
    with pytest.raises(kind, match=match):
        fit_sentence_transformer(model, pairs(), **options)
    assert torch.equal(model[0].embedding.weight, before)
