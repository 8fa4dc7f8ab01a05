"""Clustering: do the vectors fall into groups that agree with the labels?"""

import warnings

import numpy as np
import numpy.typing as npt

from statim.data.labelled.labelled import LabelledTexts
from statim.errors import DataError
from statim.evaluation.classification import no_sklearn, vectors
from statim.evaluation.encoders import Encoder

STARTS = 3  # of which the tightest clustering counts
SEED = 0


def evaluate_clustering(encoder: Encoder, data: LabelledTexts, *, progress: bool = False) -> dict[str, float]:
    """V-measure (Rosenberg & Hirschberg, 2007) of the clusters of ``cluster``, which says what is raised."""
    found = cluster(encoder, data, progress=progress)
    from sklearn.metrics import v_measure_score

    return {"v_measure": float(v_measure_score(data.labels.to_pylist(), found))}


def cluster(encoder: Encoder, data: LabelledTexts, *, progress: bool = False) -> npt.NDArray[np.int32]:
    """The clusters of n texts, (n,) int32, by k-means with as many clusters as there are labels.

    Raises:
        DataError: The texts have one label only, or one each.
        ModelError: A vector holds NaN or infinities.
        DependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        raise no_sklearn() from None
    labels = data.labels.to_pylist()
    count = len(set(labels))
    if not 1 < count < len(labels):
        raise DataError(
            f"{len(labels):,} texts have {count:,} different labels; there must be at least two, and "
            "fewer than texts"
        )
    found = vectors(encoder, data.texts, progress=progress)
    # one thread: scikit-learn's add up in the order in which they happen to finish
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters
        clusters: npt.NDArray[np.int32] = KMeans(count, n_init=STARTS, random_state=SEED).fit_predict(found)
    return clusters
