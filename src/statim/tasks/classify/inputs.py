"""What a head sees of n texts: their vectors, and perhaps n-grams beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.model import StaticModel
from statim.tasks.classify.ngrams import Ngrams, Sparse
from statim.texts import Texts

Floats = npt.NDArray[np.float32]
BLOCK = 1 << 14  # texts that are encoded together


@dataclass(frozen=True, eq=False)
class Inputs:
    """``vectors`` (n, d) float32, and ``ngrams``, a sparse (n, F) matrix, where a head has some."""

    vectors: Floats
    ngrams: Sparse | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        """The number of columns of both."""
        return int(self.vectors.shape[1]) + (0 if self.ngrams is None else self.ngrams.width)

    def take(self, rows: npt.NDArray[np.int64]) -> "Inputs":
        """Those of some texts, copied."""
        return Inputs(self.vectors[rows], None if self.ngrams is None else self.ngrams.take(rows))

    def times(self, weights: Floats) -> Floats:
        """The product with (width, c) weights, (n, c) float32."""
        d = self.vectors.shape[1]
        found: Floats = self.vectors @ weights[:d]
        if self.ngrams is not None:
            found += self.ngrams.times(weights[d:])
        return found


def blocks(
    model: StaticModel,
    texts: str | Iterable[str],
    ngrams: Ngrams | None = None,
    *,
    threads: int | None = None,
) -> Iterator[Inputs]:
    """What a head sees, of BLOCK texts at a time.

    Raises:
        InputError: A text is not a str; the message names its position.
    """
    for position, some in Texts.of(texts).chunks(BLOCK):
        vectors = model.encode(_checked(some, position), normalize=True, threads=threads)
        yield Inputs(vectors, None if ngrams is None else ngrams(model.tokenize(some, threads=threads)))


def joined(parts: Iterable[Inputs], dim: int) -> Inputs:
    """All parts as one; of none, vectors (0, dim)."""
    found = list(parts)
    sparse = [part.ngrams for part in found if part.ngrams is not None]
    vectors = np.concatenate([part.vectors for part in found] or [np.zeros((0, dim), np.float32)])
    return Inputs(vectors, Sparse.concatenate(sparse) if sparse else None)


def _checked(texts: list[str], position: int) -> list[str]:
    """The texts; a message of what is wrong with one would else name its place in the block."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"text {position + place} is of type {type(text).__name__}; every text must be a str"
            )
    return texts
