"""Numbers for texts that are equal but for case and white space."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.text_column import buffers
from statim.identity import Identities

BLOCK = 1 << 14  # texts folded at a time


def numbered(*columns: pa.LargeStringArray) -> list[npt.NDArray[np.int64]]:
    """A number for each text, from 0 in order of appearance; case and white space do not count.

    Args:
        columns: Texts, none missing.

    Returns:
        An array for each of the columns.
    """
    from statim.kernels.text.identity import fingerprints, squeezed

    identities, found = Identities(), []
    for texts in columns:
        numbers = np.empty(len(texts), np.int64)
        for start in range(0, len(texts), BLOCK):
            lower = pc.utf8_lower(texts.slice(start, BLOCK))
            numbers[start : start + len(lower)], _ = identities(fingerprints(*squeezed(*buffers(lower))))
        found.append(numbers)
    return found
