"""StaticEmbedder among scikit-learn's own: its checks, pipelines, searches, copies, joblib."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from statim import StaticEmbedder
from statim.errors import InputError, ModelError


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("embedder") / "model"
    model.save(path)
    return str(path)


def test_check_estimator(folder):
    """scikit-learn has few checks for what takes no numbers, and says so; its own TfidfVectorizer meets the
    same.
    """
    with pytest.warns(SkipTestWarning, match="StaticEmbedder"):
        found = estimator_checks.check_estimator(StaticEmbedder(folder), on_fail=None)
    assert {check["status"] for check in found} <= {"passed", "skipped"}
    for check in (
        "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types",
        "check_estimator_repr",
        "check_no_attributes_set_in_init", "check_parameters_default_constructible",
        "check_get_params_invariance", "check_set_params",
        "check_mixin_order", "check_do_not_raise_errors_in_init_or_set_params",
        "check_transformer_get_feature_names_out",
    ):  # fmt: skip
        function = getattr(estimator_checks, check)
        if check != "check_transformer_get_feature_names_out":  # fits to numbers
            function("StaticEmbedder", StaticEmbedder(folder))


def test_vectors_are_the_models(folder, model, labelled):
    texts = labelled[0][:50]
    embedder = StaticEmbedder(folder, dim=8)
    found = embedder.fit_transform(texts)
    np.testing.assert_array_equal(found, model.encode(texts, dim=8))
    np.testing.assert_array_equal(embedder.transform(np.array(texts)), found)
    np.testing.assert_array_equal(StaticEmbedder(model, dim=8).transform(texts), found)
    assert list(embedder.get_feature_names_out()) == [f"staticembedder{i}" for i in range(8)]
    frame = embedder.set_output(transform="pandas").transform(texts)
    assert list(frame.columns) == list(embedder.get_feature_names_out())
    assert embedder.fit(texts).transform([]).shape == (0, 8)


def test_pipelines_and_searches(folder, labelled):
    texts, labels = labelled
    pipeline = make_pipeline(StaticEmbedder(folder), LogisticRegression())
    search = GridSearchCV(pipeline, {"staticembedder__dim": [2, 24]}, cv=3).fit(texts, labels)
    assert search.best_params_ == {"staticembedder__dim": 24}
    assert search.best_score_ > 0.7


def test_copies_carry_the_path_alone(folder, labelled, tmp_path):
    texts, labels = labelled
    pipeline = make_pipeline(StaticEmbedder(folder), LogisticRegression()).fit(texts, labels)
    copied = clone(pipeline[0])
    assert copied.get_params() == pipeline[0].get_params()
    assert not hasattr(copied, "_loaded")
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    assert (tmp_path / "pipeline.joblib").stat().st_size < 10_000
    again = joblib.load(tmp_path / "pipeline.joblib")
    np.testing.assert_array_equal(again.predict_proba(texts), pipeline.predict_proba(texts))
    assert len(pickle.dumps(pipeline[0])) < 1000


def test_a_changed_path_is_another_model(folder, other_model, tmp_path):
    other_model.save(tmp_path / "other")
    embedder = StaticEmbedder(folder)
    before = embedder.transform(["sort a list"])
    embedder.set_params(model=str(tmp_path / "other"))
    np.testing.assert_array_equal(embedder.transform(["sort a list"]), other_model.encode(["sort a list"]))
    assert not np.array_equal(before, embedder.transform(["sort a list"]))


def test_what_it_refuses(folder, tmp_path):
    with pytest.raises(ModelError):
        StaticEmbedder(str(tmp_path / "nothing")).fit(["a"])
    with pytest.raises(InputError, match="dim is 99"):
        StaticEmbedder(folder, dim=99).fit(["a"])
    with pytest.raises(InputError, match="one text"):
        StaticEmbedder(folder).transform("a text")
    with pytest.raises(InputError, match="2 dimensions"):
        StaticEmbedder(folder).transform(np.zeros((2, 3)))
    with pytest.raises(InputError, match="1"):
        StaticEmbedder(folder).transform(["a", np.nan])
