"""Mean pooling in plain numpy, for a handful of texts: no compiled code to load."""

import numpy as np
import numpy.typing as npt


def pool_few(
    table: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    dim: int,
    dropped: int,
    normalize: bool,
    out: npt.NDArray[np.float32],
) -> None:
    """The same function as ``kernels.pool.pool``: the same float32 sums, scaled in float64, so the vectors are equal too."""
    for index in range(len(offsets) - 1):
        tokens = ids[offsets[index] : offsets[index + 1]]
        if dropped >= 0:
            tokens = tokens[tokens != dropped]
        if len(tokens) == 0:
            out[index] = 0.0
            continue
        vector = np.add.reduce(table[tokens, :dim], axis=0)
        if normalize:
            squares = float(np.square(vector, dtype=np.float64).sum())
            factor = 1.0 / np.sqrt(squares) if squares > 0.0 else 0.0
        else:
            factor = 1.0 / len(tokens)
        out[index] = vector.astype(np.float64) * factor
