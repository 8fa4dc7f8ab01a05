"""Pairs: anchors and their positives, perhaps with negatives; and where they came from."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim import spilled_array
from statim.counted import counted
from statim.data.files import columns
from statim.data.text_column import TextColumn, offsets
from statim.errors import InputError

PYTHON_DOCS = "python-docs"  # the name of the built-in source
BLOCK = 1 << 14  # pairs looked at in one go, where memory matters
HASHED = 16 << 20  # bytes, likewise


@dataclass(frozen=True)
class Taken:
    """What was read from one source: its name, its rows, and the columns taken for each role."""

    source: str
    rows: int
    columns: Mapping[str, str]

    def __str__(self) -> str:
        names = ", ".join(f"{role} = {name}" for role, name in self.columns.items())
        return f"{self.source}: {counted(self.rows, 'rows')} ({names})"


@dataclass(frozen=True)
class Report:
    """What became of the rows that were read.

    Attributes:
        taken: One entry per source.
        rows: Rows read. A row with several positives counts once for each, one with none counts once.
        missing: Dropped because a text, score or label (but not a negative) is null.
        empty: Dropped because a text (but not a negative) is nothing but white space.
        duplicates: Dropped because all equals an earlier row.
        conflicting: Texts dropped because they stand under several labels.
    """

    taken: tuple[Taken, ...] = ()
    rows: int = 0
    missing: int = 0
    empty: int = 0
    duplicates: int = 0
    conflicting: int = 0

    def __str__(self) -> str:
        """Sentences for a person."""
        dropped = {
            "missing": self.missing,
            "empty": self.empty,
            "duplicate": self.duplicates,
            "conflicting": self.conflicting,
        }
        counts = ", ".join(f"{count:,} {name}" for name, count in dropped.items() if count)
        return "; ".join(map(str, self.taken)) + (f"; dropped {counts}" if counts else "")


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of texts that belong together.

    Attributes:
        anchors: n texts, none missing.
        positives: n texts, none missing.
        negatives: Arrays of n texts that do not answer their anchors; null where a row has none.
        report: What was read and dropped.
        names: The names of the data sets that the pairs are of.
        sets: (n,) uint16, the data set of each pair, by its position in ``names``; by default all are of one.
    """

    anchors: pa.LargeStringArray
    positives: pa.LargeStringArray
    negatives: tuple[pa.LargeStringArray, ...] = ()
    report: Report = field(default_factory=Report)
    names: tuple[str, ...] = ("pairs",)
    sets: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))

    unit: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        for name in ("anchors", "positives", "negatives"):
            value = getattr(self, name)
            object.__setattr__(
                self, name, tuple(map(_large, value)) if name == "negatives" else _large(value)
            )
        if any(len(column) != len(self.anchors) for column in (self.positives, *self.negatives)):
            raise InputError("anchors, positives and negatives must have the same number of texts")
        if self.anchors.null_count or self.positives.null_count:
            raise InputError("an anchor or a positive is missing; only negatives may be")
        if len(self.sets) != len(self.anchors):
            if len(self.names) > 1:
                raise InputError("the pairs are of several sets; say of which each is (sets)")
            object.__setattr__(self, "sets", np.zeros(len(self.anchors), np.uint16))

    def __len__(self) -> int:
        return len(self.anchors)

    def __repr__(self) -> str:
        return f"Pairs({counted(len(self), 'pairs')}, {len(self.negatives)} negatives each)"

    @property
    def columns(self) -> tuple[pa.LargeStringArray, ...]:
        """The texts by which pairs resemble each other."""
        return self.anchors, self.positives

    def select(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> "Pairs":
        """The pairs at ``indices`` (any order, repeats allowed), copied; the report stays the whole's."""
        chosen = np.asarray(indices, np.int64)

        def taken(texts: pa.LargeStringArray) -> pa.LargeStringArray:
            copy = TextColumn()
            for start in range(0, len(chosen), BLOCK):
                copy.append(texts.take(pa.array(chosen[start : start + BLOCK])))
                spilled_array.release()
            return copy.finish()

        negatives = tuple(map(taken, self.negatives))
        return Pairs(
            taken(self.anchors), taken(self.positives), negatives, self.report, self.names, self.sets[chosen]
        )

    def bounds(self, block: int = BLOCK) -> Iterator[tuple[int, int]]:
        """(start, stop) of the blocks in which to read many pairs; memory is handed back after each."""
        for start in range(0, len(self), block):
            yield start, min(start + block, len(self))
            spilled_array.release()

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts in order, in hexadecimal: equal for equal pairs from any source."""
        numbers = self.sets.tobytes() if len(self.names) > 1 else b""
        return hash_of([self.anchors, self.positives, *self.negatives], numbers)


def hash_of(texts: Sequence[pa.LargeStringArray], numbers: bytes = b"") -> str:
    """SHA-256 of columns of texts in their order, and of numbers that belong to them, in hexadecimal."""
    digest = hashlib.sha256()
    for column in texts:
        digest.update(np.asarray(pc.binary_length(column).fill_null(-1), np.int64).tobytes())
        first, last = offsets(column)[[0, -1]].tolist()
        for start in range(first, last, HASHED):
            digest.update(memoryview(column.buffers()[2])[start : min(start + HASHED, last)])
            spilled_array.release()
    digest.update(numbers)
    return digest.hexdigest()


def _large(column: Any) -> pa.LargeStringArray:
    """A column as one large_string array in which missing texts take no bytes."""
    array = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, pa.large_string())
    array = columns.flat(array)
    if array.null_count == 0:
        return array
    first, last = offsets(array)[[0, -1]]
    if last - first == (pc.sum(pc.binary_length(array)).as_py() or 0):
        return array
    return pc.if_else(array.is_valid(), array, pa.scalar(None, array.type))
