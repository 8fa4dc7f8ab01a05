"""Model selection: a head's strength and honest probabilities, from examples it was not fitted to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.progress import Progress
from statim.tasks.classify.calibration import UNCALIBRATED, Calibration, calibrate, log_loss
from statim.tasks.classify.fitting import GRIDS, KINDS, along, check_value, path
from statim.tasks.classify.heads import Floats, Head, Targets
from statim.tasks.classify.inputs import Inputs

FOLDS = 5
MANY = 2000  # above this many examples, one fifth of them is held out once

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A head and how it was found.

    Attributes:
        head: Fitted to all examples but those of a development set.
        calibration: From its scores to probabilities.
        strength: The regularisation, or the number of neighbours.
        tried: Strengths, up to the first that is no better than the one before, and the log loss on examples
            that were not fitted to; empty where there were none.
        heldout: How it was judged: ``development``, ``5 folds``, ``a fifth`` or ``nothing``.
    """

    head: Head
    calibration: Calibration
    strength: float
    tried: dict[float, float]
    heldout: str


def fit_head(
    kind: str,
    inputs: Inputs,
    targets: Targets,
    *,
    several: bool,
    strength: float | None = None,
    development: tuple[Inputs, Targets] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> Fitted:
    """Fit a head, its strength that of the least log loss after calibration on examples it has not seen.

    Args:
        kind: One of KINDS.
        inputs: Of n texts; vectors of length 1.
        targets: (n, c) bool, see ``fitting.path``.
        several: Whether examples may have any number of labels.
        strength: Instead of choosing one: see GRIDS.
        development: Inputs and targets to choose and calibrate on; by default folds of the examples, or of
            many a fifth. A label that occurs once is never held out, so where all do, nothing is chosen or
            calibrated.
        seed: Decides the folds.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: ``kind`` or ``strength`` is none that there is.
        DependencyError: SciPy is needed and not installed.
    """
    if kind not in KINDS:
        raise InputError(f"the head is {kind!r}; it must be one of {', '.join(KINDS)}")
    strength = check_value(kind, strength)
    values = GRIDS[kind] if strength is None else (float(strength),)
    if kind == "neighbours":
        values = tuple(k for k in values if k <= len(inputs)) or (float(len(inputs)),)
    parts: list[tuple[Inputs, Targets, Inputs, Targets]] = []
    if development is not None:
        parts.append((inputs, targets, *development))
    else:
        for kept, out in _parts(targets, several, seed):
            parts.append((inputs.take(kept), targets[kept], inputs.take(out), targets[out]))
    if not parts:
        middle = values[len(values) // 2]
        (head,) = path(kind, inputs, targets, [middle], several=several)
        return Fitted(head, Calibration(UNCALIBRATED[kind], fitted=False), float(middle), {}, "nothing")
    known = np.concatenate([labels for *_, labels in parts])
    ways = [
        along(kind, some, labels, others, values, several=several, threads=threads)
        for some, labels, others, _ in parts
    ]
    with Progress("fit", total=len(values) + 1, unit="heads", show=progress) as bar:
        value, calibration, head, tried = _chosen(values, ways, known, several, bar)
        if development is not None:
            return Fitted(head, calibration, value, tried, "development")
        # from the head of the part on, which is near: half of the work where examples are many
        (head,) = path(kind, inputs, targets, [value], several=several, begin=head)
        bar.advance(1)
    return Fitted(head, calibration, value, tried, "a fifth" if len(parts) == 1 else f"{len(parts)} folds")


def _chosen(
    values: Sequence[float],
    ways: Sequence[Iterator[tuple[Head, Floats]]],
    known: Targets,
    several: bool,
    bar: Progress,
) -> tuple[float, Calibration, Head, dict[float, float]]:
    """The strength of the least log loss, its calibration, a head of it, and the losses of those tried."""
    tried: dict[float, float] = {}
    best: tuple[float, Calibration, Head] | None = None
    for value, found in zip(values, zip(*ways, strict=True), strict=False):
        scores = np.concatenate([given for _, given in found])
        calibration = calibrate(scores, known, several)
        tried[float(value)] = log_loss(calibration(scores, several), known, several)
        bar.advance(1, note=f"strength {value:g}, log loss {tried[float(value)]:.4f}")
        if best is not None and tried[float(value)] >= tried[best[0]]:
            break  # it falls and then rises; of equals the first is regularised the most
        best = float(value), calibration, found[0][0]
    assert best is not None
    return *best, tried


def _parts(targets: Targets, several: bool, seed: int) -> Iterator[tuple[Positions, Positions]]:
    """Stratified examples to fit to and to judge by; every label keeps at least one to fit to."""
    n = len(targets)
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    if several:
        folds = np.empty(n, np.int64)
        folds[order] = np.arange(n) % FOLDS
        single = targets[:, targets.sum(axis=0) == 1].any(axis=1)
    else:
        codes = targets.argmax(axis=1)
        order = order[np.argsort(codes[order], kind="stable")]
        # dealt out in the order of the labels: each label's examples go to folds in turn
        folds = np.empty(n, np.int64)
        folds[order] = np.arange(n) % FOLDS
        single = np.bincount(codes, minlength=targets.shape[1])[codes] == 1
    folds[single] = -1
    for fold in range(1 if n > MANY else FOLDS):
        out = np.flatnonzero(folds == fold)
        kept = np.flatnonzero(folds != fold)
        if len(out):
            yield kept, out
