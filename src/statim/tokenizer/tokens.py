"""Tokens: many texts as one flat array of ids and the offsets between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from statim.errors import InputError, ModelError
from statim.tensors import load_tensors, save_tensors

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

FORMAT = "statim-tokens-1"


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of n texts.

    Attributes:
        ids: int32, shape (number of tokens,): the ids of all texts, one after the other.
        offsets: int64, shape (n + 1,): text i has the ids ``ids[offsets[i]:offsets[i + 1]]``.

    Raises:
        InputError: The types or shapes differ from these, or the offsets do not cut ``ids`` into texts.
    """

    ids: Ids
    offsets: Offsets

    def __post_init__(self) -> None:
        ids, offsets = self.ids, self.offsets
        if ids.dtype != np.int32 or ids.ndim != 1 or offsets.dtype != np.int64 or offsets.ndim != 1:
            raise InputError(
                f"ids are {ids.dtype} of shape {ids.shape} and offsets {offsets.dtype} of shape "
                f"{offsets.shape}; "
                "they must be int32 and int64, of one dimension"
            )
        # compiled code trusts the offsets
        if (
            len(offsets) == 0
            or offsets[0] != 0
            or offsets[-1] != len(ids)
            or (offsets[1:] < offsets[:-1]).any()
        ):
            raise InputError(f"offsets must rise from 0 to the number of ids, {len(ids):,}, and never fall")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int | slice) -> "Ids | Tokens":
        """The ids of one text, or the Tokens of a contiguous slice of texts (views, nothing is copied)."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise InputError("a slice of Tokens must have step 1; use select() for other choices")
            stop = max(start, stop)
            offsets = self.offsets[start : stop + 1]
            return Tokens(self.ids[offsets[0] : offsets[-1]], offsets - offsets[0])
        index = range(len(self))[index]
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[Ids]:
        for index in range(len(self)):
            yield self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.offsets, other.offsets)

    __hash__ = None  # type: ignore[assignment]

    def check(self, vocabulary: int) -> None:
        """Make sure that every id is a row of a table with ``vocabulary`` rows; compiled code trusts the ids.

        Raises:
            InputError: An id is not in [0, vocabulary).
        """
        if len(self.ids) and not 0 <= self.ids.min() <= self.ids.max() < vocabulary:
            position = int(np.flatnonzero((self.ids < 0) | (self.ids >= vocabulary))[0])
            text = int(np.searchsorted(self.offsets, position, side="right")) - 1
            raise InputError(
                f"token {position - self.offsets[text]:,} of text {text:,} has the id "
                f"{self.ids[position]:,}, but the table has "
                f"{vocabulary:,} rows; the tokens are of another tokenizer"
            )

    @property
    def lengths(self) -> Offsets:
        """Tokens per text, int64, shape (n,)."""
        return np.diff(self.offsets)

    def select(self, indices: npt.NDArray[np.integer]) -> "Tokens":
        """The texts at ``indices`` (any order, repeats allowed), copied."""
        lengths = self.lengths[indices]
        offsets = np.zeros(len(indices) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[indices], lengths)
        return Tokens(self.ids[positions], offsets)

    @staticmethod
    def concatenate(parts: Sequence["Tokens"]) -> "Tokens":
        """The texts of all parts, one after the other."""
        if not parts:
            return Tokens(np.zeros(0, np.int32), np.zeros(1, np.int64))
        if len(parts) == 1:
            return parts[0]
        ends = np.cumsum([part.offsets[-1] for part in parts])
        shifted = [part.offsets[1:] + end - part.offsets[-1] for part, end in zip(parts, ends, strict=True)]
        return Tokens(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([np.zeros(1, np.int64), *shifted]),
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file, atomically.

        Raises:
            StorageError: The disk is full, read-only, or not permitted.
        """
        save_tensors(path, {"ids": self.ids, "offsets": self.offsets}, {"format": FORMAT}, sealed=True)

    @staticmethod
    def load(path: str | Path) -> "Tokens":
        """Read what ``save`` wrote, memory-mapped.

        Raises:
            ModelError: The file is missing or does not hold tokens.
        """
        arrays, metadata = load_tensors(path)
        if metadata.get("format") != FORMAT or not {"ids", "offsets"} <= arrays.keys():
            raise ModelError(f"{path} does not hold tokens that this version of statim can read")
        try:
            return Tokens(cast(Ids, arrays["ids"]), cast(Offsets, arrays["offsets"]))
        except InputError as error:
            raise ModelError(f"{path} does not hold whole tokens ({error}); delete it") from None
