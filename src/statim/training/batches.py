"""Batches without state: which pairs a step takes follows from the seed, the epoch and the step alone."""

import numpy as np
import numpy.typing as npt

from statim.kernels.batch import assemble
from statim.training.bags import TrainingSet
from statim.training.contrastive import Targets


def order(seed: int, epoch: int, pairs: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch takes n pairs, (n,) int64: another one every epoch, the same for the same seed."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(pairs)


class Assembler:
    """Turns chosen pairs into the texts and targets of a batch; keeps the scratch arrays between steps."""

    def __init__(self, data: TrainingSet, batch: int) -> None:
        self._data = data
        self._column_of = np.full(len(data.bags.totals), -1, np.int32)
        self._texts = np.empty(batch * (1 + data.candidates.shape[1]), np.int64)

    def __call__(self, pairs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Targets]:
        """The texts to pool (B anchors, then N unique candidates; valid until the next call), and the targets."""
        data = self._data
        columns = np.empty(len(pairs), np.int32)
        masked_offsets = np.empty(len(pairs) + 1, np.int64)
        found, masked = assemble(
            pairs, data.anchors, data.candidates, data.known, data.known_offsets,
            self._column_of, self._texts, columns, masked_offsets,
        )  # fmt: skip
        return self._texts[: len(pairs) + found], Targets(columns, masked, masked_offsets)
