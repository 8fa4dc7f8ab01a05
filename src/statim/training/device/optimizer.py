"""Row-sparse Adam with table and moments on a device; continues ``training.loop.optimizer``."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from statim.training.device import rows
from statim.training.device.distributed import ALONE, Group
from statim.training.device.fused import is_fused
from statim.training.device.plans import Batch
from statim.training.loop.optimizer import BETA1, BETA2, EPSILON, SparseAdam


class DeviceAdam:
    """A table under training on a device.

    Args:
        state: Where to go on from; left as it is.
        device: Where to train.
        half: Rows are pooled from bfloat16 copies where kernels are fused; the table and its moments stay as
            they are.
    """

    def __init__(self, state: SparseAdam, device: torch.device, *, half: bool = False) -> None:
        self.step, self.rates, self.clip, self.threads = state.step, state.rates, state.clip, state.threads
        self.device, self._taken, self._precision = device, state.step, state.precision
        self._table, self._first, self._second, self._last = (
            _floats(array).to(device) for array in (state.table, state.first, state.second, state.last)
        )
        kind = self._table.dtype
        self._decay, self._row_rates, self._origin = state.decay, state.row_rates, state.origin
        self._drift = torch.from_numpy(state._drift.ravel()).to(device)
        steps = np.arange(len(state.rates))
        self._powers = torch.from_numpy(state._ratio**steps).to(device)
        self._decays = (
            torch.from_numpy(BETA1**steps).to(device, kind),
            torch.from_numpy(BETA2**steps).to(device, kind),
        )
        self._rows: Any = rows
        self._kind = kind
        if is_fused(device):
            from statim.kernels.gpu import rows as gpu_rows

            self._rows = gpu_rows
            self._kind = torch.bfloat16 if half else kind
        self._own = None
        if state.decay > 0 or state.row_rates is not None:
            groups = state._groups if len(state._groups) else np.zeros(len(self), np.uint8)
            shrinks = state._shrinks if state.decay > 0 else np.zeros_like(state._drift)
            tensors = [
                torch.from_numpy(part).to(device)
                for part in (groups, state._multipliers, shrinks.ravel(), state._decays)
            ]
            origin = None if state.origin is None else _padded(state.origin, len(self)).to(device)
            self._own = rows.Own(tensors[0], tensors[1], tensors[2], tensors[3], origin)

    def __len__(self) -> int:
        return len(self._table)

    def read(self, batch: Batch, group: Group = ALONE) -> torch.Tensor:
        """The pooled vectors of a batch, (m, d), from up-to-date rows; each process pools its share."""
        state = self._table, self._first, self._second, self._last
        given = *state, batch.rows, self._taken, self._drift, self._powers, EPSILON, self._kind
        found = self._rows.bring(*given) if self._own is None else rows.bring(*given, self._own)
        own = group.share(batch.texts)
        offsets = batch.offsets[own.start : own.stop + 1]
        entries = batch.entries if group.size == 1 else slice(*offsets[[0, -1]].tolist())
        vectors = self._rows.pool(found, batch.entry_rows, batch.shares, offsets, entries)
        return group.gather(vectors, batch.texts)

    def update(self, batch: Batch, gradients: torch.Tensor) -> None:
        """Take one step with the gradients (m, d) of the vectors that ``read`` gave for this batch."""
        self._taken += 1
        parts = batch.extra_rows, batch.extra_starts, batch.heavy, batch.heavy_firsts, batch.heavy_parts
        gathered, squares = self._rows.gather(
            gradients, batch.positions, batch.row_shares, batch.row_offsets, batch.entries, parts
        )
        if self._row_rates is not None and self._own is not None:
            gathered = gathered.masked_fill(self._own.rates(batch.rows) == 0, 0)
            squares = gathered.double().square().sum()
        factor = torch.ones((), dtype=self._table.dtype, device=self.device)
        if self.clip is not None:
            factor = (self.clip / squares.sqrt()).clamp(max=1.0).to(self._table.dtype)
        state = self._table, self._first, self._second, self._last
        given = (
            *state, batch.rows, gathered, factor, self._taken, self._decays, (BETA1, BETA2),
            float(self.rates[self._taken]), EPSILON,
        )  # fmt: skip
        self._rows.adam(*given) if self._own is None else rows.adam(*given, self._own)

    def state(self) -> SparseAdam:
        """All of it as it is now, on the processor: for a checkpoint, or to go on there."""
        if self.step != self._taken:
            raise RuntimeError(
                f"the state is that of step {self._taken}, not of step {self.step}; needs_state must "
                "say where it is used"
            )
        table, first, second, last = (
            part.cpu().numpy().copy() for part in (self._table, self._first, self._second, self._last)
        )
        return SparseAdam(
            table,
            self.rates,
            self.threads,
            self.clip,
            self._taken,
            precision=self._precision,
            first=first,
            second=second,
            last=last,
            decay=self._decay,
            row_rates=self._row_rates,
            origin=self._origin,
        )

    def current(self, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """A copy of the table with every row brought up to this step; training is not affected.

        Args:
            out: (V, d) to write it to; fresh memory by default.
        """
        table = self._table.clone()
        everything = torch.arange(len(table), device=self.device)
        for start in range(0, len(table), 1 << 16):
            part = everything[start : start + (1 << 16)]
            rows.bring(
                table, self._first, self._second, self._last, part, self._taken, self._drift, self._powers,
                EPSILON, table.dtype,
                self._own,
            )  # fmt: skip
        if out is not None:
            torch.from_numpy(out).copy_(table)
            return out
        found: npt.NDArray[np.float32] = table.cpu().numpy()
        return found

    def check_equal(self, group: Group) -> None:
        """Make sure that all processes hold the same table."""
        group.check_equal(self._table)


def _padded(origin: npt.NDArray[Any], size: int) -> torch.Tensor:
    """The origin with rows of 0 for those that do not decay, (size, d)."""
    return torch.from_numpy(np.pad(origin, ((0, size - len(origin)), (0, 0))))


def _floats(array: npt.NDArray[Any]) -> torch.Tensor:
    """A copy; of int16 that are bfloat16, as float32."""
    tensor = torch.from_numpy(array.copy())
    return tensor.view(torch.bfloat16).float() if array.dtype == np.int16 else tensor
