"""Scores of an encoder on labelled texts: similarity, pair classification, classification, clustering."""

from typing import Any

import numpy as np
import numpy.typing as npt

from statim.data.labelled import JudgedPairs, LabelledTexts, ScoredPairs
from statim.errors import DataError, DependencyError
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import average_precision, spearman

MOST_TRAINING = 4000  # texts a classifier is fitted on


def similarity(encoder: Encoder, data: ScoredPairs) -> dict[str, float]:
    """Spearman's correlation of cosine and score (the measure of the STS tasks)."""
    return {"spearman": spearman(_cosines(encoder, data.text1, data.text2), data.scores)}


def pairs(encoder: Encoder, data: JudgedPairs) -> dict[str, float]:
    """Average precision of the cosine at telling pairs that belong together from those that do not."""
    return {"ap": average_precision(_cosines(encoder, data.text1, data.text2), data.labels)}


def classification(encoder: Encoder, train: LabelledTexts, test: LabelledTexts, *, seed: int = 0) -> dict[str, float]:
    """Accuracy of a logistic regression on the vectors, fitted on at most 4,000 training texts.

    Raises:
        DataError: The training texts have fewer than two labels.
        DependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise _missing() from None
    labels = np.asarray(train.labels)
    if len(np.unique(labels)) < 2:
        raise DataError("the training texts have one label only; a classifier needs two or more")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST_TRAINING])
    vectors = _finite(encoder.encode(train.texts))
    fitted = LogisticRegression(max_iter=1000, random_state=seed).fit(vectors[chosen], labels[chosen])
    predicted = fitted.predict(_finite(encoder.encode(test.texts)))
    return {"accuracy": float(np.mean(predicted == np.asarray(test.labels)))}


def clustering(encoder: Encoder, data: LabelledTexts, *, seed: int = 0) -> dict[str, float]:
    """V-measure (Rosenberg & Hirschberg, 2007) of k-means with as many clusters as there are labels.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.metrics import v_measure_score
    except ImportError:
        raise _missing() from None
    count = len(np.unique(np.asarray(data.labels)))
    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048)
    return {"v_measure": float(v_measure_score(np.asarray(data.labels), means.fit_predict(_finite(encoder.encode(data.texts)))))}


def _missing() -> DependencyError:
    return DependencyError('scikit-learn is not installed; pip install "statim[evaluate]"')


def _finite(vectors: Any) -> npt.NDArray[np.float32]:
    """A vector with a NaN tells nothing: zeros."""
    return np.nan_to_num(np.asarray(vectors, np.float32), posinf=0.0, neginf=0.0)


def _cosines(encoder: Encoder, left: Any, right: Any) -> npt.NDArray[np.float64]:
    """(n,) cosines; 0 where a vector is zero."""
    a, b = np.asarray(encoder.encode(left), np.float64), np.asarray(encoder.encode(right), np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.where(lengths == 0, 1, lengths)
