"""What surrounds the steps: logs, evaluations, best table, early stopping, checkpoints, progress."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import DependencyError
from statim.files import storage_errors
from statim.formats.parts import not_finite
from statim.progress import Progress
from statim.training.device.optimizer import DeviceAdam
from statim.training.loop.hard_negatives import Miner
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import DivergenceError
from statim.training.recipe import Recipe
from statim.training.run.checkpoint import Checkpoints
from statim.training.run.history import NDCG, History
from statim.training.run.validation import Validation

Floats = npt.NDArray[np.float32]
Optimizer = SparseAdam | DeviceAdam


@dataclass
class Best:
    """The best evaluation so far; only a higher score beats it.

    Attributes:
        keep: Keep its table too.
        step: The step after which it was; 0 is the start.
        score: NDCG@10.
        waited: Evaluations since.
        table: (V, d), if it is kept.
    """

    keep: bool
    step: int = 0
    score: float = -1.0
    waited: int = 0
    table: Floats | None = None

    def see(self, step: int, score: float, table: Floats) -> bool:
        """Take note of an evaluation; says whether it is the best."""
        better = score > self.score
        if better:
            self.step, self.score, self.waited = step, score, 0
            self.table = table if self.keep else None
        else:
            self.waited += 1
        return better

    def state(self) -> dict[str, Any]:
        """For a checkpoint's state; the table goes by itself."""
        return {"step": self.step, "score": self.score, "waited": self.waited}


class Callbacks:
    """Looks after a training; both kinds of ``fit`` call it after every step.

    Args:
        recipe: How is trained.
        pairs: How many pairs are trained on.
        history: Where everything is written down.
        best: The best table so far.
        development: What to evaluate on, if anything.
        every: Steps between evaluations.
        checkpoint_every: Steps between checkpoints, if they do not go by the clock.
        patience: Stop after N evaluations without improvement.
        bar: Counts pairs.
        checkpoints: Where to write them, if anywhere.
        board: A TensorBoard writer, if there is one; see ``tensorboard_writer``.
        miner: What mines negatives during training; they are saved with the checkpoints.
    """

    def __init__(
        self,
        recipe: Recipe,
        pairs: int,
        history: History,
        best: Best,
        *,
        development: Validation | None = None,
        every: int = 1,
        checkpoint_every: int | None = None,
        patience: int | None = None,
        bar: Progress | None = None,
        checkpoints: Checkpoints | None = None,
        board: Any = None,
        miner: Miner | None = None,
    ) -> None:
        self.history, self.best = history, best
        self._development, self._patience = development, patience
        self._every, self._checkpoint_every = every, checkpoint_every or every
        self._bar = bar
        self._spare: Floats | None = None  # memory for the next table to evaluate
        self._checkpoints, self._board, self._miner = checkpoints, board, miner
        self._batch, self._epochs = min(recipe.batch, pairs), recipe.epochs
        self._recent = deque(history.losses[-20:], maxlen=20)

    def begin(self, optimizer: Optimizer) -> None:
        """Evaluate the start, if this is it."""
        if self._development is not None and optimizer.step == 0:
            self._evaluate(optimizer, self._development)

    def __call__(self, optimizer: Optimizer, loss: float) -> bool:
        """After a step; says whether to stop."""
        step, last = optimizer.step, len(optimizer.rates) - 1
        epoch, rate = (step - 1) * self._epochs // last + 1, float(optimizer.rates[step])
        self.history.add(step=step, epoch=epoch, loss=loss, rate=rate, pairs=step * self._batch)
        if self._board is not None:
            self._board.add_scalar("loss", loss, step)
            self._board.add_scalar("rate", rate, step)
        self._recent.append(loss)
        if self._development is not None and (step % self._every == 0 or step == last):
            self._evaluate(optimizer, self._development)
        here = isinstance(optimizer, SparseAdam) or self.pauses(step)
        if self._checkpoints is not None and here and self._checkpoints.due(step):
            self._save(optimizer, self._checkpoints)
        if self._bar is not None:
            self._bar.advance(self._batch, self._note())
        return self.stops

    def pauses(self, step: int) -> bool:
        """Where a device shows its table: at evaluations, and where a checkpoint may be due by the clock."""
        return step % self._every == 0 or step % self._checkpoint_every == 0

    @property
    def stops(self) -> bool:
        """Has patience run out? A checkpoint of that moment remembers it."""
        return self._patience is not None and self.best.waited >= self._patience

    def _note(self) -> str:
        """The text after the progress bar."""
        loss = f"loss {sum(self._recent) / len(self._recent):.3f}"
        scores = self.history.evaluations
        return f"{loss}, held-out NDCG@10 {scores[-1][1]:.3f}" if scores else loss

    def _evaluate(self, optimizer: Optimizer, development: Validation) -> None:
        table = optimizer.current(out=self._spare)
        _check(table, optimizer.step)
        score, before = development.score(table), self.best.table
        best = self.best.see(optimizer.step, score, table)
        self._spare = before if best and self.best.keep else table
        self.history.add(**{"step": optimizer.step, NDCG: score, "best": best})
        self.history.flush()
        if self._board is not None:
            self._board.add_scalar(f"development/{NDCG}", score, optimizer.step)

    def _save(self, optimizer: Optimizer, checkpoints: Checkpoints) -> None:
        state = optimizer if isinstance(optimizer, SparseAdam) else optimizer.state()
        _check(state.table, state.step)
        self.history.flush()
        extra: dict[str, npt.NDArray[Any]] = {} if self.best.table is None else {"best": self.best.table}
        if self._miner is not None and self._miner.negatives is not None:
            extra["negatives"] = self._miner.negatives
        checkpoints.save(state, {"best": self.best.state()}, extra)


def _check(table: Floats, step: int) -> None:
    """A table with NaN or infinities is neither evaluated nor saved."""
    if not_finite(table) is not None:
        raise DivergenceError(
            f"the table holds NaN or infinities after step {step}: training has diverged; lower the "
            "learning rate or the scale"
        )


def tensorboard_writer(folder: str | Path, step: int) -> Any:
    """A TensorBoard writer into ``folder``; what an interrupted run wrote after ``step`` is discarded.

    Raises:
        DependencyError: TensorBoard is not installed.
        StorageError: The folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DependencyError(
            'TensorBoard is not installed; pip install "statim[tensorboard]", or leave --tensorboard out'
        ) from None
    with storage_errors(Path(folder)):
        return SummaryWriter(str(folder), purge_step=step + 1)
