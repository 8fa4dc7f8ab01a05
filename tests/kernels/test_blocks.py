"""Sums of table rows: against float64, and for the same bits whether whole rows or blocks of columns are
added.
"""

import numpy as np
import pytest

from statim.kernels.pooling.blocks import AT_ONCE, add_rows

ROWS = 40


def stored(kind: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table as the kernels take it, and its numbers."""
    if kind == "bfloat16":
        halves = (rows.view(np.uint32) >> 16).astype(np.uint16)
        return halves.view(np.int16), (halves.astype(np.uint32) << 16).view(np.float32)
    if kind == "float16":
        halves = rows.astype(np.float16)
        return halves.view(np.uint16), halves.astype(np.float32)
    return rows, rows


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("d", [16, 383, 384, 391, 1000, 1024])
def test_sums_of_rows(kind: str, d: int) -> None:
    rng = np.random.default_rng(d)
    table, numbers = stored(kind, rng.standard_normal((ROWS, d)).astype(np.float32))
    for count in (0, 1, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 3, 200):
        rows = rng.integers(0, ROWS, count + 2).astype(np.int32)
        factors = rng.standard_normal(count + 2).astype(np.float32)
        out, parts = np.full((2, d), np.nan, np.float32)
        add_rows(table, rows, factors, 1, count + 1, out)
        own = slice(1, count + 1)
        terms = numbers[rows[own]].astype(np.float64) * factors[own, None]
        bound = 2.0**-23 * (count + 1) * np.abs(terms).sum(axis=0)
        assert (np.abs(out - terms.sum(axis=0)) <= bound).all()
        for first in range(0, d, 128):
            add_rows(table[:, first : first + 128], rows, factors, 1, count + 1, parts[first : first + 128])
        np.testing.assert_array_equal(out, parts)
