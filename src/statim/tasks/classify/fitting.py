"""Fit heads: logistic regression, ridge, centroids, neighbours; strengths from the weakest up.

Where examples have one label each, logistic regression is multinomial and the others are told the label
against the rest; where they have several, every label is a yes or no of its own.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from statim.errors import DependencyError, InputError
from statim.search.engines.blas import limited
from statim.search.engines.exact import Exact
from statim.tasks.classify.heads import Floats, Head, Linear, Neighbours, Targets, votes
from statim.tasks.classify.inputs import Inputs
from statim.tasks.classify.lbfgs import minimize

KINDS = ("logistic", "ridge", "centroid", "neighbours")
# What is tried where nothing is given: logistic regression's C, ridge's alpha (both as scikit-learn means
# them), neighbours
GRIDS: dict[str, tuple[float, ...]] = {
    "logistic": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
    "ridge": (10.0, 3.0, 1.0, 0.3, 0.1, 0.03),
    "centroid": (0.0,),
    "neighbours": (1, 3, 5, 10, 20, 40),
}
MUCH = 1 << 28  # multiplications in a product that is worth several threads
ROWS = 1 << 15  # vectors that are looked at together
# Of L-BFGS: it ends when the largest entry of the gradient is this part of what it was at the beginning
ITERATIONS, TOLERANCE = 300, 1e-3

Doubles = npt.NDArray[np.float64]


def path(
    kind: str,
    inputs: Inputs,
    targets: Targets,
    values: Sequence[float],
    *,
    several: bool,
    begin: Head | None = None,
) -> Iterator[Head]:
    """Heads of each strength in ``values``, in their order.

    Args:
        kind: One of KINDS.
        inputs: Of n texts; n-grams are for logistic regression alone.
        targets: (n, c) bool; without ``several`` one in each row.
        values: C, alpha, or neighbours, in the order of GRIDS: each fit begins where the last ended.
        several: Whether examples may have any number of labels.
        begin: Of logistic regression: a head of the same shape to begin with, near the one that is sought.

    Raises:
        DependencyError: Logistic regression needs SciPy, which comes with scikit-learn, and it is not
            installed.
    """
    if kind == "logistic":
        yield from _logistic(inputs, targets, values, several, begin if isinstance(begin, Linear) else None)
    elif kind == "ridge":
        yield from _ridge(inputs.vectors, targets, values)
    elif kind == "centroid":
        yield from (_centroid(inputs.vectors, targets) for _ in values)
    else:
        yield from (Neighbours(inputs.vectors, targets, min(int(k), len(inputs))) for k in values)


def along(
    kind: str,
    inputs: Inputs,
    targets: Targets,
    others: Inputs,
    values: Sequence[float],
    *,
    several: bool,
    threads: int | None = None,
) -> Iterator[tuple[Head, Floats]]:
    """Heads along ``values``, each with its scores (m, c) for m ``others``; fitted on demand."""
    if kind != "neighbours":
        for head in path(kind, inputs, targets, values, several=several):
            yield head, head.scores(others, threads=threads)
        return
    engine = Exact(inputs.vectors.shape[1])
    engine.add(inputs.vectors)
    near, positions = engine.search(others.vectors, int(max(values)), threads=threads)
    for k, head in zip(map(int, values), path(kind, inputs, targets, values, several=several), strict=True):
        yield head, votes(near[:, :k], positions[:, :k], targets)


def check_value(kind: str, value: float | None) -> float | None:
    """A strength that was given.

    Raises:
        InputError: It is not a positive number, or for neighbours not a whole one.
    """
    whole = kind == "neighbours"
    if value is None or (np.isfinite(value) and value > 0 and (not whole or float(value).is_integer())):
        return value
    raise InputError(
        f"the strength is {value!r}; for {kind} it must be a "
        f"{'whole number of at least 1' if whole else 'number above 0'}"
    )


def _logistic(
    inputs: Inputs, targets: Targets, values: Sequence[float], several: bool, begin: Linear | None = None
) -> Iterator[Linear]:
    """Cross-entropy plus |W|²/2C, biases free, by L-BFGS (Liu and Nocedal, 1989), warm-started."""
    try:
        from scipy.sparse import csr_array
    except ImportError:
        raise DependencyError(
            'logistic regression needs SciPy, which is not installed; pip install "statim[tasks]", or '
            "take the head ridge"
        ) from None
    n, c, width, d = len(inputs), targets.shape[1], inputs.width, inputs.vectors.shape[1]
    grams, sparse = inputs.ngrams, None
    if grams is not None:
        sparse = csr_array((grams.values, grams.columns, grams.offsets), shape=(n, grams.width))
    rows = [slice(start, start + ROWS) for start in range(0, n, ROWS)]
    parts = [(inputs.vectors[row], None if sparse is None else sparse[row], targets[row]) for row in rows]
    at = np.zeros((width + 1) * c)
    if several:
        at[width * c :] = _log_odds(targets)

    def objective(flat: Doubles, strength: float) -> tuple[float, Doubles]:
        whole = flat.reshape(width + 1, c)
        single = whole.astype(np.float32)
        loss, gradient = 0.0, whole / strength
        gradient[width] = 0
        penalty = float(np.vdot(whole[:width], whole[:width])) / (2 * strength)
        for vectors, some_grams, wanted in parts:
            scores = vectors @ single[:d] + single[width]
            if some_grams is not None:
                scores += some_grams @ single[d:width]
            some, slopes = _cross_entropy(scores, wanted, several)
            loss += some
            gradient[:d] += vectors.T @ slopes
            if some_grams is not None:
                gradient[d:width] += some_grams.T @ slopes
            gradient[width] += slopes.sum(axis=0, dtype=np.float64)
        return (loss + penalty) / n, gradient.ravel() / n

    # at the beginning, as a measure of what is small; with biases of zero, rare labels would make it far too
    # large
    steep = float(np.abs(objective(at, 1.0)[1]).max())
    if begin is not None:
        at = np.concatenate([begin.weights.ravel(), begin.bias]).astype(np.float64)
    for value in values:
        # threads that share small products wait for each other longer than they work
        with limited(1 if n * d * c < MUCH else None):
            at = minimize(
                partial(objective, strength=value), at, flat=TOLERANCE * steep, iterations=ITERATIONS
            )
        weights = at.reshape(width + 1, c).astype(np.float32)
        yield Linear(weights[:width].copy(), weights[width].copy())


def _log_odds(targets: Targets) -> Doubles:
    """Of each label (c,) among n examples, half an example added to either side."""
    counts = targets.sum(axis=0) + 0.5
    odds: Doubles = np.log(counts / (len(targets) + 1 - counts))
    return odds


def _cross_entropy(scores: Floats, targets: Targets, several: bool) -> tuple[float, Floats]:
    """The sum of the cross-entropies of n examples, and its gradient (n, c); ``scores`` are overwritten."""
    if several:
        loss = np.logaddexp(0, scores).sum(dtype=np.float64) - scores[targets].sum(dtype=np.float64)
        # half of tanh is the logistic function, without its overflow
        return float(loss), 0.5 * np.tanh(0.5 * scores) + 0.5 - targets
    scores -= scores.max(axis=1, keepdims=True)
    given = scores[targets].sum(dtype=np.float64)
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1, keepdims=True)
    scores /= sums
    return float(np.log(sums.astype(np.float64)).sum() - given), scores - targets


def _ridge(vectors: Floats, targets: Targets, values: Sequence[float]) -> Iterator[Linear]:
    """Ridge regression to 1 and -1, biases free (Hoerl and Kennard, 1970): one factorization for all."""
    n, d = vectors.shape
    middle, rates = vectors.mean(axis=0, dtype=np.float64), targets.mean(axis=0)
    gram, products = np.zeros((d, d)), np.zeros((d, targets.shape[1]))
    for start in range(0, n, ROWS):
        some = vectors[start : start + ROWS] - middle.astype(np.float32)
        gram += some.T @ some
        products += some.T @ (2 * (targets[start : start + ROWS] - rates)).astype(np.float32)
    sizes, axes = np.linalg.eigh(gram)
    turned = axes.T @ products
    for value in values:
        weights = axes @ (turned / (np.maximum(sizes, 0) + value)[:, None])
        bias = 2 * rates - 1 - middle @ weights
        yield Linear(weights.astype(np.float32), bias.astype(np.float32))


def _centroid(vectors: Floats, targets: Targets) -> Linear:
    """The cosine to the mean of each label's vectors (Rocchio, 1971)."""
    sums = np.zeros((vectors.shape[1], targets.shape[1]))
    for start in range(0, len(vectors), ROWS):
        sums += vectors[start : start + ROWS].T @ targets[start : start + ROWS].astype(np.float32)
    sums /= np.maximum(np.linalg.norm(sums, axis=0), 1e-12)
    return Linear(sums.astype(np.float32), np.zeros(targets.shape[1], np.float32))
