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
    """The same function as ``kernels.pool.pool``."""
    for index in range(len(offsets) - 1):
        tokens = ids[offsets[index] : offsets[index + 1]]
        if dropped >= 0:
            tokens = tokens[tokens != dropped]
        if len(tokens) == 0:
            out[index] = 0.0
            continue
        vector = table[tokens, :dim].sum(axis=0, dtype=np.float32)
        if normalize:
            length = float(np.sqrt(vector @ vector))
            out[index] = vector / length if length > 0.0 else 0.0
        else:
            out[index] = vector / np.float32(len(tokens))
