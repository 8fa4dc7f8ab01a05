"""Losses over cosines of single pairs at every Matryoshka level, with gradients by hand.

Each takes the cosines of one level, (E,), and gives its value and its derivatives by them; ``pairwise`` does
the rest. Nothing is as large as the square of a batch: CoSENT, which compares all pairs of a batch with one
another, sorts them and adds up.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.kernels.training.norms import inverse_norms, remove_radial
from statim.kernels.training.pairs import pair_cosines, pull_pairs

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]
Loss = Callable[[Doubles], tuple[float, Doubles]]


def cosent(cosines: Doubles, scores: Doubles, scale: float) -> tuple[float, Doubles]:
    """CoSENT (Su, 2022; Huang et al., 2024): pairs of a higher score should have a higher cosine.

    log(1 + the sum of exp(scale (c_k - c_i)) over all i, k with scores_i > scores_k), in B log B.

    Args:
        cosines: (B,).
        scores: (B,) finite; only their order counts.
        scale: What cosines are multiplied by.

    Returns:
        The loss, and its derivatives by the cosines, (B,).
    """
    order = np.argsort(scores, kind="stable")
    logits, ranked = scale * cosines[order], scores[order]
    # below[b]: log of the sum of exp(logit) over the first b pairs; above[b]: of exp(-logit) over all but the
    # first b
    below = np.append(-np.inf, np.logaddexp.accumulate(logits))
    above = np.append(np.logaddexp.accumulate(-logits[::-1])[::-1], -np.inf)
    lower = below[np.searchsorted(ranked, ranked, side="left")]
    higher = above[np.searchsorted(ranked, ranked, side="right")]
    loss = float(np.logaddexp.reduce(np.append(logits + higher, 0.0)))
    pulls = np.empty_like(logits)
    pulls[order] = scale * (np.exp(logits + higher - loss) - np.exp(lower - logits - loss))
    return loss, pulls


def cosine(cosines: Doubles, scores: Doubles) -> tuple[float, Doubles]:
    """The mean square of how far cosines are from scores, both (B,); and its derivatives by the cosines."""
    apart = cosines - scores
    return float(np.mean(apart**2)), 2 * apart / len(apart)


def distance(cosines: Doubles) -> tuple[float, Doubles]:
    """The mean of 1 - cosine over (B,) cosines with targets, and its derivatives by the cosines."""
    return float(np.mean(1 - cosines)), np.full(len(cosines), -1 / len(cosines))


def margin_mse(cosines: Doubles, offsets: Offsets, scores: Doubles) -> tuple[float, Doubles]:
    """MarginMSE (Hofstätter et al., 2020): match the teacher's margin between positive and negative.

    The mean over all negatives of ((c_positive - c_negative) - (t_positive - t_negative))^2.

    Args:
        cosines: (E,) for each anchor those of its positive, then of its negatives.
        offsets: (B + 1,) where each anchor's begin.
        scores: (E,) the teacher's, t.

    Returns:
        The loss, and its derivatives by the cosines, (E,).
    """
    positives = np.repeat(offsets[:-1], np.diff(offsets) - 1)
    negatives = np.delete(np.arange(len(cosines)), offsets[:-1])
    pulls = np.zeros_like(cosines)
    if len(negatives) == 0:
        return 0.0, pulls
    apart = cosines - scores
    wrong = apart[positives] - apart[negatives]
    pulls[negatives] = -2 * wrong / len(negatives)
    np.subtract.at(pulls, positives, pulls[negatives])
    return float(np.mean(wrong**2)), pulls


def kl(cosines: Doubles, offsets: Offsets, scores: Doubles, scale: float) -> tuple[float, Doubles]:
    """KL divergence from the teacher's distribution over an anchor's candidates (Lin et al., 2020).

    The mean over anchors of KL(softmax(scale t) || softmax(scale c)). Without the factor of the squared
    temperature that sentence-transformers has, which is 1 / scale^2.

    Args:
        cosines: (E,) for each anchor those of its candidates.
        offsets: (B + 1,) where each anchor's begin; none is without candidates.
        scores: (E,) the teacher's, t.
        scale: What both are multiplied by (1 / temperature).

    Returns:
        The loss, and its derivatives by the cosines, (E,).
    """
    ours, theirs = (_log_softmax(scale * logits, offsets) for logits in (cosines, scores))
    wanted, anchors = np.exp(theirs), len(offsets) - 1
    loss = float(np.sum(wanted * (theirs - ours))) / anchors
    return loss, scale / anchors * (np.exp(ours) - wanted)


def _log_softmax(logits: Doubles, offsets: Offsets) -> Doubles:
    """Of each run of logits by itself."""
    sizes = np.diff(offsets)
    shifted = logits - np.repeat(np.maximum.reduceat(logits, offsets[:-1]), sizes)
    found: Doubles = shifted - np.repeat(np.log(np.add.reduceat(np.exp(shifted), offsets[:-1])), sizes)
    return found


def triplet(cosines: Doubles, offsets: Offsets, margin: float) -> tuple[float, Doubles]:
    """Triplet loss with cosine distance: the mean of max(0, margin + c_negative - c_positive).

    Schroff et al. (2015).

    Args:
        cosines: (E,) for each anchor those of its positive, then of its negatives.
        offsets: (B + 1,) where each anchor's begin.
        margin: By how much a positive should be closer than a negative.

    Returns:
        The loss, and its derivatives by the cosines, (E,).
    """
    positives = np.repeat(offsets[:-1], np.diff(offsets) - 1)
    negatives = np.delete(np.arange(len(cosines)), offsets[:-1])
    pulls = np.zeros_like(cosines)
    if len(negatives) == 0:
        return 0.0, pulls
    wrong = np.maximum(0.0, margin + cosines[negatives] - cosines[positives])
    pulls[negatives] = (wrong > 0) / len(negatives)
    np.subtract.at(pulls, positives, pulls[negatives])
    return float(np.mean(wrong)), pulls


def pairwise(
    vectors: Floats,
    offsets: Offsets,
    loss: Loss,
    *,
    levels: Sequence[int],
    weights: Sequence[float] | None = None,
    threads: int = 1,
) -> tuple[float, Floats]:
    """A loss over cosines, summed over Matryoshka levels, and its gradient.

    Args:
        vectors: (B + E, d) float32 (or float64, for checks), not normalised: B left ones, then the right ones
            that each meets.
        offsets: (B + 1,) left vector i meets the right vectors [offsets[i], offsets[i + 1]).
        loss: The loss of one level, from (E,) cosines, with its derivatives.
        levels: Matryoshka dimensions, ascending; the last is d.
        weights: One weight a level, 1 each by default.
        threads: Threads to use; results do not depend on it.

    Returns:
        The loss and its gradient, (B + E, d). Zero vectors have a cosine of 0 to everything, and a zero
        gradient. Vectors that hold NaN make both NaN.
    """
    B, L, kind = len(offsets) - 1, len(levels), vectors.dtype
    lefts, rights = vectors[:B], vectors[B:]
    bounds = np.array(levels, np.int64)
    inverse, everything = np.empty((len(vectors), L), kind), executor.ranges(len(vectors), threads)
    executor.run([partial(inverse_norms, vectors, bounds, *part, inverse) for part in everything], threads)
    given = lefts, rights, offsets, bounds, inverse[:B], inverse[B:]
    cosines, parts = np.empty((len(rights), L), kind), executor.ranges(B, threads)
    executor.run([partial(pair_cosines, *given, *part, cosines) for part in parts], threads)
    if np.isnan(cosines).any():
        return np.nan, np.full_like(vectors, np.nan)
    total, pulls = 0.0, np.empty_like(cosines)
    for level, weight in enumerate(weights if weights is not None else [1.0] * L):
        value, derivatives = loss(cosines[:, level].astype(np.float64))
        total += weight * value
        pulls[:, level] = weight * derivatives
    gradient = np.empty_like(vectors)
    executor.run(
        [partial(pull_pairs, *given, pulls, *part, gradient[:B], gradient[B:]) for part in parts], threads
    )
    radial = pulls * cosines
    radial = np.concatenate([np.add.reduceat(radial, offsets[:-1], axis=0), radial])
    executor.run(
        [partial(remove_radial, gradient, vectors, radial, inverse, bounds, *part) for part in everything],
        threads,
    )
    return total, gradient
