"""Semantic textual similarity: do cosines order pairs of texts as people do?"""

import numpy as np
import numpy.typing as npt

from statim.data.labelled.labelled import JudgedPairs, ScoredPairs
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import spearman


def evaluate_sts(encoder: Encoder, data: ScoredPairs, *, progress: bool = False) -> dict[str, float]:
    """Spearman's correlation of the cosines with people's scores, as ``spearman``.

    Raises:
        InputError: All scores are the same.
    """
    return {"spearman": spearman(cosines(encoder, data, progress=progress), data.scores)}


def cosines(
    encoder: Encoder, pairs: ScoredPairs | JudgedPairs, *, progress: bool = False
) -> npt.NDArray[np.float64]:
    """The cosine of each pair, (n,) float64: 0 for a zero vector, NaN for vectors that hold NaN."""
    first = np.asarray(encoder.encode(pairs.text1, progress=progress), np.float64)
    second = np.asarray(encoder.encode(pairs.text2, progress=progress), np.float64)
    with np.errstate(all="ignore"):
        products = np.einsum("ij,ij->i", first, second)
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        found: npt.NDArray[np.float64] = products / np.where(lengths == 0, 1.0, lengths)
    return found
