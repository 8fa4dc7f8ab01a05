"""Mean pooling: the row gather and sum behind every vector, compiled; see few.py for its twin in plain numpy."""

import numpy as np
import numpy.typing as npt
from numba import boolean, float32, int32, int64, njit, types, void

FAST = {"reassoc", "contract", "nsz"}  # NaN and infinities stay as they are

Floats = npt.NDArray[np.float32]

_table = types.Array(float32, 2, "C", readonly=True)
_ids = types.Array(int32, 1, "C", readonly=True)
_offsets = types.Array(int64, 1, "C", readonly=True)


@njit(
    void(_table, _ids, _offsets, int64, int64, boolean, float32[:, ::1]),
    nogil=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def pool(
    table: Floats,
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    dim: int,
    dropped: int,
    normalize: bool,
    out: Floats,
) -> None:
    """Write the mean of each text's rows, at the first ``dim`` dimensions.

    Rows are summed in float32, in order, as the other libraries of static models do; only so do the vectors of very long
    texts equal theirs.

    Args:
        table: (V, d) float32.
        ids: Token ids, int32, each in [0, V).
        offsets: (n + 1,) int64; text i has ids[offsets[i]:offsets[i + 1]].
        dim: Leading dimensions to use, at most d.
        dropped: A token id that does not count, or -1.
        normalize: Scale each vector to length 1.
        out: (n, dim) float32, written; a text without tokens gives zeros.
    """
    for i in range(len(offsets) - 1):
        row = out[i]
        row[:] = 0.0
        count = 0
        for t in range(offsets[i], offsets[i + 1]):
            token = ids[t]
            if token == dropped:
                continue
            count += 1
            source = table[token]
            for j in range(dim):
                row[j] += source[j]
        if count == 0:
            continue
        if normalize:
            squares = 0.0
            for j in range(dim):
                squares += np.float64(row[j]) * np.float64(row[j])
            factor = 1.0 / np.sqrt(squares) if squares > 0.0 else 0.0
        else:
            factor = 1.0 / np.float64(count)
        for j in range(dim):
            row[j] = np.float32(np.float64(row[j]) * factor)
