"""Numbers for texts: equal texts have equal numbers, at 20 to 50 bytes for each different one.

Texts are told apart by 128-bit hashes; that two of a hundred million share one has a chance of 1 in 10^22.
"""

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


class Identities:
    """Numbers keys from 0, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._slots, self._places = _table(1 << 10)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __call__(self, keys: Keys) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The numbers of n keys.

        Args:
            keys: (n, 2) uint64, such as ``kernels.text.identity.fingerprints`` gives.

        Returns:
            (n,) the numbers; and (m,) ascending, where in ``keys`` each of the m new ones stands first.
        """
        from statim.kernels.text import identity as kernel

        while 3 * (self._count + len(keys)) > 2 * len(self._places):
            larger = _table(2 * len(self._places))
            kernel.move(self._slots, self._places, *larger)
            self._slots, self._places = larger
        ids, firsts = np.empty(len(keys), np.int32), np.empty(len(keys), np.int64)
        before = self._count
        self._count = kernel.number(keys, self._slots, self._places, before, ids, firsts)
        return ids, firsts[: self._count - before]


def _table(size: int) -> tuple[Keys, npt.NDArray[np.int32]]:
    return np.empty((size, 2), np.uint64), np.full(size, -1, np.int32)
