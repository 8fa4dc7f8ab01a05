"""Tokens and token pairs as sparse TF-IDF features, since a vector knows no order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from statim.tokenizer.tokens import Tokens

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]

LEAST = 2  # texts in which a feature must occur
MOST = 50_000  # features, the most frequent ones
PAIR = 1 << 31  # above every token's id
ROWS = 2048  # texts whose products are made together


@dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse matrix (n, ``width``): row i has ``values[offsets[i]:offsets[i + 1]]`` at such columns."""

    offsets: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    values: Floats
    width: int

    @staticmethod
    def concatenate(parts: Sequence["Sparse"]) -> "Sparse":
        """Rows of matrices of the same width, one after the other."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        return Sparse(
            np.append(0, np.cumsum(sizes)),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.values for part in parts]),
            parts[0].width,
        )

    def take(self, rows: Keys) -> "Sparse":
        """Some rows, copied."""
        sizes = np.diff(self.offsets)[rows]
        offsets = np.append(0, np.cumsum(sizes))
        places = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Sparse(offsets, self.columns[places], self.values[places], self.width)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def times(self, weights: Floats) -> Floats:
        """The product with (F, c) weights, (n, c) float32, in plain numpy."""
        out = np.zeros((len(self), weights.shape[1]), np.float32)
        for start in range(0, len(self), ROWS):
            places = self.offsets[start : start + ROWS + 1]
            filled = np.flatnonzero(np.diff(places))
            if len(filled):
                span = slice(places[0], places[-1])
                parts = weights[self.columns[span]] * self.values[span, None]
                out[start + filled] = np.add.reduceat(parts, places[filled] - places[0], axis=0)
        return out


@dataclass(frozen=True, eq=False)
class Ngrams:
    """Which tokens and pairs count, and how much.

    Attributes:
        keys: (F,) int64, ascending: a token's id, or PAIR x (first id + 1) + second id.
        weights: (F,) float32, inverse document frequencies.
    """

    keys: Keys
    weights: Floats

    @staticmethod
    def learn(tokens: Tokens) -> "Ngrams":
        """The features of n texts, with scikit-learn's smooth IDF: ln((1 + n) / (1 + df)) + 1."""
        _, keys, _ = _counted(tokens)
        found, frequencies = np.unique(keys, return_counts=True)
        kept = np.flatnonzero(frequencies >= LEAST)
        if len(kept) > MOST:
            kept = np.sort(kept[np.argsort(-frequencies[kept], kind="stable")[:MOST]])
        weights = np.log((1 + len(tokens)) / (1 + frequencies[kept])) + 1
        return Ngrams(found[kept], weights.astype(np.float32))

    def __len__(self) -> int:
        return len(self.keys)

    def __call__(self, tokens: Tokens) -> Sparse:
        """The features of texts: (1 + ln count) x weight, rows of length 1."""
        rows, keys, counts = _counted(tokens)
        places = np.searchsorted(self.keys, keys)
        known = places < len(self.keys)
        known[known] = self.keys[places[known]] == keys[known]
        rows, places, counts = rows[known], places[known], counts[known]
        values = (1 + np.log(counts)) * self.weights[places].astype(np.float64)
        lengths = np.sqrt(np.bincount(rows, weights=values**2, minlength=len(tokens)))
        values /= np.maximum(lengths[rows], 1e-12)
        offsets = np.searchsorted(rows, np.arange(len(tokens) + 1))
        return Sparse(offsets.astype(np.int64), places.astype(np.int32), values.astype(np.float32), len(self))


def _counted(tokens: Tokens) -> tuple[Keys, Keys, npt.NDArray[np.int64]]:
    """Each text's different features: (m,) rows, ascending, (m,) keys and (m,) how often each occurs."""
    ids = np.asarray(tokens.ids, np.int64)
    owners = np.repeat(np.arange(len(tokens)), np.diff(tokens.offsets))
    together = owners[1:] == owners[:-1]
    keys = np.concatenate([ids, (PAIR * (ids[:-1] + 1) + ids[1:])[together]])
    rows = np.concatenate([owners, owners[1:][together]])
    order = np.lexsort((keys, rows))
    keys, rows = keys[order], rows[order]
    first = np.ones(len(keys), np.bool_)
    first[1:] = (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])
    starts = np.flatnonzero(first)
    return rows[starts], keys[starts], np.diff(np.append(starts, len(keys)))
