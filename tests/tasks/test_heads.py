"""Heads against scikit-learn, in float64; calibration and figures of merit likewise."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from statim.errors import InputError
from statim.tasks.classify import calibration, fitting
from statim.tasks.classify.heads import Neighbours
from statim.tasks.classify.inputs import Inputs
from statim.tasks.classify.judging import judge
from statim.tasks.classify.labels import of_lists
from statim.tasks.classify.model_selection import fit_head
from statim.tasks.classify.ngrams import PAIR, Ngrams
from statim.tokenizer.tokens import Tokens


def one_hot(codes, c):
    return np.eye(c, dtype=bool)[codes]


@pytest.fixture(scope="module")
def blobs():
    random = np.random.default_rng(1)
    codes = random.integers(0, 4, 300)
    vectors = random.standard_normal((4, 10))[codes] + 0.9 * random.standard_normal((300, 10))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), codes


def only(kind, inputs, targets, value, several=False):
    (head,) = fitting.path(kind, inputs, targets, [value], several=several)
    return head


@pytest.mark.parametrize("strength", [0.3, 30.0])
def test_logistic_regression_is_scikit_learns(blobs, strength, monkeypatch):
    monkeypatch.setattr(fitting, "TOLERANCE", 1e-6)
    monkeypatch.setattr(fitting, "ROWS", 128)  # several blocks
    vectors, codes = blobs
    head = only("logistic", Inputs(vectors), one_hot(codes, 4), strength)
    oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(vectors.astype(np.float64), codes)
    ours = calibration.Calibration(1.0)(head.scores(Inputs(vectors)), False)
    np.testing.assert_allclose(ours, oracle.predict_proba(vectors), atol=2e-4)
    np.testing.assert_allclose(head.weights.T - head.weights.T.mean(0), oracle.coef_, atol=3e-3)


def test_logistic_regression_with_several_labels_is_one_for_each(blobs, monkeypatch):
    monkeypatch.setattr(fitting, "TOLERANCE", 1e-6)
    vectors, codes = blobs
    targets = np.stack([codes == 0, codes < 2, codes > 1], axis=1)
    head = only("logistic", Inputs(vectors), targets, 3.0, several=True)
    scores = head.scores(Inputs(vectors))
    for column in range(3):
        oracle = LogisticRegression(C=3.0, tol=1e-8, max_iter=5000).fit(
            vectors.astype(np.float64), targets[:, column]
        )
        np.testing.assert_allclose(scores[:, column], oracle.decision_function(vectors), atol=5e-3)


def test_rare_labels_are_fitted_as_strictly_as_frequent_ones():
    """Where the search ends early, a head along the path is not the one that is fitted in the end, nor are
    its probabilities.
    """
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2500, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = (vectors @ random.standard_normal((12, 30)) + 0.3 * random.standard_normal((2500, 30))) > 2.2
    assert 0 < targets.mean() < 0.03
    targets = targets[:, targets.any(axis=0)]
    inputs, grid = Inputs(vectors), fitting.GRIDS["logistic"]
    for value, head in zip(grid, fitting.path("logistic", inputs, targets, grid, several=True), strict=True):
        alone = only("logistic", inputs, targets, value, several=True)
        np.testing.assert_allclose(head.scores(inputs).std(), alone.scores(inputs).std(), rtol=0.05)
    fitted = fit_head("logistic", inputs, targets, several=True)
    assert len(set(fitted.tried.values())) == len(fitted.tried)
    p = fitted.calibration(fitted.head.scores(inputs), True)
    assert abs(p.sum() / targets.sum() - 1) < 0.1


def test_ridge_is_scikit_learns(blobs):
    vectors, codes = blobs
    for several in (False, True):
        targets = one_hot(codes, 4)
        for head, alpha in zip(
            fitting.path("ridge", Inputs(vectors), targets, [5.0, 0.1], several=several),
            [5.0, 0.1],
            strict=True,
        ):
            oracle = RidgeClassifier(alpha=alpha, solver="cholesky").fit(vectors.astype(np.float64), codes)
            np.testing.assert_allclose(
                head.scores(Inputs(vectors)), oracle.decision_function(vectors), atol=1e-4
            )


def test_centroids_are_the_nearest(blobs):
    vectors, codes = blobs
    head = only("centroid", Inputs(vectors), one_hot(codes, 4), 0.0)
    means = np.stack([vectors[codes == c].mean(0) for c in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    distances = ((vectors[:, None] - means) ** 2).sum(axis=2)
    np.testing.assert_array_equal(head.scores(Inputs(vectors)).argmax(1), distances.argmin(1))


@pytest.mark.parametrize("k", [1, 7, 300])
def test_neighbours_vote_by_their_cosines(blobs, k):
    vectors, codes = blobs
    head = Neighbours(vectors[:250], one_hot(codes[:250], 4), min(k, 250))
    found = np.exp(head.scores(Inputs(vectors[250:])))
    cosines = vectors[250:].astype(np.float64) @ vectors[:250].T.astype(np.float64)
    for row, near in enumerate(cosines):
        best = np.argsort(-near)[: head.k]
        weights = np.exp(20 * near[best])
        shares = np.bincount(codes[:250][best], weights=weights, minlength=4) / weights.sum()
        np.testing.assert_allclose(found[row], (shares + 0.01 / 4) / 1.01, rtol=1e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_a_vector_of_zeros_has_no_neighbours(blobs):
    vectors, codes = blobs
    head = Neighbours(vectors, one_hot(codes, 4), 3)
    np.testing.assert_allclose(
        np.exp(head.scores(Inputs(np.zeros((1, 10), np.float32)))), 0.01 / 4 / 1.01, rtol=1e-5
    )


def test_the_temperature_has_the_least_log_loss():
    random = np.random.default_rng(0)
    codes = random.integers(0, 3, 500)
    scores = (3 * random.standard_normal((500, 3)) + 4 * one_hot(codes, 3)).astype(np.float32)
    found = calibration.calibrate(scores, one_hot(codes, 3), False)

    def loss(log_slope):
        scaled = np.exp(np.exp(log_slope[0]) * scores.astype(float))
        return log_loss(codes, scaled / scaled.sum(axis=1, keepdims=True))

    best = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    assert np.log(found.slope) == pytest.approx(best.x[0], abs=1e-3)


def test_platts_slope_and_offset():
    random = np.random.default_rng(0)
    truth = random.random(4000) < 0.3
    scores = (2 + 0.5 * (random.standard_normal(4000) + 2 * truth)).astype(np.float32)
    found = calibration.calibrate(scores[:, None], truth[:, None], True)
    oracle = LogisticRegression(C=1e9, tol=1e-10).fit(scores[:, None].astype(float), truth)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=0.02)
    assert found.offset == pytest.approx(oracle.intercept_[0], rel=0.02)


def test_probabilities_come_true(blobs):
    """Calibrated on examples held out, a confident head is right about as often as it says."""
    random = np.random.default_rng(3)
    codes = random.integers(0, 3, 4000)
    vectors = random.standard_normal((3, 8))[codes] + 2.0 * random.standard_normal((4000, 8))
    inputs, targets = Inputs(vectors.astype(np.float32)), one_hot(codes, 3)
    for kind in fitting.KINDS:
        fitted = fit_head(kind, inputs.take(np.arange(1500)), targets[:1500], several=False)
        rest = np.arange(1500, 4000)
        told = fitted.calibration(fitted.head.scores(inputs.take(rest)), False)
        right = told.argmax(1) == codes[rest]
        assert calibration.calibration_error(told.max(1), right) < 0.06, kind
        assert fitted.heldout == "5 folds"


def test_calibration_error_is_the_gap_between_confidence_and_truth():
    confidence = np.array([0.9] * 10 + [0.5] * 10)
    right = np.array([True] * 7 + [False] * 3 + [True] * 5 + [False] * 5)
    assert calibration.calibration_error(confidence, right) == pytest.approx(0.1)


def test_a_development_set_chooses(blobs):
    vectors, codes = blobs
    inputs, targets = Inputs(vectors), one_hot(codes, 4)
    some, rest = np.arange(200), np.arange(200, 300)
    fitted = fit_head(
        "ridge",
        inputs.take(some),
        targets[some],
        several=False,
        development=(inputs.take(rest), targets[rest]),
    )
    losses = {}
    for alpha, head in zip(
        fitting.GRIDS["ridge"],
        fitting.path("ridge", inputs.take(some), targets[some], fitting.GRIDS["ridge"], several=False),
        strict=True,
    ):
        scores = head.scores(inputs.take(rest))
        told = calibration.calibrate(scores, targets[rest], False)(scores, False).astype(float)
        losses[alpha] = log_loss(codes[rest], told / told.sum(axis=1, keepdims=True), labels=range(4))
    assert fitted.tried == pytest.approx({alpha: losses[alpha] for alpha in fitted.tried}, abs=1e-4)
    assert fitted.strength == min(losses, key=losses.get)
    assert len(fitted.tried) in (len(losses), list(losses).index(fitted.strength) + 2)
    assert fitted.heldout == "development"


def test_one_example_of_each_label_is_enough(blobs):
    vectors, codes = blobs
    firsts = np.array([np.flatnonzero(codes == c)[0] for c in range(4)])
    for kind in fitting.KINDS:
        fitted = fit_head(kind, Inputs(vectors[firsts]), one_hot(np.arange(4), 4), several=False)
        assert fitted.heldout == "nothing"
        assert not fitted.calibration.fitted
        accuracy = (fitted.head.scores(Inputs(vectors)).argmax(1) == codes).mean()
        assert accuracy > 0.4, kind


@pytest.mark.parametrize(
    ("kind", "strength"), [("svm", None), ("ridge", 0.0), ("logistic", np.nan), ("neighbours", 1.5)]
)
def test_heads_and_strengths_that_are_none(blobs, kind, strength):
    vectors, codes = blobs
    with pytest.raises(InputError, match="must be"):
        fit_head(kind, Inputs(vectors), one_hot(codes, 4), several=False, strength=strength)


def test_ngrams_are_tf_idf(labelled, model):
    texts = [*labelled[0], "", "sort"]
    tokens = model.tokenize(texts)
    ngrams = Ngrams.learn(tokens)
    sparse = ngrams(tokens)
    words = {i: w for w, i in model.tokenizer.vocabulary.items()}
    oracle = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=r"\S+")
    wanted = oracle.fit_transform(texts)
    names = [
        words[int(key)] if key < PAIR else f"{words[int(key) // PAIR - 1]} {words[int(key) % PAIR]}"
        for key in ngrams.keys
    ]
    assert sorted(names) == sorted(oracle.get_feature_names_out())
    places = [oracle.vocabulary_[name] for name in names]
    weights = np.random.default_rng(0).standard_normal((len(names), 5)).astype(np.float32)
    ours = sparse.times(weights)
    np.testing.assert_allclose(ours, (wanted.toarray()[:, places]) @ weights, atol=1e-5)
    rows = np.array([5, 240, 0, 5])
    np.testing.assert_array_equal(sparse.take(rows).times(weights), ours[rows])
    assert len(ngrams(Tokens(np.zeros(0, np.int32), np.zeros(1, np.int64)))) == 0


def test_figures_are_scikit_learns():
    random = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    truth = random.choice(["a", "b", "c", "e"], 200)  # e is unknown to the head, d never occurs
    p = random.dirichlet(np.ones(4), 200).astype(np.float32)
    told = np.array(names)[p.argmax(1)]
    judged = judge(p, of_lists(["x"] * 200, truth), names)
    assert judged.figures["accuracy"] == pytest.approx(accuracy_score(truth, told))
    assert judged.figures["macro_f1"] == pytest.approx(
        f1_score(truth, told, average="macro", zero_division=0)
    )
    assert judged.unknown == (truth == "e").sum()
    for name, row in judged.per_label.items():
        options = {"labels": [name], "average": "macro", "zero_division": 0}
        assert row["precision"] == pytest.approx(precision_score(truth, told, **options))
        assert row["recall"] == pytest.approx(recall_score(truth, told, **options))
    targets = random.random((200, 3)) < 0.3
    q = random.random((200, 3)).astype(np.float32)
    lists = [[n for n, yes in zip("abc", row, strict=True) if yes] for row in targets]
    judged = judge(q, of_lists(["x"] * 200, lists, several=True), ["a", "b", "c"])
    for average in ("micro", "macro"):
        assert judged.figures[f"{average}_f1"] == pytest.approx(f1_score(targets, q >= 0.5, average=average))
    assert judged.figures["accuracy"] == pytest.approx(accuracy_score(targets, q >= 0.5))
    assert judged.figures["log_loss"] == pytest.approx(
        np.mean([log_loss(targets[:, i], q[:, i].astype(float)) for i in range(3)]), rel=1e-5
    )
