"""L-BFGS (Liu and Nocedal, 1989) for smooth convex functions of millions of numbers.

SciPy's also keeps within bounds, which takes most of the time where there are none: on 75 labels and 10,000
n-grams it spent three times the time of the function itself. Here the steps and the changes of the gradient
are rows of one matrix in float32, and a direction is two products with it (Chen, Wang and Zhou, "Large-scale
L-BFGS using MapReduce", 2014).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

KEPT = 10  # steps that are remembered
DECREASE = 1e-4  # share of the foreseen decrease that a step must bring
HALVINGS = 30

Doubles = npt.NDArray[np.float64]


class Memory:
    """The last steps and what they changed the gradient by, (2 * KEPT, n) float32, and their dot products."""

    def __init__(self, size: int) -> None:
        self._rows = np.zeros((2 * KEPT, size), np.float32)
        self._dots = np.zeros((2 * KEPT, 2 * KEPT))
        self._order: list[int] = []  # places of the steps, oldest first

    @property
    def began(self) -> bool:
        """Whether a step is remembered."""
        return bool(self._order)

    def add(self, step: Doubles, change: Doubles) -> None:
        """Remember a step, unless the function is not curved along it; the oldest makes room."""
        along = float(step @ change)
        if along <= 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            return
        place = len(self._order) if len(self._order) < KEPT else self._order.pop(0)
        self._order.append(place)
        both = [place, KEPT + place]
        self._rows[both[0]], self._rows[both[1]] = step, change
        dots = self._rows @ self._rows[both].T
        self._dots[:, both], self._dots[both] = dots, dots.T

    def direction(self, gradient: Doubles) -> Doubles:
        """Where to go: minus the gradient times the inverse of the curvature that was seen."""
        if not self._order:
            return -gradient
        known = self._rows @ gradient.astype(np.float32)
        last = self._order[-1]
        scale = self._dots[last, KEPT + last] / self._dots[KEPT + last, KEPT + last]
        # the two loops over combinations of the rows and the gradient, by their dot products alone
        weights = np.zeros(2 * KEPT)
        rate: dict[int, float] = {}
        for i in reversed(self._order):
            rate[i] = (known[i] + self._dots[i] @ weights) / self._dots[i, KEPT + i]
            weights[KEPT + i] -= rate[i]
        weights *= scale
        for i in self._order:
            change = (scale * known[KEPT + i] + self._dots[KEPT + i] @ weights) / self._dots[i, KEPT + i]
            weights[i] += rate[i] - change
        found: Doubles = -(scale * gradient + weights.astype(np.float32) @ self._rows)
        return found


def minimize(
    objective: Callable[[Doubles], tuple[float, Doubles]], at: Doubles, *, flat: float, iterations: int
) -> Doubles:
    """Where a convex function is least, near enough.

    Args:
        objective: Gives the value and the gradient (n,) at a place (n,).
        at: (n,) float64, where to begin.
        flat: End where no entry of the gradient is larger than this.
        iterations: The most steps.

    Returns:
        (n,) float64, the best place seen.
    """
    value, gradient = objective(at)
    memory = Memory(len(at))
    for _ in range(iterations):
        if float(np.abs(gradient).max()) <= flat:
            break
        way = memory.direction(gradient)
        slope = float(way @ gradient)
        if slope >= 0:  # rounding has spoiled the memory
            memory, way = Memory(len(at)), -gradient
            slope = float(way @ gradient)
        length = 1.0 if memory.began else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        for _ in range(HALVINGS):
            there = at + length * way
            new, steep = objective(there)
            if new <= value + DECREASE * length * slope:
                break
            length /= 2
        else:
            break  # no step helps any more: it is as near as numbers allow
        memory.add(there - at, steep - gradient)
        at, value, gradient = there, new, steep
    return at
