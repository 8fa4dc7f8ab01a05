"""Pair classification: do pairs that belong together have higher cosines than those that do not?"""

from statim.data.labelled.labelled import JudgedPairs
from statim.evaluation.encoders import Encoder
from statim.evaluation.metrics import average_precision
from statim.evaluation.sts import cosines


def evaluate_pairs(encoder: Encoder, data: JudgedPairs, *, progress: bool = False) -> dict[str, float]:
    """Average precision of the pairs ordered by cosine, as ``average_precision``."""
    return {"average_precision": average_precision(cosines(encoder, data, progress=progress), data.labels)}
