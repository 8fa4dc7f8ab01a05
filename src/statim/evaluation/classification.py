"""Classification: how well can a linear probe on the vectors tell the labels of texts it has not seen?"""

import warnings

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.labelled.labelled import LabelledTexts
from statim.errors import DataError, DependencyError, ModelError
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import accuracy
from statim.search.engines.blas import limited

ITERATIONS = 2000  # at most; a few hundred are enough
SMALL = (
    1 << 21
    # texts times labels up to which BLAS's threads, which spin between short products, cost more than they
    # do
)


def evaluate_classification(
    encoder: Encoder, train: LabelledTexts, test: LabelledTexts, *, progress: bool = False
) -> dict[str, float]:
    """Accuracy on ``test`` of a probe fitted to ``train``, as ``predict``, which says what is raised."""
    predicted = predict(encoder, train, test, progress=progress)
    return {"accuracy": accuracy(predicted, test.labels.to_pylist())}


def predict(
    encoder: Encoder, train: LabelledTexts, test: LabelledTexts, *, C: float = 1.0, progress: bool = False
) -> npt.NDArray[np.str_]:
    """Labels of n texts by scikit-learn's logistic regression (its defaults) fitted on ``train``, (n,) str.

    Args:
        encoder: Gives the vectors.
        train: Texts and labels to fit to.
        test: The n texts.
        C: How little the weights are held back, as in scikit-learn. Vectors of length 1 and many labels want
            more than 1.
        progress: Show a progress bar on a terminal.

    Raises:
        DataError: The training texts have one label only.
        ModelError: A vector holds NaN or infinities.
        DependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise no_sklearn() from None
    labels = train.labels.to_pylist()
    different = len(set(labels))
    if different < 2:
        raise DataError(f"every training text has the label {labels[0]!r}; at least two labels must occur")
    probe, seen = (
        LogisticRegression(C=C, max_iter=ITERATIONS),
        vectors(encoder, train.texts, progress=progress),
    )
    with warnings.catch_warnings(), limited(1 if different * len(labels) <= SMALL else None):
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(seen, labels)
    predicted: npt.NDArray[np.str_] = probe.predict(vectors(encoder, test.texts, progress=progress))
    return predicted


def vectors(
    encoder: Encoder, texts: pa.LargeStringArray, *, progress: bool = False
) -> npt.NDArray[np.float32]:
    """The vectors of texts, (n, d) float32.

    Raises:
        ModelError: A vector holds NaN or infinities.
    """
    found = np.asarray(encoder.encode(texts, progress=progress), np.float32)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise ModelError(
            f"the model's vector of text {int(bad[0])} holds NaN or infinities; nothing can be fitted to that"
        )
    return found


def no_sklearn() -> DependencyError:
    """What to say where scikit-learn is missing."""
    return DependencyError(
        "classification and clustering need scikit-learn, which is not installed; pip install "
        '"statim[evaluate]"'
    )
