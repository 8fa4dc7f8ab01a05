"""Mean pooling in plain numpy, for a handful of texts: no compiled code to load."""

import numpy as np
import numpy.typing as npt

BLOCK = 4096  # rows gathered at a time, so that a very long text takes little memory


def pool_few(
    table: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    dim: int,
    dropped: int,
    normalize: bool,
    out: npt.NDArray[np.float32],
) -> None:
    """The same function as ``kernels.pool.pool``, with the same sums in the same order, so the vectors are equal too."""
    for index in range(len(offsets) - 1):
        tokens = ids[offsets[index] : offsets[index + 1]]
        if dropped >= 0:
            tokens = tokens[tokens != dropped]
        if len(tokens) == 0:
            out[index] = 0.0
            continue
        total = np.zeros(dim, np.float32)
        for start in range(0, len(tokens), BLOCK):
            rows = table[tokens[start : start + BLOCK], :dim]
            rows[0] += total
            total = np.add.reduce(rows, axis=0)
        if normalize:
            length = float(np.sqrt(np.square(total, dtype=np.float64).sum()))
            factor = 1.0 / length if length > 0.0 else 0.0
        else:
            factor = 1.0 / len(tokens)
        out[index] = total.astype(np.float64) * factor
