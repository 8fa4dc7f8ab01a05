"""The log of a run: a line of JSON for every step and for every evaluation.

    {"step": 36, "epoch": 1, "loss": 3.14, "rate": 0.1, "pairs": 36864, "seconds": 1.52}
    {"step": 36, "ndcg@10": 0.7105, "best": true, "seconds": 1.55}

``epoch`` counts from 1, ``pairs`` and ``seconds`` (the only figure that differs from run to run) from the
beginning. The loss is that of the step's batch before its update, summed over the Matryoshka levels. An
evaluation comes after its step's line; that of the start has step 0.
"""

import json
import math
import time
from array import array
from pathlib import Path
from typing import IO, Any

from statim.files import storage_errors
from statim.strict_json import dumps

NDCG = "ndcg@10"
LINES = 1000  # gather in memory at most


class History:
    """What has happened so far; and the file that says so, if there is one.

    Args:
        path: The log; lines gather in memory until ``flush``. None keeps the figures alone.
        step: Go on after this step of what is there already: later lines are cut off. 0 begins a new log.

    Attributes:
        losses: The loss of each step.
        evaluations: (step, NDCG@10) of each evaluation.
    """

    def __init__(self, path: Path | None = None, *, step: int = 0) -> None:
        self.losses = array("d")
        self.evaluations: list[tuple[int, float]] = []
        self._before = 0.0  # seconds spent by earlier processes
        self._started = time.perf_counter()
        self._lines: list[dict[str, Any]] = []
        self._path, self._file = path, None
        if path is not None:
            with storage_errors(path):
                self._file = self._open(path, step)

    def _open(self, path: Path, step: int) -> IO[bytes]:
        """The log, cut back to ``step``."""
        file = path.open("r+b" if step and path.exists() else "w+b")
        end = 0
        for line in file:
            try:
                entry = json.loads(line)
                if entry["step"] > step or not line.endswith(b"\n"):
                    break
                seconds = float(entry["seconds"])
                self._take(entry)
            except (ValueError, KeyError, TypeError):  # a line that was being written, or a damaged one
                break
            end, self._before = end + len(line), seconds
        file.seek(end)
        file.truncate()
        return file

    def _take(self, entry: dict[str, Any]) -> None:
        if NDCG in entry:
            self.evaluations.append((entry["step"], entry[NDCG]))
        else:
            loss = entry["loss"]
            self.losses.append(math.nan if loss is None else loss)  # JSON has no NaN

    def add(self, **entry: Any) -> None:
        """Write down a step or an evaluation; the seconds are added."""
        self._take(entry)
        entry["seconds"] = round(self.seconds, 3)
        if self._file is not None:
            self._lines.append(entry)
            if len(self._lines) == LINES:
                self.flush()

    @property
    def seconds(self) -> float:
        """The time since training began; that between a kill and the resumption is not counted."""
        return self._before + time.perf_counter() - self._started

    def flush(self) -> None:
        """Hand the lines to the system: they outlive this process.

        Raises:
            StorageError: The disk is full, read-only, or not permitted.
        """
        if self._file is not None and self._path is not None:
            with storage_errors(self._path):
                self._file.write("".join(dumps(line) + "\n" for line in self._lines).encode())
                self._file.flush()
            self._lines.clear()

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
