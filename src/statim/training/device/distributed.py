"""Several processes that train one model: they share each batch, and each holds the whole table.

Each process pools its share of a batch's texts and scores its share of the anchors against all candidates.
Vectors and gradients are exchanged; then all take the same step, so the tables stay equal to the last bit.
Started by ``torchrun`` (or anything that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT).
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from statim.errors import InputError, StatimError

PATIENCE = 600.0  # seconds that a process waits for the others


@dataclass(frozen=True)
class Group:
    """The processes that train one model.

    Attributes:
        rank: This process, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> slice:
        """This process's part of ``count`` things."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, the same bits in each."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def largest(self, tensor: torch.Tensor) -> torch.Tensor:
        """The maximum over all processes."""
        return self._reduce(tensor, dist.ReduceOp.MAX)

    def _reduce(self, tensor: torch.Tensor, operation: dist.ReduceOp.RedOpType) -> torch.Tensor:
        if self.size == 1:
            return tensor
        tensor = tensor.contiguous()
        with self._together():
            dist.all_reduce(tensor, operation)
        return tensor

    def gather(self, part: torch.Tensor, count: int) -> torch.Tensor:
        """All ``count`` rows, from each process's ``share`` of them, (n, d)."""
        if self.size == 1:
            return part
        most = -(-count // self.size)
        padded = part.new_zeros(most, part.shape[1])
        padded[: len(part)] = part
        whole = part.new_empty(self.size * most, part.shape[1])
        with self._together():
            dist.all_gather_into_tensor(whole, padded)
        shares = [Group(rank, self.size).share(count) for rank in range(self.size)]
        return torch.cat([whole[rank * most :][: own.stop - own.start] for rank, own in enumerate(shares)])

    def check_equal(self, tensor: torch.Tensor) -> None:
        """Make sure that all processes hold the same bits.

        Raises:
            StatimError: They do not.
        """
        if self.size == 1:
            return
        mine = torch.zeros(2, dtype=torch.int64, device=tensor.device)
        bits = tensor.contiguous().view(torch.int32).flatten()
        for start in range(0, len(bits), 1 << 24):
            part = bits[start : start + (1 << 24)].long()
            places = torch.arange(start + 1, start + len(part) + 1, device=bits.device) % 65_521
            mine += torch.stack([part.sum(), (part * places).sum()])
        if not torch.equal(self.largest(mine.clone()), -self.largest(-mine)):
            raise StatimError(
                f"process {self.rank} of {self.size} holds another table than the rest; give every "
                "process the same files, options and version of statim"
            )

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[0][:200]
            raise StatimError(
                f"process {self.rank} of {self.size} lost the others, so training stopped; start all again "
                f"(with --resume if there are checkpoints): {reason}"
            ) from None


ALONE = Group()


def is_distributed() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return not is_distributed() or int(os.environ.get("RANK") or 0) == 0


def fair_share(threads: int) -> int:
    """How many of this machine's threads each of its processes should take."""
    return max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


@contextmanager
def joined(device: torch.device, patience: float = PATIENCE) -> Iterator[Group]:
    """The group that this process is one of, by the environment variables of torchrun; alone without them.

    Args:
        device: Where training runs: GPUs talk by nccl, processors by gloo.
        patience: Seconds to wait for the others before giving up.

    Raises:
        InputError: The variables make no sense.
        StatimError: The others did not come.
    """
    if not is_distributed():
        yield ALONE
        return
    try:
        group = Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r} but {error}; start several processes with torchrun"
        ) from None
    wait = datetime.timedelta(seconds=patience)
    with group._together():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=wait)
    try:
        yield group
    finally:
        dist.destroy_process_group()
