"""What every format reads and writes: a table, a tokenizer and settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.quantize import TABLES
from statim.settings import Settings
from statim.tensors import release
from statim.tokenizer.tokenizer import Tokenizer

BLOCK = 1 << 16  # numbers checked at a time: they stay in cache
RELEASED = 1 << 20  # numbers after which a mapped table is let go, so that looking at it takes no memory


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a static model.

    Attributes:
        table: (V, d) float32, float16 or int8, C-contiguous, one row per token id; may be a read-only memory
            map.
        tokenizer: Gives ids in [0, V).
        settings: How vectors are made from rows.
        scales: What the rows of an int8 table are multiplied with, (V,) float32, not negative; else None.

    Raises:
        ModelError: The parts do not fit together, or the table holds NaN or infinities.
    """

    table: npt.NDArray[Any]
    tokenizer: Tokenizer
    settings: Settings
    scales: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.table.ndim != 2 or self.table.dtype.name not in TABLES or self.table.shape[1] == 0:
            raise ModelError(
                f"the table has shape {self.table.shape} and type {self.table.dtype}; "
                f"it must be one of {', '.join(TABLES)}, of shape (tokens, dimensions)"
            )
        if (self.table.dtype == np.int8) != (self.scales is not None):
            raise ModelError("a table of int8, and no other, has a scale for each row")
        if len(self.table) < self.tokenizer.vocabulary_size:
            raise ModelError(
                f"the table has {len(self.table):,} rows but the tokenizer gives ids up to "
                f"{self.tokenizer.vocabulary_size - 1:,}; the two belong to different models"
            )
        row = not_finite(self.table if self.scales is None else self.scales[:, None])
        if row is not None:
            raise ModelError(
                f"the table holds NaN or infinity in row {row:,}; every number must be finite, so make "
                "the table again"
            )

    @property
    def dropped(self) -> int | None:
        """The id that never counts in a mean, so its row changes no vector; None if every id counts."""
        return self.tokenizer.unknown_id if self.settings.drop_unknown else None

    def counting_rows(self) -> Iterator[npt.NDArray[Any]]:
        """The table in pieces, then the scales, as saved; unused rows are zeros or left out."""
        end, dropped = self.tokenizer.vocabulary_size, self.dropped
        for array in (self.table, self.scales):
            if array is not None and dropped is None:
                yield array[:end]
            elif array is not None and dropped is not None:
                after = dropped + 1
                yield from (array[:dropped], np.zeros_like(array[dropped:after]), array[after:end])


def not_finite(table: npt.NDArray[np.floating[Any]]) -> int | None:
    """The first row that holds NaN or infinity, or None; a few milliseconds for 30,000 rows."""
    rows = max(1, BLOCK // table.shape[1])
    for count, start in enumerate(range(0, len(table), rows)):
        if count % (RELEASED // BLOCK) == 0:
            release(table)
        finite = np.isfinite(table[start : start + rows])
        if not finite.all():
            return start + int(np.flatnonzero(~finite.all(axis=1))[0])
    release(table)
    return None
