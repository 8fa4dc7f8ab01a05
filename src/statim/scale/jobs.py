"""What is done with each of many items, and what does it."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from statim.model import StaticModel

T = TypeVar("T")
R = TypeVar("R")

Job = Callable[[T, StaticModel, int | None], R]  # an item, the model, threads to use; can be done again


class Lost(NamedTuple):
    """Why there is no result: what did the job died each time."""

    reason: str


class Run(Protocol):
    """Does a job for each of some items."""

    def __call__(self, job: Job[T, R], items: Sequence[T]) -> Iterator[tuple[T, R | Lost]]:
        """The items and results, in the order in which they are ready."""
